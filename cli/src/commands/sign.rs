//! `prelim sign` and `prelim reject`: a radiologist answers for a report.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use prelim_coordinator::report::json::document::Document;
use prelim_proto::v1::{Decision, FindingDecision, RejectReportRequest, SignReportRequest};
use serde_json::json;
use tonic_types::StatusExt as _;

use crate::client::{Connection, plain};
use crate::drafts;
use crate::edit::{self, Edit};
use crate::table;

/// The reason that comes with the status.
const CONTRADICTS: &str = "CONTRADICTS";
const DRAFT_REJECTED: &str = "DRAFT_REJECTED";

/// Sign a study's report, as it is or with changes. Where one was signed before, it is amended.
///
/// It takes a coordinator that tells callers apart, the role review, and a certificate or token with a person's name.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true).args(["accept", "edit", "template"])),
    after_help = "Examples:\n  prelim report 1.2.840.1                              look at it: it says its version\n  prelim sign 1.2.840.1 --report-version 1 --accept    sign that version as it is\n  prelim sign 1.2.840.1 --report-version 1 --accept --reject 2=\"skin fold\"\n  prelim sign 1.2.840.1 --template > edit.json         a file to change it in\n  prelim sign 1.2.840.1 --edit edit.json               sign what that says\n\nThe file of --edit has a decision for each finding: accept (as it is), change (to what the file has), or reject (with a reason). `words` are the sentence about a finding and `impression` a list of sentences, both made from the findings where they are empty; `added` lists findings that the report does not have."
)]
pub(crate) struct Sign {
    /// Study Instance UID.
    #[arg(value_name = "STUDY")]
    study: String,
    /// The version that you looked at. Where another has come since, nothing is signed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    report_version: Option<u32>,
    /// Accept every finding of that version that is not rejected.
    #[arg(long, conflicts_with_all = ["edit", "template"], requires = "report_version")]
    accept: bool,
    /// Reject a finding, by its number in the report, with the reason. May be given several times.
    #[arg(long, value_name = "N=REASON", requires = "accept", value_parser = rejected)]
    reject: Vec<(usize, String)>,
    /// Sign what this file says of the findings; `--template` writes one to start from.
    #[arg(long, value_name = "FILE")]
    edit: Option<PathBuf>,
    /// Write the file for --edit to stdout, with every finding accepted. Nothing is signed.
    #[arg(long, conflicts_with_all = ["edit", "reason"])]
    template: bool,
    /// The impression in your words, a sentence each time it is given; made from the findings where not given.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["edit", "template"])]
    impression: Vec<String>,
    /// You have seen where the words of the report say another thing than its findings, and sign it so. Without it such a report
    /// is not signed, and you are told where.
    #[arg(long, conflicts_with = "template")]
    contradictions_seen: bool,
    /// The version that says that the draft was rejected: you have seen that, and sign the draft all the same.
    #[arg(long, value_name = "N", conflicts_with = "template", value_parser = clap::value_parser!(u32).range(1..))]
    rejection_seen: Option<u32>,
    /// Why a signed report is amended.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

/// Reject the draft of a study: nothing of it stands.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  prelim reject 1.2.840.1 --report-version 1 --reason \"wrong body part\"")]
pub(crate) struct Reject {
    /// Study Instance UID.
    #[arg(value_name = "STUDY")]
    study: String,
    /// The version that you looked at. Where another has come since, nothing is rejected.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    report_version: u32,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
    /// For programs: a JSON object.
    #[arg(long)]
    json: bool,
}

/// A finding's number and why it is rejected.
fn rejected(text: &str) -> Result<(usize, String), String> {
    let wrong = || format!("{text:?} is not N=REASON, for example 2=\"skin fold\"");
    let (number, reason) = text.split_once('=').ok_or_else(wrong)?;
    let number: usize = number.trim().parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    let reason = reason.trim();
    if reason.is_empty() { Err(wrong()) } else { Ok((number, reason.to_owned())) }
}

/// A version of a study's report, that which stands where none is named.
async fn version(connection: &Connection, study: &str, version: Option<u32>) -> anyhow::Result<Document> {
    let document = drafts::document_of(connection, study, version.unwrap_or_default()).await?;
    document.with_context(|| format!("study {study} has no report yet: look with `prelim studies`"))
}

impl Sign {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.template {
            let document = version(&self.connection, &self.study, self.report_version).await?;
            return table::say(serde_json::to_string_pretty(&Edit::accepting(&document))?);
        }
        let mut request = match &self.edit {
            Some(file) => edit::read(file)?.into_request()?,
            None => self.accepting(&version(&self.connection, &self.study, self.report_version).await?)?,
        };
        if let Some(version) = self.report_version.filter(|version| *version != request.version) {
            anyhow::bail!("--report-version is {version}, and the file is of version {}", request.version);
        }
        request.study_uid.clone_from(&self.study);
        let reviewed = request.version;
        request.reason.clone_from(&self.reason);
        request.contradictions_seen = self.contradictions_seen;
        request.rejection_seen = self.rejection_seen.unwrap_or_default();
        request.request_id = format!("{:032x}", rand::random::<u128>());
        let mut client = self.connection.reviews().await?;
        let signed = client.sign_report(request).await.map_err(|status| match reason(&status).as_str() {
            CONTRADICTS => anyhow::anyhow!("{}, with --contradictions-seen", plain(status)),
            DRAFT_REJECTED => anyhow::anyhow!("{}, with --rejection-seen", plain(status)),
            _ => plain(status),
        })?;
        let signed = signed.into_inner();
        let what = if signed.amended { "amended and signed" } else { "signed" };
        if self.json {
            let row = json!({ "study_uid": self.study, "version": signed.version, "amended": signed.amended });
            return table::say(serde_json::to_string_pretty(&row)?);
        }
        table::say(format!("{}  version {} {what}, after review of version {reviewed}", self.study, signed.version))
    }

