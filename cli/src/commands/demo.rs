//! `prelim demo`: everything on this machine, with phantom studies.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use prelim_coordinator::report::json::document::Document;
use prelim_proto::v1::{Priority, Study};
use serde_json::json;

use crate::client::Connection;
use crate::commands::report::Format;
use crate::drafts;
use crate::files::{self, write_whole};
use crate::follow::wait;
use crate::phantom;
use crate::score::truth;
use crate::stack::{Stack, StackConfig};
use crate::table;
use crate::upload::upload;

/// Draw phantom studies, read them, and write their drafts.
///
/// Runs a coordinator and a worker in this process, on a port of its own, over gRPC. Nothing is left running.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim demo\n  prelim demo --out /tmp/demo --count 12 --json")]
pub(crate) struct Demo {
    /// Where studies and drafts are written.
    #[arg(long, value_name = "DIR", default_value = "prelim-demo")]
    out: PathBuf,
    /// Studies, X-ray and CT in turn.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// Seed of the phantoms: the same seed draws the same studies.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// A Hugging Face checkpoint folder to read with, in place of the demonstration model.
    #[arg(long, value_name = "DIR", env = "PRELIM_MODEL")]
    model: Option<PathBuf>,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let began = Instant::now();
        let studies_folder = self.out.join("studies");
        self.tell("drawing phantom studies …");
        let (count, seed) = (self.count, self.seed);
        let folder = studies_folder.clone();
        let drawn = tokio::task::spawn_blocking(move || phantom::write(&folder, count, seed, None)).await??;

        self.tell("loading the model …");
        let store = files::private_folder_in(&self.out, ".store-")
            .with_context(|| format!("{} cannot hold the demo's store", self.out.display()))?;
        let stack = Stack::start(StackConfig::on_a_free_port(store.path(), self.model.clone())).await?;
        let demonstration = stack.model().demonstration.then(|| stack.model().name.clone());
        let connection = stack.connection().clone();
        let read = async {
            let rows = self.read(&connection, &drawn).await?;
            let asked = ask(&connection, &rows).await?;
            Ok((rows, asked))
        };
        // The store goes with its folder; the stack has let go of it by then.
        let (rows, asked) = stack.during(read).await?;
        self.show(&rows, asked.as_ref(), demonstration.as_deref(), began.elapsed().as_secs_f64())
    }

    /// Submits the studies, waits for the drafts and writes them, each under the name of its study's folder.
    async fn read(&self, connection: &Connection, drawn: &[PathBuf]) -> anyhow::Result<Vec<Row>> {
        let files = files::below(drawn)?
            .files
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "dcm"))
            .collect();
        let response = upload(connection, files, Priority::Routine, String::new()).await?;
        let studies = wait(connection, &response.study_uids, !self.json).await?;
        let mut rows = Vec::new();
        for folder in drawn {
            let (_, truth) = truth::below(std::slice::from_ref(folder))?.remove(0);
            let study = studies.iter().find(|study| study.uid == truth.study.as_str());
            let study = study.with_context(|| format!("the study of {} was not accepted", folder.display()))?.clone();
            let drafts = self.out.join("drafts").join(folder.file_name().unwrap_or_default());
            std::fs::create_dir_all(&drafts).with_context(|| format!("{} cannot be made", drafts.display()))?;
            for format in Format::ALL {
                let Some(content) = drafts::fetch(connection, &study.uid, format).await? else { continue };
                write_whole(&drafts.join(format!("draft.{}", format.extension())), &content)?;
            }
            let document = drafts::document(connection, &study.uid).await?;
            rows.push(Row { drafts, drawn: truth.in_words(), study, document });
        }
        Ok(rows)
    }

    fn show(
        &self,
        rows: &[Row],
        asked: Option<&Asked>,
        demonstration: Option<&str>,
        seconds: f64,
    ) -> anyhow::Result<()> {
        if self.json {
            let rows: Vec<_> = rows.iter().map(Row::json).collect();
            table::say(serde_json::to_string_pretty(&json!({
                "out": self.out, "seconds": seconds, "demonstration_model": demonstration, "studies": rows,
                "asked": asked.map(|asked| json!({"study": asked.study, "question": QUESTION, "answer": asked.answer})),
            }))?)?;
        } else {
            let mut lines =
                table::ruled(&["Draft", "Drawn in the phantom", "Impression of the draft", "Confidence", "Urgency"]);
            for row in rows {
                lines.add_row(row.cells());
            }
            table::keep_whole(&mut lines, 0);
            table::say(lines)?;
            table::say(format!(
                "{} in {seconds:.0} s. Drafts, in every form: {}",
                table::count(rows.len(), "study"),
                self.out.join("drafts").display()
            ))?;
            if let Some(first) = rows.first() {
                table::say(format!("Open {} to see one.", first.drafts.join("draft.html").display()))?;
            }
            if let Some(Asked { study, answer }) = asked {
                table::say(format!("Asked \"{QUESTION}\" about {study}, it answers: {answer}"))?;
            }
            if let Some(model) = demonstration {
                table::say(format!(
                    "Read by the {model}, which has seen phantoms only: a demonstration, not for patients."
                ))?;
            }
            table::say(prelim_proto::UNSIGNED_DRAFT_STATEMENT)?;
        }
        let failed = rows.iter().filter(|row| row.document.is_none()).count();
        anyhow::ensure!(failed == 0, "{failed} of {} studies have no draft", rows.len());
        Ok(())
    }

    /// A line for people on what is going on.
    fn tell(&self, text: &str) {
        if !self.json {
            crate::progress::note(text);
        }
    }
}

/// What is asked about the first study.
const QUESTION: &str = "What do you see?";

/// What the model answered.
struct Asked {
    /// The name of the study's folder.
    study: String,
    answer: String,
}

/// Asks about the first study that has a draft; nothing where the model answers no questions.
async fn ask(connection: &Connection, rows: &[Row]) -> anyhow::Result<Option<Asked>> {
    let Some(row) = rows.iter().find(|row| row.document.is_some()) else { return Ok(None) };
    let answer = crate::commands::ask::answer(connection, &row.study.uid, QUESTION).await?;
    Ok(answer.map(|answer| Asked { study: row.name(), answer }))
}

/// A study with its draft.
struct Row {
    /// Where the draft lies.
    drafts: PathBuf,
    /// What the phantom holds, in words.
    drawn: String,
    study: Study,
    document: Option<Document>,
}

impl Row {
    /// The name of its folder.
    fn name(&self) -> String {
        self.drafts.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn cells(&self) -> Vec<String> {
        let name = self.name();
        let drawn = self.drawn.clone();
        match &self.document {
            Some(document) => vec![
                name,
                drawn,
                drafts::impression(document),
                drafts::confidences(document),
                format!("{:?}", document.report.urgency).to_lowercase(),
            ],
            None => vec![name, drawn, table::state(&self.study)],
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "study_uid": self.study.uid,
            "modalities": self.study.modalities,
            "state": table::state(&self.study),
            "drawn": self.drawn,
            "impression": self.document.as_ref().map(drafts::impression),
            "json": self.drafts.join("draft.json"),
            "html": self.drafts.join("draft.html"),
            "sr": self.drafts.join("draft.dcm"),
        })
    }
}
