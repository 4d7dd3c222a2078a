//! Traces, as a collector that is not ours sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prelim_proto::ids::Uid;
use prelim_proto::trace::StudyTrace;
use prelim_proto::v1::CancelStudyRequest;
use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_tests::collector::Collector;
use prelim_tests::patient::Patient;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, binary, eventually, phantoms, prelim, prelim_json, submit, words};
use serde_json::Value;

/// How far clocks and the order of messages may part a span from the root: an upload is begun before its first instance is
/// held, and a worker hears that its job is stored after the draft is made.
const TOLERANCE_NS: u64 = 20_000_000_000;

/// A coordinator on Redis with bytes in a folder that coordinators share.
fn coordinator(work: &Path, name: &str, redis: &Redis, variables: &[(&str, &str)]) -> Server {
    let (data, bytes) = (work.join(name).join("data").display().to_string(), work.join("bytes").display().to_string());
    let (redis, bytes) = (redis.url(), format!("file://{bytes}"));
    let settings = "coordinator --json --grpc 127.0.0.1:0 --max-attempts 2 --close-s 2";
    let mut arguments: Vec<&str> = settings.split_whitespace().collect();
    arguments.extend(["--redis", &redis, "--bytes", &bytes, "--data", &data]);
    Server::start(&work.join(name), &arguments, variables)
}

fn worker(work: &Path, name: &str, grpc: &str, variables: &[(&str, &str)]) -> Server {
    Server::start(&work.join(name), &["worker", "--json", "--grpc", grpc], variables)
}

/// Writes objects into a folder of their own.
fn write(folder: PathBuf, objects: &[Vec<u8>]) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    for (number, object) in objects.iter().enumerate() {
        fs::write(folder.join(number.to_string()), object).unwrap();
    }
    folder
}

fn trace_of(study: &str) -> String {
    StudyTrace::of(&Uid::parse(study).unwrap()).id()
}

fn text<'a>(span: &'a Value, field: &str) -> &'a str {
    span[field].as_str().unwrap_or_else(|| panic!("no {field} in {span}"))
}

fn number(span: &Value, field: &str) -> u64 {
    span[field].as_u64().unwrap_or_else(|| panic!("no {field} in {span}"))
}

/// The spans of a study's trace.
fn of_study<'a>(spans: &'a [Value], study: &str) -> Vec<&'a Value> {
    let trace = trace_of(study);
    spans.iter().filter(|span| span["trace"] == trace.as_str()).collect()
}

fn named<'a>(spans: &[&'a Value], name: &str) -> Vec<&'a Value> {
    spans.iter().copied().filter(|span| span["name"] == name).collect()
}

/// Asserts that the spans are one tree under a root that is there once, and returns the root. Those that began while the root
/// lasted are within it: it ends with the first draft, and a study may be opened again after that.
fn check_tree<'a>(spans: &[&'a Value]) -> &'a Value {
    let shown = || format!("{spans:#?}");
    let ids: BTreeSet<&str> = spans.iter().map(|span| text(span, "span")).collect();
    assert_eq!(ids.len(), spans.len(), "an id is there twice: {}", shown());
    let roots: Vec<&&Value> = spans.iter().filter(|span| text(span, "parent").is_empty()).collect();
    assert_eq!(roots.len(), 1, "{}", shown());
    let root = roots[0];
    assert_eq!(root["name"], "study");
    for span in spans.iter().filter(|span| span["span"] != root["span"]) {
        assert!(ids.contains(text(span, "parent")), "the parent of {span} is not there: {}", shown());
        assert!(number(span, "start_ns") <= number(span, "end_ns"), "{span}");
        let begins = number(span, "start_ns") + TOLERANCE_NS >= number(root, "start_ns");
        let is_later = number(span, "start_ns") > number(root, "end_ns");
        let ends = is_later || number(span, "end_ns") <= number(root, "end_ns") + TOLERANCE_NS;
        assert!(begins && ends, "{span} is outside {root}");
    }
    for step in ["fetch", "decode", "read", "hand in"].iter().flat_map(|step| named(spans, step)) {
        let job = spans.iter().find(|span| span["span"] == step["parent"]).unwrap();
        assert_eq!(job["name"], "job", "{step}");
        let within =
            number(step, "start_ns") >= number(job, "start_ns") && number(step, "end_ns") <= number(job, "end_ns");
        assert!(within, "{step} is outside {job}");
    }
    root
}

