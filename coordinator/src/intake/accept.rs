//! One object in: scanned, stored, recorded, and only then answered for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use bytes::Bytes;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_dictionary_std::StandardDataDictionary;
use futures::stream::{self, TryStreamExt as _};
use opentelemetry::KeyValue;
use prelim_imaging::Limits;
use prelim_imaging::header::{Header, read_header};
use prelim_imaging::same;
use prelim_imaging::scan::{ScanError, scan};
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::study::{Priority, StudyAttributes};

use super::Sending;
use crate::bytes::BytesError;
use crate::report::is_of_a_draft;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{AddInstances, Added, InstanceRecord};
use crate::traces;

/// Objects of an upload that are stored at once: each waits for a disk or a server.
const PUTS_AT_ONCE: usize = 8;

/// An object as it was received.
#[derive(Debug, Clone)]
pub struct Object {
    /// The sender's name for it.
    pub name: String,
    /// Its bytes, or why there are none.
    pub bytes: Result<Bytes, String>,
    /// What the sender says beside the object that it is.
    pub claimed: Claim,
}

/// What a sender says that an object is. What it leaves out is not checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// SOP class and instance.
    pub instance: Option<(String, String)>,
    /// The study that it is of.
    pub study: Option<Uid>,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored, and part of its study.
    Accepted,
    /// The same instance is held already, in this encoding or another.
    Duplicate,
    /// Not taken.
    Refused(Refused),
}

/// Why an object is not taken. Its words are for the sender, and may quote what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no DICOM object that can be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is another object than its sender says.
    #[error("its {0} is not the one that its sender names")]
    NotAsClaimed(&'static str),
    /// An object with the same SOP Instance UID is held that says something else.
    #[error(
        "another object with the same SOP Instance UID is held (digest {}…){}",
        &held.as_str()[..12],
        differs.as_deref().map(|attribute| format!(": it differs in {attribute}")).unwrap_or_default()
    )]
    Conflict {
        /// What is held.
        held: Digest,
        /// Keyword and tag of the first attribute in which they differ, where that could be found out.
        differs: Option<String>,
    },
    /// Its study is another tenant's. Whose, and that there is one, is not said.
    #[error("its Study Instance UID cannot be used here")]
    OtherTenant,
    /// Its study is held for another patient.
    #[error(
        "its study is held for another patient (Patient ID, name or birth date differ): give one of them another Study \
         Instance UID"
    )]
    OtherPatient,
    /// Its study is being removed.
    #[error("its study is being removed; send it again later")]
    Removing,
    /// Its study is as large as a study may be, or nothing more is taken now.
    #[error("{0}")]
    Limit(String),
}

/// An object's verdict, with its ids where they could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The sender's name for it.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Study and instance.
    pub ids: Option<(Uid, Uid)>,
    /// SOP class and instance of what was read, also where it was refused then.
    pub sop: Option<(Uid, Uid)>,
}

impl Outcome {
    /// Whether the object was not taken.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused(_))
    }
}

/// An object whose header is read: its place among the objects received, what it is, and its bytes.
struct Read {
    place: usize,
    header: Header,
    bytes: Bytes,
}

impl Read {
    /// Itself, if it is what its sender says.
    fn if_as(self, claimed: Claim) -> Result<Self, Refused> {
        if claimed.study.is_some_and(|study| study != self.header.study) {
            return Err(Refused::NotAsClaimed("Study Instance UID"));
        }
        let Some((class, instance)) = claimed.instance else { return Ok(self) };
        if self.header.instance.sop_class.as_str() != class {
            return Err(Refused::NotAsClaimed("SOP Class UID"));
        }
        if self.header.instance.uid.as_str() != instance {
            return Err(Refused::NotAsClaimed("SOP Instance UID"));
        }
        Ok(self)
    }
}

