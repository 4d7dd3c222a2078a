//! One case a guarantee.

use std::future::Future;
use std::pin::Pin;

use std::sync::Arc;

use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobState, Lease};
use prelim_proto::study::{Priority, StudyState};

use super::fixture::{CT, XRAY, add, complete, digest, draft, instance, outcome, plan, study, wanted};
use super::{Harness, steps, workers};
use crate::queue::{LOCALITY_MS, Share, Shares, Verdict, head_start_ms};
use crate::store::StoreError;
use crate::store::record::{
    AddInstances, Added, Done, JobRecord, LeaseRequest, Merged, Reconciled, StudyCursor, StudyQuery, StudyRecord,
};

mod deliveries;
mod demands;
mod questions;
mod reviews;

pub(super) type Case<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs every case, each on a store of its own.
pub(super) async fn run_all<H: Harness>(factory: &impl AsyncFn() -> H) {
    let cases: [for<'a> fn(&'a mut H) -> Case<'a>; 38] = [
        |h| Box::pin(the_same_instance_twice_is_the_same_instance(h)),
        |h| Box::pin(another_patient_is_kept_out_of_a_study(h)),
        |h| Box::pin(limits_refuse_and_change_nothing(h)),
        |h| Box::pin(a_repeated_request_changes_nothing(h)),
        |h| Box::pin(a_plan_is_taken_once_and_only_for_its_generation(h)),
        |h| Box::pin(jobs_are_leased_by_rank_and_kind(h)),
        |h| Box::pin(a_study_sent_again_as_urgent_goes_ahead(h)),
        |h| Box::pin(only_the_holder_of_the_newest_lease_may_commit(h)),
        |h| Box::pin(a_commit_may_be_repeated(h)),
        |h| Box::pin(a_failed_job_waits_and_then_dies(h)),
        |h| Box::pin(the_last_job_enqueues_one_merge(h)),
        |h| Box::pin(a_study_knows_what_it_cost(h)),
        |h| Box::pin(a_dead_letter_can_be_requeued(h)),
        |h| Box::pin(cancelling_takes_the_leases(h)),
        |h| Box::pin(a_late_instance_leads_to_a_second_draft(h)),
        |h| Box::pin(studies_are_listed_newest_first(h)),
        |h| Box::pin(a_preview_says_what_adding_would_and_changes_nothing(h)),
        |h| Box::pin(tenants_share_the_workers_and_see_nothing_of_each_other(h)),
        |h| Box::pin(a_tenant_stays_below_its_caps(h)),
        |h| Box::pin(a_repeated_request_for_work_gets_the_same_lease(h)),
        |h| Box::pin(a_worker_is_preferred_for_studies_that_it_has(h)),
        |h| Box::pin(deliveries::a_draft_brings_its_deliveries(h)),
        |h| Box::pin(deliveries::a_delivery_is_fenced_and_made_at_least_once(h)),
        |h| Box::pin(reviews::a_signed_version_stays_and_an_amendment_takes_its_place(h)),
        |h| Box::pin(reviews::only_what_is_drafted_is_reviewed(h)),
        |h| Box::pin(reviews::a_rejected_draft_can_be_signed_after_all(h)),
        |h| Box::pin(reviews::what_was_signed_stands_when_a_later_draft_is_rejected(h)),
        |h| Box::pin(workers::workers_are_known_drained_and_forgotten(h)),
        |h| Box::pin(workers::two_processes_of_one_name_are_told_apart(h)),
        |h| Box::pin(an_attempt_waits_from_when_it_was_ready(h)),
        |h| Box::pin(demands::a_job_goes_to_a_worker_that_offers_what_it_demands(h)),
        |h| Box::pin(demands::queues_of_demands_are_one_line(h)),
        |h| Box::pin(demands::what_waits_for_a_model_is_told_apart(h)),
        |h| Box::pin(questions::a_question_goes_first_and_changes_nothing_of_its_study(h)),
        |h| Box::pin(questions::a_question_is_fenced_and_tried_again(h)),
        |h| Box::pin(questions::a_question_goes_with_its_study(h)),
        |h| Box::pin(steps::a_step_is_written_over_the_revision_that_was_read(h)),
        |h| Box::pin(steps::a_step_that_changes_voids_what_was_decided_of_its_studies(h)),
    ];
    for case in
        super::arriving::cases().into_iter().chain(super::worklist::cases()).chain(super::notes::cases()).chain(cases)
    {
        case(&mut factory().await).await;
    }
}

/// A planned study with jobs of these kinds.
async fn planned(h: &impl Harness, n: u8, kinds: &[JobKind], priority: Priority) -> Uid {
    planned_for(h, "default", n, kinds, priority).await
}

async fn planned_for(h: &impl Harness, tenant: &str, n: u8, kinds: &[JobKind], priority: Priority) -> Uid {
    let (store, uid) = (h.store(), study(n));
    let whole = AddInstances { tenant: named(tenant), ..add(&uid, vec![instance(&uid, 1, 1)]) };
    assert_eq!(store.add_instances(whole).await.unwrap(), [Added::Accepted]);
    assert_eq!(store.complete_studies(complete(&uid, None)).await, Ok(Done::Now));
    assert_eq!(store.plan_study(&uid, plan(&uid, 1, 0, kinds, priority)).await, Ok(Done::Now));
    uid
}

