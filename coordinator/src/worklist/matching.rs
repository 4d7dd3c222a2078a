//! What fits a search or the filter of a subscription (PS3.4 section C.2.2.2, on any attribute of a workitem; pure).

use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_dictionary_std::StandardDataDictionary;
use serde_json::Value;

use super::dataset::{self, Dataset};
use crate::web::matching::Pattern;

/// Attributes that one search may name.
const MAX_KEYS: usize = 50;
/// Longest value of one, in characters.
const MAX_VALUE_CHARS: usize = 1_024;

/// What must fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filter {
    keys: Vec<(Vec<String>, Matched)>,
}

/// What an attribute must be.
#[derive(Debug, Clone, PartialEq)]
enum Matched {
    /// One of several texts, with wildcards.
    AnyOf(Vec<Pattern>),
    /// A date or time from one to another, both of them included.
    Range(Option<String>, Option<String>),
}

/// The way to an attribute: tags of eight digits, the last of them in the items of those before. With its VR, where the
/// dictionary knows it.
///
/// # Errors
/// That there is no such attribute.
pub(crate) fn way(name: &str) -> Result<(Vec<String>, VR), String> {
    let unknown = || format!("no parameter and no attribute {name:?}");
    let mut vr = VR::UN;
    let mut way = Vec::new();
    for part in name.split('.') {
        let entry = match crate::web::tag(part) {
            Some((group, element)) => StandardDataDictionary.by_tag(dicom_core::Tag(group, element)),
            None => Some(StandardDataDictionary.by_name(part).ok_or_else(unknown)?),
        };
        let tag = match entry {
            Some(entry) => {
                vr = entry.vr().relaxed();
                entry.tag()
            }
            None => {
                vr = VR::UN;
                crate::web::tag(part).map(dicom_core::Tag::from).ok_or_else(unknown)?
            }
        };
        way.push(format!("{:04X}{:04X}", tag.group(), tag.element()));
    }
    Ok((way, vr))
}

impl Filter {
    /// Adds an attribute that must have a value. What is empty, or a star alone, fits everything.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<(), String> {
        let (way, vr) = way(name)?;
        if way.last().is_some_and(|tag| tag == dataset::tag::TRANSACTION_UID) {
            return Err("a Transaction UID cannot be searched for".to_owned());
        }
        if vr == VR::SQ {
            return Err(format!("{name} is a sequence: name an attribute of its items, as {name}.CodeValue"));
        }
        if value.chars().count() > MAX_VALUE_CHARS {
            return Err(format!("{name} has a value of more than {MAX_VALUE_CHARS} characters"));
        }
        if value.is_empty() || value == "*" {
            return Ok(());
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} attributes"));
        }
        let matched = match vr {
            VR::DA | VR::TM | VR::DT => range(value).ok_or_else(|| format!("{name}: no date or time, and no range"))?,
            VR::UI => Matched::AnyOf(value.split([',', '\\']).map(|uid| Pattern::new(uid.trim(), false)).collect()),
            VR::PN => Matched::AnyOf(vec![Pattern::new(value, true)]),
            _ => Matched::AnyOf(vec![Pattern::new(value, false)]),
        };
        self.keys.push((way, matched));
        Ok(())
    }

    /// The filter that stands in the text of a subscription: `NAME=VALUE,NAME=VALUE`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for pair in text.split([',', '&']).filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is no attribute=value"))?;
            filter.add(name.trim(), value.trim())?;
        }
        Ok(filter)
    }

    /// Whether a workitem fits.
    pub(crate) fn fits(&self, dataset: &Dataset) -> bool {
        self.keys.iter().all(|(way, matched)| {
            let mut values = Vec::new();
            collect(dataset, way, &mut values);
            values.iter().any(|value| matched.fits(value))
        })
    }
}

