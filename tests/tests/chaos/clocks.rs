//! Clocks that are set while everything runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prelim_tests::clock::Clock;

use crate::logs;
use crate::sending::Sending;
use crate::site::{Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

const HOUR_S: i64 = 3_600;
const STUDIES: u32 = 90;
/// How long a clock keeps its new time.
const KEEP: Duration = Duration::from_millis(1_500);

fn variables(folder: &Path, name: &str) -> Vec<(String, String)> {
    Clock::new(folder, name).variables()
}

/// Issue promise: clock steps on any host change nothing: no lease is lost, no attempt is made twice, all is drafted.
#[test]
fn clocks_that_are_set_change_nothing() {
    let times = "xray,300\nxray,700";
    let mut site = Site::new(&Plan { lease_ttl_ms: 30_000, times, variables, ..Plan::default() });
    site.start_workers();
    let studies: Vec<TinyStudy> = (0..STUDIES).map(|number| TinyStudy::new(7, number)).collect();
    let names: Vec<String> = site.programs().map(|program| program.name.clone()).collect();
    let steps: Vec<(&String, i64)> =
        names.iter().flat_map(|name| [HOUR_S, 0, -HOUR_S, 0].map(|by_s| (name, by_s))).collect();
    // Some are sent after the last step, as each step waits until its process had something to say.
    let sending = Sending::start(&site, &studies, KEEP * (steps.len() as u32 + 4));
    for (name, by_s) in steps {
        Clock::new(site.folder(), name).set(by_s);
        sleep(KEEP);
        if by_s != 0 && name != "redis" {
            site.wait_for("a line at another hour", |site| {
                site.programs().any(|program| program.name == *name && hours(&program.log).len() >= 2)
            });
        }
        if name == "redis" {
            let time: i64 = site.redis_cli(&["time"]).lines().next().expect("s").parse().expect("a number");
            let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
            assert!((time - real - by_s).abs() < 60, "Redis takes it for {time}, set by {by_s} s from {real}");
        }
    }
    sending.finish(&mut site);
    let outcome = verify::all_drafted_once(&mut site, &studies);
    assert!(outcome.is_undisturbed(), "{outcome:?}");
    assert_eq!(verify::said_to_be_done(&mut site, &outcome), outcome.read_jobs);
    assert!(site.programs().all(|program| program.ended_by_itself == 0));
    // That clocks were really set shows in the hours of the logs.
    for program in site.programs().filter(|program| program.name != "redis") {
        let hours = hours(&program.log);
        assert!(hours.len() >= 2, "{}: {hours:?}", program.name);
    }
}

/// The hours that stand in a log.
fn hours(log: &Path) -> BTreeSet<String> {
    let hour = |event: &logs::Event| Some(event.line["timestamp"].as_str()?.get(11..13)?.to_owned());
    logs::events(log).iter().filter_map(hour).collect()
}
