//! A study goes, in two steps: nothing comes in any more; and, once its bytes are gone, nothing is known of it.

use prelim_proto::ids::Uid;
use prelim_proto::study::StudyState;

use super::{StoreError, study};
use crate::store::record::Done;
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::remove_study`].
pub(crate) fn remove_study(records: &mut impl Records, now_ms: i64, uid: &Uid, updated_at_ms: i64) -> Result<Done> {
    let mut study = study(records, uid)?;
    if study.state == StudyState::Removing {
        return Ok(Done::Before);
    }
    if !study.state.is_settled() {
        return Err(StoreError::WrongState { study: study.uid, state: study.state });
    }
    if study.updated_at_ms != updated_at_ms {
        return Err(StoreError::Outdated(study.uid));
    }
    if records.deliveries(uid)?.iter().any(|delivery| delivery.state.is_open()) {
        return Err(StoreError::Sending(study.uid));
    }
    study.state = StudyState::Removing;
    study.updated_at_ms = now_ms;
    records.put_study(&study)?;
    Ok(Done::Now)
}

/// [`crate::store::JobStore::forget_study`].
pub(crate) fn forget_study(records: &mut impl Records, uid: &Uid) -> Result<Done> {
    let Some(study) = records.study(uid)? else { return Ok(Done::Before) };
    if study.state != StudyState::Removing {
        return Err(StoreError::WrongState { study: study.uid, state: study.state });
    }
    records.remove_study(uid)?;
    Ok(Done::Now)
}
