//! `prelim workers`, `drain`, `dead` and `requeue`: the queue, for operators.

use clap::Args;
use prelim_proto::v1::{
    DeadJob, DemandedJobs, DrainWorkerRequest, GetQueueRequest, JobCounts, ListDeadJobsRequest, ListWorkersRequest,
    Queue, RequeueJobRequest, Worker, WorkerStatus,
};
use serde_json::{Value, json};

use crate::client::{Connection, plain};
use crate::each::Each;
use crate::table;

/// Dead letters asked for at once.
const PAGE: u32 = 200;

/// List the workers, and how much waits for them.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim workers\n  prelim workers --json | jq '.workers[] | select(.running == 0).id'"
)]
pub(crate) struct Workers {
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

impl Workers {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.queue().await?;
        let workers = client.list_workers(ListWorkersRequest {}).await.map_err(plain)?.into_inner().workers;
        let queue = client.get_queue(GetQueueRequest {}).await.map_err(plain)?.into_inner().queue.unwrap_or_default();
        if self.json {
            let workers: Vec<_> = workers.iter().map(worker_json).collect();
            let whole = json!({"queue": queue_json(&queue), "workers": workers});
            return table::say(serde_json::to_string_pretty(&whole)?);
        }
        if workers.is_empty() {
            table::say("no worker was heard of lately; start one with `prelim worker`")?;
        } else {
            let mut rows = table::new(&["Worker", "Reads", "Running", "Heard of", "State", "Model"]);
            for worker in &workers {
                let status = worker.status.clone().unwrap_or_default();
                rows.add_row([
                    table::cell(&worker.id, 64),
                    table::kinds(&status.kinds),
                    format!("{}/{}", status.running, status.slots),
                    format!("{} s ago", worker.silent_ms / 1_000),
                    state(worker),
                    table::cell(&offered(&status), 80),
                ]);
            }
            table::one_line_a_row(&mut rows);
            table::align_right(&mut rows, &[2]);
            table::say(rows)?;
        }
        table::say(describe(&queue))?;
        queue.demanded.iter().try_for_each(|each| table::say(describe_demanded(each)))
    }
}

/// Tell a worker to take no more jobs, finish those it has, and stop.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim workers\n  prelim drain reader-7f9c")]
pub(crate) struct Drain {
    /// The worker's name, as `prelim workers` lists it.
    #[arg(value_name = "WORKER")]
    worker: String,
    /// Take it back while the worker has not stopped yet.
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Drain {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut client = self.connection.queue().await?;
        let request = DrainWorkerRequest { worker_id: self.worker.clone(), undo: self.undo };
        client.drain_worker(request).await.map_err(plain)?;
        let worker = table::cell(&self.worker, 64);
        table::say(match self.undo {
            true => format!("{worker} takes jobs again, if it has not stopped yet"),
            false => format!("{worker} hears of it at once, or within 10 s, finishes what it has, and stops"),
        })
    }
}

/// List the jobs that were given up, with what went wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  prelim dead\n  prelim requeue 1.2.840.1/3      try one again\n  prelim requeue --all            try all again"
)]
pub(crate) struct Dead {
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON array.
    #[arg(long)]
    json: bool,
}

impl Dead {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let dead = dead_jobs(&self.connection).await?;
        if self.json {
            let rows: Vec<_> = dead.iter().map(dead_json).collect();
            return table::say(serde_json::to_string_pretty(&rows)?);
        }
        if dead.is_empty() {
            return table::say("no job was given up");
        }
        let mut rows = table::new(&["Job", "Reads", "Attempts", "What went wrong last"]);
        for job in &dead {
            let reason = job.failures.last().map_or("", |failure| &failure.reason);
            rows.add_row([
                job.job_id.clone(),
                table::kinds(&[job.kind]),
                job.attempts.to_string(),
                table::cell(reason, 120),
            ]);
        }
        table::one_line_a_row(&mut rows);
        table::align_right(&mut rows, &[2]);
        table::say(rows)?;
        table::say("when the cause is mended: `prelim requeue JOB`, or --all")
    }
}

/// Try jobs again that were given up. Their studies are merged again afterwards.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim requeue 1.2.840.1/3\n  prelim requeue --all")]
pub(crate) struct Requeue {
    /// The jobs, as `prelim dead` lists them.
    #[arg(value_name = "JOB", required_unless_present = "all")]
    jobs: Vec<String>,
    /// Every job that was given up.
    #[arg(long, conflicts_with = "jobs")]
    all: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Requeue {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let jobs = match self.all {
            true => dead_jobs(&self.connection).await?.into_iter().map(|job| job.job_id).collect(),
            false => self.jobs,
        };
        let mut client = self.connection.queue().await?;
        let mut each = Each::of(jobs.len(), "job");
        let mut ready = 0;
        for job_id in &jobs {
            match client.requeue_job(RequeueJobRequest { job_id: job_id.clone() }).await {
                Ok(answer) if answer.get_ref().requeued => ready += 1,
                // Somebody else may have been quicker than --all.
                Ok(_) if self.all => {}
                Ok(_) => each.left(job_id, "not given up, and left as it is; `prelim dead` lists those that are"),
                Err(status) => each.failed(job_id, status)?,
            }
        }
        if ready > 0 || self.all {
            table::say(format!("{} ready again", table::count(ready, "job")))?;
        }
        each.finish("requeued")
    }
}

