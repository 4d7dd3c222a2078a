//! A structured report of another system, as words and, where it has them in our codes, findings.
//!
//! Basic Text, Enhanced, Comprehensive, Comprehensive 3D and Extensible SR are read alike, by their content tree (PS3.3
//! section C.17.3): whatever template they follow, sections are known by the codes of PS3.16 CID 7001 and of TID 2000.
//!
//! **Invariant**: the tree is walked with a stack of our own; items, lines and characters are bounded.
//! **Invariant**: names of people, dates and references are not taken over: only text, codes and numbers.

use dicom_dictionary_std::{tags, uids};
use prelim_imaging::Limits;
use prelim_imaging::dataset::Attributes;
use prelim_imaging::scan::scan;
use prelim_proto::comparison::PriorFinding;

use crate::report::present;
use crate::report::sr::read;

/// Largest object that is read, in bytes: reports hold words.
pub(super) const MAX_BYTES: u64 = 8 << 20;
/// Content items that are looked at.
const MAX_ITEMS: usize = 20_000;
/// Lines and findings that are kept.
const MAX_LINES: usize = 200;
/// Longest line, in characters.
const MAX_LINE: usize = 1_000;

/// Classes whose objects hold a report in words.
pub(super) const CLASSES: [&str; 5] = [
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::COMPREHENSIVE3_DSR_STORAGE,
    uids::EXTENSIBLE_SR_STORAGE,
];

/// Whether objects of the class hold a report in words.
pub(super) fn is_report(sop_class: &str) -> bool {
    CLASSES.contains(&sop_class)
}

/// A report, as far as it is used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document {
    /// Verification Flag (0040,A493) is VERIFIED.
    pub(super) verified: bool,
    /// Content Date and Content Time, to tell the newest.
    pub(super) made: (String, String),
    /// What is said under impressions and conclusions.
    pub(super) impression: Vec<String>,
    /// What is said under findings.
    pub(super) findings: Vec<String>,
    /// What is said elsewhere.
    pub(super) others: Vec<String>,
    /// Findings in codes of ours, each once; none where it has no measurement group.
    pub(super) coded: Option<Vec<PriorFinding>>,
}

/// The sections that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Impression,
    Findings,
    Others,
    /// What another study showed: not a finding of this one.
    Passed,
}

/// Codes of sections and of the items in them: DCM's of TID 2000 and LOINC's of CID 7001.
fn section(code: &str) -> Option<Section> {
    match code {
        "121072" | "121073" | "19005-8" | "121076" | "121077" | "55110-1" => Some(Section::Impression),
        "121070" | "121071" | "59776-5" => Some(Section::Findings),
        // Previous findings, prior procedures, patient and request: they are not what was seen.
        "121068" | "121069" | "18834-2" | "121066" | "55114-3" | "55111-9" | "121064" | "121065" | "121106" => {
            Some(Section::Passed)
        }
        _ => None,
    }
}

/// Reads a report; none where the bytes are no DICOM object with a content tree.
pub(super) fn parse(bytes: &[u8]) -> Option<Document> {
    let scanned = scan(bytes, &Limits::default()).ok()?;
    let root = scanned.attributes();
    if root.items(tags::CONTENT_SEQUENCE).len() == 0 {
        return None;
    }
    let text = |tag| root.text(tag).unwrap_or_default();
    let mut document = Document {
        verified: text(tags::VERIFICATION_FLAG) == "VERIFIED",
        made: (text(tags::CONTENT_DATE), text(tags::CONTENT_TIME)),
        ..Document::default()
    };
    let mut tracked: Vec<String> = Vec::new();
    let mut stack = children(&root, Section::Others);
    let mut looked_at = 0;
    while let Some((item, around)) = stack.pop() {
        looked_at += 1;
        if looked_at > MAX_ITEMS {
            break;
        }
        // Context is about people and devices, modifiers are about the item above; neither was seen.
        if !matches!(
            item.text(tags::RELATIONSHIP_TYPE).as_deref(),
            Some("CONTAINS" | "HAS PROPERTIES" | "INFERRED FROM")
        ) {
            continue;
        }
        let name = read::code(&item, tags::CONCEPT_NAME_CODE_SEQUENCE).map(|(value, _)| value).unwrap_or_default();
        let within = match (around, section(&name)) {
            (Section::Passed, _) => Section::Passed,
            (around, None) => around,
            (_, Some(section)) => section,
        };
        if read::is_group(&item) {
            note_group(&item, &mut document, &mut tracked);
        }
        if let Some(line) = line(&item) {
            let lines = match within {
                Section::Impression => &mut document.impression,
                Section::Findings => &mut document.findings,
                Section::Others => &mut document.others,
                Section::Passed => continue,
            };
            if lines.len() < MAX_LINES && !lines.contains(&line) {
                lines.push(line);
            }
        }
        stack.extend(children(&item, within));
    }
    Some(document)
}