async fn take(h: &impl Harness, kinds: &[JobKind]) -> Option<Lease> {
    h.store().lease(wanted("w", kinds, 1_000)).await.unwrap()
}

fn named(tenant: &str) -> Tenant {
    Tenant::parse(tenant).unwrap()
}

async fn job(h: &impl Harness, id: &JobId) -> JobRecord {
    h.store().job(id).await.unwrap().unwrap()
}

pub(super) async fn record(h: &impl Harness, uid: &Uid) -> StudyRecord {
    h.store().study(uid).await.unwrap().unwrap()
}

fn lost<T>(lease: &Lease) -> Result<T, StoreError> {
    Err(StoreError::LeaseLost { job: lease.job.id.clone(), token: lease.token })
}

async fn the_same_instance_twice_is_the_same_instance(h: &mut impl Harness) {
    let (store, uid) = (h.store(), study(1));
    let batch = vec![instance(&uid, 1, 1), instance(&uid, 1, 1), instance(&uid, 1, 2), instance(&uid, 2, 1)];
    let conflict = Added::Conflict { held: digest(1) };
    assert_eq!(
        store.add_instances(add(&uid, batch.clone())).await.unwrap(),
        [Added::Accepted, Added::Duplicate, conflict.clone(), Added::Accepted]
    );
    h.reopen().await;
    let again = h.store().add_instances(add(&uid, batch)).await.unwrap();
    assert_eq!(again, [Added::Duplicate, Added::Duplicate, conflict, Added::Duplicate]);
    assert_eq!(record(h, &uid).await.instances, 2);
    assert_eq!(h.store().instances(&uid).await.unwrap(), [instance(&uid, 1, 1), instance(&uid, 2, 1)]);
}

async fn limits_refuse_and_change_nothing(h: &mut impl Harness) {
    let store = h.store();
    let mut first = add(&study(1), vec![instance(&study(1), 1, 1)]);
    first.limits.max_open_studies = 1;
    first.limits.max_instances_per_study = 1;
    store.add_instances(first.clone()).await.unwrap();
    let second = AddInstances { study: study(2), ..first.clone() };
    assert_eq!(store.add_instances(second).await, Err(StoreError::TooManyStudies { limit: 1 }));
    first.instances = vec![instance(&study(1), 2, 1)];
    assert_eq!(store.add_instances(first).await, Err(StoreError::TooManyInstances { study: study(1), limit: 1 }));
    assert_eq!(store.study(&study(2)).await, Ok(None));
    assert_eq!(record(h, &study(1)).await.instances, 1);
}

async fn a_repeated_request_changes_nothing(h: &mut impl Harness) {
    let (store, uid) = (h.store(), study(1));
    assert_eq!(store.complete_studies(complete(&uid, Some("r"))).await, Err(StoreError::NoStudy(uid.clone())));
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    assert_eq!(store.complete_studies(complete(&uid, Some("r"))).await, Ok(Done::Now));
    assert_eq!(store.cancel_study(&uid, "not wanted").await, Ok(Done::Now));
    h.reopen().await;
    assert_eq!(h.store().complete_studies(complete(&uid, Some("r"))).await, Ok(Done::Before));
    assert_eq!(record(h, &uid).await.state, StudyState::Cancelled);
    assert_eq!(
        h.store().complete_studies(complete(&study(2), Some("r"))).await,
        Err(StoreError::RequestReused("r".into()))
    );
    // Another request opens the cancelled study again.
    assert_eq!(h.store().complete_studies(complete(&uid, Some("s"))).await, Ok(Done::Now));
    assert_eq!(record(h, &uid).await.state, StudyState::Complete);
    h.advance(10);
    assert_eq!(h.store().forget_requests(5).await, Ok(2));
    assert_eq!(h.store().complete_studies(complete(&uid, Some("r"))).await, Ok(Done::Before));
}

async fn a_plan_is_taken_once_and_only_for_its_generation(h: &mut impl Harness) {
    let (store, uid) = (h.store(), study(1));
    let good = plan(&uid, 1, 0, &[XRAY], Priority::Routine);
    store.add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
    let early = store.plan_study(&uid, good.clone()).await;
    assert_eq!(early, Err(StoreError::WrongState { study: uid.clone(), state: StudyState::Receiving }));
    store.complete_studies(complete(&uid, None)).await.unwrap();
    let old = plan(&uid, 0, 0, &[XRAY], Priority::Routine);
    assert_eq!(store.plan_study(&uid, old).await, Err(StoreError::Outdated(uid.clone())));
    let misnumbered = plan(&uid, 1, 3, &[XRAY], Priority::Routine);
    assert!(matches!(store.plan_study(&uid, misnumbered).await, Err(StoreError::Misfit(_))));
    assert_eq!(store.plan_study(&uid, good.clone()).await, Ok(Done::Now));
    assert_eq!(store.plan_study(&uid, good).await, Ok(Done::Before));
    h.reopen().await;
    let jobs = h.store().jobs(&uid).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(record(h, &uid).await.state, StudyState::Queued);
    assert_eq!(record(h, &uid).await.unread.len(), 1);

    // A study with nothing to read fails with the reason.
    let other = study(2);
    store_empty(h, &other).await;
    let failed = record(h, &other).await;
    assert_eq!((failed.state, failed.state_reason.as_deref()), (StudyState::Failed, Some("nothing to read")));
}

