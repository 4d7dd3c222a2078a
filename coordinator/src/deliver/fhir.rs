//! A FHIR R4 server: the draft's Bundle as one transaction (FHIR R4, section 3.1.0.11).

use std::path::PathBuf;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::http::{Http, by_status};
use super::verdict::Said;
use crate::dimse::scu::node::{Times, TlsFiles};

/// Before the address of the server's base.
const SCHEME: &str = "fhir+";
/// JSON of FHIR.
const KIND: &str = "application/fhir+json";

/// A FHIR server.
#[derive(Debug)]
pub struct Fhir(pub(super) Http);

impl Fhir {
    /// The one whose base is `address`, as `fhir+https://host/fhir`.
    ///
    /// # Errors
    /// A sentence that names what was found.
    pub(super) fn new(
        address: &str,
        files: &TlsFiles,
        token_file: Option<PathBuf>,
        times: Times,
    ) -> Result<Self, String> {
        let base = address.strip_prefix(SCHEME).unwrap_or(address);
        Http::new(base, files, token_file, times).map(Self)
    }

    /// Sends a Bundle.
    pub(super) async fn send(&self, bundle: &[u8]) -> Said {
        let Some(body) = transaction(bundle) else { return Said::never("not written: no Bundle") };
        match self.0.post(body, KIND, KIND).await {
            Ok((status, answer)) => read(status, &answer),
            Err(said) => said,
        }
    }
}

/// Whether an address is one of a FHIR server.
pub(super) fn is_address(address: &str) -> bool {
    address.starts_with(SCHEME)
}

/// The id of a Bundle; empty where there is none.
pub(super) fn id(bundle: &[u8]) -> String {
    let bundle: Value = serde_json::from_slice(bundle).unwrap_or_default();
    bundle["id"].as_str().unwrap_or_default().to_owned()
}

/// A Bundle as a transaction that puts each resource under its own id, so that sending it twice changes nothing.
fn transaction(bundle: &[u8]) -> Option<Vec<u8>> {
    let mut bundle: Value = serde_json::from_slice(bundle).ok()?;
    bundle["type"] = "transaction".into();
    for entry in bundle["entry"].as_array_mut()? {
        let resource = &entry["resource"];
        let url = format!("{}/{}", resource["resourceType"].as_str()?, resource["id"].as_str()?);
        entry["request"] = json!({ "method": "PUT", "url": url });
    }
    serde_json::to_vec(&bundle).ok()
}

/// What an answer says: the status, and the codes of an OperationOutcome. Its words may be about the patient.
fn read(status: StatusCode, answer: &[u8]) -> Said {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let issues = answer["issue"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_word = |code: &&str| code.len() <= 32 && code.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let codes: Vec<&str> = issues.iter().filter_map(|issue| issue["code"].as_str()).filter(is_word).take(4).collect();
    let words = match codes.is_empty() || status.is_success() {
        true => format!("HTTP {status}"),
        false => format!("HTTP {status}: {}", codes.join(", ")),
    };
    by_status(status, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::scu::store::Meaning;

    #[test]
    fn a_bundle_becomes_a_transaction_of_puts() {
        let bundle = json!({
            "resourceType": "Bundle", "id": "b", "type": "collection",
            "entry": [{ "fullUrl": "urn:uuid:p", "resource": { "resourceType": "Patient", "id": "p" } }],
        });
        let bundle = bundle.to_string();
        assert_eq!(id(bundle.as_bytes()), "b");
        let sent: Value = serde_json::from_slice(&transaction(bundle.as_bytes()).unwrap()).unwrap();
        assert_eq!(sent["type"], "transaction");
        assert_eq!(sent["entry"][0]["request"], json!({ "method": "PUT", "url": "Patient/p" }));
        assert_eq!(transaction(b"{}"), None);
    }

    #[test]
    fn an_outcome_is_told_by_its_codes() {
        let outcome =
            json!({ "issue": [{ "code": "invalid", "diagnostics": "of Mr X" }, { "code": "Mr X" }] }).to_string();
        let said = read(StatusCode::UNPROCESSABLE_ENTITY, outcome.as_bytes());
        assert_eq!((said.meaning, said.words.as_str()), (Meaning::Never, "HTTP 422 Unprocessable Entity: invalid"));
        assert_eq!(read(StatusCode::OK, b"{}").meaning, Meaning::Taken);
        assert_eq!(read(StatusCode::SERVICE_UNAVAILABLE, b"busy").meaning, Meaning::Later);
    }
}
