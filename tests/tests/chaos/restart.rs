//! A new version everywhere, without a break.

use std::time::Duration;

use prelim_coordinator::store::JobStore as _;
use prelim_coordinator::store::record::JobRecord;
use prelim_proto::ids::Uid;
use prelim_proto::job::JobState;

use crate::logs;
use crate::schedule::Role;
use crate::sending::Sending;
use crate::site::{COORDINATORS, Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

const WORKERS: usize = 3;
/// Studies that begin to come in before each restart, and how long they do.
const STUDIES: u32 = 6;
const SENDING: Duration = Duration::from_secs(1);

/// Whether a worker has a job of one of the studies: this one, or any.
fn has_work(site: &Site, studies: &[TinyStudy], worker: Option<&str>) -> bool {
    let store = site.store();
    site.runtime.block_on(async {
        // Those that came last are the ones that are not done.
        for study in studies.iter().rev() {
            let jobs = store.jobs(&Uid::parse(&study.uid).expect("a UID")).await.expect("Redis answers");
            let is_its = |job: &JobRecord| worker.is_none_or(|worker| job.worker == worker);
            if jobs.iter().any(|(job, ..)| job.state == JobState::Leased && is_its(job)) {
                return true;
            }
        }
        false
    })
}

/// Issue promise: a rolling restart of everything with work in flight wastes no finished job.
#[test]
#[allow(clippy::print_stderr, reason = "what was given back is worth a look")]
fn a_rolling_restart_of_everything_wastes_no_finished_job() {
    let times = "xray,300\nxray,600\nxray,900";
    let mut site = Site::new(&Plan { lease_ttl_ms: 60_000, workers: WORKERS, times, ..Plan::default() });
    site.start_workers();
    let (mut studies, mut sending) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        for (role, count) in [(Role::Worker, WORKERS), (Role::Coordinator, COORDINATORS), (Role::Redis, 1)] {
            for number in 0..count {
                let first = studies.len() as u32;
                let next: Vec<_> = (first..first + STUDIES).map(|number| TinyStudy::new(6, number)).collect();
                sending.push(Sending::start(&site, &next, SENDING));
                studies.extend(next);
                // However slow the machine is, there is work in flight, and who ends has some.
                let whose = (role == Role::Worker).then(|| site.program(role, number).name.clone());
                site.wait_for("work in flight", |site| has_work(site, &studies, whose.as_deref()));
                let status = site.program(role, number).terminate();
                assert!(status.success(), "{role:?} {number} ended with {status}");
                site.program(role, number).start();
                site.wait_for("Redis to answer", |site| site.redis_answers());
                site.wait_for("the coordinators to answer", |site| site.coordinators_answer());
            }
        }
    }
    let tries: u32 = sending.into_iter().map(|sending| sending.finish(&mut site)).sum();
    let outcome = verify::all_drafted_once(&mut site, &studies);
    let logs = site.logs();
    let given_back = logs::count(&logs, "given back");
    eprintln!("restart: {} studies in {tries} tries, {given_back} jobs given back: {outcome:?}", studies.len());
    assert!(given_back > 0, "no worker had anything to give back");
    // Each job that was finished was handed in once, and none twice.
    assert_eq!(verify::said_to_be_done(&mut site, &outcome), outcome.read_jobs);
    assert_eq!(logs::count(&logs, "outcome dropped") + logs::count(&logs, "given up: the lease is lost"), 0);
    assert!(site.programs().all(|program| program.ended_by_itself == 0));
}
