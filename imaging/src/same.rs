//! Whether two objects are one object in two encodings, as when an archive sends one compressed that it got plain.
//!
//! The transfer syntax, the order of bytes, defined and undefined lengths, the character set and padding may differ,
//! and what tells of compression alone. Private elements are not compared: what they hold cannot be read without a
//! dictionary of theirs, and archives add and drop them. Compressed pixels are not decoded: lossy compression makes
//! another object, with a UID of its own (PS3.3 section C.7.6.1.1.5), and says so in an attribute that is compared.

use std::borrow::Cow;
use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::dataset::{Attributes, Element, Value};
use crate::scan::Scanned;

/// What another encoding of the same object may say otherwise.
const OF_THE_ENCODING: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    // Tools write here how they compressed.
    tags::DERIVATION_DESCRIPTION,
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::DATA_SET_TRAILING_PADDING,
    // Archives say here where they are.
    tags::RETRIEVE_AE_TITLE,
    tags::INSTANCE_AVAILABILITY,
    tags::STORAGE_MEDIA_FILE_SET_UID,
];

/// The first attribute in which two objects are more than two encodings of one; nothing where they are one.
pub fn difference(one: &Scanned<'_>, other: &Scanned<'_>) -> Option<Tag> {
    let same_syntax = one.syntax().uid() == other.syntax().uid();
    between(&one.attributes(), &other.attributes(), same_syntax)
}

fn between(one: &Attributes<'_>, other: &Attributes<'_>, same_syntax: bool) -> Option<Tag> {
    let (left, right) = (compared(one), compared(other));
    let mut known: Vec<Tag> = left.keys().chain(right.keys()).copied().collect();
    known.sort_unstable();
    known.dedup();
    known.into_iter().find_map(|tag| match (left.get(&tag), right.get(&tag)) {
        (Some(left), Some(right)) => of_one(tag, (one, left), (other, right), same_syntax),
        (Some(only), None) => (!is_empty(one, only)).then_some(tag),
        (None, Some(only)) => (!is_empty(other, only)).then_some(tag),
        (None, None) => None,
    })
}

/// The elements that are compared, by tag; of two with one tag in a damaged object the first.
fn compared<'a>(attributes: &Attributes<'a>) -> BTreeMap<Tag, &'a Element> {
    let mut elements = BTreeMap::new();
    for element in attributes.elements() {
        let tag = element.tag;
        let is_private = tag.group() % 2 == 1 && tag != tags::DATA_SET_TRAILING_PADDING;
        if !is_private && tag.element() != 0 && !OF_THE_ENCODING.contains(&tag) {
            elements.entry(tag).or_insert(element);
        }
    }
    elements
}

fn is_empty(attributes: &Attributes<'_>, element: &Element) -> bool {
    match &element.value {
        Value::Bytes(_) => attributes.text_of(element).is_empty(),
        Value::Items(items) => items.is_empty(),
        Value::Fragments(_) => false,
    }
}

