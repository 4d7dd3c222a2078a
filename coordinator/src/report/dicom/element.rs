//! Elements, and the items of sequences that several objects have.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use prelim_proto::ids::Uid;
use prelim_proto::vocabulary::Concept;

use super::DataSet;
use crate::report::present;

/// An element of a data set.
pub(in crate::report) type Element = dicom_object::mem::InMemElement;

/// Longest value of an LO, in characters.
const LO_CHARS: usize = 64;
/// Longest value of an SH, in characters.
const SH_CHARS: usize = 16;

/// A frame of an image, as other objects refer to it.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct ImageReference<'a> {
    pub(in crate::report) class: &'a Uid,
    pub(in crate::report) instance: &'a Uid,
    /// The frame, where the image has more than one.
    pub(in crate::report) frame: Option<u32>,
}

/// An element with a text value.
pub(in crate::report) fn text_element(tag: Tag, vr: VR, value: impl Into<String>) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

/// An element that is there without a value (type 2).
pub(in crate::report) fn empty_element(tag: Tag, vr: VR) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::Empty)
}

/// A sequence; without items it is there and empty (type 2).
pub(in crate::report) fn sequence(tag: Tag, items: Vec<DataSet>) -> Element {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A coded concept as the one item of a sequence. Code Meaning is an LO of at most 64 characters; all of ours are shorter.
pub(in crate::report) fn code_sequence(tag: Tag, concept: Concept) -> Element {
    let item = DataSet::from_element_iter([
        text_element(tags::CODE_VALUE, VR::SH, concept.value),
        text_element(tags::CODING_SCHEME_DESIGNATOR, VR::SH, concept.scheme),
        text_element(tags::CODE_MEANING, VR::LO, concept.meaning),
    ]);
    sequence(tag, vec![item])
}

/// SOP class and instance.
pub(in crate::report) fn reference_item(class: &str, instance: &str) -> DataSet {
    DataSet::from_element_iter([
        text_element(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
        text_element(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
    ])
}

/// SOP class, instance and, where it matters, the frame.
pub(in crate::report) fn image_reference_item(reference: ImageReference<'_>) -> DataSet {
    let mut item = reference_item(reference.class.as_str(), reference.instance.as_str());
    if let Some(frame) = reference.frame {
        item.put(text_element(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string()));
    }
    item
}

/// A value that is left empty where it is not known.
pub(in crate::report) fn known(tag: Tag, vr: VR, value: Option<String>) -> Element {
    value.map_or_else(|| empty_element(tag, vr), |value| text_element(tag, vr, value))
}

/// A Long String, cut to what the VR takes.
pub(in crate::report) fn long_string(tag: Tag, value: &str) -> Element {
    short(tag, VR::LO, value, LO_CHARS)
}

/// A Short String, cut to what the VR takes.
pub(in crate::report) fn short_string(tag: Tag, value: &str) -> Element {
    short(tag, VR::SH, value, SH_CHARS)
}

/// A text value cut to what its VR takes. A backslash would make it two values.
fn short(tag: Tag, vr: VR, value: &str, chars: usize) -> Element {
    let value: String = present::clean(value).replace('\\', "/").chars().take(chars).collect();
    // What was cut between two words would end in a space.
    known(tag, vr, Some(value.trim_end().to_owned()).filter(|value| !value.is_empty()))
}

/// A Person Name within the limits of PS3.5 section 6.2: three groups of at most 64 characters, five components each.
pub(in crate::report) fn person_name(tag: Tag, value: &str) -> Element {
    let group = |text: &str| -> String {
        let components: Vec<String> =
            text.split('^').take(5).map(|part| present::clean(part).replace('\\', "/")).collect();
        components.join("^").chars().take(LO_CHARS).collect()
    };
    text_element(tag, VR::PN, value.split('=').take(3).map(group).collect::<Vec<_>>().join("="))
}