/// Which attempts at which jobs spans of a name are about.
fn attempts(spans: &[&Value], name: &str) -> BTreeMap<(u64, u64), String> {
    let about = |span: &&Value| {
        let attribute = |key: &str| span["attributes"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {span}"));
        let key = (attribute("prelim.job.number"), attribute("prelim.job.attempt"));
        (key, text(&span["resource"], "service.name").to_owned())
    };
    named(spans, name).iter().map(about).collect()
}

/// Asserts that nothing in the spans says whose they are.
fn check_nameless(spans: &[Value], studies: &[&Value]) {
    let all = serde_json::to_string(spans).unwrap();
    for study in studies {
        for field in ["study_uid", "patient_id", "patient_name", "accession_number"] {
            let value = study[field].as_str().unwrap_or_default();
            assert!(value.is_empty() || !all.contains(value), "{field} {value} is in the spans");
        }
    }
}

/// Issue promise: the spans of coordinators and workers for one study are one tree with one root, and name no patient.
#[test]
fn the_spans_of_a_study_from_every_process_are_one_tree() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let (redis, collector) = (Redis::start(&at("redis")), Collector::start(&at("spans")));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str());
    let named_so = |name: &'static str| [endpoint, ("OTEL_SERVICE_NAME", name)];
    let mut first = coordinator(work.path(), "first", &redis, &named_so("first"));
    let mut second = coordinator(work.path(), "second", &redis, &named_so("second"));
    let mut reader = worker(work.path(), "reader", &second.grpc, &[endpoint]);
    phantoms(&at("film"), 1, 41, Some("dx"));
    phantoms(&at("volume"), 1, 42, Some("ct"));
    let outcomes = [submit(&first.grpc, &at("film")), submit(&second.grpc, &at("volume"))];
    let studies: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["studies"][0]).collect();
    assert!(studies.iter().all(|study| study["state"] == "drafted"), "{outcomes:#?}");

    // A second draft, of a study that has one.
    let mut patient = Patient::default();
    let late = patient.next_study();
    for views in [1, 2] {
        let folder = write(at("late").join(views.to_string()), &patient.film(&late, views));
        assert_eq!(submit(&first.grpc, &folder)["studies"][0]["state"], "drafted");
    }
    // What is not sent yet goes out when a process ends.
    for server in [&mut reader, &mut first, &mut second] {
        assert!(server.terminate().0.success());
    }
    let spans = collector.spans();

    for (study, jobs) in studies.iter().zip(outcomes.iter().map(|outcome| &outcome["studies"][0]["jobs"])) {
        let of_this = of_study(&spans, study["study_uid"].as_str().unwrap());
        let root = check_tree(&of_this);
        let is_within = |span: &&Value| number(span, "start_ns") <= number(root, "end_ns");
        assert!(of_this.iter().all(is_within), "{of_this:#?}");
        assert_eq!(root["status"], "STATUS_CODE_UNSET", "{root}");
        let names: BTreeSet<&str> = of_this.iter().map(|span| text(span, "name")).collect();
        let all = ["decode", "fetch", "hand in", "job", "merge", "plan", "read", "receive", "study", "wait"];
        assert_eq!(names, all.into(), "{of_this:#?}");
        let once = ["receive", "plan", "merge"].map(|name| named(&of_this, name).len());
        assert_eq!(once, [1, 1, 1], "{of_this:#?}");
        let (waits, reads) = (attempts(&of_this, "wait"), attempts(&of_this, "job"));
        assert!(waits.keys().eq(reads.keys()) && reads.keys().all(|(_, attempt)| *attempt == 1), "{of_this:#?}");
        assert!(reads.keys().map(|(number, _)| *number).eq(0..reads.len() as u64), "{jobs}: {reads:?}");
        assert!(reads.values().all(|service| service == "prelim-worker"), "{reads:?}");
        assert!(waits.values().all(|service| service == "second"), "{waits:?}");
        for job in named(&of_this, "job") {
            assert_eq!((&job["kind"], &job["status"]), (&"SPAN_KIND_CONSUMER".into(), &"STATUS_CODE_OK".into()));
            assert!(job["attributes"]["prelim.generated_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{job}");
        }
    }
    let receivers: Vec<&str> = studies
        .iter()
        .flat_map(|study| named(&of_study(&spans, study["study_uid"].as_str().unwrap()), "receive"))
        .map(|span| text(&span["resource"], "service.name"))
        .collect();
    assert_eq!(receivers, ["first", "second"]);

    let of_late = of_study(&spans, &late);
    let root = check_tree(&of_late);
    assert_eq!(named(&of_late, "merge").len(), 2, "{of_late:#?}");
    assert_eq!(root["status"], "STATUS_CODE_UNSET");
    check_nameless(&spans, &studies);
    assert!(patient.name.find(serde_json::to_string(&spans).unwrap().as_bytes()).is_none());
}