async fn store_empty(h: &impl Harness, uid: &Uid) {
    let store = h.store();
    store.add_instances(add(uid, vec![instance(uid, 1, 1)])).await.unwrap();
    store.complete_studies(complete(uid, None)).await.unwrap();
    store.plan_study(uid, plan(uid, 1, 0, &[], Priority::Routine)).await.unwrap();
}

async fn jobs_are_leased_by_rank_and_kind(h: &mut impl Harness) {
    let routine = planned(h, 1, &[XRAY, XRAY], Priority::Routine).await;
    h.advance(1_000);
    let ct = planned(h, 2, &[CT], Priority::Routine).await;
    h.advance(1_000);
    let stat = planned(h, 3, &[XRAY], Priority::Stat).await;
    type Asked<'a> = (&'a [JobKind], Option<(&'a Uid, u32)>);
    let order: [Asked<'_>; 7] = [
        (&[JobKind::Merge], None),
        (&[XRAY], Some((&stat, 0))),
        (&[CT], Some((&ct, 0))),
        (&[CT], None),
        (&[XRAY, CT], Some((&routine, 0))),
        (&[CT, XRAY], Some((&routine, 1))),
        (&[CT, XRAY, JobKind::Merge], None),
    ];
    let mut last = FencingToken(0);
    for (kinds, want) in order {
        let got = take(h, kinds).await;
        assert_eq!(got.as_ref().map(|lease| (lease.job.id.study(), lease.job.id.number())), want);
        if let Some(lease) = got {
            assert!(lease.token > last, "tokens grow");
            last = lease.token;
        }
    }
    assert_eq!(record(h, &ct).await.state, StudyState::Reading);
    let depth = h.store().depth().await.unwrap();
    assert_eq!((depth.ready.reads(), depth.leased.xray, depth.leased.ct, depth.open_studies), (0, 3, 1, 3));
}

async fn a_study_sent_again_as_urgent_goes_ahead(h: &mut impl Harness) {
    let first = planned(h, 1, &[XRAY; 2], Priority::Routine).await;
    h.advance(10);
    let hurried = planned(h, 2, &[XRAY; 3], Priority::Routine).await;
    // One job of it runs, one waits for its time after a failure, one waits.
    let (a, b) = (take(h, &[XRAY]).await.unwrap(), take(h, &[XRAY]).await.unwrap());
    assert_eq!((a.job.id.study(), b.job.id.study()), (&first, &first));
    let (running, failed) = (take(h, &[XRAY]).await.unwrap(), take(h, &[XRAY]).await.unwrap());
    h.store().fail_job(&failed.job.id, failed.token, "no luck", Verdict::RetryIn(50)).await.unwrap();
    h.store().release(&a.job.id, a.token).await.unwrap();
    let before = record(h, &hurried).await;

    let again = |priority, n: u8| AddInstances { priority, ..add(&hurried, vec![instance(&hurried, n, 1)]) };
    h.advance(5);
    let stat = again(Priority::Stat, 1);
    assert_eq!(h.store().preview_instances(stat.clone()).await.unwrap(), [Added::Duplicate]);
    let other = AddInstances { tenant: named("other"), ..stat.clone() };
    assert_eq!(h.store().add_instances(other).await.unwrap(), [Added::OtherTenant]);
    assert_eq!(record(h, &hurried).await, before, "neither a look nor another tenant hurries a study");
    assert_eq!(h.store().add_instances(stat).await.unwrap(), [Added::Duplicate]);
    h.reopen().await;
    let after = record(h, &hurried).await;
    assert_eq!((after.priority, after.state), (Priority::Stat, StudyState::Reading));
    assert_eq!((after.rank, after.generation), (before.rank - head_start_ms(Priority::Stat), before.generation));
    for (job, ..) in h.store().jobs(&hurried).await.unwrap() {
        assert_eq!(job.rank, after.rank, "job {}", job.id.number());
    }
    // Less is no reason to fall behind, with instances or without.
    let routine = AddInstances { instances: Vec::new(), ..again(Priority::Urgent, 1) };
    assert_eq!(h.store().add_instances(routine).await.unwrap(), []);
    assert_eq!(record(h, &hurried).await, after);

    let next = take(h, &[XRAY]).await.unwrap();
    assert_eq!((next.job.id.study(), next.job.id.number()), (&hurried, 2));
    h.advance(50);
    let late = take(h, &[XRAY]).await.unwrap();
    assert_eq!(late.job.id, failed.job.id, "a job whose time came later goes ahead, too");
    h.store().renew(&running.job.id, running.token, 1_000).await.unwrap();
    assert_eq!(h.store().reconcile().await.unwrap(), Reconciled::default());
    // One that waits for its instances, or its plan, is hurried without jobs.
    let open = study(3);
    h.store().add_instances(add(&open, vec![instance(&open, 1, 1)])).await.unwrap();
    let urgent = AddInstances { priority: Priority::Urgent, instances: Vec::new(), ..add(&open, Vec::new()) };
    h.store().add_instances(urgent).await.unwrap();
    assert_eq!((record(h, &open).await.priority, record(h, &open).await.rank), (Priority::Urgent, 0));
}

async fn only_the_holder_of_the_newest_lease_may_commit(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY], Priority::Routine).await;
    let first = take(h, &[XRAY]).await.unwrap();
    let (id, store) = (first.job.id.clone(), h.store());
    h.advance(999);
    assert_eq!(store.expired(10).await.unwrap(), []);
    assert_eq!(store.expire(&id, first.token, Verdict::Dead).await, Ok(Done::Before));
    assert_eq!(store.renew(&id, first.token, 1_000).await, Ok(()));
    h.advance(1_000);
    assert_eq!(store.expired(10).await.unwrap().len(), 1);
    assert_eq!(store.expire(&id, first.token, Verdict::RetryIn(0)).await, Ok(Done::Now));
    assert_eq!(store.expire(&id, first.token, Verdict::RetryIn(0)).await, Ok(Done::Before));
    assert_eq!(store.renew(&id, first.token, 1_000).await, lost(&first));

    let second = take(h, &[XRAY]).await.unwrap();
    assert_eq!((second.attempt, second.job.id == id, second.token > first.token), (2, true, true));
    h.reopen().await;
    let store = h.store();
    assert_eq!(store.complete_job(&id, first.token, outcome(1)).await, lost(&first));
    assert_eq!(store.fail_job(&id, first.token, "late", Verdict::Dead).await, lost(&first));
    assert_eq!(store.release(&id, first.token).await, lost(&first));
    assert_eq!(store.complete_job(&id, second.token, outcome(2)).await, Ok(Done::Now));
    assert_eq!(store.complete_job(&id, first.token, outcome(1)).await, lost(&first));
    let jobs = store.jobs(&uid).await.unwrap();
    assert_eq!(jobs[0].2, Some(outcome(2)));
    // A lease that ran out but was not taken back is still good for a commit.
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    h.advance(5_000);
    assert_eq!(store.commit_merge(&merge.job.id, merge.token, draft(1)).await, Ok(Done::Now));
}

