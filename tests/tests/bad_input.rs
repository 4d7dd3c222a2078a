//! Bad input gets one clear sentence, an exit code that is not 0, and leaves nothing half-written.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Output;

use prelim_tests::{Process, phantoms, prelim, repository, submit, words};

/// Asserts that the command failed with one sentence on stderr that holds every one of `hints`.
fn check_refused(output: &Output, hints: &[&str]) {
    assert!(!output.status.success(), "{}", words(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let sentences: Vec<&str> = stderr.lines().filter(|line| line.starts_with("prelim: ")).collect();
    assert_eq!(sentences.len(), 1, "{}", words(output));
    for hint in hints {
        assert!(sentences[0].contains(hint), "no {hint:?} in: {}", sentences[0]);
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn up(data: &Path, extra: &[&str]) -> Output {
    let mut arguments = vec!["up", "--grpc", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    arguments.extend(extra);
    prelim(arguments)
}

#[test]
fn files_that_are_no_dicom_are_named_and_do_not_stop_the_others() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("mixed");
    phantoms(&folder, 1, 3, Some("dx"));
    fs::write(folder.join("notes.txt"), "not an image").unwrap();
    fs::write(folder.join("empty.dcm"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("gone.dcm")).unwrap();
    fs::File::create(folder.join("huge.dcm")).unwrap().set_len(513 << 20).unwrap();
    let process = Process::up(&work.path().join("data"));
    let outcome = submit(&process.grpc, &folder);
    let refused: Vec<(&str, &str)> = outcome["objects"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|object| object["disposition"] == "refused")
        .map(|object| (object["name"].as_str().unwrap(), object["reason"].as_str().unwrap()))
        .collect();
    // The phantom's truth.json is not sent.
    assert_eq!(refused.len(), 4, "{outcome}");
    assert!(refused.iter().any(|(name, reason)| *name == "huge.dcm" && reason.contains("512 MiB")), "{outcome}");
    assert!(refused.iter().any(|(name, reason)| *name == "gone.dcm" && reason.contains("cannot be read")), "{outcome}");
    assert!(refused.iter().all(|(_, reason)| !reason.is_empty()), "{outcome}");
    assert_eq!(outcome["studies"][0]["state"], "drafted");
    // The same again: nothing new, and the refused ones still count.
    check_refused(&prelim(["submit", "--grpc", &process.grpc, folder.to_str().unwrap()]), &["4 of 5 files refused"]);
}

#[test]
fn links_in_circles_and_folders_that_cannot_be_entered_stop_nothing() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("studies");
    phantoms(&folder, 1, 3, Some("dx"));
    std::os::unix::fs::symlink("..", folder.join("dx-00001/again")).unwrap();
    let process = Process::up(&work.path().join("data"));
    let outcome = submit(&process.grpc, &folder);
    assert_eq!(outcome["objects"].as_array().unwrap().len(), 1, "{outcome}");
    assert_eq!(outcome["studies"][0]["state"], "drafted");
}

#[test]
fn a_report_goes_where_it_is_told() {
    let work = tempfile::tempdir().unwrap();
    phantoms(&work.path().join("studies"), 1, 3, Some("dx"));
    let process = Process::up(&work.path().join("data"));
    let outcome = submit(&process.grpc, &work.path().join("studies"));
    let study = outcome["study_uids"][0].as_str().unwrap();
    let report =
        |to: &Path| prelim(["report", "--grpc", &process.grpc, study, "--format", "json", "-o", to.to_str().unwrap()]);
    // A link is followed, and what it leads to keeps its permissions; a device is written to.
    let (file, link) = (work.path().join("file.json"), work.path().join("link.json"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(report(&link).status.success());
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().starts_with('{'));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let pipe = work.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut reader = std::process::Command::new("cat").arg(&pipe).stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert!(report(&pipe).status.success());
    let mut read = String::new();
    std::io::Read::read_to_string(reader.stdout.as_mut().unwrap(), &mut read).unwrap();
    reader.wait().unwrap();
    assert_eq!(read, fs::read_to_string(&file).unwrap());
    check_refused(&report(&work.path().join("no/such/folder/x.json")), &["no/such/folder"]);
}

#[test]
fn an_address_with_a_scheme_that_is_not_spoken_is_refused() {
    check_refused(&prelim(["studies", "--grpc", "unix://127.0.0.1:1"]), &["unix", "https"]);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    check_refused(&prelim(["submit", "no/such/folder"]), &["no/such/folder"]);
}

#[test]
fn a_coordinator_that_is_not_there_is_named_with_what_to_do() {
    let folder = repository().join("proto");
    let output = prelim(["submit", "--grpc", "127.0.0.1:1", folder.to_str().unwrap()]);
    check_refused(&output, &["127.0.0.1:1", "prelim up"]);
}

#[test]
fn every_command_names_a_coordinator_that_is_not_there_with_what_to_do() {
    let commands: [&[&str]; 10] = [
        &["studies"],
        &["studies", "--json"],
        &["workers"],
        &["watch"],
        &["watch", "1.2.3", "--json"],
        &["dead"],
        &["drain", "reader-7"],
        &["requeue", "1.2.3/0", "1.2.3/1"],
        &["cancel", "1.2.3", "1.2.4"],
        &["report", "1.2.3"],
    ];
    for command in commands {
        let output = prelim(command.iter().copied().chain(["--grpc", "127.0.0.1:1"]));
        check_refused(&output, &["no coordinator answers", "127.0.0.1:1", "prelim up", "--grpc"]);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let work = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = work.path().join("data");
    let output = prelim(["up", "--grpc", &address, "--data", data.to_str().unwrap()]);
    check_refused(&output, &[&address, "--grpc"]);
}

#[test]
fn a_place_for_bytes_that_cannot_be_is_named() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    check_refused(&up(&data, &["--bytes", "ftp://host/x"]), &["\"ftp\"", "s3://BUCKET"]);
    check_refused(&up(&data, &["--bytes", "bytes"]), &["no URL", "file:///FOLDER"]);
    check_refused(&up(&data, &["--bytes-direct"]), &["--bytes-direct needs", "s3://BUCKET"]);
    let with_secret = up(&data, &["--bytes", "s3://key:hunter2@scans"]);
    check_refused(&with_secret, &["AWS_SECRET_ACCESS_KEY"]);
    assert!(!words(&with_secret).contains("hunter2"), "{}", words(&with_secret));
    assert!(!data.exists(), "a mistake leaves no trace");
}

#[test]
fn a_second_coordinator_on_one_data_folder_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data");
    let _first = Process::up(&data);
    check_refused(&up(&data, &[]), &[data.to_str().unwrap()]);
}

#[test]
fn a_model_folder_that_is_not_whole_is_named() {
    let work = tempfile::tempdir().unwrap();
    let golden = repository().join("tests/data/parity/tiny-gemma3");
    let model = work.path().join("model");
    let copy_without = |left_out: &str| {
        let _ = fs::remove_dir_all(&model);
        fs::create_dir(&model).unwrap();
        for entry in fs::read_dir(&golden).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != left_out {
                fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
            }
        }
    };
    let data = work.path().join("data");
    let model_path = model.to_str().unwrap().to_owned();
    for missing in ["model-00003-of-00010.safetensors", "config.json", "tokenizer.json"] {
        copy_without(missing);
        check_refused(&up(&data, &["--model", &model_path]), &[missing]);
    }
    copy_without("");
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(model.join("config.json"), config.replace("Gemma3ForConditionalGeneration", "LlamaForCausalLM")).unwrap();
    check_refused(&up(&data, &["--model", &model_path]), &["LlamaForCausalLM"]);
    check_refused(&up(&data, &["--model", "no/such/model"]), &["no/such/model"]);
    assert!(!data.exists(), "nothing is written for a model that does not load");
}

/// What a shell does in a mount namespace of its own: a data folder of 6 MiB, too small for the studies; then room is made.
const ON_A_SMALL_DISK: &str = r#"
    mount -t tmpfs -o size=6m tmpfs "$DATA" || exit 77
    "$PRELIM" up --json --grpc 127.0.0.1:0 --data "$DATA" >"$WORK/ready" 2>"$WORK/log" &
    until [ -s "$WORK/ready" ]; do kill -0 $! || exit 1; sleep 0.1; done
    grpc=$(sed 's/.*"grpc":"\([^"]*\)".*/\1/' "$WORK/ready")
    "$PRELIM" submit --wait --grpc "$grpc" "$STUDIES" >"$WORK/full.out" 2>"$WORK/full.err"
    echo $? >"$WORK/full.rc"
    mount -o remount,size=64m "$DATA"
    "$PRELIM" submit --wait --json --grpc "$grpc" "$STUDIES" >"$WORK/room.out" 2>"$WORK/room.err"
    kill $!; wait $!
"#;

#[test]
fn a_full_disk_is_named_and_costs_nothing_once_there_is_room() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    phantoms(&at("studies"), 6, 5, None);
    fs::create_dir(at("data")).unwrap();
    let status = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK])
        .env("PRELIM", prelim_tests::binary())
        .env("WORK", work.path())
        .env("DATA", at("data"))
        .env("STUDIES", at("studies"))
        .output()
        .unwrap();
    if status.status.code() == Some(77) || !at("full.rc").exists() {
        // Some systems let nobody but the administrator mount; there this cannot be tried.
        let is_administrator = fs::metadata("/proc/self").unwrap().uid() == 0;
        assert!(!is_administrator, "{}", words(&status));
        return;
    }
    let text = |name: &str| fs::read_to_string(at(name)).unwrap();
    assert_eq!(text("full.rc").trim(), "1", "{}", text("full.out"));
    let error = text("full.err");
    assert!(error.starts_with("prelim: no space left") && error.lines().count() == 1, "{error}");
    assert!(!text("log").contains("panicked"), "{}", text("log"));
    let after: serde_json::Value = serde_json::from_str(&text("room.out")).unwrap();
    let studies = after["studies"].as_array().unwrap();
    assert_eq!(studies.len(), 6, "{after}");
    assert!(studies.iter().all(|study| study["state"] == "drafted"), "{after}");
}