/// Issue promise: what fails is seen to have failed, in the spans of the job and of the study, without naming it.
#[test]
fn what_fails_has_an_error_status_and_still_one_root() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let (redis, collector) = (Redis::start(&at("redis")), Collector::start(&at("spans")));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str());
    let mut coordinator = coordinator(work.path(), "coordinator", &redis, &[endpoint]);
    let grpc = coordinator.grpc.clone();
    let mut patient = Patient::default();
    let (damaged, unreadable, stopped) = (patient.next_study(), patient.next_study(), patient.next_study());
    let send = |name: &str, objects: &[Vec<u8>]| {
        let folder = write(at(name), objects).display().to_string();
        let output = prelim(["submit", "--grpc", &grpc, &folder]);
        assert!(output.status.success(), "{}", words(&output));
    };
    let film = patient.film(&damaged, 1);
    send("damaged", &film);
    let digest = prelim_imaging::header::digest(&film[0]);
    let stored = at("bytes").join("studies").read_dir().unwrap().next().unwrap().unwrap().path().join(digest.as_str());
    fs::write(stored, b"something else").unwrap();
    let mut report = patient.image("1.2.840.10008.5.1.4.1.1.88.22", &unreadable, 1);
    send("unreadable", &[report.text((8, 0x60), "CS", "SR").file()]);
    send("stopped", &patient.film(&stopped, 1));
    let cancel = CancelStudyRequest { study_uid: stopped.clone(), reason: "not wanted".to_owned() };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut client = StudyServiceClient::connect(format!("http://{grpc}")).await.unwrap();
        client.cancel_study(cancel).await.unwrap();
    });
    let mut reader = worker(work.path(), "reader", &grpc, &[endpoint]);
    let state = |study: &str| {
        let listed = prelim_json(["studies", "--json", "--grpc", &grpc]);
        let found = listed.as_array().unwrap().iter().find(|listed| listed["study_uid"] == study);
        found.map(|study| study["state"].as_str().unwrap().to_owned())
    };
    let wait_for_failure = || {
        let failed = || state(&damaged).as_deref() == Some("failed");
        eventually(PATIENCE, || format!("failed, but {:?}", state(&damaged)), failed);
    };
    wait_for_failure();
    // Tried again, it fails again.
    let requeued = prelim(["requeue", "--all", "--grpc", &grpc]);
    assert!(requeued.status.success(), "{}", words(&requeued));
    collector.wait_for("a second merge", |spans| named(&of_study(spans, &damaged), "merge").len() == 2);
    wait_for_failure();
    for server in [&mut reader, &mut coordinator] {
        assert!(server.terminate().0.success());
    }
    let spans = collector.spans();

    for (study, why) in [(&damaged, "no draft"), (&unreadable, "nothing to read"), (&stopped, "cancelled")] {
        let root = check_tree(&of_study(&spans, study));
        assert_eq!((text(root, "status"), text(root, "status_text")), ("STATUS_CODE_ERROR", why));
    }
    let jobs = of_study(&spans, &damaged);
    let jobs = named(&jobs, "job");
    assert_eq!(jobs.len(), 2, "{jobs:#?}");
    for job in jobs {
        assert_eq!(job["status"], "STATUS_CODE_ERROR");
        assert!(text(job, "status_text").contains("damaged"), "{job}");
    }
    let all = serde_json::to_string(&spans).unwrap();
    for mark in [&patient.name, &patient.uid] {
        assert_eq!(mark.find(all.as_bytes()), None);
    }
}

