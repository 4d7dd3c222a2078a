//! Reports that radiologists signed, for training: a line of JSON each, without what names the patient. Studies and instances are
//! named by the SHA-256 of their UIDs, so that a site that has the images finds them. Words that a model said to a question are no
//! radiologist's, whoever inserted them: sentences that have some are left out, and counted.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use hyper::Response;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use prelim_proto::ids::Uid;
use prelim_proto::report::{Inserted, Passage, Report, Sentence};
use prelim_proto::study::{StudyAttributes, StudyState};
use prelim_proto::trace::without_uids;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Call;
use super::fault::Fault;
use super::row::Row;
use crate::audit::Act;
use crate::report::json;
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;

/// Shortest part of a name that is looked for in a text, in characters: shorter ones are words, too.
const MIN_PART: usize = 3;

/// Gives out all that the caller may see.
pub(super) async fn give(call: &Call<'_>, session: &Session) -> Result<Response<Body>, Fault> {
    let view = call.web.page.board.view(&call.web.coordinator).await?;
    session.note(Act::Queried, &[]).await?;
    let is_kept = |row: &&Arc<Row>| row.signed_version > 0 && row.state != StudyState::Removing;
    let signed = view.rows.iter().filter(is_kept).filter(|row| session.caller().may_see(&row.tenant));
    let mut studies: Vec<Uid> = signed.map(|row| row.uid.clone()).collect();
    studies.sort();
    let state = (VecDeque::from(studies), call.web.coordinator.clone(), session.clone());
    let lines = stream::unfold(state, |(mut studies, coordinator, session)| async move {
        let line = loop {
            let study = studies.pop_front()?;
            match line(&coordinator, &session, &study).await {
                Ok(Some(line)) => break Ok(Bytes::from(line)),
                // It is gone, or nothing of it stands any more.
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = without_uids(&error), "export broken off");
                    studies.clear();
                    break Err(std::io::Error::other("broken off"));
                }
            }
        };
        Some((line, (studies, coordinator, session)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"reports.jsonl\""));
    Ok(response)
}

/// A study's signed report.
async fn line(coordinator: &Arc<Coordinator>, session: &Session, uid: &Uid) -> Result<Option<String>, ServiceError> {
    let Some(record) = coordinator.store.study(uid).await? else { return Ok(None) };
    let Some(held) = coordinator.store.draft(uid, Some(record.signed_version)).await? else { return Ok(None) };
    // It may be another's since it was listed.
    if !session.caller().may_see(&record.tenant) {
        return Ok(None);
    }
    session.note(Act::Reported, std::slice::from_ref(uid)).await?;
    let content = coordinator.bytes.get(uid, &held.digest).await?;
    let document = json::parse(&content)?;
    let report = document.to_report()?;
    let findings = serde_json::to_value(&document.report.findings).unwrap_or_default();
    Ok(Some(format!("{}\n", told(&report, findings, &record.attributes))))
}

/// A report without what names the patient.
fn told(report: &Report, mut findings: Value, patient: &StudyAttributes) -> Value {
    for finding in findings.as_array_mut().into_iter().flatten() {
        for evidence in finding.get_mut("evidence").and_then(Value::as_array_mut).into_iter().flatten() {
            for name in ["instance", "series"] {
                let hashed = evidence[name].as_str().map(hash);
                evidence[name] = json!(hashed);
            }
        }
    }
    let names = names(patient);
    let mut left_out = 0;
    let mut lines = |sentences: &[Sentence]| -> Vec<String> {
        let is_plain = |text: &String| !names.iter().any(|name| text.to_lowercase().contains(name));
        let (plain, named): (Vec<_>, Vec<_>) = sentences.iter().map(|each| each.text.clone()).partition(is_plain);
        left_out += named.len();
        plain
    };
    let own = |passage: Passage| -> Vec<Sentence> {
        let is_own = |place: usize| {
            let is_it = |each: &Inserted| each.passage == passage && each.sentence as usize == place;
            !report.inserted.iter().any(is_it)
        };
        let sentences = passage.of(report).iter().enumerate().filter(|(place, _)| is_own(*place));
        sentences.map(|(_, sentence)| sentence.clone()).collect()
    };
    let (of_findings, of_impression) = (own(Passage::Findings), own(Passage::Impression));
    let of_models = report.findings_text.len() + report.impression.len() - of_findings.len() - of_impression.len();
    let (findings_text, impression) = (lines(&of_findings), lines(&of_impression));
    let assessments = report.review.iter().flat_map(|review| &review.assessments);
    let decisions = assessments.map(|each| {
        let before = each.before.as_ref().map(|before| json!({"key": before.code, "presence": before.presence}));
        json!({"decision": each.decision, "before": before, "finding": each.finding})
    });
    json!({
        "study": hash(report.study.as_str()),
        "kinds": report.kinds,
        "standing": report.standing(),
        "findings": findings,
        "findings_text": findings_text,
        "impression": impression,
        "sentences_left_out": left_out,
        "sentences_of_models_left_out": of_models,
        "urgency": report.urgency,
        "partial": report.partial,
        "decisions": decisions.collect::<Vec<_>>(),
        "models": report.models.iter().map(|model| &model.name).collect::<Vec<_>>(),
    })
}

/// What of the patient and the request might be in a sentence, in lower case.
fn names(patient: &StudyAttributes) -> Vec<String> {
    let people = [&patient.patient_name, &patient.referring_physician];
    let parts = people.into_iter().flat_map(|name| name.split(['^', '=', ' ', ',', '-']));
    let whole = [&patient.patient_id, &patient.accession_number, &patient.study_id, &patient.patient_birth_date];
    let all = parts.chain(whole.into_iter().map(String::as_str)).chain([patient.institution.as_str()]);
    all.map(|text| text.trim().to_lowercase()).filter(|text| text.chars().count() >= MIN_PART).collect()
}

fn hash(uid: &str) -> String {
    Sha256::digest(uid.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_are_taken_apart() {
        let patient = StudyAttributes {
            patient_name: "Müller-Doe^Jo Ann".into(),
            patient_id: "P77".into(),
            institution: "St. Mary".into(),
            ..StudyAttributes::default()
        };
        assert_eq!(names(&patient), ["müller", "doe", "ann", "p77", "st. mary"]);
        assert_eq!(hash("1.2").len(), 64);
    }
}
