//! Which workitems prelim performs, and what they ask of it (pure).
//!
//! A workitem is addressed to prelim where one of its Scheduled Station Name Codes has prelim's application entity title as its
//! value, in whatever coding scheme; or where it names no station and asks for computer-aided diagnosis or detection (PS3.16 CID
//! 9231). All others are for other performers: they query, claim and complete them.

use std::collections::BTreeSet;

use prelim_proto::ids::Uid;
use prelim_proto::study::{Priority, StudyAttributes};

use super::dataset::{self, Dataset, items, tag, text};

/// What prelim does where a workitem names no station: Computer Aided Diagnosis, Computer Aided Detection.
pub(super) const CODES: [&str; 2] = ["110003", "110004"];
/// Studies that one workitem may name in all.
const MAX_STUDIES: usize = 100;

/// Whether a workitem is addressed to prelim, whose title this is.
pub(crate) fn is_addressed_to(dataset: &Dataset, title: &str) -> bool {
    let mut stations = items(dataset, tag::STATIONS).peekable();
    if stations.peek().is_some() {
        return stations.any(|station| text(station, tag::CODE_VALUE) == Some(title));
    }
    let is_ours = |code: &Dataset| {
        text(code, tag::CODING_SCHEME_DESIGNATOR) == Some("DCM")
            && text(code, tag::CODE_VALUE).is_some_and(|value| CODES.contains(&value))
    };
    items(dataset, tag::WORKITEM_CODES).any(is_ours)
}

/// The studies that a workitem names: of its input, then its own.
pub(crate) fn studies(dataset: &Dataset) -> Vec<Uid> {
    let inputs = items(dataset, tag::INPUTS).filter_map(|item| text(item, tag::STUDY_INSTANCE_UID));
    let named = inputs.chain(text(dataset, tag::STUDY_INSTANCE_UID)).filter_map(|uid| Uid::parse(uid).ok());
    let mut found = Vec::new();
    for uid in named {
        if !found.contains(&uid) && found.len() < MAX_STUDIES {
            found.push(uid);
        }
    }
    found
}

/// The study whose images a workitem is about.
///
/// # Errors
/// Why it is about none that can be read.
pub(crate) fn study(dataset: &Dataset) -> Result<Uid, String> {
    let inputs: BTreeSet<&str> =
        items(dataset, tag::INPUTS).filter_map(|item| text(item, tag::STUDY_INSTANCE_UID)).collect();
    match inputs.len() {
        0 => Err("the workitem names no study in its Input Information Sequence (0040,4021)".to_owned()),
        1 => inputs.first().and_then(|uid| Uid::parse(uid).ok()).ok_or_else(|| "the input study has no UID".to_owned()),
        studies => Err(format!("the input is of {studies} studies; prelim reads one for a workitem, with its priors")),
    }
}

/// The instances that a workitem names as its input; none where it names series or studies only.
pub(crate) fn instances(dataset: &Dataset) -> BTreeSet<&str> {
    let references = items(dataset, tag::INPUTS).flat_map(|item| items(item, tag::REFERENCED_SOP_SEQUENCE));
    references.filter_map(|reference| text(reference, tag::REFERENCED_SOP_INSTANCE_UID)).collect()
}

/// What a workitem says of its patient, as far as it is compared with a study: names are written in too many ways.
pub(crate) fn patient(dataset: &Dataset) -> StudyAttributes {
    let of = |tag| text(dataset, tag).unwrap_or_default().trim().to_owned();
    StudyAttributes {
        patient_id: of(tag::PATIENT_ID),
        patient_birth_date: of(tag::PATIENT_BIRTH_DATE),
        ..StudyAttributes::default()
    }
}

