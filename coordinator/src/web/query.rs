//! What a search asks for (PS3.18 section 8.3.4; pure).

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use percent_encoding::percent_decode_str;
use prelim_proto::ids::Uid;

use super::matching::{Dates, Key, Pattern};
use super::problem::Problem;
use super::route::{self, Level};

/// Parameters that one request may have.
const MAX_PARAMETERS: usize = 200;
/// Identifiers in one list.
const MAX_UIDS: usize = 1_000;
/// Longest value, in characters.
const MAX_VALUE_CHARS: usize = 1_024;

/// How an attribute is matched (PS3.4 section C.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By single value, or with wildcards.
    Text,
    /// The same, whatever the case.
    Name,
    /// The same, for any of several values.
    Words,
    /// By list.
    Uid,
    /// By range.
    Range,
    /// By value.
    Number,
}

/// What can be searched for, and where it belongs.
const SEARCHED: &[(Tag, Level, Kind)] = &[
    (tags::STUDY_DATE, Level::Study, Kind::Range),
    (tags::STUDY_TIME, Level::Study, Kind::Range),
    (tags::ACCESSION_NUMBER, Level::Study, Kind::Text),
    (tags::MODALITIES_IN_STUDY, Level::Study, Kind::Words),
    (tags::REFERRING_PHYSICIAN_NAME, Level::Study, Kind::Name),
    (tags::STUDY_DESCRIPTION, Level::Study, Kind::Text),
    (tags::INSTITUTION_NAME, Level::Study, Kind::Text),
    (tags::PATIENT_NAME, Level::Study, Kind::Name),
    (tags::PATIENT_ID, Level::Study, Kind::Text),
    (tags::PATIENT_BIRTH_DATE, Level::Study, Kind::Range),
    (tags::PATIENT_SEX, Level::Study, Kind::Text),
    (tags::STUDY_INSTANCE_UID, Level::Study, Kind::Uid),
    (tags::STUDY_ID, Level::Study, Kind::Text),
    (tags::MODALITY, Level::Series, Kind::Words),
    (tags::SERIES_DESCRIPTION, Level::Series, Kind::Text),
    (tags::SERIES_INSTANCE_UID, Level::Series, Kind::Uid),
    (tags::SERIES_NUMBER, Level::Series, Kind::Number),
    (tags::SCHEDULED_PROCEDURE_STEP_ID, Level::Series, Kind::Text),
    (tags::REQUESTED_PROCEDURE_ID, Level::Series, Kind::Text),
    (tags::SOP_CLASS_UID, Level::Instance, Kind::Uid),
    (tags::SOP_INSTANCE_UID, Level::Instance, Kind::Uid),
    (tags::INSTANCE_NUMBER, Level::Instance, Kind::Number),
];

/// What can be searched for within Request Attributes Sequence, and nowhere else.
pub(super) const SEARCHED_REQUESTS: [Tag; 2] = [tags::SCHEDULED_PROCEDURE_STEP_ID, tags::REQUESTED_PROCEDURE_ID];

/// A search.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Query {
    /// What must fit.
    pub(super) keys: Vec<(Tag, Level, Key)>,
    /// Everything that is held is wanted.
    pub(super) all_fields: bool,
    /// What else is wanted.
    pub(super) fields: Vec<Tag>,
    /// At most so many results.
    pub(super) limit: Option<usize>,
    /// Results that are left out first.
    pub(super) offset: usize,
    /// Matching by sound or spelling was asked for, which is not done.
    pub(super) fuzzy: bool,
}

