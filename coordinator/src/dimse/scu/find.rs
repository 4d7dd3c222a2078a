//! C-FIND as SCU (PS3.4 annex C): which studies, series and instances a PACS holds, in the Study Root model.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use prelim_imaging::Limits;
use prelim_imaging::dataset::Attributes;
use prelim_imaging::scan::scan;
use prelim_proto::ids::Uid;

use super::association::{Association, Proposed};
use super::error::ScuError;
use crate::dimse::command::{Command, field};
use crate::dimse::message::DataSet;
use crate::dimse::part10::Meta;
use crate::report::present::valid_date;

/// Answers to one question that are read; a peer that has more is asked too little.
const MAX_ANSWERS: usize = 20_000;
/// The same for studies.
const MAX_STUDIES: usize = 500;
/// Status of an answer that others follow.
const PENDING: [u16; 2] = [0xFF00, 0xFF01];
/// Medium priority (0000,0700).
const MEDIUM: u16 = 0x0000;
/// What is asked for questions with more than ASCII in them (0008,0005).
const UTF_8: &str = "ISO_IR 192";

/// What to look for. Empty is anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Study Instance UID.
    pub study: String,
    /// Accession Number.
    pub accession_number: String,
    /// Patient ID.
    pub patient_id: String,
    /// Study Date, YYYYMMDD, or a range of two with a hyphen.
    pub study_date: String,
}

/// Whether a text is a date, or a range of dates that may be open at one end (PS3.4 section C.2.2.2.5).
pub(crate) fn is_date_or_range(text: &str) -> bool {
    let is_date = |text: &str| valid_date(text).is_some_and(|date| date == text);
    match text.split_once('-') {
        None => is_date(text),
        Some((from, to)) => {
            let is_end = |text: &str| text.is_empty() || is_date(text);
            is_end(from) && is_end(to) && (from.is_empty() != to.is_empty() || is_date(from) && from <= to)
        }
    }
}

/// A study as a PACS describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundStudy {
    /// Study Instance UID.
    pub study: String,
    /// Patient ID.
    pub patient_id: String,
    /// Patient's Name.
    pub patient_name: String,
    /// Patient's Birth Date, where it is told.
    pub patient_birth_date: String,
    /// Patient's Sex, where it is told.
    pub patient_sex: String,
    /// Accession Number.
    pub accession_number: String,
    /// Study Date.
    pub study_date: String,
    /// Study Time.
    pub study_time: String,
    /// Study Description.
    pub description: String,
    /// Modalities in Study.
    pub modalities: Vec<String>,
    /// Number of Study Related Instances, where it is told.
    pub instances: Option<u32>,
}

/// An instance as a PACS names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundInstance {
    /// SOP Instance UID.
    pub instance: String,
    /// SOP Class UID; may be empty.
    pub sop_class: String,
    /// Series Instance UID.
    pub series: String,
}

/// The context that questions need.
pub fn proposal() -> Proposed {
    let syntaxes = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    Proposed::new(uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND, &syntaxes)
}

/// The studies that fit.
pub async fn studies(association: &mut Association, question: &Question) -> Result<Vec<FoundStudy>, ScuError> {
    let keys = [
        (tags::STUDY_INSTANCE_UID, VR::UI, question.study.as_str()),
        (tags::ACCESSION_NUMBER, VR::SH, &question.accession_number),
        (tags::PATIENT_ID, VR::LO, &question.patient_id),
        (tags::STUDY_DATE, VR::DA, &question.study_date),
        (tags::STUDY_TIME, VR::TM, ""),
        (tags::PATIENT_NAME, VR::PN, ""),
        (tags::PATIENT_BIRTH_DATE, VR::DA, ""),
        (tags::PATIENT_SEX, VR::CS, ""),
        (tags::STUDY_DESCRIPTION, VR::LO, ""),
        (tags::MODALITIES_IN_STUDY, VR::CS, ""),
        (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, ""),
    ];
    let read = |answer: &Attributes<'_>| {
        let text = |tag: Tag| answer.text(tag).unwrap_or_default();
        let number = answer.integer(tags::NUMBER_OF_STUDY_RELATED_INSTANCES);
        FoundStudy {
            study: text(tags::STUDY_INSTANCE_UID),
            patient_id: text(tags::PATIENT_ID),
            patient_name: text(tags::PATIENT_NAME),
            patient_birth_date: text(tags::PATIENT_BIRTH_DATE),
            patient_sex: text(tags::PATIENT_SEX),
            accession_number: text(tags::ACCESSION_NUMBER),
            study_date: text(tags::STUDY_DATE),
            study_time: text(tags::STUDY_TIME),
            description: text(tags::STUDY_DESCRIPTION),
            modalities: answer.texts(tags::MODALITIES_IN_STUDY),
            instances: number.and_then(|number| u32::try_from(number).ok()),
        }
    };
    let mut found = ask(association, "STUDY", &keys, MAX_STUDIES, read).await?;
    // Some answer with more than was asked for.
    found.retain(|each| question.study.is_empty() || each.study == question.study);
    Ok(found)
}

