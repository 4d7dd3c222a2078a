//! Studies, for clients. The wire form is a summary: it goes one way.

use super::job::name;
use super::{ConvertError, all, bad, enums, known};
use crate::ids::Uid;
use crate::study::{
    Completion, CompletionReason, Instance, Intake, Priority, Route, Series, Study, StudyAttributes, StudyState,
    Unread, UnreadReason,
};
use crate::v1;

enums!("state", StudyState, v1::StudyState, {
    Receiving, Complete, Queued, Reading, Drafted, Signed, Amended, Rejected, Failed, Cancelled, Skipped,
    Removing,
});
enums!("priority", Priority, v1::Priority, { Routine, Urgent, Stat });
enums!("reason", UnreadReason, v1::UnreadReason, {
    NotReadable, NotNeeded, TransferSyntax, Corrupt, TooLarge, JobDead,
});
enums!("completion", CompletionReason, v1::CompletionReason, {
    Told, CountReached, StepsPerformed, AssociationsEnded, QuietPeriod, MaximumWait,
});

/// The priority in a message field, routine where unspecified.
pub(super) fn priority(value: i32) -> Result<Priority, ConvertError> {
    match known::<v1::Priority>("priority", value)? {
        v1::Priority::Unspecified => Ok(Priority::Routine),
        named => named.try_into(),
    }
}

impl Priority {
    /// The priority in a message field, routine where unspecified.
    pub fn from_wire(value: i32) -> Result<Self, ConvertError> {
        priority(value)
    }
}

impl From<Unread> for v1::Unread {
    fn from(u: Unread) -> Self {
        Self {
            instance_uid: u.instance.into(),
            frame: u.frame,
            reason: v1::UnreadReason::from(u.reason) as i32,
            detail: u.detail,
        }
    }
}

impl TryFrom<v1::Unread> for Unread {
    type Error = ConvertError;
    fn try_from(u: v1::Unread) -> Result<Self, ConvertError> {
        if u.frame == Some(0) {
            return Err(bad("unread.frame", 0));
        }
        Ok(Self {
            instance: Uid::parse(&u.instance_uid)?,
            frame: u.frame,
            reason: known::<v1::UnreadReason>("reason", u.reason)?.try_into()?,
            detail: u.detail,
        })
    }
}

impl From<StudyAttributes> for v1::StudyAttributes {
    fn from(a: StudyAttributes) -> Self {
        Self {
            patient_id: a.patient_id,
            patient_name: a.patient_name,
            patient_birth_date: a.patient_birth_date,
            patient_sex: a.patient_sex,
            accession_number: a.accession_number,
            study_id: a.study_id,
            study_date: a.study_date,
            study_time: a.study_time,
            description: a.description,
            referring_physician: a.referring_physician,
            institution: a.institution,
        }
    }
}

impl From<Instance> for v1::Instance {
    fn from(i: Instance) -> Self {
        let image = i.image.as_ref();
        Self {
            uid: i.uid.into(),
            sop_class_uid: i.sop_class.into(),
            transfer_syntax_uid: i.transfer_syntax.into(),
            digest: i.digest.into(),
            size_bytes: i.size_bytes,
            number: i.number,
            source_name: i.source_name,
            rows: image.map_or(0, |a| a.rows),
            columns: image.map_or(0, |a| a.columns),
            frames: image.map_or(0, |a| a.frames),
        }
    }
}

impl From<Series> for v1::Series {
    fn from(s: Series) -> Self {
        Self {
            uid: s.uid.into(),
            modality: s.modality,
            description: s.description,
            number: s.number,
            instances: all(s.instances),
        }
    }
}

impl From<Completion> for v1::Completion {
    fn from(c: Completion) -> Self {
        Self { reason: v1::CompletionReason::from(c.reason) as i32, detail: c.detail }
    }
}

impl From<Route> for v1::Route {
    fn from(r: Route) -> Self {
        Self { rule: r.rule, destinations: r.destinations, model: name(r.demand.model), prompt: name(r.demand.prompt) }
    }
}

impl From<Intake> for v1::Intake {
    fn from(i: Intake) -> Self {
        Self {
            senders: i.senders,
            expected_instances: i.expected_instances,
            completion: i.completion.map(Into::into),
            route: i.route.map(Into::into),
        }
    }
}

impl From<Study> for v1::Study {
    fn from(s: Study) -> Self {
        let mut modalities: Vec<String> = s.series.iter().map(|series| series.modality.clone()).collect();
        modalities.sort();
        modalities.dedup();
        Self {
            uid: s.uid.into(),
            tenant: s.tenant.into(),
            state: v1::StudyState::from(s.state) as i32,
            state_reason: s.state_reason,
            priority: v1::Priority::from(s.priority) as i32,
            received_at_ms: s.received_at_ms,
            updated_at_ms: s.updated_at_ms,
            attributes: Some(s.attributes.into()),
            instance_count: s.series.iter().map(|series| series.instances.len() as u32).sum(),
            series: all(s.series),
            unread: all(s.unread),
            partition_notes: s.partition_notes,
            jobs_total: s.jobs_total,
            jobs_finished: s.jobs_finished,
            cost: Some(s.cost.into()),
            modalities,
            intake: Some(s.intake.into()),
        }
    }
}
