//! A study as it is read: its report and versions, its images, and the patient's earlier studies.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use hyper::Response;
use prelim_proto::comparison::PriorSource;
use prelim_proto::ids::Uid;
use prelim_proto::image::{ImageAttributes, ImageKind};
use prelim_proto::report::Report;
use prelim_proto::review::Decision;
use prelim_proto::study::{Instance, Series, Study, StudyState};
use serde_json::{Value, json};

use super::fault::Fault;
use super::row::{Row, Shown};
use super::{Call, answer_json, copies};
use crate::audit::Act;
use crate::merge::{Taken, taken, urgency};
use crate::priors::Compared;
use crate::report::json::document::{Document, Statement};
use crate::report::{self, ReportInputs, json, present};
use crate::service::ServiceError;
use crate::session::Session;
use crate::store::record::{DraftRecord, StudyRecord, by_series};

/// Versions of a report that are told, the newest.
const MAX_VERSIONS: u32 = 50;
/// Other studies of the patient that are told, the newest.
const MAX_PRIORS: usize = 20;

/// Gives out a study.
pub(super) async fn give(call: &Call<'_>, session: &Session, uid: Uid) -> Result<Response<Body>, Fault> {
    let record = call.record(session, &uid).await?;
    // Its report is a part of what is looked at: one opening is one record.
    call.viewed_now(session, &uid).await?;
    let coordinator = &call.web.coordinator;
    let held = call.web.instances_of(&record).await?;
    let study = record.clone().into_study(by_series(held.to_vec()));
    let (mut versions, mut reviewed, mut standing) = (Vec::new(), BTreeMap::new(), None);
    for version in (1..=record.draft_version).rev().take(MAX_VERSIONS as usize) {
        let Some(draft) = coordinator.store.draft(&uid, Some(version)).await? else { continue };
        let is_shown = version == record.standing_version();
        // Who drafted needs no look into the report.
        let document =
            if is_shown || !draft.standing.is_draft() { Some(document(call, &uid, &draft).await?) } else { None };
        let review = document.as_ref().and_then(|document| document.review.as_ref());
        versions.push(json!({
            "version": version,
            "standing": draft.standing,
            "at_ms": review.map_or(draft.drafted_at_ms, |review| review.at_ms),
            "by": review.map(|review| &review.reviewer),
            "reason": review.map(|review| &review.reason),
        }));
        reviewed.extend(document.as_ref().and_then(Reviewed::of).map(|review| (version, review)));
        standing = standing.or(document.filter(|_| is_shown));
    }
    let by_people = by_people(record.standing_version(), &reviewed);
    let stands = standing.as_ref().map(|document| document.to_report().map_err(ServiceError::from)).transpose()?;
    let report = match standing {
        Some(document) => shown(document, &study, Some(&by_people))?,
        None => Value::Null,
    };
    let priors = priors(call, session, &record, (stands.as_ref(), &report)).await?;
    let copy = copies::of(call, session, &uid).await?;
    let view = call.web.page.board.view(coordinator).await?;
    let row = Row::of(&record);
    Ok(answer_json(&json!({
        "row": Shown { row: &row, readers: view.readers_of(&uid) },
        "versions": versions,
        "standing_version": record.standing_version(),
        "report": report,
        "series": study.series.iter().map(series).collect::<Vec<_>>(),
        "unread": record.unread.iter().map(|unread| json!({
            "instance": unread.instance, "frame": unread.frame, "reason": unread.reason, "detail": unread.detail,
        })).collect::<Vec<_>>(),
        "notes": record.partition_notes,
        "priors": priors,
        "working_copy": copy,
        "readers": view.readers_of(&uid),
    })))
}

