//! Keys of the embedded store: bytes whose order is the order of what they name.

use prelim_proto::demand::Demand;
use prelim_proto::ids::{JobId, Tenant, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::JobKind;
use prelim_proto::study::StudyState;

use crate::store::delivery::DeliveryKey;
use crate::store::record::{JobRecord, StudyCursor};

/// An integer as eight bytes that sort as it does.
pub(super) fn number(value: i64) -> [u8; 8] {
    ((value as u64) ^ (1 << 63)).to_be_bytes()
}

/// A text and the end of it. UIDs, ids and DICOM attributes hold no zero byte; one that does ends there.
fn text(value: &str) -> impl Iterator<Item = u8> + '_ {
    value.bytes().take_while(|byte| *byte != 0).chain([0])
}

pub(super) fn study(uid: &Uid) -> Vec<u8> {
    text(uid.as_str()).collect()
}

pub(super) fn instance(study: &Uid, instance: &Uid) -> Vec<u8> {
    text(study.as_str()).chain(text(instance.as_str())).collect()
}

pub(super) fn job(id: &JobId) -> Vec<u8> {
    text(id.study().as_str()).chain(id.number().to_be_bytes()).collect()
}

pub(super) fn draft(study: &Uid, version: u32) -> Vec<u8> {
    text(study.as_str()).chain(version.to_be_bytes()).collect()
}

pub(super) fn delivery(key: &DeliveryKey) -> Vec<u8> {
    draft(&key.study, key.version).into_iter().chain(text(&key.destination)).chain(text(&key.object)).collect()
}

/// What [`delivery`] wrote.
pub(super) fn read_delivery(key: &[u8]) -> Option<DeliveryKey> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let study = Uid::parse(std::str::from_utf8(&key[..end]).ok()?).ok()?;
    let (version, rest) = key.get(end + 1..)?.split_first_chunk::<4>()?;
    let mut words = rest.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).ok().map(str::to_owned));
    let (destination, object) = (words.next()??, words.next()??);
    Some(DeliveryKey { study, version: u32::from_be_bytes(*version), destination, object })
}

/// What all open deliveries to a destination begin with.
pub(super) fn destination(name: &str) -> Vec<u8> {
    text(name).collect()
}

pub(super) fn due(at_ms: i64, key: &DeliveryKey) -> Vec<u8> {
    destination(&key.destination).into_iter().chain(number(at_ms)).chain(delivery(key)).collect()
}

/// What [`due`] wrote, without the destination.
pub(super) fn read_due(key: &[u8]) -> Option<(i64, DeliveryKey)> {
    let (time, rest) = key.split_first_chunk::<8>()?;
    Some(((u64::from_be_bytes(*time) ^ (1 << 63)) as i64, read_delivery(rest)?))
}

/// What [`job`] wrote.
pub(super) fn read_job(key: &[u8]) -> Option<JobId> {
    let (study, number) = key.split_last_chunk::<4>()?;
    let study = std::str::from_utf8(study.strip_suffix(&[0])?).ok()?;
    Some(JobId::new(Uid::parse(study).ok()?, u32::from_be_bytes(*number)))
}

/// The byte that all waiting jobs of a kind begin with.
pub(super) fn kind(kind: JobKind) -> u8 {
    match kind {
        JobKind::Read(ImageKind::Xray) => 1,
        JobKind::Read(ImageKind::Ct) => 2,
        JobKind::Merge => 3,
        JobKind::Answer => 4,
    }
}

/// Stands between a tenant and what its jobs demand of workers, where they demand something. No name holds it.
const DEMANDING: u8 = 1;

/// What all waiting jobs of a kind, tenant and demand begin with.
pub(super) fn queue(of: JobKind, tenant: &Tenant, demand: &Demand) -> Vec<u8> {
    let demanding = (!demand.is_any()).then(|| [DEMANDING].into_iter().chain(demand.key().into_bytes()));
    let name = tenant.as_str().bytes().chain(demanding.into_iter().flatten());
    [kind(of)].into_iter().chain(name).chain([0]).collect()
}

pub(super) fn ready(job: &JobRecord) -> Vec<u8> {
    let queue = queue(job.kind, &job.tenant, &job.demand);
    queue.into_iter().chain(timed(job.rank, &job.id)).collect()
}

/// What [`ready`] wrote, without the kind.
pub(super) fn read_ready(key: &[u8]) -> Option<(Tenant, Demand, i64, JobId)> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(key.get(1..end)?).ok()?;
    let (tenant, demand) = name.split_once(char::from(DEMANDING)).unwrap_or((name, ""));
    let (rank, id) = read_timed(key.get(end + 1..)?)?;
    Some((Tenant::parse(tenant).ok()?, Demand::from_key(demand).ok()?, rank, id))
}

/// What comes after every waiting job of a kind, tenant and demand, and before those of the next.
pub(super) fn past_queue(of: JobKind, tenant: &Tenant, demand: &Demand) -> Vec<u8> {
    let mut key = queue(of, tenant, demand);
    // The zero byte that ends the name becomes the next larger byte: after it come the tenant's demanding jobs, if any.
    *key.last_mut().expect("a queue's key has an end") = DEMANDING;
    key
}

