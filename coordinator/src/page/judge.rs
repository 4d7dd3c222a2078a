//! What the editor says of a report: looked at as it would be signed, signed, or rejected.

use axum::body::Body;
use hyper::Response;
use prelim_proto::finding::{Evidence, Finding, ImageBox, Laterality, Presence, Severity, Zone};
use prelim_proto::ids::Uid;
use prelim_proto::report::{Report, Sentence};
use prelim_proto::review::{AddedFinding, Becomes, Edit, EditedFinding};
use prelim_proto::study::Study;
use prelim_proto::vocabulary::FindingCode;
use serde::Deserialize;
use serde_json::json;

use super::fault::Fault;
use super::{Call, answer_json, board, copies, study};
use crate::report::json::document::Document;
use crate::report::present;
use crate::review::{Wanted, contradict};
use crate::service::ServiceError;
use crate::session::Session;
use crate::store::StoreError;
use crate::store::notes::MAX_NOTE_BYTES;
use crate::store::record::by_series;
use crate::web::body::Received;

/// What is said of a report.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    version: u32,
    #[serde(default)]
    decisions: Vec<Decided>,
    #[serde(default)]
    added: Vec<Added>,
    #[serde(default)]
    impression: Vec<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    contradictions_seen: bool,
    #[serde(default)]
    rejection_seen: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Accept,
    Change,
    Reject,
}

