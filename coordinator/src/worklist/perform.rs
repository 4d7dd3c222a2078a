//! prelim as the performer of the workitems that are addressed to it: claimed when their study is held or can be fetched, followed
//! by the study's record, and ended with the draft's objects or with the reason why there are none.
//!
//! What has to be known is in the store: any coordinator goes on with a workitem that another began, and of two that try the
//! same, one is first. The queue of jobs knows nothing of workitems: only studies that have one are looked at, once a second
//! while they are read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prelim_proto::ids::Uid;
use prelim_proto::study::{Priority, StudyState};
use prelim_proto::trace::without_uids;
use tokio::sync::broadcast;

use super::dataset::{Dataset, code, items, put_items, put_text, tag, text};
use super::{WorklistError, ours, rules};
use crate::audit::{Act, Audit, Event};
use crate::deliver::destinations::Route;
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{AddInstances, StudyRecord};
use crate::store::worklist::{Workitem, WorkitemQuery, WorkitemRecord, WorkitemState};

/// How often a claimed workitem's study is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same for one that waits for its study.
const WAIT_EVERY: Duration = Duration::from_secs(5);
/// Changes closer together than this are looked at together.
const PAUSE: Duration = Duration::from_millis(50);
/// Workitems that are listed as often as that.
const MANY: usize = 500;
/// How long a workitem waits for its draft to be sent, after it was made.
const SENDING_MS: i64 = 120_000;
/// Workitems that are looked after, over all tenants: more than may be open.
const MOST: usize = 1_000_000;
/// Percent of the work that is done when a study's jobs are, and the draft is not yet sent.
const JOBS_PERCENT: u32 = 95;

/// Performs workitems until the coordinator stops.
pub(crate) async fn perform_until_stopped(coordinator: Arc<Coordinator>, audit: Audit) {
    let mut performer = Performer {
        changes: coordinator.subscribe(),
        coordinator,
        audit,
        due: HashMap::new(),
        open: 0,
        fetching: HashMap::new(),
    };
    while !performer.coordinator.stopping.is_cancelled() {
        if let Err(error) = performer.look().await {
            tracing::warn!(error = without_uids(&error), "workitems wait");
        }
        performer.wait().await;
    }
}

struct Performer {
    coordinator: Arc<Coordinator>,
    audit: Audit,
    /// Studies that changed here.
    changes: broadcast::Receiver<Uid>,
    /// The version of each workitem that was looked at last, and when it is looked at next.
    due: HashMap<Uid, (u64, Instant)>,
    /// How many there are.
    open: usize,
    /// Studies that are brought from elsewhere for workitems.
    fetching: HashMap<Uid, tokio::task::JoinHandle<Result<(), String>>>,
}

/// Why a workitem is not performed whose study is somebody else's.
const OTHER_PATIENT: &str = "the study is held for another patient: Patient ID or birth date is not the workitem's";

/// Whether a study is of another patient than a workitem says.
fn is_of_another(workitem: &Workitem, held: &StudyRecord) -> bool {
    held.attributes.is_another_patient(&ours::patient(&workitem.dataset))
}

