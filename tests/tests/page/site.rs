//! A coordinator with a worker that serves the page, its people, and the browser that visits it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prelim_tests::issuer::OidcIssuer;
use prelim_tests::ports::free_address;
use prelim_tests::server::Server;
use prelim_tests::{asked_model, draft, phantoms, prelim, prelim_json, repository, submit, words};
use serde_json::{Value, json};

/// A site whose callers of gRPC need no credentials, as on one machine, and whose page asks for a password.
pub(crate) struct Site {
    server: Server,
    folder: tempfile::TempDir,
    issuer: Option<OidcIssuer>,
    /// Names and passwords of who may sign: Jane Doe, Max Muster.
    people: [(String, String); 2],
    /// Name and password of who may look alone.
    looker: (String, String),
}

impl Site {
    /// Starts one that sends to these destinations and reads studies by these rules, where any are given.
    pub(crate) fn start(destinations: &str, rules: &str) -> Self {
        Self::start_with(destinations, rules, None)
    }

    /// Starts one whose model is asked about studies in these words.
    pub(crate) fn start_asked(questions: &Value) -> Self {
        Self::start_with("", "", Some(questions))
    }

    fn start_with(destinations: &str, rules: &str, questions: Option<&Value>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let model = questions.map(|questions| asked_model(&folder.path().join("model"), Some(questions)));
        let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--http", "127.0.0.1:0"];
        // What is being removed stays so for as long as a browser looks at it.
        arguments.extend(["--organization", "St. Mary", "--removal-grace-s", "3600"]);
        for (name, text) in [("destinations", destinations), ("rules", rules)] {
            if !text.is_empty() {
                std::fs::write(folder.path().join(format!("{name}.toml")), text).expect("a file");
            }
        }
        if !destinations.is_empty() {
            arguments.extend(["--destinations", "destinations.toml"]);
        }
        if !rules.is_empty() {
            arguments.extend(["--rules", "rules.toml"]);
        }
        arguments.extend(model.iter().flat_map(|folder| ["--model", folder]));
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        // Beside the data, where it has made one for whoever comes first.
        let accounts = folder.path().join("data/accounts.toml");
        let (people, looker) = (people(&accounts), person(&accounts, ("rita", "Roe", "Rita"), &[]));
        Self { server, folder, issuer: None, people, looker }
    }

