//! A study's draft as instances of the study, for as long as the draft is the study's newest word: the structured report, and
//! the other DICOM objects that it can be had as. Each is written when it is asked for. The writers are pure and name an
//! object by what it holds, so that it is the same object with the same bytes each time, here and where drafts are sent.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prelim_imaging::Limits;
use prelim_imaging::header::{digest, read_header};
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::study::StudyState;

use super::Web;
use super::problem::Problem;
use crate::report::{Format, ReportError};
use crate::service::ServiceError;
use crate::store::record::{InstanceRecord, StudyRecord};

/// Objects whose records are kept; a record has some hundred bytes.
const MAX_KEPT: usize = 4_096;
/// Objects that are written at once; one with pictures takes some tens of MB for a moment.
const AT_ONCE: usize = 4;

/// A draft as a DICOM object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draft {
    /// As the record of a stored instance.
    pub(super) record: InstanceRecord,
    /// The draft's version.
    pub(super) version: u32,
    /// Which of its objects.
    pub(super) format: Format,
}

/// Objects that were written lately: their records, and for those that turned out to have nothing to show, none.
#[derive(Default)]
pub(super) struct Drafts {
    kept: Mutex<VecDeque<(Same, Option<Arc<Draft>>)>>,
    /// Whoever wants what another is writing waits for it.
    writing: [tokio::sync::Mutex<()>; AT_ONCE],
}

/// An object of a version of a study's draft, of a study of so many instances.
type Same = (Uid, u32, u32, u32, Format);

/// The objects that a study shows of its newest report. One that is read again after late instances shows none until it has
/// its next, and one whose draft was rejected shows none but what was signed before.
pub(super) fn shown(record: &StudyRecord) -> Vec<Format> {
    let is_shown = matches!(record.state, StudyState::Drafted | StudyState::Signed | StudyState::Amended);
    if !is_shown || record.standing_version() == 0 {
        return Vec::new();
    }
    if record.draft_objects.is_empty() {
        // It was drafted by a version that did not write them down: these are always there.
        return vec![Format::Sr, Format::DicomPdf];
    }
    record.draft_objects.iter().filter_map(|word| word.parse().ok()).collect()
}

impl Web {
    /// The objects of a study's draft that it shows, of those `wanted`.
    pub(super) async fn drafts_of(
        &self,
        record: &StudyRecord,
        stored: &[InstanceRecord],
        wanted: impl Fn(Format) -> bool,
    ) -> Result<Vec<Arc<Draft>>, Problem> {
        // A study of which more has come since its record was read is not the one that was drafted.
        if stored.len() != record.instances as usize {
            return Ok(Vec::new());
        }
        let mut drafts = Vec::new();
        for format in shown(record).into_iter().filter(|format| wanted(*format)) {
            drafts.extend(self.draft_as(record, format).await?);
        }
        Ok(drafts)
    }

    async fn draft_as(&self, record: &StudyRecord, format: Format) -> Result<Option<Arc<Draft>>, Problem> {
        let same = (record.uid.clone(), record.standing_version(), record.generation, record.instances, format);
        if let Some(kept) = self.drafts.get(&same) {
            return Ok(kept);
        }
        let _turn = self.drafts.turn(&same).await;
        if let Some(kept) = self.drafts.get(&same) {
            return Ok(kept);
        }
        let Some(bytes) = self.written(&record.uid, record.standing_version(), format).await? else {
            self.drafts.keep(same, None);
            return Ok(None);
        };
        let read = read_header(&bytes, None, &Limits::default());
        let Ok(header) = read.inspect_err(|error| tracing::error!(%error, "draft is no DICOM object")) else {
            return Ok(None);
        };
        self.memory.keep(header.instance.digest.clone(), bytes);
        let instance = InstanceRecord {
            series: header.series.uid,
            modality: header.series.modality,
            description: header.series.description,
            number: header.series.number,
            requests: header.series.requests,
            instance: header.instance,
        };
        let draft = Arc::new(Draft { record: instance, version: record.standing_version(), format });
        self.drafts.keep(same, Some(draft.clone()));
        Ok(Some(draft))
    }

    /// The bytes of an object whose record is known.
    pub(super) async fn draft_bytes(
        &self,
        study: &Uid,
        version: u32,
        format: Format,
        known: &Digest,
    ) -> Result<Bytes, Problem> {
        if let Some(kept) = self.memory.kept(known) {
            return Ok(kept);
        }
        let written = self.written(study, version, format).await?;
        // A picture that can be drawn no more makes another object of it.
        let bytes = written.filter(|bytes| digest(bytes) == *known);
        let bytes = bytes.ok_or_else(|| Problem::nothing_here("the study holds no such instance any more"))?;
        self.memory.keep(known.clone(), bytes.clone());
        Ok(bytes)
    }

    async fn written(&self, study: &Uid, version: u32, format: Format) -> Result<Option<Bytes>, Problem> {
        match self.coordinator.report_of(study, version, format).await {
            Ok(report) => Ok(Some(report.content.into())),
            Err(ServiceError::Report(ReportError::NothingToShow(_))) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drafts {
    fn get(&self, same: &Same) -> Option<Option<Arc<Draft>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == same).map(|(_, draft)| draft.clone())
    }

    fn keep(&self, same: Same, draft: Option<Arc<Draft>>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| (&known.0, known.4) != (&same.0, same.4));
        kept.push_front((same, draft));
        kept.truncate(MAX_KEPT);
    }

    async fn turn(&self, same: &Same) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        same.hash(&mut hasher);
        self.writing[hasher.finish() as usize % AT_ONCE].lock().await
    }
}
