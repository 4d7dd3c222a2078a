//! What scripts answer, read into records.

use std::collections::BTreeMap;

use prelim_proto::cost::{JobCost, StudyCost};
use prelim_proto::demand::Demand;
use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{JobKind, JobOutcome, JobSpec, JobState};
use prelim_proto::study::{StudyAttributes, StudyState};
use redis::Value;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;
use crate::store::record::{Arrival, Failure, JobRecord, Settlement, StudyRecord};
use crate::store::records::Result;

/// The server holds something that we did not write.
pub(super) fn odd(what: &str) -> StoreError {
    StoreError::Storage(format!("{what} in Redis cannot be read: was it written by another program or version?"))
}

/// The items of a list.
pub(super) fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        _ => Err(odd("an answer")),
    }
}

/// The names and values of a hash, by turns.
pub(super) fn pairs(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()),
        other => list(other),
    }
}

/// Text or bytes.
pub(super) fn bytes(value: &Value) -> Result<&[u8]> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.as_bytes()),
        _ => Err(odd("an answer")),
    }
}

pub(super) fn text(value: &Value) -> Result<&str> {
    std::str::from_utf8(bytes(value)?).map_err(|_| odd("a text"))
}

/// A whole number, as one or as text.
pub(super) fn number(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        other => text(other)?.parse().map_err(|_| odd("a number")),
    }
}

pub(super) fn unsigned(value: &Value) -> Result<u64> {
    u64::try_from(number(value)?).map_err(|_| odd("a number"))
}

/// A record in JSON.
pub(super) fn json<T: DeserializeOwned>(value: &Value) -> Result<T> {
    serde_json::from_slice(bytes(value)?).map_err(|_| odd("a record"))
}

/// The letter by which scripts know a kind of job.
pub(super) fn letter(kind: JobKind) -> char {
    match kind {
        JobKind::Read(ImageKind::Xray) => 'x',
        JobKind::Read(ImageKind::Ct) => 'c',
        JobKind::Merge => 'm',
        JobKind::Answer => 'a',
    }
}

fn kind(text: &str) -> Result<JobKind> {
    let is_it = |kind: &JobKind| text.len() == 1 && text.starts_with(letter(*kind));
    JobKind::ALL.into_iter().find(is_it).ok_or_else(|| odd("a kind of job"))
}

