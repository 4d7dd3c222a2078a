//! A study with what is held of it. Viewers ask for one instance after the other: the list of a study's instances is kept
//! for a while, for as long as the study's record says that it is still the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use prelim_proto::ids::{Digest, Uid};

use super::Web;
use super::draft::Draft;
use super::problem::Problem;
use super::route::Scope;
use crate::report::Format;
use crate::session::Session;
use crate::store::StoreError;
use crate::store::record::{InstanceRecord, StudyRecord};

/// Instances that are kept in lists, over all studies.
const MAX_KEPT: usize = 50_000;

/// Lists of instances.
#[derive(Default)]
pub(super) struct Held(Mutex<VecDeque<(Same, Arc<Vec<InstanceRecord>>)>>);

/// What says that a list is still right: instances are never taken away, and each that is added counts.
type Same = (Uid, u32, u32);

/// A study, its instances in order of UID, and the objects of its draft where it has one and they are wanted.
pub(super) struct Study {
    pub(super) record: StudyRecord,
    pub(super) stored: Arc<Vec<InstanceRecord>>,
    pub(super) drafts: Vec<Arc<Draft>>,
}

/// An instance, and where its bytes are.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) record: InstanceRecord,
    pub(crate) source: Source,
}

/// Where the bytes of an instance are.
#[derive(Clone)]
pub(crate) enum Source {
    /// In the store of bytes.
    Stored(Digest),
    /// Nowhere: an object of this version of the draft, which is written.
    Draft(u32, Format),
}

impl Web {
    /// The study, if the caller may see it; with the objects of its draft where `scope` may name one of them.
    pub(super) async fn study(&self, session: &Session, uid: &Uid, scope: &Scope) -> Result<Study, Problem> {
        let record = self.visible(session, uid).await?;
        let stored = self.instances_of(&record).await?;
        // Writing them takes a while: not for each frame of an image.
        let in_stored = |series: &Uid| stored.iter().any(|instance| instance.series == *series);
        let drafts = match &scope.series {
            Some(series) if in_stored(series) => Vec::new(),
            _ => self.drafts_of(&record, &stored, |_| true).await?,
        };
        Ok(Study { record, stored, drafts })
    }

    /// The record of a study, if the caller may see it. Otherwise there is none, as far as it learns.
    pub(super) async fn visible(&self, session: &Session, uid: &Uid) -> Result<StudyRecord, Problem> {
        session.allow(&self.coordinator, uid).await?;
        Ok(self.coordinator.record(uid).await?)
    }

    /// A study with what is held of it, and the objects of its draft that are `wanted`.
    pub(super) async fn whole(&self, record: StudyRecord, wanted: impl Fn(Format) -> bool) -> Result<Study, Problem> {
        let stored = self.instances_of(&record).await?;
        let drafts = self.drafts_of(&record, &stored, wanted).await?;
        Ok(Study { record, stored, drafts })
    }

    /// The stored instances of a study, in order of UID.
    pub(crate) async fn instances_of(&self, record: &StudyRecord) -> Result<Arc<Vec<InstanceRecord>>, StoreError> {
        let same = (record.uid.clone(), record.generation, record.instances);
        if let Some(kept) = self.held.get(&same) {
            return Ok(kept);
        }
        let instances = Arc::new(self.coordinator.store.instances(&record.uid).await?);
        // Some may have come since the record was read: then the list is of another state of the study.
        if instances.len() == record.instances as usize {
            self.held.keep(same, instances.clone());
        }
        Ok(instances)
    }
}

impl Held {
    fn get(&self, same: &Same) -> Option<Arc<Vec<InstanceRecord>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(known, _)| known == same)?;
        let found = kept.remove(place)?;
        let list = found.1.clone();
        kept.push_front(found);
        Some(list)
    }

    fn keep(&self, same: Same, list: Arc<Vec<InstanceRecord>>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| known.0 != same.0);
        kept.push_front((same, list));
        let mut instances = 0;
        kept.retain(|(_, list)| {
            // Each list counts for something, also an empty one.
            instances += list.len() + 1;
            instances <= MAX_KEPT
        });
    }
}

impl Study {
    /// The instances in `scope`, the draft last.
    pub(super) fn instances(&self, scope: &Scope) -> Vec<Instance> {
        let is_in = |record: &InstanceRecord| {
            scope.series.as_ref().is_none_or(|series| *series == record.series)
                && scope.instance.as_ref().is_none_or(|instance| *instance == record.instance.uid)
        };
        let stored = self
            .stored
            .iter()
            .filter(|record| is_in(record))
            .map(|record| Instance { record: record.clone(), source: Source::Stored(record.instance.digest.clone()) });
        let drafts = self
            .drafts
            .iter()
            .filter(|draft| is_in(&draft.record))
            .map(|draft| Instance { record: draft.record.clone(), source: Source::Draft(draft.version, draft.format) });
        stored.chain(drafts).collect()
    }

    /// The instances in `scope`; that there is none, where there is none.
    pub(super) fn some_instances(&self, scope: &Scope) -> Result<Vec<Instance>, Problem> {
        let found = self.instances(scope);
        if found.is_empty() {
            let what = if scope.instance.is_some() { "instance" } else { "series" };
            return Err(Problem::nothing_here(format!("the study holds no such {what}")));
        }
        Ok(found)
    }
}
