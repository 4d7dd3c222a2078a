//! A study as a line of the worklist. Pure.

use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::report::Urgency;
use prelim_proto::study::{Priority, StudyState, UnreadReason};
use serde::Serialize;

use crate::report::present::clean;
use crate::spelling::folded;
use crate::store::record::{Judged, StudyRecord};

/// Longest text of a problem, in characters.
const MAX_PROBLEM: usize = 300;

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) uid: Uid,
    pub(super) tenant: Tenant,
    pub(super) state: StudyState,
    /// Where its report stands, in the word of reports; none where there is none to look at.
    pub(super) standing: Option<&'static str>,
    /// The newest version of its report; 0 where there is none.
    pub(super) version: u32,
    /// The version that a radiologist signed last; 0 where there is none.
    pub(super) signed_version: u32,
    pub(super) patient: Patient,
    pub(super) study_date: String,
    pub(super) study_time: String,
    pub(super) description: String,
    pub(super) modalities: Vec<String>,
    pub(super) body_part: Option<String>,
    pub(super) institution: String,
    pub(super) station: Option<String>,
    pub(super) device: Option<String>,
    pub(super) models: Vec<String>,
    pub(super) accession: String,
    /// What the draft says.
    pub(super) urgency: Option<Urgency>,
    /// What was asked for.
    pub(super) priority: Priority,
    /// The lowest of its findings.
    pub(super) confidence: Option<f64>,
    pub(super) findings: u32,
    /// Not all that should have been was read.
    pub(super) partial: bool,
    /// A demonstration model drafted it.
    pub(super) demonstration: bool,
    pub(super) images: u32,
    pub(super) received_at_ms: i64,
    pub(super) changed_at_ms: i64,
    pub(super) problem: Option<String>,
    /// What a radiologist made of its draft; for counts.
    #[serde(skip)]
    pub(super) judged: Option<Judged>,
    /// What searches look at, folded.
    #[serde(skip)]
    pub(super) sought: Sought,
}

/// What searches look at, folded: the page looks at the same of lines that it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sought {
    /// Patient, accession number, description, institution and Study Instance UID, in lines.
    pub(super) words: String,
    pub(super) site: String,
}

/// The patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Patient {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) birth_date: String,
    pub(super) sex: String,
}

/// Somebody who reads a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reader {
    /// The name by which access knows the person.
    pub(super) id: String,
    /// The person's name, as DICOM writes names.
    pub(super) name: String,
    /// Since when, in ms since the Unix epoch.
    pub(super) since_ms: i64,
}

/// A line with those who read the study.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    #[serde(flatten)]
    pub(super) row: &'a Row,
    pub(super) readers: &'a [Reader],
}

impl Row {
    /// The line of a study. What headers say is told without marks that turn the direction of what stands beside it.
    pub(super) fn of(record: &StudyRecord) -> Self {
        let known = &record.attributes;
        let summary = record.summary.as_ref();
        let standing = match record.state {
            StudyState::Drafted => Some("unsigned_draft"),
            StudyState::Signed => Some("signed"),
            StudyState::Amended => Some("amended"),
            StudyState::Rejected => Some("rejected"),
            _ => None,
        };
        let unread = record.unread.iter().filter(|unread| !matches!(unread.reason, UnreadReason::NotNeeded)).count();
        let problem = record.state_reason.clone().or_else(|| match (unread, standing) {
            (1.., Some(_)) => Some(format!("{unread} of what was received was not read")),
            _ => None,
        });
        let row = Self {
            uid: record.uid.clone(),
            tenant: record.tenant.clone(),
            state: record.state,
            standing,
            version: record.draft_version,
            signed_version: record.signed_version,
            patient: Patient {
                name: clean(&known.patient_name),
                id: clean(&known.patient_id),
                birth_date: clean(&known.patient_birth_date),
                sex: clean(&known.patient_sex),
            },
            study_date: clean(&known.study_date),
            study_time: clean(&known.study_time),
            description: clean(&known.description),
            modalities: record.modalities.iter().map(|text| clean(text)).collect(),
            body_part: summary.and_then(|summary| summary.body_part.as_deref().map(clean)),
            institution: clean(&known.institution),
            station: summary.and_then(|summary| summary.station.as_deref().map(clean)),
            device: summary.and_then(|summary| summary.device.as_deref().map(clean)),
            models: summary.map(|summary| summary.models.clone()).unwrap_or_default(),
            accession: clean(&known.accession_number),
            urgency: summary.map(|summary| summary.urgency),
            priority: record.priority,
            confidence: summary.and_then(|summary| summary.confidence),
            findings: summary.map_or(0, |summary| summary.findings),
            partial: summary.is_some_and(|summary| summary.partial),
            demonstration: summary.is_some_and(|summary| summary.demonstration),
            images: record.instances,
            received_at_ms: record.received_at_ms,
            changed_at_ms: record.updated_at_ms,
            judged: summary.and_then(|summary| summary.judged.clone()),
            problem: problem.map(|words| clean(&words).chars().take(MAX_PROBLEM).collect()),
            sought: Sought::default(),
        };
        Self { sought: row.sought(), ..row }
    }

    /// What searches look at in it.
    pub(super) fn sought(&self) -> Sought {
        let Patient { name, id, .. } = &self.patient;
        let texts = [name, id, &self.accession, &self.description, &self.institution, self.uid.as_str()];
        Sought { words: folded(&texts.join("\n")), site: folded(&self.institution) }
    }

    /// How soon it wants an eye: the more urgent of what was asked for and what the draft says. That it was asked for in its turn
    /// says nothing.
    pub(super) fn pressing(&self) -> Option<Urgency> {
        let asked = match self.priority {
            Priority::Routine => None,
            Priority::Urgent => Some(Urgency::Urgent),
            Priority::Stat => Some(Urgency::Critical),
        };
        asked.max(self.urgency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::fixture;

    #[test]
    fn what_headers_say_turns_nothing_around() {
        let mut record = fixture::record_of("1.2");
        let known = &mut record.attributes;
        (known.patient_name, known.patient_id) = ("Doe\u{202e}^Jane\u{2066}".into(), "\u{200f}77".into());
        (known.description, known.institution) = ("chest\u{202d} CT".into(), "St.\u{2069} Mary".into());
        let row = Row::of(&record);
        let told = [&row.patient.name, &row.patient.id, &row.description, &row.institution];
        assert_eq!(told, ["Doe^Jane", "77", "chest CT", "St. Mary"]);
    }
}
