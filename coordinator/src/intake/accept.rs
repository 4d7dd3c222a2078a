//! One object in: scanned, stored, recorded, and only then answered for.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use prelim_imaging::Limits;
use prelim_imaging::header::{Header, read_header};
use prelim_proto::ids::{Digest, Tenant, Uid};
use prelim_proto::study::{Priority, StudyAttributes};

use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{AddInstances, Added, InstanceRecord};

/// An object as it was received.
#[derive(Debug, Clone)]
pub struct Object {
    /// The sender's name for it.
    pub name: String,
    /// Its bytes, or why there are none.
    pub bytes: Result<Bytes, String>,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Stored, and part of its study.
    Accepted,
    /// The same instance is held already.
    Duplicate,
    /// Not taken; what was found.
    Refused(String),
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
}

impl Outcome {
    /// Whether the object was not taken.
    pub fn is_refused(&self) -> bool {
        matches!(self.verdict, Verdict::Refused(_))
    }
}

impl Coordinator {
    /// Takes objects in, each on its own: what is wrong with one does not touch the others.
    ///
    /// When this returns, every object accepted is on the disk and in its study's record. An error is one of the store's or
    /// of the disk's; objects that were not answered for may be sent again. What was stored and not recorded is removed.
    pub async fn accept(&self, objects: Vec<Object>, priority: Priority) -> Result<Vec<Outcome>, ServiceError> {
        let mut stored = Vec::new();
        let taken = {
            let _others_may_too = self.taking_in.read().await;
            self.take_in(objects, priority, &mut stored).await
        };
        if taken.as_ref().map_or(true, |outcomes| outcomes.iter().any(Outcome::is_refused)) {
            self.remove_unrecorded(&stored).await;
        }
        taken
    }

    /// Removes bytes of `stored` that their study's record does not name. While this runs nothing is taken in, so that
    /// no other upload counts on them.
    async fn remove_unrecorded(&self, stored: &[(Uid, Digest)]) {
        if stored.is_empty() {
            return;
        }
        let _alone = self.taking_in.write().await;
        let mut studies: BTreeMap<&Uid, HashSet<&Digest>> = BTreeMap::new();
        for (study, digest) in stored {
            studies.entry(study).or_default().insert(digest);
        }
        for (study, mut digests) in studies {
            // Where the record cannot be read, bytes too many are the smaller harm.
            let Ok(instances) = self.store.instances(study).await else { continue };
            for record in &instances {
                digests.remove(&record.instance.digest);
            }
            for digest in digests {
                if let Err(error) = self.bytes.delete(digest).await {
                    tracing::warn!(%error, "bytes without a record are not removed");
                }
            }
        }
    }

    async fn take_in(
        &self,
        objects: Vec<Object>,
        priority: Priority,
        stored: &mut Vec<(Uid, Digest)>,
    ) -> Result<Vec<Outcome>, ServiceError> {
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(objects.len());
        let mut studies: BTreeMap<Uid, Vec<(usize, Header)>> = BTreeMap::new();
        for (index, object) in objects.into_iter().enumerate() {
            let header = match object.bytes {
                Ok(bytes) => self.store_object(&object.name, bytes, stored).await?,
                Err(reason) => Err(reason),
            };
            let (verdict, ids) = match header {
                Ok(header) => {
                    let ids = (header.study.clone(), header.instance.uid.clone());
                    studies.entry(header.study.clone()).or_default().push((index, header));
                    (Verdict::Accepted, Some(ids))
                }
                Err(reason) => (Verdict::Refused(reason), None),
            };
            outcomes.push(Outcome { name: object.name, verdict, ids });
        }
        for (study, headers) in studies {
            for (attributes, headers) in by_patient(headers) {
                for (index, verdict) in self.record_instances(&study, attributes, headers, priority).await? {
                    outcomes[index].verdict = verdict;
                }
            }
            self.changed(&study);
        }
        Ok(outcomes)
    }

    /// Reads the header and stores the bytes; the inner error is what is wrong with the object.
    async fn store_object(
        &self,
        name: &str,
        bytes: Bytes,
        stored: &mut Vec<(Uid, Digest)>,
    ) -> Result<Result<Header, String>, ServiceError> {
        let (read, name) = (bytes.clone(), name.to_owned());
        // A scan of a large object takes longer than other tasks should wait.
        let scan = move || read_header(&read, Some(&name), &Limits::default());
        let header = match tokio::task::spawn_blocking(scan).await {
            Ok(Ok(header)) => header,
            Ok(Err(error)) => return Ok(Err(error.to_string())),
            Err(_) => return Ok(Err("its header could not be read".to_owned())),
        };
        if self.bytes.put(&header.instance.digest, bytes).await? {
            stored.push((header.study.clone(), header.instance.digest.clone()));
        }
        Ok(Ok(header))
    }

    /// Adds instances to their study's record.
    async fn record_instances(
        &self,
        study: &Uid,
        attributes: StudyAttributes,
        headers: Vec<(usize, Header)>,
        priority: Priority,
    ) -> Result<Vec<(usize, Verdict)>, ServiceError> {
        let (places, instances): (Vec<usize>, Vec<InstanceRecord>) = headers.into_iter().map(split).unzip();
        let add = AddInstances {
            study: study.clone(),
            tenant: Tenant::default(),
            attributes,
            priority,
            instances,
            limits: self.config.intake_limits(&self.shares.of(&Tenant::default())),
        };
        let verdicts = match self.store.add_instances(add).await {
            Ok(added) => added.into_iter().map(verdict).collect(),
            // A limit concerns this study only.
            Err(
                error @ (StoreError::TooManyStudies { .. }
                | StoreError::TooManyOfTenant { .. }
                | StoreError::TooManyInstances { .. }),
            ) => {
                vec![Verdict::Refused(error.to_string()); places.len()]
            }
            Err(error) => return Err(error.into()),
        };
        Ok(places.into_iter().zip(verdicts).collect())
    }
}

/// Headers of one study by the patient that they name, each group with all that its headers say of patient and request.
fn by_patient(headers: Vec<(usize, Header)>) -> Vec<(StudyAttributes, Vec<(usize, Header)>)> {
    let mut patients: Vec<(StudyAttributes, Vec<(usize, Header)>)> = Vec::new();
    for (place, header) in headers {
        match patients.iter_mut().find(|(known, _)| !known.is_another_patient(&header.study_attributes)) {
            Some((known, group)) => {
                known.fill_from(&header.study_attributes);
                group.push((place, header));
            }
            None => patients.push((header.study_attributes.clone(), vec![(place, header)])),
        }
    }
    patients
}

fn split((place, header): (usize, Header)) -> (usize, InstanceRecord) {
    let series = header.series;
    let record = InstanceRecord {
        series: series.uid,
        modality: series.modality,
        description: series.description,
        number: series.number,
        instance: header.instance,
    };
    (place, record)
}

fn verdict(added: Added) -> Verdict {
    match added {
        Added::Accepted => Verdict::Accepted,
        Added::Duplicate => Verdict::Duplicate,
        Added::Conflict { held } => {
            let start = &held.as_str()[..12];
            Verdict::Refused(format!("another object with the same SOP Instance UID is held (digest {start}…)"))
        }
        Added::OtherTenant => Verdict::Refused("its Study Instance UID cannot be used here".to_owned()),
        Added::OtherPatient => Verdict::Refused(
            "its study is held for another patient (Patient ID, name or birth date differ): give one of them another \
             Study Instance UID"
                .to_owned(),
        ),
    }
}
