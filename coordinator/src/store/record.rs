//! What a store holds, and what its operations take and give.

use prelim_proto::cost::StudyCost;
use prelim_proto::demand::{Demand, ModelName, Offer, PromptName};
use prelim_proto::ids::{Digest, FencingToken, JobId, Tenant, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobSpec, JobState};
use prelim_proto::question::QuestionKind;
use prelim_proto::study::{
    Completion, Instance, Intake, Priority, RequestIds, Route, Series, Study, StudyAttributes, StudyState, Unread,
};
use serde::{Deserialize, Serialize};

pub use super::version::{DraftRecord, Judged, Merged, Reviewed, Summary};

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::queue::{IntakeLimits, Shares};

/// Failures kept with a job; older ones are dropped.
pub const MAX_FAILURES_KEPT: usize = 8;

/// A study without its instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyRecord {
    /// Study Instance UID.
    pub uid: Uid,
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// Where it stands.
    pub state: StudyState,
    /// Why, for failed, cancelled and skipped studies.
    pub state_reason: Option<String>,
    /// How soon it is wanted.
    pub priority: Priority,
    /// When its first instance was accepted, on the store's clock.
    pub received_at_ms: i64,
    /// When its last instance was accepted.
    pub last_instance_at_ms: i64,
    /// When the record last changed.
    pub updated_at_ms: i64,
    /// Patient and request.
    pub attributes: StudyAttributes,
    /// Instances held.
    pub instances: u32,
    /// Modalities of its series, each once, in order.
    pub modalities: Vec<String>,
    /// How often the study was opened: late instances and a second submission open it again.
    pub generation: u32,
    /// The number of the next job. Numbers are not used twice, also not by a later generation.
    pub next_job: u32,
    /// Read jobs of this generation.
    pub jobs_total: u32,
    /// Of them, done or dead.
    pub jobs_finished: u32,
    /// Place of its jobs in the queue; smaller is sooner.
    pub rank: i64,
    /// The merge job, once every read job is finished.
    pub merge: Option<JobId>,
    /// Version of the newest report, which may be a draft or reviewed; 0 where there is none.
    pub draft_version: u32,
    /// Version of the newest report that a radiologist signed; 0 where there is none.
    #[serde(default)]
    pub signed_version: u32,
    /// The DICOM objects that the newest report can be had as, by their words ([`crate::report::Format::as_str`]).
    #[serde(default)]
    pub draft_objects: Vec<String>,
    /// What lists tell of the newest report; none where there is none, or an older version made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// What will not be, or was not, read.
    pub unread: Vec<Unread>,
    /// How it was partitioned, in sentences.
    pub partition_notes: Vec<String>,
    /// What it cost so far.
    pub cost: StudyCost,
    /// What is known of how it arrives.
    #[serde(default)]
    pub arrival: Arrival,
    /// Why it was called complete; none while it is received.
    #[serde(default)]
    pub completion: Option<Completion>,
    /// What the site's rules made of it, once it is planned.
    #[serde(default)]
    pub route: Option<Route>,
}

impl StudyRecord {
    /// Version of the report that stands: what a radiologist signed, or else the newest.
    pub fn standing_version(&self) -> u32 {
        match self.state {
            StudyState::Signed | StudyState::Amended => self.signed_version,
            _ => self.draft_version,
        }
    }

    /// The version that later studies are compared with as they are signed: what is signed counts, also where a draft came after it.
    pub fn compared_version(&self) -> u32 {
        if self.signed_version > 0 { self.signed_version } else { self.standing_version() }
    }
}

/// What is known of how a study arrives, beside its instances: what it is called complete by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When the present generation of the study began to be received, on the store's clock.
    pub opened_at_ms: i64,
    /// How often anything changed by which the study is called complete: a decision holds while this is what it was.
    pub changes: u64,
    /// Who sent it: application entity titles, and names of callers. At most [`MAX_SENDERS`].
    pub senders: BTreeSet<String>,
    /// Associations and uploads that brought instances of it and have not ended. At most [`MAX_ASSOCIATIONS`]; those of a
    /// coordinator that died stay.
    pub open: BTreeSet<String>,
    /// When the last of them ended, on the store's clock; none where it broke off, for then more is to come.
    pub ended_at_ms: Option<i64>,
    /// Instances that it has in all, where its sender said so.
    pub expected_instances: Option<u32>,
}