impl Performer {
    /// Waits until there may be something to do.
    async fn wait(&mut self) {
        let coordinator = &self.coordinator;
        // Where there are very many, they are listed more seldom.
        let slower = 1 + (self.open / MANY) as u32;
        let changed = async {
            coordinator.worklist.work().await;
            tokio::time::sleep(PAUSE * slower).await;
        };
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(LOOK_EVERY * slower) => {}
            () = coordinator.stopping.cancelled() => {}
        }
    }

    /// Looks at each workitem whose time has come, or whose study changed.
    async fn look(&mut self) -> Result<(), StoreError> {
        let query = WorkitemQuery { to_be_performed: true, limit: MOST, ..WorkitemQuery::default() };
        let open = self.coordinator.store.workitems(query).await?;
        let mut changed = HashSet::new();
        loop {
            match self.changes.try_recv() {
                Ok(study) => {
                    changed.insert(study);
                }
                // Too many to name: all may have.
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.due.clear(),
                Err(_) => break,
            }
        }
        self.open = open.len();
        let known: HashSet<&Uid> = open.iter().map(|record| &record.uid).collect();
        self.due.retain(|uid, _| known.contains(uid));
        self.fetching.retain(|uid, _| known.contains(uid));
        for record in &open {
            let has_changed = record.workitem.study.as_ref().is_some_and(|study| changed.contains(study));
            let seen = self.due.get(&record.uid);
            let is_due = seen.is_none_or(|(version, due)| *version != record.version || *due <= Instant::now());
            if !has_changed && !is_due {
                continue;
            }
            let next = match record.workitem.state {
                WorkitemState::Scheduled => WAIT_EVERY,
                _ => LOOK_EVERY,
            };
            self.due.insert(record.uid.clone(), (record.version, Instant::now() + next));
            match self.step(record).await {
                // Somebody else was faster: it is looked at again.
                Ok(()) | Err(WorklistError::Service(ServiceError::Store(StoreError::WorkitemChanged(_)))) => {}
                Err(error) => tracing::warn!(error = without_uids(&error), "workitem waits"),
            }
        }
        Ok(())
    }

    /// Does what can be done for one workitem now.
    async fn step(&mut self, record: &WorkitemRecord) -> Result<(), WorklistError> {
        match record.workitem.state {
            WorkitemState::Scheduled => self.begin(record).await,
            WorkitemState::InProgress => self.go_on(record).await,
            WorkitemState::Canceled | WorkitemState::Completed => Ok(()),
        }
    }

    /// Claims a workitem whose study is there, or can be fetched.
    async fn begin(&mut self, record: &WorkitemRecord) -> Result<(), WorklistError> {
        let (workitem, now) = (&record.workitem, Timestamp::now());
        if ours::is_expired(&workitem.dataset, now) {
            return self.cancel(record, "Scheduled Procedure Step Expiration DateTime has passed").await;
        }
        if ours::is_to_wait(&workitem.dataset, now) {
            return Ok(());
        }
        let study = match ours::study(&workitem.dataset) {
            Ok(study) => study,
            Err(reason) => return self.cancel(record, &reason).await,
        };
        let held = self.held(&study, record).await?;
        if held.is_none() && self.source(record).is_none() {
            // It may still come by itself.
            return Ok(());
        }
        if let Some(held) = &held
            && is_of_another(workitem, held)
        {
            return self.cancel(record, OTHER_PATIENT).await;
        }
        if let Some(held) = &held
            && matches!(held.state, StudyState::Failed | StudyState::Cancelled)
        {
            // It was given up before somebody asked for it.
            self.coordinator.complete(None, vec![study.clone()]).await?;
        }
        let transaction = format!("2.25.{}", rand::random::<u128>());
        let claimed = rules::moved(workitem, Some(&transaction), WorkitemState::InProgress, now)?;
        let Some(mut claimed) = claimed else { return Ok(()) };
        claimed.study = Some(study);
        put_items(&mut claimed.dataset, tag::PERFORMED, [self.coordinator.performed_procedure(workitem, now)]);
        set_progress(&mut claimed, 0, "claimed");
        self.coordinator.put_workitem(record, claimed).await?;
        Ok(())
    }

    /// Follows the study of a claimed workitem.
    async fn go_on(&mut self, record: &WorkitemRecord) -> Result<(), WorklistError> {
        let Some(study) = record.workitem.study.clone() else {
            return self.cancel(record, "it names no study").await;
        };
        let Some(held) = self.held(&study, record).await? else { return self.fetch(record, &study).await };
        self.fetching.remove(&record.uid);
        if is_of_another(&record.workitem, &held) {
            return self.cancel(record, OTHER_PATIENT).await;
        }
        self.hurry(&held, &record.workitem).await?;
        match held.state {
            StudyState::Receiving => {
                if self.is_whole(&study, &record.workitem).await? {
                    self.coordinator.complete(None, vec![study]).await?;
                }
                self.progress(record, 0, "images are being received").await
            }
            StudyState::Complete => self.progress(record, 0, "the study is complete").await,
            StudyState::Queued => {
                let route = (held.state, held.route.as_ref());
                let unmet = self.coordinator.unmet_of(std::iter::once(route)).await?.pop().flatten();
                let words =
                    unmet.map_or("the study waits in the queue".to_owned(), |unmet| format!("the study {unmet}"));
                self.progress(record, percent(&held), &words).await
            }
            StudyState::Reading => {
                let words = format!("{} of {} jobs are done", held.jobs_finished, held.jobs_total);
                self.progress(record, percent(&held), &words).await
            }
            StudyState::Failed | StudyState::Cancelled | StudyState::Skipped | StudyState::Removing => {
                let why = held.state_reason.as_deref().unwrap_or("no reason is known");
                self.cancel(record, &format!("the study is {}: {why}", held.state.as_str())).await
            }
            StudyState::Drafted | StudyState::Signed | StudyState::Amended => self.complete(record, &held).await,
            StudyState::Rejected => self.cancel(record, "a radiologist rejected the draft").await,
        }
    }

    /// The record of a study, where it is held for the workitem's tenant.
    async fn held(&self, study: &Uid, record: &WorkitemRecord) -> Result<Option<StudyRecord>, StoreError> {
        let held = self.coordinator.store.study(study).await?;
        Ok(held.filter(|held| held.tenant == record.tenant && held.instances > 0))
    }

    /// Has the study read as soon as the workitem wants it.
    async fn hurry(&self, held: &StudyRecord, workitem: &Workitem) -> Result<(), StoreError> {
        let priority = ours::priority(&workitem.dataset);
        if held.state.is_settled() || priority <= held.priority || priority == Priority::Routine {
            return Ok(());
        }
        let coordinator = &self.coordinator;
        let limits = coordinator.config.intake_limits(&coordinator.shares.of(&held.tenant));
        let add = AddInstances {
            study: held.uid.clone(),
            tenant: held.tenant.clone(),
            attributes: held.attributes.clone(),
            priority,
            instances: Vec::new(),
            limits,
        };
        coordinator.store.add_instances(add).await?;
        Ok(())
    }

    /// Whether every instance is held that the workitem names; it names some.
    async fn is_whole(&self, study: &Uid, workitem: &Workitem) -> Result<bool, StoreError> {
        let named = ours::instances(&workitem.dataset);
        if named.is_empty() {
            return Ok(false);
        }
        let held = self.coordinator.store.instances(study).await?;
        let held: HashSet<&str> = held.iter().map(|record| record.instance.uid.as_str()).collect();
        Ok(named.into_iter().all(|instance| held.contains(instance)))
    }

    /// The name of a known PACS that the workitem says has its input.
    fn source(&self, record: &WorkitemRecord) -> Option<String> {
        let titles = ours::sources(&record.workitem.dataset);
        let known = self.coordinator.destinations.as_ref()?.get();
        let is_it = |route: &Route| matches!(route, Route::Dicom(node) if titles.contains(node.called.as_str()));
        let found = known.iter().find(|each| each.takes(&record.tenant) && is_it(&each.route))?;
        Some(found.name.clone())
    }

    /// Brings the study of a claimed workitem.
    async fn fetch(&mut self, record: &WorkitemRecord, study: &Uid) -> Result<(), WorklistError> {
        if let Some(fetching) = self.fetching.get(&record.uid) {
            if !fetching.is_finished() {
                return Ok(());
            }
            let fetched = self.fetching.remove(&record.uid);
            let said = match fetched {
                Some(fetched) => fetched.await.unwrap_or_else(|error| Err(error.to_string())),
                None => Ok(()),
            };
            let why = said.err().unwrap_or_else(|| "nothing of it came".to_owned());
            return self.cancel(record, &format!("the study could not be fetched: {why}")).await;
        }
        let Some(source) = self.source(record) else {
            return self.cancel(record, "the study is not held any more").await;
        };
        let words = format!("the study is fetched from {source}");
        let began = items(&record.workitem.dataset, tag::PROGRESS).next();
        let is_begun = began.and_then(|progress| text(progress, tag::PROGRESS_DESCRIPTION)) == Some(words.as_str());
        // Another coordinator may be at it. If it is not any more, its claim grows old.
        let age_ms = Timestamp::now().as_millisecond() - record.updated_at_ms;
        if is_begun && age_ms < 10 * 60_000 {
            return Ok(());
        }
        let mut after = record.workitem.clone();
        set_progress(&mut after, 0, &words);
        self.coordinator.put_workitem(record, after).await?;
        let event = Event {
            caller: Some(format!("{source} (asked by a workitem)")),
            call: Some("UPS-RS"),
            studies: vec![study.clone()],
            ..Event::of(Act::Fetched)
        };
        if self.audit.record(vec![event]).await.is_err() {
            // It has said so, and the workitem is looked at again.
            return Ok(());
        }
        let (coordinator, study, tenant) = (self.coordinator.clone(), study.clone(), record.tenant.clone());
        let fetching = tokio::spawn(async move {
            let fetched = coordinator.fetch_remote(&source, &study, &tenant).await;
            match fetched {
                Ok(fetched) if fetched.held > 0 => Ok(()),
                Ok(fetched) => Err(fetched.reasons.join("; ")),
                Err(error) => Err(error.to_string()),
            }
        });
        self.fetching.insert(record.uid.clone(), fetching);
        Ok(())
    }

    async fn progress(&self, record: &WorkitemRecord, percent: u32, words: &str) -> Result<(), WorklistError> {
        let mut after = record.workitem.clone();
        set_progress(&mut after, percent, words);
        if after != record.workitem {
            self.coordinator.put_workitem(record, after).await?;
        }
        Ok(())
    }

    /// Ends a workitem without a draft.
    async fn cancel(&self, record: &WorkitemRecord, reason: &str) -> Result<(), WorklistError> {
        self.coordinator.cancel_workitem(record, reason).await
    }

    /// Ends a workitem with the draft's objects, once they were sent where they go.
    async fn complete(&self, record: &WorkitemRecord, held: &StudyRecord) -> Result<(), WorklistError> {
        let coordinator = &self.coordinator;
        let draft = coordinator.store.draft(&held.uid, Some(held.standing_version())).await?;
        let now = Timestamp::now();
        let age_ms = draft.map_or(i64::MAX, |draft| now.as_millisecond().saturating_sub(draft.drafted_at_ms));
        let with_results = coordinator.with_results(&record.workitem, held, now, age_ms < SENDING_MS).await?;
        let Some(mut after) = with_results else {
            return self.progress(record, JOBS_PERCENT, "the draft is being sent").await;
        };
        let named = ours::instances(&record.workitem.dataset);
        let instances = if named.is_empty() { Vec::new() } else { coordinator.store.instances(&held.uid).await? };
        let came = instances.iter().filter(|held| named.contains(held.instance.uid.as_str())).count();
        let words = match named.len() - came {
            0 => "the draft is made".to_owned(),
            missing => format!("the draft is made; {missing} of {} instances named as input did not come", named.len()),
        };
        set_progress(&mut after, 100, &words);
        let transaction = record.workitem.transaction.as_str();
        if let Some(completed) = rules::moved(&after, Some(transaction), WorkitemState::Completed, now)? {
            coordinator.put_workitem(record, completed).await?;
        }
        Ok(())
    }
}

