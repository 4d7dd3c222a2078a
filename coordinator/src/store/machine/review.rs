//! A report is reviewed.

use prelim_proto::ids::Uid;
use prelim_proto::review::Standing;
use prelim_proto::study::StudyState;

use super::deliver::wish;
use super::{StoreError, study};
use crate::store::record::{Done, DraftRecord, Reviewed};
use crate::store::records::{Records, Result};

/// [`crate::store::JobStore::commit_review`].
pub(crate) fn commit_review(records: &mut impl Records, now_ms: i64, uid: &Uid, review: &Reviewed) -> Result<Done> {
    let mut study = study(records, uid)?;
    let newest = records.draft(uid, study.draft_version)?;
    if newest.as_ref().is_some_and(|newest| newest.request == review.request && !review.request.is_empty()) {
        return Ok(Done::Before);
    }
    let wrong_state = |state| StoreError::WrongState { study: uid.clone(), state };
    let newest = newest.filter(|_| study.state.is_reported()).ok_or_else(|| wrong_state(study.state))?;
    if review.version != newest.version + 1 {
        return Err(StoreError::Outdated(study.uid));
    }
    study.state = match (review.standing, study.signed_version) {
        (Standing::Signed, 0) => StudyState::Signed,
        (Standing::Amended, 1..) => StudyState::Amended,
        (Standing::Rejected, 0) if newest.standing == Standing::Draft => StudyState::Rejected,
        // What was signed before stands.
        (Standing::Rejected, signed) if newest.standing == Standing::Draft => {
            match records.draft(uid, signed)?.map(|signed| signed.standing) {
                Some(Standing::Amended) => StudyState::Amended,
                _ => StudyState::Signed,
            }
        }
        (Standing::Rejected, _) => return Err(wrong_state(study.state)),
        _ => return Err(StoreError::Misfit(uid.to_string())),
    };
    let version = review.version;
    let report = DraftRecord {
        version,
        digest: review.digest.clone(),
        size_bytes: review.size_bytes,
        drafted_at_ms: now_ms,
        standing: review.standing,
        request: review.request.clone(),
    };
    records.put_draft(uid, &report)?;
    study.draft_version = version;
    study.draft_objects.clone_from(&review.objects);
    study.summary = Some(review.summary.clone());
    if review.standing.is_signed() {
        study.signed_version = version;
    }
    study.updated_at_ms = now_ms;
    wish(records, now_ms, uid, version, &review.deliveries, false)?;
    records.put_study(&study)?;
    Ok(Done::Now)
}