    /// The newest version with every finding accepted but those that are rejected.
    fn accepting(&self, document: &Document) -> anyhow::Result<SignReportRequest> {
        let findings = document.report.findings.len();
        let mut decisions = vec![FindingDecision { decision: Decision::Accept as i32, ..Default::default() }; findings];
        for (number, reason) in &self.reject {
            let decision = decisions.get_mut(number - 1);
            let decision = decision
                .with_context(|| format!("--reject {number}: the report has {}", table::count(findings, "finding")))?;
            anyhow::ensure!(decision.reason.is_empty(), "--reject {number} is given twice");
            decision.decision = Decision::Reject as i32;
            decision.reason.clone_from(reason);
        }
        let impression = self.impression.clone();
        Ok(SignReportRequest { version: document.report.version, decisions, impression, ..Default::default() })
    }
}

/// Why it was refused, in a word for programs.
fn reason(status: &tonic::Status) -> String {
    status.get_error_details().error_info().map_or(String::new(), |info| info.reason.clone())
}

impl Reject {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let version = self.report_version;
        let request_id = format!("{:032x}", rand::random::<u128>());
        let request =
            RejectReportRequest { study_uid: self.study.clone(), version, request_id, reason: self.reason.clone() };
        let mut client = self.connection.reviews().await?;
        let version = client.reject_report(request).await.map_err(plain)?.into_inner().version;
        if self.json {
            let row = json!({ "study_uid": self.study, "version": version });
            return table::say(serde_json::to_string_pretty(&row)?);
        }
        table::say(format!("{}  rejected, in version {version}", self.study))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_a_finding_and_a_reason() {
        assert_eq!(rejected("2=skin fold"), Ok((2, "skin fold".to_owned())));
        assert_eq!(rejected(" 1 = a=b "), Ok((1, "a=b".to_owned())));
        for wrong in ["2", "0=why", "x=why", "2=", "2= ", "-1=why"] {
            assert!(rejected(wrong).is_err(), "{wrong}");
        }
    }
}
