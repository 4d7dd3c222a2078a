//! An OpenID Connect issuer that is not ours: npm's `oidc-provider`, as a process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::ports::free_port;
use crate::repository;

/// A running issuer, ended when dropped.
pub struct OidcIssuer {
    child: Child,
    port: u16,
    back: Option<String>,
}

impl OidcIssuer {
    /// Starts an issuer with the private keys in `keys`, which is made where it is missing.
    ///
    /// # Panics
    /// Where it does not start: `tests/install.sh` comes before the tests.
    pub fn start(keys: &Path) -> Self {
        Self::start_with(keys, None)
    }

    /// Starts one where people sign in for a page, and go back to that address.
    ///
    /// # Panics
    /// As [`OidcIssuer::start`].
    pub fn start_for_page(keys: &Path, back: &str) -> Self {
        Self::start_with(keys, Some(back.to_owned()))
    }

    fn start_with(keys: &Path, back: Option<String>) -> Self {
        let port = free_port();
        Self { child: spawn(port, keys, back.as_deref()), port, back }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it at the same address, with these keys.
    pub fn start_again(&mut self, keys: &Path) {
        self.stop();
        self.child = spawn(self.port, keys, self.back.as_deref());
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets its clock off.
    pub fn set_clock_off(&self, by_s: i64) {
        let answer = self.http(&format!("GET /test/clock?offset_s={by_s} HTTP/1.1\r\n"), "");
        assert!(answer.ends_with("set"), "{answer}");
    }

    /// A token for `client` with these roles, signed by `algorithm`.
    pub fn token(&self, client: &str, roles: &str, algorithm: &str, audience: &str) -> String {
        let body = format!("grant_type=client_credentials&scope={roles}&resource=urn%3A{algorithm}%3A{audience}")
            .replace(' ', "+");
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client}:secret"));
        let head = format!(
            "POST /token HTTP/1.1\r\nAuthorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        );
        let answer = self.http(&head, &body);
        let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let json: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {answer}"));
        json["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    fn http(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the issuer listens");
        let length = body.len();
        let request = format!(
            "{head}Host: 127.0.0.1:{}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("the issuer takes requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the issuer answers");
        answer
    }
}

impl Drop for OidcIssuer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(port: u16, keys: &Path, back: Option<&str>) -> Child {
    let mut child = Command::new("node")
        .arg(repository().join("tests/peers/oidc.mjs"))
        .args([port.to_string().as_ref(), keys.as_os_str()])
        .env("NODE_FOLDER", repository().join("target/node"))
        .envs(back.map(|back| ("PAGE_BACK", back)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node is installed");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
    assert_eq!(line.trim(), "ready", "the issuer does not start: is oidc-provider in target/node?");
    child
}

/// `token` with its header, claims and signature passed through `change`.
pub fn altered(token: &str, change: impl FnOnce(&mut Value, &mut Value, &mut String)) -> String {
    let mut parts = token.split('.');
    let mut next = || parts.next().expect("three parts").to_owned();
    let (header, claims, mut signature) = (next(), next(), next());
    let decode = |part: String| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("Base64")).expect("JSON")
    };
    let (mut header, mut claims) = (decode(header), decode(claims));
    change(&mut header, &mut claims, &mut signature);
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}
