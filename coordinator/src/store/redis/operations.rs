//! [`JobStore`] on the scripts: arguments in, answers read.

use async_trait::async_trait;
use prelim_proto::ids::{Digest, FencingToken, JobId, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobSpec, Lease};
use prelim_proto::study::{MAX_LISTED_BYTES, Priority, StudyState};
use redis::Value;
use tokio::sync::watch;

use super::RedisStore;
use super::reply::{self, odd};
use super::script::Args;
use super::together::HandedIn;
use crate::queue::{Verdict, head_start_ms};
use crate::report::present;
use crate::store::delivery::{DeliveryEnd, DeliveryKey, DeliveryRecord, Wish};
use crate::store::record::{
    AddInstances, Added, Arriving, CompleteStudies, Done, DraftRecord, Due, ExpiredLease, Heartbeat, InstanceRecord,
    JobRecord, LeaseRequest, MAX_ASSOCIATIONS, MAX_SENDERS, Merged, Orders, PROCESSES_KEPT, Plan, QueueDepth,
    Reconciled, Reviewed, StudyQuery, StudyRecord, WorkerRecord, is_shared,
};
use crate::store::records::Result;
use crate::store::step::{PutStep, StepRecord};
use crate::store::{JobStore, StoreError};

/// Studies that one script lists.
const PAGE: usize = 500;
/// More than any limit on what is listed.
const ALL: usize = 1 << 30;

/// A job and a token, as arguments.
fn held(args: Args, job: &JobId, token: FencingToken) -> Args {
    args.text(job.study().as_str()).number(job.number()).number(token.0)
}

/// A verdict, as an argument.
fn verdict(args: Args, verdict: Verdict) -> Args {
    match verdict {
        Verdict::Dead => args.text("dead"),
        Verdict::RetryIn(delay_ms) => args.number(delay_ms.min(i64::MAX as u64)),
    }
}

/// What an operation on a study, or on a job of it, came to.
struct About<'a> {
    study: &'a Uid,
    job: Option<&'a JobId>,
    token: FencingToken,
}

impl<'a> About<'a> {
    fn study(study: &'a Uid) -> Self {
        Self { study, job: None, token: FencingToken(0) }
    }

    fn job(job: &'a JobId, token: FencingToken) -> Self {
        Self { study: job.study(), job: Some(job), token }
    }

    /// Reads the answer of a script that changes something.
    fn done(&self, answer: Value) -> Result<Done> {
        let answer = reply::list(answer)?;
        let job = || self.job.cloned().ok_or_else(|| odd("an answer"));
        match answer.first().map(reply::text).transpose()?.unwrap_or_default() {
            "now" => Ok(Done::Now),
            "before" => Ok(Done::Before),
            "study" => Err(StoreError::NoStudy(self.study.clone())),
            "job" => Err(StoreError::NoJob(job()?)),
            "lost" => Err(StoreError::LeaseLost { job: job()?, token: self.token }),
            "cancelled" => Err(StoreError::Cancelled(job()?)),
            "misfit" => Err(StoreError::Misfit(self.job.map_or_else(|| self.study.to_string(), ToString::to_string))),
            "outdated" => Err(StoreError::Outdated(self.study.clone())),
            "sending" => Err(StoreError::Sending(self.study.clone())),
            "state" => {
                let state = reply::state(answer.get(1).unwrap_or(&Value::Nil))?;
                Err(StoreError::WrongState { study: self.study.clone(), state })
            }
            _ => Err(odd("an answer")),
        }
    }
}

