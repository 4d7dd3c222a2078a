//! The conformance statement says of the worklist what the code does.

use super::channels::MAX_CHANNELS;
use super::subscribe::{MAX_SUBSCRIBERS, MAX_SUBSCRIPTIONS};
use super::{KEPT, KEPT_LOCKED, MAX_OPEN, dataset, ours, rules};
use crate::dimse::statement::{STATEMENT, table};

#[test]
fn limits_are_those_of_the_code() {
    let days = |kept: std::time::Duration| kept.as_secs() / 86_400;
    let values: Vec<u64> = table("limit of the worklist | value")
        .iter()
        .map(|row| row[1].parse().unwrap_or_else(|_| panic!("{row:?} has no number")))
        .collect();
    let code = [
        MAX_OPEN,
        (dataset::MAX_BYTES >> 10) as u64,
        MAX_SUBSCRIPTIONS,
        MAX_SUBSCRIBERS as u64,
        MAX_CHANNELS as u64,
        days(KEPT),
        days(KEPT_LOCKED),
    ];
    assert_eq!(values, code);
}

#[test]
fn codes_are_those_of_the_code() {
    let rows = table("code of a workitem | meaning");
    let stated: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(stated, ours::CODES);
    assert!(STATEMENT.contains(&format!("`{}`", rules::CLASS)));
}
