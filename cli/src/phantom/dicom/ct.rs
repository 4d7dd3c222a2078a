//! CT Image Storage (PS3.3 section A.3): a volume, and sometimes the localizer that it was planned on.

use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{StudyHeader, put, put_all, put_numbers, put_pixels, write};
use crate::phantom::PhantomError;
use crate::phantom::ct::{SIZE, Volume};
use crate::phantom::dice::Dice;

const CLASS: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Stored value of 0 HU: stored values are unsigned in some volumes, as some scanners have it.
const OFFSETS: [i16; 2] = [0, 1024];
/// Share of volumes that come with a localizer.
const LOCALIZED: f32 = 0.35;
/// Rows of a localizer.
const LOCALIZER_ROWS: usize = 256;

/// Where the volume lies in the patient: x to the left, y to the back, z to the head.
struct Geometry {
    origin_mm: [f64; 3],
    spacing_mm: f64,
    slice_mm: f64,
    table_mm: f64,
}

/// A volume in the making.
struct Writer<'a> {
    header: &'a StudyHeader,
    volume: &'a Volume,
    geometry: Geometry,
    offset: i16,
    kernel: &'static str,
}

/// Writes a volume into a folder; returns the slices' SOP Instance UIDs from the head down.
pub(in crate::phantom) fn write_volume(
    dice: &mut Dice,
    header: &StudyHeader,
    volume: &Volume,
    folder: &Path,
) -> Result<Vec<String>, PhantomError> {
    let spacing_mm = f64::from(volume.spacing_mm);
    let half = spacing_mm * (SIZE as f64 - 1.0) / 2.0;
    let geometry = Geometry {
        origin_mm: [-half, -half - 20.0, f64::from(dice.between(-120.0, 80.0)).round()],
        spacing_mm,
        slice_mm: f64::from(volume.slice_mm),
        table_mm: f64::from(dice.between(120.0, 180.0)).round(),
    };
    let offset = OFFSETS[dice.below(OFFSETS.len())];
    let kernel = ["B30f", "STANDARD", "FC08"][dice.below(3)];
    let writer = Writer { header, volume, geometry, offset, kernel };
    if dice.chance(LOCALIZED) {
        writer.localizer(&folder.join("localizer.dcm"))?;
    }
    (0..volume.slices.len()).map(|index| writer.slice(index, folder)).collect()
}

