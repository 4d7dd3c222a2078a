//! Merge jobs to drafts, and drafts to reports in the form asked for.

use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use prelim_proto::demand::Offer;
use prelim_proto::ids::Uid;
use prelim_proto::job::{JobKind, Lease};
use prelim_proto::report::{Replaced, Report};
use prelim_proto::study::Study;
use prelim_proto::trace::without_uids;

use crate::deliver::Moment;
use crate::merge::{Merge, Reading, merge};
use crate::pictures;
use crate::priors::Compared;
use crate::report::{self, Format, ReportInputs, json};
use crate::service::{Coordinator, ServiceError};
use crate::store::StoreError;
use crate::store::record::{Done, DraftRecord, Failure, LeaseRequest, Merged};
use crate::summary::summary;
use crate::traces;

/// The name under which coordinators lease merge jobs.
const MERGER: &str = "coordinator";
/// Drafts made at once: one waits for the disk while another is merged.
const MERGES_AT_ONCE: usize = 4;
/// How often the merge task looks for work without being woken.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A report in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Version of the draft.
    pub version: u32,
    /// Its bytes in that form.
    pub content: Vec<u8>,
}

impl Coordinator {
    /// Makes drafts, several at a time, until the coordinator stops.
    pub(crate) async fn merge_until_stopped(&self) {
        let one_by_one = std::iter::repeat_with(|| self.merge_one_by_one()).take(MERGES_AT_ONCE);
        futures::future::join_all(one_by_one).await;
    }

