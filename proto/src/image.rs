//! The attributes of an image that decide how it is read.

use serde::{Deserialize, Serialize};

/// What an imaging device the image is from, as far as prelim tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// Projection X-ray: CR, DX, and stills of RF and XA.
    Xray,
    /// Computed tomography.
    Ct,
}

/// Attributes read from the header of one image instance (PS3.3). Everything that may be absent is optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageAttributes {
    /// Rows of a frame (0028,0010).
    pub rows: u32,
    /// Columns of a frame (0028,0011).
    pub columns: u32,
    /// Number of Frames (0028,0008), 1 where absent.
    pub frames: u32,
    /// Bits Allocated (0028,0100); none in records of a version that did not keep it.
    #[serde(default)]
    pub bits_allocated: Option<u16>,
    /// Photometric Interpretation (0028,0004).
    pub photometric: String,
    /// Image Type (0008,0008), each value.
    pub image_type: Vec<String>,
    /// Body Part Examined (0018,0015), upper case.
    pub body_part: Option<String>,
    /// View Position (0018,5101), or the meaning of View Code Sequence: PA, AP, LL, …
    pub view_position: Option<String>,
    /// Image Laterality or Laterality: R, L, B, U.
    pub laterality: Option<String>,
    /// Patient Orientation (0020,0020): directions of the rows and columns.
    pub patient_orientation: Option<(String, String)>,
    /// Row spacing and column spacing in mm, from Pixel Spacing or Imager Pixel Spacing; never zero.
    pub pixel_spacing_mm: Option<(f64, f64)>,
    /// Slice Thickness (0018,0050) in mm.
    pub slice_thickness_mm: Option<f64>,
    /// Gantry/Detector Tilt (0018,1120) in degrees.
    pub gantry_tilt_deg: Option<f64>,
    /// Frame of Reference UID (0020,0052).
    pub frame_of_reference: Option<String>,
    /// Acquisition Number (0020,0012).
    pub acquisition_number: Option<i32>,
    /// Convolution Kernel (0018,1210), values joined by a backslash.
    pub convolution_kernel: Option<String>,
    /// Geometry of each frame; one entry for a single-frame image, empty where the header has none.
    pub planes: Vec<Plane>,
    /// Burned In Annotation (0028,0301) says that text may be in the pixels.
    pub burned_in_annotation: bool,
    /// Station Name (0008,1010) of the device; none in records of a version that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<String>,
    /// Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090) of the device, as far as it says them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Quality Control Subject (0010,0200) says that a phantom was imaged, and no patient.
    #[serde(default)]
    pub quality_control_subject: bool,
}

/// Where a frame lies in the patient (PS3.3 section C.7.6.2), in mm, patient coordinates (x to the left, y to the back, z to the head).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plane {
    /// Image Position (Patient): the centre of the first pixel.
    pub position_mm: [f64; 3],
    /// Direction cosines of a row (of increasing column).
    pub row: [f64; 3],
    /// Direction cosines of a column (of increasing row).
    pub column: [f64; 3],
}