/// Senders of one study that are kept; what more send it does not count.
pub const MAX_SENDERS: usize = 16;
/// Open associations of one study that are known; of more, it is not waited for the end.
pub const MAX_ASSOCIATIONS: usize = 256;

/// Something that is learnt of how a study arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arriving {
    /// An association or upload brings instances of it.
    Begun {
        /// A name for the association that no other has.
        association: String,
        /// Who sends.
        sender: String,
    },
    /// An association or upload ended.
    Ended {
        /// Its name.
        association: String,
        /// All that the sender meant to send in it has come.
        whole: bool,
    },
    /// The study has so many instances in all.
    Expected(u32),
}

/// When a study is complete, as things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its study.
    pub study: Uid,
    /// What [`Arrival::changes`] was when this was decided.
    pub changes: u64,
    /// When, on the store's clock.
    pub at_ms: i64,
    /// Why.
    pub completion: Completion,
}

impl StudyRecord {
    /// The study for people and programs, with the given series.
    pub fn into_study(self, series: Vec<Series>) -> Study {
        let intake = Intake {
            senders: self.arrival.senders.into_iter().collect(),
            expected_instances: self.arrival.expected_instances,
            completion: self.completion,
            route: self.route,
        };
        Study {
            intake,
            uid: self.uid,
            tenant: self.tenant,
            state: self.state,
            state_reason: self.state_reason,
            priority: self.priority,
            received_at_ms: self.received_at_ms,
            updated_at_ms: self.updated_at_ms,
            attributes: self.attributes,
            series,
            unread: self.unread,
            partition_notes: self.partition_notes,
            jobs_total: self.jobs_total,
            jobs_finished: self.jobs_finished,
            cost: self.cost,
        }
    }
}

/// One instance, with what it says of its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Series Instance UID.
    pub series: Uid,
    /// Modality.
    pub modality: String,
    /// Series Description.
    pub description: String,
    /// Series Number.
    pub number: Option<i32>,
    /// The requests that the series was made for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestIds>,
    /// The instance itself.
    pub instance: Instance,
}

/// Instances by series, series in order of UID and instances in order of UID. What a series says of itself is taken
/// from its first instance in that order, so that it does not depend on which arrived first.
pub fn by_series(mut records: Vec<InstanceRecord>) -> Vec<Series> {
    records.sort_by(|a, b| (&a.series, &a.instance.uid).cmp(&(&b.series, &b.instance.uid)));
    let mut series: Vec<Series> = Vec::new();
    for record in records {
        match series.last_mut() {
            Some(last) if last.uid == record.series => last.instances.push(record.instance),
            _ => series.push(Series {
                uid: record.series,
                modality: record.modality,
                description: record.description,
                number: record.number,
                instances: vec![record.instance],
            }),
        }
    }
    series
}

/// A job without its images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Which job.
    pub id: JobId,
    /// Whom its study belongs to.
    pub tenant: Tenant,
    /// What kind of work it is.
    pub kind: JobKind,
    /// What it demands of the worker that reads it.
    #[serde(default, skip_serializing_if = "Demand::is_any")]
    pub demand: Demand,
    /// Where it stands.
    pub state: JobState,
    /// Place in the queue; smaller is sooner.
    pub rank: i64,
    /// Not to be leased before then; 0 where it may be at once.
    pub not_before_ms: i64,
    /// How long it waited for a worker, in ms, up to its newest lease.
    pub waited_ms: i64,
    /// Attempts begun and not given back.
    pub attempts: u32,
    /// Token of the newest lease; 0 before the first.
    pub token: FencingToken,
    /// When the lease ends, while there is one.
    pub expires_at_ms: i64,
    /// Who holds, or last held, the lease.
    pub worker: String,
    /// What the holder called the request by which it got the lease.
    pub request: String,
    /// The newest lease that was ended by its holder, and how: a repeated commit is answered from this.
    pub settled: Option<(FencingToken, Settlement)>,
    /// What went wrong in the newest attempts, oldest first.
    pub failures: Vec<Failure>,
    /// When the record last changed.
    pub updated_at_ms: i64,
}

