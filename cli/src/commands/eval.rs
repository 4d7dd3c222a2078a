//! `prelim eval`: drafts against truth.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use prelim_proto::demand::ModelName;
use prelim_proto::report::ModelProvenance;
use prelim_proto::v1::{Disposition, Priority, Study};
use prelim_worker::WorkerLimits;
use prelim_worker::config::{ArithmeticChoice, NamedAdapter, WeightChoice};
use serde::Serialize;

use crate::client::Connection;
use crate::drafts;
use crate::files::{self, write_whole};
use crate::follow::wait;
use crate::score::truth::{self, Truth};
use crate::score::{self, Case, Score};
use crate::stack::{Stack, StackConfig};
use crate::table;
use crate::upload::{Uploaded, upload};

/// Read studies whose truth is known, and score the drafts.
///
/// Every folder below DIR that holds a `truth.json`, as `prelim phantom` writes it, is a study. They go through the
/// whole path, and what is scored is the final draft.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim phantom --out test --count 100 --seed 7\n  prelim eval test\n  prelim eval --json --model ~/models/medgemma-4b-it test\n  prelim eval --model ~/models/medgemma-4b-it --adapter chest=~/adapters/chest test"
)]
pub(crate) struct Eval {
    /// Folder with studies and their truth.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A Hugging Face checkpoint folder; the demonstration model where not given.
    #[arg(long, value_name = "DIR", env = "PRELIM_MODEL")]
    model: Option<PathBuf>,
    /// An adapter (LoRA, in PEFT's format) that all studies are read with, by the name that drafts are to call it.
    #[arg(long, value_name = "NAME=DIR")]
    adapter: Option<NamedAdapter>,
    /// How weights are kept: what int8 and int4 cost is the difference to a run without.
    #[arg(long, value_enum, default_value_t = WeightChoice::AsStored, env = "PRELIM_WEIGHTS")]
    weights: WeightChoice,
    /// What factors of products are rounded to.
    #[arg(long, value_enum, default_value_t = ArithmeticChoice::Exact, env = "PRELIM_ARITHMETIC")]
    arithmetic: ArithmeticChoice,
    /// Where the picture of the confusions is written (SVG).
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// For programs: the numbers as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let truths = truth::below(std::slice::from_ref(&self.folder))?;
        if let Some(path) = &self.picture {
            files::check_place(path)?;
        }
        let store = files::private_folder().context("no folder for the store of this evaluation")?;
        let limits = WorkerLimits { weights: self.weights, arithmetic: self.arithmetic, ..WorkerLimits::default() };
        let mut config = StackConfig { limits, ..StackConfig::on_a_free_port(store.path(), self.model.clone()) };
        if let Some(adapter) = &self.adapter {
            config.offer.adapters = vec![adapter.clone()];
            config.coordinator.rules = Some(rules_for(&adapter.name, store.path())?);
        }
        let stack = Stack::start(config).await?;
        let model = match &self.adapter {
            None => stack.model(),
            Some(NamedAdapter { name, .. }) => stack
                .adapted(name)
                .with_context(|| format!("nothing is read with {name}: the model's profile has it answer questions"))?,
        };
        let model = model.clone();
        let connection = stack.connection().clone();
        let (cases, not_read) = stack.during(self.cases(&connection, truths)).await?;
        let score = score::score(&cases);
        if let Some(path) = &self.picture {
            write_whole(path, score::picture::confusion(&score).as_bytes())?;
        }
        let weights = self.weights.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let whole = Evaluation { model, weights, score, not_read };
        if self.json {
            table::say(serde_json::to_string_pretty(&whole)?)?
        } else {
            show(&whole)?
        }
        let (none, all) = (whole.not_read.len(), whole.score.studies);
        anyhow::ensure!(
            none < all,
            "none of {all} studies was read, each with its reason above: these numbers say nothing"
        );
        Ok(())
    }

    /// Reads every study and puts its draft beside its truth; and lists those without one.
    async fn cases(
        &self,
        connection: &Connection,
        truths: Vec<(PathBuf, Truth)>,
    ) -> anyhow::Result<(Vec<Case>, Vec<NotRead>)> {
        let mut files = Vec::new();
        for (folder, _) in &truths {
            files.extend(files::below(std::slice::from_ref(folder))?.files);
        }
        files.retain(|path| path.extension().is_some_and(|end| end == "dcm"));
        let uploaded = upload(connection, files, Priority::Routine, String::new()).await?;
        let studies: Vec<Study> = wait(connection, &uploaded.study_uids, !self.json).await?;
        let (mut cases, mut not_read) = (Vec::new(), Vec::new());
        for (folder, truth) in truths {
            let uid = truth.study.as_str();
            let study = studies.iter().find(|study| study.uid == uid);
            let document = match study {
                Some(_) => drafts::document(connection, uid).await?,
                None => None,
            };
            if document.is_none() {
                let why = study.map_or_else(|| refusal(&uploaded, &folder), table::state);
                not_read.push(NotRead { folder: folder.display().to_string(), why });
            }
            let draft = document.map(|document| document.to_report()).transpose()?.map(|report| report.findings);
            cases.push(Case { truth, draft });
        }
        Ok((cases, not_read))
    }
}