impl Coordinator {
    /// Takes objects in, each on its own: what is wrong with one does not touch the others. Their bytes are held until
    /// they are stored: callers bound a batch.
    ///
    /// When this returns, every object accepted is stored and in its study's record. An error is one of the stores';
    /// objects that were not answered for may be sent again. Only bytes that the record would take are stored; where
    /// another coordinator is quicker in between, they may stay without a record, and go with their study.
    pub async fn accept(
        &self,
        sending: &mut Sending,
        objects: Vec<Object>,
        priority: Priority,
    ) -> Result<Vec<Outcome>, ServiceError> {
        match self.accept_some(sending, objects, priority).await {
            (outcomes, None) => Ok(outcomes),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same, with the outcomes of those that were taken before an error. The others are refused with it as the reason;
    /// where it is one of a store that did not answer, they may be held all the same.
    pub(crate) async fn accept_some(
        &self,
        sending: &mut Sending,
        objects: Vec<Object>,
        priority: Priority,
    ) -> (Vec<Outcome>, Option<ServiceError>) {
        let mut stopped: Option<ServiceError> = None;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(objects.len());
        let mut studies: BTreeMap<Uid, Vec<Read>> = BTreeMap::new();
        for (place, Object { name, bytes, claimed }) in objects.into_iter().enumerate() {
            let read = match bytes {
                Ok(bytes) => header_of(&name, bytes.clone()).await.map(|header| Read { place, header, bytes }),
                Err(reason) => Err(reason),
            };
            let sop = |read: &Read| (read.header.instance.sop_class.clone(), read.header.instance.uid.clone());
            let sop = read.as_ref().ok().map(sop);
            let read = read.map_err(Refused::Unreadable).and_then(|read| read.if_as(claimed));
            let (verdict, ids) = match read {
                Ok(read) => {
                    let ids = (read.header.study.clone(), read.header.instance.uid.clone());
                    if is_draft_of_ours(&read.header) {
                        outcomes.push(Outcome { name, verdict: Verdict::Duplicate, ids: Some(ids), sop });
                        continue;
                    }
                    studies.entry(read.header.study.clone()).or_default().push(read);
                    (Verdict::Accepted, Some(ids))
                }
                Err(refused) => (Verdict::Refused(refused), None),
            };
            outcomes.push(Outcome { name, verdict, ids, sop });
        }
        for (study, reads) in studies {
            let (began, instances, mut is_taken) = (SystemTime::now(), reads.len() as i64, false);
            for (attributes, reads) in by_patient(reads) {
                let places: Vec<usize> = reads.iter().map(|read| read.place).collect();
                // Where too many studies are open, those that are held may still grow.
                if stopped.as_ref().is_none_or(is_of_new_studies) {
                    match self.take_in(sending, &study, attributes, reads, priority).await {
                        Ok(taken) => {
                            let is_held = taken.iter().any(|(_, verdict)| !matches!(verdict, Verdict::Refused(_)));
                            taken.into_iter().for_each(|(place, verdict)| outcomes[place].verdict = verdict);
                            if is_held && let Err(error) = self.note_sending(sending, &study).await {
                                stopped = Some(error);
                            }
                            is_taken = true;
                            continue;
                        }
                        Err(error) => {
                            self.metrics.intake_refused(at_its_limit(&error));
                            stopped = Some(error);
                        }
                    }
                }
                let why = stopped.as_ref().map(|error| format!("not taken: {error}")).unwrap_or_default();
                for place in places {
                    outcomes[place].verdict = Verdict::Refused(Refused::Limit(why.clone()));
                }
            }
            if is_taken {
                traces::add(&study, "receive", began, [KeyValue::new("prelim.instances", instances)]);
                self.changed(&study);
            }
        }
        for outcome in &outcomes {
            self.metrics.instance_received(match outcome.verdict {
                Verdict::Accepted => "accepted",
                Verdict::Duplicate => "duplicate",
                Verdict::Refused(_) => "refused",
            });
        }
        if stopped.is_some() {
            sending.break_off();
        }
        (outcomes, stopped)
    }

    /// Stores what the study's record would take, then adds it to the record, which decides.
    async fn take_in(
        &self,
        sending: &mut Sending,
        study: &Uid,
        attributes: StudyAttributes,
        reads: Vec<Read>,
        priority: Priority,
    ) -> Result<Vec<(usize, Verdict)>, ServiceError> {
        let places: Vec<usize> = reads.iter().map(|read| read.place).collect();
        let (instances, bytes): (Vec<InstanceRecord>, Vec<Bytes>) = reads.into_iter().map(split).unzip();
        let tenant = sending.tenant.clone();
        let limits = self.config.intake_limits(&self.shares.of(&tenant));
        let mut add = AddInstances { study: study.clone(), tenant, attributes, priority, instances, limits };
        let mut verdicts = verdicts_of(self.store.preview_instances(add.clone()).await, places.len())?;
        // What is said to be a duplicate by now has the digest of what is held.
        if self.restore_lost(study, &verdicts, &add.instances, &bytes).await? {
            sending.restored(study);
        }
        for (verdict, bytes) in verdicts.iter_mut().zip(&bytes) {
            self.look_closer(study, verdict, bytes).await?;
        }
        let wanted: Vec<usize> = (0..places.len()).filter(|at| verdicts[*at] == Verdict::Accepted).collect();
        // What is not stored is not added, whatever happens in between.
        add.instances = wanted.iter().map(|at| add.instances[*at].clone()).collect();
        let puts = wanted.iter().zip(&add.instances).map(|(at, record)| {
            let digest = &record.instance.digest;
            Ok(self.bytes.put(study, digest, bytes[*at].clone()))
        });
        stream::iter(puts).try_for_each_concurrent(PUTS_AT_ONCE, |put| put).await?;
        // A study that is held already may be wanted sooner now.
        let is_hurried = priority > Priority::Routine && verdicts.contains(&Verdict::Duplicate);
        if !wanted.is_empty() || is_hurried {
            let added = verdicts_of(self.store.add_instances(add).await, wanted.len())?;
            for (at, mut verdict) in wanted.into_iter().zip(added) {
                self.look_closer(study, &mut verdict, &bytes[at]).await?;
                verdicts[at] = verdict;
            }
        }
        Ok(places.into_iter().zip(verdicts).collect())
    }

    /// Stores what came again and is held by its record only: the byte store lost it. Whether there was some.
    async fn restore_lost(
        &self,
        study: &Uid,
        verdicts: &[Verdict],
        records: &[InstanceRecord],
        bytes: &[Bytes],
    ) -> Result<bool, ServiceError> {
        let of = |verdict| (0..verdicts.len()).filter(move |at| verdicts[*at] == verdict);
        // One that came twice at once is not stored yet.
        let new: BTreeSet<&Digest> = of(Verdict::Accepted).map(|at| &records[at].instance.digest).collect();
        let again = of(Verdict::Duplicate).filter(|at| !new.contains(&records[*at].instance.digest));
        let looks = again.map(|at| Ok(self.restore(study, &records[at].instance.digest, bytes[at].clone())));
        let count = async |count: usize, was_lost: bool| Ok(count + usize::from(was_lost));
        let lost = stream::iter(looks).try_buffer_unordered(PUTS_AT_ONCE).try_fold(0, count).await?;
        if lost > 0 {
            tracing::warn!(
                study.hash = traces::hash(study),
                lost,
                "objects that the byte store had lost are stored anew"
            );
        }
        Ok(lost > 0)
    }

    /// Stores bytes under their digest where there are none; whether that was so.
    async fn restore(&self, study: &Uid, digest: &Digest, bytes: Bytes) -> Result<bool, BytesError> {
        let is_lost = !self.bytes.holds(study, digest, bytes.len() as u64).await?;
        if is_lost {
            self.bytes.put(study, digest, bytes).await?;
        }
        Ok(is_lost)
    }

    /// Of an object that has not the bytes of the one that is held: whether it is that one in another encoding, and else
    /// in what it differs. One that comes again compressed, or plain, as archives and routers send them, is no other.
    async fn look_closer(&self, study: &Uid, verdict: &mut Verdict, sent: &Bytes) -> Result<(), ServiceError> {
        let Verdict::Refused(Refused::Conflict { held, differs }) = verdict else { return Ok(()) };
        let held = match self.bytes.get(study, held).await {
            Ok(held) => held,
            // Its study is gone since, or it is damaged: nothing can be said.
            Err(BytesError::Missing(_) | BytesError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let sent = sent.clone();
        match tokio::task::spawn_blocking(move || difference(&held, &sent)).await {
            Ok(Ok(None)) => *verdict = Verdict::Duplicate,
            Ok(Ok(found)) => *differs = found,
            Ok(Err(_)) | Err(_) => {}
        }
        Ok(())
    }
}

/// What two objects of one SOP Instance UID differ in, as a keyword with its tag; nothing where one is the other, encoded
/// in another way.
fn difference(held: &[u8], sent: &[u8]) -> Result<Option<String>, ScanError> {
    let limits = Limits::default();
    let tag = same::difference(&scan(held, &limits)?, &scan(sent, &limits)?);
    let name = |tag| StandardDataDictionary.by_tag(tag).map_or("an attribute", |entry| entry.alias());
    Ok(tag.map(|tag| format!("{} {tag}", name(tag))))
}

/// Whether an object is a draft of ours that somebody sends back, as a PACS does that forwards all it gets. It is held
/// already, as the draft; as an instance of its study it would have that read again, and drafted again, without end.
fn is_draft_of_ours(header: &Header) -> bool {
    is_of_a_draft(&header.series.description)
}

/// Reads the header, on a thread that may block: a scan of a large object takes longer than other tasks should wait.
async fn header_of(name: &str, bytes: Bytes) -> Result<Header, String> {
    let name = name.to_owned();
    // An object from the DICOM network has none.
    let scan = move || read_header(&bytes, Some(name.as_str()).filter(|name| !name.is_empty()), &Limits::default());
    match tokio::task::spawn_blocking(scan).await {
        Ok(header) => header.map_err(|error| error.to_string()),
        Err(_) => Err("its header could not be read".to_owned()),
    }
}

/// The store's answer for `count` instances. A limit concerns their study only.
fn verdicts_of(answer: Result<Vec<Added>, StoreError>, count: usize) -> Result<Vec<Verdict>, StoreError> {
    match answer {
        Ok(added) => Ok(added.into_iter().map(verdict).collect()),
        // No other study is too large for that. Where too many studies wait, the whole call is to come again later.
        Err(error @ StoreError::TooManyInstances { .. }) => {
            Ok(vec![Verdict::Refused(Refused::Limit(error.to_string())); count])
        }
        Err(error) => Err(error),
    }
}

/// Whether an error keeps new studies out, and no others.
fn is_of_new_studies(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Store(StoreError::TooManyStudies { .. } | StoreError::TooManyOfTenant { .. }))
}

/// What an upload that is refused whole found at its limit, in a word.
fn at_its_limit(error: &ServiceError) -> &'static str {
    match error {
        ServiceError::Store(StoreError::TooManyStudies { .. }) => "open_studies",
        ServiceError::Store(StoreError::TooManyOfTenant { .. }) => "open_studies_of_tenant",
        ServiceError::Store(StoreError::Full(_)) => "store_full",
        ServiceError::Bytes(BytesError::Full) => "bytes_full",
        _ => "failure",
    }
}

/// Headers of one study by the patient that they name, each group with all that its headers say of patient and request.
fn by_patient(reads: Vec<Read>) -> Vec<(StudyAttributes, Vec<Read>)> {
    let mut patients: Vec<(StudyAttributes, Vec<Read>)> = Vec::new();
    for read in reads {
        let said = &read.header.study_attributes;
        match patients.iter_mut().find(|(known, _)| !known.is_another_patient(said)) {
            Some((known, group)) => {
                known.fill_from(said);
                group.push(read);
            }
            None => patients.push((said.clone(), vec![read])),
        }
    }
    patients
}

fn split(read: Read) -> (InstanceRecord, Bytes) {
    let series = read.header.series;
    let record = InstanceRecord {
        series: series.uid,
        modality: series.modality,
        description: series.description,
        number: series.number,
        requests: series.requests,
        instance: read.header.instance,
    };
    (record, read.bytes)
}

fn verdict(added: Added) -> Verdict {
    match added {
        Added::Accepted => Verdict::Accepted,
        Added::Duplicate => Verdict::Duplicate,
        Added::Conflict { held } => Verdict::Refused(Refused::Conflict { held, differs: None }),
        Added::OtherTenant => Verdict::Refused(Refused::OtherTenant),
        Added::Removing => Verdict::Refused(Refused::Removing),
        Added::OtherPatient => Verdict::Refused(Refused::OtherPatient),
    }
}
