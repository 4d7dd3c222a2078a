//! What a coordinator does, whoever asks: the use cases between the transports and the store.
//!
//! # Layout
//! - [`Coordinator`]: the shared state, and studies for clients
//! - [`crate::intake`]: objects in, studies complete, jobs planned
//! - [`crate::dispatch`]: jobs to workers and back
//! - [`crate::drafting`]: merge jobs to drafts, drafts to reports; `crate::review`: reports signed; [`crate::deliver`]: reports
//!   out
//! - `crate::question`: questions about studies

use std::sync::Arc;
use std::time::Duration;

use prelim_imaging::sandbox::DecoderCommand;
use prelim_proto::convert::ConvertError;
use prelim_proto::ids::{IdError, Uid};
use prelim_proto::study::{Study, StudyState};
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use crate::access::Refusal;
use crate::backlog::Needs;
use crate::bytes::{ByteStore, BytesError};
use crate::config::CoordinatorConfig;
use crate::deidentify::Veil;
use crate::deliver::destinations::Destinations;
use crate::dimse::scu::error::ScuError;
use crate::drains::Drains;
use crate::metrics::Metrics;
use crate::priors::fetch::Asking;
use crate::priors::gather::Issuers;
use crate::queue::Shares;
use crate::report::ReportError;
use crate::route::Rules;
use crate::steps::KnownSteps;
use crate::store::measured::Measured;
use crate::store::record::{Done, StudyQuery, StudyRecord, by_series};
use crate::store::{JobStore, StoreError};
use crate::waiting::Line;
use crate::watched::Watched;
use crate::worklist::channels::Channels;

/// Changes that a watcher may be behind before it looks at all its studies again.
const CHANGES_KEPT: usize = 1_024;
/// Bytes of a cancellation's reason that are kept.
const MAX_REASON_BYTES: usize = 500;

/// Why something that was asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The caller's message or id is wrong.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the message.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no draft yet, or there will be none.
    #[error("study {study} has no draft: it is {}{}", .state.as_str(), .reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    NoDraft {
        /// The study.
        study: Uid,
        /// Where it stands.
        state: StudyState,
        /// Why, where a reason is known.
        reason: Option<String>,
    },
    /// The study's report has no such version.
    #[error("study {study} has no version {version} of a report: the newest is {newest}")]
    NoVersion {
        /// The study.
        study: Uid,
        /// The version that was asked for.
        version: u32,
        /// The newest.
        newest: u32,
    },
    /// The words of a report that is to be signed say another thing than its findings, and that this was seen is not said.
    #[error("the report contradicts itself, and nothing was signed: {} Mend it, or say that you have seen this and sign it so", .0.join(" "))]
    Contradicts(Vec<String>),
    /// The draft that is to be signed was rejected, and that this was seen is not said.
    #[error(
        "draft {draft} was rejected meanwhile, which version {rejection} says: nothing was signed. Look at why, and sign it all the same only by naming version {rejection}"
    )]
    DraftRejected {
        /// The draft.
        draft: u32,
        /// The version that says so.
        rejection: u32,
    },
    /// The study is to be removed with a signed report, and that was not said.
    #[error("a radiologist has signed a report of study {0}: it goes, too, only where that is said")]
    Signed(Uid),
    /// There are no pseudonyms here.
    #[error("no pseudonym is known here: the coordinator was started without --deidentify")]
    NoKey,
    /// Nobody here answers questions, or none about this study.
    #[error("{0}")]
    NobodyAnswers(String),
    /// The caller asked no such question, or it is forgotten.
    #[error("you asked no question {0:?} about this study, or it is forgotten: questions are kept for a day")]
    NoQuestion(String),
    /// The caller has too many open questions.
    #[error("{limit} questions of yours are open: wait for their answers, or withdraw some")]
    TooManyQuestions {
        /// How many may be.
        limit: usize,
    },
    /// Folders may not be submitted by name.
    #[error("folders are not taken by name here; send the files, or start the coordinator with --allow-folders")]
    FoldersNotAllowed,
    /// No such folder.
    #[error("folder {0:?} cannot be read on the coordinator's machine")]
    NoFolder(String),
    /// The coordinator is stopping.
    #[error("the coordinator is stopping; try again")]
    Stopping,
    /// The caller may not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes could not be stored or found.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// Another system that was asked has no such study.
    #[error("{system} holds no study {study}")]
    NotThere {
        /// The other system.
        system: String,
        /// The study.
        study: Uid,
    },
    /// Another system did not do what it was asked.
    #[error(transparent)]
    Peer(#[from] ScuError),
    /// A report could not be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl From<IdError> for ServiceError {
    fn from(error: IdError) -> Self {
        Self::Invalid { field: "id", problem: error.to_string() }
    }
}

impl From<ConvertError> for ServiceError {
    fn from(error: ConvertError) -> Self {
        Self::Invalid { field: "message", problem: error.to_string() }
    }
}

