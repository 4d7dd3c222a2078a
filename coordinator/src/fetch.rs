//! Studies from a PACS: found by C-FIND, brought by C-GET or C-MOVE, taken in like every other, and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use dicom_dictionary_std::uids;
use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::study::Priority;

use crate::deliver::destinations::Route;
use crate::dimse::scu::association::Association;
use crate::dimse::scu::find::{self, FoundInstance, FoundStudy, Question};
use crate::dimse::scu::node::Node;
use crate::dimse::scu::retrieve::{self, Counts, Incoming, Intake, Taken};
use crate::dimse::{is_stored, stored_classes, verdict_status};
use crate::intake::{Claim, Object, Sending, Verdict};
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;

/// Reasons that are told; a thousand objects that are refused have one reason.
const MAX_REASONS: usize = 20;
/// After a C-MOVE, how long what was sent may take to be in the record: it was answered for already.
const SETTLE: Duration = Duration::from_secs(10);

/// What bringing a study came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// C-GET or C-MOVE.
    pub by: &'static str,
    /// Instances that the PACS said that it holds.
    pub expected: u32,
    /// Of them, those that are held here.
    pub held: u32,
    /// Of those, the ones that came now.
    pub accepted: u32,
    /// Sub-operations that the PACS said failed.
    pub failed: u32,
    /// Why those that are not held are not.
    pub reasons: Vec<String>,
}

impl Coordinator {
    /// The studies that a PACS holds, of those asked for.
    pub async fn find_remote(&self, source: &str, question: &Question) -> Result<Vec<FoundStudy>, ServiceError> {
        let wanted = [&question.study, &question.accession_number, &question.patient_id];
        if wanted.iter().all(|value| value.is_empty()) {
            let problem = "name a study, an accession number or a patient".to_owned();
            return Err(ServiceError::Invalid { field: "question", problem });
        }
        if !question.study_date.is_empty() && !find::is_date_or_range(&question.study_date) {
            let problem = format!("{:?} is no date or range: give 20261128, or 20261101-20261130", question.study_date);
            return Err(ServiceError::Invalid { field: "date", problem });
        }
        let node = self.source(source)?;
        let mut association = Association::open(&node, &[find::proposal()], self.memory_for_answers()).await?;
        let found = find::studies(&mut association, question).await;
        end(association, found.is_ok()).await;
        Ok(found?)
    }

    /// Brings a study from a PACS, and completes it.
    pub async fn fetch_remote(&self, source: &str, study: &Uid, tenant: &Tenant) -> Result<Fetched, ServiceError> {
        if let Some(held) = self.store.study(study).await?
            && held.tenant != *tenant
        {
            return Err(StoreError::NoStudy(study.clone()).into());
        }
        let node = self.source(source)?;
        let before = self.instances_of(study).await?;
        // Our own drafts, which the PACS was sent, are no part of what is to be read.
        let drafts: BTreeSet<String> =
            self.deliveries(study).await?.into_iter().map(|record| record.instance).collect();
        // Who cannot do C-GET is asked for C-MOVE: the first association finds out.
        let get = retrieve::get_proposals(&[]);
        let contexts = [find::proposal(), get[0].clone(), retrieve::move_proposal()];
        let mut association = Association::open(&node, &contexts, self.memory_for_answers()).await?;
        let expected = find::instances(&mut association, study).await;
        let can_get = association.takes(uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET);
        let mut wanted_series = None;
        let mut expected = match expected {
            Ok(expected) if expected.is_empty() => {
                association.release().await;
                return Err(ServiceError::NotThere { system: source.to_owned(), study: study.clone() });
            }
            Ok(mut expected) => {
                let is_ours = |found: &FoundInstance| drafts.contains(&found.instance);
                let is_wanted = |found: &FoundInstance| {
                    !is_ours(found) && (found.sop_class.is_empty() || is_stored(&found.sop_class))
                };
                // Some end a C-GET at the first object that they have no context for: then only series are asked for that
                // hold what is wanted.
                if !expected.iter().all(is_wanted) {
                    let wanted = expected.iter().filter(|found| is_wanted(found));
                    let series = wanted.filter_map(|found| Uid::parse(&found.series).ok());
                    wanted_series = Some(series.collect::<BTreeSet<Uid>>());
                }
                expected.retain(|found| !is_ours(found));
                expected
            }
            Err(error) => {
                association.abort().await;
                return Err(error.into());
            }
        };
        let (mut reasons, mut own) = (Reasons::default(), BTreeSet::new());
        let (by, counts) = if can_get {
            association.release().await;
            ("C-GET", self.get(&node, (study, wanted_series), tenant, &expected, (&mut reasons, &mut own)).await?)
        } else {
            let moved = retrieve::move_to(&mut association, study, &self.config.dicom.aet).await;
            end(association, moved.is_ok()).await;
            let moved = moved?;
            self.settle(study, &expected, moved).await?;
            ("C-MOVE", moved)
        };
        let now = self.instances_of(study).await?;
        // Drafts of another installation like ours came, and were not added.
        expected.retain(|found| now.contains(&found.instance) || !own.contains(&found.instance));
        let is_held = |found: &&FoundInstance| now.contains(&found.instance);
        let held = expected.iter().filter(is_held).count() as u32;
        let accepted = now.difference(&before).count() as u32;
        if !now.is_empty() {
            self.complete(None, vec![study.clone()]).await?;
        }
        for found in expected.iter().filter(|found| !now.contains(&found.instance)) {
            if !found.sop_class.is_empty() && !is_stored(&found.sop_class) {
                reasons.add(format!("SOP class {} is not stored here", found.sop_class));
            }
        }
        if counts.failed > 0 {
            reasons.add(format!("{node} says that {} sub-operations failed", counts.failed));
        }
        let missing = expected.len() as u32 - held;
        if missing > 0 && reasons.0.is_empty() {
            reasons.add(format!("{node} did not send them and gave no reason"));
        }
        let (expected, failed) = (expected.len() as u32, u32::from(counts.failed));
        Ok(Fetched { by, expected, held, accepted, failed, reasons: reasons.told() })
    }