/// Where two elements of one tag differ: their tag, or one within.
fn of_one(
    tag: Tag,
    (one, left): (&Attributes<'_>, &Element),
    (other, right): (&Attributes<'_>, &Element),
    same_syntax: bool,
) -> Option<Tag> {
    let is_same = match (&left.value, &right.value) {
        (Value::Items(lefts), Value::Items(rights)) => {
            let mut pairs = one.items_of(left).zip(other.items_of(right));
            return if lefts.len() == rights.len() {
                pairs.find_map(|(one, other)| between(&one, &other, same_syntax))
            } else {
                Some(tag)
            };
        }
        (Value::Bytes(_), Value::Bytes(_)) => {
            if is_text(left.vr) && is_text(right.vr) {
                one.text_of(left) == other.text_of(right)
            } else {
                little(one, left) == little(other, right)
            }
        }
        // One coding of one image gives the same bytes; how they are cut is of no account. The first is their index.
        (Value::Fragments(lefts), Value::Fragments(rights)) if same_syntax => {
            let ours = lefts.iter().skip(1).flat_map(|range| one.range(range));
            ours.eq(rights.iter().skip(1).flat_map(|range| other.range(range)))
        }
        (Value::Fragments(_), _) | (_, Value::Fragments(_)) => !same_syntax,
        // An empty sequence may have been read as an empty value.
        _ => is_empty(one, left) && is_empty(other, right),
    };
    (!is_same).then_some(tag)
}

fn is_text(vr: VR) -> bool {
    width(vr).is_none() && vr != VR::UN
}

/// Bytes of a number of this representation; none where it is text.
fn width(vr: VR) -> Option<usize> {
    match vr {
        VR::OB => Some(1),
        VR::OW | VR::US | VR::SS | VR::AT => Some(2),
        VR::OF | VR::OL | VR::FL | VR::UL | VR::SL => Some(4),
        VR::OD | VR::OV | VR::FD | VR::UV | VR::SV => Some(8),
        _ => None,
    }
}

/// The value with its numbers' least significant bytes first.
fn little<'a>(attributes: &Attributes<'a>, element: &Element) -> Cow<'a, [u8]> {
    let value = attributes.value(element);
    match width(element.vr) {
        Some(width @ 2..) if element.big_endian => {
            let mut turned = value.to_vec();
            turned.chunks_exact_mut(width).for_each(<[u8]>::reverse);
            Cow::Owned(turned)
        }
        _ => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::scan::scan;

    /// An element in Explicit VR, numbers in the order asked for; or in Implicit VR Little Endian.
    fn element(to: &mut Vec<u8>, syntax: &str, (group, element): (u16, u16), vr: &str, value: &[u8]) {
        let is_big = syntax == crate::syntax::EXPLICIT_BIG;
        let short = |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        let long = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        to.extend(short(group));
        to.extend(short(element));
        let length = value.len();
        if syntax == crate::syntax::IMPLICIT_LITTLE {
            to.extend(long(length as u32));
        } else {
            to.extend(vr.bytes());
            match vr {
                "SQ" | "UN" | "OB" | "OW" => {
                    to.extend([0, 0]);
                    to.extend(long(length as u32));
                }
                _ => to.extend(short(length as u16)),
            }
        }
        to.extend(value);
    }

    /// An object of a name, a number, a sequence with a code, and what `more` are.
    fn object(syntax: &str, name: &[u8], rows: u16, code: &[u8], more: &[((u16, u16), &str, &[u8])]) -> Vec<u8> {
        let is_big = syntax == crate::syntax::EXPLICIT_BIG;
        let mut item = Vec::new();
        element(&mut item, syntax, (8, 0x100), "SH", code);
        let mut sequence = Vec::new();
        let short = |number: u16| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        let long = |number: u32| if is_big { number.to_be_bytes() } else { number.to_le_bytes() };
        sequence.extend([short(0xFFFE), short(0xE000)].concat());
        sequence.extend(long(item.len() as u32));
        sequence.extend(item);
        let rows = short(rows);
        let mut elements: Vec<((u16, u16), &str, &[u8])> =
            vec![((0x10, 0x10), "PN", name), ((0x28, 0x10), "US", &rows), ((0x8, 0x1032), "SQ", &sequence)];
        elements.extend(more);
        elements.sort_by_key(|(tag, ..)| *tag);
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        let mut uid = syntax.as_bytes().to_vec();
        if uid.len() % 2 == 1 {
            uid.push(0);
        }
        element(&mut bytes, crate::syntax::EXPLICIT_LITTLE, (2, 0x10), "UI", &uid);
        for (tag, vr, value) in elements {
            element(&mut bytes, syntax, tag, vr, value);
        }
        bytes
    }

    fn compare(one: &[u8], other: &[u8]) -> Option<Tag> {
        let scanned = |bytes| scan(bytes, &Limits::default()).unwrap();
        let found = difference(&scanned(one), &scanned(other));
        assert_eq!(found, difference(&scanned(other), &scanned(one)), "it depends on which is first");
        found
    }

    #[test]
    fn an_encoding_is_no_difference() {
        use crate::syntax::{EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE};
        let one = object(EXPLICIT_LITTLE, b"A^B ", 512, b"T1", &[]);
        for syntax in [IMPLICIT_LITTLE, EXPLICIT_BIG] {
            assert_eq!(compare(&one, &object(syntax, b"A^B ", 512, b"T1", &[])), None, "{syntax}");
        }
        // Latin-1 and UTF-8, private elements, an empty element, group lengths.
        let latin = object(EXPLICIT_LITTLE, b"M\xFC", 512, b"T1", &[((8, 5), "CS", b"ISO_IR 100")]);
        let utf8 = object(
            EXPLICIT_LITTLE,
            b"M\xC3\xBC ",
            512,
            b"T1",
            &[((8, 5), "CS", b"ISO_IR 192"), ((9, 0x10), "LO", b"US")],
        );
        assert_eq!(compare(&latin, &utf8), None);
        assert_eq!(compare(&one, &object(EXPLICIT_LITTLE, b"A^B ", 512, b"T1", &[((0x10, 0x40), "CS", b"")])), None);
    }

    #[test]
    fn what_an_object_says_is_one() {
        use crate::syntax::{EXPLICIT_BIG, EXPLICIT_LITTLE};
        let one = object(EXPLICIT_LITTLE, b"A^B ", 512, b"T1", &[]);
        assert_eq!(compare(&one, &object(EXPLICIT_BIG, b"A^C ", 512, b"T1", &[])), Some(tags::PATIENT_NAME));
        assert_eq!(compare(&one, &object(EXPLICIT_BIG, b"A^B ", 256, b"T1", &[])), Some(tags::ROWS));
        assert_eq!(compare(&one, &object(EXPLICIT_BIG, b"A^B ", 512, b"T2", &[])), Some(tags::CODE_VALUE));
        let lossy = object(EXPLICIT_LITTLE, b"A^B ", 512, b"T1", &[((0x28, 0x2110), "CS", b"01")]);
        assert_eq!(compare(&one, &lossy), Some(tags::LOSSY_IMAGE_COMPRESSION));
    }
}