/// The series of a study that hold structured reports.
pub async fn report_series(association: &mut Association, study: &Uid) -> Result<Vec<Uid>, ScuError> {
    let keys = [
        (tags::STUDY_INSTANCE_UID, VR::UI, study.as_str()),
        (tags::SERIES_INSTANCE_UID, VR::UI, ""),
        (tags::MODALITY, VR::CS, ""),
    ];
    let of = |answer: &Attributes<'_>| {
        let text = |tag: Tag| answer.text(tag).unwrap_or_default();
        (text(tags::SERIES_INSTANCE_UID), text(tags::MODALITY))
    };
    let series = ask(association, "SERIES", &keys, MAX_ANSWERS, of).await?;
    let reports = series.into_iter().filter(|(_, modality)| modality == "SR");
    let mut found: Vec<Uid> = reports.filter_map(|(series, _)| Uid::parse(&series).ok()).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// The instances of a study, series by series: not every PACS answers for a whole study at once.
pub async fn instances(association: &mut Association, study: &Uid) -> Result<Vec<FoundInstance>, ScuError> {
    let keys = [(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str()), (tags::SERIES_INSTANCE_UID, VR::UI, "")];
    let of = |answer: &Attributes<'_>| answer.text(tags::SERIES_INSTANCE_UID).unwrap_or_default();
    let series = ask(association, "SERIES", &keys, MAX_ANSWERS, of).await?;
    let mut found = Vec::new();
    for series in series.iter().filter(|series| !series.is_empty()) {
        let keys = [
            (tags::STUDY_INSTANCE_UID, VR::UI, study.as_str()),
            (tags::SERIES_INSTANCE_UID, VR::UI, series),
            (tags::SOP_INSTANCE_UID, VR::UI, ""),
            (tags::SOP_CLASS_UID, VR::UI, ""),
        ];
        let read = |answer: &Attributes<'_>| FoundInstance {
            instance: answer.text(tags::SOP_INSTANCE_UID).unwrap_or_default(),
            sop_class: answer.text(tags::SOP_CLASS_UID).unwrap_or_default(),
            series: series.clone(),
        };
        let most = MAX_ANSWERS - found.len();
        found.extend(ask(association, "IMAGE", &keys, most, read).await?);
    }
    found.retain(|each| Uid::parse(&each.instance).is_ok());
    found.sort();
    found.dedup();
    Ok(found)
}

