//! Data sets in the DICOM JSON model (PS3.18 annex F), as clients send them: read with limits, and looked into (pure).

use serde_json::{Value, json};

pub(crate) use crate::store::worklist::Dataset;

/// Longest data set of a workitem, in bytes of JSON.
pub(crate) const MAX_BYTES: usize = 256 << 10;
/// Sequences within sequences.
const MAX_DEPTH: usize = 16;

/// Tags of the worklist, as the JSON model writes them.
pub(crate) mod tag {
    pub(crate) const AFFECTED_SOP_CLASS_UID: &str = "00000002";
    pub(crate) const MESSAGE_ID: &str = "00000110";
    pub(crate) const AFFECTED_SOP_INSTANCE_UID: &str = "00001000";
    pub(crate) const EVENT_TYPE_ID: &str = "00001002";
    pub(crate) const SPECIFIC_CHARACTER_SET: &str = "00080005";
    pub(crate) const SOP_CLASS_UID: &str = "00080016";
    pub(crate) const SOP_INSTANCE_UID: &str = "00080018";
    pub(crate) const RETRIEVE_AE_TITLE: &str = "00080054";
    pub(crate) const CODE_VALUE: &str = "00080100";
    pub(crate) const CODING_SCHEME_DESIGNATOR: &str = "00080102";
    pub(crate) const CODE_MEANING: &str = "00080104";
    pub(crate) const REFERENCED_SOP_CLASS_UID: &str = "00081150";
    pub(crate) const REFERENCED_SOP_INSTANCE_UID: &str = "00081155";
    pub(crate) const RETRIEVE_URL: &str = "00081190";
    pub(crate) const TRANSACTION_UID: &str = "00081195";
    pub(crate) const REFERENCED_SOP_SEQUENCE: &str = "00081199";
    pub(crate) const PATIENT_ID: &str = "00100020";
    pub(crate) const PATIENT_BIRTH_DATE: &str = "00100030";
    pub(crate) const STUDY_INSTANCE_UID: &str = "0020000D";
    pub(crate) const SERIES_INSTANCE_UID: &str = "0020000E";
    pub(crate) const PERFORMED_DESCRIPTION: &str = "00400254";
    pub(crate) const START: &str = "00404005";
    pub(crate) const EXPIRATION: &str = "00404008";
    pub(crate) const MODIFIED: &str = "00404010";
    pub(crate) const WORKITEM_CODES: &str = "00404018";
    pub(crate) const PERFORMED_WORKITEM_CODES: &str = "00404019";
    pub(crate) const INPUTS: &str = "00404021";
    pub(crate) const STATIONS: &str = "00404025";
    pub(crate) const PERFORMED_STATIONS: &str = "00404028";
    pub(crate) const OUTPUTS: &str = "00404033";
    pub(crate) const HUMAN_PERFORMERS: &str = "00404034";
    pub(crate) const HUMAN_PERFORMER_CODES: &str = "00404009";
    pub(crate) const HUMAN_ORGANIZATION: &str = "00404036";
    pub(crate) const READINESS: &str = "00404041";
    pub(crate) const PERFORMED_START: &str = "00404050";
    pub(crate) const PERFORMED_END: &str = "00404051";
    pub(crate) const CANCELED_AT: &str = "00404052";
    pub(crate) const TYPE_OF_INSTANCES: &str = "0040E020";
    pub(crate) const DICOM_RETRIEVAL: &str = "0040E021";
    pub(crate) const WADO_RS_RETRIEVAL: &str = "0040E025";
    pub(crate) const STATE: &str = "00741000";
    pub(crate) const PROGRESS: &str = "00741002";
    pub(crate) const PROGRESS_PERCENT: &str = "00741004";
    pub(crate) const PROGRESS_DESCRIPTION: &str = "00741006";
    pub(crate) const CONTACT_URI: &str = "0074100A";
    pub(crate) const CONTACT_NAME: &str = "0074100C";
    pub(crate) const DISCONTINUATION_CODES: &str = "0074100E";
    pub(crate) const PRIORITY: &str = "00741200";
    pub(crate) const WORKLIST_LABEL: &str = "00741202";
    pub(crate) const LABEL: &str = "00741204";
    pub(crate) const PERFORMED: &str = "00741216";
    pub(crate) const REQUESTING_AE: &str = "00741236";
    pub(crate) const CANCELLATION_REASON: &str = "00741238";
    pub(crate) const SCP_STATUS: &str = "00741242";
    pub(crate) const SUBSCRIPTION_LIST_STATUS: &str = "00741244";
    pub(crate) const LIST_STATUS: &str = "00741246";
}