impl Query {
    /// Reads the parameters of a search at `level`.
    pub(super) fn read(query: Option<&str>, level: Level) -> Result<Self, Problem> {
        let mut read = Self::default();
        let pairs = pairs(query);
        if pairs.len() > MAX_PARAMETERS {
            return Err(Problem::bad(format!("more than {MAX_PARAMETERS} parameters")));
        }
        for (name, value) in pairs {
            if value.chars().count() > MAX_VALUE_CHARS.max(MAX_UIDS * 65) {
                return Err(Problem::bad(format!("{name} has a value that is too long")));
            }
            let count = || value.parse().map_err(|_| Problem::bad(format!("{name} is no number")));
            match name.as_str() {
                "accept" => {}
                "limit" => read.limit = Some(count()?),
                "offset" => read.offset = count()?,
                "fuzzymatching" => read.fuzzy = truth(&name, &value)?,
                "includefield" => read.include(&value)?,
                _ => read.key(&name, &value, level)?,
            }
        }
        Ok(read)
    }

    fn include(&mut self, value: &str) -> Result<(), Problem> {
        for field in value.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            match field {
                "all" => self.all_fields = true,
                // A field within a sequence: the one that is held is shown whole.
                path if path.contains('.') => {}
                field => {
                    let tag = attribute(field);
                    self.fields.push(tag.ok_or_else(|| Problem::bad(format!("includefield: no attribute {field:?}")))?);
                }
            }
        }
        Ok(())
    }

    fn key(&mut self, name: &str, value: &str, level: Level) -> Result<(), Problem> {
        let tag = searched(name).ok_or_else(|| Problem::bad(format!("no parameter and no attribute {name:?}")))?;
        let Some((_, of, kind)) = SEARCHED.iter().find(|(known, ..)| *known == tag) else {
            return Err(Problem::bad(format!("{name} cannot be searched for here")));
        };
        if *of > level {
            return Err(Problem::bad(format!("{name} is an attribute of a lower level than what is searched")));
        }
        self.fields.push(tag);
        // What is empty, or a star alone, fits everything (PS3.4 section C.2.2.2.3).
        if value.is_empty() || value == "*" {
            return Ok(());
        }
        let bad = |what: &str| Problem::bad(format!("{name}: {what}"));
        let key = match kind {
            Kind::Text => Key::Pattern(Pattern::new(value, false)),
            Kind::Name => Key::Pattern(Pattern::new(value, true)),
            Kind::Words => Key::AnyOf(value.split([',', '\\']).map(|word| Pattern::new(word.trim(), false)).collect()),
            Kind::Uid => {
                let uids = value.split([',', '\\']).map(|uid| Uid::parse(uid).map_err(|error| bad(&error.to_string())));
                let uids = uids.collect::<Result<Vec<_>, _>>()?;
                if uids.len() > MAX_UIDS {
                    return Err(bad(&format!("more than {MAX_UIDS} identifiers")));
                }
                Key::Uids(uids)
            }
            Kind::Range => Key::Range(Dates::parse(value).ok_or_else(|| bad("no date or time, and no range of them"))?),
            Kind::Number => Key::Number(value.trim().parse().map_err(|_| bad("no number"))?),
        };
        self.keys.push((tag, *of, key));
        Ok(())
    }

    /// The one value that an attribute must have; nothing where several fit.
    pub(super) fn exact(&self, tag: Tag) -> Option<&str> {
        self.keys.iter().find(|(known, ..)| *known == tag).and_then(|(_, _, key)| key.exact())
    }

    /// Whether an object of this SOP class and modality may fit.
    pub(super) fn may_take(&self, sop_class: &str, modality: &str) -> bool {
        let fits = |tag: Tag, value: &str| {
            let mut keys = self.keys.iter().filter(|(known, ..)| *known == tag);
            keys.all(|(_, _, key)| key.fits(&[value.to_owned()]))
        };
        fits(tags::SOP_CLASS_UID, sop_class) && fits(tags::MODALITY, modality)
    }

    /// The identifiers that an attribute may have; nothing where any fits.
    pub(super) fn uids(&self, tag: Tag) -> Option<&[Uid]> {
        self.keys.iter().find_map(|(known, _, key)| match key {
            Key::Uids(uids) if *known == tag => Some(uids.as_slice()),
            _ => None,
        })
    }
}

