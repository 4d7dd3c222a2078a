//! Digital X-Ray Image Storage - For Presentation (PS3.3 section A.26).

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{StudyHeader, code, put, put_all, put_numbers, put_pixels, put_sequence, write};
use crate::phantom::PhantomError;
use crate::phantom::dice::Dice;
use crate::phantom::radiograph::{Film, SIZE};

const CLASS: &str = "1.2.840.10008.5.1.4.1.1.1.1";
const BITS: u16 = 12;
const TOP: u16 = (1 << BITS) - 1;
/// Share of films that are stored with white at zero.
const INVERTED: f32 = 0.3;

/// How the stored values are to be shown (PS3.3 section C.11.2): senders differ, so phantoms do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Window,
    ExactWindow,
    SigmoidWindow,
    Table,
}

/// Stored values: brightness 0 to 1 lies at `low` to `low + width`.
struct Scale {
    low: f32,
    width: f32,
    is_inverted: bool,
}

impl Scale {
    fn store(&self, brightness: f32) -> u16 {
        let value = (self.low + brightness * self.width).round().clamp(0.0, f32::from(TOP)) as u16;
        if self.is_inverted { TOP - value } else { value }
    }

    /// Middle of the shown range, in stored values.
    fn centre(&self) -> f64 {
        let centre = f64::from(self.low + self.width / 2.0);
        if self.is_inverted { f64::from(TOP) - centre } else { centre }
    }
}

/// Writes a film; returns its SOP Instance UID.
pub(in crate::phantom) fn write_film(
    dice: &mut Dice,
    header: &StudyHeader,
    film: &Film,
    path: &Path,
) -> Result<String, PhantomError> {
    let instance = header.uid("film");
    let mut object = header.elements(CLASS, &instance);
    put_study(&mut object, header);
    put_detector(&mut object, film);
    let scale = Scale {
        low: dice.between(400.0, 900.0).round(),
        width: dice.between(2000.0, 2800.0).round(),
        is_inverted: dice.chance(INVERTED),
    };
    let shown =
        [Shown::Window, Shown::ExactWindow, Shown::SigmoidWindow, Shown::Table][dice.weighted(&[5.0, 1.0, 2.0, 2.0])];
    put_presentation(&mut object, &scale, shown);
    let pixels = film.pixels.iter().map(|brightness| scale.store(*brightness)).collect();
    put_pixels(&mut object, (SIZE as u16, SIZE as u16), BITS, false, pixels);
    write(object, path)?;
    Ok(instance)
}

