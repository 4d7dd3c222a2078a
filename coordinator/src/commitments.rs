//! Storage commitment, both ways: what is held here, for who asks; and what others hold of ours.

use std::collections::BTreeMap;

use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::trace::without_uids;

use crate::dimse::commitment::{CLASS_CONFLICT, NO_SUCH_INSTANCE, Transaction};
use crate::service::{Coordinator, ServiceError};
use crate::store::delivery::{DeliveryEnd, DeliveryState};

/// Deliveries of one destination that are looked through for a report's transaction.
const MOST: usize = 1_000;
/// Until an object is sent again that its destination says it does not hold, in ms.
const SEND_AGAIN_MS: u64 = 60_000;

impl Coordinator {
    /// Of the instances asked for, those that are held durably in a tenant's studies, and the others with the reason.
    pub(crate) async fn held(&self, tenant: &Tenant, asked: &Transaction) -> Result<Transaction, ServiceError> {
        let uids: Vec<Option<Uid>> = asked.references.iter().map(|each| Uid::parse(&each.sop_instance).ok()).collect();
        let studies = self.store.studies_of(uids.iter().flatten().cloned().collect()).await?;
        let mut classes: BTreeMap<Uid, Uid> = BTreeMap::new();
        let mut named: Vec<Uid> = studies.into_iter().flatten().collect();
        named.sort();
        named.dedup();
        for study in named {
            let is_theirs = self.store.study(&study).await?.is_some_and(|record| record.tenant == *tenant);
            if is_theirs {
                let held = self.store.instances(&study).await?;
                classes.extend(held.into_iter().map(|record| (record.instance.uid, record.instance.sop_class)));
            }
        }
        let mut answer = Transaction { uid: asked.uid.clone(), ..Transaction::default() };
        for (reference, uid) in asked.references.iter().zip(uids) {
            match uid.and_then(|uid| classes.get(&uid)) {
                Some(class) if class.as_str() == reference.sop_class => answer.references.push(reference.clone()),
                Some(_) => answer.failed.push((reference.clone(), CLASS_CONFLICT)),
                None => answer.failed.push((reference.clone(), NO_SUCH_INSTANCE)),
            }
        }
        Ok(answer)
    }

    /// Takes up the report of a destination that was asked for a commitment.
    pub(crate) async fn committed(&self, report: &Transaction) {
        if let Err(error) = self.note_report(report).await {
            // It is asked for again when its time has come.
            tracing::warn!(error = without_uids(&error), "report of a commitment not noted");
        }
    }

    async fn note_report(&self, report: &Transaction) -> Result<(), ServiceError> {
        let Some(destinations) = &self.destinations else { return Ok(()) };
        for destination in destinations.get().iter().filter(|destination| destination.commit) {
            for record in self.store.open_deliveries(&destination.name, MOST).await? {
                if record.state != DeliveryState::Committing || record.transaction != report.uid {
                    continue;
                }
                let failed = report.failed.iter().find(|(reference, _)| reference.sop_instance == record.instance);
                let is_held = report.references.iter().any(|reference| reference.sop_instance == record.instance);
                let (state, due_in_ms, answer) = match failed {
                    Some((_, reason)) => {
                        // It took it and does not hold it: it is sent again.
                        (DeliveryState::Waiting, SEND_AGAIN_MS, format!("not committed: reason {reason:04X}"))
                    }
                    None if is_held => (DeliveryState::Committed, 0, "stored and committed".to_owned()),
                    None => continue,
                };
                tracing::info!(destination = %destination.name, state = state.as_str(), "commitment");
                let instance = record.instance.clone();
                let end = DeliveryEnd { state, due_in_ms, answer, instance, transaction: String::new() };
                self.store.end_delivery(&record.key, record.token, end).await?;
                self.metrics.delivery(state, record.created_at_ms);
            }
        }
        Ok(())
    }
}
