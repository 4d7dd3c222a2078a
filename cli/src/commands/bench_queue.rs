//! `prelim bench queue`: what the queue costs, and how soon work reaches a worker that waits.
//!
//! Coordinators are processes of their own; workers are simulated in this one, each with a connection of its own; studies
//! are queued by this process with the coordinator's own store, so that no DICOM is read. Everything else is real: leases
//! with fencing tokens, the fan-in to one merge a study, the draft written and stored, every call over gRPC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use prelim_coordinator::queue::IntakeLimits;
use prelim_coordinator::store::JobStore as _;
use prelim_coordinator::store::record::{AddInstances, CompleteStudies, InstanceRecord, Plan};
use prelim_coordinator::store::redis::RedisStore;
use prelim_coordinator::store::redis::config::RedisConfig;
use prelim_proto::demand::{Demand, ModelName};
use prelim_proto::ids::{Digest, JobId, Tenant, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind, JobSpec};
use prelim_proto::study::{Completion, CompletionReason, Instance, Priority, Route, StudyAttributes};
use prelim_worker::connection::ConnectionArgs;
use prelim_worker::simulate::{Done, Simulated, Times};
use serde::Serialize;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Coordinators, CpuTimes};
use crate::{machine, table};

/// Studies queued at a time.
const ENQUEUE_AT_ONCE: usize = 32;
/// Service times where no file is given, in ms: about half a second, so that a thousand workers keep two cores busy.
const TIMES: &str = "xray,200\nxray,300\nxray,400\nxray,500\nxray,700\nxray,900";
/// How much of the work is queued at once; the rest comes bit by bit, to workers of whom half are idle.
const AT_ONCE: f64 = 0.6;
/// How long all work may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Measure the queue: coordinators on a Redis, simulated workers, no images.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim bench queue --redis redis://127.0.0.1:6379\n  prelim bench queue --redis redis://127.0.0.1:6379 --studies 100000 --workers 1,10,100,1000 --json"
)]
pub(crate) struct QueueBench {
    #[command(flatten)]
    redis: RedisConfig,
    /// Studies for the first measurement, whose jobs take no time.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    studies: u32,
    /// Read jobs of a study; its merge comes on top.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    jobs: u32,
    /// Workers of the first measurement.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    busy_workers: u32,
    /// Numbers of workers for the second measurement, whose jobs take their time; 0 leaves it out.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,10,100,1000")]
    workers: Vec<u32>,
    /// How long the second measurement takes for each number of workers, about, in s.
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// Service times, in lines of xray,MS.
    #[arg(long, value_name = "FILE")]
    times: Option<std::path::PathBuf>,
    /// Folder for the drafts. Without it they lie in memory where the system has /dev/shm: measured is the queue, not a
    /// disk.
    #[arg(long, value_name = "DIR")]
    drafts: Option<std::path::PathBuf>,
    /// Coordinators.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    coordinators: u32,
    /// For programs: one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Results {
    machine: String,
    server: String,
    durability: &'static str,
    coordinators: u32,
    jobs_per_study: u32,
    throughput: Throughput,
    fleets: Vec<Fleet>,
}

/// Jobs that take no time: what the queue itself costs. A cycle is a read job queued, leased, committed, and its part of
/// the merge.
#[derive(Debug, Serialize)]
struct Throughput {
    workers: u32,
    studies: u64,
    read_jobs: u64,
    /// Read jobs and merges.
    jobs: u64,
    seconds: f64,
    cycles_per_second: f64,
    /// Processor time a job, reads and merges counted alike, in µs.
    cpu_us_per_job: Split,
    /// The same a read job, its part of the merge included.
    cpu_us_per_cycle: Split,
}

#[derive(Debug, Serialize)]
struct Split {
    redis: f64,
    coordinators: f64,
    workers_and_enqueuer: f64,
    all: f64,
}

/// Workers whose jobs take their time.
#[derive(Debug, Serialize)]
struct Fleet {
    workers: u32,
    read_jobs: u64,
    mean_service_ms: f64,
    seconds: f64,
    /// From a job's arrival to its start on a worker that waits, in ms.
    dispatch_ms: Percentiles,
    /// From one job's end to the next one's start while jobs wait, in ms.
    handover_ms: Percentiles,
    /// Share of the workers' time in which they were idle while work waited.
    idle_while_work_waits: f64,
    cpu_us_per_job: Split,
}

#[derive(Debug, Default, Serialize)]
struct Percentiles {
    samples: usize,
    p50: f64,
    p99: f64,
    most: f64,
}