async fn a_commit_may_be_repeated(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY, XRAY, XRAY], Priority::Routine).await;
    let store = h.store();
    let done = take(h, &[XRAY]).await.unwrap();
    for want in [Done::Now, Done::Before, Done::Before] {
        assert_eq!(store.complete_job(&done.job.id, done.token, outcome(1)).await, Ok(want));
    }
    let failed = take(h, &[XRAY]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.fail_job(&failed.job.id, failed.token, "no", Verdict::RetryIn(10)).await, Ok(true));
    }
    assert_eq!(job(h, &failed.job.id).await.failures.len(), 1);
    let released = take(h, &[XRAY]).await.unwrap();
    for want in [Done::Now, Done::Before] {
        assert_eq!(store.release(&released.job.id, released.token).await, Ok(want));
    }
    assert_eq!(job(h, &released.job.id).await.attempts, 0);
    assert_eq!(record(h, &uid).await.jobs_finished, 1);
    let wrong = store.commit_merge(&done.job.id, done.token, draft(1)).await;
    assert!(matches!(wrong, Ok(Done::Before) | Err(_)), "a read job has no draft");
    assert_eq!(record(h, &uid).await.draft_version, 0);
}

async fn a_failed_job_waits_and_then_dies(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY], Priority::Routine).await;
    let store = h.store();
    let lease = take(h, &[XRAY]).await.unwrap();
    assert_eq!(store.fail_job(&lease.job.id, lease.token, "busy", Verdict::RetryIn(500)).await, Ok(true));
    h.advance(499);
    assert_eq!(take(h, &[XRAY]).await, None);
    assert_eq!(store.depth().await.unwrap().delayed, 1);
    h.advance(1);
    let lease = take(h, &[XRAY]).await.unwrap();
    assert_eq!(store.fail_job(&lease.job.id, lease.token, "corrupt", Verdict::Dead).await, Ok(false));
    let dead = store.dead_jobs(None, 10).await.unwrap();
    let reasons: Vec<_> = dead[0].failures.iter().map(|failure| (failure.attempt, failure.reason.as_str())).collect();
    assert_eq!(reasons, [(1, "busy"), (2, "corrupt")]);
    // A dead job counts as finished: the study is merged without it.
    assert_eq!(record(h, &uid).await.jobs_finished, 1);
    assert!(take(h, &[JobKind::Merge]).await.is_some());
}

async fn an_attempt_waits_from_when_it_was_ready(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY], Priority::Routine).await;
    h.advance(30);
    let first = take(h, &[XRAY]).await.unwrap();
    assert_eq!((first.waited_ms, first.attempt_waited_ms), (30, 30));
    h.advance(500);
    h.store().fail_job(&first.job.id, first.token, "no luck", Verdict::RetryIn(50)).await.unwrap();
    h.advance(60);
    let second = h.store().lease(LeaseRequest { request: "r".into(), ..wanted("w", &[XRAY], 1_000) }).await;
    let second = second.unwrap().unwrap();
    assert_eq!(second.job.id.study(), &uid);
    assert_eq!((second.attempt, second.waited_ms, second.attempt_waited_ms), (2, 40, 10), "the pause is no wait");
    let again = LeaseRequest { request: "r".into(), repeats: true, ..wanted("w", &[XRAY], 1_000) };
    let again = h.store().lease(again).await.unwrap().unwrap();
    assert_eq!((again.waited_ms, again.attempt_waited_ms), (40, 0));
}

