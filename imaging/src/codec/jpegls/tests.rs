//! What the headers of a JPEG-LS codestream may say.

use super::*;

/// A 4 x 2 codestream of eight bits without coded data, with `extra` segments before the scan.
fn codestream(frame: &[u8], extra: &[u8], scan: &[u8]) -> Vec<u8> {
    let mut data = vec![0xff, 0xd8, 0xff, SOF55, 0, frame.len() as u8 + 2];
    data.extend(frame);
    data.extend(extra);
    data.extend([0xff, 0xda, 0, scan.len() as u8 + 2]);
    data.extend(scan);
    data
}

const GREY: [u8; 9] = [8, 0, 2, 0, 4, 1, 1, 0x11, 0];
const GREY_SCAN: [u8; 6] = [1, 1, 0, 0, 0, 0];

fn refusal(frame: &[u8], extra: &[u8], scan: &[u8]) -> String {
    let data = codestream(frame, extra, scan);
    decode(&data, &Limits::default()).unwrap_err().to_string()
}

/// Two lines that run to their end, coded by hand: black. The first line takes a run of 1 and
/// then of 2 and 1 and reaches the end, each a one bit; so does the second.
#[test]
fn a_black_picture_is_a_few_bits() {
    let mut data = codestream(&GREY, &[], &GREY_SCAN);
    data.extend([0b1111_1110, 0xff, 0xd9]);
    let frame = decode(&data, &Limits::default()).unwrap();
    assert_eq!((frame.width, frame.height, frame.bits), (4, 2, 8));
    assert_eq!(frame.samples, [0; 8]);
    assert_eq!(frame.colour, Colour::Grey);
}

#[test]
fn what_is_not_decoded_is_refused_by_name() {
    let table = [0xff, 0xf8, 0, 5, 2, 1, 1];
    assert!(refusal(&GREY, &table, &GREY_SCAN).contains("mapping table"));
    let oversize = [0xff, 0xf8, 0, 5, 4, 1, 1];
    assert!(refusal(&GREY, &oversize, &GREY_SCAN).contains("oversize"));
    let transform = [0xff, 0xe8, 0, 7, b'm', b'r', b'f', b'x', 1];
    assert!(refusal(&GREY, &transform, &GREY_SCAN).contains("HP colour transform"));
    let shifted = [1, 1, 0, 0, 0, 2];
    assert!(refusal(&GREY, &[], &shifted).contains("point transform"));
    let subsampled = [8, 0, 2, 0, 4, 2, 1, 0x11, 0, 2, 0x22, 0];
    assert!(refusal(&subsampled, &[], &GREY_SCAN).contains("subsampled"));
    let later = [8, 0, 0, 0, 4, 1, 1, 0x11, 0];
    assert!(refusal(&later, &[], &GREY_SCAN).contains("without its number of lines"));
}

#[test]
fn fields_out_of_range_are_named() {
    assert!(refusal(&[17, 0, 2, 0, 4, 1, 1, 0x11, 0], &[], &GREY_SCAN).contains("precision is 17"));
    assert!(refusal(&[8, 0, 2, 0, 0, 1, 1, 0x11, 0], &[], &GREY_SCAN).contains("width"));
    assert!(refusal(&[8, 0, 2, 0, 4, 5, 1, 0x11, 0], &[], &GREY_SCAN).contains("components is 5"));
    assert!(refusal(&GREY, &[], &[1, 9, 0, 0, 0, 0]).contains("scan component is 9"));
    assert!(refusal(&GREY, &[], &[1, 1, 0, 128, 0, 0]).contains("NEAR is 128"));
    assert!(refusal(&GREY, &[], &[1, 1, 0, 0, 3, 0]).contains("interleave mode is 3"));
    let preset = [0xff, 0xf8, 0, 13, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(refusal(&GREY, &preset, &GREY_SCAN).contains("MAXVAL is 256"));
}

#[test]
fn a_scan_that_ends_early_is_an_error() {
    assert!(refusal(&GREY, &[], &GREY_SCAN).contains("ends inside the coded samples"));
}

#[test]
fn a_large_claim_is_refused_before_anything_is_allocated() {
    let wide = [8, 0xff, 0xff, 0xff, 0xff, 1, 1, 0x11, 0];
    assert!(refusal(&wide, &[], &GREY_SCAN).contains("over the limit"));
    let tall = [8, 0xff, 0xff, 0, 1, 1, 1, 0x11, 0];
    assert!(refusal(&tall, &[], &GREY_SCAN).contains("claimed by"));
}
