//! The chart: rendered by helm in every combination of its values files, and held against what judges it in a cluster.
//!
//! The checks themselves are in `tests/helm/*.py`, beside the tools that they use. Each knows violations that it must find,
//! planted into good renderings, so that none of them can pass by looking at nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use prelim_tests::{prelim, repository, words};

/// Runs one of the checks and returns what it printed.
///
/// # Panics
/// With the problems that it found, each on a line of its own.
fn check(name: &str) -> String {
    // helm renders once for all checks.
    static RENDERED: OnceLock<PathBuf> = OnceLock::new();
    let rendered = RENDERED.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chart.json");
        python(&file, "render");
        file
    });
    python(rendered, name)
}

fn python(rendered: &Path, name: &str) -> String {
    let python = repository().join("target/python/bin/python");
    assert!(python.is_file(), "{} is not there: run tests/install.sh", python.display());
    let script = repository().join("tests/helm/check.py");
    // -B: no compiled files in the tree.
    let output = Command::new(python).arg("-B").arg(script).arg(rendered).arg(name).output().expect("python starts");
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8(output.stdout).expect("python prints UTF-8")
}

/// Promise: the chart is one that helm itself finds nothing to say against.
#[test]
fn helm_lints_the_chart_with_every_values_file() {
    check("lint");
}

/// Promise: every values file makes objects that Kubernetes takes, misspelt keys included.
#[test]
fn every_rendering_keeps_to_the_schemas_of_kubernetes() {
    check("kubernetes");
}

/// Promise: what is made for KEDA and for the Prometheus operator is what they read, misspelt keys included.
#[test]
fn custom_resources_keep_to_their_operators_types() {
    check("custom_resources");
}

/// Promise: no secret in plain text, images by tag or digest, selectors that match, restricted pods, no access to the API,
/// probes, a drain that ends in time, workers without credentials, exact network policies.
#[test]
fn every_rendering_holds_the_invariants() {
    check("hold");
}

/// Promise: the check above would notice.
#[test]
fn planted_violations_are_caught() {
    check("catch");
}

/// Promise: a misspelt or impossible setting is refused, wherever it stands.
#[test]
fn the_schema_of_values_lets_no_unknown_key_pass() {
    check("values");
}

/// Promise: settings that contradict each other are refused with a sentence that says what to do.
#[test]
fn settings_that_cannot_be_are_refused_in_words() {
    check("refusals");
}

/// Promise: whoever installs it is told that drafts are unsigned, what runs, and what is missing before patients come in.
#[test]
fn the_notes_say_what_an_operator_must_know() {
    check("notes");
}

/// Promise: alerts and dashboards ask for metrics and labels that there are.
#[test]
fn alerts_and_dashboards_ask_for_metrics_that_exist() {
    check("promql");
}

/// Promise: images are built from pinned bases and locked dependencies, and do not run as root.
#[test]
fn dockerfiles_are_pinned_and_unprivileged() {
    check("images");
}

/// Promise: the trial Redis starts as its pod starts it, keeps what it acknowledged, and lets nobody in without a password.
#[test]
fn the_trial_redis_runs_as_rendered() {
    check("redis");
}

/// Promise: the program reads every variable that the chart sets; one that it does not know would do nothing, in silence.
#[test]
fn the_program_reads_every_variable_that_the_chart_sets() {
    // Read before the flags are.
    const BESIDE_FLAGS: &[&str] = &["PRELIM_LOG", "PRELIM_LOG_JSON"];
    let mut unknown = Vec::new();
    let mut seen = 0;
    for line in check("variables").lines() {
        let mut names = line.split(' ');
        let role = names.next().expect("a role comes first");
        let output = prelim([role, "--help"]);
        assert!(output.status.success(), "{}", words(&output));
        // Lines are broken anywhere, and the value of a secret is not shown.
        let help = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        for name in names.filter(|name| !BESIDE_FLAGS.contains(name)) {
            seen += 1;
            if ![format!("[env: {name}="), format!("[env: {name}]")].iter().any(|known| help.contains(known)) {
                unknown.push(format!("{role}: {name}"));
            }
        }
    }
    assert!(seen > 30, "only {seen} variables were looked at");
    assert!(unknown.is_empty(), "the chart sets what the program does not read: {unknown:#?}");
}
