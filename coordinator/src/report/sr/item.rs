//! Content items of each value type (PS3.3 section C.17.3), and the elements that they are made of.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use prelim_proto::ids::Uid;
use prelim_proto::vocabulary::Concept;

use super::DataSet;
use crate::report::present;

/// An element of a data set.
pub(super) type Element = dicom_object::mem::InMemElement;

/// How an item belongs to the one above it (PS3.3 section C.17.3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relationship {
    Contains,
    HasConceptMod,
    HasObsContext,
    SelectedFrom,
}

impl Relationship {
    fn term(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasConceptMod => "HAS CONCEPT MOD",
            Self::HasObsContext => "HAS OBS CONTEXT",
            Self::SelectedFrom => "SELECTED FROM",
        }
    }
}

/// A frame of an image, as other objects refer to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageReference<'a> {
    pub(super) class: &'a Uid,
    pub(super) instance: &'a Uid,
    /// The frame, where the image has more than one.
    pub(super) frame: Option<u32>,
}

/// An element with a text value.
pub(super) fn text_element(tag: Tag, vr: VR, value: impl Into<String>) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

/// An element that is there without a value (type 2).
pub(super) fn empty_element(tag: Tag, vr: VR) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::Empty)
}

/// A sequence; without items it is there and empty (type 2).
pub(super) fn sequence(tag: Tag, items: Vec<DataSet>) -> Element {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// A coded concept as the one item of a sequence. Code Meaning is an LO of at most 64 characters; all of ours are shorter.
pub(super) fn code_sequence(tag: Tag, concept: Concept) -> Element {
    let item = DataSet::from_element_iter([
        text_element(tags::CODE_VALUE, VR::SH, concept.value),
        text_element(tags::CODING_SCHEME_DESIGNATOR, VR::SH, concept.scheme),
        text_element(tags::CODE_MEANING, VR::LO, concept.meaning),
    ]);
    sequence(tag, vec![item])
}

fn item(relationship: Relationship, value_type: &str, name: Concept) -> DataSet {
    DataSet::from_element_iter([
        text_element(tags::RELATIONSHIP_TYPE, VR::CS, relationship.term()),
        text_element(tags::VALUE_TYPE, VR::CS, value_type),
        code_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, name),
    ])
}

/// A CODE item.
pub(super) fn code(relationship: Relationship, name: Concept, value: Concept) -> DataSet {
    let mut item = item(relationship, "CODE", name);
    item.put(code_sequence(tags::CONCEPT_CODE_SEQUENCE, value));
    item
}

/// A TEXT item. Control characters do not go in.
pub(super) fn text(relationship: Relationship, name: Concept, value: &str) -> DataSet {
    let mut item = item(relationship, "TEXT", name);
    item.put(text_element(tags::TEXT_VALUE, VR::UT, present::clean(value)));
    item
}

/// A UIDREF item.
pub(super) fn uid_reference(relationship: Relationship, name: Concept, value: &str) -> DataSet {
    let mut item = item(relationship, "UIDREF", name);
    item.put(text_element(tags::UID, VR::UI, value));
    item
}

/// A NUM item, with one decimal.
pub(super) fn number(relationship: Relationship, name: Concept, value: f32, unit: Concept) -> DataSet {
    let measured = DataSet::from_element_iter([
        text_element(tags::NUMERIC_VALUE, VR::DS, format!("{value:.1}")),
        code_sequence(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit),
    ]);
    let mut item = item(relationship, "NUM", name);
    item.put(sequence(tags::MEASURED_VALUE_SEQUENCE, vec![measured]));
    item
}

/// An IMAGE item.
pub(super) fn image(relationship: Relationship, name: Concept, reference: ImageReference<'_>) -> DataSet {
    let mut referenced = reference_item(reference.class, reference.instance);
    if let Some(frame) = reference.frame {
        referenced.put(text_element(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string()));
    }
    let mut item = item(relationship, "IMAGE", name);
    item.put(sequence(tags::REFERENCED_SOP_SEQUENCE, vec![referenced]));
    item
}

/// SOP class and instance.
pub(super) fn reference_item(class: &Uid, instance: &Uid) -> DataSet {
    DataSet::from_element_iter([
        text_element(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class.as_str()),
        text_element(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance.as_str()),
    ])
}

/// An SCOORD item: a polyline through `points`, each (column, row) in pixels from the upper left corner of the upper left
/// pixel (PS3.3 section C.18.6.1), on the image of `source`.
pub(super) fn polyline(name: Concept, points: &[(f32, f32)], source: DataSet) -> DataSet {
    let data: Vec<f32> = points.iter().flat_map(|&(column, row)| [column, row]).collect();
    let mut item = item(Relationship::Contains, "SCOORD", name);
    item.put(text_element(tags::GRAPHIC_TYPE, VR::CS, "POLYLINE"));
    item.put(DataElement::new(tags::GRAPHIC_DATA, VR::FL, PrimitiveValue::F32(data.into())));
    item.put(sequence(tags::CONTENT_SEQUENCE, vec![source]));
    item
}

/// A CONTAINER item, following the template of that number where one is given.
pub(super) fn container(name: Concept, template: Option<&str>, children: Vec<DataSet>) -> DataSet {
    let mut item = item(Relationship::Contains, "CONTAINER", name);
    for element in container_elements(template, children) {
        item.put(element);
    }
    item
}

/// What makes a data set a container: the root of the tree has these without a relationship.
pub(super) fn container_elements(template: Option<&str>, children: Vec<DataSet>) -> Vec<Element> {
    let mut elements = vec![text_element(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE")];
    if let Some(number) = template {
        let identification = DataSet::from_element_iter([
            text_element(tags::MAPPING_RESOURCE, VR::CS, "DCMR"),
            text_element(tags::TEMPLATE_IDENTIFIER, VR::CS, number),
        ]);
        elements.push(sequence(tags::CONTENT_TEMPLATE_SEQUENCE, vec![identification]));
    }
    if !children.is_empty() {
        elements.push(sequence(tags::CONTENT_SEQUENCE, children));
    }
    elements
}

/// `parent` with items below it.
pub(super) fn with_children(mut parent: DataSet, children: Vec<DataSet>) -> DataSet {
    if !children.is_empty() {
        parent.put(sequence(tags::CONTENT_SEQUENCE, children));
    }
    parent
}
