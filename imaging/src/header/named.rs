//! Who and what an object names, so that it can be looked for in sentences: every person's name, identifiers of the patient and the
//! request, addresses and departments.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use prelim_proto::study::{StudyAttributes, add_line};

use crate::dataset::Attributes;

/// Sequences within sequences that are looked into.
const MAX_DEPTH: usize = 4;
/// Items of one sequence that are looked into.
const MAX_ITEMS: usize = 64;
/// Longest name, identifier or place that is kept, in characters.
const MAX_CHARS: usize = 256;

/// Identifiers of the patient and the request, wherever they stand.
#[expect(deprecated, reason = "senders write what the standard retired, too")]
const IDS: [Tag; 13] = [
    tags::PATIENT_ID,
    tags::OTHER_PATIENT_I_DS,
    tags::PATIENT_TELEPHONE_NUMBERS,
    tags::MEDICAL_RECORD_LOCATOR,
    tags::ACCESSION_NUMBER,
    tags::ADMISSION_ID,
    tags::SERVICE_EPISODE_ID,
    tags::REQUESTED_PROCEDURE_ID,
    tags::PLACER_ORDER_NUMBER_PROCEDURE,
    tags::FILLER_ORDER_NUMBER_PROCEDURE,
    tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
    tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
    tags::STUDY_ID,
];
/// Addresses, departments and wards.
const PLACES: [Tag; 8] = [
    tags::PATIENT_ADDRESS,
    tags::CURRENT_PATIENT_LOCATION,
    tags::PATIENT_INSTITUTION_RESIDENCE,
    tags::INSTITUTION_NAME,
    tags::INSTITUTION_ADDRESS,
    tags::INSTITUTIONAL_DEPARTMENT_NAME,
    tags::REQUESTING_SERVICE,
    tags::RESPONSIBLE_ORGANIZATION,
];
/// What [`StudyAttributes`] has fields of its own for, of the object itself.
const OWN: [Tag; 6] = [
    tags::PATIENT_NAME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::PATIENT_ID,
    tags::ACCESSION_NUMBER,
    tags::STUDY_ID,
    tags::INSTITUTION_NAME,
];

/// Notes in `known` what the object names beside what has a field of its own.
pub(super) fn note(attributes: &Attributes<'_>, known: &mut StudyAttributes) {
    look(attributes, 0, known);
}

fn look(attributes: &Attributes<'_>, depth: usize, known: &mut StudyAttributes) {
    for element in attributes.elements() {
        // Frames name nobody, and there may be thousands.
        if element.tag == tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE || (depth == 0 && OWN.contains(&element.tag)) {
            continue;
        }
        let list = match element.tag {
            _ if element.vr == VR::PN => &mut known.other_names,
            tag if IDS.contains(&tag) => &mut known.other_ids,
            tag if PLACES.contains(&tag) => &mut known.places,
            _ => {
                if depth < MAX_DEPTH {
                    attributes.items_of(element).take(MAX_ITEMS).for_each(|item| look(&item, depth + 1, known));
                }
                continue;
            }
        };
        for value in attributes.text_of(element).split('\\') {
            let plain: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect();
            add_line(list, plain.trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Dataset, Element, Value};

    #[test]
    fn names_identifiers_and_places_are_noted_wherever_they_stand() {
        let mut bytes = Vec::new();
        let mut element = |tag, vr, text: &str| {
            let from = bytes.len();
            bytes.extend(text.as_bytes());
            Element { tag, vr, big_endian: false, value: Value::Bytes(from..bytes.len()) }
        };
        let request = Dataset {
            elements: vec![
                element(tags::ACCESSION_NUMBER, VR::SH, "A-12"),
                element(tags::REQUESTING_PHYSICIAN, VR::PN, "Quimby^Hortense "),
                element(tags::REQUESTED_PROCEDURE_ID, VR::SH, "RP4455"),
            ],
        };
        let dataset = Dataset {
            elements: vec![
                element(tags::ACCESSION_NUMBER, VR::SH, "A-12"),
                element(tags::STUDY_DESCRIPTION, VR::LO, "Thorax"),
                element(tags::OPERATORS_NAME, VR::PN, "Tanaka^Yuki\\Mori^\nKen"),
                element(tags::PATIENT_NAME, VR::PN, "Roe^Al"),
                element(tags::PATIENT_ADDRESS, VR::LO, "Lindenweg 5"),
                element(tags::ADMISSION_ID, VR::LO, "ADM98"),
                Element {
                    tag: tags::REQUEST_ATTRIBUTES_SEQUENCE,
                    vr: VR::SQ,
                    big_endian: false,
                    value: Value::Items(vec![request.clone(), request]),
                },
            ],
        };
        let mut known = StudyAttributes::default();
        note(&Attributes::new(&bytes, &dataset), &mut known);
        assert_eq!(known.other_names, "Tanaka^Yuki\nMori^ Ken\nQuimby^Hortense");
        assert_eq!(known.other_ids, "ADM98\nA-12\nRP4455");
        assert_eq!(known.places, "Lindenweg 5");
    }
}
