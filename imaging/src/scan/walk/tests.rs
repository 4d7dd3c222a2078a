//! Data sets as they come, well formed and not.

use super::*;

const ROWS: [u8; 10] = *b"\x28\0\x10\0US\x02\0\x40\0";
const ROWS_IMPLICIT: [u8; 10] = *b"\x28\0\x10\0\x02\0\0\0\x40\0";
const ITEM_HEADER: [u8; 8] = *b"\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF";
const ITEM_DELIMITER: [u8; 8] = *b"\xFE\xFF\x0D\xE0\0\0\0\0";
const SEQUENCE_DELIMITER: [u8; 8] = *b"\xFE\xFF\xDD\xE0\0\0\0\0";
/// Referenced Image Sequence of undefined length.
const SEQUENCE: [u8; 12] = *b"\x08\0\x40\x11SQ\0\0\xFF\xFF\xFF\xFF";

fn walk_explicit(bytes: &[u8]) -> Result<Dataset, ScanError> {
    walk(bytes, 0, Encoding::EXPLICIT, &Limits::default())
}

/// Tags of a data set, with those of items in brackets.
fn shape(dataset: &Dataset) -> String {
    let element = |element: &Element| match &element.value {
        Value::Bytes(range) => format!("{}:{}", element.tag, range.len()),
        Value::Items(items) => format!("{}[{}]", element.tag, items.iter().map(shape).collect::<Vec<_>>().join("|")),
        Value::Fragments(fragments) => format!("{}<{}>", element.tag, fragments.len()),
    };
    dataset.elements.iter().map(element).collect::<Vec<_>>().join(" ")
}

fn check(parts: &[&[u8]], expected: &str) {
    let bytes = parts.concat();
    match walk_explicit(&bytes) {
        Ok(dataset) => assert_eq!(shape(&dataset), expected),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[test]
fn sequences_are_entered_however_their_ends_are_marked() {
    let nested = "(0008,1140)[(0028,0010):2] (0028,0010):2";
    check(&[&SEQUENCE, &ITEM_HEADER, &ROWS, &ITEM_DELIMITER, &SEQUENCE_DELIMITER, &ROWS], nested);
    check(&[b"\x08\0\x40\x11SQ\0\0\x12\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0", &ROWS, &ROWS], nested);
    // An item that is not ended, and one that is ended twice.
    check(&[&SEQUENCE, &ITEM_HEADER, &ROWS, &SEQUENCE_DELIMITER, &ROWS], nested);
    check(&[&SEQUENCE, b"\xFE\xFF\0\xE0\x12\0\0\0", &ROWS, &ITEM_DELIMITER, &SEQUENCE_DELIMITER, &ROWS], nested);
    check(&[&SEQUENCE, &SEQUENCE_DELIMITER], "(0008,1140)[]");
}

#[test]
fn an_unknown_sequence_is_in_implicit_vr_unless_it_is_not() {
    let nested = "(0008,1140)[(0028,0010):2]";
    let unknown = b"\x08\0\x40\x11UN\0\0\x12\0\0\0\xFE\xFF\0\xE0\x0A\0\0\0";
    check(&[unknown, &ROWS_IMPLICIT], nested);
    check(&[unknown, &ROWS], nested);
    let private = b"\x09\0\x01\x10UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\x0A\0\0\0";
    check(&[private, &ROWS_IMPLICIT, &SEQUENCE_DELIMITER], "(0009,1001)[(0028,0010):2]");
}

#[test]
fn fragments_are_counted_with_and_without_a_delimiter() {
    let pixels = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0\x02\0\0\0ab";
    check(&[pixels, &SEQUENCE_DELIMITER], "(7FE0,0010)<2>");
    check(&[pixels], "(7FE0,0010)<2>");
    check(&[&pixels[..pixels.len() - 1]], "element (FFFE,E000) at byte 20 claims 2 bytes but 1 are left");
}

#[test]
fn padding_after_the_last_element_is_taken() {
    check(&[&ROWS, &[0; 100]], "(0028,0010):2");
    check(&[&ROWS, &[0; 3]], "(0028,0010):2");
    check(&[&ROWS, &[1; 3]], "truncated at byte 13, inside an element header");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    check(&[&ROWS[..9]], "element (0028,0010) at byte 0 claims 2 bytes but 1 are left");
    check(&[&SEQUENCE, &ITEM_HEADER, &ROWS], "truncated at byte 30, inside an element header");
    check(&[&SEQUENCE, &ROWS], "(0028,0010) at byte 12 where an item of (0008,1140) should be");
    check(&[&ITEM_DELIMITER], "stray delimiter (FFFE,E00D) at byte 0");
    check(&[b"\x08\0\x18\0UI\xFF\xFF"], "element (0008,0018) at byte 0 claims 65535 bytes but 0 are left");
    check(
        &[b"\x08\0\x18\0UT\0\0\xFF\xFF\xFF\xFF"],
        "element (0008,0018) at byte 0 has an undefined length, which its value representation does not allow",
    );
    // An item that claims more than the sequence around it has.
    check(
        &[b"\x08\0\x40\x11SQ\0\0\x12\0\0\0\xFE\xFF\0\xE0\x0B\0\0\0", &ROWS, &ROWS],
        "element (FFFE,E000) at byte 12 claims 11 bytes but 10 are left",
    );
}

#[test]
fn nesting_and_numbers_have_limits() {
    let nested = |depth: usize| [SEQUENCE.as_slice(), &ITEM_HEADER].concat().repeat(depth);
    let limits = Limits::default();
    let deep = walk_explicit(&nested(limits.max_depth + 1)).unwrap_err();
    assert_eq!(deep, ScanError::TooDeep { limit: 64, offset: 64 * 20 + 12 });
    assert!(matches!(walk_explicit(&nested(limits.max_depth)), Err(ScanError::Truncated { .. })));
    let few = Limits { max_elements: 3, ..limits };
    let many = walk(&ROWS.repeat(4), 0, Encoding::EXPLICIT, &few).unwrap_err();
    assert_eq!(many, ScanError::TooMany { limit: 3 });
    assert_eq!(walk(&ROWS.repeat(3), 0, Encoding::EXPLICIT, &few).map(|found| found.elements.len()), Ok(3));
}

#[test]
fn big_endian_and_mixed_encodings_are_walked() {
    let big = b"\0\x28\0\x10US\0\x02\0\x40";
    let found = walk(big, 0, Encoding::BIG, &Limits::default()).unwrap();
    assert_eq!(shape(&found), "(0028,0010):2");
    assert!(found.elements[0].big_endian);
    // One element in implicit VR among explicit ones.
    check(&[&ROWS_IMPLICIT, &ROWS], "(0028,0010):2 (0028,0010):2");
}