impl RedisStore {
    /// Runs the script that adds instances, or says what adding would answer.
    async fn add_or_preview(&self, mode: &str, add: AddInstances) -> Result<Vec<Added>> {
        let (limits, a) = (add.limits, &add.attributes);
        let mut args = self
            .args()
            .text(mode)
            .text(add.study.as_str())
            .text(add.tenant.as_str())
            .text(word(&add.priority)?)
            .number(limits.max_open_studies.min(i64::MAX as u64))
            .number(limits.max_open_of_tenant.min(i64::MAX as u64))
            .number(limits.max_instances_per_study)
            .number(head_start_ms(Priority::Routine))
            .number(head_start_ms(Priority::Urgent))
            .number(head_start_ms(Priority::Stat))
            .texts([&a.patient_id, &a.patient_name, &a.patient_birth_date, &a.patient_sex, &a.accession_number])
            .texts([&a.study_id, &a.study_date, &a.study_time, &a.description, &a.referring_physician])
            .texts([&a.institution, &a.other_names, &a.other_ids, &a.places])
            .number(MAX_LISTED_BYTES);
        for record in &add.instances {
            let (uid, digest) = (&record.instance.uid, &record.instance.digest);
            args = args.texts([uid.as_str(), digest.as_str(), &record.modality]).json(record);
        }
        let script = &self.runner.scripts.add_instances;
        let answer = if mode == "add" { self.run_durably(script, args).await } else { self.run(script, args).await };
        let answer = reply::list(answer?)?;
        let mut words = answer.iter().map(reply::text);
        match words.next().transpose()?.unwrap_or_default() {
            "ok" => {}
            "studies" => return Err(StoreError::TooManyStudies { limit: limits.max_open_studies }),
            "tenant" => {
                return Err(StoreError::TooManyOfTenant { tenant: add.tenant, limit: limits.max_open_of_tenant });
            }
            "instances" => {
                return Err(StoreError::TooManyInstances { study: add.study, limit: limits.max_instances_per_study });
            }
            _ => return Err(odd("an answer")),
        }
        let added = |word: Result<&str>| {
            Ok(match word? {
                "accepted" => Added::Accepted,
                "duplicate" => Added::Duplicate,
                "patient" => Added::OtherPatient,
                "tenant" => Added::OtherTenant,
                "removing" => Added::Removing,
                digest => Added::Conflict { held: Digest::parse(digest).map_err(|_| odd("a digest"))? },
            })
        };
        words.map(added).collect()
    }

    /// Members of one listing after a place in it, as many as `limit` at most.
    async fn listing(&self, name: &str, value: &str, query: &StudyQuery, limit: usize) -> Result<Vec<StudyRecord>> {
        let mut after = query.after.as_ref().map(|after| (after.received_at_ms, after.uid.clone()));
        let mut found = Vec::new();
        while found.len() < limit {
            let page = PAGE.min(limit);
            let mut args = self.args().texts([name, value]).number(page);
            if let Some((received_at_ms, uid)) = &after {
                args = args.number(received_at_ms).text(uid.as_str());
            }
            let entries = reply::list(self.run(&self.runner.scripts.studies, args).await?)?;
            let is_last = entries.len() < page;
            for entry in entries {
                let [uid, fields] = <[Value; 2]>::try_from(reply::list(entry)?).map_err(|_| odd("a listing"))?;
                let uid = Uid::parse(reply::text(&uid)?).map_err(|_| odd("a listing"))?;
                let Some(study) = reply::study(uid.clone(), reply::list(fields)?)? else { continue };
                after = Some((study.received_at_ms, uid));
                if query.wants(&study) {
                    found.push(study);
                }
            }
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// One field of a hash.
    async fn field(&self, key: String, field: impl AsRef<str>) -> Result<Option<Value>> {
        let mut get = redis::cmd("HGET");
        get.arg(key).arg(field.as_ref());
        Ok(Some(self.runner.link.ask(&get).await?).filter(|value| *value != Value::Nil))
    }

    pub(super) fn key(&self, name: &str, study: &Uid) -> String {
        format!("{}{name}:{study}", self.runner.prefix)
    }
}

/// A word as its JSON form has it.
fn word(value: &impl serde::Serialize) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(odd("a word")),
    }
}

#[async_trait]
impl JobStore for RedisStore {
    async fn add_instances(&self, add: AddInstances) -> Result<Vec<Added>> {
        self.add_or_preview("add", add).await
    }

    async fn preview_instances(&self, add: AddInstances) -> Result<Vec<Added>> {
        self.add_or_preview("preview", add).await
    }

