//! What coordinators and workers tell of themselves in numbers, and that nobody's name is in it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use prelim_tests::ports::free_address;
use prelim_tests::{PATIENCE, Process, binary, eventually, phantoms, repository, stand_in_driver, submit};

/// Status and body of a page.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: prelim\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Waits until a role says that it is ready.
fn is_ready(address: &str) {
    let told = || get(address, "/readyz").1;
    eventually(PATIENCE, told, || get(address, "/readyz").0 == 200);
}

/// The cells of a row in Markdown, without the quotes of code around a name.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
}

/// The value of a number in the text that Prometheus reads.
fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Issue promise: Prometheus metrics with names, units and meaning in one list; probes that do not depend on the model.
#[test]
fn the_numbers_of_the_list_are_told_and_name_nobody() {
    let work = tempfile::tempdir().unwrap();
    let studies = work.path().join("studies");
    phantoms(&studies, 2, 31, None);
    let (ours, theirs) = (free_address(), free_address());
    let data = work.path().join("data").display().to_string();
    let destinations = work.path().join("destinations.toml").display().to_string();
    let pacs = "[[destination]]\nname = \"pacs\"\naddress = \"dicom://PACS@127.0.0.1:104\"\nobjects = []\n";
    std::fs::write(&destinations, pacs).expect("a file");
    let fixed = ["coordinator", "--json", "--grpc", "127.0.0.1:0", "--metrics", &ours, "--data", &data];
    let coordinator = Process::start(fixed.into_iter().chain(["--destinations", &destinations]));
    let _worker = Process::start(["worker", "--json", "--grpc", &coordinator.grpc, "--metrics", &theirs]);
    let outcome = submit(&coordinator.grpc, &studies);
    let studies = outcome["studies"].as_array().expect("studies");
    for address in [&ours, &theirs] {
        assert_eq!(get(address, "/livez").0, 200);
        is_ready(address);
    }
    // A worker tells its last job when it has handed it in.
    let told = || get(&ours, "/metrics").1 + &get(&theirs, "/metrics").1;
    let mut text = String::new();
    eventually(PATIENCE, told, || {
        text = told();
        value(&text, "prelim_worker_jobs_running") == 0.0 && value(&text, "prelim_studies_open") == 0.0
    });
    let list = std::fs::read_to_string(repository().join("helm/METRICS.md")).expect("the list");
    let rows: Vec<Vec<&str>> = list.lines().filter(|line| line.starts_with("| `")).map(cells).collect();
    assert!(rows.len() > 20, "the list has only {} rows", rows.len());
    for row in &rows {
        let [name, kind, unit, labels, meaning] = row[..] else { panic!("not five cells: {row:?}") };
        let bare = name.trim_end_matches("_total");
        for line in [format!("# TYPE {bare} {kind}\n"), format!("# HELP {bare} {meaning}.\n")] {
            assert!(text.contains(&line), "{line:?} is in the list and is not told: {text}");
        }
        assert_eq!(name.contains("_seconds"), unit == "s", "{name} is in {unit}");
        let is_its = |line: &&str| {
            let told = line.split_once('{').and_then(|(told, _)| told.strip_prefix(bare));
            told.is_some_and(|end| ["", "_total", "_bucket", "_sum", "_count"].contains(&end))
        };
        let label = text.lines().find(is_its);
        let each = labels.split(',').map(|label| label.trim_matches(['`', ' ']));
        let has = label.is_some_and(|line| {
            each.clone()
                .all(|label| [format!("{{{label}="), format!(",{label}=")].iter().any(|told| line.contains(told)))
        });
        assert!(labels.is_empty() || has, "{name} is told without {labels}");
    }
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for line in told {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(list.contains(&format!("`{name}")), "{name} is told and is not in the list");
    }
    let drafted = format!("prelim_studies_settled_total{{state=\"drafted\"}} {}", studies.len());
    assert!(text.contains(&drafted), "{text}");
    assert!(value(&text, "prelim_job_read_seconds_count") >= studies.len() as f64);
    for name in ["generated_tokens", "forced_tokens", "images_encoded"] {
        assert!(value(&text, &format!("prelim_worker_{name}_total")) > 0.0, "{name}");
    }
    let device =
        text.lines().find(|line| line.starts_with("prelim_worker_device{")).unwrap_or_else(|| panic!("{text}"));
    for label in ["name=\"cpu (", "kind=\"cpu\"", "arithmetic=\"cpu bf16\""] {
        assert!(device.contains(label), "no {label} in {device}");
    }
    assert_eq!(value(&text, "prelim_worker_device_memory_bytes"), 0.0);
    for study in studies {
        for field in ["study_uid", "patient_id"] {
            assert!(!text.contains(study[field].as_str().expect("a text")), "{field} is in the numbers");
        }
    }
}

