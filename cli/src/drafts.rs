//! Drafts as a client fetches them.

use anyhow::Context as _;
use prelim_coordinator::report::json::{self, document::Document};
use prelim_coordinator::report::present::percent;
use prelim_proto::v1::GetReportRequest;
use tonic::Code;

use crate::client::{Connection, plain};
use crate::commands::report::Format;

/// The draft of a study in one form, or nothing where there is no draft.
pub(crate) async fn fetch(connection: &Connection, study: &str, format: Format) -> anyhow::Result<Option<Vec<u8>>> {
    version_of(connection, study, format, 0).await
}

async fn version_of(
    connection: &Connection,
    study: &str,
    format: Format,
    version: u32,
) -> anyhow::Result<Option<Vec<u8>>> {
    let mut client = connection.studies().await?;
    let request = GetReportRequest { study_uid: study.to_owned(), format: format.wire() as i32, version };
    match client.get_report(request).await {
        Ok(response) => {
            let report = response.into_inner().report.context("the coordinator sent no report")?;
            Ok(Some(report.content))
        }
        Err(status) if status.code() == Code::FailedPrecondition => Ok(None),
        Err(status) => Err(plain(status)),
    }
}

/// The draft of a study, parsed, or nothing where there is none.
pub(crate) async fn document(connection: &Connection, study: &str) -> anyhow::Result<Option<Document>> {
    document_of(connection, study, 0).await
}

/// A version of a study's report, parsed, 0 for the one that stands; nothing where there is none.
pub(crate) async fn document_of(
    connection: &Connection,
    study: &str,
    version: u32,
) -> anyhow::Result<Option<Document>> {
    let content = version_of(connection, study, Format::Json, version).await?;
    content.map(|bytes| json::parse(&bytes)).transpose().with_context(|| format!("the draft of study {study}"))
}

/// The impression in one line.
pub(crate) fn impression(document: &Document) -> String {
    let sentences: Vec<&str> = document.report.impression.iter().map(|sentence| sentence.text.as_str()).collect();
    sentences.join(" ")
}

/// The confidence of each finding, in per cent.
pub(crate) fn confidences(document: &Document) -> String {
    let each: Vec<String> = document.report.findings.iter().map(|finding| percent(finding.confidence as f32)).collect();
    each.join(", ")
}