impl Matched {
    fn fits(&self, value: &str) -> bool {
        match self {
            Self::AnyOf(patterns) => patterns.iter().any(|pattern| pattern.fits(value)),
            Self::Range(from, to) => {
                let value = digits(value);
                // As far as both are written: 2026 holds all of its days.
                let shared = |bound: &str| value.len().min(bound.len());
                from.as_ref().is_none_or(|from| value[..shared(from)] >= from[..shared(from)])
                    && to.as_ref().is_none_or(|to| value[..shared(to)] <= to[..shared(to)])
            }
        }
    }
}

/// The digits of a date or time, without its offset and fraction.
fn digits(text: &str) -> String {
    let end = text.find(['.', '+', '-']).unwrap_or(text.len());
    text[..end].chars().filter(char::is_ascii_digit).collect()
}

/// `FROM-TO`, with either left out, or one value. An offset is taken for a range only where digits stand on both sides.
fn range(text: &str) -> Option<Matched> {
    let bound = |text: &str| {
        let digits = digits(text);
        (digits.len() >= 4 || text.is_empty()).then_some(Some(digits).filter(|digits| !digits.is_empty()))
    };
    let Some((from, to)) = text.split_once('-') else {
        let one = bound(text)??;
        return Some(Matched::Range(Some(one.clone()), Some(one)));
    };
    let (from, to) = (bound(from.trim())?, bound(to.trim())?);
    (from.is_some() || to.is_some()).then_some(Matched::Range(from, to))
}

/// The values at the end of a way, as texts.
fn collect(dataset: &Dataset, way: &[String], found: &mut Vec<String>) {
    match way {
        [] => {}
        [tag] => found.extend(dataset::values(dataset, tag).iter().map(text)),
        [tag, rest @ ..] => dataset::items(dataset, tag).for_each(|item| collect(item, rest, found)),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(name) => {
            let group = |group: &str| name.get(group).and_then(Value::as_str).unwrap_or_default();
            let groups = [group("Alphabetic"), group("Ideographic"), group("Phonetic")];
            groups.join("=").trim_end_matches('=').to_owned()
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workitem() -> Dataset {
        let dataset = json!({
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]},
            "00100020": {"vr": "LO", "Value": ["P-1"]},
            "00404005": {"vr": "DT", "Value": ["20260102120000+0100"]},
            "00404025": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["PRELIM"]}}]},
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
        });
        dataset.as_object().unwrap().clone()
    }

    #[test]
    fn workitems_are_found_by_any_attribute() {
        let fits = |text: &str| Filter::parse(text).map(|filter| filter.fits(&workitem()));
        for text in [
            "",
            "PatientID=P-?",
            "PatientName=doe*,ProcedureStepState=SCHEDULED",
            "ScheduledStationNameCodeSequence.CodeValue=PRELIM",
            "00404025.00080100=PRELIM",
            "ScheduledProcedureStepStartDateTime=20260101-20260102",
            "ScheduledProcedureStepStartDateTime=2026",
            "ScheduledProcedureStepStartDateTime=-20260103",
            "ScheduledHumanPerformersSequence.HumanPerformerName=*",
        ] {
            assert_eq!(fits(text), Ok(true), "{text}");
        }
        for text in [
            "PatientID=P",
            "ProcedureStepState=COMPLETED",
            "ScheduledStationNameCodeSequence.CodeValue=OTHER",
            "ScheduledProcedureStepStartDateTime=20260103-",
            "AccessionNumber=1",
        ] {
            assert_eq!(fits(text), Ok(false), "{text}");
        }
        for (text, named) in [
            ("Colour=red", "Colour"),
            ("ScheduledStationNameCodeSequence=PRELIM", "sequence"),
            ("TransactionUID=1.2", "Transaction"),
            ("ScheduledProcedureStepStartDateTime=soon", "date"),
            ("PatientID", "attribute=value"),
        ] {
            assert!(fits(text).unwrap_err().contains(named), "{text}");
        }
    }
}
