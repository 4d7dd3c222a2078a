//! What people ask: what was sent where, and to send it once more.

use std::sync::Arc;

use prelim_proto::ids::Uid;

use super::destinations::Destination;
use crate::service::{Coordinator, ServiceError};
use crate::store::delivery::DeliveryRecord;

impl Coordinator {
    /// What became of a study's drafts on their way out.
    pub async fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>, ServiceError> {
        Ok(self.store.deliveries(study).await?)
    }

    /// Sends a study's newest report to a destination, whether or not it was sent there before.
    pub async fn deliver(&self, study: &Uid, name: &str) -> Result<Vec<DeliveryRecord>, ServiceError> {
        let destination = self.destination(name)?;
        let record = self.record(study).await?;
        if !destination.takes(&record.tenant) {
            let problem = format!("{name:?} takes no studies of tenant {}", record.tenant);
            return Err(ServiceError::Invalid { field: "destination", problem });
        }
        if destination.objects.is_empty() {
            let problem = format!("{name:?} takes no objects: its list of objects is empty");
            return Err(ServiceError::Invalid { field: "destination", problem });
        }
        if record.draft_version == 0 {
            let (study, reason) = (study.clone(), record.state_reason);
            return Err(ServiceError::NoDraft { study, state: record.state, reason });
        }
        // The newest of those that go there.
        let (mut version, mut wishes) = (record.draft_version, Vec::new());
        for candidate in [record.draft_version, record.signed_version] {
            if candidate == 0 || !wishes.is_empty() {
                continue;
            }
            let standing = self.store.draft(study, Some(candidate)).await?.map(|it| it.standing).unwrap_or_default();
            let has_signed = record.signed_version > 0 && candidate != record.signed_version;
            (version, wishes) = (candidate, Destination::wishes(&destination, standing.into(), has_signed));
        }
        if wishes.is_empty() {
            let problem = match record.signed_version {
                0 => format!("{name:?} takes signed reports, and no radiologist has signed one of this study"),
                _ => format!("{name:?} takes drafts, and the report of this study is signed"),
            };
            return Err(ServiceError::Invalid { field: "destination", problem });
        }
        self.store.add_deliveries(study, version, wishes, true).await?;
        self.deliveries.notify_one();
        let mut held = self.deliveries(study).await?;
        held.retain(|each| each.key.destination == name && each.key.version == version);
        Ok(held)
    }

    /// The destination of this name.
    pub(crate) fn destination(&self, name: &str) -> Result<Arc<Destination>, ServiceError> {
        let known = self.destinations.as_ref().map(|destinations| destinations.get()).unwrap_or_default();
        let found = known.iter().find(|destination| destination.name == name).cloned();
        found.ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|each| each.name.as_str()).collect();
            let has = match names.as_slice() {
                [] => "the coordinator has no --destinations".to_owned(),
                names => format!("there are {}", names.join(", ")),
            };
            ServiceError::Invalid { field: "destination", problem: format!("no destination is named {name:?}: {has}") }
        })
    }
}