    async fn merge_one_by_one(&self) {
        while !self.stopping.is_cancelled() {
            match self.merge_next().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(error = without_uids(&error), "merge failed"),
            }
            tokio::select! {
                _ = tokio::time::timeout(LOOK_AGAIN, self.merges.notified()) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Does one merge job; whether there was one.
    async fn merge_next(&self) -> Result<bool, ServiceError> {
        let request = LeaseRequest {
            worker: MERGER.to_owned(),
            request: String::new(),
            repeats: false,
            kinds: vec![JobKind::Merge],
            offer: Offer::default(),
            tenants: None,
            held: Vec::new(),
            ttl_ms: self.config.lease_ttl_ms,
            shares: self.shares.clone(),
        };
        let Some(lease) = self.store.lease(request).await? else { return Ok(false) };
        let job = lease.job.id.clone();
        match self.draft(&lease).await {
            Ok(()) => {}
            // Late instances opened the study again, or it was cancelled: its merge is gone with its jobs.
            Err(ServiceError::Store(
                StoreError::Outdated(_) | StoreError::LeaseLost { .. } | StoreError::Cancelled(_),
            )) => {}
            // The merge waits for the object store without using up its attempts.
            Err(ServiceError::Bytes(error)) if error.is_retryable() => {
                tracing::warn!(error = without_uids(&error), "merge waits");
                self.store.release(&job, lease.token).await?;
                return Ok(false);
            }
            Err(error) => {
                let reason = error.to_string();
                if !self.fail_job(&job, lease.token, &reason, true).await? {
                    self.end_trace(job.study(), "not merged").await;
                }
            }
        }
        self.changed(job.study());
        Ok(true)
    }

    /// Merges a study's readings and commits the draft. The bytes are stored before the record points to them.
    async fn draft(&self, lease: &Lease) -> Result<(), ServiceError> {
        let uid = lease.job.id.study();
        let began = SystemTime::now();
        let jobs = async { Ok(self.store.jobs(uid).await?) };
        let ((study, versions), jobs) = tokio::try_join!(self.study_and_versions(uid), jobs)?;
        let drafts = versions.newest;
        let version = drafts + 1;
        let before = if drafts == 0 { None } else { self.store.draft(uid, Some(drafts)).await? };
        let replaces =
            before.map(|draft| Replaced { version: draft.version, digest: draft.digest, standing: draft.standing });
        // A later draft belongs to the same trace, which has its root already.
        let has_root = traces::has_root(drafts, &study.cost, &jobs);
        let compared = self.compared(uid, &jobs).await?;
        let merged = match merge_jobs(&study, &jobs, replaces, &compared) {
            Merge::Draft(mut report) => {
                if versions.signed > 0 {
                    report.limitations.extend(self.taken_out(uid, versions.signed).await?);
                }
                let inputs = ReportInputs { report: &report, study: &study, key_images: &[], shadings: &[] };
                let content = report::write(Format::Json, &inputs)?;
                let digest = prelim_imaging::header::digest(&content);
                let size_bytes = content.len() as u64;
                let known = self.record(uid).await?.summary;
                let summary = Box::new(summary(&report, &study, known.as_ref(), None));
                let objects = report::objects(&report, &study).iter().map(ToString::to_string).collect();
                self.bytes.put(uid, &digest, content.into()).await?;
                let deliveries = self.wishes(&study, Moment::Drafted, versions.signed > 0);
                Merged::Draft { version, digest, size_bytes, objects, summary, unread: report.unread, deliveries }
            }
            Merge::NothingRead { reason, unread } => Merged::Nothing { reason, unread },
        };
        let is_draft = matches!(merged, Merged::Draft { .. });
        if self.store.commit_merge(&lease.job.id, lease.token, merged).await? == Done::Now {
            self.deliveries.notify_one();
            match is_draft {
                true => self.metrics.study_drafted(study.received_at_ms),
                false => self.metrics.study_settled("failed"),
            }
            traces::add(uid, "merge", began, [KeyValue::new("prelim.draft.version", i64::from(version))]);
            if !has_root {
                traces::add_root(uid, study.received_at_ms, (!is_draft).then_some("no draft"));
            }
        }
        Ok(())
    }

    /// The report of a study that stands, signed or else the newest, in the form asked for.
    pub async fn report(&self, uid: &Uid, format: Format) -> Result<Rendered, ServiceError> {
        self.rendered(uid, None, format).await
    }

    /// A version of a study's report in the form asked for.
    pub async fn report_of(&self, uid: &Uid, version: u32, format: Format) -> Result<Rendered, ServiceError> {
        self.rendered(uid, Some(version), format).await
    }

    /// The report that a version's record names.
    pub(crate) async fn held_report(&self, study: &Uid, version: &DraftRecord) -> Result<Report, ServiceError> {
        let content = self.bytes.get(study, &version.digest).await?;
        Ok(json::parse(&content)?.to_report()?)
    }

    async fn rendered(&self, uid: &Uid, version: Option<u32>, format: Format) -> Result<Rendered, ServiceError> {
        let (study, versions) = self.study_and_versions(uid).await?;
        let newest = versions.newest;
        let Some(draft) = self.store.draft(uid, Some(version.unwrap_or(versions.standing))).await? else {
            if let Some(version) = version.filter(|version| newest > 0 && *version > newest) {
                return Err(ServiceError::NoVersion { study: uid.clone(), version, newest });
            }
            let reason = study.state_reason;
            return Err(ServiceError::NoDraft { study: uid.clone(), state: study.state, reason });
        };
        let content = self.bytes.get(uid, &draft.digest).await?;
        if format == Format::Json {
            return Ok(Rendered { version: draft.version, content: content.to_vec() });
        }
        let report = json::parse(&content)?.to_report()?;
        let key_images =
            if format.shows_images() { pictures::key_images(self, &report, &study).await } else { Vec::new() };
        let shadings = match format {
            Format::Presentation => pictures::shadings(self, &report, &study).await,
            _ => Vec::new(),
        };
        let write = move || {
            let (key_images, shadings) = (&key_images, &shadings);
            report::write(format, &ReportInputs { report: &report, study: &study, key_images, shadings })
        };
        // Writing a page with a dozen pictures takes longer than other tasks should wait.
        let content = tokio::task::spawn_blocking(write).await.map_err(|_| ServiceError::Stopping)??;
        Ok(Rendered { version: draft.version, content })
    }
}

/// Merges what came of a study's jobs.
fn merge_jobs(study: &Study, jobs: &[traces::StudyJob], replaces: Option<Replaced>, compared: &Compared) -> Merge {
    const UNKNOWN: &str = "no reason was recorded";
    let why = |failures: &[Failure]| failures.last().map_or(UNKNOWN.to_owned(), |failure| failure.reason.clone());
    let reasons: Vec<String> = jobs.iter().map(|(record, _, _)| why(&record.failures)).collect();
    let readings: Vec<Reading<'_>> = jobs
        .iter()
        .zip(&reasons)
        .map(|((_, spec, outcome), reason)| Reading { spec, end: outcome.as_ref().ok_or(reason.as_str()) })
        .collect();
    merge(study, &readings, replaces, compared)
}
