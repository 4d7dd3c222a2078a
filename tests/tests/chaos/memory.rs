//! Redis has no room left.

use std::fs;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::client::{submit, submit_until_held};
use crate::site::{PATIENCE, Plan, Site};
use crate::studies::TinyStudy;
use crate::verify;

/// Studies before the memory is short.
const BEFORE: u32 = 10;
/// Studies in the meantime; fewer fit.
const MEANWHILE: u32 = 300;
/// Room for those, in bytes: some of them, and far more than the buffers of connections come and go by.
const ROOM_BYTES: u64 = 300_000;

fn send(site: &Site, study: &TinyStudy) -> Result<(), Status> {
    site.runtime.block_on(submit(&site.addresses()[0], study)).map(drop)
}

/// What a refusal must tell a program.
fn check(refused: &Status) {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let details = refused.get_error_details();
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("STORE_FULL"), "{refused:?}");
    assert!(details.retry_info().is_some_and(|retry| retry.retry_delay.is_some()), "{refused:?}");
}

/// Issue promise: at the memory cap submits are refused clearly while finished work is still stored; with room they go on.
#[test]
fn at_the_memory_cap_submits_are_refused_and_work_is_finished() {
    let mut site = Site::new(&Plan { lease_ttl_ms: 60_000, ..Plan::default() });
    let mut studies: Vec<TinyStudy> = (0..BEFORE).map(|number| TinyStudy::new(4, number)).collect();
    for study in &studies {
        send(&site, study).expect("there is room");
    }
    let memory = site.redis_cli(&["info", "memory"]);
    let used = memory.lines().find_map(|line| line.trim().strip_prefix("used_memory:")).expect("a figure");
    let cap = used.parse::<u64>().expect("a figure") + ROOM_BYTES;
    assert_eq!(site.redis_cli(&["config", "set", "maxmemory", &cap.to_string()]), "OK");

    let mut refused = Vec::new();
    for study in (BEFORE..BEFORE + MEANWHILE).map(|number| TinyStudy::new(4, number)) {
        match send(&site, &study) {
            Ok(()) => studies.push(study),
            Err(status) => {
                check(&status);
                refused.push(study);
            }
        }
        if refused.len() == 5 {
            break;
        }
    }
    assert!(!refused.is_empty() && studies.len() > BEFORE as usize, "{} taken", studies.len());
    // From here not even the smallest thing fits.
    assert_eq!(site.redis_cli(&["config", "set", "maxmemory", "1mb"]), "OK");
    let folder = site.folder().join("late");
    fs::create_dir(&folder).expect("a folder");
    let late = TinyStudy::new(5, 0);
    fs::write(folder.join("film.dcm"), &late.objects[0]).expect("a file");
    let output = site.prelim(&["submit", "--json", &folder.display().to_string()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no memory is left for the store"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");

    // Work that was taken on ends in drafts.
    site.start_workers();
    let acknowledged: Vec<String> = studies.iter().map(|study| study.uid.clone()).collect();
    site.wait_for("drafts at the memory cap", |site| {
        let listed = site.prelim_json(&["studies", "--json", "--limit", "1000"]);
        let drafted = listed.as_array().expect("a list").iter().filter(|study| study["state"] == "drafted");
        let drafted: Vec<&str> = drafted.filter_map(|study| study["study_uid"].as_str()).collect();
        acknowledged.iter().all(|uid| drafted.contains(&uid.as_str()))
    });
    check(&send(&site, &late).expect_err("there is no room yet"));

    assert_eq!(site.redis_cli(&["config", "set", "maxmemory", "512mb"]), "OK");
    refused.push(late);
    for study in refused {
        site.runtime.block_on(submit_until_held(&site.addresses(), &study, PATIENCE));
        studies.push(study);
    }
    let outcome = verify::all_drafted_once(&mut site, &studies);
    assert!(outcome.is_undisturbed(), "{outcome:?}");
}