impl JobRecord {
    /// A job that nobody has leased yet.
    pub fn new(spec: &JobSpec, tenant: &Tenant, rank: i64, now_ms: i64) -> Self {
        Self {
            id: spec.id.clone(),
            tenant: tenant.clone(),
            kind: spec.kind,
            demand: spec.demand.clone(),
            state: JobState::Ready,
            rank,
            not_before_ms: 0,
            waited_ms: 0,
            attempts: 0,
            token: FencingToken(0),
            expires_at_ms: 0,
            worker: String::new(),
            request: String::new(),
            settled: None,
            failures: Vec::new(),
            updated_at_ms: now_ms,
        }
    }
}

/// How the holder of a lease ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// With an outcome.
    Completed,
    /// With a failure that leads to another attempt.
    Retried,
    /// With a failure that ends the job.
    Buried,
    /// By giving it back.
    Released,
}

/// One attempt that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Who tried.
    pub worker: String,
    /// What went wrong.
    pub reason: String,
    /// When, on the store's clock.
    pub at_ms: i64,
}

/// Instances of one study to be added.
#[derive(Debug, Clone, PartialEq)]
pub struct AddInstances {
    /// Study Instance UID.
    pub study: Uid,
    /// Whom the study belongs to.
    pub tenant: Tenant,
    /// Patient and request, for a study not seen before; fills empty fields of one that was.
    pub attributes: StudyAttributes,
    /// How soon the study is wanted; the highest asked for counts.
    pub priority: Priority,
    /// The instances. Their bytes are stored before they are added, and after a preview says that they may be.
    pub instances: Vec<InstanceRecord>,
    /// What may be held.
    pub limits: IntakeLimits,
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is part of the study now.
    Accepted,
    /// It was already.
    Duplicate,
    /// Another object with its UID is held. The first one is kept.
    Conflict {
        /// Digest of the one that is held.
        held: Digest,
    },
    /// The study is held for another patient. It is left as it was.
    OtherPatient,
    /// The study is held by another tenant. It is left as it was, and nothing is told of it.
    OtherTenant,
    /// The study is being removed. It may be sent again when it is gone.
    Removing,
}

/// Studies that a client says are whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteStudies {
    /// The client's name for the request; with none, nothing is remembered.
    pub request_id: Option<String>,
    /// The studies.
    pub studies: Vec<Uid>,
    /// Why they are called complete.
    pub completion: Completion,
}

/// What a request id stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The studies that it named.
    pub studies: Vec<Uid>,
    /// When, on the store's clock.
    pub at_ms: i64,
}

/// How a study is to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The generation of the study that was looked at.
    pub generation: u32,
    /// The read jobs, numbered from the study's `next_job`. All of them demand the same.
    pub jobs: Vec<JobSpec>,
    /// How soon the study is wanted, by its rule too; it is never put back.
    pub priority: Priority,
    /// What the site's rules made of it.
    pub route: Route,
    /// Head start of the study's priority, in ms ([`crate::queue::head_start_ms`]).
    pub head_start_ms: i64,
    /// What will not be read.
    pub unread: Vec<Unread>,
    /// How it was partitioned, in sentences.
    pub notes: Vec<String>,
    /// Why the study fails or is skipped, where there are no jobs.
    pub failure: String,
    /// It has no jobs because a rule says so: it is skipped, and has not failed.
    pub skipped: bool,
}

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Who asks.
    pub worker: String,
    /// The worker's name for this request, never used twice; empty where it has none.
    pub request: String,
    /// Whether the request was made before, and its answer may have been lost.
    pub repeats: bool,
    /// The kinds of job wanted.
    pub kinds: Vec<JobKind>,
    /// What the worker offers: it gets no job that demands more.
    pub offer: Offer,
    /// The tenants whose jobs it may have; none is all.
    pub tenants: Option<Vec<Tenant>>,
    /// Studies whose images it has at hand, at most [`MAX_HELD`].
    pub held: Vec<Uid>,
    /// How long the lease lasts, in ms.
    pub ttl_ms: u64,
    /// Who gets how much.
    pub shares: Arc<Shares>,
}