/// Reads the one data set of a body: by itself, or in a list of one.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn parse(body: &[u8]) -> Result<Dataset, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
    let object = match value {
        Value::Object(object) => object,
        Value::Array(mut list) if list.len() == 1 => match list.remove(0) {
            Value::Object(object) => object,
            _ => return Err("the body holds no data set".to_owned()),
        },
        Value::Array(list) => return Err(format!("the body holds {} data sets, and one is wanted", list.len())),
        _ => return Err("the body is no data set in the DICOM JSON model".to_owned()),
    };
    checked(object, 0)
}

/// A data set whose attributes are what the model has them be, with its tags in capitals.
fn checked(object: Dataset, depth: usize) -> Result<Dataset, String> {
    if depth > MAX_DEPTH {
        return Err(format!("sequences are nested more than {MAX_DEPTH} deep"));
    }
    let one = |(tag, attribute): (String, Value)| {
        let is_tag = tag.len() == 8 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_tag {
            return Err(format!("{tag:?} is no tag of eight digits"));
        }
        let Value::Object(mut attribute) = attribute else { return Err(format!("{tag} is no object with its vr")) };
        let vr = attribute.get("vr").and_then(Value::as_str).unwrap_or_default().to_owned();
        if vr.len() != 2 || !vr.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("{tag} has no vr"));
        }
        if let Some(other) = attribute.keys().find(|key| !["vr", "Value", "InlineBinary"].contains(&key.as_str())) {
            return Err(format!("{tag} has {other:?}, which a workitem cannot have"));
        }
        match attribute.remove("Value") {
            None => {}
            Some(Value::Array(values)) if vr == "SQ" => {
                let item = |value| match value {
                    Value::Object(item) => checked(item, depth + 1).map(Value::Object),
                    _ => Err(format!("{tag} has an item that is no data set")),
                };
                let items = values.into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
                attribute.insert("Value".to_owned(), Value::Array(items));
            }
            Some(Value::Array(values)) => {
                let is_value = |value: &Value| match value {
                    Value::Object(name) => vr == "PN" && name.values().all(Value::is_string),
                    Value::Array(_) | Value::Bool(_) => false,
                    _ => true,
                };
                if !values.iter().all(is_value) {
                    return Err(format!("{tag} has a value that is none of vr {vr}"));
                }
                attribute.insert("Value".to_owned(), Value::Array(values));
            }
            Some(_) => return Err(format!("{tag} has a Value that is no list")),
        }
        Ok((tag.to_ascii_uppercase(), Value::Object(attribute)))
    };
    object.into_iter().map(one).collect()
}

/// The values of an attribute; none where it is absent or empty.
pub(crate) fn values<'a>(dataset: &'a Dataset, tag: &str) -> &'a [Value] {
    dataset.get(tag).and_then(|attribute| attribute.get("Value")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first value of an attribute as text.
pub(crate) fn text<'a>(dataset: &'a Dataset, tag: &str) -> Option<&'a str> {
    values(dataset, tag).first().and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// The items of a sequence.
pub(crate) fn items<'a>(dataset: &'a Dataset, tag: &str) -> impl Iterator<Item = &'a Dataset> + use<'a> {
    values(dataset, tag).iter().filter_map(Value::as_object)
}

/// Whether an attribute has a value.
pub(crate) fn has_value(dataset: &Dataset, tag: &str) -> bool {
    let is_something = |value: &Value| !value.is_null() && value.as_str() != Some("");
    values(dataset, tag).iter().any(is_something)
}

/// Puts values in place of what an attribute had.
pub(crate) fn put(dataset: &mut Dataset, tag: &str, vr: &str, values: Vec<Value>) {
    let attribute = if values.is_empty() { json!({"vr": vr}) } else { json!({"vr": vr, "Value": values}) };
    dataset.insert(tag.to_owned(), attribute);
}

/// Puts a text.
pub(crate) fn put_text(dataset: &mut Dataset, tag: &str, vr: &str, text: impl Into<String>) {
    put(dataset, tag, vr, vec![Value::String(text.into())]);
}