/// The model that a worker reads with, and the adapters and prompts that it offers besides.
fn offered(status: &WorkerStatus) -> String {
    let besides: Vec<String> = [("adapters", &status.adapters), ("prompts", &status.prompts)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect();
    if besides.is_empty() { status.model.clone() } else { format!("{} ({})", status.model, besides.join("; ")) }
}

/// What a worker is about, in a few words.
fn state(worker: &Worker) -> String {
    let word = if worker.draining { "draining" } else { "working" };
    match worker.shares_name {
        true => format!("{word}; two processes have this name"),
        false => word.to_owned(),
    }
}

/// Every dead letter.
async fn dead_jobs(connection: &Connection) -> anyhow::Result<Vec<DeadJob>> {
    let mut client = connection.queue().await?;
    let (mut dead, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListDeadJobsRequest { page_size: PAGE, page_token };
        let page = client.list_dead_jobs(request).await.map_err(plain)?.into_inner();
        dead.extend(page.jobs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(dead);
        }
    }
}

/// The queue in a sentence.
fn describe(queue: &Queue) -> String {
    format!(
        "{} waiting ({} of work, the longest for {} s), {} running, {} given up, {} open",
        table::count(table::reads(&queue.ready), "job"),
        table::spell(queue.backlog_seconds),
        queue.longest_wait_ms / 1_000,
        table::reads(&queue.leased),
        queue.dead,
        table::count(queue.open_studies as usize, "study"),
    )
}

/// What waits for a model or prompt, and for whom, in a sentence.
fn describe_demanded(each: &DemandedJobs) -> String {
    let what = [("model", &each.model), ("prompt", &each.prompt)];
    let what: Vec<String> =
        what.iter().filter(|(_, name)| !name.is_empty()).map(|(what, name)| format!("{what} \"{name}\"")).collect();
    let taken = match each.workers {
        0 => "NO WORKER OFFERS IT: start one that does; or change the rules, then `prelim cancel` and `prelim complete` the studies"
            .to_owned(),
        workers => format!("offered by {}", table::count(workers as usize, "worker")),
    };
    format!(
        "of them, {} for {}, the longest for {} s: {taken}",
        table::count(table::reads(&each.ready), "job"),
        table::cell(&what.join(" with "), 200),
        each.longest_wait_ms / 1_000,
    )
}

fn demanded_json(each: &DemandedJobs) -> Value {
    json!({
        "model": each.model,
        "prompt": each.prompt,
        "ready": counts_json(&each.ready),
        "longest_wait_ms": each.longest_wait_ms,
        "workers": each.workers,
    })
}

fn counts_json(counts: &Option<JobCounts>) -> Value {
    let counts = counts.unwrap_or_default();
    json!({"xray": counts.xray, "ct": counts.ct, "merge": counts.merge, "answer": counts.answer})
}

fn queue_json(queue: &Queue) -> Value {
    json!({
        "ready": counts_json(&queue.ready),
        "leased": counts_json(&queue.leased),
        "delayed": queue.delayed,
        "dead": queue.dead,
        "open_studies": queue.open_studies,
        "longest_wait_ms": queue.longest_wait_ms,
        "backlog_seconds": queue.backlog_seconds,
        "demanded": queue.demanded.iter().map(demanded_json).collect::<Vec<_>>(),
    })
}

fn worker_json(worker: &Worker) -> Value {
    let status = worker.status.clone().unwrap_or_default();
    json!({
        "id": worker.id,
        "kinds": table::kinds(&status.kinds),
        "slots": status.slots,
        "running": status.running,
        "model": status.model,
        "adapters": status.adapters,
        "prompts": status.prompts,
        "software_version": status.software_version,
        "since_ms": worker.since_ms,
        "silent_ms": worker.silent_ms,
        "draining": worker.draining,
        "shares_name": worker.shares_name,
    })
}

fn dead_json(job: &DeadJob) -> Value {
    let failure = |failure: &prelim_proto::v1::JobFailure| {
        json!({
            "attempt": failure.attempt,
            "worker_id": failure.worker_id,
            "reason": failure.reason,
            "at_ms": failure.at_ms,
        })
    };
    let failures: Vec<_> = job.failures.iter().map(failure).collect();
    json!({
        "job_id": job.job_id,
        "kind": table::kinds(&[job.kind]),
        "tenant": job.tenant,
        "attempts": job.attempts,
        "failures": failures,
    })
}
