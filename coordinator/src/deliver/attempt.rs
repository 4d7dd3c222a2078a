//! One attempt at deliveries that are due: their objects written, sent, and answered for one by one.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use opentelemetry::KeyValue;
use prelim_proto::trace::without_uids;

use super::destinations::{Destination, Route};
use super::verdict::{Said, kept};
use super::{fhir, mllp};
use crate::audit::{Act, Audit, Event};
use crate::dimse::commitment::{Reference, Transaction};
use crate::dimse::scu::association::{Association, MAX_CONTEXTS};
use crate::dimse::scu::commit;
use crate::dimse::scu::error::ScuError;
use crate::dimse::scu::node::Node;
use crate::dimse::scu::store::{self, Meaning};
use crate::dimse::{COMMITMENT, part10};
use crate::report::{Format, ReportError};
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, DeliveryState};
use crate::traces;

/// When a commitment is asked for again whose report did not come, in ms.
const COMMIT_AGAIN_MS: u64 = 600_000;

/// A delivery with the object that it is about.
struct Parcel {
    record: DeliveryRecord,
    file: Bytes,
    instance: String,
}

/// By what name the other side knows an object: its SOP Instance UID, the message's control id, or the Bundle's id.
fn name_of(object: &str, file: &[u8]) -> Result<String, String> {
    match object.parse::<Format>() {
        Ok(Format::Hl7) => Ok(mllp::control_id(file)),
        Ok(Format::Fhir) => Ok(fhir::id(file)),
        _ => part10::split(file).map(|parts| parts.sop_instance),
    }
}

/// Sends an object by itself.
async fn send(route: &Route, file: &Bytes) -> Said {
    match route {
        Route::Dicom(_) => Said::never("DICOM objects go by associations"),
        Route::Stow(stow) => stow.send(std::slice::from_ref(file)).await,
        Route::Mllp(mllp) => mllp.send(file).await,
        Route::Fhir(fhir) => fhir.send(file).await,
    }
}

/// What an attempt works with.
pub(super) struct Attempt<'a> {
    pub(super) coordinator: &'a Coordinator,
    pub(super) destination: &'a Destination,
    pub(super) audit: &'a Audit,
    /// When the leases end, and nothing more may be begun.
    pub(super) until: Instant,
}

