//! Earlier studies of the patient, beside the one that is read.

use prelim_tests::phantoms;
use serde_json::{Value, json};

use crate::site::{Site, rewrite};

/// Promise: priors and their reports are beside the study that is read, with what changed.
#[test]
fn an_earlier_study_hangs_beside_with_its_report_and_what_changed() {
    let site = Site::start("", "");
    let films = site.folder().join("of-jane");
    phantoms(&films, 2, 11, Some("dx"));
    let [earlier, later] = [("dx-00001", "20260101"), ("dx-00002", "20260212")].map(|(name, date)| {
        let of_jane =
            [("PatientID", "PLANTEDID"), ("PatientName", "PLANTEDNAME^Jane"), ("PatientBirthDate", "19580312")];
        rewrite(&films.join(name), of_jane.into_iter().chain([("PatientSex", "F"), ("StudyDate", date)]));
        site.submitted(&films.join(name))
    });
    let texts = |document: &Value, field: &str| -> Vec<Value> {
        let said = document["report"][field].as_array().expect("sentences").iter();
        said.map(|sentence| sentence["text"].clone()).collect()
    };
    let (before, after) = (site.document(&earlier), site.document(&later));
    let changes = &after["report"]["priors"][0]["changes"];
    assert!(changes.as_array().is_some_and(|changes| changes.len() > 1), "{changes}");
    let told = json!({
        "later": later, "earlier": earlier, "date": "2026-01-01", "changes": changes, "shots": site.shots(),
        "sentences": texts(&before, "findings_text"), "impression": texts(&before, "impression"),
    });
    site.browse("priors", &told);
}
