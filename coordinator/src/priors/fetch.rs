//! Reports of earlier studies from a PACS, before a study is planned: which it holds is asked by C-FIND, and their structured
//! reports are brought by C-GET, series by series.
//!
//! Images are not brought: they would have to be read before they say anything, and would stand in the queue before the study
//! that they are for. So a study that is held for its reports alone has no jobs; a sender who sends its images later opens it as
//! any other.
//!
//! **Invariant**: a study is planned whatever the PACS does: what is asked is bounded in studies, series, bytes and time, and
//! after a failure the PACS is left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prelim_proto::ids::Uid;
use prelim_proto::study::{Priority, Study, StudyAttributes};
use prelim_proto::trace::without_uids;
use tokio::time::Instant;

use super::PriorRules;
use super::choose::{days_before, likeness};
use super::document;
use super::region::Shown;
use crate::dimse::scu::association::Association;
use crate::dimse::scu::find::{self, FoundStudy, Question};
use crate::dimse::scu::retrieve::{self, Incoming, Intake, Taken};
use crate::dimse::verdict_status;
use crate::intake::{Claim, Object, Sending, complete};
use crate::report::present;
use crate::service::{Coordinator, ServiceError};
use crate::store::record::CompleteStudies;
use crate::traces;

/// Time for all that is asked for one study.
const TIME: Duration = Duration::from_secs(15);
/// Studies for which it is asked at once.
const TURNS: usize = 8;
/// After a failure, how long the PACS is not asked.
const REST: Duration = Duration::from_secs(60);
/// Series with reports of one study that are brought.
const MAX_SERIES: usize = 8;
/// Bytes that are taken for one study in all; the rest is refused.
const MAX_BYTES: usize = 64 << 20;
/// What the senders of fetched studies begin with, in records.
const SENDER: &str = "priors of ";

/// Why a study whose reports alone were fetched is not read.
pub(crate) const HELD: &str = "fetched as an earlier study, for its reports; its images were not asked for";

/// What is known of a PACS that is asked, by all who ask.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    /// Until when it is left alone, after it failed.
    resting: Mutex<Option<Instant>>,
    /// Two plans of one study ask one after the other: the second finds what the first brought, whole. A study has the turn that
    /// its UID falls to; as many are asked for at once as there are turns.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

impl Asking {
    async fn turn(&self, study: &Uid) -> tokio::sync::MutexGuard<'_, ()> {
        let sum = study.as_str().bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.turns[sum % TURNS].lock().await
    }

    fn is_resting(&self) -> bool {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| until > Instant::now())
    }

    fn note(&self, is_well: bool) {
        *self.resting.lock().unwrap_or_else(PoisonError::into_inner) = (!is_well).then(|| Instant::now() + REST);
    }
}

/// Whether a study came as an earlier one alone.
pub(crate) fn is_fetched(senders: &[String]) -> bool {
    !senders.is_empty() && senders.iter().all(|sender| sender.starts_with(SENDER))
}

impl Coordinator {
    /// Brings reports of the patient's earlier studies, where the rules name a PACS. A sentence for the draft where it could not
    /// be asked.
    pub(crate) async fn fetch_priors(&self, study: &Study, rules: &PriorRules) -> Option<String> {
        let source = rules.source.as_deref()?;
        let id = study.attributes.patient_id.trim();
        // What a PACS takes for a wildcard would find other patients.
        if rules.most == 0 || id.is_empty() || id.contains(['*', '?', '\\']) {
            return None;
        }
        // Another tenant's PACS learns nothing of the patient.
        if self.destination(source).is_ok_and(|destination| !destination.takes(&study.tenant)) {
            return None;
        }
        let _turn = self.asking.turn(&study.uid).await;
        let why = if self.asking.is_resting() {
            "failed a moment ago, and was not asked again"
        } else {
            let asked = tokio::time::timeout(TIME, self.ask_for_priors(source, study, rules)).await;
            self.asking.note(matches!(asked, Ok(Ok(_))));
            let hash = traces::hash(&study.uid);
            match asked {
                Ok(Ok(brought)) => {
                    tracing::info!(study.hash = hash, brought, "earlier studies asked for");
                    return None;
                }
                Ok(Err(error)) => {
                    tracing::warn!(study.hash = hash, error = without_uids(&error), "earlier studies not brought");
                    "was asked for earlier studies, and could not give them"
                }
                Err(_) => {
                    tracing::warn!(study.hash = hash, error = "no answer in time", "earlier studies not brought");
                    "was asked for earlier studies, and did not answer in time"
                }
            }
        };
        Some(format!("{source} {why}: earlier reports may be missing."))
    }

