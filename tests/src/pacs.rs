//! Systems of others that take and give studies: Orthanc, DCMTK's `storescp` and `dcmqrscp`, and one of pynetdicom that
//! misbehaves as it is told. All on loopback, on free ports, in folders of their own; ended when dropped.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::ports::free_port;
use crate::{PATIENCE, eventually, repository, whole_lines, words};

/// What is preloaded into servers that can only listen on every address, so that they listen on loopback alone.
fn loopback() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = repository().join("tests/peers/loopback.c");
        let folder = repository().join("target/loopback");
        fs::create_dir_all(&folder).expect("a folder");
        let (built, library) = (folder.join(format!("{}.so", std::process::id())), folder.join("loopback.so"));
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&built)
            .arg(source)
            .arg("-ldl");
        let output = compiler.output().expect("a C compiler");
        assert!(output.status.success(), "{}", words(&output));
        // Whole or not at all: other tests may do the same now.
        fs::rename(&built, &library).expect("a library");
        library
    })
}

/// A process of another's program, ended when dropped.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A peer on a port, with a folder.
pub struct Peer {
    _process: Other,
    /// Its port.
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Peer {
    /// Where it is, for a file of destinations: `dicom://PACS@…`.
    pub fn address(&self) -> String {
        format!("dicom://PACS@127.0.0.1:{}", self.port)
    }

    /// The folder in which it keeps what it has.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// pynetdicom, behaving as `how` says (`tests/peers/pacs.py`).
    ///
    /// # Panics
    /// Where it does not start.
    pub fn pynetdicom(how: &Value) -> Self {
        Self::pynetdicom_on(free_port(), how)
    }

    /// The same on a port that the caller has chosen.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn pynetdicom_on(port: u16, how: &Value) -> Self {
        Self::python("pacs.py", port, how)
    }

    /// A system that takes HL7 messages, behaving as `how` says (`tests/peers/hl7_server.py`).
    ///
    /// # Panics
    /// Where it does not start.
    pub fn hl7(how: &Value) -> Self {
        Self::python("hl7_server.py", free_port(), how)
    }

    /// A FHIR server, behaving as `how` says (`tests/peers/fhir_server.py`).
    ///
    /// # Panics
    /// Where it does not start.
    pub fn fhir(how: &Value) -> Self {
        Self::python("fhir_server.py", free_port(), how)
    }

    fn python(program: &str, port: u16, how: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = repository();
        let mut command = Command::new(root.join("target/python/bin/python"));
        command.arg("-B").arg(root.join("tests/peers").join(program)).arg(port.to_string()).arg(folder.path());
        command.arg(how.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
        assert_eq!(line, "listening\n");
        Self { _process: Other(child), port, folder }
    }

    /// What a peer in Python was sent, in order.
    pub fn received(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("received.jsonl")).unwrap_or_default();
        whole_lines(&text).map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// DCMTK's `storescp` with these flags; objects lie in its folder.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn storescp(flags: &[&str]) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let mut command = Command::new("storescp");
        command.args(flags).args(["-aet", "PACS", "-od"]).arg(folder.path()).arg(port.to_string());
        Self::listening(command, port, folder)
    }

    /// DCMTK's `dcmqrscp` with these flags, which sends what is moved to `PRELIM` on `our_port`.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn dcmqrscp(flags: &[&str], our_port: u16) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let store = folder.path().join("store");
        fs::create_dir(&store).expect("a folder");
        let config = format!(
            "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\nHostTable BEGIN\n\
             prelim = (PRELIM, 127.0.0.1, {our_port})\nHostTable END\n\nVendorTable BEGIN\nVendorTable END\n\nAETable BEGIN\n\
             PACS {} RW (200, 1024mb) ANY\nAETable END\n",
            store.display()
        );
        let file = folder.path().join("dcmqrscp.cfg");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new("dcmqrscp");
        command.args(flags).arg("-c").arg(file);
        Self::listening(command, port, folder)
    }

    fn listening(mut command: Command, port: u16, folder: tempfile::TempDir) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        command.env("LD_PRELOAD", loopback());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = Other(command.spawn().expect("DCMTK is installed by tests/install.sh"));
        eventually(PATIENCE, || format!("{command:?} listens"), || listens(port));
        Self { _process: process, port, folder }
    }

    /// The files that are below its folder, objects and others.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect()
    }
}

/// Orthanc, with its DICOMweb.
pub struct Orthanc {
    _process: Other,
    /// Its port for DICOM; its title is ORTHANC.
    pub port: u16,
    /// Its port for HTTP.
    pub http: u16,
    _folder: tempfile::TempDir,
}

impl Orthanc {
    /// Starts one that knows us as `PRELIM` on `our_port`.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(our_port: u16) -> Self {
        Self::knowing(&json!({"DicomModalities": {"prelim": ["PRELIM", "127.0.0.1", our_port]}}))
    }

    /// Starts one that knows our DICOMweb at `root` as `prelim`.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_for_web(root: &str) -> Self {
        Self::knowing(&json!({"DicomWeb": {"Enable": true, "Root": "/dicom-web/", "Servers": {"prelim": [root]}}}))
    }

    /// Starts one with these settings, beside those that all have.
    fn knowing(peers: &Value) -> Self {
        let (port, http, folder) = (free_port(), free_port(), tempfile::tempdir().expect("a folder"));
        let mut config = json!({
            "Name": "test",
            "StorageDirectory": folder.path().join("storage"),
            "IndexDirectory": folder.path().join("index"),
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "HttpPort": http,
            "DicomPort": port,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowFind": true,
            "DicomAlwaysAllowGet": true,
            "DicomAlwaysAllowMove": true,
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "DicomWeb": {"Enable": true, "Root": "/dicom-web/"},
        });
        for (name, value) in peers.as_object().expect("settings") {
            config[name] = value.clone();
        }
        let file = folder.path().join("orthanc.json");
        fs::write(&file, config.to_string()).expect("a file");
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new("/usr/sbin/Orthanc");
        command.env("LD_PRELOAD", loopback());
        command.arg(file).stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = Other(command.spawn().expect("Orthanc is installed by tests/install.sh"));
        eventually(PATIENCE, || "Orthanc listens".to_owned(), || listens(port) && listens(http));
        Self { _process: process, port, http, _folder: folder }
    }

    /// Where it is, for a file of destinations.
    pub fn address(&self) -> String {
        format!("dicom://ORTHANC@127.0.0.1:{}", self.port)
    }

    /// The root of its REST interface.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The root of its DICOMweb.
    pub fn web(&self) -> String {
        format!("http://127.0.0.1:{}/dicom-web", self.http)
    }

    /// What its REST interface answers.
    ///
    /// # Panics
    /// Where that is no JSON.
    pub fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).expect("the port is open");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// SOP Instance UIDs of the instances of a modality that it holds, in order.
    pub fn instances(&self, modality: &str) -> Vec<String> {
        let mut found = Vec::new();
        for series in self.get("/series?expand").as_array().expect("a list") {
            if series["MainDicomTags"]["Modality"] == modality {
                for id in series["Instances"].as_array().expect("a list") {
                    let instance = self.get(&format!("/instances/{}", id.as_str().expect("an id")));
                    found.push(instance["MainDicomTags"]["SOPInstanceUID"].as_str().expect("a UID").to_owned());
                }
            }
        }
        found.sort();
        found
    }
}