/// A delayed job of a kind.
pub(super) fn delayed(of: JobKind, at_ms: i64, id: &JobId) -> Vec<u8> {
    [kind(of)].into_iter().chain(timed(at_ms, id)).collect()
}

/// A time and a UID.
pub(super) fn timed_uid(at_ms: i64, uid: &Uid) -> Vec<u8> {
    number(at_ms).into_iter().chain(uid.as_str().bytes()).collect()
}

/// What [`timed_uid`] wrote.
pub(super) fn read_timed_uid(key: &[u8]) -> Option<(i64, Uid)> {
    let (at, uid) = key.split_first_chunk::<8>()?;
    Some(((u64::from_be_bytes(*at) ^ (1 << 63)) as i64, read_uid(uid)?))
}

/// A UID that ends a key.
pub(super) fn read_uid(bytes: &[u8]) -> Option<Uid> {
    Uid::parse(std::str::from_utf8(bytes).ok()?).ok()
}

/// A step among those of a study; with an empty UID, what all of them begin with.
pub(super) fn step_of(study: &Uid, step: &str) -> Vec<u8> {
    self::study(study).into_iter().chain(step.bytes()).collect()
}

/// The counter of a tenant's leased jobs of a kind.
pub(super) fn leased_count(of: JobKind, tenant: &Tenant) -> Vec<u8> {
    [b'l', kind(of)].into_iter().chain(tenant.as_str().bytes()).collect()
}

/// The counter of a tenant's open studies.
pub(super) fn open_count(tenant: &Tenant) -> Vec<u8> {
    [b'o'].into_iter().chain(tenant.as_str().bytes()).collect()
}

/// A time and a job.
pub(super) fn timed(at_ms: i64, id: &JobId) -> Vec<u8> {
    number(at_ms).into_iter().chain(job(id)).collect()
}

/// What [`timed`] wrote.
pub(super) fn read_timed(key: &[u8]) -> Option<(i64, JobId)> {
    let (at, id) = key.split_first_chunk::<8>()?;
    Some(((u64::from_be_bytes(*at) ^ (1 << 63)) as i64, read_job(id)?))
}

/// The indexes of studies. Each lists studies newest first under one value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Listing<'a> {
    All,
    State(StudyState),
    Patient(&'a str),
    Accession(&'a str),
    Date(&'a str),
}

impl Listing<'_> {
    /// What all entries of this listing begin with.
    pub(super) fn prefix(&self) -> Vec<u8> {
        let (tag, value) = match self {
            Self::All => (b'*', ""),
            Self::State(state) => (b's', state.as_str()),
            Self::Patient(id) => (b'p', *id),
            Self::Accession(number) => (b'a', *number),
            Self::Date(date) => (b'd', *date),
        };
        [tag].into_iter().chain(text(value)).collect()
    }

    /// The entry of a study.
    pub(super) fn entry(&self, cursor: &StudyCursor) -> Vec<u8> {
        let mut key = self.prefix();
        key.extend(number(!cursor.received_at_ms));
        key.extend(cursor.uid.as_str().bytes());
        key
    }

    /// The study of an entry of this listing.
    pub(super) fn read(&self, key: &[u8]) -> Option<Uid> {
        let uid = key.get(self.prefix().len() + 8..)?;
        Uid::parse(std::str::from_utf8(uid).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use prelim_proto::study::Priority;

    use super::*;
    use crate::store::conformance::fixture::{XRAY, plan};

    #[test]
    fn keys_sort_as_what_they_name_and_read_back() {
        let id = |study: &str, number| JobId::new(Uid::parse(study).unwrap(), number);
        let mut ids = vec![id("1.2", 300), id("1.2", 7), id("1.2.3", 0), id("1.20", 0), id("1.10", 2)];
        let mut entries: Vec<_> = [-5, 0, i64::MAX, i64::MIN, 77].into_iter().zip(ids.clone()).collect();
        ids.sort_by_key(job);
        assert!(ids.is_sorted());
        entries.sort_by_key(|(at, id)| timed(*at, id));
        assert!(entries.is_sorted());
        for (at, id) in entries {
            assert_eq!(read_timed(&timed(at, &id)), Some((at, id.clone())));
            let tenant = Tenant::default();
            let mut last = Vec::new();
            for demand in ["", "\tp", "a", "a\tp", "b"].map(|key| Demand::from_key(key).unwrap()) {
                let mut record =
                    JobRecord::new(&plan(id.study(), 1, 0, &[XRAY], Priority::Routine).jobs[0], &tenant, at, 0);
                (record.id, record.demand) = (id.clone(), demand.clone());
                let key = ready(&record);
                assert!(last < key && key < past_queue(XRAY, &tenant, &demand), "{demand}");
                last = past_queue(XRAY, &tenant, &demand);
                assert_eq!(read_ready(&key), Some((tenant.clone(), demand, at, id.clone())));
            }
            assert!(last < queue(XRAY, &Tenant::parse("default2").unwrap(), &Demand::default()));
        }
    }
}