/// The job of a queue's member: study, number and kind.
pub(super) fn member(text: &str) -> Result<JobId> {
    let mut parts = text.split(' ');
    let (study, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let study = Uid::parse(study).map_err(|_| odd("a queue entry"))?;
    Ok(JobId::new(study, number.parse().map_err(|_| odd("a queue entry"))?))
}

/// What sorts after every member of a job and before the next job's.
pub(super) fn past_member(id: &JobId) -> String {
    format!("{} {:010} ~", id.study(), id.number())
}

/// A queue of jobs that demand something of workers, as scripts count it.
pub(super) fn demanded(queue: Value) -> Result<(JobKind, Demand, u64, i64)> {
    let [letter, demand, jobs, wait_ms] = <[Value; 4]>::try_from(list(queue)?).map_err(|_| odd("the queue's depth"))?;
    let demand = Demand::from_key(text(&demand)?).map_err(|_| odd("a demand"))?;
    Ok((kind(text(&letter)?)?, demand, unsigned(&jobs)?, number(&wait_ms)?))
}

/// A job's record as scripts pack it: a list of these, in order.
#[derive(Deserialize)]
struct Packed {
    kind: String,
    state: String,
    rank: i64,
    not_before_ms: i64,
    waited_ms: i64,
    attempts: u32,
    token: u64,
    expires_at_ms: i64,
    worker: String,
    settled: u64,
    how: String,
    updated_at_ms: i64,
    tenant: Tenant,
    request: String,
    /// Missing where any worker will do.
    #[serde(default)]
    demand: String,
}

/// A job, from its record and its failures.
pub(super) fn job(id: JobId, record: &Value, failures: &Value) -> Result<JobRecord> {
    let packed: Packed = rmp_serde::from_slice(bytes(record)?).map_err(|_| odd("a job"))?;
    let how = match packed.how.as_str() {
        "" => None,
        "C" => Some(Settlement::Completed),
        "R" => Some(Settlement::Retried),
        "B" => Some(Settlement::Buried),
        "L" => Some(Settlement::Released),
        _ => return Err(odd("a job")),
    };
    let failures: Vec<(u32, String, String, i64)> = match failures {
        Value::Nil => Vec::new(),
        packed => match bytes(packed)? {
            [] => Vec::new(),
            packed => rmp_serde::from_slice(packed).map_err(|_| odd("a job's failures"))?,
        },
    };
    let failure = |(attempt, worker, reason, at_ms)| Failure { attempt, worker, reason, at_ms };
    Ok(JobRecord {
        id,
        tenant: packed.tenant,
        kind: kind(&packed.kind)?,
        demand: Demand::from_key(&packed.demand).map_err(|_| odd("a demand"))?,
        state: match packed.state.as_str() {
            "r" => JobState::Ready,
            "l" => JobState::Leased,
            "d" => JobState::Done,
            "D" => JobState::Dead,
            "c" => JobState::Cancelled,
            _ => return Err(odd("a job")),
        },
        rank: packed.rank,
        not_before_ms: packed.not_before_ms,
        waited_ms: packed.waited_ms,
        attempts: packed.attempts,
        token: FencingToken(packed.token),
        expires_at_ms: packed.expires_at_ms,
        worker: packed.worker,
        request: packed.request,
        settled: how.map(|how| (FencingToken(packed.settled), how)),
        failures: failures.into_iter().map(failure).collect(),
        updated_at_ms: packed.updated_at_ms,
    })
}

/// The jobs of a study, from the fields of their hash, by number.
pub(super) fn jobs(study: &Uid, fields: Vec<Value>) -> Result<Vec<(JobRecord, JobSpec, Option<JobOutcome>)>> {
    let (mut records, mut specs, mut outcomes, mut failures) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let name = text(&name)?;
        let (part, number) = match name.chars().next() {
            Some('s') => (&mut specs, &name[1..]),
            Some('o') => (&mut outcomes, &name[1..]),
            Some('f') => (&mut failures, &name[1..]),
            Some('0'..='9') => (&mut records, name),
            _ => continue,
        };
        part.insert(number.parse::<u32>().map_err(|_| odd("a job"))?, value);
    }
    let whole = |(number, record): (u32, Value)| {
        let job = job(JobId::new(study.clone(), number), &record, failures.get(&number).unwrap_or(&Value::Nil))?;
        let spec = json(specs.get(&number).ok_or_else(|| odd("a job"))?)?;
        Ok((job, spec, outcomes.get(&number).map(json).transpose()?))
    };
    let of_study = records.into_iter().filter(|(number, _)| *number < JobId::FIRST_QUESTION);
    of_study.map(whole).collect()
}

