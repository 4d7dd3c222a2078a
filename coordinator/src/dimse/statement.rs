//! The conformance statement says what the code does.

use dicom_dictionary_std::uids;

use super::mpps::StepError;
use super::scp::config::DicomConfig;
use super::scu::association::MAX_CONTEXTS;
use super::scu::node::Times;
use super::scu::store::{Answer, Meaning};
use super::status::Status;
use super::{COMMITMENT, PERFORMED_STEP, syntaxes};

pub(crate) const STATEMENT: &str = include_str!("../../CONFORMANCE.md");

/// The rows of the table under a header, each with its cells.
pub(crate) fn table(header: &str) -> Vec<Vec<String>> {
    let (_, rest) = STATEMENT.split_once(&format!("| {header} |")).unwrap_or_else(|| panic!("no table {header:?}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between quotes of code in a text.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn classes_and_syntaxes_are_those_of_the_code() {
    let stored: Vec<String> = table("SOP class | UID").iter().map(|row| row[1].trim_matches('`').to_owned()).collect();
    assert_eq!(stored, syntaxes::stored().collect::<Vec<_>>());
    let rows = table("transfer syntax | UID | group");
    let taken: Vec<String> = rows.iter().map(|row| row[1].trim_matches('`').to_owned()).collect();
    assert_eq!(taken, syntaxes::taken().collect::<Vec<_>>());
    let group = |uid: &str| rows.iter().find(|row| row[1].trim_matches('`') == uid).map(|row| row[2].as_str());
    // Of two, the one of the better group is chosen, whatever its place.
    for (better, worse) in
        [("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"), ("1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50")]
    {
        assert!(group(better) < group(worse) || group(better) == Some("second"), "{better} {worse}");
        assert_eq!(syntaxes::choose(&[worse.to_owned(), better.to_owned()]), Some(better));
    }
    let services: Vec<String> = table("service | SOP class | role | when").concat();
    for uid in [
        uids::VERIFICATION,
        COMMITMENT,
        PERFORMED_STEP,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
    ] {
        assert!(services.contains(&format!("`{uid}`")), "{uid} is not in the table of services");
    }
}

#[test]
fn answers_mean_what_the_statement_says() {
    let rows = table("answer of the peer | what follows");
    for (row, meaning) in rows.iter().zip([Meaning::Taken, Meaning::Never]) {
        for pattern in quoted(&row[0]) {
            for digit in ["0", "7", "F"] {
                let status = u16::from_str_radix(&pattern.replace('x', digit), 16).expect("a status");
                let answer = Answer { status, comment: String::new() };
                assert_eq!(answer.meaning(), meaning, "{pattern}");
            }
        }
    }
    for status in [0xA700, 0x0110, 0x0124, 0xFE00] {
        assert_eq!(Answer { status, comment: String::new() }.meaning(), Meaning::Later);
    }
}

#[test]
fn steps_are_answered_as_the_statement_says() {
    let rows = table("answer to an N-CREATE or N-SET | when").concat();
    let stated = quoted(&rows.concat()).join(" ");
    let said = String::new;
    for error in [
        StepError::Unreadable(said()),
        StepError::Missing(""),
        StepError::Empty(""),
        StepError::Invalid(said()),
        StepError::TooMuch(""),
        StepError::Ended,
        StepError::Duplicate,
        StepError::Unknown,
        StepError::NoUid,
    ] {
        let status = Status::from(&error);
        let codes = [Some(status.code), status.error_id];
        for code in codes.into_iter().flatten() {
            assert!(stated.contains(&format!("{code:04X}")), "{error:?}: {code:04X} is not in {stated}");
        }
    }
}

#[test]
fn limits_are_those_of_the_settings() {
    let rows = table("what | value | set by");
    let value = |set_by: &str| {
        let row = rows.iter().find(|row| row[2].trim_matches('`') == set_by);
        row.unwrap_or_else(|| panic!("no limit {set_by:?}"))[1].parse::<u64>().expect("a number")
    };
    let (config, times) = (DicomConfig::default(), Times::default());
    for (set_by, wanted) in [
        ("--dicom-pdu-bytes", u64::from(config.dicom_pdu_bytes)),
        ("--dicom-associations", config.dicom_associations as u64),
        ("--dicom-idle-s", config.dicom_idle_s),
        ("--dicom-memory-mib", config.dicom_memory_mib as u64),
        ("connect_s", times.connect.as_secs()),
        ("answer_s", times.answer.as_secs()),
        ("idle_s", times.idle.as_secs()),
        ("", MAX_CONTEXTS as u64),
    ] {
        assert_eq!(value(set_by), wanted, "{set_by}");
    }
}

#[test]
fn options_of_de_identification_are_those_of_the_code() {
    let rows = table("option of the profile | code | when");
    let stated: Vec<(String, String)> =
        rows.iter().map(|row| (row[1].trim_matches('`').to_owned(), row[0].clone())).collect();
    let written = prelim_imaging::deidentify::METHODS.map(|(code, meaning)| (code.to_owned(), meaning.to_owned()));
    assert_eq!(stated, written);
}