/// Gives out a version of a study's report.
pub(super) async fn report(
    call: &Call<'_>,
    session: &Session,
    uid: Uid,
    version: u32,
) -> Result<Response<Body>, Fault> {
    let record = call.record(session, &uid).await?;
    let store = &call.web.coordinator.store;
    let draft = store.draft(&uid, Some(version)).await?;
    let draft = draft.ok_or_else(|| Fault::nothing_here(format!("the report has no version {version}")))?;
    let wanted = document(call, &uid, &draft).await?;
    let mut reviewed = BTreeMap::new();
    let mut review = Reviewed::of(&wanted).map(|review| (version, review));
    while let Some((version, found)) = review.take() {
        let before = found.before.filter(|before| *before < version && reviewed.len() < MAX_VERSIONS as usize);
        reviewed.insert(version, found);
        let Some(before) = before else { break };
        let Some(draft) = store.draft(&uid, Some(before)).await? else { break };
        review = Reviewed::of(&document(call, &uid, &draft).await?).map(|review| (before, review));
    }
    session.note(Act::Reported, std::slice::from_ref(&uid)).await?;
    let held = call.web.instances_of(&record).await?;
    let study = record.into_study(by_series(held.to_vec()));
    Ok(answer_json(&shown(wanted, &study, Some(&by_people(version, &reviewed)))?))
}

async fn document(call: &Call<'_>, study: &Uid, draft: &DraftRecord) -> Result<Document, Fault> {
    let content = call.web.coordinator.bytes.get(study, &draft.digest).await.map_err(ServiceError::from)?;
    Ok(json::parse(&content).map_err(ServiceError::from)?)
}

/// A version that somebody reviewed.
struct Reviewed {
    /// The version that it takes the place of.
    before: Option<u32>,
    /// Tracking identifiers of the findings that were changed or added in it.
    own: Vec<Uid>,
}

impl Reviewed {
    /// Of a report; nothing of a draft.
    fn of(document: &Document) -> Option<Self> {
        let is_own = |decision| matches!(decision, Decision::Changed | Decision::Added);
        let own = document.review.as_ref()?.assessments.iter().filter(|each| is_own(each.decision));
        let before = document.report.replaces.as_ref().map(|replaced| replaced.version);
        Some(Self { before, own: own.map(|each| each.tracking.clone()).collect() })
    }
}

/// The findings of a version that a radiologist changed or added, in it or in one that it takes the place of, by their tracking
/// identifiers, which they keep. A model may be just as sure: that says nothing. What is drafted anew is the model's again: the
/// way back ends at a draft.
fn by_people(version: u32, reviewed: &BTreeMap<u32, Reviewed>) -> BTreeSet<Uid> {
    let (mut found, mut next) = (BTreeSet::new(), Some(version));
    while let Some(version) = next {
        let Some(Reviewed { before, own }) = reviewed.get(&version) else { break };
        found.extend(own.iter().cloned());
        // What takes the place of another is later than that.
        next = before.filter(|before| *before < version);
    }
    found
}

/// A report as the page shows it: the published document, and with each finding its tracking identifier, its sentence, how soon
/// a person should look, its boxes in pixels of the frame, and who says it, where that is known.
pub(super) fn shown(document: Document, study: &Study, by_people: Option<&BTreeSet<Uid>>) -> Result<Value, Fault> {
    let wrong = ServiceError::from;
    let report = document.to_report().map_err(wrong)?;
    let inputs = ReportInputs { report: &report, study, key_images: &[], shadings: &[] };
    let tracking = report::identifiers(&inputs).map_err(wrong)?.tracking;
    let mut value = serde_json::to_value(&document).map_err(|error| Fault::invalid("report", error.to_string()))?;
    let findings = value.pointer_mut("/report/findings").and_then(Value::as_array_mut);
    for (index, finding) in findings.into_iter().flatten().enumerate() {
        let own = |sentence: &&prelim_proto::report::Sentence| sentence.findings.contains(&(index as u32));
        finding["tracking"] = json!(tracking.get(index));
        if let (Some(by_people), Some(tracking)) = (by_people, tracking.get(index)) {
            finding["by"] = json!(if by_people.contains(tracking) { "radiologist" } else { "model" });
        }
        finding["urgency"] = json!(urgency::of(&report.findings[index]));
        finding["sentence"] = json!(report.findings_text.iter().find(own).map(|sentence| &sentence.text));
        let seen = finding.get_mut("evidence").and_then(Value::as_array_mut);
        for (place, evidence) in seen.into_iter().flatten().zip(&report.findings[index].evidence) {
            let image = image_of(study, &evidence.instance);
            if let (Some(image), Some(bounds)) = (image, evidence.bounds) {
                let (rows, columns) = (f64::from(image.rows), f64::from(image.columns));
                let scaled = |edge: f32, side: f64| (f64::from(edge) * side * 10.0).round() / 10.0;
                place["pixels"] = json!({
                    "top": scaled(bounds.top, rows), "left": scaled(bounds.left, columns),
                    "bottom": scaled(bounds.bottom, rows), "right": scaled(bounds.right, columns),
                });
            }
        }
    }
    Ok(value)
}