/// The shared state of a running coordinator.
pub struct Coordinator {
    pub(crate) config: CoordinatorConfig,
    pub(crate) store: Arc<dyn JobStore>,
    /// Who gets how much.
    pub(crate) shares: Arc<Shares>,
    /// What becomes of studies.
    pub(crate) rules: Watched<Rules, String>,
    /// Workers that wait for a job.
    pub(crate) line: Line,
    /// Workers that are to stop.
    pub(crate) drains: Drains,
    /// Numbers for Prometheus.
    pub(crate) metrics: Arc<Metrics>,
    /// What jobs needed lately.
    pub(crate) needs: Needs,
    pub(crate) bytes: ByteStore,
    /// What is between the store and the workers; none where they see all.
    pub(crate) veil: Option<Veil>,
    /// The program that decodes key images.
    pub(crate) decoder: DecoderCommand,
    /// Set off when a job may be waiting for a worker.
    pub(crate) work: Notify,
    /// Set off when a merge may be waiting.
    pub(crate) merges: Notify,
    /// Where drafts go; none where they go nowhere.
    pub(crate) destinations: Option<Destinations>,
    /// What performed procedure steps say of studies that are being received.
    pub(crate) steps: KnownSteps,
    /// The PACS that is asked for earlier studies.
    pub(crate) asking: Asking,
    /// Who gave the Patient IDs in objects.
    pub(crate) issuers: Issuers,
    /// Set off when a delivery may be due.
    pub(crate) deliveries: Notify,
    /// Those who are told of workitems.
    pub(crate) worklist: Arc<Channels>,
    /// Studies that changed.
    changes: broadcast::Sender<Uid>,
    /// Cancelled when the coordinator stops: long polls and watches end.
    pub(crate) stopping: CancellationToken,
}

/// What the files of a site say.
pub(crate) struct SiteFiles {
    pub(crate) shares: Shares,
    pub(crate) rules: Watched<Rules, String>,
    pub(crate) destinations: Option<Destinations>,
    pub(crate) veil: Option<Veil>,
}

/// Versions of a study's report; 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    /// The newest.
    pub(crate) newest: u32,
    /// The newest that a radiologist signed.
    pub(crate) signed: u32,
    /// The one that stands ([`StudyRecord::standing_version`]).
    pub(crate) standing: u32,
}

impl Coordinator {
    /// A coordinator on the given stores.
    pub(crate) fn new(
        config: CoordinatorConfig,
        SiteFiles { shares, rules, destinations, veil }: SiteFiles,
        store: Arc<dyn JobStore>,
        bytes: ByteStore,
        decoder: DecoderCommand,
        stopping: CancellationToken,
    ) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        let (work, merges) = (Notify::new(), Notify::new());
        let (shares, line, metrics) = (Arc::new(shares), Line::default(), Arc::<Metrics>::default());
        let store = Arc::new(Measured::new(store, metrics.clone()));
        Self {
            config,
            store,
            shares,
            rules,
            line,
            drains: Drains::default(),
            metrics,
            needs: Needs::default(),
            bytes,
            veil,
            decoder,
            work,
            merges,
            destinations,
            steps: KnownSteps::default(),
            asking: Asking::default(),
            issuers: Issuers::default(),
            deliveries: Notify::new(),
            worklist: Arc::default(),
            changes,
            stopping,
        }
    }

    /// Memory for what one peer answers that we asked, in units of 1 MiB.
    pub(crate) fn memory_for_answers(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(self.config.dicom.dicom_memory_mib))
    }

    /// Tells watchers that a study changed.
    pub(crate) fn changed(&self, study: &Uid) {
        // Nobody watching is no error.
        let _ = self.changes.send(study.clone());
    }

    /// Waits until some study changed, or a second passed: another coordinator on the same store may have changed one.
    pub(crate) async fn next_change(&self, changes: &mut broadcast::Receiver<Uid>) {
        let _ = tokio::time::timeout(Duration::from_secs(1), changes.recv()).await;
        // Whatever came together is looked at together.
        while changes.try_recv().is_ok() {}
    }

    /// A receiver of changes from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Uid> {
        self.changes.subscribe()
    }

    /// One study's record.
    pub async fn record(&self, study: &Uid) -> Result<StudyRecord, ServiceError> {
        self.store.study(study).await?.ok_or_else(|| StoreError::NoStudy(study.clone()).into())
    }

    /// One study, whole.
    pub async fn study(&self, uid: &Uid) -> Result<Study, ServiceError> {
        Ok(self.study_and_versions(uid).await?.0)
    }

    /// One study, whole, and the versions of its report.
    pub(crate) async fn study_and_versions(&self, uid: &Uid) -> Result<(Study, Versions), ServiceError> {
        let instances = async { Ok(self.store.instances(uid).await?) };
        let (record, instances) = tokio::try_join!(self.record(uid), instances)?;
        let versions = Versions {
            newest: record.draft_version,
            signed: record.signed_version,
            standing: record.standing_version(),
        };
        Ok((record.into_study(by_series(instances)), versions))
    }

    /// Records of studies, newest first, each with its study as lists show it: with its series, without instances' planes.
    pub async fn studies(&self, query: StudyQuery) -> Result<Vec<StudyRecord>, ServiceError> {
        Ok(self.store.studies(query).await?)
    }

    /// Stops work on a study.
    pub async fn cancel(&self, study: &Uid, reason: &str) -> Result<(), ServiceError> {
        if reason.len() > MAX_REASON_BYTES {
            let problem = format!("{} bytes, more than {MAX_REASON_BYTES}", reason.len());
            return Err(ServiceError::Invalid { field: "reason", problem });
        }
        let reason = if reason.is_empty() { "cancelled by a user" } else { reason };
        if self.store.cancel_study(study, reason).await? == Done::Now {
            self.metrics.study_settled("cancelled");
            self.end_trace(study, "cancelled").await;
        }
        self.changed(study);
        Ok(())
    }
}