impl Writer<'_> {
    fn slice(&self, index: usize, folder: &Path) -> Result<String, PhantomError> {
        let instance = self.header.uid(&format!("slice {index}"));
        let mut object = self.elements(&instance, "series", ["ORIGINAL", "PRIMARY", "AXIAL"]);
        let slice = &self.volume.slices[index];
        let Geometry { origin_mm: [x, y, z], spacing_mm, slice_mm, table_mm } = self.geometry;
        let z = z - f64::from(slice.below_mm);
        put_all(
            &mut object,
            VR::LO,
            &[(tags::SERIES_DESCRIPTION, "Chest axial"), (tags::POSITION_REFERENCE_INDICATOR, "XY")],
        );
        put_all(
            &mut object,
            VR::IS,
            &[
                (tags::SERIES_NUMBER, "2"),
                (tags::ACQUISITION_NUMBER, "1"),
                (tags::INSTANCE_NUMBER, &(index + 1).to_string()),
            ],
        );
        put(&mut object, tags::RESCALE_TYPE, VR::LO, "HU");
        put(&mut object, tags::CONVOLUTION_KERNEL, VR::SH, self.kernel);
        put_numbers(&mut object, tags::IMAGE_POSITION_PATIENT, &[x, y, z]);
        put_numbers(&mut object, tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        put_numbers(&mut object, tags::SLICE_LOCATION, &[z]);
        put_numbers(&mut object, tags::SLICE_THICKNESS, &[slice_mm]);
        put_numbers(&mut object, tags::SPACING_BETWEEN_SLICES, &[slice_mm]);
        put_numbers(&mut object, tags::PIXEL_SPACING, &[spacing_mm, spacing_mm]);
        put_numbers(&mut object, tags::TABLE_HEIGHT, &[table_mm]);
        put_numbers(&mut object, tags::WINDOW_CENTER, &[-600.0, 40.0]);
        put_numbers(&mut object, tags::WINDOW_WIDTH, &[1500.0, 400.0]);
        let explanation = ["LUNG", "MEDIASTINUM"].map(str::to_owned).into_iter().collect();
        object.put(DataElement::new(tags::WINDOW_CENTER_WIDTH_EXPLANATION, VR::LO, PrimitiveValue::Strs(explanation)));
        self.put_hu(&mut object, (SIZE, SIZE), slice.hu.iter().copied());
        write(object, &folder.join(format!("slice-{:03}.dcm", index + 1)))?;
        Ok(instance)
    }

    /// A view from the front: the mean of every ray from front to back.
    fn localizer(&self, path: &Path) -> Result<(), PhantomError> {
        let instance = self.header.uid("localizer");
        let mut object = self.elements(&instance, "localizer series", ["ORIGINAL", "PRIMARY", "LOCALIZER"]);
        let Geometry { origin_mm: [x, _, z], spacing_mm, slice_mm, table_mm } = self.geometry;
        let length_mm = slice_mm * (self.volume.slices.len() - 1) as f64;
        let row_mm = length_mm / (LOCALIZER_ROWS - 1) as f64;
        put_all(
            &mut object,
            VR::LO,
            &[(tags::SERIES_DESCRIPTION, "Localizer"), (tags::POSITION_REFERENCE_INDICATOR, "XY")],
        );
        put_all(
            &mut object,
            VR::IS,
            &[(tags::SERIES_NUMBER, "1"), (tags::ACQUISITION_NUMBER, "1"), (tags::INSTANCE_NUMBER, "1")],
        );
        put_numbers(&mut object, tags::IMAGE_POSITION_PATIENT, &[x, 0.0, z]);
        put_numbers(&mut object, tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 0.0, -1.0]);
        put_numbers(&mut object, tags::SLICE_THICKNESS, &[spacing_mm * SIZE as f64]);
        put_numbers(&mut object, tags::PIXEL_SPACING, &[row_mm, spacing_mm]);
        put_numbers(&mut object, tags::TABLE_HEIGHT, &[table_mm]);
        put_numbers(&mut object, tags::WINDOW_CENTER, &[-300.0]);
        put_numbers(&mut object, tags::WINDOW_WIDTH, &[1200.0]);
        let means: Vec<Vec<f32>> = self.volume.slices.iter().map(|slice| column_means(&slice.hu)).collect();
        let last = means.len() - 1;
        let rows = (0..LOCALIZER_ROWS).flat_map(|row| {
            let place = row as f32 / (LOCALIZER_ROWS - 1) as f32 * last as f32;
            let upper = (place as usize).min(last - 1);
            let t = place - upper as f32;
            let (upper, lower) = (&means[upper], &means[upper + 1]);
            upper.iter().zip(lower).map(move |(a, b)| (a + t * (b - a)) as i16).collect::<Vec<_>>()
        });
        self.put_hu(&mut object, (LOCALIZER_ROWS, SIZE), rows);
        write(object, path)
    }

    /// What slices and localizer share.
    fn elements(&self, instance: &str, series: &str, image_type: [&str; 3]) -> InMemDicomObject {
        let header = self.header;
        let mut object = header.elements(CLASS, instance);
        put_all(
            &mut object,
            VR::UI,
            &[
                (tags::SERIES_INSTANCE_UID, &header.uid(series)),
                (tags::FRAME_OF_REFERENCE_UID, &header.uid("frame of reference")),
            ],
        );
        put(&mut object, tags::STUDY_DESCRIPTION, VR::LO, "Phantom chest CT");
        put(&mut object, tags::PATIENT_POSITION, VR::CS, "HFS");
        put(&mut object, tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
        put(&mut object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        put_numbers(&mut object, tags::KVP, &[120.0]);
        put_numbers(&mut object, tags::GANTRY_DETECTOR_TILT, &[0.0]);
        let words = image_type.map(str::to_owned).into_iter().collect();
        object.put(DataElement::new(tags::IMAGE_TYPE, VR::CS, PrimitiveValue::Strs(words)));
        object
    }

    fn put_hu(&self, object: &mut InMemDicomObject, (rows, columns): (usize, usize), hu: impl Iterator<Item = i16>) {
        put_numbers(object, tags::RESCALE_INTERCEPT, &[-f64::from(self.offset)]);
        put_numbers(object, tags::RESCALE_SLOPE, &[1.0]);
        let is_signed = self.offset == 0;
        let bits = if is_signed { 16 } else { 12 };
        let pixels = hu.map(|hu| (hu + self.offset) as u16).collect();
        put_pixels(object, (rows as u16, columns as u16), bits, is_signed, pixels);
    }
}

/// Mean of each column of a slice.
fn column_means(hu: &[i16]) -> Vec<f32> {
    let mut sums = vec![0.0; SIZE];
    for row in hu.chunks_exact(SIZE) {
        sums.iter_mut().zip(row).for_each(|(sum, hu)| *sum += f32::from(*hu));
    }
    sums.iter().map(|sum| sum / SIZE as f32).collect()
}
