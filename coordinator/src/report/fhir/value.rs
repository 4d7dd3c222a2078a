//! Values that several resources have.

use prelim_proto::vocabulary::Concept;
use serde_json::{Value, json};

use crate::report::present;

/// System of identifiers that are DICOM UIDs.
const DICOM_UID: &str = "urn:dicom:uid";

/// Namespace of the extensions that are prelim's own.
pub(super) const EXTENSION: &str = "urn:prelim:fhir:";

/// `value` without what is empty: FHIR knows no empty strings, lists or objects, and no nulls. Nothing where nothing is left.
pub(super) fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then_some(Value::String(text)),
        Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().filter_map(pruned).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(members) => {
            let members: serde_json::Map<String, Value> =
                members.into_iter().filter_map(|(name, value)| Some((name, pruned(value)?))).collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        value => Some(value),
    }
}

/// A Coding. The systems are those that FHIR gives to DICOM's coding schemes.
pub(super) fn coding(concept: Concept) -> Value {
    let system = match concept.scheme {
        "SCT" => "http://snomed.info/sct",
        "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
        "LN" => "http://loinc.org",
        "UCUM" => "http://unitsofmeasure.org",
        _ => "",
    };
    json!({ "system": system, "code": concept.value, "display": concept.meaning })
}

/// A CodeableConcept.
pub(super) fn concept(concept: Concept) -> Value {
    json!({ "coding": [coding(concept)] })
}

/// A CodeableConcept of HL7's own terminology.
pub(super) fn hl7(system: &str, code: &str, display: &str) -> Value {
    let system = format!("http://terminology.hl7.org/CodeSystem/{system}");
    json!({ "coding": [{ "system": system, "code": code, "display": display }] })
}

/// A Quantity in a UCUM unit, to one decimal.
pub(super) fn quantity(value: f32, unit: Concept) -> Value {
    let value = (f64::from(value) * 10.0).round() / 10.0;
    json!({ "value": value, "unit": unit.value, "system": "http://unitsofmeasure.org", "code": unit.value })
}

/// The Identifier of a DICOM UID.
pub(super) fn uid(uid: &str) -> Value {
    json!({ "system": DICOM_UID, "value": format!("urn:oid:{uid}") })
}

/// A reference to an entry of the Bundle by its UUID.
pub(super) fn reference(uuid: &str) -> Value {
    json!({ "reference": urn(uuid) })
}

/// The full URL of an entry.
pub(super) fn urn(uuid: &str) -> String {
    format!("urn:uuid:{uuid}")
}

/// An extension of prelim's own; `value` is one member, "value…".
pub(super) fn extension(name: &str, kind: &str, value: Value) -> Value {
    json!({ "url": format!("{EXTENSION}{name}"), kind: value })
}

/// A DICOM date as FHIR's; empty where it is none.
pub(super) fn date(value: &str) -> String {
    present::valid_date(value).map(|da| format!("{}-{}-{}", &da[..4], &da[4..6], &da[6..])).unwrap_or_default()
}

/// A time as FHIR's instant, in UTC.
pub(super) fn instant(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The names of a Person Name (PS3.5 section 6.2.1), one for each of its groups: alphabetic, ideographic, phonetic.
pub(super) fn human_names(value: &str) -> Vec<Value> {
    let groups = value.split('=').take(3).zip(["ABC", "IDE", "SYL"]);
    let known = groups.filter(|(group, _)| !present::person_name(group).is_empty());
    known.map(|(group, representation)| human_name(group, representation)).collect()
}

fn human_name(group: &str, representation: &str) -> Value {
    let components: Vec<String> = group.split('^').map(present::clean).collect();
    let words = |i: usize| components.get(i).map_or_else(Vec::new, |part| part.split(' ').collect::<Vec<_>>());
    let given = [words(1), words(2)].concat();
    json!({
        "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation",
            "valueCode": representation,
        }],
        "text": present::person_name(group),
        "family": components.first(),
        "given": given,
        "prefix": words(3),
        "suffix": words(4),
    })
}