impl Attempt<'_> {
    /// Makes the attempt. An error is one of the store's: what was not ended is leased again when its lease runs out.
    pub(super) async fn make(&self, records: Vec<DeliveryRecord>) -> Result<(), ServiceError> {
        let mut parcels = Vec::with_capacity(records.len());
        for record in records {
            if let Some(parcel) = self.pack(record).await? {
                parcels.push(parcel);
            }
        }
        if parcels.is_empty() {
            return Ok(());
        }
        match &self.destination.route {
            Route::Dicom(node) => self.send(node, parcels).await,
            route => self.send_each(route, parcels).await,
        }
    }

    /// Sends parcels one after the other.
    async fn send_each(&self, route: &Route, parcels: Vec<Parcel>) -> Result<(), ServiceError> {
        for parcel in parcels {
            if Instant::now() >= self.until {
                // Another will take them up.
                break;
            }
            if !self.leaves(route.protocol(), &route.to_string(), &parcel).await {
                continue;
            }
            let began = SystemTime::now();
            let said = send(route, &parcel.file).await;
            self.end(parcel, &said, began).await?;
        }
        Ok(())
    }

    /// Why a version need not be sent any more. What was signed is passed by what is signed later, and by no draft.
    async fn superseded(&self, key: &DeliveryKey) -> Result<Option<&'static str>, ServiceError> {
        let Ok(study) = self.coordinator.record(&key.study).await else { return Ok(None) };
        if study.draft_version == key.version {
            return Ok(None);
        }
        let version = self.coordinator.store.draft(&key.study, Some(key.version)).await?;
        Ok(match version.is_some_and(|version| version.standing.is_signed()) {
            true if study.signed_version > key.version => Some("it was amended since"),
            true => None,
            false => Some("a newer version is there"),
        })
    }

    /// The object of a delivery; none where there is nothing to send any more.
    async fn pack(&self, record: DeliveryRecord) -> Result<Option<Parcel>, ServiceError> {
        let key = &record.key;
        if let Some(words) = self.superseded(&record.key).await? {
            let words = words.to_owned();
            self.settle(&record, DeliveryState::Superseded, 0, &words, &record.instance).await?;
            return Ok(None);
        }
        let written = match key.object.parse::<Format>() {
            Ok(format) => self.coordinator.report_of(&key.study, key.version, format).await,
            Err(error) => Err(error.into()),
        };
        let began = SystemTime::now();
        let written = written.map(|rendered| Bytes::from(rendered.content));
        let parts = written.as_ref().map_err(ToString::to_string).and_then(|file| name_of(&key.object, file));
        match (written, parts) {
            (Ok(file), Ok(instance)) => Ok(Some(Parcel { record, file, instance })),
            (Err(ServiceError::Report(ReportError::NothingToShow(_))), parts) => {
                let words = parts.err().unwrap_or_default();
                self.settle(&record, DeliveryState::Empty, 0, &words, &record.instance).await?;
                Ok(None)
            }
            (Err(ServiceError::Store(error)), _) if !matches!(error, StoreError::NoStudy(_)) => Err(error.into()),
            (Err(ServiceError::Bytes(error)), _) if error.is_retryable() => {
                let parcel = Parcel { record, file: Bytes::new(), instance: String::new() };
                self.end(parcel, &Said::later(format!("not written: {error}")), began).await?;
                Ok(None)
            }
            (_, parts) => {
                let words = parts.err().unwrap_or_else(|| "no object".to_owned());
                let parcel = Parcel { record, file: Bytes::new(), instance: String::new() };
                self.end(parcel, &Said::never(format!("not written: {words}")), began).await?;
                Ok(None)
            }
        }
    }

    /// Sends parcels over one association.
    async fn send(&self, node: &Node, parcels: Vec<Parcel>) -> Result<(), ServiceError> {
        let began = SystemTime::now();
        let parts: Vec<_> = parcels.iter().filter_map(|parcel| part10::split(&parcel.file).ok()).collect();
        let mut contexts = store::proposals(&parts);
        contexts.truncate(MAX_CONTEXTS - 1);
        if self.destination.commit {
            contexts.push(commit::proposal());
        }
        let mut association = match Association::open(node, &contexts, self.coordinator.memory_for_answers()).await {
            Ok(association) => association,
            Err(error) => return self.end_all(parcels, &Said::from(&error), began).await,
        };
        let (mut taken, mut parcels) = (Vec::new(), parcels.into_iter());
        while let Some(parcel) = parcels.next() {
            if Instant::now() >= self.until {
                // Another will take them up.
                break;
            }
            if !self.leaves("C-STORE", &node.to_string(), &parcel).await {
                continue;
            }
            let began = SystemTime::now();
            if !parcel.record.transaction.is_empty() {
                // It was taken before: only its commitment did not come.
                taken.push(parcel);
                continue;
            }
            match store::store(&mut association, &parcel.file).await {
                Ok(answer) if self.destination.commit && answer.meaning() == Meaning::Taken => taken.push(parcel),
                Ok(answer) => self.end(parcel, &Said::from(&answer), began).await?,
                Err(error @ (ScuError::Refused { .. } | ScuError::Object(_))) => {
                    self.end(parcel, &Said::from(&error), began).await?;
                }
                Err(error) => {
                    association.abort().await;
                    let rest = std::iter::once(parcel).chain(parcels).chain(taken).collect();
                    return self.end_all(rest, &Said::from(&error), began).await;
                }
            }
        }
        if taken.is_empty() {
            association.release().await;
            return Ok(());
        }
        self.commit(association, taken, began).await
    }

    /// Asks for a commitment to what was taken. What the peer says of that does not undo that it took it.
    async fn commit(
        &self,
        mut association: Association,
        taken: Vec<Parcel>,
        began: SystemTime,
    ) -> Result<(), ServiceError> {
        if !association.takes(COMMITMENT) {
            association.release().await;
            let said = Said::taken("0000, stored; it offers no storage commitment");
            return self.end_all(taken, &said, began).await;
        }
        let of = |parcel: &Parcel| {
            part10::split(&parcel.file)
                .ok()
                .map(|parts| Reference { sop_class: parts.sop_class, sop_instance: parts.sop_instance })
        };
        let references = taken.iter().filter_map(of).collect();
        let asked = Transaction { uid: format!("2.25.{}", rand::random::<u128>()), references, failed: Vec::new() };
        // Before it is asked for: the report may come by another association, to another coordinator.
        let mut keys = Vec::with_capacity(taken.len());
        for parcel in &taken {
            let answer = "0000, stored; asked for storage commitment".to_owned();
            let (instance, transaction) = (parcel.instance.clone(), asked.uid.clone());
            let end = DeliveryEnd {
                state: DeliveryState::Committing,
                due_in_ms: COMMIT_AGAIN_MS,
                answer,
                instance,
                transaction,
            };
            match self.coordinator.store.end_delivery(&parcel.record.key, parcel.record.token, end).await {
                Ok(_) => {
                    if parcel.record.transaction.is_empty() {
                        self.coordinator.metrics.delivery(DeliveryState::Committing, parcel.record.created_at_ms);
                    }
                    keys.push((&parcel.record, &parcel.instance));
                }
                Err(StoreError::DeliveryLost(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match commit::request(&mut association, &asked).await {
            Ok(()) => match commit::report(&mut association).await {
                Ok(Some(report)) => {
                    self.coordinator.committed(&report).await;
                    association.release().await;
                }
                // It comes later, on an association of the peer's.
                Ok(None) => association.release().await,
                Err(error) => {
                    tracing::info!(%error, "no report yet");
                    association.abort().await;
                }
            },
            Err(error) => {
                tracing::warn!(%error, "no storage commitment");
                association.abort().await;
                if matches!(error, ScuError::Failed { .. }) {
                    for (record, instance) in keys {
                        let answer = kept(&format!("0000, stored; {error}"));
                        let (instance, transaction) = (instance.clone(), String::new());
                        let end =
                            DeliveryEnd { state: DeliveryState::Sent, due_in_ms: 0, answer, instance, transaction };
                        // Whatever became of it meanwhile: it was taken.
                        let _ = self.coordinator.store.end_delivery(&record.key, record.token, end).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes that patient data leaves, before it does; whether it may.
    async fn leaves(&self, call: &'static str, to: &str, parcel: &Parcel) -> bool {
        let event = Event {
            caller: Some(format!("{} ({to})", self.destination.name)),
            call: Some(call),
            studies: vec![parcel.record.key.study.clone()],
            ..Event::of(Act::Delivered)
        };
        // An audit that cannot be written has said so; the lease runs out, and it is tried again.
        self.audit.record(vec![event]).await.is_ok()
    }

    async fn end_all(&self, parcels: Vec<Parcel>, said: &Said, began: SystemTime) -> Result<(), ServiceError> {
        for parcel in parcels {
            self.end(parcel, said, began).await?;
        }
        Ok(())
    }

    /// Ends the attempt at one delivery as what was said has it.
    async fn end(&self, parcel: Parcel, said: &Said, began: SystemTime) -> Result<(), ServiceError> {
        let Parcel { record, instance, .. } = parcel;
        let instance = if said.meaning == Meaning::Taken { &instance } else { &record.instance };
        let DeliveryEnd { state, due_in_ms, answer, .. } =
            said.end(instance, record.attempts, &self.destination.retries, rand::random());
        traces::add(&record.key.study, "deliver", began, [KeyValue::new("prelim.delivery", state.as_str())]);
        self.settle(&record, state, due_in_ms, &answer, instance).await
    }

    async fn settle(
        &self,
        record: &DeliveryRecord,
        state: DeliveryState,
        due_in_ms: u64,
        words: &str,
        instance: &str,
    ) -> Result<(), ServiceError> {
        let answer = kept(words);
        let (destination, object) = (&record.key.destination, &record.key.object);
        match state {
            DeliveryState::Sent | DeliveryState::Superseded | DeliveryState::Empty => {
                tracing::info!(%destination, %object, state = state.as_str(), %answer, "delivery");
            }
            _ => tracing::warn!(%destination, %object, state = state.as_str(), %answer, "delivery"),
        }
        let end = DeliveryEnd { state, due_in_ms, answer, instance: instance.to_owned(), transaction: String::new() };
        match self.coordinator.store.end_delivery(&record.key, record.token, end).await {
            Ok(_) => {
                self.coordinator.metrics.delivery(state, record.created_at_ms);
                self.coordinator.changed(&record.key.study);
                Ok(())
            }
            // It took too long: another has it, or has sent it.
            Err(error @ StoreError::DeliveryLost(_)) => {
                tracing::warn!(error = without_uids(&error), "delivery ended late");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
