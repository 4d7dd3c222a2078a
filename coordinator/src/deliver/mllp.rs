//! HL7 v2 messages over MLLP (the minimal lower layer protocol, release 1): one message, and what its acknowledgement says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::verdict::Said;
use crate::dimse::scu::node::{Times, TlsFiles};
use crate::dimse::scu::tls;

/// The port of HL7 over MLLP (IANA: hl7).
const PORT: u16 = 2_575;
/// What stands before a message, and after it.
const BEGIN: u8 = 0x0B;
const END: [u8; 2] = [0x1C, 0x0D];
/// Longest acknowledgement that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 16;
/// Fields of MSH that name the receiver, counted from 0 with the segment's name as 0: MSH-1 is the delimiter itself.
const RECEIVER: [usize; 2] = [4, 5];
/// The field of MSH with the message's control id, counted likewise: MSH-10.
const CONTROL_ID: usize = 9;

/// A system that takes HL7 v2 messages.
pub struct Mllp {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    /// Receiving application and facility (MSH-5, MSH-6).
    receiver: [String; 2],
    /// How long we wait for it.
    pub(super) times: Times,
}

impl Mllp {
    /// The one at `mllp://HOST:PORT`, or `mllps://` for TLS. `receiver` is `APPLICATION` or `APPLICATION|FACILITY`.
    ///
    /// # Errors
    /// A sentence that names what was found.
    pub(super) fn new(address: &str, files: &TlsFiles, receiver: &str, times: Times) -> Result<Self, String> {
        let usage = "give mllp://HOST:PORT, or mllps:// for TLS";
        let url = Url::parse(address).map_err(|error| format!("{address:?} is no address ({error}): {usage}"))?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("{address:?} names no host: {usage}"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !matches!(url.path(), "" | "/") || !url.username().is_empty() || url.query().is_some() {
            return Err(format!("{address:?} has more than a host and a port: {usage}"));
        }
        let is_tls = url.scheme() == "mllps";
        if !is_tls && *files != TlsFiles::default() {
            return Err(format!("{address:?} is not encrypted, and has files for TLS: {usage}"));
        }
        let (application, facility) = receiver.split_once('|').unwrap_or((receiver, ""));
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '|' | '^' | '~' | '\\' | '&') || c == ' ';
        if let Some(wrong) = [application, facility].into_iter().find(|name| !name.chars().all(is_plain)) {
            return Err(format!("receiver: {wrong:?} is no name: plain characters without | ^ ~ \\ &"));
        }
        let tls = if is_tls { Some(Arc::new(tls::client(files)?)) } else { None };
        let receiver = [application.to_owned(), facility.to_owned()];
        Ok(Self { host, port: url.port().unwrap_or(PORT), tls, receiver, times })
    }

    /// Sends a message, and waits for its acknowledgement.
    pub(super) async fn send(&self, message: &[u8]) -> Said {
        let (message, control_id) = (addressed(message, &self.receiver), control_id(message));
        let late = |what: &str, time: Duration| {
            Said::later(format!("{self}: {what} did not come within {} s", time.as_secs()))
        };
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = match timeout(self.times.connect, connecting).await {
            Err(_) => return late("the connection", self.times.connect),
            Ok(Err(error)) => return Said::later(format!("{self}: {error}")),
            Ok(Ok(stream)) => stream,
        };
        let Some(tls) = &self.tls else { return self.exchange(stream, &message, &control_id).await };
        let server = match ServerName::try_from(self.host.clone()) {
            Ok(server) => server,
            Err(error) => return Said::never(format!("{self}: {error}")),
        };
        match timeout(self.times.connect, TlsConnector::from(tls.clone()).connect(server, stream)).await {
            Err(_) => late("TLS", self.times.connect),
            Ok(Err(error)) => Said::later(format!("{self}: TLS: {error}")),
            Ok(Ok(stream)) => self.exchange(stream, &message, &control_id).await,
        }
    }

    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        message: &[u8],
        control_id: &str,
    ) -> Said {
        let framed = [&[BEGIN], message, &END].concat();
        let talk = async {
            stream.write_all(&framed).await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            while !answer.ends_with(&END) && answer.len() < MAX_ANSWER_BYTES {
                if stream.read_buf(&mut answer).await? == 0 {
                    break;
                }
            }
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match timeout(self.times.idle, talk).await {
            Err(_) => {
                let seconds = self.times.idle.as_secs();
                return Said::later(format!("{self}: no acknowledgement within {seconds} s"));
            }
            Ok(Err(error)) => return Said::later(format!("{self}: {error}")),
            Ok(Ok(answer)) => answer,
        };
        // Whoever has acknowledged has the message, however the connection ends.
        let _: std::io::Result<()> = stream.shutdown().await;
        read(&answer, control_id)
    }
}

/// The fields of a message's first segment, MSH, and what follows it.
fn header(message: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let end = message.iter().position(|byte| *byte == b'\r').unwrap_or(message.len());
    (message[..end].split(|byte| *byte == b'|').collect(), &message[end..])
}

/// The message with its receiver named.
fn addressed(message: &[u8], receiver: &[String; 2]) -> Vec<u8> {
    let (mut fields, rest) = header(message);
    for (field, name) in RECEIVER.into_iter().zip(receiver) {
        if let Some(held) = fields.get_mut(field).filter(|_| !name.is_empty()) {
            *held = name.as_bytes();
        }
    }
    [fields.join(&b'|'), rest.to_vec()].concat()
}

