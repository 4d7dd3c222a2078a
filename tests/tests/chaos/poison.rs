//! A study that kills whoever reads it.

use prelim_tests::words;

use crate::sending::Sending;
use crate::site::{Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

/// Attempts at a job.
const ATTEMPTS: u32 = 4;
/// The run of these studies, and the number of the bad one, which has two views.
const RUN: u64 = 3;
const BAD: u32 = 13;
const COUNT: u32 = 40;

/// Issue promise: a poison study ends dead-lettered with its reason, its neighbours unharmed; when the cause is removed it is
/// tried again and drafted.
#[test]
fn a_poison_study_is_given_up_and_its_neighbours_are_drafted() {
    let times = "xray,20\nxray,60";
    let poison = "xray,20\nxray,60\npoison,.3.13";
    let mut site = Site::new(&Plan { lease_ttl_ms: 3_000, max_attempts: ATTEMPTS, times: poison, ..Plan::default() });
    site.start_workers();
    let studies: Vec<TinyStudy> = (0..COUNT).map(|number| TinyStudy::new(RUN, number)).collect();
    let bad = studies[BAD as usize].uid.clone();
    let sending = Sending::start(&site, &studies, std::time::Duration::from_secs(3));
    sending.finish(&mut site);
    verify::wait_until_settled(&mut site);

    let deaths: u32 = site.workers.iter().map(|worker| worker.ended_by_itself).sum();
    assert!(deaths >= ATTEMPTS, "its {ATTEMPTS} attempts ended {deaths} workers");
    for study in site.prelim_json(&["studies", "--json", "--limit", "100"]).as_array().expect("a list") {
        if study["study_uid"] == bad {
            assert_eq!(study["state"], "failed", "{study}");
            assert!(study["state_reason"].as_str().is_some_and(|reason| reason.contains("lease ran out")), "{study}");
        } else {
            assert_eq!(study["state"], "drafted", "{study}");
        }
    }
    let dead = site.prelim_json(&["dead", "--json"]);
    let dead = dead.as_array().expect("a list");
    assert_eq!(dead.len(), 2, "{dead:?}");
    for (view, job) in dead.iter().enumerate() {
        assert_eq!(job["job_id"], format!("{bad}/{view}"));
        assert_eq!(job["attempts"], ATTEMPTS, "{job}");
        let failures = job["failures"].as_array().expect("a list");
        assert_eq!(failures.len(), ATTEMPTS as usize, "{job}");
        assert!(failures.iter().all(|failure| failure["reason"].as_str().expect("text").contains("lease ran out")));
    }

    // The cause is removed.
    site.write_times(times);
    for worker in &mut site.workers {
        worker.kill();
        worker.start();
    }
    let requeued = site.prelim(&["requeue", "--all"]);
    assert!(requeued.status.success(), "{}", words(&requeued));
    let outcome = verify::all_drafted_once(&mut site, &studies);
    // The merge that found nothing to merge, and the one after the requeue.
    assert_eq!(outcome.merges, studies.len() + 1);
    assert_eq!(site.prelim_json(&["dead", "--json"]), serde_json::json!([]));
}