async fn the_last_job_enqueues_one_merge(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY, XRAY], Priority::Routine).await;
    let store = h.store();
    let (first, second) = (take(h, &[XRAY]).await.unwrap(), take(h, &[XRAY]).await.unwrap());
    store.complete_job(&first.job.id, first.token, outcome(1)).await.unwrap();
    assert_eq!(record(h, &uid).await.merge, None);
    assert_eq!(take(h, &[JobKind::Merge]).await, None);
    for _ in 0..2 {
        store.complete_job(&second.job.id, second.token, outcome(2)).await.unwrap();
    }
    assert_eq!(store.depth().await.unwrap().ready.merge, 1);
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    assert_eq!(take(h, &[JobKind::Merge]).await, None);
    let direct = store.complete_job(&merge.job.id, merge.token, outcome(3)).await;
    assert!(matches!(direct, Err(StoreError::Misfit(_))));
    let skipped = store.commit_merge(&merge.job.id, merge.token, draft(2)).await;
    assert_eq!(skipped, Err(StoreError::Outdated(uid.clone())));
    h.reopen().await;
    for want in [Done::Now, Done::Before] {
        assert_eq!(h.store().commit_merge(&merge.job.id, merge.token, draft(1)).await, Ok(want));
    }
    let drafted = record(h, &uid).await;
    assert_eq!((drafted.state, drafted.draft_version), (StudyState::Drafted, 1));
    assert_eq!(drafted.cost.jobs.generated_tokens, 3);
    assert_eq!(h.store().draft(&uid, None).await.unwrap().unwrap().digest, digest(1));
    assert_eq!(h.store().reconcile().await, Ok(Reconciled::default()));
}

async fn another_patient_is_kept_out_of_a_study(h: &mut impl Harness) {
    let (store, uid) = (h.store(), study(1));
    let sent = |patient_id: &str, name: &str, n| {
        let mut add = add(&uid, vec![instance(&uid, n, 1)]);
        add.attributes.patient_id = patient_id.into();
        add.attributes.patient_name = name.into();
        add
    };
    assert_eq!(store.add_instances(sent("A", "", 1)).await.unwrap(), [Added::Accepted]);
    assert_eq!(store.add_instances(sent("B", "Other^Bob", 2)).await.unwrap(), [Added::OtherPatient]);
    // What is empty says nothing, and is filled; an id that agrees outweighs a name spelt anew.
    assert_eq!(store.add_instances(sent("", "Doe^Jane", 3)).await.unwrap(), [Added::Accepted]);
    assert_eq!(store.add_instances(sent("", "Other^Bob", 4)).await.unwrap(), [Added::OtherPatient]);
    assert_eq!(store.add_instances(sent("A", "Doe^Jane^M", 5)).await.unwrap(), [Added::Accepted]);
    // Lists grow by what each object adds, and have an end.
    let naming = |names: &str, n| {
        let mut add = sent("A", "", n);
        add.attributes.other_names = names.into();
        add
    };
    let long = "x".repeat(prelim_proto::study::MAX_LISTED_BYTES - 4);
    for (names, n) in [("Roe^Al", 6), ("Poe^Ed\nRoe^Al", 7), (long.as_str(), 8), ("Roe^A", 9)] {
        assert_eq!(store.add_instances(naming(names, n)).await.unwrap(), [Added::Accepted]);
    }
    h.reopen().await;
    let held = record(h, &uid).await;
    assert_eq!(held.attributes.other_names, "Roe^Al\nPoe^Ed\nRoe^A");
    assert_eq!((held.attributes.patient_id.as_str(), held.attributes.patient_name.as_str()), ("A", "Doe^Jane"));
    assert_eq!(held.instances, 7);
}

async fn a_study_knows_what_it_cost(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY, XRAY], Priority::Routine).await;
    h.advance(7);
    let first = take(h, &[XRAY]).await.unwrap();
    h.advance(10);
    let store = h.store();
    store.complete_job(&first.job.id, first.token, outcome(1)).await.unwrap();
    let second = take(h, &[XRAY]).await.unwrap();
    // An attempt that fails is not counted, nor is the pause after it; that its job waits again is.
    store.fail_job(&second.job.id, second.token, "no", Verdict::RetryIn(20)).await.unwrap();
    h.advance(30);
    let second = take(h, &[XRAY]).await.unwrap();
    store.complete_job(&second.job.id, second.token, outcome(2)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    h.advance(5);
    h.reopen().await;
    h.store().commit_merge(&merge.job.id, merge.token, draft(1)).await.unwrap();
    let cost = record(h, &uid).await.cost;
    assert_eq!((cost.jobs.prompt_tokens, cost.jobs.generated_tokens), (200, 3));
    assert_eq!((cost.queue_ms, cost.report_ms), (7.0 + 17.0 + 10.0, 5.0));
}

