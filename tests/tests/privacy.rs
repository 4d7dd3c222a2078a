//! What is known of a patient stays where it belongs: in the record of the study, in its objects and in its reports.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_proto::v1::{CancelStudyRequest, GetReportRequest, SubmitFolderRequest};
use prelim_tests::collector::Collector;
use prelim_tests::patient::Patient;
use prelim_tests::planted::Mark;
use prelim_tests::ports::free_address;
use prelim_tests::redis::Redis;
use prelim_tests::server::Server;
use prelim_tests::{PATIENCE, draft, prelim, prelim_json};
use serde_json::Value;

/// Prefix of all keys.
const PREFIX: &str = "{prelim}:";

/// Everything that runs, with its files in one folder.
struct World {
    work: PathBuf,
    redis: Redis,
    collector: Collector,
    metrics: Vec<String>,
    /// One logs text, the other JSON.
    coordinators: Vec<Server>,
    workers: Vec<Server>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(work: &Path) -> Self {
        let redis = Redis::start(&work.join("redis"));
        let collector = Collector::start(&work.join("spans"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (coordinators, workers, metrics) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { work: work.to_owned(), redis, collector, metrics, coordinators, workers, runtime };
        let bytes = format!("file://{}", work.join("bytes").display());
        for name in ["coordinator-text", "coordinator-json"] {
            let folder = work.join(name);
            let (data, audit) = (folder.join("data").display().to_string(), folder.join("audit.jsonl"));
            let (redis, metrics, audit) = (world.redis.url(), world.metrics(), audit.display().to_string());
            let settings = "coordinator --json --grpc 127.0.0.1:0 --lease-ttl-ms 4000 --quiet-period-ms 2000 \
                            --max-attempts 3 --close-s 2 --allow-folders";
            let mut arguments: Vec<&str> = settings.split_whitespace().collect();
            let more =
                ["--redis", &redis, "--bytes", &bytes, "--data", &data, "--metrics", &metrics, "--audit", &audit];
            arguments.extend(more);
            let server = world.server(name, &arguments);
            world.coordinators.push(server);
        }
        world
    }

    /// Starts a role under a name; one whose name says so logs JSON.
    fn server(&self, name: &str, arguments: &[&str]) -> Server {
        let json = name.ends_with("json").to_string();
        let endpoint = self.collector.endpoint.as_str();
        let variables =
            [("PRELIM_LOG", "trace"), ("PRELIM_LOG_JSON", &json), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
        Server::start(&self.work.join(name), arguments, &variables)
    }

    /// Starts a worker of a coordinator.
    fn worker(&mut self, name: &str, coordinator: usize, more: &[&str]) {
        let (grpc, metrics) = (self.grpc(coordinator), self.metrics());
        let mut arguments = vec!["worker", "--json", "--grpc", &grpc, "--worker-id", name, "--metrics", &metrics];
        arguments.extend(more);
        let server = self.server(name, &arguments);
        self.workers.push(server);
    }

    /// A free address for numbers.
    fn metrics(&mut self) -> String {
        let address = free_address();
        self.metrics.push(address.clone());
        address
    }

    fn grpc(&self, coordinator: usize) -> String {
        self.coordinators[coordinator].grpc.clone()
    }

    /// Sends objects in files whose folder and names hold a name, and does not wait.
    fn send(&self, coordinator: usize, name: &str, objects: &[Vec<u8>]) -> Value {
        let folder = self.write(name, objects);
        let grpc = self.grpc(coordinator);
        // Where all are refused it says so and ends with an error.
        let output = prelim(["submit", "--json", "--grpc", &grpc, &folder.display().to_string()]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", prelim_tests::words(&output)))
    }

    fn write(&self, name: &str, objects: &[Vec<u8>]) -> PathBuf {
        let folder = self.work.join("sent").join(name);
        fs::create_dir_all(&folder).unwrap();
        for (number, object) in objects.iter().enumerate() {
            fs::write(folder.join(format!("{name} {number}.dcm")), object).unwrap();
        }
        folder
    }

    fn state(&self, study: &str) -> String {
        let listed = prelim_json(["studies", "--json", "--limit", "500", "--grpc", &self.grpc(0)]);
        let found = listed.as_array().unwrap().iter().find(|listed| listed["study_uid"] == study);
        found.map(|study| study["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    fn wait_for(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Leases that ran out.
    fn leases_ended(&self) -> usize {
        self.coordinators.iter().map(|coordinator| coordinator.log().matches("lease ran out").count()).sum()
    }

    /// Calls that are answered with an error, each of them about the patient.
    fn ask_amiss(&self, patient: &Patient, drafted: &str) {
        let address = format!("http://{}", self.grpc(1));
        let name = patient.value(95);
        let folder = self.work.join("sent").join(&name).display().to_string();
        self.runtime.block_on(async {
            let mut client = StudyServiceClient::connect(address).await.unwrap();
            for study in [name.clone(), format!("{}.404", patient.uid.text), drafted.to_owned()] {
                let reason = name.clone();
                client.cancel_study(CancelStudyRequest { study_uid: study.clone(), reason }).await.unwrap_err();
                let report = GetReportRequest { study_uid: study.clone(), format: 99, version: 0 };
                client.get_report(report).await.unwrap_err();
            }
            let request = SubmitFolderRequest { path: folder, request_id: name, ..Default::default() };
            client.submit_folder(request).await.unwrap_err();
        });
        for job in [format!("{drafted}/0"), format!("{}.404/1", patient.uid.text), patient.value(96)] {
            prelim(["requeue", "--grpc", &self.grpc(0), &job]);
        }
    }

    fn cancel(&self, study: &str, reason: &str) {
        let address = format!("http://{}", self.grpc(0));
        let request = CancelStudyRequest { study_uid: study.to_owned(), reason: reason.to_owned() };
        self.runtime.block_on(async {
            StudyServiceClient::connect(address).await.unwrap().cancel_study(request).await.unwrap();
        });
    }

    fn submit_folder(&self, folder: &Path) {
        let address = format!("http://{}", self.grpc(1));
        let path = folder.display().to_string();
        let request = SubmitFolderRequest { path, request_id: "folder".to_owned(), ..Default::default() };
        self.runtime.block_on(async {
            StudyServiceClient::connect(address).await.unwrap().submit_folder(request).await.unwrap();
        });
    }

    /// Damages what is stored of an object.
    fn damage(&self, object: &[u8]) {
        let digest = prelim_imaging::header::digest(object);
        let stored = files(&self.work.join("bytes")).into_iter().find(|path| path.ends_with(digest.as_str())).unwrap();
        fs::write(stored, &object[..object.len() - 7]).unwrap();
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// A page of numbers.
fn get(address: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return answer };
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: prelim\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// What is looked for.
struct Search<'a> {
    patients: [&'a Patient; 2],
    found: Vec<String>,
}

impl Search<'_> {
    /// Whether a name or a date of a patient is in it.
    fn names(&self, bytes: &[u8]) -> Option<String> {
        let marks = self.patients.iter().flat_map(|patient| std::iter::once(&patient.name).chain(&patient.dates));
        first(marks, bytes)
    }

    /// Whether a study is named in it by its UID.
    fn uids(&self, bytes: &[u8]) -> Option<String> {
        first(self.patients.iter().map(|patient| &patient.uid), bytes)
    }

    /// Something that may hold no name, no date and no UID.
    fn nothing_in(&mut self, what: &str, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "{what} was not written");
        for line in bytes.split(|byte| *byte == b'\n') {
            let found = self.names(line).or_else(|| self.uids(line));
            self.found.extend(found.map(|found| format!("{what}, {found}")));
        }
    }

    /// Something that names studies by UID, and nobody.
    fn no_names_in(&mut self, what: &str, bytes: &[u8]) {
        self.found.extend(self.names(bytes).map(|found| format!("{what}, {found}")));
    }
}

fn first<'a>(mut marks: impl Iterator<Item = &'a Mark>, bytes: &[u8]) -> Option<String> {
    marks.find_map(|mark| mark.find(bytes))
}

/// Looks at every key of the store. Patients are in studies' records (`s:`) and in the instances that these list (`i:`); keys,
/// fields, jobs, their outcomes and failures, queues and the rest name studies by UID at most. Returns the records.
fn search_redis(search: &mut Search<'_>, redis: &Redis) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    let keys = redis.ask(&[b"KEYS", b"*"]);
    assert!(keys.len() > 20, "{} keys", keys.len());
    for key in keys {
        search.no_names_in("a key", &key);
        let name = String::from_utf8(key.clone()).unwrap();
        let kind = redis.ask(&[b"TYPE", &key]).remove(0);
        let held = match kind.as_slice() {
            b"hash" => redis.ask(&[b"HGETALL", &key]),
            b"zset" => redis.ask(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
            b"set" => redis.ask(&[b"SMEMBERS", &key]),
            b"string" => redis.ask(&[b"GET", &key]),
            other => panic!("{name} is a {}", String::from_utf8_lossy(other)),
        };
        let is_record = ["s:", "i:"].iter().any(|kind| name.starts_with(&format!("{PREFIX}{kind}")));
        for (place, value) in held.into_iter().enumerate() {
            // Fields and values take turns in a hash.
            if is_record && place % 2 == 1 {
                records.push((name.clone(), value));
            } else {
                search.no_names_in(&name, &value);
            }
        }
    }
    records
}

/// Lines of an audit: PS3.15 section A.5 has studies named by UID (the participant object of an access or a transfer), which
/// prelim writes into `studies` and nowhere else; it names no patient, though the section lets it.
fn search_audit(search: &mut Search<'_>, text: &[u8]) {
    let mut studies = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        search.no_names_in("audit", line);
        let mut line: Value = serde_json::from_slice(line).unwrap();
        studies += line.as_object_mut().unwrap().remove("studies").is_some() as u32;
        search.nothing_in("audit beside its studies", line.to_string().as_bytes());
    }
    assert!(studies > 0, "no study is in the audit");
}

/// Issue promise: structured logs, numbers, traces, job records and the audit hold no patient data, whatever goes wrong.
#[test]
fn nothing_of_a_patient_is_written_outside_of_records_objects_and_reports() {
    let work = tempfile::tempdir().unwrap();
    let (mut patient, mut other) = (Patient::default(), Patient::default());
    let mut world = World::new(work.path());

    // A study that kills whoever reads it, given up, and then read by another.
    let poison = patient.next_study();
    fs::write(work.path().join("times"), format!("xray,10\npoison,{poison}")).unwrap();
    world.worker("poisoned-text", 0, &["--simulate", &work.path().join("times").display().to_string()]);
    world.send(0, &patient.value(80), &patient.film(&poison, 1));
    world.wait_for("a dead letter", |world| {
        if !world.workers[0].is_alive() {
            world.workers[0].start_again();
        }
        world.state(&poison) == "failed"
    });
    let dead = prelim_json(["dead", "--json", "--grpc", &world.grpc(0)]);
    assert_eq!(dead.as_array().unwrap().len(), 1, "{dead}");
    // One that is lost to a worker that stands still past its lease.
    let lost = patient.next_study();
    fs::write(work.path().join("times"), "xray,8000").unwrap();
    world.workers[0].kill();
    world.workers[0].start_again();
    world.send(1, &patient.value(79), &patient.film(&lost, 1));
    world.wait_for("the job to be leased", |world| world.state(&lost) == "reading");
    world.workers[0].signal("STOP");
    let ended = world.leases_ended();
    world.wait_for("the lease to end", |world| world.leases_ended() > ended);
    world.workers[0].signal("CONT");
    world.wait_for("the worker to hear of it", |world| {
        let ways = ["given up: the lease is lost", "outcome dropped"];
        ways.iter().any(|said| world.workers[0].log().contains(said))
    });
    world.workers[0].kill();
    assert!(prelim(["requeue", "--all", "--grpc", &world.grpc(1)]).status.success());

    // A study that is stopped, and one whose stored bytes are not what came.
    let (stopped, damaged) = (patient.next_study(), patient.next_study());
    world.send(1, &patient.value(81), &patient.film(&stopped, 1));
    world.cancel(&stopped, &format!("{} is at home", patient.value(82)));
    let film = patient.film(&damaged, 1);
    world.send(1, &patient.value(83), &film);
    world.damage(&film[0]);

    // Everything else, with a worker that is killed in the middle of it, one that is drained, and both coordinators
    // started again: one killed, one asked to.
    let (chest, thorax) = (patient.next_study(), patient.next_study());
    world.worker("reader-text", 0, &[]);
    world.worker("reader-json", 1, &[]);
    world.send(0, &patient.value(84), &[patient.film(&chest, 2), patient.volume(&thorax, 6)].concat());
    world.workers[2].kill();
    // Two patients in one study: in one upload, and in another.
    let mixed = other.next_study();
    world.send(1, &other.value(85), &[other.film(&mixed, 1), patient.film(&mixed, 2)].concat());
    world.send(1, &other.value(86), &other.film(&chest, 3));
    let broken = world.send(1, &patient.value(87), &patient.broken());
    let objects = broken["objects"].as_array().unwrap();
    let refused: Vec<&Value> = objects.iter().filter(|object| object["disposition"] == "refused").collect();
    assert!(refused.len() >= 8 && objects.len() - refused.len() >= 16, "{broken:#}");
    world.submit_folder(&world.write(&patient.value(88), &patient.broken()));
    world.workers[2].start_again();
    world.coordinators[1].kill();
    world.coordinators[1].start_again();
    let stays = prelim_json(["studies", "--json", "--limit", "500", "--grpc", &world.grpc(0)]);
    let all: Vec<String> =
        stays.as_array().unwrap().iter().map(|study| study["study_uid"].as_str().unwrap().to_owned()).collect();
    world.wait_for("every study to be settled", |world| {
        all.iter().all(|study| matches!(world.state(study).as_str(), "drafted" | "failed" | "cancelled"))
    });
    for (study, state) in [(&poison, "drafted"), (&chest, "drafted"), (&thorax, "drafted"), (&damaged, "failed")] {
        assert_eq!(world.state(study), state, "{study}");
    }
    world.ask_amiss(&patient, &chest);
    let reports: Vec<Vec<u8>> = ["json", "html", "sr", "text"]
        .iter()
        .flat_map(|format| [(&chest, format), (&thorax, format)])
        .map(|(study, format)| draft(&world.grpc(0), study, format))
        .collect();
    assert!(prelim(["drain", "reader-text", "--grpc", &world.grpc(0)]).status.success());
    world.wait_for("the drained worker to stop", |world| !world.workers[1].is_alive());
    let numbers: Vec<u8> = world.metrics.iter().flat_map(|address| get(address)).collect();
    assert!(String::from_utf8_lossy(&numbers).contains("prelim_studies_settled_total"));
    world.workers[2].terminate();
    for coordinator in &mut world.coordinators {
        coordinator.terminate();
    }

    let mut search = Search { patients: [&patient, &other], found: Vec::new() };
    // What is looked for is there, where it belongs.
    for report in &reports {
        assert!(search.names(report).is_some(), "{}", String::from_utf8_lossy(report));
    }
    let records = search_redis(&mut search, &world.redis);
    for mark in [&patient.name, &patient.dates[0], &patient.dates[1], &other.name] {
        assert!(records.iter().any(|(_, value)| mark.find(value).is_some()), "{mark:?} is in no record");
    }
    search.nothing_in("numbers", &numbers);
    let skipped = ["sent", "bytes", "redis", "times"].map(|name| work.path().join(name));
    for path in files(work.path()) {
        // Objects and reports are stored as they are, and Redis keeps its records on the disk too.
        let name = path.strip_prefix(work.path()).unwrap().display().to_string();
        if !name.starts_with("sent") {
            search.nothing_in("a name of a file", name.as_bytes());
        }
        if skipped.iter().any(|skipped| path.starts_with(skipped)) {
            continue;
        }
        let text = fs::read(&path).unwrap();
        match path.file_name().unwrap().to_str().unwrap() {
            "audit.jsonl" => search_audit(&mut search, &text),
            _ if text.is_empty() => {}
            _ => search.nothing_in(&name, &text),
        }
    }
    let spans = world.collector.spans();
    for (name, what) in [("receive", "receive"), ("study", "roots"), ("merge", "merges"), ("job", "jobs")] {
        assert!(spans.iter().any(|span| span["name"] == name), "no {what} in {} spans", spans.len());
    }
    // What would be a leak is one.
    let caught = search.found.len();
    search.nothing_in("a log", format!("INFO job: done name={}", patient.value(7).to_lowercase()).as_bytes());
    search.nothing_in("a log", format!("WARN failed study={chest}").as_bytes());
    assert_eq!(search.found.len(), caught + 2);
    search.found.truncate(caught);
    search.found.sort();
    search.found.dedup();
    assert!(search.found.is_empty(), "{} leaks: {:#?}", search.found.len(), search.found);
}