fn put_study(object: &mut InMemDicomObject, header: &StudyHeader) {
    put_all(
        object,
        VR::UI,
        &[
            (tags::SERIES_INSTANCE_UID, &header.uid("series")),
            (tags::FRAME_OF_REFERENCE_UID, &header.uid("frame of reference")),
        ],
    );
    put_all(
        object,
        VR::LO,
        &[
            (tags::STUDY_DESCRIPTION, "Phantom chest radiograph"),
            (tags::SERIES_DESCRIPTION, "Chest PA"),
            (tags::POSITION_REFERENCE_INDICATOR, ""),
        ],
    );
    put_all(
        object,
        VR::IS,
        &[(tags::SERIES_NUMBER, "1"), (tags::INSTANCE_NUMBER, "1"), (tags::ACQUISITION_NUMBER, "1")],
    );
    put_all(
        object,
        VR::CS,
        &[
            (tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION"),
            (tags::VIEW_POSITION, "PA"),
            (tags::POSITIONER_TYPE, "COLUMN"),
            (tags::IMAGE_LATERALITY, "U"),
            (tags::BURNED_IN_ANNOTATION, "NO"),
            (tags::LOSSY_IMAGE_COMPRESSION, "00"),
        ],
    );
    let values = |words: [&str; 2]| PrimitiveValue::Strs(words.map(str::to_owned).into_iter().collect());
    object.put(DataElement::new(tags::IMAGE_TYPE, VR::CS, values(["ORIGINAL", "PRIMARY"])));
    object.put(DataElement::new(tags::PATIENT_ORIENTATION, VR::CS, values(["L", "F"])));
    put_sequence(object, tags::ANATOMIC_REGION_SEQUENCE, vec![code("43799004", "SCT", "Intrathoracic structure")]);
    let mut view = code("399348003", "SCT", "postero-anterior");
    put_sequence(&mut view, tags::VIEW_MODIFIER_CODE_SEQUENCE, Vec::new());
    put_sequence(object, tags::VIEW_CODE_SEQUENCE, vec![view]);
    put_sequence(object, tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
}

fn put_detector(object: &mut InMemDicomObject, film: &Film) {
    let spacing = f64::from(film.spacing_mm);
    put_numbers(object, tags::IMAGER_PIXEL_SPACING, &[spacing, spacing]);
    put_numbers(object, tags::KVP, &[120.0]);
    put_numbers(object, tags::DISTANCE_SOURCE_TO_DETECTOR, &[1800.0]);
    put(object, tags::DETECTOR_TYPE, VR::CS, "DIRECT");
    put(object, tags::DETECTOR_ID, VR::SH, "1");
}

/// How the values are to be shown: linear values with the window or table that the sender chose.
fn put_presentation(object: &mut InMemDicomObject, scale: &Scale, shown: Shown) {
    let (photometric, shape) = if scale.is_inverted { ("MONOCHROME1", "INVERSE") } else { ("MONOCHROME2", "IDENTITY") };
    put(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric);
    put(object, tags::PRESENTATION_LUT_SHAPE, VR::CS, shape);
    put(object, tags::PIXEL_INTENSITY_RELATIONSHIP, VR::CS, "LOG");
    let sign = if scale.is_inverted { 1i16 } else { -1 };
    object.put(DataElement::new(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, VR::SS, PrimitiveValue::from(sign)));
    put_numbers(object, tags::RESCALE_INTERCEPT, &[0.0]);
    put_numbers(object, tags::RESCALE_SLOPE, &[1.0]);
    put(object, tags::RESCALE_TYPE, VR::LO, "US");
    let function = match shown {
        Shown::Table => {
            put_sequence(object, tags::VOILUT_SEQUENCE, vec![table(scale)]);
            return;
        }
        Shown::Window => "LINEAR",
        Shown::ExactWindow => "LINEAR_EXACT",
        Shown::SigmoidWindow => "SIGMOID",
    };
    put_numbers(object, tags::WINDOW_CENTER, &[scale.centre()]);
    put_numbers(object, tags::WINDOW_WIDTH, &[f64::from(scale.width)]);
    put(object, tags::VOILUT_FUNCTION, VR::CS, function);
}

/// A table that bends the range a little, as film did: flat at both ends.
fn table(scale: &Scale) -> InMemDicomObject {
    let entry = |stored: u16| {
        let brightness = if scale.is_inverted { TOP - stored } else { stored };
        let t = ((f32::from(brightness) - scale.low) / scale.width).clamp(0.0, 1.0);
        let bent = 0.5 * t + 0.5 * t * t * (3.0 - 2.0 * t);
        let bent = if scale.is_inverted { 1.0 - bent } else { bent };
        (bent * f32::from(TOP)).round() as u16
    };
    let mut item = InMemDicomObject::new_empty();
    let descriptor = PrimitiveValue::U16([TOP + 1, 0, BITS].into_iter().collect());
    item.put(DataElement::new(tags::LUT_DESCRIPTOR, VR::US, descriptor));
    put(&mut item, tags::LUT_EXPLANATION, VR::LO, "Film");
    item.put(DataElement::new(tags::LUT_DATA, VR::US, PrimitiveValue::U16((0..=TOP).map(entry).collect())));
    item
}
