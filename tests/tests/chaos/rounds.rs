//! Two hundred rounds of disasters while studies come in.

use std::collections::BTreeMap;
use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::logs;
use crate::program::Program;
use crate::schedule::{Blow, ROUND_MS, Role, schedule};
use crate::sending::Sending;
use crate::site::{COORDINATORS, Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

/// Rounds where PRELIM_CHAOS_ROUNDS says nothing.
const ROUNDS: u64 = 200;
/// The seed where PRELIM_CHAOS_SEED says nothing.
const SEED: u64 = 1;
/// Rounds after which every kind of disaster has happened, whatever the seed: a whole deck of them.
const ALL_KINDS: u64 = 24;
/// Studies that come in a round.
const STUDIES_A_ROUND: u32 = 3;
const WORKERS: usize = 4;
/// Disasters that hit one job may be many here; in a hospital they are not.
const MAX_ATTEMPTS: u32 = 30;

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Issue promise: no acknowledged study is lost and no study has two drafts when workers, coordinators or Redis are killed,
/// paused past the lease, cut off or slowed, in any order.
#[test]
#[allow(clippy::print_stderr, reason = "the seed and the tally are what a run is known by")]
fn disasters_lose_no_study_and_draft_none_twice() {
    let (seed, rounds) = (setting("PRELIM_CHAOS_SEED", SEED), setting("PRELIM_CHAOS_ROUNDS", ROUNDS));
    eprintln!("chaos: PRELIM_CHAOS_SEED={seed} PRELIM_CHAOS_ROUNDS={rounds}");
    let times = "xray,40\nxray,150\nxray,400\nxray,900";
    let plan = Plan { max_attempts: MAX_ATTEMPTS, workers: WORKERS, times, ..Plan::default() };
    let mut site = Site::new(&plan);
    site.start_workers();
    let studies: Vec<TinyStudy> =
        (0..rounds as u32 * STUDIES_A_ROUND).map(|number| TinyStudy::new(seed, number)).collect();
    let began = Instant::now();
    let sending = Sending::start(&site, &studies, Duration::from_millis(rounds * ROUND_MS));
    let tally = break_things(&mut site, seed, rounds);
    let broke_for = began.elapsed();
    let tries = sending.finish(&mut site);
    let outcome = verify::all_drafted_once(&mut site, &studies);
    let ended_by_themselves: Vec<_> = site
        .programs()
        .filter(|one| one.ended_by_itself > 0)
        .map(|one| (one.name.clone(), one.ended_by_itself))
        .collect();
    let done = logs::count(&site.logs(), "done");
    eprintln!(
        "chaos: {} disasters in {rounds} rounds and {:.0} s, settled after {:.0} s: {tally:?}",
        tally.values().sum::<u32>(),
        broke_for.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
    eprintln!(
        "chaos: {} studies in {tries} tries, {} read jobs, {done} of them said to be done; jobs by attempts: {:?}; failures: \
         {:?}; ended by themselves: {ended_by_themselves:?}",
        studies.len(),
        outcome.read_jobs,
        outcome.by_attempts,
        outcome.failures,
    );
    assert_eq!(outcome.merges, studies.len());
    // A worker that was killed may not have said so; but none says it of a job that another has done.
    assert!(done <= outcome.read_jobs, "{done} jobs were done, of {}", outcome.read_jobs);
    for (role, number) in ended_by_themselves {
        // A coordinator that finds no Redis when it starts says so and ends; who runs it starts it again.
        assert!(role.starts_with("coordinator"), "{role} ended by itself, {number} times");
    }
    if rounds >= ALL_KINDS {
        for blow in [Blow::Kill, Blow::Pause, Blow::Cut, Blow::Slow] {
            for role in [Role::Redis, Role::Coordinator, Role::Worker] {
                assert!(tally.contains_key(&(role, blow)), "no {blow:?} of a {role:?}");
            }
        }
    }
}

/// Carries the schedule out; how often what happened to whom.
fn break_things(site: &mut Site, seed: u64, rounds: u64) -> BTreeMap<(Role, Blow), u32> {
    // What is to be done when: begin, or end.
    let mut steps: Vec<_> = schedule(seed, rounds, COORDINATORS, WORKERS)
        .into_iter()
        .flat_map(|one| [(one.begins_ms, true, one), (one.ends_ms, false, one)])
        .collect();
    steps.sort_by_key(|(at_ms, ..)| *at_ms);
    let (began, mut tally) = (Instant::now(), BTreeMap::new());
    for (at_ms, begins, disaster) in steps {
        while began.elapsed() < Duration::from_millis(at_ms) {
            sleep(Duration::from_millis(20));
            site.programs().for_each(Program::look_after);
        }
        let program = site.program(disaster.role, disaster.number);
        match (disaster.blow, begins) {
            (Blow::Kill, true) => program.kill(),
            (Blow::Kill, false) => program.start(),
            (Blow::Pause, true) => program.pause(),
            (Blow::Pause, false) => program.resume(),
            (Blow::Cut, true) => program.host.cut(),
            (Blow::Cut, false) => program.host.join(),
            (Blow::Slow, true) => program.host.slow(),
            (Blow::Slow, false) => program.host.hasten(),
        }
        if begins {
            *tally.entry((disaster.role, disaster.blow)).or_default() += 1;
        }
    }
    tally
}