    async fn complete_studies(&self, request: CompleteStudies) -> Result<Done> {
        let id = request.request_id.unwrap_or_default();
        let args = self.args().text(&id).json(&request.completion).texts(request.studies.iter().map(Uid::as_str));
        let answer = reply::list(self.run_durably(&self.runner.scripts.complete_studies, args).await?)?;
        match answer.iter().map(reply::text).collect::<Result<Vec<_>>>()?.as_slice() {
            ["now"] => Ok(Done::Now),
            ["before"] => Ok(Done::Before),
            ["reused"] => Err(StoreError::RequestReused(id)),
            ["study", uid] => Err(StoreError::NoStudy(Uid::parse(uid).map_err(|_| odd("an answer"))?)),
            _ => Err(odd("an answer")),
        }
    }

    async fn note_arriving(&self, study: &Uid, arriving: Arriving) -> Result<Done> {
        let args = self.args().text(study.as_str());
        let args = match &arriving {
            Arriving::Begun { association, sender } => {
                args.texts(["begun", association, sender]).number(MAX_ASSOCIATIONS).number(MAX_SENDERS)
            }
            Arriving::Ended { association, whole } => {
                args.texts(["ended", association, if *whole { "whole" } else { "broken" }])
            }
            Arriving::Expected(instances) => args.text("expected").number(instances),
        };
        About::study(study).done(self.run_durably(&self.runner.scripts.note_arriving, args).await?)
    }

    async fn complete_due(&self, due: Vec<Due>) -> Result<Vec<Uid>> {
        let mut complete = Vec::new();
        for some in due.chunks(PAGE) {
            let args = some.iter().fold(self.args(), |args, due| {
                args.text(due.study.as_str()).number(due.changes).number(due.at_ms).json(&due.completion)
            });
            for study in reply::list(self.run(&self.runner.scripts.complete_due, args).await?)? {
                complete.push(Uid::parse(reply::text(&study)?).map_err(|_| odd("a study"))?);
            }
        }
        Ok(complete)
    }