/// What is known of an image of the study.
pub(super) fn image_of<'a>(study: &'a Study, instance: &Uid) -> Option<&'a ImageAttributes> {
    let instances = study.series.iter().flat_map(|series| &series.instances);
    instances.into_iter().find(|each| each.uid == *instance).and_then(|found| found.image.as_ref())
}

/// A series, its images in the order in which they are scrolled.
fn series(series: &Series) -> Value {
    let kind = match series.kind() {
        Some(ImageKind::Xray) => "xray",
        Some(ImageKind::Ct) => "ct",
        None => "other",
    };
    let mut images: Vec<(&Instance, &ImageAttributes)> =
        series.instances.iter().filter_map(|instance| Some((instance, instance.image.as_ref()?))).collect();
    images.sort_by(|a, b| {
        let along = |image: &ImageAttributes| {
            image.planes.first().map(|plane| height(plane.position_mm, plane.row, plane.column))
        };
        let by_place = match (along(a.1), along(b.1)) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            _ => std::cmp::Ordering::Equal,
        };
        by_place.then_with(|| (a.0.number, &a.0.uid).cmp(&(b.0.number, &b.0.uid)))
    });
    let is_xray = kind == "xray";
    json!({
        "uid": series.uid,
        "modality": present::clean(&series.modality),
        "description": present::clean(&series.description),
        "number": series.number,
        "body_part": images.iter().find_map(|(_, image)| image.body_part.as_ref()),
        "kind": kind,
        "instances": images.iter().map(|(instance, image)| self::image(instance, image, is_xray)).collect::<Vec<_>>(),
    })
}

fn image(instance: &Instance, image: &ImageAttributes, is_xray: bool) -> Value {
    let plane = image.planes.first();
    json!({
        "uid": instance.uid,
        "number": instance.number,
        "frames": image.frames.max(1),
        "rows": image.rows,
        "columns": image.columns,
        "frame_of_reference": image.frame_of_reference,
        "position": plane.map(|plane| plane.position_mm),
        "orientation": plane.map(|plane| [plane.row, plane.column].concat()),
        "planes": (image.planes.len() > 1).then(|| image.planes.iter().map(|plane| plane.position_mm).collect::<Vec<_>>()),
        "spacing": image.pixel_spacing_mm,
        // Of a projection, what is measured is at the detector, and not in the patient.
        "spacing_is_calibrated": image.pixel_spacing_mm.is_some() && !is_xray,
        "thickness": image.slice_thickness_mm,
        "kernel": image.convolution_kernel,
        "photometric": image.photometric,
        "laterality": image.laterality,
        "view_position": image.view_position,
        "patient_orientation": image.patient_orientation,
    })
}

/// How far along the normal of its plane an image lies, in mm; axial slices go from the head down.
fn height(position: [f64; 3], row: [f64; 3], column: [f64; 3]) -> f64 {
    let normal = [
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    ];
    normal.iter().zip(position).map(|(normal, position)| normal * position).sum()
}