impl Coordinator {
    /// Stops the study of a workitem that is to be canceled, where nothing else wants it.
    pub(super) async fn stop_work(&self, record: &WorkitemRecord) -> Result<(), WorklistError> {
        let Some(study) = &record.workitem.study else { return Ok(()) };
        let held = self.store.study(study).await?.filter(|held| held.tenant == record.tenant);
        let Some(held) = held else { return Ok(()) };
        if held.draft_version > 0
            && matches!(held.state, StudyState::Drafted | StudyState::Signed | StudyState::Amended)
        {
            let words = "the draft is made already".to_owned();
            return Err(rules::Refused::NotCanceled(words).into());
        }
        let query = WorkitemQuery { to_be_performed: true, limit: MOST, ..WorkitemQuery::default() };
        let others = self.store.workitems(query).await?;
        let is_wanted = others.iter().any(|other| {
            other.uid != record.uid && other.tenant == record.tenant && other.workitem.study.as_ref() == Some(study)
        });
        if !is_wanted && !held.state.is_settled() {
            self.cancel(study, "its workitem was canceled by request").await?;
        }
        Ok(())
    }

    /// Cancels a workitem of our own with the reason.
    async fn cancel_workitem(&self, record: &WorkitemRecord, reason: &str) -> Result<(), WorklistError> {
        let now = Timestamp::now();
        let mut workitem = record.workitem.clone();
        let mut progress = items(&workitem.dataset, tag::PROGRESS).next().cloned().unwrap_or_default();
        let reason: String = reason.chars().take(1_024).collect();
        put_text(&mut progress, tag::CANCELLATION_REASON, "LT", reason);
        // PS3.16 CID 9300.
        put_items(
            &mut progress,
            tag::DISCONTINUATION_CODES,
            [code("110513", "DCM", "Discontinued for unspecified reason")],
        );
        put_items(&mut workitem.dataset, tag::PROGRESS, [progress]);
        let canceled = rules::in_state(&workitem, WorkitemState::Canceled, now);
        self.put_workitem(record, canceled).await?;
        Ok(())
    }
}

/// Says how far the work is.
fn set_progress(workitem: &mut Workitem, percent: u32, words: &str) {
    let mut progress: Dataset = items(&workitem.dataset, tag::PROGRESS).next().cloned().unwrap_or_default();
    put_text(&mut progress, tag::PROGRESS_PERCENT, "DS", percent.to_string());
    put_text(&mut progress, tag::PROGRESS_DESCRIPTION, "ST", words);
    put_items(&mut workitem.dataset, tag::PROGRESS, [progress]);
}

/// Percent of a study's work that is done.
fn percent(study: &StudyRecord) -> u32 {
    study.jobs_finished * JOBS_PERCENT / study.jobs_total.max(1)
}