/// Issue promise: a share of studies can be traced; a study is traced by every process or by none.
#[test]
fn a_study_is_traced_by_every_process_or_by_none() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let mut patient = Patient::default();
    let studies: Vec<String> = (0..8).map(|_| patient.next_study()).collect();
    let films: Vec<Vec<u8>> = studies.iter().flat_map(|study| patient.film(study, 1)).collect();
    let films = write(at("films"), &films);
    for (sampler, ratio) in [("traceidratio", "0"), ("parentbased_traceidratio", "0.5"), ("always_off", "")] {
        let folder = at(sampler);
        let (redis, collector) = (Redis::start(&folder.join("redis")), Collector::start(&folder.join("spans")));
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ];
        let mut coordinator = coordinator(&folder, "coordinator", &redis, &variables);
        let mut reader = worker(&folder, "reader", &coordinator.grpc, &variables);
        let outcome = submit(&coordinator.grpc, &films);
        assert!(outcome["studies"].as_array().unwrap().iter().all(|study| study["state"] == "drafted"), "{outcome}");
        for server in [&mut reader, &mut coordinator] {
            assert!(server.terminate().0.success());
        }
        let spans = collector.spans();
        let traced: BTreeSet<&str> = spans.iter().map(|span| text(span, "trace")).collect();
        assert!(ratio == "0.5" || spans.is_empty(), "{sampler} {ratio}: {spans:#?}");
        for study in studies.iter().filter(|study| traced.contains(trace_of(study).as_str())) {
            let of_this = of_study(&spans, study);
            check_tree(&of_this);
            assert_eq!(of_this.len(), 10, "{of_this:#?}");
        }
    }
}

/// Issue promise: settings that cannot be followed are refused in one sentence that says what to set.
#[test]
fn what_cannot_be_set_is_refused_with_what_can() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    for (name, value, hints) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", ["OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "4317"]),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", ["OTEL_TRACES_SAMPLER", "traceidratio"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere at all", ["OTEL_EXPORTER_OTLP_ENDPOINT", "traces"]),
    ] {
        let mut command = std::process::Command::new(binary());
        command.args(["coordinator", "--grpc", "127.0.0.1:0", "--data"]).arg(&data);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317").env(name, value);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.lines().count() == 1, "{}", words(&output));
        assert!(hints.iter().all(|hint| said.contains(hint)), "{said}");
        assert!(!data.exists(), "a mistake leaves no trace");
    }
}

/// Issue promise: a collector that is away, or does not answer, costs neither work nor a slow end.
#[test]
fn a_collector_that_is_away_stops_nothing() {
    let work = tempfile::tempdir().unwrap();
    let mut patient = Patient::default();
    let study = patient.next_study();
    let film = write(work.path().join("film"), &patient.film(&study, 1));
    // Takes connections, and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for (name, endpoint) in
        [("closed", "http://127.0.0.1:1"), ("silent", &silent), ("unknown", "http://nowhere.invalid:4317")]
    {
        let folder = work.path().join(name);
        let data = folder.join("data").display().to_string();
        let arguments = ["up", "--json", "--grpc", "127.0.0.1:0", "--close-s", "1", "--data", &data];
        let mut up = Server::start(&folder, &arguments, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]);
        let outcome = submit(&up.grpc, &film);
        assert_eq!(outcome["studies"][0]["state"], "drafted", "{name}: {outcome}");
        let (status, took) = up.terminate();
        // What is not sent is tried for five seconds, and a name that no server answers for is looked up for some more.
        assert!(status.success() && took < Duration::from_secs(45), "{name}: {status} after {took:?}");
    }
}