async fn a_dead_letter_can_be_requeued(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY, XRAY], Priority::Routine).await;
    let store = h.store();
    let (first, second) = (take(h, &[XRAY]).await.unwrap(), take(h, &[XRAY]).await.unwrap());
    store.complete_job(&first.job.id, first.token, outcome(1)).await.unwrap();
    assert_eq!(store.requeue_job(&second.job.id).await, Ok(Done::Before));
    store.fail_job(&second.job.id, second.token, "no", Verdict::Dead).await.unwrap();
    let stale = take(h, &[JobKind::Merge]).await.unwrap();
    for want in [Done::Now, Done::Before] {
        assert_eq!(store.requeue_job(&second.job.id).await, Ok(want));
    }
    // The merge that did not know the job is withdrawn.
    let refused = store.commit_merge(&stale.job.id, stale.token, draft(1)).await;
    assert_eq!(refused, Err(StoreError::Cancelled(stale.job.id.clone())));
    let again = take(h, &[XRAY]).await.unwrap();
    assert_eq!((&again.job.id, again.attempt), (&second.job.id, 1));
    store.complete_job(&again.job.id, again.token, outcome(2)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    assert_ne!(merge.job.id, stale.job.id);
    assert_eq!(store.commit_merge(&merge.job.id, merge.token, draft(1)).await, Ok(Done::Now));

    // A merge that dies fails the study, and can be requeued as well.
    let other = planned(h, 2, &[XRAY], Priority::Routine).await;
    let read = take(h, &[XRAY]).await.unwrap();
    store.complete_job(&read.job.id, read.token, outcome(3)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    store.fail_job(&merge.job.id, merge.token, "no space", Verdict::Dead).await.unwrap();
    assert_eq!(record(h, &other).await.state, StudyState::Failed);
    assert_eq!(store.requeue_job(&merge.job.id).await, Ok(Done::Now));
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    let nothing = Merged::Nothing { reason: "nothing read".into(), unread: Vec::new() };
    assert_eq!(store.commit_merge(&merge.job.id, merge.token, nothing).await, Ok(Done::Now));
    assert_eq!(record(h, &other).await.state_reason.as_deref(), Some("nothing read"));
    assert_eq!(record(h, &uid).await.state, StudyState::Drafted);
}

async fn cancelling_takes_the_leases(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY, XRAY], Priority::Routine).await;
    let store = h.store();
    let lease = take(h, &[XRAY]).await.unwrap();
    for want in [Done::Now, Done::Before] {
        assert_eq!(store.cancel_study(&uid, "wrong patient").await, Ok(want));
    }
    let cancelled = StoreError::Cancelled(lease.job.id.clone());
    assert_eq!(store.renew(&lease.job.id, lease.token, 9).await, Err(cancelled.clone()));
    assert_eq!(store.complete_job(&lease.job.id, lease.token, outcome(1)).await, Err(cancelled));
    assert_eq!(take(h, &[XRAY, CT, JobKind::Merge]).await, None);
    let states: Vec<_> = store.jobs(&uid).await.unwrap().iter().map(|(job, _, _)| job.state).collect();
    assert_eq!(states, [JobState::Cancelled, JobState::Cancelled]);
    // The rest of its upload does not wake it.
    store.add_instances(add(&uid, vec![instance(&uid, 5, 1)])).await.unwrap();
    assert_eq!(record(h, &uid).await.state, StudyState::Cancelled);
    assert_eq!(store.depth().await.unwrap().open_studies, 0);
}