/// A study, from the fields of its hash; none where there are none.
pub(super) fn study(uid: Uid, fields: Vec<Value>) -> Result<Option<StudyRecord>> {
    if fields.is_empty() {
        return Ok(None);
    }
    let mut held: BTreeMap<String, Value> = BTreeMap::new();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        held.insert(text(&name)?.to_owned(), value);
    }
    let any = |name: &str| held.get(name).map(text).transpose();
    let words = |name: &str| Ok::<_, StoreError>(any(name)?.unwrap_or_default().to_owned());
    let whole = |name: &str| held.get(name).map_or_else(|| Err(odd("a study")), number);
    let small = |name: &str| u32::try_from(whole(name)?).map_err(|_| odd("a study"));
    let merge = held.get("merge").map(|_| small("merge")).transpose()?;
    let modalities = any("modalities")?.unwrap_or_default();
    let objects = any("objects")?.unwrap_or_default();
    Ok(Some(StudyRecord {
        tenant: Tenant::parse(&words("tenant")?).map_err(|_| odd("a study"))?,
        state: word(&words("state")?)?,
        state_reason: any("reason")?.map(str::to_owned),
        priority: word(&words("priority")?)?,
        received_at_ms: whole("received")?,
        last_instance_at_ms: whole("last_instance")?,
        updated_at_ms: whole("updated")?,
        attributes: StudyAttributes {
            patient_id: words("a:patient_id")?,
            patient_name: words("a:patient_name")?,
            patient_birth_date: words("a:patient_birth_date")?,
            patient_sex: words("a:patient_sex")?,
            accession_number: words("a:accession_number")?,
            study_id: words("a:study_id")?,
            study_date: words("a:study_date")?,
            study_time: words("a:study_time")?,
            description: words("a:description")?,
            referring_physician: words("a:referring_physician")?,
            institution: words("a:institution")?,
            // An older version did not write them.
            other_names: words("a:other_names")?,
            other_ids: words("a:other_ids")?,
            places: words("a:places")?,
        },
        instances: small("instances")?,
        modalities: modalities.split('\\').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        generation: small("generation")?,
        next_job: small("next")?,
        jobs_total: small("total")?,
        jobs_finished: small("finished")?,
        rank: whole("rank")?,
        merge: merge.map(|number| JobId::new(uid.clone(), number)),
        draft_version: small("draft")?,
        // An older version did not write it.
        signed_version: held.get("signed").map(|_| small("signed")).transpose()?.unwrap_or_default(),
        draft_objects: objects.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        summary: held.get("summary").map(json).transpose()?,
        unread: held.get("unread").map(json).transpose()?.unwrap_or_default(),
        partition_notes: held.get("notes").map(json).transpose()?.unwrap_or_default(),
        cost: held.get("cost").map(cost).transpose()?.unwrap_or_default(),
        arrival: arrival(&held)?,
        completion: held.get("completion").map(json).transpose()?,
        route: held.get("route").map(json).transpose()?,
        uid,
    }))
}

/// What is known of how a study arrives. Senders and open associations are fields of their own, named after them.
fn arrival(held: &BTreeMap<String, Value>) -> Result<Arrival> {
    let named = |prefix: &str| held.keys().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect();
    let expected = held.get("expected").map(unsigned).transpose()?;
    Ok(Arrival {
        // An older version did not write all of them.
        opened_at_ms: held.get("opened").map_or(Ok(0), number)?,
        changes: held.get("changes").map_or(Ok(0), unsigned)?,
        senders: named("by:"),
        open: named("as:"),
        ended_at_ms: held.get("ended").map(number).transpose()?,
        expected_instances: expected.map(u32::try_from).transpose().map_err(|_| odd("a study"))?,
    })
}

/// A value whose words are those of its JSON form.
fn word<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| odd("a study"))
}

/// The figures of a job's cost, in the order of the scripts.
pub(super) fn figures(cost: &JobCost) -> [f64; 9] {
    [
        cost.prompt_tokens as f64,
        cost.generated_tokens as f64,
        cost.forced_tokens as f64,
        cost.fetch_ms,
        cost.decode_ms,
        cost.preprocess_ms,
        cost.vision_ms,
        cost.prefill_ms,
        cost.generate_ms,
    ]
}

/// The figures of a study's cost: those of its jobs, the time in the queue and the time to merge.
fn cost(packed: &Value) -> Result<StudyCost> {
    let f: [f64; 11] = rmp_serde::from_slice(bytes(packed)?).map_err(|_| odd("a study's cost"))?;
    let jobs = JobCost {
        prompt_tokens: f[0] as u64,
        generated_tokens: f[1] as u64,
        forced_tokens: f[2] as u64,
        fetch_ms: f[3],
        decode_ms: f[4],
        preprocess_ms: f[5],
        vision_ms: f[6],
        prefill_ms: f[7],
        generate_ms: f[8],
    };
    Ok(StudyCost { jobs, queue_ms: f[9], report_ms: f[10] })
}

/// The state that a script names.
pub(super) fn state(value: &Value) -> Result<StudyState> {
    word(text(value)?)
}