/// Asks one question, and reads its answers.
async fn ask<T>(
    association: &mut Association,
    level: &str,
    keys: &[(Tag, VR, &str)],
    most: usize,
    read: impl Fn(&Attributes<'_>) -> T,
) -> Result<Vec<T>, ScuError> {
    const WHAT: &str = "the C-FIND";
    let class = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
    let context = association.contexts(class).next().cloned();
    let context = context.ok_or_else(|| association.refusal(class, "C-FIND in the Study Root model"))?;
    let identifier = identifier(level, keys, &context.transfer_syntax)?;
    let request =
        Command { field: field::C_FIND, priority: Some(MEDIUM), sop_class: class.to_owned(), ..Command::default() };
    let id = association.request(context.id, request, Some(&identifier)).await?;
    let mut found = Vec::new();
    loop {
        let message = association.receive(WHAT).await?;
        if !message.command.answers(field::C_FIND, id) {
            return Err(association.unexpected(format!("{WHAT} with another message")));
        }
        match message.command.status {
            Some(status) if PENDING.contains(&status) => {
                let Some(DataSet::Whole(bytes, _memory)) = message.data_set else {
                    return Err(association.unexpected(format!("{WHAT} with an answer that has nothing in it")));
                };
                if found.len() == most {
                    return Err(association.unexpected(format!("{WHAT} with more than {most} answers")));
                }
                let answer = with_meta(&bytes, &context.transfer_syntax);
                let scanned = scan(&answer, &Limits::default());
                let scanned = scanned.map_err(|error| association.unexpected(format!("{WHAT} with {error}")))?;
                found.push(read(&scanned.attributes()));
            }
            Some(0x0000) => return Ok(found),
            status => return Err(failed(association, WHAT, status, message.command.comment)),
        }
    }
}

/// A status that says that nothing came of it.
pub(super) fn failed(association: &Association, what: &'static str, status: Option<u16>, comment: String) -> ScuError {
    let comment = Some(comment).filter(|comment| !comment.is_empty());
    ScuError::Failed { node: association.node().to_owned(), what, status: status.unwrap_or(0xC000), comment }
}

/// An identifier as a file, for the one reader of bytes from outside.
fn with_meta(data_set: &[u8], transfer_syntax: &str) -> Vec<u8> {
    let meta = Meta { sop_class: "1.2.840.10008.5.1.4.1.2.2.1", sop_instance: "2.25.1", transfer_syntax };
    let mut whole = meta.header();
    whole.extend_from_slice(data_set);
    whole
}

/// An identifier: the level, and keys with or without values (PS3.4 section C.2.2).
pub(super) fn identifier(level: &str, keys: &[(Tag, VR, &str)], transfer_syntax: &str) -> Result<Vec<u8>, ScuError> {
    let mut object = InMemDicomObject::new_empty();
    let mut put = |tag, vr, value: &str| {
        let value = if value.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(value) };
        object.put(DataElement::new(tag, vr, value));
    };
    put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level);
    for (tag, vr, value) in keys {
        put(*tag, *vr, value);
    }
    if keys.iter().any(|(.., value)| !value.is_ascii()) {
        put(tags::SPECIFIC_CHARACTER_SET, VR::CS, UTF_8);
    }
    let wrong = |error: &dyn std::fmt::Display| ScuError::Object(format!("a question that cannot be written: {error}"));
    let syntax = TransferSyntaxRegistry.get(transfer_syntax).ok_or_else(|| wrong(&transfer_syntax))?;
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, syntax).map_err(|error| wrong(&error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ranges_are_told_from_other_texts() {
        for (text, is) in [
            ("20261128", true),
            ("20261101-20261130", true),
            ("20261101-", true),
            ("-20261130", true),
            ("2026", false),
            ("20261130-20261101", false),
            ("-", false),
            ("2026-11-28", false),
            ("20261328", false),
            ("*", false),
        ] {
            assert_eq!(is_date_or_range(text), is, "{text}");
        }
    }

    #[test]
    fn a_question_is_read_as_it_was_written() {
        for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
            let keys = [(tags::PATIENT_ID, VR::LO, "Ä1"), (tags::STUDY_INSTANCE_UID, VR::UI, "")];
            let bytes = identifier("STUDY", &keys, syntax).unwrap();
            let file = with_meta(&bytes, syntax);
            let scanned = scan(&file, &Limits::default()).unwrap();
            let read = scanned.attributes();
            assert_eq!(read.text(tags::PATIENT_ID).as_deref(), Some("Ä1"));
            assert_eq!(read.text(tags::QUERY_RETRIEVE_LEVEL).as_deref(), Some("STUDY"));
            assert!(read.has(tags::STUDY_INSTANCE_UID));
        }
    }
}
