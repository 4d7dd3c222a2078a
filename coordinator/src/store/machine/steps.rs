//! Performed procedure steps are written, and forgotten in time.

use super::StoreError;
use crate::store::records::{Records, Result};
use crate::store::step::{PutStep, StepRecord};

/// [`crate::store::JobStore::put_step`].
pub(crate) fn put_step(records: &mut impl Records, now_ms: i64, put: &PutStep) -> Result<bool> {
    let held = records.step(&put.step.uid)?;
    if let Some(held) = &held
        && held.write == put.step.write
    {
        return Ok(true);
    }
    if held.as_ref().map(|held| held.revision) != put.after {
        return Ok(false);
    }
    if held.is_none() && records.count_steps()? >= put.max_steps {
        return Err(StoreError::TooManySteps { limit: put.max_steps });
    }
    // Of which studies it is, is said once.
    let studies = held.map_or_else(|| put.step.studies.clone(), |held| held.studies);
    let revision = put.after.unwrap_or(0) + 1;
    let step = StepRecord { studies, revision, changed_at_ms: now_ms, ..put.step.clone() };
    records.put_step(&step)?;
    for uid in &step.studies {
        if let Some(mut study) = records.study(uid)?
            && study.tenant == step.tenant
        {
            study.arrival.changes += 1;
            records.put_study(&study)?;
        }
    }
    Ok(true)
}

/// [`crate::store::JobStore::forget_steps`], for those that changed before `at_ms`.
pub(crate) fn forget_steps(records: &mut impl Records, at_ms: i64) -> Result<u64> {
    let old = records.old_steps(at_ms, usize::MAX)?;
    old.iter().try_for_each(|uid| records.remove_step(uid))?;
    Ok(old.len() as u64)
}