/// A study without a draft.
#[derive(Serialize)]
struct NotRead {
    /// Its folder.
    folder: String,
    /// Why there is none.
    why: String,
}

/// Why a study is not held: what became of the first of its files that was not taken.
fn refusal(uploaded: &Uploaded, folder: &Path) -> String {
    let mut of_it = uploaded.objects.iter().zip(&uploaded.paths).filter(|(_, path)| path.starts_with(folder));
    let refused = of_it.find(|(object, _)| object.disposition() == Disposition::Refused);
    let why =
        refused.map_or("its files are of another study than its truth names", |(object, _)| object.reason.as_str());
    format!("not accepted: {}", table::cell(why, 300))
}

/// The numbers, and what they are of.
#[derive(Serialize)]
struct Evaluation {
    /// As drafts name it.
    model: ModelProvenance,
    /// How weights were asked to be kept; how they are is part of the model's arithmetic.
    weights: String,
    #[serde(flatten)]
    score: Score,
    /// Studies without a draft, which count as if nothing had been found in them.
    not_read: Vec<NotRead>,
}

/// A file of rules by which every study is read with this model.
fn rules_for(model: &ModelName, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("rules.toml");
    // A name has no control characters, and without these JSON's texts are TOML's.
    let rules = format!("[default]\nmodel = {}\n", serde_json::to_string(model.as_str())?);
    std::fs::write(&path, rules).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(path)
}

/// The numbers for people.
fn show(Evaluation { model, score, not_read, .. }: &Evaluation) -> anyhow::Result<()> {
    if !not_read.is_empty() {
        table::say(format!(
            "{} of {} studies were not read, and count as if nothing had been found in them:",
            not_read.len(),
            score.studies
        ))?;
        for NotRead { folder, why } in not_read {
            table::say(format!("  {}: {why}", table::cell(folder, 200)))?;
        }
    }
    for (modality, numbers) in &score.by_modality {
        table::say(format!("{}, {} studies", modality.to_uppercase(), numbers.studies))?;
        let mut rows = table::new(&["Finding", "Studies", "Precision", "Recall", "F1", "Side", "Box IoU"]);
        for class in &numbers.classes {
            rows.add_row([
                score::class_name(class.finding).to_owned(),
                class.studies.to_string(),
                format!("{:.3}", class.precision),
                format!("{:.3}", class.recall),
                format!("{:.3}", class.f1),
                optional(class.side_accuracy),
                optional(class.mean_iou),
            ]);
        }
        table::align_right(&mut rows, &[1, 2, 3, 4, 5, 6]);
        table::say(rows)?;
        table::say(format!(
            "macro-F1 {:.3} over the {} of {} classes that some study has, normals without a finding {}\n",
            numbers.macro_f1,
            numbers.classes_scored,
            numbers.classes.len(),
            optional(numbers.normal_specificity)
        ))?;
    }
    let on = model.base.as_ref().map_or_else(String::new, |base| format!(" on {base}"));
    table::say(format!(
        "{} studies by {}{on}, {}: parsed {:.3}, side right {}, box IoU {}, normals without a finding {}, calibration error {}",
        score.studies,
        model.name,
        model.arithmetic,
        score.parsed,
        optional(score.side_accuracy),
        optional(score.mean_iou),
        optional(score.normal_specificity),
        optional(score.ece),
    ))
}

fn optional(number: Option<f64>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.3}"))
}
