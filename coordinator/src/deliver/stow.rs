//! STOW-RS as a client (PS3.18 section 10.5): objects in one request, and what became of them.

use std::path::PathBuf;

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::Value;

use super::http::{Http, by_status};
use super::verdict::Said;
use crate::dimse::scu::node::{Times, TlsFiles};
use crate::dimse::scu::store::{Answer, Meaning};

/// Failed SOP Sequence (0008,1198), and in its items Failure Reason (0008,1197).
const FAILED: (&str, &str) = ("00081198", "00081197");

/// A store of DICOMweb.
#[derive(Debug)]
pub struct Stow(pub(super) Http);

impl Stow {
    /// The one whose service root is `address`, as `https://host/dicom-web`.
    ///
    /// # Errors
    /// A sentence that names what was found.
    pub(super) fn new(
        address: &str,
        files: &TlsFiles,
        token_file: Option<PathBuf>,
        times: Times,
    ) -> Result<Self, String> {
        let root = address.trim_end_matches('/').trim_end_matches("/studies");
        Http::new(&format!("{root}/studies"), files, token_file, times).map(Self)
    }

    /// Sends objects in one request.
    pub(super) async fn send(&self, files: &[Bytes]) -> Said {
        // It stands in none of them: objects are binary, and this is drawn anew each time.
        let boundary = format!("prelim-{:032x}", rand::random::<u128>());
        let mut body = Vec::with_capacity(files.iter().map(|file| file.len() + 200).sum());
        for file in files {
            body.extend(format!("--{boundary}\r\nContent-Type: application/dicom\r\n\r\n").as_bytes());
            body.extend_from_slice(file);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").as_bytes());
        let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
        match self.0.post(body, &kind, "application/dicom+json").await {
            Ok((status, answer)) => read(status, &answer),
            Err(said) => said,
        }
    }
}

/// What an answer says of the objects (PS3.18 table 10.5.3-1 and annex I.2).
fn read(status: StatusCode, text: &[u8]) -> Said {
    let words = format!("HTTP {status}");
    let answer: Value = serde_json::from_slice(text).unwrap_or_default();
    // Some put the data set into a list.
    let answer = answer.get(0).unwrap_or(&answer);
    let failed = answer[FAILED.0]["Value"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reasons = failed.iter().filter_map(|item| item[FAILED.1]["Value"][0].as_u64());
    // The one that gives most hope decides: what was stored is stored, whatever became of its neighbours.
    let reason =
        reasons.filter_map(|code| u16::try_from(code).ok()).map(|status| Answer { status, comment: String::new() });
    let worst = reason.map(|answer| Said::from(&answer)).find(|said| said.meaning != Meaning::Taken);
    match (worst, status) {
        (Some(said), _) => Said { meaning: said.meaning, words: format!("{words}: {}", said.words) },
        // What failed without a reason is not taken.
        (None, status) if status.is_success() && !failed.is_empty() => Said::later(words),
        (None, status) => by_status(status, words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let failed = |reason: u16| {
            serde_json::json!({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}})
                .to_string()
        };
        for (status, text, meaning) in [
            (200, "{}".to_owned(), Meaning::Taken),
            (202, String::new(), Meaning::Taken),
            (202, failed(0xA700), Meaning::Later),
            (409, failed(0xA700), Meaning::Later),
            (409, failed(0xC000), Meaning::Never),
            (200, format!("[{}]", failed(0xA900)), Meaning::Never),
            (400, String::new(), Meaning::Never),
            (403, "no".to_owned(), Meaning::Never),
            (409, String::new(), Meaning::Never),
            (408, String::new(), Meaning::Later),
            (429, String::new(), Meaning::Later),
            (503, String::new(), Meaning::Later),
            (302, String::new(), Meaning::Later),
        ] {
            let said = read(StatusCode::from_u16(status).unwrap(), text.as_bytes());
            assert_eq!(said.meaning, meaning, "{status} {text}");
            assert!(said.words.contains(&status.to_string()), "{}", said.words);
        }
    }
}
