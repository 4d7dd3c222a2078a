//! What is promised of reports that are reviewed.

use prelim_proto::ids::Uid;
use prelim_proto::job::JobKind;
use prelim_proto::review::Standing;
use prelim_proto::study::{Priority, StudyState};

use super::super::Harness;
use super::super::fixture::{XRAY, add, complete, digest, draft, instance, outcome, plan, reviewed, summary};
use super::deliveries::drafted;
use super::take;
use crate::store::StoreError;
use crate::store::delivery::DeliveryState;
use crate::store::record::{Done, Reviewed, StudyRecord};

async fn review(h: &impl Harness, uid: &Uid, review: Reviewed) -> Result<Done, StoreError> {
    h.store().commit_review(uid, review).await
}

async fn record(h: &impl Harness, uid: &Uid) -> StudyRecord {
    h.store().study(uid).await.unwrap().unwrap()
}

pub(super) async fn a_signed_version_stays_and_an_amendment_takes_its_place(h: &mut impl Harness) {
    let uid = drafted(h, 1).await;
    let signed = || reviewed(2, Standing::Signed, "first");
    assert_eq!(review(h, &uid, signed()).await, Ok(Done::Now));
    h.reopen().await;
    // A repeated request changes nothing, whatever it would have brought.
    assert_eq!(review(h, &uid, signed()).await, Ok(Done::Before));
    assert_eq!(review(h, &uid, reviewed(9, Standing::Rejected, "first")).await, Ok(Done::Before));
    let after = record(h, &uid).await;
    assert_eq!((after.state, after.draft_version, after.signed_version), (StudyState::Signed, 2, 2));
    assert_eq!(after.draft_objects, ["sr", "assessment"]);
    assert_eq!(after.summary, Some(summary(2)));
    // Who reviewed the draft at the same time comes late, and what was signed can be amended only.
    let outdated = Err(StoreError::Outdated(uid.clone()));
    assert_eq!(review(h, &uid, reviewed(2, Standing::Signed, "other")).await, outdated);
    let state = StudyState::Signed;
    let refused = Err(StoreError::WrongState { study: uid.clone(), state });
    assert_eq!(review(h, &uid, reviewed(3, Standing::Rejected, "other")).await, refused);
    assert_eq!(review(h, &uid, reviewed(3, Standing::Signed, "other")).await, Err(StoreError::Misfit(uid.to_string())));
    assert_eq!(review(h, &uid, reviewed(3, Standing::Amended, "second")).await, Ok(Done::Now));
    let after = record(h, &uid).await;
    assert_eq!((after.state, after.draft_version, after.signed_version), (StudyState::Amended, 3, 3));
    let versions = [(1, Standing::Draft, 1), (2, Standing::Signed, 102), (3, Standing::Amended, 103)];
    for (version, standing, bytes) in versions {
        let held = h.store().draft(&uid, Some(version)).await.unwrap().unwrap();
        assert_eq!((held.standing, held.digest), (standing, digest(bytes)), "version {version}");
    }
    // Each version has deliveries of its own.
    let held = h.store().deliveries(&uid).await.unwrap();
    let told: Vec<_> = held.iter().map(|each| (each.key.version, &*each.key.destination, each.state)).collect();
    let waiting = DeliveryState::Waiting;
    assert_eq!(told, [(1, "archive", waiting), (1, "pacs", waiting), (2, "pacs", waiting), (3, "pacs", waiting)]);
}

pub(super) async fn only_what_is_drafted_is_reviewed(h: &mut impl Harness) {
    let uid = drafted(h, 1).await;
    assert_eq!(
        review(h, &uid, reviewed(2, Standing::Amended, "a")).await,
        Err(StoreError::Misfit(uid.to_string())),
        "nothing was signed before"
    );
    assert_eq!(review(h, &uid, reviewed(2, Standing::Rejected, "b")).await, Ok(Done::Now));
    assert_eq!(record(h, &uid).await.state, StudyState::Rejected);
    // Late instances: the study is read again, and what was reviewed is kept.
    h.store().add_instances(add(&uid, vec![instance(&uid, 7, 0)])).await.unwrap();
    let receiving = Err(StoreError::WrongState { study: uid.clone(), state: StudyState::Receiving });
    assert_eq!(review(h, &uid, reviewed(3, Standing::Signed, "c")).await, receiving);
    assert_eq!(h.store().draft(&uid, Some(2)).await.unwrap().unwrap().standing, Standing::Rejected);
    let nobody = Uid::parse("1.2.99").unwrap();
    assert_eq!(review(h, &nobody, reviewed(1, Standing::Signed, "d")).await, Err(StoreError::NoStudy(nobody.clone())));
}

pub(super) async fn what_was_signed_stands_when_a_later_draft_is_rejected(h: &mut impl Harness) {
    let uid = drafted(h, 1).await;
    assert_eq!(review(h, &uid, reviewed(2, Standing::Signed, "a")).await, Ok(Done::Now));
    assert_eq!(record(h, &uid).await.standing_version(), 2);
    let late = async |n: u8, version: u32, state: StudyState| {
        h.store().add_instances(add(&uid, vec![instance(&uid, n, 0)])).await.unwrap();
        draft_again(h, &uid, version).await;
        let rejected = reviewed(version + 1, Standing::Rejected, &format!("late {n}"));
        assert_eq!(review(h, &uid, rejected).await, Ok(Done::Now));
        let after = record(h, &uid).await;
        assert_eq!((after.state, after.draft_version), (state, version + 1));
        assert_eq!(after.standing_version(), after.signed_version);
    };
    late(3, 3, StudyState::Signed).await;
    // What stands can be amended.
    assert_eq!(review(h, &uid, reviewed(5, Standing::Amended, "b")).await, Ok(Done::Now));
    late(4, 6, StudyState::Amended).await;
}

/// A study that was opened again gets the next version of its draft.
async fn draft_again(h: &impl Harness, uid: &Uid, version: u32) {
    h.store().complete_studies(complete(uid, None)).await.unwrap();
    let study = record(h, uid).await;
    h.store().plan_study(uid, plan(uid, study.generation, study.next_job, &[XRAY], Priority::Routine)).await.unwrap();
    let lease = take(h, &[XRAY]).await.unwrap();
    h.store().complete_job(&lease.job.id, lease.token, outcome(1)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    assert_eq!(h.store().commit_merge(&merge.job.id, merge.token, draft(version)).await, Ok(Done::Now));
}

pub(super) async fn a_rejected_draft_can_be_signed_after_all(h: &mut impl Harness) {
    let uid = drafted(h, 1).await;
    assert_eq!(review(h, &uid, reviewed(2, Standing::Rejected, "a")).await, Ok(Done::Now));
    assert_eq!(
        review(h, &uid, reviewed(3, Standing::Rejected, "b")).await,
        Err(StoreError::WrongState { study: uid.clone(), state: StudyState::Rejected })
    );
    assert_eq!(review(h, &uid, reviewed(3, Standing::Signed, "c")).await, Ok(Done::Now));
    let after = record(h, &uid).await;
    assert_eq!((after.state, after.signed_version), (StudyState::Signed, 3));
}