#[derive(Debug, Deserialize)]
struct Decided {
    decision: Decision,
    finding: Option<Given>,
    #[serde(default)]
    words: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Added {
    finding: Given,
    #[serde(default)]
    words: String,
    #[serde(default)]
    reason: String,
}

/// A finding, as reports have it; what follows from its code is not looked at.
#[derive(Debug, Deserialize)]
struct Given {
    key: FindingCode,
    presence: Presence,
    laterality: Option<Laterality>,
    zone: Option<Zone>,
    severity: Option<Severity>,
    size_mm: Option<f32>,
    #[serde(default)]
    evidence: Vec<Place>,
}

/// Where it was seen, with a box in pixels of the frame or in fractions of it.
#[derive(Debug, Deserialize)]
struct Place {
    instance: Uid,
    series: Option<Uid>,
    #[serde(default = "first")]
    frame: u32,
    pixels: Option<Edges>,
    #[serde(rename = "box")]
    bounds: Option<Edges>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Edges {
    top: f32,
    left: f32,
    bottom: f32,
    right: f32,
}

fn first() -> u32 {
    1
}

/// The report as it would be signed. Nothing is stored.
pub(super) async fn preview(
    call: &Call<'_>,
    session: &Session,
    uid: Uid,
    body: &mut Received,
) -> Result<Response<Body>, Fault> {
    let (wanted, study) = wanted(call, session, uid, body, true).await?;
    call.viewed(session, &wanted.study).await?;
    let edit = wanted.edit.clone().unwrap_or_default();
    let uid = wanted.study.clone();
    let report = match call.web.coordinator.preview(session, wanted).await {
        Ok(report) => report,
        Err(error) => return Err(outdated(call, &uid, error).await),
    };
    let mut told = study::shown(Document::of(&report, &study), &study, None)?;
    // Nobody has signed it, whatever the report will say once somebody has.
    if let Some(review) = &report.review {
        told["status"] = json!("preview");
        told["statement"] = json!(present::preview_statement(review));
        for signature in ["reviewer_id", "reviewer", "organization", "at_ms"] {
            told["review"].as_object_mut().map(|review| review.remove(signature));
        }
    }
    let contradictions = contradict::contradictions(&report);
    Ok(answer_json(&json!({"report": told, "warnings": warnings(&report, &edit), "contradictions": contradictions})))
}

/// Signs a report.
pub(super) async fn sign(
    call: &Call<'_>,
    session: &Session,
    uid: Uid,
    body: &mut Received,
) -> Result<Response<Body>, Fault> {
    let (wanted, _) = wanted(call, session, uid, body, true).await?;
    review(call, session, wanted).await
}

/// Rejects a draft.
pub(super) async fn reject(
    call: &Call<'_>,
    session: &Session,
    uid: Uid,
    body: &mut Received,
) -> Result<Response<Body>, Fault> {
    let (wanted, _) = wanted(call, session, uid, body, false).await?;
    review(call, session, wanted).await
}

async fn review(call: &Call<'_>, session: &Session, wanted: Wanted) -> Result<Response<Body>, Fault> {
    let uid = wanted.study.clone();
    let coordinator = &call.web.coordinator;
    let (version, standing) = match coordinator.review(session, wanted).await {
        Ok(done) => done,
        Err(error) => return Err(outdated(call, &uid, error).await),
    };
    // It is signed, whatever becomes of this.
    let dropped = copies::drop_own(call, session, &uid).await;
    if dropped.is_err() {
        tracing::warn!("a working copy of what was signed is left");
    }
    board::tell_others(coordinator, &uid).await;
    Ok(answer_json(&json!({"version": version, "standing": standing})))
}

/// That somebody else was sooner, with the version that came of it: which that is, is only known now.
async fn outdated(call: &Call<'_>, study: &Uid, error: ServiceError) -> Fault {
    let words = match error {
        ServiceError::Store(StoreError::Outdated(_)) => "the report has a newer version: look at that one".to_owned(),
        ServiceError::Store(StoreError::WrongState { state, .. }) => {
            format!("the study is {}, and cannot be reviewed so", state.as_str())
        }
        error @ ServiceError::DraftRejected { .. } => error.to_string(),
        error => return error.into(),
    };
    match call.web.coordinator.record(study).await {
        Ok(record) => Fault::conflict(words).with("newest", record.draft_version),
        Err(error) => error.into(),
    }
}

/// What is wanted of a report, and of which study.
async fn wanted(
    call: &Call<'_>,
    session: &Session,
    uid: Uid,
    body: &mut Received,
    is_edit: bool,
) -> Result<(Wanted, Study), Fault> {
    let record = call.record(session, &uid).await?;
    let held = call.web.instances_of(&record).await?;
    let study = record.into_study(by_series(held.to_vec()));
    let said: Said = call.json(body, MAX_NOTE_BYTES).await?;
    let (version, request, reason) = (said.version, said.request_id.clone(), said.reason.clone());
    let (contradictions_seen, rejection_seen) = (said.contradictions_seen, said.rejection_seen);
    let edit = if is_edit { Some(said.edit(&study)?) } else { None };
    Ok((Wanted { study: uid, version, request, edit, reason, contradictions_seen, rejection_seen }, study))
}

impl Said {
    fn edit(self, study: &Study) -> Result<Edit, Fault> {
        let decided = |(index, decided): (usize, Decided)| {
            let Decided { decision, finding, words, reason } = decided;
            let becomes = match (decision, finding) {
                (Decision::Accept, _) => Becomes::Same(None),
                (Decision::Reject, _) => Becomes::Nothing,
                (Decision::Change, Some(finding)) => Becomes::Other(Box::new(finding.finding(study)?)),
                (Decision::Change, None) => {
                    let words = format!("finding {} is changed, and what to is not said", index + 1);
                    return Err(Fault::invalid("decisions", words));
                }
            };
            Ok(EditedFinding { becomes, words, reason })
        };
        let decisions = self.decisions.into_iter().enumerate().map(decided).collect::<Result<_, Fault>>()?;
        let added = self.added.into_iter().map(|added| {
            Ok(AddedFinding { finding: added.finding.finding(study)?, words: added.words, reason: added.reason })
        });
        Ok(Edit { decisions, added: added.collect::<Result<_, Fault>>()?, impression: self.impression })
    }
}

impl Given {
    fn finding(self, study: &Study) -> Result<Finding, Fault> {
        let evidence = self.evidence.into_iter().map(|place| place.evidence(study)).collect::<Result<_, Fault>>()?;
        Ok(Finding {
            code: self.key,
            presence: self.presence,
            laterality: self.laterality,
            zone: self.zone,
            severity: self.severity,
            size_mm: self.size_mm,
            confidence: 1.0,
            evidence,
        })
    }
}

impl Place {
    fn evidence(self, study: &Study) -> Result<Evidence, Fault> {
        let unknown = || Fault::invalid("evidence", "a finding is said to be seen on what is no image of the study");
        let of = |series: &&prelim_proto::study::Series| series.instances.iter().any(|each| each.uid == self.instance);
        let series = study.series.iter().find(of).ok_or_else(unknown)?.uid.clone();
        if self.series.as_ref().is_some_and(|said| *said != series) {
            return Err(unknown());
        }
        let image = study::image_of(study, &self.instance).ok_or_else(unknown)?;
        let scaled = |edges: Edges| {
            let (rows, columns) = (image.rows.max(1) as f32, image.columns.max(1) as f32);
            ImageBox::new(edges.top / rows, edges.left / columns, edges.bottom / rows, edges.right / columns)
        };
        let plain = |edges: Edges| ImageBox::new(edges.top, edges.left, edges.bottom, edges.right);
        let bounds = self.pixels.map(scaled).or_else(|| self.bounds.map(plain));
        let bounds = match bounds {
            Some(None) => return Err(Fault::invalid("evidence", "an edge of a box is no number")),
            bounds => bounds.flatten(),
        };
        Ok(Evidence { instance: self.instance, series, frame: self.frame.max(1), bounds, confidence: 1.0 })
    }
}

/// What a reviewer may want to look at again, beside what contradicts itself.
fn warnings(report: &Report, edit: &Edit) -> Vec<String> {
    let mut warnings = Vec::new();
    let is_changed =
        !edit.added.is_empty() || edit.decisions.iter().any(|each| !matches!(each.becomes, Becomes::Same(_)));
    if is_changed && edit.impression.iter().any(|words| !words.trim().is_empty()) {
        warnings.push("The impression is in your words: it is not made anew from the findings.".to_owned());
    }
    let sides: Vec<Option<Laterality>> = report.findings.iter().map(|finding| finding.laterality).collect();
    for Sentence { text, .. } in &report.impression {
        for (word, side) in [("left", Laterality::Left), ("right", Laterality::Right)] {
            let is_coded = sides
                .iter()
                .any(|found| matches!(found, Some(found) if *found == side || *found == Laterality::Bilateral));
            if has_word(text, word) && !is_coded {
                warnings.push(format!("The impression says \"{word}\", and no finding is on that side."));
            }
        }
    }
    warnings
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphabetic()).any(|found| found.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_editor_says_is_read() {
        let said: Said = serde_json::from_str(
            r#"{"version": 1, "decisions": [
                {"decision": "accept"},
                {"decision": "reject", "reason": "a skin fold"},
                {"decision": "change", "finding": {"key": "nodule", "name": "lung nodule", "presence": "present",
                 "laterality": "left", "confidence": 0.4, "evidence": []}, "words": "One."}]}"#,
        )
        .unwrap();
        let study = crate::store::conformance::fixture::record_of("1.2").into_study(Vec::new());
        let edit = said.edit(&study).unwrap();
        assert!(matches!(edit.decisions[0].becomes, Becomes::Same(None)));
        assert!(matches!(edit.decisions[1].becomes, Becomes::Nothing));
        assert!(matches!(&edit.decisions[2].becomes, Becomes::Other(finding) if finding.code == FindingCode::Nodule));
        for wrong in [
            r#"{"version": 1, "decisions": [{"decision": "change"}]}"#,
            r#"{"version": 1, "added": [{"finding": {"key": "nodule", "presence": "present", "evidence": [{"instance": "1.9"}]}}]}"#,
        ] {
            assert!(serde_json::from_str::<Said>(wrong).unwrap().edit(&study).is_err(), "{wrong}");
        }
    }
}
