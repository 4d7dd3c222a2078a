//! From the findings of all jobs of a study to one draft.
//!
//! # Layout
//! - [`merge`]: the spine
//! - `join`: findings of the same thing, seen on several images, become one
//! - `words`: the sentences of the report, by template from the joined findings
//!
//! **Invariant**: pure: the same readings give the same draft, byte for byte, in whatever order the jobs ended.
//! **Invariant**: a sentence names only findings that are in the list.

mod join;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeSet;

use prelim_proto::UNSIGNED_DRAFT_STATEMENT;
use prelim_proto::finding::{Finding, Presence, Severity};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobOutcome, JobSpec};
use prelim_proto::report::{ModelProvenance, Report, Urgency};
use prelim_proto::study::{Study, Unread, UnreadReason};
use prelim_proto::vocabulary::FindingCode;

/// A read job of the study, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What was to be done.
    pub spec: &'a JobSpec,
    /// What came of it, or why it was given up.
    pub end: Result<&'a JobOutcome, &'a str>,
}

/// What a merge comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// A draft.
    Draft(Box<Report>),
    /// Not one image was read; the reason, for the study's record.
    NothingRead(String),
}

/// Joins the `readings` of `study` into version `version` of its draft.
///
/// Readings may come in any order. Those of merge jobs are passed over.
pub fn merge(study: &Study, readings: &[Reading<'_>], version: u32) -> Merge {
    let mut readings: Vec<Reading<'_>> =
        readings.iter().copied().filter(|reading| matches!(reading.spec.kind, JobKind::Read(_))).collect();
    readings.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
    let unread = unread(study, &readings);
    if !readings.iter().any(|reading| reading.end.is_ok_and(|outcome| outcome.frames_read > 0)) {
        return Merge::NothingRead(nothing_read(&unread));
    }
    let findings = join::join(&readings);
    let kinds = kinds(&readings);
    let models = models(&readings);
    Merge::Draft(Box::new(Report {
        study: study.uid.clone(),
        version,
        technique: words::technique(study, &readings),
        comparison: vec!["No earlier study was compared.".to_owned()],
        findings_text: words::findings(&findings, &kinds),
        impression: words::impression(&findings),
        urgency: urgency(&findings),
        partial: unread.iter().any(|unread| was_wanted(unread.reason)),
        limitations: limitations(&readings, &models),
        statement: UNSIGNED_DRAFT_STATEMENT.to_owned(),
        findings,
        kinds,
        unread,
        models,
    }))
}

/// Everything that was not read: what the partition left out, what the jobs could not read, and the images of dead jobs.
fn unread(study: &Study, readings: &[Reading<'_>]) -> Vec<Unread> {
    let mut all: Vec<Unread> = study.unread.clone();
    for reading in readings {
        match reading.end {
            Ok(outcome) => all.extend(outcome.unread.iter().cloned()),
            Err(reason) => all.extend(reading.spec.images.iter().map(|image| Unread {
                instance: image.instance.clone(),
                frame: Some(image.frame),
                reason: UnreadReason::JobDead,
                detail: format!("the job was given up: {reason}"),
            })),
        }
    }
    all.sort_by(|a, b| (&a.instance, a.frame, &a.detail).cmp(&(&b.instance, b.frame, &b.detail)));
    all.dedup_by(|a, b| a.instance == b.instance && a.frame == b.frame && a.reason == b.reason);
    all
}

/// Whether something unread for this reason leaves a gap in the draft.
fn was_wanted(reason: UnreadReason) -> bool {
    match reason {
        UnreadReason::NotReadable | UnreadReason::NotNeeded => false,
        UnreadReason::TransferSyntax | UnreadReason::Corrupt | UnreadReason::TooLarge | UnreadReason::JobDead => true,
    }
}

/// Why there is no draft, in a sentence.
fn nothing_read(unread: &[Unread]) -> String {
    match unread {
        [] => "nothing to read".to_owned(),
        [one] => one.detail.clone(),
        [first, rest @ ..] if rest.iter().all(|other| other.detail == first.detail) => first.detail.clone(),
        [first, rest @ ..] => format!("{} (and {} more images)", first.detail, rest.len()),
    }
}

fn kinds(readings: &[Reading<'_>]) -> Vec<ImageKind> {
    let is = |kind| readings.iter().any(|reading| reading.spec.kind == JobKind::Read(kind));
    [ImageKind::Xray, ImageKind::Ct].into_iter().filter(|kind| is(*kind)).collect()
}

fn models(readings: &[Reading<'_>]) -> Vec<ModelProvenance> {
    let models: BTreeSet<&ModelProvenance> =
        readings.iter().filter_map(|reading| reading.end.ok()).map(|outcome| &outcome.model).collect();
    models.into_iter().cloned().collect()
}

/// What qualifies the draft, each sentence once, the general ones first.
fn limitations(readings: &[Reading<'_>], models: &[ModelProvenance]) -> Vec<String> {
    let mut sentences = Vec::new();
    for model in models.iter().filter(|model| model.demonstration) {
        sentences.push(format!(
            "{} is a demonstration, trained on phantoms and not on patients: what it says of a patient means nothing.",
            model.name
        ));
    }
    let outcomes = || readings.iter().filter_map(|reading| reading.end.ok());
    let truncated = outcomes().filter(|outcome| outcome.truncated).count();
    if truncated > 0 {
        let total = readings.len();
        sentences.push(format!(
            "The model reached its token budget in {truncated} of {total} jobs; findings may be missing."
        ));
    }
    let dead = readings.iter().filter(|reading| reading.end.is_err()).count();
    if dead > 0 {
        sentences.push(format!("{dead} of {} jobs were given up; their images were not read.", readings.len()));
    }
    let told: BTreeSet<&String> = outcomes().flat_map(|outcome| &outcome.limitations).collect();
    sentences.extend(told.into_iter().cloned());
    sentences
}

/// How soon a person should look, from what is present.
fn urgency(findings: &[Finding]) -> Urgency {
    let of = |finding: &Finding| match finding.code {
        FindingCode::Pneumothorax if matches!(finding.severity, Some(Severity::Large | Severity::Severe)) => {
            Urgency::Critical
        }
        FindingCode::Pneumothorax | FindingCode::Mass => Urgency::Urgent,
        _ if matches!(finding.severity, Some(Severity::Large | Severity::Severe)) => Urgency::Urgent,
        _ => Urgency::Routine,
    };
    let seen = findings.iter().filter(|finding| finding.presence != Presence::Absent);
    seen.map(of).max().unwrap_or(Urgency::Routine)
}