/// Names and values of a query (WHATWG URL, form encoding).
pub(crate) fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty()).take(MAX_PARAMETERS + 1);
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(n, v)| (decoded(n), decoded(v))).collect()
}

/// What a query asks for, as the audit has it.
pub(crate) fn told(query: Option<&str>) -> Vec<String> {
    pairs(query).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The value of the parameter `accept`.
pub(super) fn accept(query: Option<&str>) -> Option<String> {
    pairs(query).into_iter().find(|(name, _)| name == "accept").map(|(_, value)| value)
}

fn truth(name: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Problem::bad(format!("{name} is neither true nor false"))),
    }
}

/// The attribute that a parameter names: by itself, or within Request Attributes Sequence
/// (`RequestAttributesSequence.RequestedProcedureID`).
fn searched(name: &str) -> Option<Tag> {
    let in_requests = |tag: &Tag| SEARCHED_REQUESTS.contains(tag);
    match name.split_once('.') {
        Some((sequence, inner)) => {
            let is_requests = attribute(sequence) == Some(tags::REQUEST_ATTRIBUTES_SEQUENCE);
            attribute(inner).filter(|tag| is_requests && in_requests(tag))
        }
        None => attribute(name).filter(|tag| !in_requests(tag)),
    }
}

/// The attribute of that keyword, or of these eight digits.
fn attribute(name: &str) -> Option<Tag> {
    let by_digits = route::tag(name).map(Tag::from);
    by_digits.or_else(|| StandardDataDictionary.by_name(name).map(|entry| entry.tag()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, level: Level) -> Result<Query, String> {
        Query::read(Some(query), level).map_err(|problem| problem.to_string())
    }

    #[test]
    fn parameters_are_read_by_keyword_and_by_tag() {
        let query = "PatientID=A+1%2F2&00100010=Doe*&limit=5&offset=10&includefield=00081030,PatientSex&\
                     StudyInstanceUID=1.2,1.3&StudyDate=20200101-&fuzzymatching=true&includefield=all&PatientName=";
        let found = read(query, Level::Study).unwrap();
        assert_eq!((found.limit, found.offset, found.fuzzy, found.all_fields), (Some(5), 10, true, true));
        assert_eq!(found.exact(tags::PATIENT_ID), Some("A 1/2"));
        assert_eq!(found.exact(tags::PATIENT_NAME), None);
        assert_eq!(found.uids(tags::STUDY_INSTANCE_UID).map(<[Uid]>::len), Some(2));
        assert!(found.fields.contains(&tags::STUDY_DESCRIPTION) && found.fields.contains(&tags::PATIENT_SEX));
        assert_eq!(found.keys.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, named) in [
            ("patientid=1", "patientid"),
            ("orderby=StudyDate", "orderby"),
            ("KVP=120", "KVP cannot be searched"),
            ("Modality=CT", "lower level"),
            ("limit=ten", "limit"),
            ("limit=-1", "limit"),
            ("fuzzymatching=maybe", "fuzzymatching"),
            ("StudyInstanceUID=abc", "StudyInstanceUID"),
            ("StudyDate=yesterday", "StudyDate"),
            ("includefield=Nothing", "Nothing"),
        ] {
            let problem = read(query, Level::Study).unwrap_err();
            assert!(problem.contains(named), "{query}: {problem}");
        }
        assert!(read("Modality=CT&PatientID=1", Level::Series).is_ok());
        assert!(read("RequestAttributesSequence.RequestedProcedureID=1", Level::Series).is_ok());
        assert!(read("00400275.00400009=1", Level::Series).is_ok());
        assert!(read("RequestedProcedureID=1", Level::Series).is_err(), "it is in no other place");
        assert!(read("ReferencedSeriesSequence.RequestedProcedureID=1", Level::Series).is_err());
        assert!(read(&"a=&".repeat(300), Level::Study).unwrap_err().contains("parameters"));
    }
}
