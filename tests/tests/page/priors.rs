//! Earlier studies of the patient, beside the one that is read.

use std::process::Command;

use prelim_tests::{phantoms, repository, words};
use serde_json::{Value, json};

use crate::site::Site;

/// Says of the objects below a folder that they are of one patient, made on a day.
fn rewrite(folder: &std::path::Path, date: &str) {
    let root = repository();
    let mut command = Command::new(root.join("target/python/bin/python"));
    command.arg("-B").arg(root.join("tests/peers/rewrite.py")).arg(folder).arg(format!("StudyDate={date}"));
    command.args(["PatientID=PLANTEDID", "PatientName=PLANTEDNAME^Jane", "PatientBirthDate=19580312", "PatientSex=F"]);
    let output = command.output().expect("python is installed by tests/install.sh");
    assert!(output.status.success(), "{}", words(&output));
}

/// Promise: priors and their reports are beside the study that is read, with what changed.
#[test]
fn an_earlier_study_hangs_beside_with_its_report_and_what_changed() {
    let site = Site::start("", "");
    let films = site.folder().join("of-jane");
    phantoms(&films, 2, 11, Some("dx"));
    let [earlier, later] = [("dx-00001", "20260101"), ("dx-00002", "20260212")].map(|(name, date)| {
        rewrite(&films.join(name), date);
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
