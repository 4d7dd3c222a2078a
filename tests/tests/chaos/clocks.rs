//! Clocks that are set while everything runs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prelim_tests::{repository, words};

use crate::logs;
use crate::sending::Sending;
use crate::site::{Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

const HOUR_S: i64 = 3_600;
const STUDIES: u32 = 90;
/// How long a clock keeps its new time.
const KEEP: Duration = Duration::from_millis(1_500);

/// The library that makes a process's clock wrong, compiled into `folder` (whoever links Rust has a C compiler).
fn library(folder: &Path) -> String {
    let library = folder.join("clock.so").display().to_string();
    let source = repository().join("tests/tests/chaos/clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", &library]).arg(source);
    let output = compiler.output().expect("there is a C compiler");
    assert!(output.status.success(), "{}", words(&output));
    library
}

fn offset(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.clock"))
}

fn variables(folder: &Path, name: &str) -> Vec<(String, String)> {
    let file = offset(folder, name);
    fs::write(&file, 0_i64.to_ne_bytes()).expect("a file");
    let variable = |name: &str, value: String| (name.to_owned(), value);
    vec![variable("LD_PRELOAD", library(folder)), variable("CHAOS_CLOCK", file.display().to_string())]
}

/// Sets the clock of a host to be wrong by so much.
fn set(folder: &Path, name: &str, by_s: i64) {
    // In place: the process has the file in its memory.
    let mut file = File::options().write(true).open(offset(folder, name)).expect("a file");
    file.write_all(&by_s.to_ne_bytes()).expect("a file");
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
    let sending = Sending::start(&site, &studies, KEEP * steps.len() as u32);
    for (name, by_s) in steps {
        set(site.folder(), name, by_s);
        sleep(KEEP);
        if name == "redis" {
            let time: i64 = site.redis_cli(&["time"]).lines().next().expect("s").parse().expect("a number");
            let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
            assert!((time - real - by_s).abs() < 60, "Redis takes it for {time}, set by {by_s} s from {real}");
        }
    }
    sending.finish(&mut site);
    let outcome = verify::all_drafted_once(&mut site, &studies);
    assert!(outcome.is_undisturbed(), "{outcome:?}");
    assert_eq!(logs::count(&site.logs(), "done"), outcome.read_jobs);
    assert!(site.programs().all(|program| program.ended_by_itself == 0));
    // That clocks were really set shows in the hours of the logs.
    for program in site.programs().filter(|program| program.name != "redis") {
        let events = logs::events(&program.log);
        let hours: BTreeSet<&str> =
            events.iter().filter_map(|event| event.line["timestamp"].as_str()?.get(11..13)).collect();
        assert!(hours.len() >= 2, "{}: {hours:?}", program.name);
    }
}