/// Puts a sequence.
pub(crate) fn put_items(dataset: &mut Dataset, tag: &str, items: impl IntoIterator<Item = Dataset>) {
    put(dataset, tag, "SQ", items.into_iter().map(Value::Object).collect());
}

/// A code as an item (PS3.3 table 8.8-1).
pub(crate) fn code(value: &str, scheme: &str, meaning: &str) -> Dataset {
    let mut item = Dataset::new();
    put_text(&mut item, tag::CODE_VALUE, "SH", value);
    put_text(&mut item, tag::CODING_SCHEME_DESIGNATOR, "SH", scheme);
    put_text(&mut item, tag::CODE_MEANING, "LO", meaning);
    item
}

/// A moment as DICOM writes it (VR DT), in UTC.
pub(crate) fn moment(now: jiff::Timestamp) -> String {
    now.strftime("%Y%m%d%H%M%S+0000").to_string()
}

/// What a date and time of VR DT stands for (PS3.5 section 6.2); without an offset, in the time zone of this machine. None
/// where it is none.
pub(crate) fn read_moment(text: &str) -> Option<jiff::Timestamp> {
    let (local, offset) = match text.rfind(['+', '-']) {
        Some(at) if at >= 4 => (&text[..at], Some(&text[at..])),
        _ => (text, None),
    };
    let local = local.split('.').next()?.trim();
    if local.len() < 4 || !local.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, length: usize, absent: i16| match local.get(from..from + length) {
        Some(digits) => digits.parse::<i16>().ok(),
        None => (local.len() <= from).then_some(absent),
    };
    let small = |part: Option<i16>| part.and_then(|part| i8::try_from(part).ok());
    let civil = jiff::civil::DateTime::new(
        part(0, 4, 0)?,
        small(part(4, 2, 1))?,
        small(part(6, 2, 1))?,
        small(part(8, 2, 0))?,
        small(part(10, 2, 0))?,
        small(part(12, 2, 0))?.min(59),
        0,
    );
    let zone = match offset {
        Some(offset) => {
            let (hours, minutes) = (offset.get(1..3)?.parse::<i32>().ok()?, offset.get(3..5)?.parse::<i32>().ok()?);
            let seconds = (hours * 60 + minutes) * 60;
            let seconds = if offset.starts_with('-') { -seconds } else { seconds };
            jiff::tz::TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).ok()?)
        }
        None => jiff::tz::TimeZone::system(),
    };
    zone.to_timestamp(civil.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_data_set_is_refused_by_name() {
        assert_eq!(parse(br#"[{"0020000d":{"vr":"UI","Value":["1.2"]}}]"#).unwrap().keys().next().unwrap(), "0020000D");
        let deep = "[".repeat(200);
        let nested = format!("{}{{}}{}", r#"{"00404021":{"vr":"SQ","Value":["#.repeat(20), "]}}".repeat(20));
        for (body, named) in [
            ("", "no JSON"),
            (deep.as_str(), "no JSON"),
            ("[]", "0 data sets"),
            ("[{},{}]", "2 data sets"),
            ("3", "no data set"),
            (r#"{"PatientID":{"vr":"LO"}}"#, "PatientID"),
            (r#"{"00100020":"x"}"#, "00100020"),
            (r#"{"00100020":{"Value":["x"]}}"#, "no vr"),
            (r#"{"00100020":{"vr":"LO","Value":"x"}}"#, "no list"),
            (r#"{"00100020":{"vr":"LO","Value":[["x"]]}}"#, "value that is none"),
            (r#"{"00100020":{"vr":"LO","BulkDataURI":"http://x"}}"#, "BulkDataURI"),
            (r#"{"00404021":{"vr":"SQ","Value":["x"]}}"#, "item"),
            (nested.as_str(), "deep"),
        ] {
            let problem = parse(body.as_bytes()).unwrap_err();
            assert!(problem.contains(named), "{body}: {problem}");
        }
    }

    #[test]
    fn moments_are_read_and_written() {
        let noon = "20260102120000+0000";
        assert_eq!(moment(read_moment(noon).unwrap()), noon);
        assert_eq!(read_moment("20260102130000.5+0100"), read_moment(noon));
        assert_eq!(read_moment("20260102+0000"), read_moment("20260102000000+0000"));
        for text in ["", "tomorrow", "20261301", "2026010", "20260102120000+9900"] {
            assert_eq!(read_moment(text), None, "{text}");
        }
    }
}
