//! Content items of each value type (PS3.3 section C.17.3).

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use prelim_proto::report::Report;
use prelim_proto::review::Review;
use prelim_proto::vocabulary::Concept;

use super::DataSet;
use super::element::{
    Element, ImageReference, code_sequence, image_reference_item, person_name, reference_item, sequence, text_element,
};
use crate::report::{concepts as c, present};

/// How an item belongs to the one above it (PS3.3 section C.17.3.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Relationship {
    Contains,
    HasConceptMod,
    HasObsContext,
    HasProperties,
    SelectedFrom,
}

impl Relationship {
    fn term(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::HasConceptMod => "HAS CONCEPT MOD",
            Self::HasObsContext => "HAS OBS CONTEXT",
            Self::HasProperties => "HAS PROPERTIES",
            Self::SelectedFrom => "SELECTED FROM",
        }
    }
}

fn item(relationship: Relationship, value_type: &str, name: Concept) -> DataSet {
    DataSet::from_element_iter([
        text_element(tags::RELATIONSHIP_TYPE, VR::CS, relationship.term()),
        text_element(tags::VALUE_TYPE, VR::CS, value_type),
        code_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, name),
    ])
}

/// A CODE item.
pub(in crate::report) fn code(relationship: Relationship, name: Concept, value: Concept) -> DataSet {
    let mut item = item(relationship, "CODE", name);
    item.put(code_sequence(tags::CONCEPT_CODE_SEQUENCE, value));
    item
}

/// A TEXT item. Control characters do not go in.
pub(in crate::report) fn text(relationship: Relationship, name: Concept, value: &str) -> DataSet {
    let mut item = item(relationship, "TEXT", name);
    item.put(text_element(tags::TEXT_VALUE, VR::UT, present::clean(value)));
    item
}

/// A UIDREF item.
pub(in crate::report) fn uid_reference(relationship: Relationship, name: Concept, value: &str) -> DataSet {
    let mut item = item(relationship, "UIDREF", name);
    item.put(text_element(tags::UID, VR::UI, value));
    item
}

/// A DATE item.
pub(in crate::report) fn date(relationship: Relationship, name: Concept, value: &str) -> DataSet {
    let mut item = item(relationship, "DATE", name);
    item.put(text_element(tags::DATE, VR::DA, value));
    item
}

/// A NUM item, with one decimal.
pub(in crate::report) fn number(relationship: Relationship, name: Concept, value: f32, unit: Concept) -> DataSet {
    let measured = DataSet::from_element_iter([
        text_element(tags::NUMERIC_VALUE, VR::DS, format!("{value:.1}")),
        code_sequence(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit),
    ]);
    let mut item = item(relationship, "NUM", name);
    item.put(sequence(tags::MEASURED_VALUE_SEQUENCE, vec![measured]));
    item
}

/// An IMAGE item.
pub(in crate::report) fn image(relationship: Relationship, name: Concept, reference: ImageReference<'_>) -> DataSet {
    let mut item = item(relationship, "IMAGE", name);
    item.put(sequence(tags::REFERENCED_SOP_SEQUENCE, vec![image_reference_item(reference)]));
    item
}

/// An IMAGE item of a key object selection, which names no purpose.
pub(in crate::report) fn key_image(reference: DataSet) -> DataSet {
    DataSet::from_element_iter([
        text_element(tags::RELATIONSHIP_TYPE, VR::CS, Relationship::Contains.term()),
        text_element(tags::VALUE_TYPE, VR::CS, "IMAGE"),
        sequence(tags::REFERENCED_SOP_SEQUENCE, vec![reference]),
    ])
}

/// Who reviewed the report, as an observer (TID 1002 and TID 1003).
pub(in crate::report) fn person_observer(review: &Review) -> Vec<DataSet> {
    let mut name = item(Relationship::HasObsContext, "PNAME", c::PERSON_OBSERVER_NAME);
    name.put(person_name(tags::PERSON_NAME, &review.reviewer.name));
    let organization = &review.reviewer.organization;
    vec![
        code(Relationship::HasObsContext, c::OBSERVER_TYPE, c::PERSON),
        name,
        text(Relationship::HasObsContext, c::PERSON_OBSERVER_ORGANIZATION, organization),
    ]
}

/// A COMPOSITE item: a document that this one speaks of.
pub(in crate::report) fn composite(relationship: Relationship, name: Concept, class: &str, instance: &str) -> DataSet {
    let mut item = item(relationship, "COMPOSITE", name);
    item.put(sequence(tags::REFERENCED_SOP_SEQUENCE, vec![reference_item(class, instance)]));
    item
}

/// The program as the observer (TID 1002 and TID 1004).
pub(in crate::report) fn device_observer(report: &Report, device: &str) -> Vec<DataSet> {
    let models: Vec<&str> = report.models.iter().map(|model| model.name.as_str()).collect();
    let text = |name, value: &str| text(Relationship::HasObsContext, name, value);
    let mut items = vec![
        code(Relationship::HasObsContext, c::OBSERVER_TYPE, c::DEVICE),
        uid_reference(Relationship::HasObsContext, c::DEVICE_OBSERVER_UID, device),
        text(c::DEVICE_OBSERVER_NAME, "prelim"),
        text(c::DEVICE_OBSERVER_MANUFACTURER, "prelim"),
    ];
    if !models.is_empty() {
        items.push(text(c::DEVICE_OBSERVER_MODEL_NAME, &models.join(", ")));
    }
    items
}

/// An SCOORD item: a polyline through `points`, each (column, row) in pixels from the upper left corner of the upper left
/// pixel (PS3.3 section C.18.6.1), on the image of `source`.
pub(in crate::report) fn polyline(name: Concept, points: &[(f32, f32)], source: DataSet) -> DataSet {
    let data: Vec<f32> = points.iter().flat_map(|&(column, row)| [column, row]).collect();
    let mut item = item(Relationship::Contains, "SCOORD", name);
    item.put(text_element(tags::GRAPHIC_TYPE, VR::CS, "POLYLINE"));
    item.put(DataElement::new(tags::GRAPHIC_DATA, VR::FL, PrimitiveValue::F32(data.into())));
    item.put(sequence(tags::CONTENT_SEQUENCE, vec![source]));
    item
}

/// A CONTAINER item, following the template of that number where one is given.
pub(in crate::report) fn container(name: Concept, template: Option<&str>, children: Vec<DataSet>) -> DataSet {
    let mut item = item(Relationship::Contains, "CONTAINER", name);
    for element in container_elements(template, children) {
        item.put(element);
    }
    item
}

/// What makes a data set a container: the root of the tree has these without a relationship.
pub(in crate::report) fn container_elements(template: Option<&str>, children: Vec<DataSet>) -> Vec<Element> {
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
pub(in crate::report) fn with_children(mut parent: DataSet, children: Vec<DataSet>) -> DataSet {
    if !children.is_empty() {
        parent.put(sequence(tags::CONTENT_SEQUENCE, children));
    }
    parent
}