async fn a_late_instance_leads_to_a_second_draft(h: &mut impl Harness) {
    let uid = planned(h, 1, &[XRAY], Priority::Routine).await;
    let store = h.store();
    let read = take(h, &[XRAY]).await.unwrap();
    store.complete_job(&read.job.id, read.token, outcome(1)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    store.commit_merge(&merge.job.id, merge.token, draft(1)).await.unwrap();
    let refused = store.cancel_study(&uid, "too late").await;
    assert_eq!(refused, Err(StoreError::WrongState { study: uid.clone(), state: StudyState::Drafted }));

    store.add_instances(add(&uid, vec![instance(&uid, 2, 1)])).await.unwrap();
    let opened = record(h, &uid).await;
    assert_eq!((opened.state, opened.generation, opened.jobs_total), (StudyState::Receiving, 2, 0));
    assert_eq!(store.jobs(&uid).await.unwrap(), []);
    store.complete_studies(complete(&uid, None)).await.unwrap();
    let second = plan(&uid, 2, opened.next_job, &[XRAY], Priority::Routine);
    assert_eq!(store.plan_study(&uid, second).await, Ok(Done::Now));
    let read = take(h, &[XRAY]).await.unwrap();
    // And one more in the middle of the reading: that lease is lost.
    store.add_instances(add(&uid, vec![instance(&uid, 3, 1)])).await.unwrap();
    assert_eq!(store.complete_job(&read.job.id, read.token, outcome(2)).await, lost(&read));
    store.complete_studies(complete(&uid, None)).await.unwrap();
    let third = plan(&uid, 3, record(h, &uid).await.next_job, &[XRAY], Priority::Routine);
    assert_eq!(store.plan_study(&uid, third).await, Ok(Done::Now));
    let read = take(h, &[XRAY]).await.unwrap();
    store.complete_job(&read.job.id, read.token, outcome(3)).await.unwrap();
    let merge = take(h, &[JobKind::Merge]).await.unwrap();
    assert_eq!(store.commit_merge(&merge.job.id, merge.token, draft(2)).await, Ok(Done::Now));
    assert_eq!(store.draft(&uid, None).await.unwrap().unwrap().version, 2);
    assert_eq!(store.draft(&uid, Some(1)).await.unwrap().unwrap().digest, digest(1));
}

async fn studies_are_listed_newest_first(h: &mut impl Harness) {
    for n in 1..=5 {
        let uid = study(n);
        h.store().add_instances(add(&uid, vec![instance(&uid, 1, 1)])).await.unwrap();
        if n != 3 {
            h.advance(10);
        }
    }
    h.store().complete_studies(complete(&study(2), None)).await.unwrap();
    h.store().cancel_study(&study(4), "no").await.unwrap();
    let list = async |query: StudyQuery| -> Vec<Uid> {
        h.store().studies(query).await.unwrap().into_iter().map(|study| study.uid).collect()
    };
    let all = StudyQuery { limit: 10, ..StudyQuery::default() };
    // Studies 3 and 4 came at the same time.
    assert_eq!(list(all.clone()).await, [5, 3, 4, 2, 1].map(study));
    let third = h.store().studies(all.clone()).await.unwrap().remove(1);
    let after = Some(StudyCursor { received_at_ms: third.received_at_ms, uid: third.uid });
    assert_eq!(list(StudyQuery { after, limit: 2, ..all.clone() }).await, [4, 2].map(study));
    let states = vec![StudyState::Receiving, StudyState::Cancelled, StudyState::Receiving];
    assert_eq!(list(StudyQuery { states, ..all.clone() }).await, [5, 3, 4, 1].map(study));
    let patient_id = Some("P1.2.4".to_owned());
    assert_eq!(list(StudyQuery { patient_id, ..all.clone() }).await, [study(4)]);
    let accession_number = Some("A".to_owned());
    assert_eq!(list(StudyQuery { accession_number, ..all }).await, []);
}

async fn a_preview_says_what_adding_would_and_changes_nothing(h: &mut impl Harness) {
    let (store, uid) = (h.store(), study(1));
    let batch = add(&uid, vec![instance(&uid, 1, 1), instance(&uid, 1, 2), instance(&uid, 2, 1)]);
    for _ in 0..2 {
        let preview = store.preview_instances(batch.clone()).await.unwrap();
        assert_eq!(preview, [Added::Accepted, Added::Conflict { held: digest(1) }, Added::Accepted]);
    }
    assert_eq!(store.study(&uid).await, Ok(None));
    store.add_instances(batch.clone()).await.unwrap();
    let preview = store.preview_instances(batch.clone()).await.unwrap();
    assert_eq!(preview, [Added::Duplicate, Added::Conflict { held: digest(1) }, Added::Duplicate]);
    let mut more = add(&uid, vec![instance(&uid, 3, 1)]);
    more.limits.max_instances_per_study = 2;
    let full = Err(StoreError::TooManyInstances { study: uid, limit: 2 });
    assert_eq!(store.preview_instances(more).await, full);
}

async fn tenants_share_the_workers_and_see_nothing_of_each_other(h: &mut impl Harness) {
    let east = planned_for(h, "east", 1, &[XRAY; 6], Priority::Routine).await;
    h.advance(10);
    let west = planned_for(h, "west", 2, &[XRAY; 4], Priority::Routine).await;
    let store = h.store();
    // A study belongs to whoever sent it first; others learn nothing of it.
    let foreign = AddInstances { tenant: named("west"), ..add(&east, vec![instance(&east, 1, 1)]) };
    assert_eq!(store.add_instances(foreign.clone()).await.unwrap(), [Added::OtherTenant]);
    assert_eq!(store.preview_instances(foreign).await.unwrap(), [Added::OtherTenant]);
    let seen = StudyQuery { tenants: Some(vec![named("west")]), limit: 9, ..StudyQuery::default() };
    let seen: Vec<_> = store.studies(seen).await.unwrap().into_iter().map(|study| study.uid).collect();
    assert_eq!(seen, std::slice::from_ref(&west));
    // West weighs twice as much: of six jobs running it has four.
    let weight = Share { weight: 2, ..Share::default() };
    let shares = Arc::new(Shares { tenants: [(named("west"), weight)].into(), ..Shares::default() });
    let request = LeaseRequest { shares, ..wanted("w", &[XRAY], 1_000) };
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(store.lease(request.clone()).await.unwrap().unwrap());
    }
    let of = |leases: &[Lease], uid: &Uid| leases.iter().filter(|lease| lease.job.id.study() == uid).count();
    assert_eq!((of(&leases, &east), of(&leases, &west)), (2, 4));
    // A worker that may only have west's jobs gets none of east's.
    let bound = LeaseRequest { tenants: Some(vec![named("west")]), ..request.clone() };
    assert_eq!(store.lease(bound).await, Ok(None));
    // A STAT study goes before the others, whatever its tenant has already.
    h.advance(10);
    let stat = planned_for(h, "west", 3, &[XRAY], Priority::Stat).await;
    assert_eq!(store.lease(request).await.unwrap().unwrap().job.id.study(), &stat);
}

