//! Instances arrive; a study becomes complete.

use prelim_proto::cost::StudyCost;
use prelim_proto::ids::Uid;
use prelim_proto::study::{StudyAttributes, StudyState};

use super::{StoreError, reopen, study};
use crate::queue::head_start_ms;
use crate::store::record::{
    AddInstances, Added, Arrival, Arriving, CompleteStudies, Done, Due, MAX_ASSOCIATIONS, MAX_SENDERS, RequestRecord,
    StudyRecord,
};
use crate::store::records::{Reads, Records, Result};

/// [`crate::store::JobStore::preview_instances`].
pub(crate) fn preview_instances(records: &impl Reads, add: &AddInstances) -> Result<Vec<Added>> {
    let known = records.study(&add.study)?;
    if known.as_ref().is_some_and(|held| held.tenant != add.tenant) {
        return Ok(vec![Added::OtherTenant; add.instances.len()]);
    }
    if known.as_ref().is_some_and(|held| held.state == StudyState::Removing) {
        return Ok(vec![Added::Removing; add.instances.len()]);
    }
    let mut added: Vec<Added> = Vec::with_capacity(add.instances.len());
    for (index, new) in add.instances.iter().enumerate() {
        let uid = &new.instance.uid;
        let held = match records.instance(&add.study, uid)? {
            Some(record) => Some(record.instance.digest),
            None => {
                let earlier = add.instances[..index].iter().find(|record| record.instance.uid == *uid);
                earlier.map(|record| record.instance.digest.clone())
            }
        };
        added.push(match held {
            None => Added::Accepted,
            Some(digest) if digest == new.instance.digest => Added::Duplicate,
            Some(held) => Added::Conflict { held },
        });
    }
    if known.as_ref().is_some_and(|held| held.attributes.is_another_patient(&add.attributes)) {
        for what in added.iter_mut().filter(|what| **what == Added::Accepted) {
            *what = Added::OtherPatient;
        }
    }
    let accepted = count_accepted(&added);
    if accepted == 0 {
        return Ok(added);
    }
    if known.is_none() {
        let (open, of_tenant) = records.open_studies(&add.tenant)?;
        if open >= add.limits.max_open_studies {
            return Err(StoreError::TooManyStudies { limit: add.limits.max_open_studies });
        }
        let limit = add.limits.max_open_of_tenant;
        if of_tenant >= limit {
            return Err(StoreError::TooManyOfTenant { tenant: add.tenant.clone(), limit });
        }
    }
    let held = known.map_or(0, |study| study.instances);
    if held.saturating_add(accepted) > add.limits.max_instances_per_study {
        let limit = add.limits.max_instances_per_study;
        return Err(StoreError::TooManyInstances { study: add.study.clone(), limit });
    }
    Ok(added)
}

fn count_accepted(added: &[Added]) -> u32 {
    added.iter().filter(|what| **what == Added::Accepted).count() as u32
}

/// [`crate::store::JobStore::add_instances`].
pub(crate) fn add_instances(records: &mut impl Records, now_ms: i64, add: &AddInstances) -> Result<Vec<Added>> {
    let added = preview_instances(records, add)?;
    let accepted = count_accepted(&added);
    if accepted == 0 {
        raise_priority(records, now_ms, add)?;
        return Ok(added);
    }
    let mut study = records.study(&add.study)?.unwrap_or_else(|| new_study(add, now_ms));
    for (new, what) in add.instances.iter().zip(&added) {
        if *what == Added::Accepted {
            records.put_instance(&add.study, new)?;
            if let Err(place) = study.modalities.binary_search(&new.modality)
                && !new.modality.is_empty()
            {
                study.modalities.insert(place, new.modality.clone());
            }
        }
    }
    // A cancelled study stays so when the rest of its upload comes in; only a new request opens it.
    if !matches!(study.state, StudyState::Receiving | StudyState::Cancelled) {
        reopen(records, now_ms, &mut study, StudyState::Receiving)?;
    }
    study.arrival.changes += 1;
    study.attributes.fill_from(&add.attributes);
    study.priority = study.priority.max(add.priority);
    study.instances += accepted;
    study.last_instance_at_ms = now_ms;
    study.updated_at_ms = now_ms;
    records.put_study(&study)?;
    Ok(added)
}

/// A study that is wanted sooner than before, though nothing new came, goes ahead with all its jobs, as if it had been
/// wanted so from the beginning. It never falls behind.
fn raise_priority(records: &mut impl Records, now_ms: i64, add: &AddInstances) -> Result<()> {
    let Some(mut study) = records.study(&add.study)? else { return Ok(()) };
    let is_other = study.tenant != add.tenant || study.attributes.is_another_patient(&add.attributes);
    if is_other || study.state == StudyState::Removing || add.priority <= study.priority {
        return Ok(());
    }
    if study.jobs_total > 0 {
        let sooner_ms = head_start_ms(add.priority) - head_start_ms(study.priority);
        study.rank -= sooner_ms;
        for mut job in records.jobs(&study.uid)? {
            job.rank -= sooner_ms;
            records.put_job(&job)?;
        }
    }
    study.priority = add.priority;
    study.updated_at_ms = now_ms;
    records.put_study(&study)
}