    /// Brings a study by C-GET: whole, or some of its series.
    async fn get(
        &self,
        node: &Node,
        (study, some_series): (&Uid, Option<BTreeSet<Uid>>),
        tenant: &Tenant,
        expected: &[FoundInstance],
        (reasons, own): (&mut Reasons, &mut BTreeSet<String>),
    ) -> Result<Counts, ServiceError> {
        let classes: BTreeSet<String> = expected.iter().map(|found| found.sop_class.clone()).collect();
        // Not every PACS tells the class: then it may be any of ours.
        let classes: Vec<String> = match classes.contains("") {
            true => stored_classes(),
            false => classes.into_iter().filter(|class| is_stored(class)).collect(),
        };
        let contexts = retrieve::get_proposals(&classes);
        let mut association = Association::open(node, &contexts, self.memory_for_answers()).await?;
        let sending = Sending::new(tenant.clone(), &node.called);
        let mut intake = FromPeer { coordinator: self, sending, reasons, own };
        let got = async {
            let Some(some_series) = some_series else {
                return retrieve::get(&mut association, study, &mut intake).await;
            };
            let mut all = Counts::default();
            for series in &some_series {
                all.add(retrieve::get_series(&mut association, study, series, &mut intake).await?);
            }
            Ok(all)
        };
        let got = got.await;
        let sending = intake.sending;
        self.end(sending, got.is_ok()).await?;
        end(association, got.is_ok()).await;
        Ok(got?)
    }

    /// Waits until what a C-MOVE brought to a listener of ours, perhaps another coordinator's, is in the record.
    async fn settle(&self, study: &Uid, expected: &[FoundInstance], counts: Counts) -> Result<(), ServiceError> {
        let came = usize::from(counts.completed) + usize::from(counts.warnings);
        let waiting = async {
            loop {
                let now = self.instances_of(study).await?;
                if expected.iter().filter(|found| now.contains(&found.instance)).count() >= came {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(SETTLE, waiting).await.unwrap_or(Ok(()))
    }

    async fn instances_of(&self, study: &Uid) -> Result<BTreeSet<String>, ServiceError> {
        let held = self.store.instances(study).await?;
        Ok(held.into_iter().map(|record| record.instance.uid.into()).collect())
    }

    /// The PACS of this name.
    pub(crate) fn source(&self, name: &str) -> Result<Node, ServiceError> {
        let destination = self.destination(name)?;
        match &destination.route {
            Route::Dicom(node) => Ok(node.clone()),
            _ => {
                let problem =
                    format!("nothing can be fetched from {name:?}: name a destination with dicom:// or dicoms://");
                Err(ServiceError::Invalid { field: "source", problem })
            }
        }
    }
}

/// Ends an association after what was asked was answered, or was not.
async fn end(association: Association, is_whole: bool) {
    if is_whole { association.release().await } else { association.abort().await }
}

/// Why objects did not come, each reason once, with how often.
#[derive(Debug, Default)]
struct Reasons(BTreeMap<String, u32>);

impl Reasons {
    fn add(&mut self, reason: String) {
        if self.0.len() < MAX_REASONS || self.0.contains_key(&reason) {
            *self.0.entry(reason).or_default() += 1;
        }
    }

    fn told(self) -> Vec<String> {
        let one = |(reason, times): (String, u32)| if times > 1 { format!("{reason} ({times} times)") } else { reason };
        self.0.into_iter().map(one).collect()
    }
}

/// Objects of a peer that we asked, on their way in.
struct FromPeer<'a> {
    coordinator: &'a Coordinator,
    sending: Sending,
    reasons: &'a mut Reasons,
    /// Objects that are held already, or are drafts like ours.
    own: &'a mut BTreeSet<String>,
}

impl Intake for FromPeer<'_> {
    async fn take(&mut self, object: Incoming) -> Taken {
        let instance = object.claimed.1.clone();
        let claimed = Claim { instance: Some(object.claimed), study: None };
        let object = Object { name: String::new(), bytes: Ok(Bytes::from(object.file)), claimed };
        let taken = self.coordinator.accept(&mut self.sending, vec![object], Priority::Routine).await;
        let refused = match &taken {
            Ok(outcomes) => outcomes.first().and_then(|outcome| match &outcome.verdict {
                Verdict::Refused(refused) => Some(refused.to_string()),
                _ => None,
            }),
            Err(error) => Some(error.to_string()),
        };
        let is_held = |outcome: &crate::intake::Outcome| outcome.verdict == Verdict::Duplicate;
        if taken.as_ref().is_ok_and(|outcomes| outcomes.iter().any(is_held)) {
            self.own.insert(instance);
        }
        if let Some(reason) = refused {
            self.reasons.add(reason);
        }
        Taken(verdict_status(&taken))
    }
}
