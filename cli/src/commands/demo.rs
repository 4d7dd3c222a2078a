//! `prelim demo`: everything on this machine, with phantom studies.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use prelim_coordinator::report::json::document::Document;
use prelim_proto::v1::{Priority, Study};
use serde_json::json;

use crate::commands::report::{Format, write_whole};
use crate::commands::submit::{files_below, upload, wait};
use crate::drafts;
use crate::phantom;
use crate::score::truth;
use crate::stack::{Stack, StackConfig};
use crate::table;

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
        tokio::task::spawn_blocking(move || phantom::write(&folder, count, seed, None)).await??;

        self.tell("loading the model …");
        let store = tempfile::Builder::new()
            .prefix(".store-")
            .tempdir_in(&self.out)
            .with_context(|| format!("{} cannot hold the demo's store", self.out.display()))?;
        let stack = Stack::start(StackConfig::on_a_free_port(store.path(), self.model.clone())).await?;
        let demonstration = stack.model().demonstration.then(|| stack.model().name.clone());
        let outcome = self.read(&stack, &studies_folder).await;
        // The store goes with its folder; the stack must have let go of it first.
        stack.stop().await?;
        let (studies, documents) = outcome?;
        self.show(&studies, &documents, demonstration.as_deref(), began.elapsed().as_secs_f64())
    }

    /// Submits the studies, waits for the drafts and writes them.
    async fn read(&self, stack: &Stack, folder: &Path) -> anyhow::Result<(Vec<Study>, Vec<Option<Document>>)> {
        let (files, _) = files_below(&[folder.to_owned()])?;
        let files = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "dcm")).collect();
        let response = upload(stack.connection(), files, Priority::Routine).await?;
        let studies = wait(stack.connection(), &response.study_uids, !self.json).await?;
        let mut documents = Vec::new();
        for (index, study) in studies.iter().enumerate() {
            let folder = self.draft_folder(index, study);
            std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            for format in [Format::Html, Format::Sr, Format::Text, Format::Json] {
                let Some(content) = drafts::fetch(stack.connection(), &study.uid, format).await? else { continue };
                write_whole(&folder.join(format!("draft.{}", format.extension())), &content)?;
            }
            documents.push(drafts::document(stack.connection(), &study.uid).await?);
        }
        Ok((studies, documents))
    }

    fn draft_folder(&self, index: usize, study: &Study) -> PathBuf {
        let kind = study.modalities.join("-").to_lowercase();
        self.out.join("drafts").join(format!("{:02}-{kind}", index + 1))
    }

    fn show(
        &self,
        studies: &[Study],
        documents: &[Option<Document>],
        demonstration: Option<&str>,
        seconds: f64,
    ) -> anyhow::Result<()> {
        let truths = truth::below(&self.out.join("studies"))?;
        let drawn = |study: &Study| {
            let truth = truths.iter().find(|(_, truth)| truth.study.as_str() == study.uid);
            truth.map_or_else(String::new, |(_, truth)| truth.in_words())
        };
        let failed = documents.iter().filter(|document| document.is_none()).count();
        if self.json {
            let rows = studies.iter().zip(documents).enumerate();
            let rows: Vec<_> = rows.map(|(i, (study, document))| self.row_json(i, study, document.as_ref())).collect();
            table::say(serde_json::to_string_pretty(&json!({
                "out": self.out, "seconds": seconds, "demonstration_model": demonstration, "studies": rows,
            }))?)?;
        } else {
            let mut rows =
                table::new(&["Draft", "Drawn in the phantom", "Impression of the draft", "Confidence", "Urgency"]);
            for (index, (study, document)) in studies.iter().zip(documents).enumerate() {
                let folder = self.draft_folder(index, study);
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                match document {
                    Some(document) => rows.add_row([
                        name,
                        drawn(study),
                        drafts::impression(document),
                        drafts::confidences(document),
                        format!("{:?}", document.report.urgency).to_lowercase(),
                    ]),
                    None => rows.add_row([name, drawn(study), table::state(study)]),
                };
            }
            table::say(rows)?;
            table::say(format!(
                "{} studies in {seconds:.0} s. Drafts (JSON, HTML, DICOM SR, text): {}",
                studies.len(),
                self.out.join("drafts").display()
            ))?;
            if let Some(first) = studies.first() {
                table::say(format!("Open {} to see one.", self.draft_folder(0, first).join("draft.html").display()))?;
            }
            if let Some(model) = demonstration {
                table::say(format!(
                    "Read by the {model}, which has seen phantoms only: a demonstration, not for patients."
                ))?;
            }
            table::say(prelim_proto::UNSIGNED_DRAFT_STATEMENT)?;
        }
        anyhow::ensure!(failed == 0, "{failed} of {} studies have no draft", studies.len());
        Ok(())
    }

    fn row_json(&self, index: usize, study: &Study, document: Option<&Document>) -> serde_json::Value {
        let folder = self.draft_folder(index, study);
        json!({
            "study_uid": study.uid,
            "modalities": study.modalities,
            "state": table::state(study),
            "impression": document.map(drafts::impression),
            "json": folder.join("draft.json"),
            "html": folder.join("draft.html"),
            "sr": folder.join("draft.dcm"),
        })
    }

    /// A line for people on what is going on.
    fn tell(&self, text: &str) {
        if !self.json {
            crate::progress::note(text);
        }
    }
}
