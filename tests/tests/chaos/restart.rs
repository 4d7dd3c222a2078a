//! A new version everywhere, without a break.

use std::thread::sleep;
use std::time::Duration;

use prelim_coordinator::store::JobStore as _;

use crate::logs;
use crate::schedule::Role;
use crate::sending::Sending;
use crate::site::{COORDINATORS, Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

const WORKERS: usize = 3;
const STUDIES: u32 = 150;
/// How long they come in.
const SENDING: Duration = Duration::from_secs(12);
/// The pause between two restarts.
const PAUSE: Duration = Duration::from_millis(400);

/// Issue promise: a rolling restart of everything with work in flight wastes no finished job.
#[test]
#[allow(clippy::print_stderr, reason = "what was given back is worth a look")]
fn a_rolling_restart_of_everything_wastes_no_finished_job() {
    let times = "xray,200\nxray,400\nxray,600";
    let mut site = Site::new(&Plan { lease_ttl_ms: 10_000, workers: WORKERS, times, ..Plan::default() });
    site.start_workers();
    let studies: Vec<TinyStudy> = (0..STUDIES).map(|number| TinyStudy::new(6, number)).collect();
    let sending = Sending::start(&site, &studies, SENDING);
    for _ in 0..2 {
        for (role, count) in [(Role::Worker, WORKERS), (Role::Coordinator, COORDINATORS), (Role::Redis, 1)] {
            for number in 0..count {
                sleep(PAUSE);
                let status = site.program(role, number).terminate();
                assert!(status.success(), "{role:?} {number} ended with {status}");
                site.program(role, number).start();
                site.wait_for("Redis to answer", |site| site.redis_answers());
                site.wait_for("the coordinators to answer", |site| site.coordinators_answer());
            }
        }
    }
    let depth = site.runtime.block_on(site.store().depth()).expect("Redis answers");
    assert!(depth.open_studies > 0, "all was done before the last restart: {depth:?}");
    let tries = sending.finish(&mut site);
    let outcome = verify::all_drafted_once(&mut site, &studies);
    let logs = site.logs();
    let given_back = logs::count(&logs, "given back");
    eprintln!("restart: {STUDIES} studies in {tries} tries, {given_back} jobs given back: {outcome:?}");
    assert!(given_back > 0, "no worker had anything to give back");
    // Each job that was finished was handed in once, and none twice.
    assert_eq!(logs::count(&logs, "done"), outcome.read_jobs);
    assert_eq!(logs::count(&logs, "outcome dropped") + logs::count(&logs, "given up: the lease is lost"), 0);
    assert!(site.programs().all(|program| program.ended_by_itself == 0));
}