    /// The same site with another way in: its people sign in at an issuer that is not ours, as its Richard Roe.
    pub(crate) fn at_issuer(self) -> Self {
        let Self { server, folder, people, looker, .. } = self;
        drop(server);
        let (http, secret) = (free_address(), folder.path().join("secret"));
        let back = format!("http://{http}/api/oidc/end");
        let issuer = OidcIssuer::start_for_page(&folder.path().join("keys.json"), &back);
        std::fs::write(&secret, "page secret: +/%\n").expect("a file");
        let (url, secret) = (issuer.url(), secret.display().to_string());
        let mut arguments = vec!["up", "--json", "--grpc", "127.0.0.1:0", "--data", "data", "--http", &http];
        arguments.extend(["--oidc-issuer", &url, "--oidc-audience", "prelim", "--oidc-client-id", "page"]);
        arguments.extend(["--oidc-client-secret", &secret]);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder, issuer: Some(issuer), people, looker }
    }

    /// Starts a coordinator alone: nobody reads what is sent to it.
    pub(crate) fn start_without_worker() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let accounts = folder.path().join("accounts.toml");
        let (people, looker) = (people(&accounts), person(&accounts, ("rita", "Roe", "Rita"), &[]));
        let mut arguments = vec!["coordinator", "--json", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        arguments.extend(["--data", "data", "--accounts", "accounts.toml"]);
        let server = Server::start(folder.path(), &arguments, &[("PRELIM_LOG", "info")]);
        Self { server, folder, issuer: None, people, looker }
    }

    /// A film that nobody has read yet.
    pub(crate) fn waiting_film(&self) -> String {
        let films = self.folder().join("waiting");
        phantoms(&films, 1, 100, Some("dx"));
        let sent = prelim_json(["submit", "--json", "--grpc", &self.server.grpc, &films.display().to_string()]);
        sent["study_uids"][0].as_str().unwrap_or_else(|| panic!("{sent:#}")).to_owned()
    }

    /// The address of its issuer.
    pub(crate) fn issuer(&self) -> String {
        self.issuer.as_ref().expect("an issuer").url()
    }

    /// A folder for pictures of the page.
    pub(crate) fn shots(&self) -> PathBuf {
        let folder = self.folder().join("shots");
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server said.
    pub(crate) fn log(&self) -> String {
        self.server.log()
    }

    /// The second person's name and password.
    pub(crate) fn other(&self) -> (&str, &str) {
        let [_, (name, password)] = &self.people;
        (name, password)
    }

    /// Name and password of who may look alone.
    pub(crate) fn looker(&self) -> (&str, &str) {
        (&self.looker.0, &self.looker.1)
    }

    /// What is on record.
    pub(crate) fn audit(&self) -> String {
        std::fs::read_to_string(self.folder().join("data/audit.jsonl")).expect("an audit")
    }

    /// A drafted film that is drawn below a folder.
    pub(crate) fn film(&self, films: &Path, seed: u64) -> String {
        phantoms(films, 1, 100 + seed, Some("dx"));
        self.submitted(films)
    }

    /// Sends one more film of a study, as its report has that, and waits for the draft of both.
    pub(crate) fn film_of(&self, study: &Value, seed: u64) {
        let films = self.folder().join(format!("more-{seed}"));
        phantoms(&films, 1, 100 + seed, Some("dx"));
        let known = [
            ("StudyInstanceUID", "/uid"),
            ("PatientID", "/patient/id"),
            ("PatientName", "/patient/name"),
            ("PatientBirthDate", "/patient/birth_date"),
            ("PatientSex", "/patient/sex"),
            ("AccessionNumber", "/accession_number"),
            ("StudyID", "/study_id"),
            ("StudyDate", "/date"),
            ("StudyTime", "/time"),
        ];
        rewrite(
            &films,
            known.map(|(keyword, place)| (keyword, study.pointer(place).and_then(Value::as_str).expect(place))),
        );
        self.submitted(&films);
    }

    /// A drafted film with so many findings at least, and its report.
    pub(crate) fn film_with_findings(&self, least: usize) -> (String, Value) {
        for seed in 0..20 {
            let films = self.folder().join(format!("films-{seed}"));
            let study = self.film(&films, seed);
            let document = self.document(&study);
            if document["report"]["findings"].as_array().expect("findings").len() >= least {
                return (study, document);
            }
        }
        panic!("no draft with {least} findings")
    }

    /// A drafted CT with a finding.
    pub(crate) fn volume(&self) -> String {
        for seed in 0..10 {
            let slices = self.folder().join(format!("volume-{seed}"));
            phantoms(&slices, 1, 7 + seed, Some("ct"));
            let study = self.submitted(&slices);
            if !self.document(&study)["report"]["findings"].as_array().expect("findings").is_empty() {
                return study;
            }
        }
        panic!("no volume with a finding")
    }

    /// Sends a folder of one study, and waits for its draft.
    pub(crate) fn submitted(&self, folder: &Path) -> String {
        let sent = submit(&self.server.grpc, folder);
        sent["studies"][0]["study_uid"].as_str().unwrap_or_else(|| panic!("{sent:#}")).to_owned()
    }

    /// Sends files as they are.
    pub(crate) fn submit_files(&self, files: &[Vec<u8>]) {
        self.submit_files_as(files, &[]);
    }

    /// Sends files as they are, with more to say of them.
    pub(crate) fn submit_files_as(&self, files: &[Vec<u8>], more: &[&str]) {
        let folder = tempfile::tempdir_in(self.folder()).expect("a folder");
        for (number, file) in files.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number}.dcm")), file).expect("a file");
        }
        let path = folder.path().display().to_string();
        let output = prelim(["submit", "--grpc", &self.server.grpc, "--wait", &path].iter().chain(more));
        assert!(output.status.success(), "{}\n{}", words(&output), self.log());
    }

    /// The newest report that counts.
    pub(crate) fn document(&self, study: &str) -> Value {
        serde_json::from_slice(&draft(&self.server.grpc, study, "json")).expect("JSON")
    }

    /// Begins to remove a study.
    pub(crate) fn remove(&self, study: &str) {
        let output = prelim(["remove", study, "--grpc", &self.server.grpc]);
        assert!(output.status.success(), "{}", words(&output));
    }

    /// One version of a report.
    pub(crate) fn version(&self, study: &str, version: u32) -> Value {
        let version = version.to_string();
        let asked = ["report", study, "--format", "json", "--report-version", &version, "--grpc", &self.server.grpc];
        prelim_json(asked)
    }

    /// The browser as `tests/page/NAME.mjs` uses it, signed in as the first person.
    pub(crate) fn browser(&self, name: &str, more: &Value) -> Child {
        let url = self.server.http.trim_end_matches("/dicom-web");
        let [(person, password), _] = &self.people;
        let mut settings = json!({"url": url, "name": person, "password": password});
        for (name, value) in more.as_object().expect("settings") {
            settings[name] = value.clone();
        }
        let mut command = Command::new("node");
        command.arg(repository().join(format!("tests/page/{name}.mjs"))).arg(settings.to_string());
        command.env("TMPDIR", self.folder().join("tmp"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("node is installed by tests/install.sh")
    }

    /// Waits for the end of a visit.
    ///
    /// # Panics
    /// Where something was wrong in it, with what it said.
    pub(crate) fn ended_well(&self, name: &str, browser: Child) {
        let output = browser.wait_with_output().expect("node ends");
        assert!(output.status.success(), "{name}: {}\n{}", words(&output), self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// A whole visit.
    pub(crate) fn browse(&self, name: &str, more: &Value) {
        self.ended_well(name, self.browser(name, more));
    }
}

/// Says something else in the attributes of the objects below a folder.
pub(crate) fn rewrite<'a>(folder: &Path, attributes: impl IntoIterator<Item = (&'static str, &'a str)>) {
    let root = repository();
    let mut command = Command::new(root.join("target/python/bin/python"));
    command.arg("-B").arg(root.join("tests/peers/rewrite.py")).arg(folder);
    command.args(attributes.into_iter().map(|(keyword, value)| format!("{keyword}={value}")));
    let output = command.output().expect("python is installed by tests/install.sh");
    assert!(output.status.success(), "{}", words(&output));
}

/// Adds two who may sign to a file of accounts: their names and passwords.
fn people(accounts: &Path) -> [(String, String); 2] {
    [("jane", "Doe", "Jane"), ("max", "Muster", "Max")].map(|named| person(accounts, named, &["--role", "review"]))
}

/// Adds somebody to a file of accounts: the name and the password.
fn person(accounts: &Path, (name, family, given): (&str, &str, &str), more: &[&str]) -> (String, String) {
    let accounts = accounts.display().to_string();
    let named = ["account", "add", name, "--family-name", family, "--given-name", given];
    let made = prelim_json(named.iter().chain(more).chain(&["--generate", "--json", "--accounts", &accounts]));
    (name.to_owned(), made["password"].as_str().expect("a password").to_owned())
}