/// Studies that a worker may say it has at hand; the rest is not looked at.
pub const MAX_HELD: usize = 16;

/// What a worker says of itself now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its name.
    pub worker: String,
    /// The kinds of job that it does.
    pub kinds: Vec<JobKind>,
    /// Jobs that it does at once.
    pub slots: u32,
    /// Jobs that it does now.
    pub running: u32,
    /// The model that it reads with.
    pub model: String,
    /// Prompts, besides the model's own, that it can be asked.
    #[serde(default)]
    pub prompts: Vec<String>,
    /// Adapters of the model that it can read with.
    #[serde(default)]
    pub adapters: Vec<String>,
    /// prelim's version.
    pub software_version: String,
    /// Drawn anew by each process; empty where it says none.
    #[serde(default)]
    pub process: String,
    /// What its model can be asked by people; empty where it says nothing of that.
    #[serde(default)]
    pub questions: Vec<QuestionKind>,
}

/// What a worker is told when it says what it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orders {
    /// Take no more jobs, finish those at hand, and stop.
    pub drain: bool,
    /// Another process runs under the same name.
    pub shares_name: bool,
}

/// Processes of one name that are remembered.
pub const PROCESSES_KEPT: usize = 16;

/// How long a name counts as shared after it was seen to be, in ms: three heartbeats.
const SHARED_FOR_MS: i64 = 30_000;

/// A worker as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    /// What it said last.
    pub heartbeat: Heartbeat,
    /// When it was first heard of, on the store's clock.
    pub since_ms: i64,
    /// When it was last heard of.
    pub seen_at_ms: i64,
    /// It was told to take no more jobs.
    pub draining: bool,
    /// The processes that were heard of under this name, the newest last, at most [`PROCESSES_KEPT`].
    #[serde(default)]
    pub processes: Vec<String>,
    /// When one of them was heard of again after another; 0 where none was. A process that is started in the place of one
    /// that ended never is.
    #[serde(default)]
    pub shared_at_ms: i64,
}

impl WorkerRecord {
    /// Whether two processes run under its name, as far as is known at `now_ms`.
    pub fn shares_name(&self, now_ms: i64) -> bool {
        is_shared(self.shared_at_ms, now_ms)
    }
}

/// Whether a name that was seen to be shared at `shared_at_ms`, or never at 0, counts as shared.
pub(crate) fn is_shared(shared_at_ms: i64, now_ms: i64) -> bool {
    shared_at_ms != 0 && now_ms.saturating_sub(shared_at_ms) <= SHARED_FOR_MS
}

/// A lease that has run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredLease {
    /// The job.
    pub job: JobId,
    /// Its token.
    pub token: FencingToken,
    /// The attempt that was made under it.
    pub attempt: u32,
}

/// Whether an operation changed something, or had been done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is done now.
    Now,
    /// It was done before; nothing changed.
    Before,
}

/// Which studies to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StudyQuery {
    /// Only studies of these tenants; none is all.
    pub tenants: Option<Vec<Tenant>>,
    /// Only these states; all where empty.
    pub states: Vec<StudyState>,
    /// Only this Patient ID.
    pub patient_id: Option<String>,
    /// Only this Accession Number.
    pub accession_number: Option<String>,
    /// Only this Study Date, YYYYMMDD.
    pub study_date: Option<String>,
    /// Studies older than this one, newest first.
    pub after: Option<StudyCursor>,
    /// At most so many.
    pub limit: usize,
}

impl StudyQuery {
    /// Whether a study is one of those asked for, wherever it stands in the list.
    pub fn wants(&self, study: &StudyRecord) -> bool {
        let is = |wanted: &Option<String>, held: &str| wanted.as_deref().is_none_or(|wanted| wanted == held);
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(&study.tenant))
            && (self.states.is_empty() || self.states.contains(&study.state))
            && is(&self.patient_id, &study.attributes.patient_id)
            && is(&self.accession_number, &study.attributes.accession_number)
            && is(&self.study_date, &study.attributes.study_date)
    }
}

/// A place in the list of studies: newest first, then by UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyCursor {
    /// `received_at_ms` of the study before.
    pub received_at_ms: i64,
    /// Its UID.
    pub uid: Uid,
}

