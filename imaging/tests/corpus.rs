//! Every sample image against what other decoders read from it (`pixels.tsv`, written by `pixels.py`).

mod support;

use prelim_imaging::decode::{DecodeError, decode_frame};
use prelim_imaging::frame::{Frame, Pixels};
use prelim_imaging::header::digest;
use prelim_imaging::scan::scan;
use prelim_imaging::{Limits, header};
use support::{Expected, Sample};

/// How far the values of a frame may be from those of the other decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tolerance {
    /// Each value the same.
    Exact,
    /// Lossy: the same up to rounding. The sums may differ by this much a sample, and the ends by this much.
    Rounding { mean: f64, ends: i64 },
}

/// Lossless frames are exact. Decoders of lossy ones may round differently: the standards leave them that.
fn tolerance(expected: &Expected) -> Tolerance {
    let is_lossy = matches!(
        expected.syntax.as_str(),
        "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" | "1.2.840.10008.1.2.4.53" | "1.2.840.10008.1.2.4.55"
    );
    match (is_lossy, expected.is_colour) {
        (false, false) => Tolerance::Exact,
        (true, false) => Tolerance::Rounding { mean: 0.01, ends: 2 },
        // The conversion from luma and chroma rounds as well, and chroma is interpolated in more ways than one.
        (_, true) => Tolerance::Rounding { mean: 0.5, ends: 2 },
    }
}

#[test]
fn every_frame_decodes_to_the_values_of_other_decoders() {
    let expected = support::expected();
    let mut exact = std::collections::BTreeMap::<String, (u32, u32)>::new();
    let mut wrong = Vec::new();
    for sample in support::samples() {
        let bytes = sample.read();
        let Ok(scanned) = scan(&bytes, &Limits::default()) else { continue };
        for expected in expected.iter().filter(|expected| expected.file == sample.name) {
            let decoded = decode_frame(&scanned, expected.frame, &Limits::default());
            let counts = exact.entry(expected.syntax.clone()).or_default();
            counts.1 += 1;
            match decoded.map_err(|error| error.to_string()).and_then(|frame| compare(&frame, expected)) {
                Ok(is_exact) => counts.0 += u32::from(is_exact),
                Err(difference) => wrong.push(format!("{} frame {}: {difference}", sample.name, expected.frame)),
            }
        }
    }
    let table: Vec<String> = exact.iter().map(|(syntax, (same, all))| format!("{syntax}: {same} of {all}")).collect();
    assert!(wrong.is_empty(), "{}\nexact:\n{}", wrong.join("\n"), table.join("\n"));
    support::report("frames equal to the last bit, by transfer syntax", &table);
}

/// Whether the frame is equal to the last bit; what differs, where it differs by more than may be.
fn compare(frame: &Frame, expected: &Expected) -> Result<bool, String> {
    let (values, is_colour): (Vec<i32>, bool) = match &frame.pixels {
        Pixels::Grey(values) => (values.clone(), false),
        Pixels::Rgb(rgb) => (rgb.iter().map(|&value| i32::from(value)).collect(), true),
    };
    let shape = (frame.rows, frame.columns, is_colour);
    if shape != (expected.rows, expected.columns, expected.is_colour) {
        return Err(format!("shape {shape:?}"));
    }
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    if digest(&bytes).as_str() == expected.sha256 {
        return Ok(true);
    }
    let sum: i64 = values.iter().map(|&value| i64::from(value)).sum();
    let ends = values.iter().min().zip(values.iter().max()).map(|(low, high)| (i64::from(*low), i64::from(*high)));
    let (low, high) = ends.unwrap_or_default();
    let found = format!(
        "{low}..{high} sum {sum}, expected {}..{} sum {} ({})",
        expected.low, expected.high, expected.sum, expected.decoder
    );
    let mean = (sum - expected.sum).abs() as f64 / values.len() as f64;
    match tolerance(expected) {
        Tolerance::Rounding { mean: most, ends }
            if mean <= most && (low - expected.low).abs() <= ends && (high - expected.high).abs() <= ends =>
        {
            Ok(false)
        }
        _ => Err(found),
    }
}

#[test]
fn each_damaged_sample_ends_as_a_named_error_or_as_right_pixels() {
    let expected = support::expected();
    let mut outcomes = Vec::new();
    for sample in support::samples().iter().filter(|sample| sample.name.starts_with("malformed/")) {
        outcomes.push(format!("{}\t{}", sample.name, outcome(sample, &expected)));
    }
    support::compare_golden("malformed.tsv", &outcomes);
}

/// What comes of an object: what is wrong with it, or what its first frame is.
fn outcome(sample: &Sample, expected: &[Expected]) -> String {
    let bytes = sample.read();
    let scanned = match scan(&bytes, &Limits::default()) {
        Ok(scanned) => scanned,
        Err(error) => return format!("refused: {error}"),
    };
    let header = match header::header_of(&scanned, &bytes, None) {
        Ok(header) => header.series.modality,
        Err(error) => format!("refused: {error}"),
    };
    let frame = match decode_frame(&scanned, 1, &Limits::default()) {
        Err(DecodeError::NoPixelData) => "no pixel data".to_owned(),
        Err(error) => format!("not decoded: {error}"),
        Ok(frame) => match expected.iter().find(|expected| expected.file == sample.name && expected.frame == 1) {
            Some(expected) if compare(&frame, expected).is_ok() => "right pixels".to_owned(),
            Some(expected) => format!("{:?}", compare(&frame, expected)),
            None => "pixels that no other decoder reads".to_owned(),
        },
    };
    format!("{header}; {frame}")
}