impl QueueBench {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let times = match &self.times {
            Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
            None => TIMES.to_owned(),
        };
        let times = Arc::new(Times::parse(&times).map_err(anyhow::Error::msg)?);
        let problems = self.redis.validate();
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
        let redis = RedisConfig { prefix: format!("bench-{:08x}", rand::random::<u32>()), ..self.redis.clone() };
        let options = redis.options().map_err(anyhow::Error::msg)?;
        let options =
            options.context("name a Redis for the measurement with --redis; its other keys are left alone")?;
        let store = Arc::new(RedisStore::open(&options).await?);
        let measured = self.measure(&store, &redis, times).await;
        store.erase().await?;
        let results = measured?;
        if self.json { table::say(serde_json::to_string_pretty(&results)?) } else { show(&results) }
    }

    async fn measure(
        &self,
        store: &Arc<RedisStore>,
        redis: &RedisConfig,
        times: Arc<Times>,
    ) -> anyhow::Result<Results> {
        let cluster = Coordinators::start(self.coordinators, redis, self.drafts.as_deref()).await?;
        let rig = Rig { store: store.clone(), cluster, jobs: self.jobs, next: Mutex::new(0) };
        self.tell("jobs that take no time …");
        let throughput = rig.throughput(self.busy_workers, self.studies.into()).await?;
        let mut fleets = Vec::new();
        for workers in self.workers.iter().filter(|workers| **workers > 0) {
            self.tell(&format!("{} …", table::count(*workers as usize, "worker")));
            fleets.push(rig.fleet(*workers, times.clone(), self.seconds).await?);
        }
        let report = store.report();
        Ok(Results {
            machine: machine::processor(),
            server: format!("{} {}", report.product, report.version_text),
            durability: report.durability(),
            coordinators: self.coordinators,
            jobs_per_study: self.jobs,
            throughput,
            fleets,
        })
    }

    /// A line for people on what is going on.
    fn tell(&self, text: &str) {
        if !self.json {
            crate::progress::note(text);
        }
    }
}

/// What the measurements share.
struct Rig {
    store: Arc<RedisStore>,
    cluster: Coordinators,
    jobs: u32,
    /// Number of the next study.
    next: Mutex<u64>,
}

/// When each study's jobs were there to be taken.
type ReadyAt = Arc<Mutex<HashMap<Uid, Instant>>>;

impl Rig {
    async fn throughput(&self, workers: u32, studies: u64) -> anyhow::Result<Throughput> {
        let crew = self.hire(workers, Arc::new(Times::constant(0.0)));
        let before = self.cpu().await?;
        let began = Instant::now();
        self.enqueue(studies, &ReadyAt::default()).await?;
        self.all_settled().await?;
        let seconds = began.elapsed().as_secs_f64();
        let spent = self.cpu().await?.since(&before);
        crew.dismiss().await;
        let read_jobs = studies * u64::from(self.jobs);
        let jobs = read_jobs + studies;
        Ok(Throughput {
            workers,
            studies,
            read_jobs,
            jobs,
            seconds,
            cycles_per_second: read_jobs as f64 / seconds,
            cpu_us_per_job: spent.split(jobs),
            cpu_us_per_cycle: spent.split(read_jobs),
        })
    }

    async fn fleet(&self, workers: u32, times: Arc<Times>, seconds: u64) -> anyhow::Result<Fleet> {
        let mean_s = times.mean_ms() / 1_000.0;
        let studies = (f64::from(workers) * seconds as f64 / mean_s / f64::from(self.jobs)).ceil().max(2.0);
        let at_once = (studies * AT_ONCE).ceil() as u64;
        let one_by_one = (studies as u64).saturating_sub(at_once).max(1);
        let mean_service_ms = times.mean_ms();
        let mut crew = self.hire(workers, times);
        // Workers connect before there is work.
        tokio::time::sleep(Duration::from_millis(500 + u64::from(workers) * 2)).await;
        let ready_at = ReadyAt::default();
        let before = self.cpu().await?;
        let began = Instant::now();
        self.enqueue(at_once, &ready_at).await?;
        self.all_settled().await?;
        let pause = Duration::from_secs_f64(mean_s * f64::from(self.jobs) / f64::from(workers) / 0.5);
        let mut clock = tokio::time::interval(pause);
        for _ in 0..one_by_one {
            clock.tick().await;
            self.enqueue_one(&ready_at).await?;
        }
        self.all_settled().await?;
        let seconds = began.elapsed().as_secs_f64();
        let spent = self.cpu().await?.since(&before);
        let done = crew.take();
        crew.dismiss().await;
        let ready_at = ready_at.lock().map_err(|_| anyhow::anyhow!("an enqueuer panicked"))?;
        let (mut dispatch, mut handover, mut idle_s, mut busy_s) = (Vec::new(), Vec::new(), 0.0, 0.0);
        for job in &done {
            let Some(ready) = ready_at.get(job.job.study()) else { continue };
            let wait = job.began.saturating_duration_since(job.idle_since.max(*ready)).as_secs_f64();
            if job.idle_since <= *ready {
                dispatch.push(wait * 1e3)
            } else {
                handover.push(wait * 1e3)
            }
            idle_s += wait;
            busy_s += (job.ended - job.began).as_secs_f64();
        }
        Ok(Fleet {
            workers,
            read_jobs: done.len() as u64,
            mean_service_ms,
            seconds,
            dispatch_ms: percentiles(dispatch),
            handover_ms: percentiles(handover),
            idle_while_work_waits: idle_s / (idle_s + busy_s),
            cpu_us_per_job: spent.split(done.len() as u64),
        })
    }

