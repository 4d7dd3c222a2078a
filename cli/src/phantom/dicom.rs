//! Phantoms as DICOM objects.

mod ct;
mod dx;

use std::path::Path;

use dicom_core::smallvec::SmallVec;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

pub(super) use self::ct::write_volume;
pub(super) use self::dx::write_film;
use super::uid;
use super::{Modality, PhantomError};
use crate::phantom::dice::Dice;

/// Explicit VR Little Endian.
const TRANSFER_SYNTAX: &str = "1.2.840.10008.1.2.1";
/// When phantoms are said to have been taken: always the same day, so that a seed gives the same bytes.
const DAY: &str = "20200101";

/// What all objects of a study share.
pub(super) struct StudyHeader {
    /// Study Instance UID.
    pub(super) study: String,
    seed: u64,
    index: u64,
    modality: Modality,
    sex: &'static str,
    age: usize,
    time: String,
}

impl StudyHeader {
    pub(super) fn draw(dice: &mut Dice, seed: u64, index: u64, modality: Modality) -> Self {
        Self {
            study: uid::of(seed, index, modality, "study"),
            seed,
            index,
            modality,
            sex: if dice.chance(0.5) { "F" } else { "M" },
            age: 20 + dice.below(65),
            time: format!("{:02}{:02}{:02}", 7 + dice.below(12), dice.below(60), dice.below(60)),
        }
    }

    /// A UID of the study's own.
    pub(super) fn uid(&self, part: &str) -> String {
        uid::of(self.seed, self.index, self.modality, part)
    }

    /// Patient, Study, Equipment and SOP Common attributes.
    fn elements(&self, class: &str, instance: &str) -> InMemDicomObject {
        let word = match self.modality {
            Modality::Dx => "DX",
            Modality::Ct => "CT",
        };
        let number = self.index + 1;
        let mut object = InMemDicomObject::new_empty();
        let birth = format!("{}0101", 2020 - self.age);
        let age = format!("{:03}Y", self.age);
        for (tag, vr, value) in [
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
            (tags::SOP_CLASS_UID, VR::UI, class),
            (tags::SOP_INSTANCE_UID, VR::UI, instance),
            (tags::STUDY_DATE, VR::DA, DAY),
            (tags::CONTENT_DATE, VR::DA, DAY),
            (tags::ACQUISITION_DATE, VR::DA, DAY),
            (tags::STUDY_TIME, VR::TM, &self.time),
            (tags::CONTENT_TIME, VR::TM, &self.time),
            (tags::ACQUISITION_TIME, VR::TM, &self.time),
            (tags::ACCESSION_NUMBER, VR::SH, &format!("{word}{}-{number}", self.seed)),
            (tags::MODALITY, VR::CS, word),
            (tags::MANUFACTURER, VR::LO, "prelim"),
            (tags::MANUFACTURER_MODEL_NAME, VR::LO, "prelim phantom"),
            (tags::DEVICE_SERIAL_NUMBER, VR::LO, "1"),
            (tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
            (tags::INSTITUTION_NAME, VR::LO, "No hospital"),
            (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
            (tags::PATIENT_NAME, VR::PN, &format!("PHANTOM^{number:04}")),
            (tags::PATIENT_ID, VR::LO, &format!("PHANTOM-{word}-{}-{number:04}", self.seed)),
            (tags::PATIENT_BIRTH_DATE, VR::DA, &birth),
            (tags::PATIENT_SEX, VR::CS, self.sex),
            (tags::PATIENT_AGE, VR::AS, &age),
            (tags::PATIENT_COMMENTS, VR::LT, "Drawn by formulae. Not a patient."),
            (tags::BODY_PART_EXAMINED, VR::CS, "CHEST"),
            (tags::STUDY_INSTANCE_UID, VR::UI, &self.study),
            (tags::STUDY_ID, VR::SH, &number.to_string()),
        ] {
            put(&mut object, tag, vr, value);
        }
        object
    }
}

/// Puts a text value.
fn put(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    let value = if value.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(value) };
    object.put(DataElement::new(tag, vr, value));
}

/// Puts several text values.
fn put_all(object: &mut InMemDicomObject, vr: VR, values: &[(Tag, &str)]) {
    for (tag, value) in values {
        put(object, *tag, vr, value);
    }
}

/// Puts decimal strings.
fn put_numbers(object: &mut InMemDicomObject, tag: Tag, values: &[f64]) {
    // A decimal string has at most 16 characters (PS3.5 section 6.2).
    let words: SmallVec<[String; 2]> = values.iter().map(|value| decimal(*value)).collect();
    object.put(DataElement::new(tag, VR::DS, PrimitiveValue::Strs(words)));
}

/// The shortest decimal string with six digits after the point.
fn decimal(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Puts unsigned shorts, one element each.
fn put_shorts(object: &mut InMemDicomObject, values: &[(Tag, u16)]) {
    for (tag, value) in values {
        object.put(DataElement::new(*tag, VR::US, PrimitiveValue::from(*value)));
    }
}

/// Puts a sequence.
fn put_sequence(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

/// An item that is a code.
fn code(value: &str, scheme: &str, meaning: &str) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    put(&mut item, tags::CODE_VALUE, VR::SH, value);
    put(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
    put(&mut item, tags::CODE_MEANING, VR::LO, meaning);
    item
}

/// Puts the Image Pixel module of a grey image and its pixels.
fn put_pixels(
    object: &mut InMemDicomObject,
    (rows, columns): (u16, u16),
    bits: u16,
    is_signed: bool,
    pixels: Vec<u16>,
) {
    put_shorts(
        object,
        &[
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, rows),
            (tags::COLUMNS, columns),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, bits),
            (tags::HIGH_BIT, bits - 1),
            (tags::PIXEL_REPRESENTATION, u16::from(is_signed)),
        ],
    );
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into())));
}

/// Writes an object as a file.
fn write(object: InMemDicomObject, path: &Path) -> Result<(), PhantomError> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(TRANSFER_SYNTAX);
    let wrong = |detail: String| PhantomError::Write { path: path.to_owned(), detail };
    let file = object.with_meta(meta).map_err(|error| wrong(error.to_string()))?;
    file.write_to_file(path).map_err(|error| wrong(error.to_string()))
}