    async fn plan_study(&self, study: &Uid, plan: Plan) -> Result<Done> {
        let mut args = self
            .args()
            .text(study.as_str())
            .number(plan.generation)
            .number(plan.head_start_ms)
            .json(&plan.unread)
            .json(&plan.notes)
            .text(&plan.failure)
            .text(if plan.skipped { "skipped" } else { "failed" })
            .text(word(&plan.priority)?)
            .json(&plan.route);
        let demand = plan.jobs.first().map(|job| job.demand.clone()).unwrap_or_default();
        args = args.text(demand.key());
        for job in &plan.jobs {
            let belongs = job.id.study() == study && job.kind != JobKind::Merge && job.demand == demand;
            let number = if belongs { i64::from(job.id.number()) } else { -1 };
            args = args.number(number).text(reply::letter(job.kind).to_string()).json(job);
        }
        let answer = reply::list(self.run_durably(&self.runner.scripts.plan_study, args).await?)?;
        if let [Value::BulkString(word), Value::Int(place)] = answer.as_slice()
            && word == b"misfit"
        {
            let job =
                usize::try_from(*place).ok().and_then(|place| plan.jobs.get(place)).ok_or_else(|| odd("an answer"))?;
            return Err(StoreError::Misfit(job.id.to_string()));
        }
        About::study(study).done(Value::Array(answer))
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Option<Lease>> {
        self.exchange.lease(request).await
    }

    async fn renew(&self, job: &JobId, token: FencingToken, ttl_ms: u64) -> Result<()> {
        let args = held(self.args(), job, token).number(ttl_ms);
        About::job(job, token).done(self.run(&self.runner.scripts.renew, args).await?).map(drop)
    }

    async fn release(&self, job: &JobId, token: FencingToken) -> Result<Done> {
        About::job(job, token).done(self.run(&self.runner.scripts.release, held(self.args(), job, token)).await?)
    }

    async fn complete_job(&self, job: &JobId, token: FencingToken, outcome: JobOutcome) -> Result<Done> {
        let ask = || self.exchange.hand_in(HandedIn { job: job.clone(), token, outcome: outcome.clone() });
        let word = self.durably(ask).await?;
        About::job(job, token).done(Value::Array(vec![word]))
    }

    async fn fail_job(&self, job: &JobId, token: FencingToken, reason: &str, end: Verdict) -> Result<bool> {
        let args = verdict(held(self.args(), job, token).text(reason), end);
        let answer = self.run_durably(&self.runner.scripts.fail_job, args).await?;
        match reply::list(answer)?.as_slice() {
            [Value::BulkString(word)] if word == b"retried" => Ok(true),
            [Value::BulkString(word)] if word == b"buried" => Ok(false),
            other => About::job(job, token).done(Value::Array(other.to_vec())).and(Err(odd("an answer"))),
        }
    }

    async fn expired(&self, limit: usize) -> Result<Vec<ExpiredLease>> {
        let args = self.args().number(limit.min(ALL));
        let lease = |entry| {
            let [member, token, attempt] = <[Value; 3]>::try_from(reply::list(entry)?).map_err(|_| odd("a lease"))?;
            Ok(ExpiredLease {
                job: reply::member(reply::text(&member)?)?,
                token: FencingToken(reply::unsigned(&token)?),
                attempt: u32::try_from(reply::unsigned(&attempt)?).map_err(|_| odd("a lease"))?,
            })
        };
        reply::list(self.run(&self.runner.scripts.expired, args).await?)?.into_iter().map(lease).collect()
    }

    async fn expire(&self, job: &JobId, token: FencingToken, end: Verdict) -> Result<Done> {
        let args = verdict(held(self.args(), job, token), end);
        About::job(job, token).done(self.run_durably(&self.runner.scripts.expire, args).await?)
    }

    async fn commit_merge(&self, job: &JobId, token: FencingToken, merged: Merged) -> Result<Done> {
        let args = held(self.args(), job, token);
        let args = match &merged {
            Merged::Draft { version, digest, size_bytes, objects, summary, unread, deliveries } => {
                let args = args.text("draft").json(unread).number(version).text(digest.as_str()).number(size_bytes);
                let args = args.text(objects.join(" ")).json(summary);
                deliveries.iter().fold(args, |args, wish| args.texts([&wish.destination, &wish.object]))
            }
            Merged::Nothing { reason, unread } => args.text("nothing").json(unread).text(reason),
        };
        About::job(job, token).done(self.run_durably(&self.runner.scripts.commit_merge, args).await?)
    }

    async fn commit_review(&self, study: &Uid, review: Reviewed) -> Result<Done> {
        let Reviewed { version, standing, request, digest, size_bytes, objects, summary, deliveries } = &review;
        let args =
            self.args().text(study.as_str()).number(version).text(present::standing_word(*standing)).text(request);
        let args = args.text(digest.as_str()).number(size_bytes).text(objects.join(" ")).json(summary);
        let args = deliveries.iter().fold(args, |args, wish| args.texts([&wish.destination, &wish.object]));
        About::study(study).done(self.run_durably(&self.runner.scripts.commit_review, args).await?)
    }

    async fn add_deliveries(&self, study: &Uid, version: u32, wishes: Vec<Wish>, again: bool) -> Result<Done> {
        self.note_deliveries(study, version, &wishes, again).await
    }

    async fn lease_deliveries(&self, destination: &str, ttl_ms: u64, limit: usize) -> Result<Vec<DeliveryRecord>> {
        self.take_deliveries(destination, ttl_ms, limit).await
    }

    async fn end_delivery(&self, key: &DeliveryKey, token: FencingToken, end: DeliveryEnd) -> Result<Done> {
        self.settle_delivery(key, token, &end).await
    }

    async fn deliveries(&self, study: &Uid) -> Result<Vec<DeliveryRecord>> {
        self.deliveries_of(study).await
    }

    async fn open_deliveries(&self, destination: &str, limit: usize) -> Result<Vec<DeliveryRecord>> {
        self.deliveries_to(destination, limit).await
    }

    async fn cancel_study(&self, study: &Uid, reason: &str) -> Result<Done> {
        let args = self.args().text(study.as_str()).text(reason);
        About::study(study).done(self.run_durably(&self.runner.scripts.cancel_study, args).await?)
    }

    async fn remove_study(&self, study: &Uid, updated_at_ms: i64) -> Result<Done> {
        let args = self.args().text(study.as_str()).number(updated_at_ms);
        About::study(study).done(self.run_durably(&self.runner.scripts.remove_study, args).await?)
    }

    async fn forget_study(&self, study: &Uid) -> Result<Done> {
        let args = self.args().text(study.as_str());
        About::study(study).done(self.run_durably(&self.runner.scripts.forget_study, args).await?)
    }

    async fn requeue_job(&self, job: &JobId) -> Result<Done> {
        let args = self.args().text(job.study().as_str()).number(job.number());
        About::job(job, FencingToken(0)).done(self.run_durably(&self.runner.scripts.requeue_job, args).await?)
    }

    async fn ask(&self, spec: JobSpec, head_start_ms: i64) -> Result<Done> {
        if spec.kind != JobKind::Answer || !spec.id.is_question() {
            return Err(StoreError::Misfit(spec.id.to_string()));
        }
        let args = self.args().text(spec.id.study().as_str()).number(spec.id.number()).number(head_start_ms);
        let args = args.text(spec.demand.key()).json(&spec);
        About::study(spec.id.study()).done(self.run_durably(&self.runner.scripts.ask, args).await?)
    }

    async fn end_question(&self, job: &JobId, token: Option<FencingToken>) -> Result<Done> {
        if !job.is_question() {
            return Err(StoreError::Misfit(job.to_string()));
        }
        let args = self.args().text(job.study().as_str()).number(job.number());
        let args = args.text(token.map(|token| token.0.to_string()).unwrap_or_default());
        let about = About::job(job, token.unwrap_or(FencingToken(0)));
        about.done(self.run_durably(&self.runner.scripts.end_question, args).await?)
    }

    async fn reconcile(&self) -> Result<Reconciled> {
        self.mend().await
    }

    async fn put_step(&self, put: PutStep) -> Result<bool> {
        self.write_step(&put).await
    }

    async fn step(&self, uid: &Uid) -> Result<Option<StepRecord>> {
        self.read_step(uid).await
    }

    async fn steps_of(&self, studies: Vec<Uid>) -> Result<Vec<Vec<StepRecord>>> {
        self.read_steps_of(&studies).await
    }

    async fn forget_steps(&self, age_ms: u64) -> Result<u64> {
        self.forget_old_steps(age_ms).await
    }

    async fn forget_requests(&self, age_ms: u64) -> Result<u64> {
        let args = self.args().number(age_ms.min(i64::MAX as u64));
        reply::unsigned(&self.run(&self.runner.scripts.forget_requests, args).await?)
    }

    async fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.key("s", uid));
        reply::study(uid.clone(), reply::pairs(self.runner.link.ask(&get).await?)?)
    }

    async fn studies(&self, query: StudyQuery) -> Result<Vec<StudyRecord>> {
        // The listing with the fewest entries, as a guess.
        let limit = query.limit;
        if let Some(number) = &query.accession_number {
            return self.listing("a:", number, &query, limit).await;
        }
        if let Some(id) = &query.patient_id {
            return self.listing("p:", id, &query, limit).await;
        }
        if let Some(date) = &query.study_date {
            return self.listing("d:", date, &query, limit).await;
        }
        if query.states.is_empty() {
            return self.listing("*", "", &query, limit).await;
        }
        // Some states share a listing.
        let listing = |state: &StudyState| match state {
            StudyState::Receiving | StudyState::Complete => "arriving",
            StudyState::Queued | StudyState::Reading => "working",
            state => state.as_str(),
        };
        let mut states: Vec<_> = query.states.iter().map(listing).collect();
        states.sort_unstable();
        states.dedup();
        let mut studies = Vec::new();
        for state in states {
            studies.extend(self.listing("s:", state, &query, limit).await?);
        }
        // Each listing is in order; several of them together are not. A study may change state between two of them.
        studies.sort_by(|a, b| b.received_at_ms.cmp(&a.received_at_ms).then_with(|| a.uid.cmp(&b.uid)));
        studies.dedup_by(|a, b| a.uid == b.uid);
        studies.truncate(limit);
        Ok(studies)
    }

    async fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>> {
        let mut get = redis::cmd("HVALS");
        get.arg(self.key("i", study));
        let record = |value: &Value| {
            // The digest stands before the record, for the scripts.
            let record = reply::bytes(value)?.get(64..).ok_or_else(|| odd("an instance"))?;
            serde_json::from_slice::<InstanceRecord>(record).map_err(|_| odd("an instance"))
        };
        let records = reply::list(self.runner.link.ask(&get).await?)?;
        let mut records = records.iter().map(record).collect::<Result<Vec<_>>>()?;
        records.sort_by(|a, b| a.instance.uid.cmp(&b.instance.uid));
        Ok(records)
    }

    async fn studies_of(&self, instances: Vec<Uid>) -> Result<Vec<Option<Uid>>> {
        let mut studies = Vec::with_capacity(instances.len());
        for some in instances.chunks(PAGE) {
            let mut get = redis::cmd("HMGET");
            get.arg(format!("{}at", self.runner.prefix));
            for uid in some {
                get.arg(uid.as_str());
            }
            let found = reply::list(self.runner.link.ask(&get).await?)?;
            let study = |value: &Value| match value {
                Value::Nil => Ok(None),
                held => Uid::parse(reply::text(held)?).map(Some).map_err(|_| odd("a study")),
            };
            studies.extend(found.iter().map(study).collect::<Result<Vec<_>>>()?);
        }
        Ok(studies)
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>> {
        let number = id.number().to_string();
        let mut get = redis::cmd("HMGET");
        get.arg(self.key("j", id.study())).arg(&number).arg(format!("f{number}"));
        let answer = reply::list(self.runner.link.ask(&get).await?)?;
        let [record, failures] = <[Value; 2]>::try_from(answer).map_err(|_| odd("a job"))?;
        match record {
            Value::Nil => Ok(None),
            record => reply::job(id.clone(), &record, &failures).map(Some),
        }
    }

    async fn jobs(&self, study: &Uid) -> Result<Vec<(JobRecord, JobSpec, Option<JobOutcome>)>> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.key("j", study));
        reply::jobs(study, reply::pairs(self.runner.link.ask(&get).await?)?)
    }

    async fn dead_jobs(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobRecord>> {
        let args = self.args().number(limit.min(ALL)).text(after.map(reply::past_member).unwrap_or_default());
        let letter = |entry| {
            let [member, record, failures] = <[Value; 3]>::try_from(reply::list(entry)?).map_err(|_| odd("a job"))?;
            reply::job(reply::member(reply::text(&member)?)?, &record, &failures)
        };
        reply::list(self.run(&self.runner.scripts.dead_jobs, args).await?)?.into_iter().map(letter).collect()
    }

    async fn draft(&self, study: &Uid, version: Option<u32>) -> Result<Option<DraftRecord>> {
        let version = match version {
            Some(version) => version.to_string(),
            None => match self.field(self.key("s", study), "draft").await? {
                Some(version) => reply::text(&version)?.to_owned(),
                None => return Ok(None),
            },
        };
        self.field(self.key("d", study), version).await?.as_ref().map(reply::json).transpose()
    }

    async fn depth(&self) -> Result<QueueDepth> {
        let mut numbers = reply::list(self.run(&self.runner.scripts.depth, self.args()).await?)?;
        let demanded = reply::list(numbers.pop().ok_or_else(|| odd("the queue's depth"))?)?;
        let numbers = numbers.iter().map(reply::number).collect::<Result<Vec<i64>>>()?;
        let n = <[i64; 12]>::try_from(numbers).map_err(|_| odd("the queue's depth"))?;
        let by_kind = |xray: i64, ct: i64, merge: i64, answer: i64| crate::store::record::ByKind {
            xray: xray.max(0) as u64,
            ct: ct.max(0) as u64,
            merge: merge.max(0) as u64,
            answer: answer.max(0) as u64,
        };
        let mut depth = QueueDepth {
            ready: by_kind(n[0], n[1], n[2], n[3]),
            leased: by_kind(n[4], n[5], n[6], n[7]),
            delayed: n[8].max(0) as u64,
            dead: n[9].max(0) as u64,
            open_studies: n[10].max(0) as u64,
            longest_wait_ms: n[11],
            demanded: Vec::new(),
        };
        for queue in demanded {
            let (kind, demand, jobs, wait_ms) = reply::demanded(queue)?;
            depth.note_waiting(kind, &demand, jobs, wait_ms);
        }
        Ok(depth)
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<Orders> {
        let args = self.args().texts(["heartbeat", &heartbeat.worker]).json(&heartbeat);
        let args = args.text(&heartbeat.process).number(PROCESSES_KEPT);
        let answer = reply::list(self.run(&self.runner.scripts.workers, args).await?)?;
        let [drain, shared_at, now] = answer.as_slice() else { return Err(odd("an answer")) };
        let shares_name = is_shared(reply::number(shared_at)?, reply::number(now)?);
        Ok(Orders { drain: reply::number(drain)? == 1, shares_name })
    }

    async fn drain_worker(&self, worker: &str, drain: bool) -> Result<Done> {
        let args = self.args().texts(["drain", worker, if drain { "1" } else { "0" }]);
        let answer = reply::list(self.run(&self.runner.scripts.workers, args).await?)?;
        match answer.first().map(reply::text).transpose()? {
            Some("now") => Ok(Done::Now),
            Some("before") => Ok(Done::Before),
            Some("worker") => Err(StoreError::NoWorker(worker.to_owned())),
            _ => Err(odd("an answer")),
        }
    }

    async fn forget_worker(&self, worker: &str) -> Result<Done> {
        let answer = reply::list(self.run(&self.runner.scripts.workers, self.args().texts(["forget", worker])).await?)?;
        match answer.first().map(reply::text).transpose()? {
            Some("now") => Ok(Done::Now),
            _ => Ok(Done::Before),
        }
    }

    async fn forget_workers(&self, age_ms: u64) -> Result<u64> {
        let args = self.args().text("forget_old").number(age_ms.min(i64::MAX as u64));
        reply::unsigned(&self.run(&self.runner.scripts.workers, args).await?)
    }

    async fn workers(&self) -> Result<Vec<(WorkerRecord, u64)>> {
        let entries = reply::list(self.run(&self.runner.scripts.workers, self.args().text("list")).await?)?;
        let worker = |entry| {
            let [heartbeat, since, seen, draining, silent, processes, shared_at] =
                <[Value; 7]>::try_from(reply::list(entry)?).map_err(|_| odd("a worker"))?;
            let record = WorkerRecord {
                heartbeat: reply::json(&heartbeat)?,
                since_ms: reply::number(&since)?,
                seen_at_ms: reply::number(&seen)?,
                draining: reply::number(&draining)? == 1,
                processes: reply::list(processes)?
                    .iter()
                    .map(|text| Ok(reply::text(text)?.to_owned()))
                    .collect::<Result<_>>()?,
                shared_at_ms: reply::number(&shared_at)?,
            };
            Ok((record, reply::unsigned(&silent)?))
        };
        let mut workers = entries.into_iter().map(worker).collect::<Result<Vec<_>>>()?;
        workers.sort_by(|(a, _), (b, _)| a.heartbeat.worker.cmp(&b.heartbeat.worker));
        Ok(workers)
    }

    fn wakes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.heard.wakes.clone())
    }

    fn orders(&self) -> Option<watch::Receiver<u64>> {
        Some(self.heard.orders.clone())
    }
}
