//! Questions about a study: jobs that take no part in it.

use std::sync::Arc;

use prelim_proto::job::{JobKind, JobState, Lease};
use prelim_proto::study::{Priority, StudyState};

use super::super::Harness;
use super::super::fixture::{CT, XRAY, add, draft, instance, offer, outcome, question, study, wanted};
use super::{lost, named, planned, planned_for, record, take};
use crate::queue::{QUESTION_HEAD_START_MS, Share, Shares, Verdict};
use crate::store::StoreError;
use crate::store::record::{ByKind, Done, LeaseRequest, Reconciled};

const ANSWER: JobKind = JobKind::Answer;

async fn ask(h: &impl Harness, n: u8, question_number: u32) -> Result<Done, StoreError> {
    h.store().ask(question(&study(n), question_number, ""), QUESTION_HEAD_START_MS).await
}

async fn end(h: &impl Harness, lease: &Lease) -> Result<Done, StoreError> {
    h.store().end_question(&lease.job.id, Some(lease.token)).await
}

pub(super) async fn a_question_goes_first_and_changes_nothing_of_its_study(h: &mut impl Harness) {
    let stat = planned(h, 1, &[XRAY, CT], Priority::Stat).await;
    h.advance(5_000);
    let routine = planned_for(h, "east", 2, &[XRAY], Priority::Routine).await;
    let before = record(h, &routine).await;
    assert_eq!(ask(h, 2, 7).await, Ok(Done::Now));
    assert_eq!(ask(h, 2, 7).await, Ok(Done::Before), "asked once");
    let no_question = question(&study(2), 7, "");
    let misfit = prelim_proto::job::JobSpec { kind: XRAY, ..no_question };
    assert!(matches!(h.store().ask(misfit, 0).await, Err(StoreError::Misfit(_))));
    h.reopen().await;
    let depth = h.store().depth().await.unwrap();
    assert_eq!(depth.ready, ByKind { xray: 2, ct: 1, merge: 0, answer: 1 });
    // It goes before a STAT study, to a worker that has another study at hand and whose tenant is at its cap.
    let capped = Share { max_running: Some(0), ..Share::default() };
    let shares = Arc::new(Shares { tenants: [(named("east"), capped)].into(), ..Shares::default() });
    let request = LeaseRequest { held: vec![stat.clone()], shares, ..wanted("w", &[XRAY, CT, ANSWER], 1_000) };
    let lease = h.store().lease(request.clone()).await.unwrap().unwrap();
    assert_eq!((&lease.job, lease.attempt), (&question(&routine, 7, ""), 1));
    assert_eq!(h.store().depth().await.unwrap().leased, ByKind { answer: 1, ..ByKind::default() });
    // The study knows nothing of it, and is read as if it was not there.
    assert_eq!(record(h, &routine).await, before);
    assert_eq!(h.store().jobs(&routine).await.unwrap().len(), 1);
    let misfit = Err(StoreError::Misfit(lease.job.id.to_string()));
    assert_eq!(h.store().complete_job(&lease.job.id, lease.token, outcome(1)).await, misfit);
    assert_eq!(h.store().reconcile().await, Ok(Reconciled::default()));
    assert_eq!(h.store().end_question(&lease.job.id, Some(lease.token)).await, Ok(Done::Now));
    assert_eq!(h.store().job(&lease.job.id).await, Ok(None));
    assert_eq!(record(h, &routine).await, before);
    assert_eq!(take(h, &[ANSWER]).await, None, "it is over");
    let next = h.store().lease(request).await.unwrap().unwrap();
    assert_eq!(next.job.id.study(), &stat);
}