async fn a_tenant_stays_below_its_caps(h: &mut impl Harness) {
    let cap = Share { max_running: Some(1), ..Share::default() };
    let shares = Arc::new(Shares { tenants: [(named("east"), cap)].into(), ..Shares::default() });
    let east = planned_for(h, "east", 1, &[XRAY; 2], Priority::Stat).await;
    h.advance(10);
    let west = planned_for(h, "west", 2, &[XRAY; 2], Priority::Routine).await;
    let request = LeaseRequest { shares, ..wanted("w", &[XRAY, JobKind::Merge], 1_000) };
    let mut order = Vec::new();
    while let Some(lease) = h.store().lease(request.clone()).await.unwrap() {
        order.push((lease.job.id.study().clone(), lease));
    }
    let studies: Vec<_> = order.iter().map(|(uid, _)| uid).collect();
    assert_eq!(studies, [&east, &west, &west]);
    h.reopen().await;
    let first = &order[0].1;
    h.store().complete_job(&first.job.id, first.token, outcome(1)).await.unwrap();
    let second = h.store().lease(request.clone()).await.unwrap().unwrap();
    assert_eq!(second.job.id, JobId::new(east.clone(), 1));
    // Merges are no load on workers: no cap holds them up.
    h.store().complete_job(&second.job.id, second.token, outcome(2)).await.unwrap();
    assert!(h.store().lease(request).await.unwrap().is_some_and(|lease| lease.job.kind == JobKind::Merge));

    let mut third = AddInstances { tenant: named("west"), ..add(&study(3), vec![instance(&study(3), 1, 1)]) };
    third.limits.max_open_of_tenant = 1;
    let full = Err(StoreError::TooManyOfTenant { tenant: named("west"), limit: 1 });
    assert_eq!(h.store().add_instances(third.clone()).await, full);
    h.store().cancel_study(&west, "not wanted").await.unwrap();
    assert_eq!(h.store().add_instances(third).await.unwrap(), [Added::Accepted]);
}

async fn a_repeated_request_for_work_gets_the_same_lease(h: &mut impl Harness) {
    planned(h, 1, &[XRAY; 4], Priority::Routine).await;
    let request = |name: &str| LeaseRequest { request: name.into(), ..wanted("w", &[XRAY], 1_000) };
    let again = |name: &str| LeaseRequest { repeats: true, ..request(name) };
    // One that was never heard is as good as new.
    let first = h.store().lease(again("a")).await.unwrap().unwrap();
    h.advance(900);
    h.reopen().await;
    // How long this attempt waited was told with the first answer.
    let same = |lease: &Lease| Some(Lease { attempt_waited_ms: 0, ..lease.clone() });
    assert_eq!(h.store().lease(again("a")).await.unwrap(), same(&first));
    // It lasts as long as a new one.
    h.advance(900);
    assert_eq!(h.store().expired(9).await.unwrap(), []);
    let second = h.store().lease(request("b")).await.unwrap().unwrap();
    assert_ne!(second.job.id, first.job.id);
    assert_eq!(h.store().lease(again("b")).await.unwrap(), same(&second));
    // Another worker's request of the same name is another request.
    let other = LeaseRequest { worker: "v".into(), ..again("b") };
    assert_ne!(h.store().lease(other).await.unwrap().unwrap().job.id, second.job.id);
    // One whose job is finished gets another job.
    h.store().complete_job(&second.job.id, second.token, outcome(1)).await.unwrap();
    let third = h.store().lease(again("b")).await.unwrap().unwrap();
    assert_eq!((third.job.id.number(), third.attempt), (3, 1));
}

async fn a_worker_is_preferred_for_studies_that_it_has(h: &mut impl Harness) {
    let old = planned(h, 1, &[CT; 3], Priority::Routine).await;
    h.advance(10);
    let at_hand = planned(h, 2, &[CT; 3], Priority::Routine).await;
    h.advance(LOCALITY_MS as u32);
    let late = planned(h, 3, &[CT; 3], Priority::Routine).await;
    let take_with = async |held: &[&Uid]| {
        let held = held.iter().map(|uid| (*uid).clone()).collect();
        let lease = h.store().lease(LeaseRequest { held, ..wanted("w", &[CT], 600_000) }).await.unwrap().unwrap();
        (lease.job.id.study().clone(), lease.job.id.number())
    };
    assert_eq!(take_with(&[&at_hand]).await, (at_hand.clone(), 0));
    assert_eq!(take_with(&[]).await, (old.clone(), 0));
    assert_eq!(take_with(&[&at_hand, &old]).await, (old.clone(), 1));
    // Too far behind the head of the queue: waiting counts more than images at hand.
    assert_eq!(take_with(&[&late]).await, (old, 2));
    assert_eq!(take_with(&[&late]).await, (late, 0));
    // Nor does it pass what is more urgent.
    let stat = planned(h, 4, &[CT], Priority::Stat).await;
    assert_eq!(take_with(&[&at_hand]).await, (stat, 0));
}