pub(crate) fn new_study(add: &AddInstances, now_ms: i64) -> StudyRecord {
    StudyRecord {
        uid: add.study.clone(),
        tenant: add.tenant.clone(),
        state: StudyState::Receiving,
        state_reason: None,
        priority: add.priority,
        received_at_ms: now_ms,
        last_instance_at_ms: now_ms,
        updated_at_ms: now_ms,
        attributes: StudyAttributes::default(),
        instances: 0,
        modalities: Vec::new(),
        generation: 1,
        next_job: 0,
        jobs_total: 0,
        jobs_finished: 0,
        rank: 0,
        merge: None,
        draft_version: 0,
        signed_version: 0,
        draft_objects: Vec::new(),
        summary: None,
        unread: Vec::new(),
        partition_notes: Vec::new(),
        cost: StudyCost::default(),
        arrival: Arrival { opened_at_ms: now_ms, ..Arrival::default() },
        completion: None,
        route: None,
    }
}

/// [`crate::store::JobStore::complete_studies`].
pub(crate) fn complete_studies(records: &mut impl Records, now_ms: i64, request: &CompleteStudies) -> Result<Done> {
    if let Some(id) = &request.request_id
        && let Some(before) = records.request(id)?
    {
        let same = before.studies == request.studies;
        return if same { Ok(Done::Before) } else { Err(StoreError::RequestReused(id.clone())) };
    }
    let studies: Vec<StudyRecord> = request.studies.iter().map(|uid| study(records, uid)).collect::<Result<_>>()?;
    let mut done = Done::Before;
    for mut study in studies {
        match study.state {
            StudyState::Receiving => study.state = StudyState::Complete,
            StudyState::Failed | StudyState::Cancelled | StudyState::Skipped => {
                reopen(records, now_ms, &mut study, StudyState::Complete)?;
            }
            _ => continue,
        }
        study.completion = Some(request.completion.clone());
        study.updated_at_ms = now_ms;
        records.put_study(&study)?;
        done = Done::Now;
    }
    if let Some(id) = &request.request_id {
        records.put_request(id, &RequestRecord { studies: request.studies.clone(), at_ms: now_ms })?;
    }
    Ok(done)
}

/// [`crate::store::JobStore::note_arriving`].
pub(crate) fn note_arriving(records: &mut impl Records, now_ms: i64, uid: &Uid, arriving: &Arriving) -> Result<Done> {
    let mut study = study(records, uid)?;
    let arrival = &mut study.arrival;
    let is_news = match arriving {
        Arriving::Begun { association, sender } => {
            let is_known = arrival.senders.contains(sender) || arrival.senders.len() >= MAX_SENDERS;
            let is_open = arrival.open.contains(association) || arrival.open.len() >= MAX_ASSOCIATIONS;
            if !is_known {
                arrival.senders.insert(sender.clone());
            }
            if !is_open {
                arrival.open.insert(association.clone());
            }
            !is_known || !is_open
        }
        Arriving::Ended { association, whole } => {
            let was_open = arrival.open.remove(association);
            if was_open {
                arrival.ended_at_ms = whole.then_some(now_ms);
            }
            was_open
        }
        Arriving::Expected(instances) => {
            let before = arrival.expected_instances.replace(*instances);
            before != Some(*instances)
        }
    };
    if !is_news {
        return Ok(Done::Before);
    }
    arrival.changes += 1;
    study.updated_at_ms = now_ms;
    records.put_study(&study)?;
    Ok(Done::Now)
}

/// Whether [`complete_due`] would complete the study.
pub(crate) fn is_due(records: &impl Reads, now_ms: i64, due: &Due) -> Result<bool> {
    let study = records.study(&due.study)?;
    let is_it = |study: StudyRecord| study.state == StudyState::Receiving && study.arrival.changes == due.changes;
    Ok(due.at_ms <= now_ms && study.is_some_and(is_it))
}

/// [`crate::store::JobStore::complete_due`].
pub(crate) fn complete_due(records: &mut impl Records, now_ms: i64, due: &[Due]) -> Result<Vec<Uid>> {
    let mut complete = Vec::new();
    for due in due {
        if !is_due(records, now_ms, due)? {
            continue;
        }
        let mut study = study(records, &due.study)?;
        study.state = StudyState::Complete;
        study.completion = Some(due.completion.clone());
        study.updated_at_ms = now_ms;
        records.put_study(&study)?;
        complete.push(due.study.clone());
    }
    Ok(complete)
}
