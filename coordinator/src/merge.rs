//! The findings of all jobs of a study to one draft. Pure and deterministic: it depends on what was found, not on who
//! found it when.
//!
//! # Layout
//! - `observe`: findings taken apart into single observations, each with its place in the patient
//! - `join`: observations of the same thing put together: by code, side and place
//! - `combine`: what was put together as one finding, with its confidence and best evidence
//! - `urgency`: how soon a person should look
//! - `prose`: sentences from findings, by template
//! - `compare`: what changed since an earlier study
//! - `account`: what was not read, and what qualifies the draft
//!
//! **Invariant**: laterality is the patient's, as the model said it; nothing here looks left or right on an image.
//! **Invariant**: a sentence names findings of the list and no others.
//! **Invariant**: nothing is left out in silence: images not read are listed, observations not reported are counted.

mod account;
mod combine;
mod compare;
mod join;
mod observe;
mod prose;
#[cfg(test)]
mod tests;
pub(crate) mod urgency;

pub(crate) use self::compare::{Taken, taken};

use std::collections::BTreeSet;

use prelim_proto::UNSIGNED_DRAFT_STATEMENT;
use prelim_proto::comparison::Prior;
use prelim_proto::finding::{Finding, Presence};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobOutcome, JobSpec};
use prelim_proto::report::{ModelProvenance, Replaced, Report, Sentence, Urgency};
use prelim_proto::study::{Study, Unread};

use crate::priors::Compared;

/// A read job of the study that is finished.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What was to be done.
    pub spec: &'a JobSpec,
    /// What came of it, or why it was given up.
    pub end: Result<&'a JobOutcome, &'a str>,
}

/// What a merge came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// A draft.
    Draft(Box<Report>),
    /// No image was read: there is nothing to report on.
    NothingRead {
        /// Why, for the study's record.
        reason: String,
        /// What was not read.
        unread: Vec<Unread>,
    },
}

/// Merges the readings of `study` to its next report, which takes the place of `replaces`, if there was one, and says what
/// changed since the studies it is `compared` with. Readings may come in any order; those of merge jobs are passed over. The study's own list of what is unread is that of the partition.
pub fn merge(study: &Study, readings: &[Reading<'_>], replaces: Option<Replaced>, compared: &Compared) -> Merge {
    let is_read = |reading: &&Reading<'_>| matches!(reading.spec.kind, JobKind::Read(_));
    let mut readings: Vec<Reading<'_>> = readings.iter().filter(is_read).copied().collect();
    readings.sort_by(|a, b| a.spec.id.cmp(&b.spec.id));
    let unread = account::unread(study, &readings);
    let outcomes: Vec<&JobOutcome> = readings.iter().filter_map(|reading| reading.end.ok()).collect();
    if outcomes.iter().all(|outcome| outcome.frames_read == 0) {
        return Merge::NothingRead { reason: account::nothing_read(&unread), unread };
    }

    let observations = observe::observe(study, &readings);
    let joined = join::join(observations);
    let (findings, unsupported) = combine::findings(joined);

    let partial = unread.iter().any(account::is_missed);
    let is_cut = outcomes.iter().any(|outcome| outcome.truncated);
    let mut limitations = account::limitations(&outcomes, &unread, &findings, unsupported);
    limitations.extend(account::announced(study));
    let models: BTreeSet<&ModelProvenance> = outcomes.iter().map(|outcome| &outcome.model).collect();
    let (models, kinds): (Vec<ModelProvenance>, _) = (models.into_iter().cloned().collect(), kinds(&readings));
    let now = compare::Now { study, kinds: &kinds, findings: &findings, partial, models: &models, is_decided: false };
    let (comparison, priors) = compare::compare(&now, compared);
    Merge::Draft(Box::new(Report {
        study: study.uid.clone(),
        version: replaces.as_ref().map_or(1, |replaced| replaced.version + 1),
        replaces,
        review: None,
        kinds,
        technique: prose::technique(study, &readings),
        comparison,
        priors,
        findings_text: prose::findings_text(&findings, is_cut),
        impression: prose::impression(&findings, partial, is_cut),
        inserted: Vec::new(),
        urgency: urgency::of_all(&findings),
        findings,
        unread,
        partial,
        limitations,
        models,
        statement: UNSIGNED_DRAFT_STATEMENT.to_owned(),
    }))
}

/// The findings in words, one sentence a finding.
pub(crate) fn findings_text(findings: &[Finding]) -> Vec<Sentence> {
    prose::findings_text(findings, false)
}

/// What matters, the most urgent first.
pub(crate) fn impression(findings: &[Finding], partial: bool) -> Vec<Sentence> {
    prose::impression(findings, partial, false)
}

/// The urgency of a study with these findings.
pub(crate) fn urgency(findings: &[Finding]) -> Urgency {
    urgency::of_all(findings)
}

/// What changed since earlier studies, in sentences and finding by finding, where a person made other `findings` of a report.
pub(crate) fn comparison(
    study: &Study,
    findings: &[Finding],
    before: &Report,
    compared: &Compared,
) -> (Vec<String>, Vec<Prior>) {
    let (kinds, models) = (&before.kinds, &before.models);
    let now = compare::Now { study, kinds, findings, partial: before.partial, models, is_decided: true };
    compare::compare(&now, compared)
}

/// The kinds of image of which something was read.
fn kinds(readings: &[Reading<'_>]) -> Vec<ImageKind> {
    let was_read = |kind: &ImageKind| {
        let of_kind = readings.iter().filter(|reading| reading.spec.kind == JobKind::Read(*kind));
        of_kind.filter_map(|reading| reading.end.ok()).any(|outcome| outcome.frames_read > 0)
    };
    [ImageKind::Xray, ImageKind::Ct].into_iter().filter(was_read).collect()
}

/// Findings that are not said to be absent.
fn positive(findings: &[Finding]) -> impl Iterator<Item = (usize, &Finding)> {
    let is_positive = |finding: &Finding| finding.presence != Presence::Absent;
    findings.iter().enumerate().filter(move |(_, finding)| is_positive(finding))
}