impl From<&StudyRecord> for StudyCursor {
    fn from(study: &StudyRecord) -> Self {
        Self { received_at_ms: study.received_at_ms, uid: study.uid.clone() }
    }
}

/// How much waits, runs and was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Jobs that may be leased now or later.
    pub ready: ByKind,
    /// Of them, those that wait for their time.
    pub delayed: u64,
    /// Jobs under a lease.
    pub leased: ByKind,
    /// Dead letters.
    pub dead: u64,
    /// Studies not settled.
    pub open_studies: u64,
    /// How long the next job has waited, in ms, where the wait is longest over tenants and kinds.
    pub longest_wait_ms: i64,
    /// What waits for a certain model or prompt, in order of demand; it is in the numbers above, too.
    pub demanded: Vec<Demanded>,
}

/// Jobs that wait for a certain model or prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demanded {
    /// Which.
    pub demand: Demand,
    /// Jobs that may be leased now.
    pub ready: ByKind,
    /// How long the first of them has waited, in ms, where the wait is longest over tenants and kinds.
    pub longest_wait_ms: i64,
}

/// A number for each kind of job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByKind {
    /// X-ray jobs.
    pub xray: u64,
    /// CT jobs.
    pub ct: u64,
    /// Merges.
    pub merge: u64,
    /// Questions.
    pub answer: u64,
}

impl QueueDepth {
    /// Notes so many waiting jobs with a demand, the first of which has waited so long. They are in `ready` already.
    pub(crate) fn note_waiting(&mut self, kind: JobKind, demand: &Demand, jobs: u64, wait_ms: i64) {
        self.longest_wait_ms = self.longest_wait_ms.max(wait_ms);
        if demand.is_any() || jobs == 0 {
            return;
        }
        let place = self.demanded.binary_search_by(|known| known.demand.cmp(demand)).unwrap_or_else(|place| {
            let new = Demanded { demand: demand.clone(), ready: ByKind::default(), longest_wait_ms: 0 };
            self.demanded.insert(place, new);
            place
        });
        let known = &mut self.demanded[place];
        *known.ready.of(kind) += jobs;
        known.longest_wait_ms = known.longest_wait_ms.max(wait_ms);
    }
}

impl Heartbeat {
    /// What the worker offers to jobs. What is no name was written by an older version, and offers nothing.
    pub fn offer(&self) -> Offer {
        let prompts = self.prompts.iter().filter_map(|name| PromptName::parse(name).ok()).collect();
        let adapters = self.adapters.iter().filter_map(|name| ModelName::parse(name).ok()).collect();
        let answers = QuestionKind::ALL.into_iter().filter(|kind| self.answers(*kind));
        Offer { model: ModelName::parse(&self.model).ok(), adapters, prompts }.with_questions(answers)
    }

    /// Whether the worker answers questions of a kind. One that says nothing of kinds is given all of them.
    pub fn answers(&self, kind: QuestionKind) -> bool {
        let is_asked = self.kinds.contains(&JobKind::Answer);
        is_asked && (self.questions.is_empty() || self.questions.contains(&kind))
    }
}

impl ByKind {
    /// The number for a kind.
    pub fn of(&mut self, kind: JobKind) -> &mut u64 {
        match kind {
            JobKind::Read(ImageKind::Xray) => &mut self.xray,
            JobKind::Read(ImageKind::Ct) => &mut self.ct,
            JobKind::Merge => &mut self.merge,
            JobKind::Answer => &mut self.answer,
        }
    }

    /// Jobs that read images, of both kinds.
    pub fn reads(&self) -> u64 {
        self.xray + self.ct
    }
}

/// What recovery mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Leases without a leased job, removed.
    pub stray_leases: u64,
    /// Leased jobs without a lease, given one that has run out.
    pub lost_leases: u64,
    /// Waiting jobs that were in no queue, put back.
    pub lost_jobs: u64,
    /// Queue entries without a waiting job, removed.
    pub stray_entries: u64,
    /// Studies whose last job was finished and whose merge was not enqueued.
    pub missing_merges: u64,
    /// Counters that did not agree with what they count, set right.
    pub wrong_counts: u64,
    /// Leases and delays that end later than any may, because a clock was set back: they end now.
    pub far_times: u64,
}