/// A worker on a GPU (the kernels' simulator, behind a stand-in for the driver) names it and tells of its memory.
#[test]
fn a_worker_names_its_gpu_and_tells_of_its_memory() {
    let work = tempfile::tempdir().unwrap();
    let address = free_address();
    let arguments = ["worker", "--json", "--device", "cuda", "--metrics", &address, "--grpc", "127.0.0.1:1"];
    let mut command = Command::new(binary());
    command.args(arguments).env("LD_LIBRARY_PATH", stand_in_driver()).env("XDG_CACHE_HOME", work.path());
    let _worker = Process::start_as(&mut command);
    is_ready(&address);
    let text = get(&address, "/metrics").1;
    let device =
        text.lines().find(|line| line.starts_with("prelim_worker_device{")).unwrap_or_else(|| panic!("{text}"));
    for label in ["name=\"cuda:0 (simulator, sm_80, f16)\"", "kind=\"cuda\"", "arithmetic=\"cuda f16\""] {
        assert!(device.contains(label), "no {label} in {device}");
    }
    assert!(device.ends_with(" 1"), "{device}");
    assert_eq!(value(&text, "prelim_worker_device_memory_bytes"), f64::from(1u32 << 31) * 2.0);
    // The weights are 10 MiB, the cache is 32.
    let used = value(&text, "prelim_worker_device_memory_used_bytes");
    assert!((42e6..400e6).contains(&used), "{used}");
}

/// A coordinator and its worker in one process have one address, which tells the numbers of both.
#[test]
fn one_process_tells_the_numbers_of_both_roles() {
    let work = tempfile::tempdir().unwrap();
    let (address, data) = (free_address(), work.path().join("data").display().to_string());
    let arguments = ["up", "--json", "--device", "cuda:0", "--metrics", &address, "--data", &data];
    let mut command = Command::new(binary());
    command.args(arguments).args(["--grpc", "127.0.0.1:0"]);
    command.env("LD_LIBRARY_PATH", stand_in_driver()).env("XDG_CACHE_HOME", work.path());
    let _both = Process::start_as(&mut command);
    // The worker has its slots once it asks for work.
    let told = || get(&address, "/metrics").1;
    eventually(PATIENCE, told, || value(&told(), "prelim_worker_slots") > 0.0);
    let text = told();
    assert!(text.contains("prelim_worker_device{name=\"cuda:0 (simulator, sm_80, f16)\",kind=\"cuda\""), "{text}");
    assert_eq!(value(&text, "prelim_studies_open"), 0.0);
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
}

/// A simulated worker tells its numbers as one that reads does: it stands in for one.
#[test]
fn a_simulated_worker_tells_its_numbers() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name).display().to_string();
    std::fs::write(at("times"), "xray,20").unwrap();
    let coordinator = Process::start(["coordinator", "--json", "--grpc", "127.0.0.1:0", "--data", &at("data")]);
    let address = free_address();
    let grpc = &coordinator.grpc;
    let times = at("times");
    let _worker = Process::start([
        "worker",
        "--json",
        "--grpc",
        grpc,
        "--simulate",
        &times,
        "--slots",
        "3",
        "--metrics",
        &address,
    ]);
    phantoms(&work.path().join("studies"), 1, 5, Some("dx"));
    assert_eq!(submit(grpc, &work.path().join("studies"))["studies"][0]["state"], "drafted");
    is_ready(&address);
    let (status, text) = get(&address, "/metrics");
    assert_eq!((status, value(&text, "prelim_worker_slots")), (200, 3.0));
    let done = "prelim_worker_stage_seconds_count{stage=\"generate\"} ";
    let done = text.lines().find_map(|line| line.strip_prefix(done)).unwrap_or_else(|| panic!("{text}"));
    assert!(done.parse::<f64>().unwrap() >= 1.0, "{text}");
}
