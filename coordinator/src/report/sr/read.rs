//! Measurement groups read back: what `group` writes, and other systems in the same codes.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use prelim_imaging::dataset::Attributes;
use prelim_proto::comparison::PriorFinding;
use prelim_proto::finding::{Laterality, Presence, Severity, Zone};
use prelim_proto::vocabulary::{Concept, FindingCode};

use crate::report::concepts as c;

/// Longest extent that is believed, in mm: no part of a patient is longer.
const MAX_SIZE_MM: f64 = 2_000.0;

/// The value and scheme of a coded concept, in the sequence `tag` of an item.
pub(crate) fn code(item: &Attributes<'_>, tag: Tag) -> Option<(String, String)> {
    let code = item.item(tag)?;
    Some((code.text(tags::CODE_VALUE)?, code.text(tags::CODING_SCHEME_DESIGNATOR).unwrap_or_default()))
}

/// Whether the item is named so.
pub(crate) fn is_named(item: &Attributes<'_>, name: Concept) -> bool {
    code(item, tags::CONCEPT_NAME_CODE_SEQUENCE).is_some_and(|found| is(&found, name))
}

/// Whether the item is a measurement group.
pub(crate) fn is_group(item: &Attributes<'_>) -> bool {
    is_named(item, c::MEASUREMENT_GROUP)
}

/// The finding of a measurement group (TID 1410, 1411 or 1501), with its Tracking Unique Identifier, empty where it has none;
/// nothing where the group names no finding of the vocabulary.
pub(crate) fn finding(group: &Attributes<'_>) -> Option<(String, PriorFinding)> {
    let children: Vec<Attributes<'_>> = group.items(tags::CONTENT_SEQUENCE).collect();
    let named = |name: Concept| children.iter().find(|item| is_named(item, name));
    let value = |name: Concept| code(named(name)?, tags::CONCEPT_CODE_SEQUENCE);
    let found = value(c::FINDING)?;
    let code_of = FindingCode::ALL.iter().copied().find(|known| is(&found, known.concept()))?;
    let site: Vec<Attributes<'_>> =
        named(c::FINDING_SITE).into_iter().flat_map(|site| site.items(tags::CONTENT_SEQUENCE)).collect();
    let modifier = |name: Concept| {
        let of_site = site.iter().find(|item| is_named(item, name));
        code(of_site.or_else(|| named(name))?, tags::CONCEPT_CODE_SEQUENCE)
    };
    let presence = value(c::PRESENCE_OF_PROPERTY).and_then(|found| of(&found, PRESENCES, c::presence));
    let tracking = named(c::TRACKING_UNIQUE_IDENTIFIER).and_then(|item| item.text(tags::UID)).unwrap_or_default();
    let finding = PriorFinding {
        code: code_of,
        presence: presence.unwrap_or(Presence::Present),
        laterality: modifier(c::LATERALITY).and_then(|found| of(&found, SIDES, c::laterality)),
        zone: modifier(c::TOPOGRAPHICAL_MODIFIER).and_then(|found| of(&found, ZONES, c::zone)),
        severity: value(c::SEVERITY).and_then(|found| of(&found, SEVERITIES, c::severity)),
        size_mm: named(c::LONG_AXIS).and_then(millimetres),
    };
    Some((tracking, finding))
}

const SIDES: &[Laterality] = &[Laterality::Left, Laterality::Right, Laterality::Bilateral];
const ZONES: &[Zone] = &[Zone::Upper, Zone::Mid, Zone::Lower, Zone::Anterior, Zone::Posterior];
const PRESENCES: &[Presence] = &[Presence::Present, Presence::Absent, Presence::Uncertain];
const SEVERITIES: &[Severity] =
    &[Severity::Small, Severity::Mild, Severity::Moderate, Severity::Large, Severity::Severe];

/// The word whose concept it is.
fn of<T: Copy>(found: &(String, String), words: &[T], concept: impl Fn(T) -> Concept) -> Option<T> {
    words.iter().copied().find(|word| is(found, concept(*word)))
}

fn is((value, scheme): &(String, String), concept: Concept) -> bool {
    value == concept.value && scheme == concept.scheme
}

fn millimetres(item: &Attributes<'_>) -> Option<f32> {
    let measured = item.item(tags::MEASURED_VALUE_SEQUENCE)?;
    let (unit, _) = code(&measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE)?;
    let factor = match unit.as_str() {
        "mm" => 1.0,
        "cm" => 10.0,
        _ => return None,
    };
    let value = measured.number(tags::NUMERIC_VALUE)? * factor;
    (value > 0.0 && value <= MAX_SIZE_MM).then_some(value as f32)
}
