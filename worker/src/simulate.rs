//! A worker that only takes its time: it leases, waits as long as a reading would take, and hands in an outcome that says
//! that nothing was looked at. For measuring a cluster, and for trying one without a GPU.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prelim_proto::cost::JobCost;
use prelim_proto::demand::{ModelName, Offer};
use prelim_proto::ids::{Digest, JobId};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobOutcome, JobSpec, Lease};
use prelim_proto::report::ModelProvenance;
use prelim_proto::v1::{self, WorkerStatus};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::connection::ConnectionArgs;
use crate::coordinator::Coordinator;
use crate::job::JobError;
use crate::lease::{self, Work};
use crate::metrics::WorkerMetrics;
use crate::renew::{Renewer, process_name};
use crate::run::WorkerError;

/// What the name of the model in every outcome ends with.
const MODEL: &str = "simulation, no model";
/// What every outcome says.
const LIMITATION: &str = "Simulated: no image was looked at.";
/// Longest service time, in ms.
const LONGEST_MS: f64 = 3_600_000.0;

/// How long jobs take: each takes one of the times of its kind, always the same one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    xray_ms: Vec<f64>,
    ct_ms: Vec<f64>,
    /// Ends of the UIDs of studies that kill the process.
    poison: Vec<String>,
}

impl Times {
    /// Reads lines of `xray,MS` or `ct,MS`, or `poison,END` for studies whose UID ends so, which abort the process that
    /// gets one of their jobs; lines that begin with `#` are comments.
    ///
    /// # Errors
    /// A sentence that names the first line that is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut times = Self::default();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {number}, {line:?}, is neither xray,MS nor ct,MS nor poison,END");
            let (kind, ms) = line.split_once(',').ok_or_else(wrong)?;
            if kind.trim() == "poison" && !ms.trim().is_empty() {
                times.poison.push(ms.trim().to_owned());
                continue;
            }
            let ms: f64 = ms.trim().parse().map_err(|_| wrong())?;
            if !(0.0..=LONGEST_MS).contains(&ms) {
                return Err(format!("line {number}: {ms} ms is not between 0 and {LONGEST_MS}"));
            }
            match kind.trim() {
                "xray" => times.xray_ms.push(ms),
                "ct" => times.ct_ms.push(ms),
                _ => return Err(wrong()),
            }
        }
        if times.xray_ms.is_empty() && times.ct_ms.is_empty() {
            return Err("there is no time in it: write lines such as xray,1200 or ct,9000".to_owned());
        }
        Ok(times)
    }

    /// The same time for every job of every kind.
    pub fn constant(ms: f64) -> Self {
        Self { xray_ms: vec![ms], ct_ms: vec![ms], poison: Vec::new() }
    }

    /// The mean of all times, in ms.
    pub fn mean_ms(&self) -> f64 {
        let all = self.xray_ms.iter().chain(&self.ct_ms);
        all.sum::<f64>() / (self.xray_ms.len() + self.ct_ms.len()).max(1) as f64
    }

    /// The kinds that there are times for.
    fn kinds(&self) -> Vec<JobKind> {
        let has = [(ImageKind::Xray, &self.xray_ms), (ImageKind::Ct, &self.ct_ms)];
        has.into_iter().filter(|(_, times)| !times.is_empty()).map(|(kind, _)| JobKind::Read(kind)).collect()
    }

    /// Whether a job kills the process.
    fn is_poison(&self, job: &JobSpec) -> bool {
        self.poison.iter().any(|end| job.id.study().as_str().ends_with(end))
    }

    fn of(&self, job: &JobSpec) -> Duration {
        let times = if job.kind == JobKind::Read(ImageKind::Xray) { &self.xray_ms } else { &self.ct_ms };
        let mut hasher = DefaultHasher::new();
        job.id.hash(&mut hasher);
        let chosen = times.get(hasher.finish() as usize % times.len().max(1));
        Duration::from_secs_f64(chosen.copied().unwrap_or(0.0) / 1_000.0)
    }
}

/// What happened to a job, for those who measure.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which job.
    pub job: JobId,
    /// When its worker began to ask for it, or ended the job before it.
    pub idle_since: Instant,
    /// When it had it.
    pub began: Instant,
    /// When it ended it.
    pub ended: Instant,
}

/// The work of a simulated worker.
pub(crate) struct Simulation {
    times: Arc<Times>,
    /// The model that it stands for.
    model: Option<ModelName>,
    tell: Option<UnboundedSender<Done>>,
    /// When the worker had nothing to do last. It does one job at a time where this is looked at.
    idle_since: std::sync::Mutex<Instant>,
    metrics: Arc<WorkerMetrics>,
}

impl Work for Simulation {
    fn kinds(&self) -> Vec<JobKind> {
        self.times.kinds()
    }

    fn offer(&self) -> Offer {
        Offer { model: self.model.clone(), ..Offer::default() }
    }

