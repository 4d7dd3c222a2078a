//! `prelim submit`: send DICOM files.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use prelim_proto::v1::{Disposition, ObjectOutcome, Priority, Study, StudyState, SubmitHeader};
use serde_json::json;

use crate::client::Connection;
use crate::commands::studies::study_json;
use crate::files::{self, Found};
use crate::follow::wait_patiently;
use crate::table;
use crate::upload::{Uploaded, name_of, refused, upload_some};

/// Refused files that people are told of, one line each.
const REFUSED_SHOWN: usize = 20;

/// Send DICOM files to a coordinator.
///
/// Every file of the folders is sent, but for the `truth.json` of phantoms; files that are no DICOM are refused one by one,
/// with what was found. The exit code is 0 only where nothing was refused and, with --wait, every study has its draft or is
/// skipped by a rule.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim submit --wait ~/studies/chest\n  prelim submit --priority stat --json study1 study2"
)]
pub(crate) struct Submit {
    /// Folders, taken with everything in them, or files.
    #[arg(value_name = "DIR", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    /// Wait until every study has its draft, or failed.
    #[arg(long)]
    wait: bool,
    /// How soon the drafts are wanted.
    #[arg(long, value_enum, default_value_t = Urgency::Routine)]
    priority: Urgency,
    /// Whose the studies are; where not given, your only tenant, or else `default`.
    #[arg(long, value_name = "NAME", env = "PRELIM_TENANT")]
    tenant: Option<String>,
    /// Instances that each of the studies has in all: it is complete when it holds so many, also where they come by several
    /// uploads or other ways. Without it a study is complete at the end of the upload.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    instances: Option<u32>,
    /// For programs: one JSON object at the end.
    #[arg(long)]
    json: bool,
}

/// How soon the drafts are wanted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Urgency {
    /// In their turn.
    Routine,
    /// Before routine work.
    Urgent,
    /// Before everything.
    Stat,
}

impl Submit {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Found { mut files, unreadable } = files::below(&self.paths)?;
        files.retain(|path| !path.ends_with("truth.json") || self.paths.contains(path));
        let priority = match self.priority {
            Urgency::Routine => Priority::Routine,
            Urgency::Urgent => Priority::Urgent,
            Urgency::Stat => Priority::Stat,
        };
        let tenant = self.tenant.unwrap_or_default();
        let expected_instances = self.instances.unwrap_or_default();
        let header = SubmitHeader { priority: priority as i32, tenant, expected_instances, ..SubmitHeader::default() };
        let mut uploaded = upload_some(&self.connection, files, header).await?;
        for (path, reason) in unreadable {
            uploaded.objects.push(refused(&name_of(&path), &reason));
            uploaded.paths.push(path);
        }
        // Studies of which a part is still to come are not waited for.
        let is_whole = uploaded.stopped.is_none();
        let studies = match self.wait && is_whole {
            true => wait_patiently(&self.connection, &uploaded.study_uids, !self.json).await?,
            false => Vec::new(),
        };
        if self.json {
            let objects = uploaded.objects.iter().zip(&uploaded.paths);
            let objects: Vec<_> = objects.map(|(object, path)| outcome_json(object, path)).collect();
            let studies: Vec<_> = studies.iter().map(study_json).collect();
            let stopped = uploaded.stopped.as_ref().map(|why| format!("{why:#}"));
            let uids = &uploaded.study_uids;
            let all = json!({"objects": objects, "study_uids": uids, "studies": studies, "stopped": stopped});
            table::say(serde_json::to_string_pretty(&all)?)?;
        } else {
            tell(&uploaded, &studies)?;
        }
        let refused = uploaded.count(Disposition::Refused);
        let is_settled = |study: &&Study| {
            use StudyState::{Amended, Drafted, Rejected, Signed, Skipped};
            matches!(study.state(), Drafted | Signed | Amended | Rejected | Skipped)
        };
        let failed = studies.len() - studies.iter().filter(is_settled).count();
        let files = table::count(uploaded.objects.len(), "file");
        if let Some(why) = uploaded.stopped {
            anyhow::bail!("{why:#}; not all of {files} taken, each with what became of it above");
        }
        anyhow::ensure!(refused < uploaded.objects.len(), "none of {files} was accepted, each with its reason above");
        anyhow::ensure!(refused == 0, "{refused} of {files} refused, each with its reason above; the others are held");
        anyhow::ensure!(
            failed == 0,
            "{failed} of {} {} no draft, each with its reason above",
            table::count(studies.len(), "study"),
            if failed == 1 { "has" } else { "have" },
        );
        Ok(())
    }
}

/// An outcome for programs.
fn outcome_json(outcome: &ObjectOutcome, path: &Path) -> serde_json::Value {
    let disposition = match outcome.disposition() {
        Disposition::Unspecified => "unknown".to_owned(),
        known => known.as_str_name().trim_start_matches("DISPOSITION_").to_lowercase(),
    };
    json!({
        "path": path.to_string_lossy(),
        "name": outcome.name,
        "disposition": disposition,
        "reason": outcome.reason,
        "study_uid": outcome.study_uid,
        "instance_uid": outcome.instance_uid,
    })
}

/// What became of the files, for people.
fn tell(uploaded: &Uploaded, studies: &[Study]) -> anyhow::Result<()> {
    let unanswered = match uploaded.count(Disposition::Unspecified) {
        0 => String::new(),
        count => format!(", {count} not answered for"),
    };
    table::say(format!(
        "{}: {} accepted, {} held already, {} refused{unanswered}; {}",
        table::count(uploaded.objects.len(), "file"),
        uploaded.count(Disposition::Accepted),
        uploaded.count(Disposition::Duplicate),
        uploaded.count(Disposition::Refused),
        table::count(uploaded.study_uids.len(), "study"),
    ))?;
    let name = |path: &Path| table::cell(&path.display().to_string(), 200);
    let (held, not_taken): (Vec<_>, Vec<_>) =
        uploaded.objects.iter().zip(&uploaded.paths).partition(|(object, _)| is_held(object));
    for (object, path) in not_taken.iter().take(REFUSED_SHOWN) {
        let word = if object.disposition() == Disposition::Refused { "refused" } else { "unknown" };
        table::say(format!("  {word} {}: {}", name(path), table::cell(&object.reason, 300)))?;
    }
    if not_taken.len() > REFUSED_SHOWN {
        table::say(format!("  and {} more; --json lists all", not_taken.len() - REFUSED_SHOWN))?;
    }
    if uploaded.stopped.is_some() {
        // What is not in the list above is held, by name where there are few.
        for (_, path) in held.iter().take(REFUSED_SHOWN) {
            table::say(format!("  held {}", name(path)))?;
        }
        if held.len() > REFUSED_SHOWN {
            table::say(format!("  and {} more held; --json lists all", held.len() - REFUSED_SHOWN))?;
        }
    }
    if studies.is_empty() {
        for uid in &uploaded.study_uids {
            table::say(format!("  study {uid}"))?;
        }
        return Ok(());
    }
    let mut rows = table::new(&["Study", "Modality", "Jobs", "State"]);
    for study in studies {
        rows.add_row([study.uid.clone(), study.modalities.join(" "), table::jobs(study), table::state(study)]);
    }
    table::one_line_a_row(&mut rows);
    table::say(rows)
}

/// Whether a coordinator said that it holds the file.
fn is_held(object: &ObjectOutcome) -> bool {
    matches!(object.disposition(), Disposition::Accepted | Disposition::Duplicate)
}
