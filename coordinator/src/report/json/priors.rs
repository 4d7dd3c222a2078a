//! Earlier studies, between the domain's report and the published document.

use prelim_proto::comparison::{Change, Prior, PriorFinding, PriorSource};

use super::document::{Changed, EarlierFinding, PriorStudy, Source};
use super::{LENGTH_DECIMALS, rounded};

/// An earlier study for the document.
pub(super) fn document(prior: &Prior) -> PriorStudy {
    PriorStudy {
        study: prior.study.clone(),
        date: prior.date.clone(),
        time: prior.time.clone(),
        days_before: prior.days_before,
        description: prior.what.clone(),
        kinds: prior.kinds.clone(),
        source: match prior.source.clone() {
            PriorSource::Draft { version, digest, demonstration } => {
                Source::UnsignedDraft { version, digest, demonstration }
            }
            PriorSource::Signed { version, digest, demonstration } => {
                Source::SignedReport { version, digest, demonstration }
            }
            PriorSource::Report { instance, digest, verified } => Source::Report { instance, digest, verified },
        },
        changes: prior.changes.iter().map(changed).collect(),
    }
}

/// An earlier study of a document.
pub(super) fn back(prior: &PriorStudy) -> Prior {
    Prior {
        study: prior.study.clone(),
        date: prior.date.clone(),
        time: prior.time.clone(),
        days_before: prior.days_before,
        what: prior.description.clone(),
        kinds: prior.kinds.clone(),
        source: match prior.source.clone() {
            Source::UnsignedDraft { version, digest, demonstration } => {
                PriorSource::Draft { version, digest, demonstration }
            }
            Source::SignedReport { version, digest, demonstration } => {
                PriorSource::Signed { version, digest, demonstration }
            }
            Source::Report { instance, digest, verified } => PriorSource::Report { instance, digest, verified },
        },
        changes: prior.changes.iter().map(changed_back).collect(),
    }
}

fn changed(change: &Change) -> Changed {
    let earlier = |finding: &PriorFinding| EarlierFinding {
        key: finding.code,
        presence: finding.presence,
        laterality: finding.laterality,
        zone: finding.zone,
        severity: finding.severity,
        size_mm: finding.size_mm.map(|size| rounded(size, LENGTH_DECIMALS)),
    };
    Changed { change: change.kind, finding: change.finding, earlier: change.prior.as_ref().map(earlier) }
}

fn changed_back(changed: &Changed) -> Change {
    let prior = |finding: &EarlierFinding| PriorFinding {
        code: finding.key,
        presence: finding.presence,
        laterality: finding.laterality,
        zone: finding.zone,
        severity: finding.severity,
        size_mm: finding.size_mm.map(|size| size as f32),
    };
    Change { kind: changed.change, finding: changed.finding, prior: changed.earlier.as_ref().map(prior) }
}