/// The patient's other studies that are held, by the rule of [`crate::priors`], the newest first: which of them the report takes into account, and their own
/// reports.
async fn priors(
    call: &Call<'_>,
    session: &Session,
    record: &StudyRecord,
    (report, shown): (Option<&Report>, &Value),
) -> Result<Vec<Value>, Fault> {
    let known = &record.attributes;
    let coordinator = &call.web.coordinator;
    let told_priors = shown.pointer("/report/priors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let planned = match report {
        Some(_) => coordinator.compared_now(&record.uid, &coordinator.store.jobs(&record.uid).await?).await?.0,
        None => Compared::default(),
    };
    let (mut priors, mut seen) = (Vec::new(), Vec::new());
    for other in coordinator.of_patient(record, MAX_PRIORS).await? {
        let of = &other.attributes;
        let told =
            report.and_then(|report| Some((report, report.priors.iter().find(|prior| prior.study == other.uid)?)));
        let how = told.map(|(report, prior)| taken(&report.comparison, prior));
        let standing = call.web.coordinator.store.draft(&other.uid, Some(other.standing_version())).await?;
        let own = match standing.filter(|_| other.state.is_reported()) {
            Some(draft) => {
                let document = document(call, &other.uid, &draft).await?;
                let sentences =
                    |said: &[Statement]| said.iter().map(|sentence| sentence.text.clone()).collect::<Vec<_>>();
                json!({
                    "standing": document.status,
                    "version": draft.version,
                    "sentences": sentences(&document.report.findings_text),
                    "impression": sentences(&document.report.impression),
                })
            }
            None => Value::Null,
        };
        let is_later = (&of.study_date, &of.study_time) > (&known.study_date, &known.study_time);
        priors.push(json!({
            "uid": other.uid,
            // People marry: the page says so where it is another.
            "patient_name": present::clean(&of.patient_name),
            "date": of.study_date,
            "time": of.study_time,
            "description": present::clean(&of.description),
            "modalities": other.modalities,
            "state": other.state,
            "is_later": is_later,
            "compared": how == Some(Taken::Compared),
            "taken": how.is_some(),
            "changes": told_priors.iter().find(|prior| prior["study"] == other.uid.as_str()).map(|prior| &prior["changes"]),
            "reasons": reason(how, report.is_some(), is_later, planned.why_not(&other.uid)),
            "since": told.and_then(|(_, prior)| since(&prior.source, &other)),
            "report": own,
        }));
        seen.push(other.uid);
    }
    session.note(Act::Read, &seen).await?;
    Ok(priors)
}

/// What became of the report of an earlier study since a report took it into account; nothing where it is the same.
fn since(source: &PriorSource, now: &StudyRecord) -> Option<String> {
    let (then, stands) = (source.version(), now.compared_version());
    let taken = match source {
        PriorSource::Draft { version, .. } => format!("draft {version}"),
        PriorSource::Signed { version, .. } => format!("version {version}, signed,"),
        PriorSource::Report { .. } => "a report of another system".to_owned(),
    };
    let what = match now.state {
        StudyState::Rejected if then.is_some() => "its draft was rejected since".to_owned(),
        _ if now.signed_version > 0 && then != Some(stands) => format!("version {stands} was signed since, and stands"),
        StudyState::Drafted if then.is_some_and(|then| then != stands) => format!("there is draft {stands} since"),
        _ => return None,
    };
    Some(format!("This report takes {taken} of it into account, and {what}."))
}