/// The application entity titles from which the input can be retrieved.
pub(crate) fn sources(dataset: &Dataset) -> BTreeSet<&str> {
    let retrievals = items(dataset, tag::INPUTS).flat_map(|item| items(item, tag::DICOM_RETRIEVAL));
    let titles = retrievals.flat_map(|retrieval| dataset::values(retrieval, tag::RETRIEVE_AE_TITLE));
    titles.filter_map(|title| title.as_str()).map(str::trim).collect()
}

/// How soon the study is wanted: HIGH is STAT, by the definition of Scheduled Procedure Step Priority (PS3.3 section C.30.1).
pub(crate) fn priority(dataset: &Dataset) -> Priority {
    match text(dataset, tag::PRIORITY) {
        Some("HIGH") => Priority::Stat,
        Some("MEDIUM") => Priority::Urgent,
        _ => Priority::Routine,
    }
}

/// Whether the workitem is to wait: its input is not ready, or its time has not come.
pub(crate) fn is_to_wait(dataset: &Dataset, now: jiff::Timestamp) -> bool {
    let start = text(dataset, tag::START).and_then(dataset::read_moment);
    text(dataset, tag::READINESS) != Some("READY") || start.is_some_and(|start| start > now)
}

/// Whether nobody wants it any more.
pub(crate) fn is_expired(dataset: &Dataset, now: jiff::Timestamp) -> bool {
    text(dataset, tag::EXPIRATION).and_then(dataset::read_moment).is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::super::dataset::{code, put_items, put_text};
    use super::*;

    fn workitem(stations: &[&str], codes: &[(&str, &str)], studies: &[&str]) -> Dataset {
        let mut dataset = Dataset::new();
        put_items(&mut dataset, tag::STATIONS, stations.iter().map(|title| code(title, "L", "a station")));
        put_items(&mut dataset, tag::WORKITEM_CODES, codes.iter().map(|(value, scheme)| code(value, scheme, "work")));
        let input = |uid: &&str| {
            let mut item = Dataset::new();
            put_text(&mut item, tag::STUDY_INSTANCE_UID, "UI", *uid);
            item
        };
        put_items(&mut dataset, tag::INPUTS, studies.iter().map(input));
        dataset
    }

    #[test]
    fn workitems_are_told_by_their_station_and_else_by_their_code() {
        let detection = ("110004", "DCM");
        for (stations, codes, is_ours) in [
            (&["PRELIM"][..], &[][..], true),
            (&["OTHER", "PRELIM"], &[("110005", "DCM")], true),
            (&["OTHER"], &[detection], false),
            (&[], &[detection], true),
            (&[], &[("110004", "L")], false),
            (&[], &[("110005", "DCM")], false),
            (&[], &[], false),
        ] {
            assert_eq!(is_addressed_to(&workitem(stations, codes, &[]), "PRELIM"), is_ours, "{stations:?} {codes:?}");
        }
    }

    #[test]
    fn a_workitem_is_about_one_study() {
        let study_of = |studies: &[&str]| study(&workitem(&[], &[], studies));
        assert_eq!(study_of(&["1.2", "1.2"]).unwrap().as_str(), "1.2");
        assert!(study_of(&[]).unwrap_err().contains("no study"));
        assert!(study_of(&["1.2", "1.3"]).unwrap_err().contains("2 studies"));
    }

    #[test]
    fn what_has_not_come_is_waited_for() {
        let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        let mut dataset = Dataset::new();
        put_text(&mut dataset, tag::READINESS, "CS", "READY");
        put_text(&mut dataset, tag::START, "DT", "20200101120000+0000");
        put_text(&mut dataset, tag::PRIORITY, "CS", "HIGH");
        assert!(!is_to_wait(&dataset, now) && !is_expired(&dataset, now));
        assert_eq!(priority(&dataset), Priority::Stat);
        put_text(&mut dataset, tag::START, "DT", "20990101+0000");
        assert!(is_to_wait(&dataset, now));
        put_text(&mut dataset, tag::EXPIRATION, "DT", "20200102+0000");
        assert!(is_expired(&dataset, now));
    }
}