    /// Asks, and brings what is closest and not held; how many studies came.
    async fn ask_for_priors(&self, source: &str, study: &Study, rules: &PriorRules) -> Result<usize, ServiceError> {
        let Some(date) = present::valid_date(&study.attributes.study_date) else { return Ok(0) };
        let node = self.source(source)?;
        let patient_id = study.attributes.patient_id.trim().to_owned();
        let question = Question { patient_id, study_date: format!("-{date}"), ..Question::default() };
        let mut association = Association::open(&node, &[find::proposal()], self.memory_for_answers()).await?;
        let asked = async {
            let found = find::studies(&mut association, &question).await?;
            let mut wanted: Vec<(Uid, Vec<Uid>)> = Vec::new();
            for study in self.closest(study, found, rules).await? {
                let mut series = find::report_series(&mut association, &study).await?;
                series.truncate(MAX_SERIES);
                if !series.is_empty() {
                    wanted.push((study, series));
                }
            }
            Ok::<_, ServiceError>(wanted)
        };
        let wanted = asked.await;
        match &wanted {
            Ok(_) => association.release().await,
            Err(_) => association.abort().await,
        }
        let wanted = wanted?;
        if wanted.is_empty() {
            return Ok(0);
        }
        let contexts = retrieve::get_proposals(&document::CLASSES.map(str::to_owned));
        let mut association = Association::open(&node, &contexts, self.memory_for_answers()).await?;
        let sending = Sending::new(study.tenant.clone(), &format!("{SENDER}{}", node.called));
        let mut intake = Reports { coordinator: self, sending, of: None, left: MAX_BYTES };
        let got = async {
            for (study, series) in &wanted {
                intake.of = Some(study.clone());
                for series in series {
                    retrieve::get_series(&mut association, study, series, &mut intake).await?;
                }
            }
            Ok::<_, ServiceError>(())
        };
        let got = got.await;
        self.end(intake.sending, got.is_ok()).await?;
        match &got {
            Ok(()) => association.release().await,
            Err(_) => association.abort().await,
        }
        got?;
        let mut came = Vec::new();
        for (study, _) in wanted {
            if self.store.study(&study).await?.is_some() {
                came.push(study);
            }
        }
        // They are planned by the next sweep: without jobs.
        let (studies, brought) = (came.clone(), came.len());
        self.store
            .complete_studies(CompleteStudies { request_id: None, studies, completion: complete::told() })
            .await?;
        Ok(brought)
    }

    /// The closest of the studies that a PACS has and we do not, as far as it describes them.
    async fn closest(
        &self,
        study: &Study,
        found: Vec<FoundStudy>,
        rules: &PriorRules,
    ) -> Result<Vec<Uid>, ServiceError> {
        let shown = Shown::of(study);
        let mut alike = Vec::new();
        for found in found {
            let Ok(uid) = Uid::parse(&found.study) else { continue };
            if uid == study.uid || found.patient_id.trim() != study.attributes.patient_id.trim() {
                continue;
            }
            let of = Shown::said(&found.modalities, &found.description);
            let (Ok(days), Ok(likeness)) =
                (days_before(&study.attributes, &attributes(&found), rules), likeness(&shown, &of))
            else {
                continue;
            };
            if self.store.study(&uid).await?.is_none() {
                alike.push((likeness, days, uid));
            }
        }
        alike.sort();
        alike.truncate(rules.most as usize);
        Ok(alike.into_iter().map(|(.., uid)| uid).collect())
    }
}

fn attributes(found: &FoundStudy) -> StudyAttributes {
    StudyAttributes {
        patient_id: found.patient_id.clone(),
        patient_name: found.patient_name.clone(),
        patient_birth_date: found.patient_birth_date.clone(),
        patient_sex: found.patient_sex.clone(),
        study_date: found.study_date.clone(),
        study_time: found.study_time.clone(),
        ..StudyAttributes::default()
    }
}

/// Reports of an earlier study on their way in.
struct Reports<'a> {
    coordinator: &'a Coordinator,
    sending: Sending,
    /// The study that was asked for.
    of: Option<Uid>,
    /// Bytes that may still come.
    left: usize,
}

impl Intake for Reports<'_> {
    async fn take(&mut self, object: Incoming) -> Taken {
        let (class, instance) = &object.claimed;
        let is_wanted = document::is_report(class) && object.file.len() <= self.left;
        let bytes = if is_wanted {
            self.left -= object.file.len();
            Ok(Bytes::from(object.file))
        } else {
            Err("no report, or more than is taken of earlier studies".to_owned())
        };
        let claimed = Claim { instance: Some((class.clone(), instance.clone())), study: self.of.clone() };
        let object = Object { name: String::new(), bytes, claimed };
        Taken(verdict_status(&self.coordinator.accept(&mut self.sending, vec![object], Priority::Routine).await))
    }
}
