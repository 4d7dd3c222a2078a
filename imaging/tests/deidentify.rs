//! Every sample is de-identified or refused; what comes out is whole, the same each time, and without what went in.

mod support;

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use prelim_imaging::Limits;
use prelim_imaging::dataset::{Attributes, Value};
use prelim_imaging::deidentify::{Key, Options, deidentify};
use prelim_imaging::scan::{PixelBytes, Scanned, scan};

/// Attributes whose values must be in no file that comes out, wherever they stand.
const IDENTIFIERS: &[Tag] = &[
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SOP_INSTANCE_UID,
    tags::FRAME_OF_REFERENCE_UID,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::INSTITUTION_NAME,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STATION_NAME,
    tags::STUDY_DESCRIPTION,
];

fn key(letter: u8) -> Key {
    Key::new(&[letter; 32]).unwrap()
}

/// The pixels as they lie in the file.
fn pixels(scanned: &Scanned<'_>) -> Vec<Vec<u8>> {
    let bytes = |range: &std::ops::Range<usize>| scanned.bytes()[range.clone()].to_vec();
    match scanned.pixel_bytes() {
        Some(PixelBytes::Native(range)) => vec![bytes(range)],
        Some(PixelBytes::Fragments(fragments)) => fragments.iter().map(bytes).collect(),
        None => Vec::new(),
    }
}

/// Private elements at any depth.
fn private(attributes: &Attributes<'_>) -> usize {
    let of = |element| attributes.items_of(element).map(|item| private(&item)).sum::<usize>();
    attributes.elements().iter().map(|element| usize::from(element.tag.group() % 2 == 1) + of(element)).sum()
}

#[test]
fn every_sample_comes_out_whole_and_without_its_identifiers_or_is_refused() {
    let limits = Limits::default();
    let (mut outcomes, mut wrong) = (BTreeMap::<String, u32>::new(), Vec::new());
    for sample in support::samples() {
        let bytes = sample.read();
        let done = match deidentify(&bytes, &key(b'a'), &Options::default(), &limits) {
            Ok(done) => done,
            Err(error) => {
                let kind = format!("{error:?}");
                *outcomes.entry(kind.split(['(', ' ']).next().unwrap().to_owned()).or_default() += 1;
                continue;
            }
        };
        *outcomes.entry("done".to_owned()).or_default() += 1;
        let (before, after) = (scan(&bytes, &limits).unwrap(), scan(&done.bytes, &limits).unwrap());
        let mut need = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{}: {what}", sample.name));
            }
        };
        let again = deidentify(&bytes, &key(b'a'), &Options::default(), &limits).unwrap();
        let other = deidentify(&bytes, &key(b'b'), &Options::default(), &limits).unwrap();
        need(again == done, "another file with the same key");
        need(other.bytes != done.bytes, "the same file with another key");
        need(before.syntax() == after.syntax(), "another transfer syntax");
        // A value of odd length is padded.
        let padded = |mut pixels: Vec<Vec<u8>>| {
            pixels.iter_mut().filter(|bytes| bytes.len() % 2 == 1).for_each(|bytes| bytes.push(0));
            pixels
        };
        need(padded(pixels(&before)) == padded(pixels(&after)), "other pixels");
        need(private(&after.attributes()) == 0, "private elements");
        for tag in IDENTIFIERS {
            let Some(value) = before.attributes().bytes(*tag) else { continue };
            let value = value.trim_ascii();
            // Taken out before, or the name of the manufacturer, too.
            let manufacturer = before.attributes().bytes(tags::MANUFACTURER).unwrap_or_default().trim_ascii();
            if value == b"REMOVED" || manufacturer.windows(value.len().max(1)).any(|window| window == value) {
                continue;
            }
            let is_there = value.len() > 5 && after.bytes().windows(value.len()).any(|window| window == value);
            need(!is_there, &format!("{tag} came out"));
        }
        let twice = deidentify(&done.bytes, &key(b'a'), &Options::default(), &limits);
        need(twice.is_ok_and(|twice| twice.shows == done.shows || !done.shows.is_empty()), "not taken again");
        need(!matches!(after.dataset().get(tags::PIXEL_DATA).map(|p| &p.value), Some(Value::Items(_))), "pixels lost");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(outcomes["done"] >= 50, "{outcomes:?}");
    support::report("outcomes", &outcomes.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>());
}

#[test]
fn changed_objects_end_as_objects_or_as_errors() {
    let limits = Limits::default();
    let samples: Vec<Vec<u8>> =
        support::samples().iter().map(support::Sample::read).filter(|b| (200..100_000).contains(&b.len())).collect();
    let mut state = 0x5EED_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut taken = 0;
    for mutant in 0..1_500 {
        let mut bytes = samples[mutant % samples.len()].clone();
        for _ in 0..=random(6) {
            let at = random(bytes.len().min(4_096));
            bytes[at] = random(256) as u8;
        }
        if let Ok(done) = deidentify(&bytes, &key(b'a'), &Options::default(), &limits) {
            taken += 1;
            let after = scan(&done.bytes, &limits).unwrap_or_else(|error| panic!("mutant {mutant}: {error}"));
            assert_eq!(private(&after.attributes()), 0, "mutant {mutant}");
        }
    }
    assert!(taken > 100, "only {taken} of the mutants were taken");
}
