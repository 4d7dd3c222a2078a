//! Reading records and indexes in a redb transaction of either kind.

use prelim_proto::ids::{JobId, Uid};
use prelim_proto::job::{JobKind, JobOutcome, JobSpec};

use super::keys::{self, Listing};
use super::tables::{self, Definition, Source};
use super::{Transaction, corrupt};
use crate::store::record::{
    DraftRecord, InstanceRecord, JobRecord, QueueDepth, RequestRecord, StudyCursor, StudyQuery, StudyRecord,
};
use crate::store::records::{Reads, Result};

/// The index to walk for a query: the one with the fewest entries, as a guess.
fn listing(query: &StudyQuery) -> Vec<Listing<'_>> {
    if let Some(number) = &query.accession_number {
        return vec![Listing::Accession(number)];
    }
    if let Some(id) = &query.patient_id {
        return vec![Listing::Patient(id)];
    }
    if let Some(date) = &query.study_date {
        return vec![Listing::Date(date)];
    }
    if query.states.is_empty() {
        return vec![Listing::All];
    }
    let mut states = query.states.clone();
    states.sort_by_key(|state| state.as_str());
    states.dedup();
    states.into_iter().map(Listing::State).collect()
}

/// Whether the study is one that the query asks for. An index may be wider than the query.
fn wanted(query: &StudyQuery, study: &StudyRecord) -> bool {
    let is = |wanted: &Option<String>, held: &str| wanted.as_deref().is_none_or(|wanted| wanted == held);
    (query.states.is_empty() || query.states.contains(&study.state))
        && is(&query.patient_id, &study.attributes.patient_id)
        && is(&query.accession_number, &study.attributes.accession_number)
        && is(&query.study_date, &study.attributes.study_date)
}

impl<S: Source> Transaction<S> {
    /// Ids from an index of times, up to `now_ms`.
    fn timed(&self, table: Definition, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        let mut ids = Vec::new();
        tables::scan(&self.0, table, &[], None, |key, _| {
            let (at_ms, id) = keys::read_timed(key).ok_or_else(|| corrupt("time index"))?;
            if at_ms > now_ms || ids.len() >= limit {
                return Ok(false);
            }
            ids.push(id);
            Ok(true)
        })?;
        Ok(ids)
    }
}

impl<S: Source> Reads for Transaction<S> {
    fn study(&self, uid: &Uid) -> Result<Option<StudyRecord>> {
        tables::get(&self.0, tables::STUDIES, &keys::study(uid))
    }

    fn studies(&self, query: &StudyQuery) -> Result<Vec<StudyRecord>> {
        let mut studies: Vec<StudyRecord> = Vec::new();
        for listing in listing(query) {
            let mut found = 0;
            let after = query.after.as_ref().map(|cursor| listing.entry(cursor));
            tables::scan(&self.0, tables::STUDY_INDEX, &listing.prefix(), after.as_deref(), |key, _| {
                if found >= query.limit {
                    return Ok(false);
                }
                let uid = listing.read(key).ok_or_else(|| corrupt("study index"))?;
                let study = self.study(&uid)?.ok_or_else(|| corrupt("study index"))?;
                if wanted(query, &study) {
                    studies.push(study);
                    found += 1;
                }
                Ok(true)
            })?;
        }
        // Each listing is in order; several of them together are not.
        studies.sort_by(|a, b| b.received_at_ms.cmp(&a.received_at_ms).then_with(|| a.uid.cmp(&b.uid)));
        studies.truncate(query.limit);
        Ok(studies)
    }

    fn instance(&self, study: &Uid, instance: &Uid) -> Result<Option<InstanceRecord>> {
        tables::get(&self.0, tables::INSTANCES, &keys::instance(study, instance))
    }

    fn instances(&self, study: &Uid) -> Result<Vec<InstanceRecord>> {
        tables::all(&self.0, tables::INSTANCES, &keys::study(study))
    }

