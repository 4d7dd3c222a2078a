//! A study's draft as an instance of the study: the DICOM structured report, for as long as the draft is the study's newest
//! word. It is written when it is asked for. The writer is pure and names the object by what the draft says, so that it is
//! the same object with the same bytes each time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prelim_imaging::Limits;
use prelim_imaging::header::read_header;
use prelim_proto::ids::Uid;
use prelim_proto::study::StudyState;

use super::Web;
use super::problem::Problem;
use crate::report::Format;
use crate::store::record::{InstanceRecord, StudyRecord};

/// Drafts that are kept; one has some tens of KB.
const MAX_KEPT: usize = 256;

/// A draft as DICOM.
pub(super) struct Draft {
    /// As the record of a stored instance.
    pub(super) record: InstanceRecord,
    /// The file.
    pub(super) bytes: Bytes,
}

/// Drafts that were written lately.
#[derive(Default)]
pub(super) struct Drafts(Mutex<VecDeque<(Same, Arc<Draft>)>>);

/// A version of a study's draft, of a study of so many instances.
type Same = (Uid, u32, u32, u32);

/// Whether a study shows its draft. One that is read again after late instances does not, until it has its next.
pub(super) fn is_shown(record: &StudyRecord) -> bool {
    record.state == StudyState::Drafted && record.draft_version > 0
}

impl Web {
    /// The draft of a study, where it shows one.
    pub(super) async fn draft_of(
        &self,
        record: &StudyRecord,
        stored: &[InstanceRecord],
    ) -> Result<Option<Arc<Draft>>, Problem> {
        // A study of which more has come since its record was read is not the one that was drafted.
        if !is_shown(record) || stored.len() != record.instances as usize {
            return Ok(None);
        }
        let same = (record.uid.clone(), record.draft_version, record.generation, record.instances);
        if let Some(kept) = self.drafts.get(&same) {
            return Ok(Some(kept));
        }
        let report = self.coordinator.report(&record.uid, Format::Sr).await?;
        if report.version != record.draft_version {
            return Ok(None);
        }
        let bytes = Bytes::from(report.content);
        let read = read_header(&bytes, None, &Limits::default());
        let Ok(header) = read.inspect_err(|error| tracing::error!(%error, "draft is no DICOM object")) else {
            return Ok(None);
        };
        let record = InstanceRecord {
            series: header.series.uid,
            modality: header.series.modality,
            description: header.series.description,
            number: header.series.number,
            instance: header.instance,
        };
        let draft = Arc::new(Draft { record, bytes });
        self.drafts.keep(same, draft.clone());
        Ok(Some(draft))
    }
}

impl Drafts {
    fn get(&self, same: &Same) -> Option<Arc<Draft>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == same).map(|(_, draft)| draft.clone())
    }

    fn keep(&self, same: Same, draft: Arc<Draft>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| known.0 != same.0);
        kept.push_front((same, draft));
        kept.truncate(MAX_KEPT);
    }
}
