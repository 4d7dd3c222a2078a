//! A browser that keeps a browser's rules: cookies, an origin, and the token of its session. It draws nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::binary;
use crate::server::Server;

/// The password of every account.
pub const PASSWORD: &str = "correct horse battery";

/// A browser: it keeps cookies, says where its pages are from, and shows the token of its session.
pub struct Browser {
    /// Where its pages are from.
    pub base: String,
    /// What it sends with.
    pub client: reqwest::Client,
    /// What it runs on.
    pub runtime: tokio::runtime::Runtime,
    /// Cookies by name, which is without the port that the server's cookies have in it: browsers come to it by another, now and then.
    pub cookies: BTreeMap<String, String>,
    /// The token of its session.
    pub csrf: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A header; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
    }

    /// The status, and the code of what went wrong.
    pub fn fault(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Browser {
    /// A browser that looks at a server, and has not signed in.
    pub fn at(server: &Server) -> Self {
        // Another test may have been sooner.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self {
            base: server.http.trim_end_matches("/dicom-web").to_owned(),
            client: client.build().expect("a client"),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            cookies: BTreeMap::new(),
            csrf: String::new(),
        }
    }

    /// Signs in, or is told why not.
    pub fn sign_in(&mut self, name: &str, password: &str) -> Answer {
        let answer = self.post("/api/session", &json!({"name": name, "password": password}));
        if answer.status == StatusCode::OK {
            self.csrf = answer.json()["csrf"].as_str().expect("a token").to_owned();
        }
        answer
    }

    /// One that has.
    ///
    /// # Panics
    /// Where it is not let in.
    pub fn signed_in(server: &Server, name: &str) -> Self {
        let mut browser = Self::at(server);
        let answer = browser.sign_in(name, PASSWORD);
        assert_eq!(answer.status, StatusCode::OK, "{answer:?} {}", server.log());
        browser
    }

    /// Gets something.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[])
    }

    /// Posts JSON.
    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[])
    }

    /// Sends a request as a page of ours does; headers named in `change` are other than usual, and left out where empty.
    pub fn send(&mut self, method: Method, path: &str, body: Option<&Value>, change: &[(&str, &str)]) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut headers = BTreeMap::from([("cookie", self.cookie())]);
        if method != Method::GET {
            headers.extend([("origin", self.base.clone()), ("x-prelim-csrf", self.csrf.clone())]);
        }
        if body.is_some() {
            headers.insert("content-type", "application/json".to_owned());
        }
        headers.extend(change.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut request = self.client.request(method, url);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            let (status, headers) = (response.status(), response.headers().clone());
            Answer { status, headers, bytes: response.bytes().await.expect("a body").to_vec() }
        });
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().expect("text");
            let (name, value) = line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            // A browser has one jar for all ports of a host.
            let is_ours = name.starts_with("prelim_");
            assert!(!is_ours || name.ends_with(&self.port()), "{name} does not tell the port");
            let name = if is_ours { name.trim_end_matches(&self.port()) } else { name };
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        answer
    }

    /// The header that shows its cookies.
    pub fn cookie(&self) -> String {
        let port = self.port();
        let port = |name: &str| if name.starts_with("prelim_") { port.as_str() } else { "" };
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}{}={value}", port(name))).collect();
        cookies.join("; ")
    }

    /// What names of cookies end with.
    fn port(&self) -> String {
        let port = self.base.rsplit(':').next().filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        port.map(|port| format!("_{port}")).unwrap_or_default()
    }

    /// A study as the page gets it.
    ///
    /// # Panics
    /// Where it does not.
    pub fn study(&mut self, study: &str) -> Value {
        let answer = self.get(&format!("/api/studies/{study}"));
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()
    }
}

/// Adds an account to a file, as an administrator does.
///
/// # Panics
/// Where it is not added.
pub fn account(file: &Path, name: &str, more: &[&str]) {
    let mut command = Command::new(binary());
    command.args(["account", "add", name, "--family-name", "Doe", "--given-name", name, "--accounts"]).arg(file);
    let mut child = command.args(more).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("prelim starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), format!("{PASSWORD}\n").as_bytes())
        .expect("taken");
    assert!(child.wait().expect("it ends").success());
}