/// The items below an item, the first last, as a stack takes them.
fn children<'a>(item: &Attributes<'a>, within: Section) -> Vec<(Attributes<'a>, Section)> {
    let mut children: Vec<_> =
        item.items(tags::CONTENT_SEQUENCE).take(MAX_ITEMS).map(|child| (child, within)).collect();
    children.reverse();
    children
}

/// A finding with several regions is several groups with one tracking identifier: the first holds what was measured.
fn note_group(group: &Attributes<'_>, document: &mut Document, tracked: &mut Vec<String>) {
    let coded = document.coded.get_or_insert_default();
    let Some((tracking, finding)) = read::finding(group) else { return };
    if coded.len() >= MAX_LINES || (!tracking.is_empty() && tracked.contains(&tracking)) {
        return;
    }
    tracked.push(tracking);
    coded.push(finding);
}

/// What an item says, in a line; nothing where it says nothing that is taken over.
fn line(item: &Attributes<'_>) -> Option<String> {
    let meaning = |tag| item.item(tag)?.text(tags::CODE_MEANING);
    let name = meaning(tags::CONCEPT_NAME_CODE_SEQUENCE).unwrap_or_default();
    let said = match item.text(tags::VALUE_TYPE)?.as_str() {
        // The names of free texts say where they stand, which the section says already.
        "TEXT" => item.text(tags::TEXT_VALUE)?,
        "CODE" => format!("{name}: {}", meaning(tags::CONCEPT_CODE_SEQUENCE)?),
        "NUM" => {
            let measured = item.item(tags::MEASURED_VALUE_SEQUENCE)?;
            let unit =
                measured.item(tags::MEASUREMENT_UNITS_CODE_SEQUENCE).and_then(|unit| unit.text(tags::CODE_VALUE));
            let unit = unit.filter(|unit| unit != "1").unwrap_or_default();
            format!("{name}: {} {unit}", measured.text(tags::NUMERIC_VALUE)?)
        }
        _ => return None,
    };
    Some(present::shortened(&said, MAX_LINE)).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
    use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
    use prelim_proto::finding::{Laterality, Presence};
    use prelim_proto::vocabulary::FindingCode;

    use super::*;

    type Item = InMemDicomObject;

    fn put(mut item: Item, tag: Tag, vr: VR, value: &str) -> Item {
        item.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
        item
    }

    fn with(mut item: Item, tag: Tag, items: Vec<Item>) -> Item {
        item.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        item
    }

    fn code(value: &str, scheme: &str) -> Item {
        let item = put(Item::new_empty(), tags::CODE_VALUE, VR::SH, value);
        let item = put(item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
        put(item, tags::CODE_MEANING, VR::LO, value)
    }

    fn item(relationship: &str, kind: &str, name: &str, scheme: &str) -> Item {
        let item = put(Item::new_empty(), tags::RELATIONSHIP_TYPE, VR::CS, relationship);
        let item = put(item, tags::VALUE_TYPE, VR::CS, kind);
        with(item, tags::CONCEPT_NAME_CODE_SEQUENCE, vec![code(name, scheme)])
    }

    fn text(relationship: &str, name: &str, value: &str) -> Item {
        put(item(relationship, "TEXT", name, "DCM"), tags::TEXT_VALUE, VR::UT, value)
    }

    fn coded(relationship: &str, name: (&str, &str), value: (&str, &str)) -> Item {
        let item = item(relationship, "CODE", name.0, name.1);
        with(item, tags::CONCEPT_CODE_SEQUENCE, vec![code(value.0, value.1)])
    }

    fn container(name: &str, children: Vec<Item>) -> Item {
        with(item("CONTAINS", "CONTAINER", name, "DCM"), tags::CONTENT_SEQUENCE, children)
    }

    fn file(flag: &str, children: Vec<Item>) -> Vec<u8> {
        let root = put(Item::new_empty(), tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_SR_STORAGE);
        let root = put(root, tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
        let root = put(root, tags::VERIFICATION_FLAG, VR::CS, flag);
        let root = with(root, tags::CONTENT_SEQUENCE, children);
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let mut bytes = Vec::new();
        root.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn sections_are_told_apart_and_context_is_passed_over() {
        let document = parse(&file(
            "VERIFIED",
            vec![
                text("HAS OBS CONTEXT", "121008", "Reader^Rita"),
                text("CONTAINS", "121060", "Cough for a week."),
                container("121070", vec![text("CONTAINS", "121071", "Left effusion,\r\n12 mm.")]),
                container("121068", vec![text("CONTAINS", "121071", "Right effusion in May.")]),
                container(
                    "121072",
                    vec![text("CONTAINS", "121073", "Effusion."), text("CONTAINS", "121073", "Effusion.")],
                ),
            ],
        ))
        .unwrap();
        assert!(document.verified);
        assert_eq!(document.findings, ["Left effusion, 12 mm."]);
        assert_eq!(document.impression, ["Effusion."]);
        assert_eq!(document.others, ["Cough for a week."]);
        assert_eq!(document.coded, None, "it measures nothing");
    }

    #[test]
    fn groups_in_our_codes_are_findings_once() {
        let group = |tracking: &str, size: &str| {
            let measured = put(Item::new_empty(), tags::NUMERIC_VALUE, VR::DS, size);
            let measured = with(measured, tags::MEASUREMENT_UNITS_CODE_SEQUENCE, vec![code("cm", "UCUM")]);
            let number =
                with(item("CONTAINS", "NUM", "103339001", "SCT"), tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
            let side = coded("HAS CONCEPT MOD", ("272741003", "SCT"), ("7771000", "SCT"));
            let site = with(
                coded("HAS CONCEPT MOD", ("363698007", "SCT"), ("39607008", "SCT")),
                tags::CONTENT_SEQUENCE,
                vec![side],
            );
            let tracking = put(item("HAS OBS CONTEXT", "UIDREF", "112040", "DCM"), tags::UID, VR::UI, tracking);
            let finding = coded("CONTAINS", ("121071", "DCM"), ("427359005", "SCT"));
            container("125007", vec![tracking, finding, site, number])
        };
        let unknown = container("125007", vec![coded("CONTAINS", ("121071", "DCM"), ("1", "SCT"))]);
        let groups = vec![group("1.1", "1.25"), group("1.1", "9"), group("1.2", "-4"), unknown];
        let coded = parse(&file("UNVERIFIED", vec![container("126010", groups)])).unwrap().coded.unwrap();
        let nodule = |size_mm| PriorFinding {
            code: FindingCode::Nodule,
            presence: Presence::Present,
            laterality: Some(Laterality::Left),
            zone: None,
            severity: None,
            size_mm,
        };
        assert_eq!(coded, [nodule(Some(12.5)), nodule(None)]);
    }

    /// Promise: a report of any size and shape gives at most so many lines of at most so many characters.
    #[test]
    fn what_is_taken_over_is_bounded() {
        let many = (0..5_000).map(|n| text("CONTAINS", "121073", &format!("{n} {}", "x".repeat(3_000)))).collect();
        let document = parse(&file("VERIFIED", vec![container("121072", many)])).unwrap();
        assert_eq!(document.impression.len(), MAX_LINES);
        assert!(document.impression.iter().all(|line| line.chars().count() <= MAX_LINE));
        let mut deep = text("CONTAINS", "121073", "bottom");
        for _ in 0..25 {
            deep = container("121072", vec![deep]);
        }
        assert_eq!(parse(&file("VERIFIED", vec![deep])).unwrap().impression, ["bottom"]);
        for bytes in [&b""[..], b"no DICOM", &file("VERIFIED", Vec::new())] {
            assert_eq!(parse(bytes), None);
        }
        let whole = file("VERIFIED", vec![text("CONTAINS", "121073", "cut")]);
        for end in 0..whole.len() {
            let _ = parse(&whole[..end]);
        }
    }
}