pub(super) async fn a_question_is_fenced_and_tried_again(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY], Priority::Routine).await;
    let read = take(h, &[XRAY]).await.unwrap();
    h.store().complete_job(&read.job.id, read.token, outcome(1)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    h.store().commit_merge(&merge.job.id, merge.token, draft(1)).await.unwrap();
    let before = record(h, &uid).await;
    assert_eq!(ask(h, 1, 0).await, Ok(Done::Now));
    // The worker dies; another gets it.
    let first = take(h, &[ANSWER]).await.unwrap();
    h.advance(1_001);
    let expired = h.store().expired(9).await.unwrap();
    assert_eq!((expired.len(), &expired[0].job), (1, &first.job.id));
    assert_eq!(h.store().expire(&first.job.id, first.token, Verdict::RetryIn(0)).await, Ok(Done::Now));
    let second = take(h, &[ANSWER]).await.unwrap();
    assert_eq!((second.attempt, second.job.id == first.job.id), (2, true));
    assert_eq!(end(h, &first).await, lost(&first));
    assert_eq!(h.store().renew(&first.job.id, first.token, 1_000).await, lost(&first));
    assert_eq!(h.store().renew(&second.job.id, second.token, 1_000).await, Ok(()));
    // It goes wrong, waits and is tried again, and then it is given up: it is no dead letter.
    assert_eq!(h.store().fail_job(&second.job.id, second.token, "broken", Verdict::RetryIn(50)).await, Ok(true));
    assert_eq!(take(h, &[ANSWER]).await, None);
    h.advance(50);
    let third = take(h, &[ANSWER]).await.unwrap();
    assert_eq!(h.store().release(&third.job.id, third.token).await, Ok(Done::Now));
    let third = take(h, &[ANSWER]).await.unwrap();
    assert_eq!(h.store().job(&third.job.id).await.unwrap().unwrap().state, JobState::Leased);
    assert_eq!(h.store().fail_job(&third.job.id, third.token, "broken", Verdict::Dead).await, Ok(false));
    assert_eq!(h.store().job(&third.job.id).await, Ok(None));
    assert_eq!((h.store().dead_jobs(None, 9).await.unwrap().len(), h.store().depth().await.unwrap().dead), (0, 0));
    assert_eq!(end(h, &third).await, Ok(Done::Before));
    assert_eq!(record(h, &uid).await, before, "the study is as it was");
    assert_eq!(h.store().reconcile().await, Ok(Reconciled::default()));
    // One that demands a model goes to who offers it, and one that is withdrawn is lost to its holder.
    h.store().ask(question(&uid, 1, "a"), QUESTION_HEAD_START_MS).await.unwrap();
    assert_eq!(take(h, &[ANSWER]).await, None);
    let of_a = LeaseRequest { offer: offer("a", &[]), ..wanted("w", &[ANSWER], 1_000) };
    let fourth = h.store().lease(of_a).await.unwrap().unwrap();
    assert_eq!(h.store().end_question(&fourth.job.id, None).await, Ok(Done::Now));
    assert_eq!(h.store().renew(&fourth.job.id, fourth.token, 1_000).await, lost(&fourth));
    assert_eq!(h.store().end_question(&read.job.id, None).await, Err(StoreError::Misfit(read.job.id.to_string())));
}

pub(super) async fn a_question_goes_with_its_study(h: &mut impl Harness) {
    assert_eq!(ask(h, 1, 0).await, Err(StoreError::NoStudy(study(1))));
    let uid = planned(h, 1, &[XRAY], Priority::Routine).await;
    // Late images: what is asked of the study as it was is lost.
    ask(h, 1, 0).await.unwrap();
    let lease = take(h, &[ANSWER]).await.unwrap();
    h.store().add_instances(add(&uid, vec![instance(&uid, 2, 2)])).await.unwrap();
    assert_eq!(h.store().renew(&lease.job.id, lease.token, 1_000).await, lost(&lease));
    // A study may be asked about while it is received, and when it was cancelled; cancelling takes what waits.
    ask(h, 1, 1).await.unwrap();
    h.store().cancel_study(&uid, "wrong patient").await.unwrap();
    assert_eq!(take(h, &[ANSWER]).await, None);
    assert_eq!(ask(h, 1, 2).await, Ok(Done::Now));
    let at_ms = record(h, &uid).await.updated_at_ms;
    h.store().remove_study(&uid, at_ms).await.unwrap();
    let refused = StoreError::WrongState { study: uid.clone(), state: StudyState::Removing };
    assert_eq!(ask(h, 1, 3).await, Err(refused));
    h.store().forget_study(&uid).await.unwrap();
    assert_eq!(take(h, &[ANSWER]).await, None);
    assert_eq!(h.store().depth().await.unwrap().ready, ByKind::default());
    assert_eq!(h.store().reconcile().await, Ok(Reconciled::default()));
}
