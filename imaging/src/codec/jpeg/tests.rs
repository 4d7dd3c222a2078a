//! What the headers and scans of a JPEG may say.

use super::*;

/// A segment: marker, length and payload.
fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff, marker, 0, payload.len() as u8 + 2];
    bytes.extend(payload);
    bytes
}

/// One table for every scan: sizes 0 to 3 as codes 00, 01, 10 and 110.
fn huffman() -> Vec<u8> {
    let mut payload = Vec::new();
    for class in [0x00, 0x10] {
        payload.push(class);
        payload.extend([0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend([0, 1, 2, 3]);
    }
    segment(0xc4, &payload)
}

fn quantisation() -> Vec<u8> {
    let mut payload = vec![0];
    payload.extend([8; BLOCK]);
    segment(0xdb, &payload)
}

const GREY: [u8; 9] = [8, 0, 8, 0, 16, 1, 1, 0x11, 0];
const GREY_SCAN: [u8; 6] = [1, 1, 0, 0, 63, 0];

fn codestream(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut data = vec![0xff, 0xd8];
    data.extend(parts.concat());
    data
}

/// Two blocks, the DC differences +3 and -1, and their ends: 10 11 00, 01 0 00.
const TWO_BLOCKS: [u8; 2] = [0b1011_0001, 0b0001_1111];

fn grey(sof: u8, frame: &[u8], extra: &[u8], scan: &[u8], coded: &[u8]) -> Vec<u8> {
    codestream(&[
        quantisation(),
        huffman(),
        segment(sof, frame),
        extra.to_vec(),
        segment(markers::SOS, scan),
        coded.to_vec(),
    ])
}

fn refusal(data: &[u8]) -> String {
    decode(data, &Limits::default()).unwrap_err().to_string()
}

#[test]
fn two_flat_blocks_are_decoded_with_and_without_an_end_marker() {
    let mut data = grey(0xc0, &GREY, &[], &GREY_SCAN, &TWO_BLOCKS);
    for _ in 0..2 {
        let frame = decode(&data, &Limits::default()).unwrap();
        assert_eq!((frame.width, frame.height, frame.bits), (16, 8, 8));
        assert_eq!(frame.colour, Colour::Grey);
        // A DC coefficient is eight times the mean: 3 and 2 above mid-grey.
        assert_eq!(frame.samples[..16], [[131; 8], [130; 8]].concat());
        data.extend([0xff, markers::EOI]);
    }
}

#[test]
fn restarts_reset_the_prediction_and_must_be_in_order() {
    let interval = segment(markers::DRI, &[0, 1]);
    let coded = |restart| [0b1011_0011, 0xff, restart, 0b1011_0011];
    let data = grey(0xc1, &GREY, &interval, &GREY_SCAN, &coded(0xd0));
    let frame = decode(&data, &Limits::default()).unwrap();
    assert_eq!(frame.samples, [131; 128]);
    let data = grey(0xc1, &GREY, &interval, &GREY_SCAN, &coded(0xd1));
    assert!(refusal(&data).contains("marker ffd1"));
}

#[test]
fn real_writers_leave_the_spectral_selection_of_sequential_scans_empty() {
    let data = grey(0xc1, &GREY, &[], &[1, 1, 0, 0, 0, 0], &TWO_BLOCKS);
    assert!(decode(&data, &Limits::default()).is_ok());
}

#[test]
fn a_progressive_frame_needs_its_end_and_its_scans_in_order() {
    let first = [1, 1, 0, 0, 0, 0x01];
    let mut data = grey(0xc2, &GREY, &[], &first, &[0b1011_0101]);
    assert!(refusal(&data).contains("ends inside the scans"));
    data.extend(segment(markers::SOS, &[1, 1, 0, 0, 0, 0x10]));
    data.extend([0b1011_1111, 0xff, markers::EOI]);
    let frame = decode(&data, &Limits::default()).unwrap();
    // 3 << 1 | 1 and 2 << 1 | 0.
    assert_eq!(frame.samples[..16], [[135; 8], [132; 8]].concat());
    let refinement = [1, 1, 0, 0, 0, 0x10];
    let data = grey(0xc2, &GREY, &[], &refinement, &[0xff, markers::EOI]);
    assert!(refusal(&data).contains("out-of-order"));
    let mixed = [1, 1, 0, 0, 5, 0x00];
    let data = grey(0xc2, &GREY, &[], &mixed, &[0xff, markers::EOI]);
    assert!(refusal(&data).contains("spectral selection"));
}

#[test]
fn what_is_not_decoded_is_refused_by_name() {
    let other = |sof| refusal(&grey(sof, &GREY, &[], &GREY_SCAN, &TWO_BLOCKS));
    assert!(other(0xc3).contains("lossless"));
    assert!(other(0xc5).contains("hierarchical"));
    assert!(other(0xc9).contains("arithmetic"));
    assert!(other(0xf7).contains("marker fff7"));
    let later = [8, 0, 0, 0, 16, 1, 1, 0x11, 0];
    let data = grey(0xc0, &later, &[], &GREY_SCAN, &TWO_BLOCKS);
    assert!(refusal(&data).contains("without its number of lines"));
    let fractional = [8, 0, 8, 0, 16, 3, 1, 0x31, 0, 2, 0x21, 0, 3, 0x11, 0];
    let data = grey(0xc0, &fractional, &[], &GREY_SCAN, &TWO_BLOCKS);
    assert!(refusal(&data).contains("fractional"));
}

#[test]
fn fields_out_of_range_are_named() {
    let frame = |frame: &[u8]| refusal(&grey(0xc0, frame, &[], &GREY_SCAN, &TWO_BLOCKS));
    assert!(frame(&[12, 0, 8, 0, 16, 1, 1, 0x11, 0]).contains("precision is 12"));
    assert!(frame(&[8, 0, 8, 0, 16, 1, 1, 0x51, 0]).contains("sampling factors"));
    assert!(frame(&[8, 0, 8, 0, 16, 4, 1, 0x11, 0]).contains("components is 4"));
    assert!(frame(&[8, 0, 8, 0, 16, 1, 1, 0x11, 3]).contains("missing JPEG quantisation"));
    let scan = |scan: &[u8]| refusal(&grey(0xc0, &GREY, &[], scan, &TWO_BLOCKS));
    assert!(scan(&[1, 1, 0x20, 0, 63, 0]).contains("missing JPEG DC table is 2"));
    assert!(scan(&[1, 1, 0x02, 0, 63, 0]).contains("missing JPEG AC table is 2"));
    assert!(scan(&[1, 7, 0, 0, 63, 0]).contains("scan component is 7"));
    assert!(scan(&[2, 1, 0, 1, 0, 0, 63, 0]).contains("components in a scan is 2"));
}

#[test]
fn missing_blocks_are_an_error() {
    let data = grey(0xc0, &GREY, &[], &GREY_SCAN, &[0b1011_0001]);
    assert!(refusal(&data).contains("ends inside the coded blocks"));
    let mut data = codestream(&[quantisation(), segment(0xc0, &GREY)]);
    data.extend([0xff, markers::EOI]);
    assert!(refusal(&data).contains("ends inside the scans"));
}

#[test]
fn a_large_claim_is_refused_before_anything_is_allocated() {
    let claim = |side: u8| {
        let frame = [8, side, 0xff, side, 0xff, 1, 1, 0x11, 0];
        refusal(&grey(0xc0, &frame, &[], &GREY_SCAN, &TWO_BLOCKS))
    };
    assert!(claim(0xff).contains("over the limit"));
    assert!(claim(0x10).contains("claimed by"));
}

#[test]
fn colours_are_told_by_markers_and_identifiers_only() {
    let told = |head: Vec<u8>, ids: [u8; 3]| {
        let mut frame = vec![8, 0, 8, 0, 8, 3];
        for id in ids {
            frame.extend([id, 0x11, 0]);
        }
        let scan = [3, ids[0], 0, ids[1], 0, ids[2], 0, 0, 63, 0];
        let mut data = codestream(&[head]);
        data.extend(&grey(0xc0, &frame, &[], &scan, &[0; 2])[2..]);
        decode(&data, &Limits::default()).unwrap().colour
    };
    let adobe = |flag: &[u8]| {
        let payload = [b"Adobe\0\x64\0\0\0\0", flag].concat();
        segment(markers::APP14, &payload)
    };
    assert_eq!(told(segment(0xe0, b"JFIF\0"), [1, 2, 3]), Colour::Ycbcr);
    assert_eq!(told(adobe(&[0]), [1, 2, 3]), Colour::Rgb);
    assert_eq!(told(adobe(&[1]), [1, 2, 3]), Colour::Ycbcr);
    assert_eq!(told(adobe(&[]), [1, 2, 3]), Colour::Unstated);
    assert_eq!(told(Vec::new(), *b"RGB"), Colour::Rgb);
    assert_eq!(told(Vec::new(), [1, 2, 3]), Colour::Unstated);
}