    fn job(&self, id: &JobId) -> Result<Option<JobRecord>> {
        tables::get(&self.0, tables::JOBS, &keys::job(id))
    }

    fn spec(&self, id: &JobId) -> Result<Option<JobSpec>> {
        tables::get(&self.0, tables::SPECS, &keys::job(id))
    }

    fn jobs(&self, study: &Uid) -> Result<Vec<JobRecord>> {
        tables::all(&self.0, tables::JOBS, &keys::study(study))
    }

    fn outcome(&self, id: &JobId) -> Result<Option<JobOutcome>> {
        tables::get(&self.0, tables::OUTCOMES, &keys::job(id))
    }

    fn draft(&self, study: &Uid, version: u32) -> Result<Option<DraftRecord>> {
        tables::get(&self.0, tables::DRAFTS, &keys::draft(study, version))
    }

    fn request(&self, id: &str) -> Result<Option<RequestRecord>> {
        tables::get(&self.0, tables::REQUESTS, id.as_bytes())
    }

    fn first_ready(&self, kind: JobKind) -> Result<Option<(i64, JobId)>> {
        let mut first = None;
        tables::scan(&self.0, tables::READY, &[keys::kind(kind)], None, |key, _| {
            first = Some(keys::read_ready(key).ok_or_else(|| corrupt("ready index"))?);
            Ok(false)
        })?;
        Ok(first)
    }

    fn due(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        self.timed(tables::DELAYED, now_ms, limit)
    }

    fn expired(&self, now_ms: i64, limit: usize) -> Result<Vec<JobId>> {
        self.timed(tables::LEASES, now_ms, limit)
    }

    fn dead(&self, after: Option<&JobId>, limit: usize) -> Result<Vec<JobId>> {
        let mut ids = Vec::new();
        let after = after.map(keys::job);
        tables::scan(&self.0, tables::DEAD, &[], after.as_deref(), |key, _| {
            if ids.len() >= limit {
                return Ok(false);
            }
            ids.push(keys::read_job(key).ok_or_else(|| corrupt("dead letter index"))?);
            Ok(true)
        })?;
        Ok(ids)
    }

    fn depth(&self) -> Result<QueueDepth> {
        let entries = |table, prefix: &[u8]| {
            let mut entries = 0;
            tables::scan(&self.0, table, prefix, None, |_, _| {
                entries += 1;
                Ok(true)
            })?;
            Ok::<u64, crate::store::StoreError>(entries)
        };
        let mut open_studies = 0;
        for state in super::OPEN_STATES {
            open_studies += entries(tables::STUDY_INDEX, &Listing::State(state).prefix())?;
        }
        let delayed = count_kinds(self)?;
        let merges = entries(tables::READY, &[keys::kind(JobKind::Merge)])?;
        Ok(QueueDepth {
            ready: tables::count(&self.0, tables::READY)? - merges + delayed.0,
            ready_merges: merges + delayed.1,
            delayed: delayed.0 + delayed.1,
            leased: tables::count(&self.0, tables::LEASES)?,
            dead: tables::count(&self.0, tables::DEAD)?,
            open_studies,
        })
    }
}

/// Delayed jobs: read jobs and merges. There are few of them.
fn count_kinds<S: Source>(txn: &Transaction<S>) -> Result<(u64, u64)> {
    let (mut reads, mut merges) = (0, 0);
    for id in txn.timed(tables::DELAYED, i64::MAX, usize::MAX)? {
        match txn.job(&id)?.ok_or_else(|| corrupt("delayed index"))?.kind {
            JobKind::Merge => merges += 1,
            JobKind::Read(_) => reads += 1,
        }
    }
    Ok((reads, merges))
}

/// The place of a study in the listings.
pub(super) fn cursor(study: &StudyRecord) -> StudyCursor {
    StudyCursor { received_at_ms: study.received_at_ms, uid: study.uid.clone() }
}