/// The control id of a message.
pub(super) fn control_id(message: &[u8]) -> String {
    let (fields, _) = header(message);
    String::from_utf8_lossy(fields.get(CONTROL_ID).copied().unwrap_or_default()).into_owned()
}

/// What an acknowledgement says (HL7 v2.5.1 table 0008). An error may pass, a rejection does not.
fn read(answer: &[u8], control_id: &str) -> Said {
    let Some(framed) = answer.strip_prefix(&[BEGIN]).and_then(|rest| rest.strip_suffix(&END)) else {
        let what = if answer.is_empty() { "it hung up" } else { "what it said is no framed message" };
        return Said::later(format!("no acknowledgement: {what}"));
    };
    let segments: Vec<Vec<&[u8]>> = framed
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .map(|segment| segment.split(|byte| *byte == b'|').collect())
        .collect();
    let segment = |name: &[u8]| segments.iter().find(|fields| fields.first() == Some(&name));
    let Some(fields) = segment(b"MSA") else { return Said::later("no acknowledgement: no MSA segment in it") };
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    if field(2) != control_id.as_bytes() {
        return Said::later("an acknowledgement of another message");
    }
    let code = String::from_utf8_lossy(field(1)).into_owned();
    // What it says besides may be about the patient: its code is enough, with that of the error.
    let error = segment(b"ERR").and_then(|fields| fields.get(3)).copied().unwrap_or_default();
    let error: String = String::from_utf8_lossy(error).chars().take_while(char::is_ascii_digit).collect();
    let words = if error.is_empty() { code.clone() } else { format!("{code}, error {error}") };
    match code.as_str() {
        "AA" | "CA" => Said::taken(words),
        "AE" | "CE" => Said::later(words),
        "AR" | "CR" => Said::never(words),
        _ => Said::later(format!("an acknowledgement of an unknown kind: {words}")),
    }
}

impl fmt::Display for Mllp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "mllps" } else { "mllp" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

impl fmt::Debug for Mllp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mllp({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::scu::store::Meaning;

    const MESSAGE: &[u8] = b"MSH|^~\\&|PRELIM||||20260101||ORU^R01^ORU_R01|abc123|P|2.5.1\rPID|1||X||Y\r";

    fn framed(text: &str) -> Vec<u8> {
        [&[BEGIN], text.as_bytes(), &END].concat()
    }

    #[test]
    fn a_message_is_addressed() {
        let message = addressed(MESSAGE, &["RIS".to_owned(), "WEST".to_owned()]);
        assert!(message.starts_with(b"MSH|^~\\&|PRELIM||RIS|WEST|20260101||ORU^R01"), "{message:?}");
        assert!(message.ends_with(b"\rPID|1||X||Y\r"));
        assert_eq!((control_id(&message).as_str(), control_id(MESSAGE).as_str()), ("abc123", "abc123"));
        assert_eq!(addressed(MESSAGE, &[String::new(), String::new()]), MESSAGE);
    }

    #[test]
    fn acknowledgements_are_read() {
        let head = "MSH|^~\\&|RIS||PRELIM||20260101||ACK|1|P|2.5.1\r";
        for (answer, meaning, words) in [
            (framed(&format!("{head}MSA|AA|abc123\r")), Meaning::Taken, "AA"),
            (framed(&format!("{head}MSA|CA|abc123\r")), Meaning::Taken, "CA"),
            (framed(&format!("{head}MSA|AE|abc123\rERR||PID^1|207^oops of Mr X|E\r")), Meaning::Later, "AE, error 207"),
            (framed(&format!("{head}MSA|AR|abc123|no\r")), Meaning::Never, "AR"),
            (framed(&format!("{head}MSA|AA|other\r")), Meaning::Later, "another message"),
            (framed(head), Meaning::Later, "no MSA"),
            (b"hello".to_vec(), Meaning::Later, "no framed message"),
            (Vec::new(), Meaning::Later, "hung up"),
        ] {
            let said = read(&answer, "abc123");
            assert_eq!(said.meaning, meaning, "{said:?}");
            assert!(said.words.contains(words) && !said.words.contains("Mr X"), "{said:?}");
        }
    }

    #[test]
    fn addresses_are_read() {
        let none = TlsFiles::default();
        let new = |address: &str, receiver: &str| Mllp::new(address, &none, receiver, Times::default());
        assert_eq!(new("mllp://ris.example", "").unwrap().to_string(), "mllp://ris.example:2575");
        assert_eq!(new("mllp://[fd00::5]:6661", "RIS|WEST").unwrap().to_string(), "mllp://[fd00::5]:6661");
        for (address, receiver, named) in [
            ("mllp://", "", "names no host"),
            ("mllp://host/path", "", "more than a host"),
            ("mllp://host:99999", "", "no address"),
            ("mllp://host", "RIS^1", "RIS^1"),
        ] {
            let problem = new(address, receiver).unwrap_err();
            assert!(problem.contains(named), "{address}: {problem}");
        }
        let files = TlsFiles { ca: Some("ca.pem".into()), ..TlsFiles::default() };
        assert!(Mllp::new("mllp://host", &files, "", Times::default()).unwrap_err().contains("not encrypted"));
    }
}