    async fn run(&self, lease: &Lease) -> Result<JobOutcome, JobError> {
        let job = &lease.job;
        if self.times.is_poison(job) {
            tracing::warn!("aborted: the job is poison");
            std::process::abort();
        }
        let _running = self.metrics.begin();
        let began = Instant::now();
        let needs = self.times.of(job);
        if !needs.is_zero() {
            tokio::time::sleep(needs).await;
        }
        let ended = Instant::now();
        if let Some(tell) = &self.tell {
            let mut idle_since = self.idle_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Whoever measured may have gone.
            let _ = tell.send(Done { job: job.id.clone(), idle_since: *idle_since, began, ended });
            *idle_since = ended;
        }
        let cost = JobCost { generate_ms: (ended - began).as_secs_f64() * 1_000.0, ..JobCost::default() };
        self.metrics.done(&cost);
        Ok(JobOutcome {
            findings: Vec::new(),
            frames_read: job.images.len() as u32,
            unread: Vec::new(),
            truncated: false,
            limitations: vec![LIMITATION.to_owned()],
            model: ModelProvenance {
                name: self.model.as_ref().map_or_else(|| MODEL.to_owned(), |name| format!("{name} ({MODEL})")),
                digest: Digest::from_bytes(&[0; 32]),
                prompt_version: "none".to_owned(),
                preprocess_version: "none".to_owned(),
                arithmetic: "none".to_owned(),
                software_version: env!("CARGO_PKG_VERSION").to_owned(),
                demonstration: true,
                base: None,
            },
            cost,
            answer: None,
        })
    }
}

/// A simulated worker.
#[derive(Clone)]
pub struct Simulated {
    /// The way to the coordinator.
    pub connection: ConnectionArgs,
    /// The worker's name.
    pub name: String,
    /// The model that it stands for: it gets the jobs that demand it, too.
    pub model: Option<ModelName>,
    /// Jobs at once.
    pub slots: usize,
    /// How long jobs take.
    pub times: Arc<Times>,
    /// Time to finish jobs after the signal to stop.
    pub drain: Duration,
    /// What it tells of itself, as a worker that reads does.
    pub metrics: Arc<WorkerMetrics>,
}

impl Simulated {
    /// Works until `stop`. Each job done is told to `tell`.
    pub async fn work(self, stop: CancellationToken, tell: Option<UnboundedSender<Done>>) -> Result<(), WorkerError> {
        self.metrics.ready(self.slots);
        let coordinator = Coordinator::new(&self.connection, &self.name)?;
        let status = WorkerStatus {
            kinds: self.times.kinds().into_iter().map(|kind| v1::JobKind::from(kind) as i32).collect(),
            slots: self.slots as u32,
            running: 0,
            model: self.model.as_ref().map_or_else(|| MODEL.to_owned(), ToString::to_string),
            prompts: Vec::new(),
            adapters: Vec::new(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            process: process_name(),
            questions: Vec::new(),
        };
        // Nothing here computes, so that renewals need no thread of their own.
        let renewer = Renewer::on_this_runtime(coordinator.clone(), status);
        let idle_since = std::sync::Mutex::new(Instant::now());
        let work =
            Arc::new(Simulation { times: self.times, model: self.model, tell, idle_since, metrics: self.metrics });
        lease::serve(work, coordinator.clone(), renewer, self.slots, self.drain, stop).await;
        // Without this the coordinator forgets the worker by itself, some minutes later.
        let _ = coordinator.leave().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_each_job_keeps_its_own() {
        let times = Times::parse("# ms\nxray, 10\n\nxray,30.5\nct,200").unwrap();
        assert_eq!((times.xray_ms.len(), times.ct_ms.len()), (2, 1));
        assert_eq!(times.kinds().len(), 2);
        assert!((times.mean_ms() - 240.5 / 3.0).abs() < 1e-9);
        let job = |number| JobSpec {
            id: JobId::new(prelim_proto::ids::Uid::parse("1.2").unwrap(), number),
            kind: JobKind::Read(ImageKind::Xray),
            images: Vec::new(),
            body_part: None,
            priority: Default::default(),
            demand: Default::default(),
            told: None,
            compared: None,
        };
        let chosen: Vec<_> = (0..20).map(|number| times.of(&job(number))).collect();
        assert_eq!(chosen, (0..20).map(|number| times.of(&job(number))).collect::<Vec<_>>());
        assert!(chosen.iter().any(|time| *time != chosen[0]));
        assert!(!times.is_poison(&job(1)));
        assert!(Times::parse("xray,1\npoison, .2").unwrap().is_poison(&job(1)));
        for (text, says) in [
            ("mr,1", "line 1"),
            ("xray", "line 1"),
            ("ct,x", "line 1"),
            ("ct,-1", "between"),
            ("poison,", "line 1"),
            ("", "no time"),
        ] {
            assert!(Times::parse(text).unwrap_err().contains(says), "{text:?}");
        }
    }
}
