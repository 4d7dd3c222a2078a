//! The decoder process: same frames as in this process, and whatever befalls it, the next frame is decoded.

mod support;

use std::time::Duration;

use prelim_imaging::Limits;
use prelim_imaging::decode::{DecodeError, decode_frame};
use prelim_imaging::frame::Pixels;
use prelim_imaging::sandbox::{Decoder, DecoderCommand, SandboxError};
use prelim_imaging::scan::scan;

fn decoder() -> Decoder {
    let command = DecoderCommand {
        program: env!("CARGO_BIN_EXE_prelim-decoder").into(),
        arguments: Vec::new(),
        environment: Vec::new(),
    };
    Decoder::new(command, Limits::default(), Decoder::DEADLINE)
}

/// A "decoder" that is a shell script.
fn script(script: &str, deadline: Duration) -> Decoder {
    let command = DecoderCommand {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: Vec::new(),
    };
    Decoder::new(command, Limits::default(), deadline)
}

#[test]
fn one_process_decodes_every_sample_as_this_process_does() {
    let mut decoder = decoder();
    let mut process = None;
    for sample in support::samples() {
        let bytes = sample.read();
        let Ok(scanned) = scan(&bytes, &Limits::default()) else { continue };
        let here = decode_frame(&scanned, 1, &Limits::default());
        let there = decoder.decode(&scanned, 1);
        match (here, there) {
            (Ok(here), Ok(there)) => assert!(here == there, "{}: another frame", sample.name),
            (Err(here), Err(there)) => {
                assert_eq!(here.to_string(), there.to_string(), "{}", sample.name);
                assert_eq!(here.unread_reason(), there.unread_reason(), "{}", sample.name);
            }
            (here, there) => panic!("{}: {:?} here, {:?} there", sample.name, here.err(), there.err()),
        }
        assert!(process.is_none() || process == decoder.process_id(), "{} ended the process", sample.name);
        process = decoder.process_id();
    }
}

#[test]
fn a_killed_process_is_replaced() {
    let bytes = support::sample("transfer_syntaxes/pd_MR_small_RLE.dcm").read();
    let scanned = scan(&bytes, &Limits::default()).unwrap();
    let mut decoder = decoder();
    decoder.decode(&scanned, 1).unwrap();
    let first = decoder.process_id().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    // The signal needs a moment to arrive; a frame asked for in between may see the death, the next does not.
    let frames: Vec<_> = (0..2).map(|_| decoder.decode(&scanned, 1)).collect();
    assert!(frames[1].is_ok(), "{:?}", frames[1]);
    assert_ne!(decoder.process_id(), Some(first));
}

#[test]
fn a_codestream_that_needs_too_much_memory_ends_the_process_and_not_its_parent() {
    let bytes = jpeg2000_of(20_000);
    let scanned = scan(&bytes, &Limits::default()).unwrap();
    // Limits that let it through to the decoder, which then asks for 1.6 GB.
    let limits = Limits { max_frame_samples: 1 << 30, ..Limits::default() };
    let command = DecoderCommand {
        program: env!("CARGO_BIN_EXE_prelim-decoder").into(),
        arguments: Vec::new(),
        environment: Vec::new(),
    };
    let mut decoder = Decoder::new(command, limits, Decoder::DEADLINE);
    let error = decoder.decode(&scanned, 1).unwrap_err();
    let is_contained = matches!(error, DecodeError::Sandbox(SandboxError::Died(_)) | DecodeError::Refused { .. });
    assert!(is_contained, "{error}");
    let good = support::sample("transfer_syntaxes/pd_MR_small_RLE.dcm").read();
    decoder.decode(&scan(&good, &Limits::default()).unwrap(), 1).unwrap();
}

/// An object whose JPEG 2000 codestream is a header that claims `side` × `side` pixels of 16 bits, and some noise.
fn jpeg2000_of(side: u32) -> Vec<u8> {
    let mut siz = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    for value in [side, side, 0, 0, side, side, 0, 0] {
        siz.extend(value.to_be_bytes());
    }
    siz.extend([0, 1, 15, 1, 1]);
    // COD: five levels, 64 × 64 code blocks, reversible; QCD: no quantisation; one tile of noise.
    siz.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, 1]);
    siz.extend([0xFF, 0x5C, 0, 19, 0x40]);
    siz.extend([0x88; 16]);
    siz.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF, 0x93]);
    siz.extend((0..200u8).map(|noise| noise.wrapping_mul(37) & 0x7F));
    siz.extend([0xFF, 0xD9]);
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    let mut element = |group: u16, number: u16, vr: &[u8; 2], value: &[u8]| {
        bytes.extend(group.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(vr);
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value);
    };
    element(2, 0x10, b"UI", b"1.2.840.10008.1.2.4.90");
    element(0x28, 2, b"US", &[1, 0]);
    element(0x28, 4, b"CS", b"MONOCHROME2 ");
    element(0x28, 0x10, b"US", &(side as u16).to_le_bytes());
    element(0x28, 0x11, b"US", &(side as u16).to_le_bytes());
    element(0x28, 0x100, b"US", &[16, 0]);
    element(0x28, 0x101, b"US", &[16, 0]);
    bytes.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0");
    bytes.extend((siz.len() as u32).to_le_bytes());
    bytes.extend(siz);
    bytes.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    bytes
}

#[test]
fn a_process_that_fails_its_parent_is_named() {
    let bytes = support::sample("transfer_syntaxes/pd_MR_small_RLE.dcm").read();
    let scanned = scan(&bytes, &Limits::default()).unwrap();
    let error = |mut decoder: Decoder| decoder.decode(&scanned, 1).unwrap_err();
    assert_eq!(
        error(script("exec sleep 30", Duration::from_millis(200))),
        DecodeError::Sandbox(SandboxError::DeadlinePassed(200))
    );
    let died = error(script("kill -9 $$", Decoder::DEADLINE));
    assert_eq!(died.to_string(), "decoder process ended with signal 9 on this frame");
    let missing = DecoderCommand { program: "/nowhere/decoder".into(), arguments: Vec::new(), environment: Vec::new() };
    let missing = error(Decoder::new(missing, Limits::default(), Decoder::DEADLINE));
    assert!(missing.to_string().starts_with("decoder process not started: /nowhere/decoder"), "{missing}");
}

#[test]
fn native_pixels_need_no_process() {
    let bytes = support::sample("transfer_syntaxes/pd_CT_small.dcm").read();
    let mut decoder = script("exit 1", Decoder::DEADLINE);
    let frame = decoder.decode(&scan(&bytes, &Limits::default()).unwrap(), 1).unwrap();
    assert!(matches!(frame.pixels, Pixels::Grey(values) if values.len() == 128 * 128));
    assert_eq!(decoder.process_id(), None);
}