    /// Starts workers, spread over the coordinators.
    fn hire(&self, workers: u32, times: Arc<Times>) -> Crew {
        let stop = CancellationToken::new();
        let (tell, told) = unbounded_channel();
        let mut working = JoinSet::new();
        for number in 0..workers {
            let worker = Simulated {
                connection: ConnectionArgs::to(&self.cluster.address(number)),
                name: format!("bench-{workers}-{number}"),
                // Like any worker, it offers a model; its jobs demand none.
                model: ModelName::parse("bench").ok(),
                slots: 1,
                times: times.clone(),
                drain: Duration::ZERO,
                metrics: Arc::default(),
            };
            working.spawn(worker.work(stop.clone(), Some(tell.clone())));
        }
        Crew { stop, working, told }
    }

    async fn enqueue(&self, studies: u64, ready_at: &ReadyAt) -> anyhow::Result<()> {
        let each = futures::stream::iter((0..studies).map(|_| Ok::<_, anyhow::Error>(())));
        futures::TryStreamExt::try_for_each_concurrent(each, ENQUEUE_AT_ONCE, |()| self.enqueue_one(ready_at)).await
    }

    /// Queues one study as a coordinator would after an upload.
    async fn enqueue_one(&self, ready_at: &ReadyAt) -> anyhow::Result<()> {
        let number = {
            let mut next = self.next.lock().map_err(|_| anyhow::anyhow!("an enqueuer panicked"))?;
            *next += 1;
            *next
        };
        let study = Uid::parse(&format!("2.25.9{number}"))?;
        self.store.add_instances(instances(&study, self.jobs)?).await?;
        let completion = Completion { reason: CompletionReason::Told, detail: "benchmark".to_owned() };
        self.store
            .complete_studies(CompleteStudies { request_id: None, studies: vec![study.clone()], completion })
            .await?;
        let jobs = (0..self.jobs).map(|job| spec(&study, job)).collect::<anyhow::Result<_>>()?;
        let plan = Plan {
            generation: 1,
            jobs,
            priority: Priority::Routine,
            route: Route { rule: "default".to_owned(), destinations: Vec::new(), demand: Demand::default() },
            head_start_ms: 0,
            unread: Vec::new(),
            notes: vec!["benchmark: one job a view".to_owned()],
            failure: String::new(),
            skipped: false,
        };
        self.store.plan_study(&study, plan).await?;
        ready_at.lock().map_err(|_| anyhow::anyhow!("an enqueuer panicked"))?.insert(study, Instant::now());
        Ok(())
    }

    /// Waits until every study has its draft.
    async fn all_settled(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let depth = self.store.depth().await?;
            anyhow::ensure!(depth.dead == 0, "{} jobs were given up", depth.dead);
            if depth.open_studies == 0 {
                return Ok(());
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "{} studies are still open", depth.open_studies);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn cpu(&self) -> anyhow::Result<CpuTimes> {
        let redis_s = self.store.server_cpu_s().await?;
        let own_s = machine::cpu_s(std::process::id()).context("this system does not tell the time of processes")?;
        Ok(CpuTimes { redis_s, coordinators_s: self.cluster.cpu_s(), own_s })
    }
}

/// Workers at work.
struct Crew {
    stop: CancellationToken,
    working: JoinSet<Result<(), prelim_worker::WorkerError>>,
    told: UnboundedReceiver<Done>,
}

impl Crew {
    /// The jobs done so far.
    fn take(&mut self) -> Vec<Done> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }

    async fn dismiss(mut self) {
        self.stop.cancel();
        while self.working.join_next().await.is_some() {}
    }
}

impl CpuTimes {
    fn split(&self, jobs: u64) -> Split {
        let per_job = |s: f64| s * 1e6 / jobs.max(1) as f64;
        Split {
            redis: per_job(self.redis_s),
            coordinators: per_job(self.coordinators_s),
            workers_and_enqueuer: per_job(self.own_s),
            all: per_job(self.redis_s + self.coordinators_s + self.own_s),
        }
    }
}

