//! Reports that radiologists signed, for training: a line of JSON each, without sentences that may name somebody as far as software
//! tells (`naming`). Studies, series and instances have the UIDs that `prelim deidentify` gives them with the site's key, so that who
//! has the images and the key finds them, and nobody else. Words that a model said to a question are no radiologist's, whoever
//! inserted them: sentences that have some are left out, and counted.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use hyper::Response;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use prelim_imaging::deidentify::{Key, KeyError};
use prelim_proto::ids::Uid;
use prelim_proto::report::{Inserted, Passage, Report, Sentence};
use prelim_proto::study::StudyState;
use prelim_proto::trace::without_uids;
use serde_json::{Value, json};

use super::Call;
use super::fault::Fault;
use super::naming::Known;
use super::row::Row;
use crate::audit::Act;
use crate::report::json;
use crate::review::Agreed;
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;

/// The key beside the data, where `--deidentify` names none.
const KEY_FILE: &str = "export-key";

/// Gives out all that the caller may see.
pub(super) async fn give(call: &Call<'_>, session: &Session) -> Result<Response<Body>, Fault> {
    let config = &call.web.coordinator.config;
    let (given, own) = (config.deidentify.deidentify.clone(), config.data.join(KEY_FILE));
    let read = tokio::task::spawn_blocking(move || given.map_or_else(|| made(&own), |file| Key::read(&file)));
    let key = read.await.map_err(io::Error::other).map_err(KeyError::from).and_then(|key| key).map_err(|error| {
        tracing::error!(%error, "key of the export cannot be used");
        Fault::unavailable(format!("the key that UIDs are replaced by cannot be used: {error}"))
    })?;
    let view = call.web.page.board.view(&call.web.coordinator).await?;
    session.note_query(Vec::new(), &[]).await?;
    let is_kept = |row: &&Arc<Row>| row.signed_version > 0 && row.state != StudyState::Removing;
    let signed = view.rows.iter().filter(is_kept).filter(|row| session.caller().may_see(&row.tenant));
    let mut studies: Vec<Uid> = signed.map(|row| row.uid.clone()).collect();
    studies.sort();
    let state = (VecDeque::from(studies), call.web.coordinator.clone(), session.clone(), key);
    let lines = stream::unfold(state, |(mut studies, coordinator, session, key)| async move {
        let line = loop {
            let study = studies.pop_front()?;
            match line(&coordinator, &session, &key, &study).await {
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
        Some((line, (studies, coordinator, session, key)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"reports.jsonl\""));
    Ok(response)
}

/// A study's signed report.
async fn line(
    coordinator: &Arc<Coordinator>,
    session: &Session,
    key: &Key,
    uid: &Uid,
) -> Result<Option<String>, ServiceError> {
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
    let agreed = coordinator.agreed(&report).await?;
    let mut known = Known::of(&record.attributes);
    // Also who signed, amended or rejected before.
    for version in 1..=record.draft_version {
        if let Some(held) = coordinator.store.draft(uid, Some(version)).await?
            && !held.standing.is_draft()
        {
            let review = coordinator.held_report(uid, &held).await?.review;
            review.iter().for_each(|review| known.add_review(review));
        }
    }
    Ok(Some(format!("{}\n", told(&report, findings, &agreed, &known, key))))
}

/// The site's key beside its data; one is made where there is none.
fn made(file: &Path) -> Result<Key, KeyError> {
    if !file.exists() {
        let new = file.with_extension(format!("new-{:08x}", rand::random::<u32>()));
        let secret: String = rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        opened.write_all(format!("{secret}\n").as_bytes())?;
        opened.sync_all()?;
        // Another export may have made one since: that one stays.
        let linked = fs::hard_link(&new, file);
        fs::remove_file(&new)?;
        linked.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })?;
    }
    Key::read(file)
}

/// A report without what names the patient, as far as software tells.
fn told(report: &Report, mut findings: Value, agreed: &[Agreed], known: &Known, key: &Key) -> Value {
    for finding in findings.as_array_mut().into_iter().flatten() {
        for evidence in finding.get_mut("evidence").and_then(Value::as_array_mut).into_iter().flatten() {
            for name in ["instance", "series"] {
                let replaced = evidence[name].as_str().map(|uid| key.uid(uid));
                evidence[name] = json!(replaced);
            }
        }
    }
    let mut left_out = 0;
    let mut lines = |sentences: &[Sentence]| -> Vec<String> {
        let is_plain = |text: &String| !known.may_be_in(text);
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
    let decisions = agreed.iter().map(|each| {
        let before = each.drafted.as_ref().map(|(before, words)| {
            json!({
                "key": before.code,
                "presence": before.presence,
                "laterality": before.laterality,
                "zone": before.zone,
                "severity": before.severity,
                "size_mm": before.size_mm,
                "words": Some(words).filter(|words| !known.may_be_in(words)),
            })
        });
        json!({"decision": each.decision, "before": before, "finding": each.finding})
    });
    json!({
        "study": key.uid(report.study.as_str()),
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(KEY_FILE);
        let (first, second) = (made(&file).unwrap(), made(&file).unwrap());
        assert_eq!(first.uid("1.2.3"), second.uid("1.2.3"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(made(&other.path().join(KEY_FILE)).unwrap().uid("1.2.3"), first.uid("1.2.3"));
    }
}
