//! The decoders of `prelim_imaging::codec` against decoders that are not ours.
//!
//! `data/codec_goldens.tsv` states what CharLS, libjpeg-turbo and DCMTK make of small codestreams of many kinds and of
//! real objects; `data/codec_goldens.py` writes it. Objects that only the collection beside the repository has are
//! checked where it is there.

use std::fs;
use std::path::{Path, PathBuf};

use prelim_imaging::codec::peek::Kind;
use prelim_imaging::codec::{CodecError, CodecFrame, Limits, jpeg, jpegls, peek_dimensions, rle};
use prelim_imaging::scan::{PixelBytes, scan};
use sha2::{Digest, Sha256};

/// One row of the table.
struct Golden<'a> {
    file: &'a str,
    codec: &'a str,
    width: u32,
    height: u32,
    components: u8,
    bits: u8,
    sha256: &'a str,
}

impl<'a> Golden<'a> {
    fn parse(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[file, codec, width, height, components, bits, sha256] = &fields[..] else { panic!("{line}") };
        Self {
            file,
            codec,
            width: width.parse().unwrap(),
            height: height.parse().unwrap(),
            components: components.parse().unwrap(),
            bits: bits.parse().unwrap(),
            sha256,
        }
    }

    /// Where the file is; nothing for an object of a collection that is not here.
    fn path(&self) -> Option<PathBuf> {
        let imaging = Path::new(env!("CARGO_MANIFEST_DIR"));
        let roots = match self.file.starts_with("dicom/") {
            true => vec![imaging.join("../tests/data"), imaging.join("../../shared/data")],
            false => vec![imaging.join("tests/data")],
        };
        roots.iter().map(|root| root.join(self.file)).find(|path| path.is_file())
    }

    fn decode(&self, codestream: &[u8]) -> Result<CodecFrame, CodecError> {
        let limits = Limits::default();
        match self.codec {
            "jpegls" => jpegls::decode(codestream, &limits),
            "jpeg" => jpeg::decode(codestream, &limits),
            "rle" => {
                let shape = rle::Shape {
                    width: self.width,
                    height: self.height,
                    samples_per_pixel: self.components,
                    bits_allocated: self.bits,
                };
                rle::decode(codestream, &shape, &limits)
            }
            other => panic!("{other}"),
        }
    }
}

/// The codestream of the first frame: the file itself, or the fragments of an object.
fn codestream(path: &Path, frames_have_one_fragment: bool) -> Vec<u8> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "dcm") {
        return bytes;
    }
    let object = scan(&bytes, &prelim_imaging::Limits::default()).unwrap();
    let Some(PixelBytes::Fragments(fragments)) = object.pixel_bytes() else { panic!("{}", path.display()) };
    let frame = if frames_have_one_fragment { &fragments[1..2] } else { &fragments[1..] };
    frame.iter().flat_map(|range| &object.bytes()[range.clone()]).copied().collect()
}

fn digest(samples: &[u16]) -> String {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn goldens() -> Vec<Golden<'static>> {
    include_str!("data/codec_goldens.tsv").lines().skip(1).map(Golden::parse).collect()
}

/// Promise: JPEG-LS, DCT JPEG and RLE come out exactly as from the tools that radiology uses.
#[test]
fn every_sample_equals_the_reference() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for golden in goldens() {
        let Some(path) = golden.path() else { continue };
        let decoded = golden.decode(&codestream(&path, golden.codec == "rle"));
        let frame = decoded.unwrap_or_else(|error| panic!("{}: {error}", golden.file));
        let form = (frame.width, frame.height, frame.components, frame.bits);
        assert_eq!(form, (golden.width, golden.height, golden.components, golden.bits), "{}", golden.file);
        checked += 1;
        if digest(&frame.samples) != golden.sha256 {
            wrong.push(golden.file);
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ: {wrong:?}", wrong.len());
    assert!(checked >= 55, "the committed files are here");
}

/// Promise: a caller can compare a codestream's own size with the data set's before decoding.
#[test]
fn the_size_is_known_without_decoding() {
    for golden in goldens().iter().filter(|golden| golden.codec != "rle") {
        let Some(path) = golden.path() else { continue };
        let found = peek_dimensions(&codestream(&path, false)).unwrap();
        assert_eq!((found.width, found.height), (golden.width, golden.height), "{}", golden.file);
        assert_eq!((found.components, found.bits), (Some(golden.components.into()), Some(golden.bits)));
        assert_eq!(found.kind == Kind::JpegLs, golden.codec == "jpegls", "{}", golden.file);
    }
}

/// Promise: limits are kept; a frame of one pixel more than is allowed is refused by name.
#[test]
fn a_frame_over_the_limit_is_refused() {
    for golden in goldens().iter().filter(|golden| golden.file.starts_with("codec/")) {
        let data = codestream(&golden.path().unwrap(), false);
        let pixels = u64::from(golden.width) * u64::from(golden.height);
        let refuse = |limits: Limits| {
            let decoded =
                if golden.codec == "jpeg" { jpeg::decode(&data, &limits) } else { jpegls::decode(&data, &limits) };
            assert!(matches!(decoded, Err(CodecError::OverLimit { .. })), "{}", golden.file);
        };
        refuse(Limits { max_pixels: pixels - 1, ..Limits::default() });
        refuse(Limits { max_bytes: pixels, ..Limits::default() });
    }
}