/// Why a study is not compared finding by finding; nothing where it is. `ruled_out` is why it was not taken into account.
fn reason(how: Option<Taken>, has_report: bool, is_later: bool, ruled_out: &str) -> Vec<&str> {
    match how {
        Some(Taken::Compared) => Vec::new(),
        Some(Taken::Words) => vec!["its report has no coded findings, and is quoted"],
        Some(Taken::Named) => vec!["one that is more like this study, or newer, is compared"],
        None if is_later => vec!["it was made later"],
        None if !has_report => vec!["there is no report yet"],
        None => vec![ruled_out],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    fn reviewed(before: u32, own: &[&str]) -> Reviewed {
        Reviewed { before: Some(before), own: own.iter().map(|text| uid(text)).collect() }
    }

    #[test]
    fn who_says_a_finding_is_told_by_reviews_back_to_the_draft() {
        // Versions 1 and 4 are drafts; 5 takes the place of 4, and 4 of 3.
        let all = BTreeMap::from([
            (2, reviewed(1, &["1.1"])),
            (3, reviewed(2, &["1.2"])),
            (5, reviewed(4, &[])),
            (6, reviewed(5, &["1.6"])),
        ]);
        for (version, expected) in
            [(1, &[][..]), (2, &["1.1"]), (3, &["1.1", "1.2"]), (4, &[]), (5, &[]), (6, &["1.6"]), (9, &[])]
        {
            let expected: BTreeSet<Uid> = expected.iter().map(|text| uid(text)).collect();
            assert_eq!(by_people(version, &all), expected, "{version}");
        }
    }

    #[test]
    fn what_became_of_an_earlier_report_since_is_told() {
        let digest = prelim_imaging::header::digest(b"x");
        let draft = PriorSource::Draft { version: 1, digest: digest.clone(), demonstration: false };
        let signed = PriorSource::Signed { version: 2, digest, demonstration: false };
        for (source, state, (newest, stands), expected) in [
            (&draft, StudyState::Drafted, (1, 0), None),
            (&draft, StudyState::Drafted, (2, 0), Some("draft 1 of it into account, and there is draft 2 since")),
            (&draft, StudyState::Signed, (2, 2), Some("draft 1 of it into account, and version 2 was signed since")),
            (
                &draft,
                StudyState::Rejected,
                (2, 0),
                Some("draft 1 of it into account, and its draft was rejected since"),
            ),
            (&signed, StudyState::Signed, (2, 2), None),
            (&signed, StudyState::Signed, (3, 2), None),
            (&signed, StudyState::Drafted, (3, 2), None),
            (&draft, StudyState::Drafted, (3, 2), Some("draft 1 of it into account, and version 2 was signed since")),
            (&signed, StudyState::Amended, (3, 3), Some("version 2, signed, of it into account, and version 3 was")),
        ] {
            let mut record = crate::store::conformance::fixture::record_of("1.2");
            (record.state, record.draft_version, record.signed_version) = (state, newest, stands);
            let told = since(source, &record);
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(expected.is_none_or(|words| told.as_ref().is_some_and(|told| told.contains(words))), "{told:?}");
        }
    }

    #[test]
    fn why_a_study_is_not_compared_is_told() {
        for (how, has_report, is_later, expected) in [
            (Some(Taken::Compared), true, false, None),
            (Some(Taken::Words), true, false, Some("its report has no coded findings, and is quoted")),
            (Some(Taken::Named), true, false, Some("one that is more like this study, or newer, is compared")),
            (None, true, true, Some("it was made later")),
            (None, false, false, Some("there is no report yet")),
            (None, true, false, Some("another part of the body")),
        ] {
            let told = reason(how, has_report, is_later, "another part of the body");
            assert_eq!(told.first().copied(), expected, "{how:?} {has_report} {is_later}");
        }
        let other = uid("1.9");
        let known = Compared { ruled_out: vec![(other.clone(), "neither X-ray nor CT".into())], ..Compared::default() };
        assert_eq!(known.why_not(&other), "neither X-ray nor CT");
        assert_eq!(known.why_not(&uid("1.8")), "it was not here when this study was planned");
        let unwanted = "Earlier studies were not looked for: the site's rules say so.".to_owned();
        let none = Compared { notes: vec![unwanted], ..Compared::default() };
        assert_eq!(none.why_not(&other), "the site's rules look for no earlier studies");
    }

    #[test]
    fn a_version_that_is_said_to_replace_itself_ends_the_way_back() {
        assert_eq!(by_people(2, &BTreeMap::from([(2, reviewed(2, &["1.1"]))])).len(), 1);
    }
}