fn percentiles(mut samples: Vec<f64>) -> Percentiles {
    samples.sort_by(f64::total_cmp);
    let at = |part: f64| samples.get(((samples.len() as f64 * part) as usize).min(samples.len().saturating_sub(1)));
    let value = |part| at(part).copied().unwrap_or(0.0);
    Percentiles { samples: samples.len(), p50: value(0.5), p99: value(0.99), most: value(1.0) }
}

fn digest(number: u32) -> Digest {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Digest::from_bytes(&bytes)
}

fn instances(study: &Uid, views: u32) -> anyhow::Result<AddInstances> {
    let view = |number: u32| -> anyhow::Result<InstanceRecord> {
        Ok(InstanceRecord {
            series: Uid::parse(&format!("{study}.1"))?,
            modality: "DX".to_owned(),
            description: "Chest".to_owned(),
            number: Some(1),
            requests: Vec::new(),
            instance: Instance {
                uid: Uid::parse(&format!("{study}.1.{number}"))?,
                sop_class: Uid::parse("1.2.840.10008.5.1.4.1.1.1.1")?,
                transfer_syntax: Uid::parse("1.2.840.10008.1.2.1")?,
                digest: digest(number),
                size_bytes: 8_000_000,
                number: Some(number as i32),
                source_name: None,
                image: None,
            },
        })
    };
    Ok(AddInstances {
        study: study.clone(),
        tenant: Tenant::default(),
        attributes: StudyAttributes { patient_id: "BENCH".to_owned(), ..StudyAttributes::default() },
        priority: Priority::Routine,
        instances: (0..views).map(view).collect::<anyhow::Result<_>>()?,
        limits: IntakeLimits { max_open_studies: u64::MAX, ..IntakeLimits::default() },
    })
}

fn spec(study: &Uid, number: u32) -> anyhow::Result<JobSpec> {
    let image = ImageRef {
        instance: Uid::parse(&format!("{study}.1.{number}"))?,
        series: Uid::parse(&format!("{study}.1"))?,
        frame: 1,
        digest: digest(number),
        size_bytes: 8_000_000,
        role: ImageRole::Read,
        plane: None,
        pixel_spacing_mm: Some((0.14, 0.14)),
        label: "PA".to_owned(),
    };
    Ok(JobSpec {
        id: JobId::new(study.clone(), number),
        kind: JobKind::Read(ImageKind::Xray),
        images: vec![image],
        body_part: Some("CHEST".to_owned()),
        priority: Priority::Routine,
        demand: Demand::default(),
        told: None,
        compared: None,
    })
}

fn show(results: &Results) -> anyhow::Result<()> {
    table::say(&results.machine)?;
    let coordinators = table::count(results.coordinators as usize, "coordinator");
    table::say(format!("{}: {}; {coordinators}", results.server, results.durability))?;
    let t = &results.throughput;
    table::say(format!(
        "jobs that take no time: {} studies of {} read jobs and a merge, {} workers, {:.1} s: {:.0} full cycles/s",
        t.studies, results.jobs_per_study, t.workers, t.seconds, t.cycles_per_second,
    ))?;
    let mut rows = table::new(&["µs of processor time", "Redis", "coordinators", "workers, enqueuer", "all"]);
    for (what, split) in [("a job", &t.cpu_us_per_job), ("a read job with its part of the merge", &t.cpu_us_per_cycle)]
    {
        let cells =
            [split.redis, split.coordinators, split.workers_and_enqueuer, split.all].map(|us| format!("{us:.0}"));
        rows.add_row([what.to_owned()].into_iter().chain(cells));
    }
    table::align_right(&mut rows, &[1, 2, 3, 4]);
    table::say(rows)?;
    if results.fleets.is_empty() {
        return Ok(());
    }
    let header =
        ["Workers", "Jobs", "Service ms", "Dispatch p50", "p99 ms", "Handover p50", "p99 ms", "Idle while work waits"];
    let mut rows = table::new(&header);
    for fleet in &results.fleets {
        rows.add_row([
            fleet.workers.to_string(),
            fleet.read_jobs.to_string(),
            format!("{:.0}", fleet.mean_service_ms),
            format!("{:.2}", fleet.dispatch_ms.p50),
            format!("{:.2}", fleet.dispatch_ms.p99),
            format!("{:.2}", fleet.handover_ms.p50),
            format!("{:.2}", fleet.handover_ms.p99),
            format!("{:.2} %", fleet.idle_while_work_waits * 100.0),
        ]);
    }
    table::align_right(&mut rows, &[0, 1, 2, 3, 4, 5, 6, 7]);
    table::say(rows)
}
