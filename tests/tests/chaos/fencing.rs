//! Who was away too long has no say any more.

use std::time::Duration;

use prelim_coordinator::store::JobStore as _;
use prelim_proto::ids::Uid;
use prelim_proto::job::JobState;
use prelim_proto::v1;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::client::{self, submit_until_held};
use crate::logs;
use crate::site::{PATIENCE, Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

/// What a worker says whose lease is gone: by its renewals, by its own clock, or when its outcome is refused.
const LOST: [&str; 2] = ["given up: the lease is lost", "outcome dropped"];

fn state(site: &Site, study: &TinyStudy) -> (JobState, String) {
    let uid = Uid::parse(&study.uid).expect("a UID");
    let jobs = site.runtime.block_on(site.store().jobs(&uid)).expect("Redis answers");
    jobs.first().map_or((JobState::Ready, String::new()), |(job, ..)| (job.state, job.worker.clone()))
}

fn send(site: &Site, study: &TinyStudy) {
    site.runtime.block_on(submit_until_held(&site.addresses(), study, PATIENCE));
}

/// Issue promise: a paused worker that wakes cannot commit; the draft is made of the other attempt.
#[test]
fn a_worker_that_wakes_after_its_lease_is_refused() {
    // The first worker is paused before it is done, and wakes when it would have been; the second is quick.
    let mut site = Site::new(&Plan { lease_ttl_ms: 7_000, slots: 1, times: "xray,6000", ..Plan::default() });
    let study = TinyStudy::new(1, 0);
    send(&site, &study);
    site.workers[0].start();
    site.wait_for("the first worker to have the job", |site| state(site, &study).0 == JobState::Leased);
    site.workers[0].pause();
    site.write_times("xray,50");
    site.workers[1].start();
    site.wait_for("the second worker to finish it", |site| state(site, &study).0 == JobState::Done);
    site.workers[0].resume();
    site.wait_for("the first worker to notice", |site| {
        let log = site.workers[0].log.clone();
        logs::events(&log).iter().any(|event| LOST.iter().any(|lost| event.message().starts_with(lost)))
    });
    assert_eq!(state(&site, &study), (JobState::Done, "worker-1".to_owned()));
    assert_eq!(logs::count(&[site.workers[0].log.clone()], "done"), 0);
    let outcome = verify::all_drafted_once(&mut site, &[study]);
    assert_eq!(outcome.failures.len(), 1, "{outcome:?}");
    assert_eq!(outcome.by_attempts.into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}

/// Issue promise: whatever a worker does with a lease that ran out, nothing comes of it: renewal, outcome and failure are
/// refused, and the draft does not have what it found.
#[test]
fn a_token_that_is_not_the_newest_opens_nothing() {
    let mut site = Site::new(&Plan { lease_ttl_ms: 4_000, workers: 1, ..Plan::default() });
    let study = TinyStudy::new(2, 0);
    send(&site, &study);
    let address = site.addresses()[0].clone();
    let lease = site.runtime.block_on(async {
        let request = v1::LeaseRequest {
            worker_id: "sleeper".to_owned(),
            kinds: vec![v1::JobKind::ReadXray as i32],
            wait_ms: 10_000,
            request_id: "once".to_owned(),
            ..Default::default()
        };
        let mut sleeper = client::workers(&address).await.expect("a coordinator answers");
        sleeper.lease(request).await.expect("it leases").into_inner().lease.expect("there is a job")
    });
    site.wait_for("the lease to run out", |site| state(site, &study).0 == JobState::Ready);
    site.start_workers();
    site.wait_for("another worker to finish it", |site| state(site, &study).0 == JobState::Done);
    verify::wait_until_settled(&mut site);

    let job_id = lease.job.expect("a job").id;
    let held = v1::HeldLease { job_id: job_id.clone(), token: lease.token };
    let found = "what the sleeper dreamt";
    let model = v1::ModelProvenance {
        name: found.to_owned(),
        digest: "0".repeat(64),
        prompt_version: "none".to_owned(),
        preprocess_version: "none".to_owned(),
        arithmetic: "none".to_owned(),
        software_version: "none".to_owned(),
        demonstration: true,
        base: None,
    };
    let outcome = v1::JobOutcome { limitations: vec![found.to_owned()], model: Some(model), ..Default::default() };
    let worker_id = "sleeper".to_owned();
    site.runtime.block_on(async {
        let mut sleeper = client::workers(&address).await.expect("a coordinator answers");
        let renew = v1::RenewRequest { worker_id: worker_id.clone(), leases: vec![held.clone()], ..Default::default() };
        let renewed = sleeper.renew(renew).await.expect("an answer").into_inner().leases;
        assert_eq!(renewed[0].status(), v1::LeaseStatus::Lost);
        let complete = v1::CompleteRequest {
            worker_id: worker_id.clone(),
            lease: Some(held.clone()),
            outcome: Some(outcome),
            kind: v1::JobKind::ReadXray as i32,
            ..Default::default()
        };
        // Also when it is asked again.
        for _ in 0..2 {
            let refused = sleeper.complete(complete.clone()).await.expect_err("it is refused");
            assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
            assert_eq!(refused.get_details_error_info().expect("details").reason, "LEASE_LOST");
        }
        let fail = v1::FailRequest { worker_id, lease: Some(held), reason: found.to_owned(), retryable: false };
        assert_eq!(sleeper.fail(fail).await.expect_err("it is refused").code(), Code::FailedPrecondition);
        let mut client = client::studies(&address).await.expect("a coordinator answers");
        let draft = client::draft(&mut client, &study.uid).await.expect("a draft");
        assert!(!draft.to_string().contains(found), "{draft}");
        // Long enough that something wrong would show itself.
        tokio::time::sleep(Duration::from_millis(500)).await;
    });
    verify::all_drafted_once(&mut site, &[study]);
}
