//! The conformance statement says of the worklist what the code does.

use super::channels::MAX_CHANNELS;
use super::subscribe::{MAX_SUBSCRIBERS, MAX_SUBSCRIPTIONS};
use super::{KEPT, KEPT_LOCKED, MAX_OPEN, dataset, ours, rules};

const STATEMENT: &str = include_str!("../../CONFORMANCE.md");

/// The rows of the table under a header, each with its cells, without the quotes of code.
fn table(header: &str) -> Vec<Vec<String>> {
    let (_, rest) = STATEMENT.split_once(&format!("| {header} |")).unwrap_or_else(|| panic!("no table {header:?}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

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
    let stated: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(stated, ours::CODES);
    assert!(STATEMENT.contains(&format!("`{}`", rules::CLASS)));
}
