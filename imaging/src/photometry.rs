//! From stored values to what they mean (modality) and to what is shown (VOI).

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::dataset::Attributes;
use crate::lut::Lut;
use crate::scan::Scanned;

/// All that decides how a stored value becomes a shade of grey.
#[derive(Debug, Clone, PartialEq)]
pub struct Photometry {
    /// Stored value to modality value (HU for CT).
    pub modality: Modality,
    /// Modality value to shade; nothing where the object leaves it to the viewer.
    pub voi: Option<Voi>,
    /// Stored values that are no image: Pixel Padding Value (0028,0120), to Pixel Padding Range Limit (0028,0121).
    pub padding: Option<(i32, i32)>,
    /// MONOCHROME1: the smallest value is white.
    pub is_inverted: bool,
}

/// The modality transform (PS3.3 section C.11.1).
#[derive(Debug, Clone, PartialEq)]
pub enum Modality {
    /// Rescale Slope and Rescale Intercept.
    Linear {
        /// Never zero.
        slope: f64,
        /// Added after.
        intercept: f64,
    },
    /// Modality LUT Sequence.
    Table(Lut),
}

/// The value of interest transform (PS3.3 section C.11.2).
#[derive(Debug, Clone, PartialEq)]
pub enum Voi {
    /// Window Center and Window Width.
    Window {
        /// Window Center (0028,1050).
        center: f64,
        /// Window Width (0028,1051): at least 1 for [`WindowFunction::Linear`], else above 0.
        width: f64,
        /// VOI LUT Function (0028,1056).
        function: WindowFunction,
    },
    /// VOI LUT Sequence.
    Table(Lut),
}

/// The shape of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowFunction {
    /// LINEAR, the default (PS3.3 section C.11.2.1.2.1).
    Linear,
    /// LINEAR_EXACT (C.11.2.1.3.2).
    LinearExact,
    /// SIGMOID (C.11.2.1.3.1).
    Sigmoid,
}

impl Photometry {
    /// Nothing but the values themselves.
    pub const IDENTITY: Self = Self { modality: Modality::IDENTITY, voi: None, padding: None, is_inverted: false };

    /// Reads what holds for frame `number` (from 1): its functional groups, those shared by all frames, or the object.
    pub fn read(scanned: &Scanned<'_>, number: u32) -> Self {
        let root = scanned.attributes();
        let is_signed = root.u16(tags::PIXEL_REPRESENTATION) == Some(1);
        let group = |sequence| functional_group(&root, number, sequence).unwrap_or_else(|| root.clone());
        let modality = Modality::read(&group(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE), is_signed);
        // A VOI LUT looks up modality values, which are signed where the modality transform can make them so.
        let values_signed = match &modality {
            Modality::Linear { slope, intercept } => is_signed || *slope < 0.0 || *intercept < 0.0,
            Modality::Table(_) => false,
        };
        let voi = Voi::read(&group(tags::FRAME_VOILUT_SEQUENCE), values_signed);
        Self {
            modality,
            voi,
            padding: padding(&root, is_signed),
            is_inverted: root.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("MONOCHROME1"),
        }
    }

    /// Whether a stored value is no image.
    pub fn is_padding(&self, stored: i32) -> bool {
        self.padding.is_some_and(|(low, high)| (low..=high).contains(&stored))
    }
}

/// The item of a functional group that holds for frame `number` (from 1) (PS3.3 section C.7.6.16).
pub(crate) fn functional_group<'a>(root: &Attributes<'a>, number: u32, sequence: Tag) -> Option<Attributes<'a>> {
    let frame = root.nth_item(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, number.saturating_sub(1) as usize);
    let own = frame.and_then(|frame| frame.item(sequence));
    own.or_else(|| root.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?.item(sequence))
}

/// Padding values, with the sign of the pixels whatever representation the header gave them.
fn padding(root: &Attributes<'_>, is_signed: bool) -> Option<(i32, i32)> {
    let value = |tag| {
        let word = *root.words(tag).first()?;
        Some(if is_signed { i32::from(word as i16) } else { i32::from(word) })
    };
    let first = value(tags::PIXEL_PADDING_VALUE)?;
    let last = value(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(first);
    Some((first.min(last), first.max(last)))
}

impl Modality {
    /// Values as they are.
    pub const IDENTITY: Self = Self::Linear { slope: 1.0, intercept: 0.0 };

    fn read(from: &Attributes<'_>, is_signed: bool) -> Self {
        if let Some(lut) = from.item(tags::MODALITY_LUT_SEQUENCE).and_then(|item| Lut::read(&item, is_signed)) {
            return Self::Table(lut);
        }
        // A slope of zero would make every pixel the same.
        let slope = from.number(tags::RESCALE_SLOPE).filter(|slope| *slope != 0.0).unwrap_or(1.0);
        let intercept = from.number(tags::RESCALE_INTERCEPT).unwrap_or(0.0);
        Self::Linear { slope, intercept }
    }

    /// The modality value of a stored value.
    pub fn apply(&self, stored: i32) -> f64 {
        match self {
            Self::Linear { slope, intercept } => f64::from(stored) * slope + intercept,
            Self::Table(lut) => f64::from(lut.get(i64::from(stored))),
        }
    }
}

impl Voi {
    /// A LUT where there is one, else the first window (PS3.3 section C.11.2 lets a viewer choose).
    fn read(from: &Attributes<'_>, values_signed: bool) -> Option<Self> {
        if let Some(lut) = from.item(tags::VOILUT_SEQUENCE).and_then(|item| Lut::read(&item, values_signed)) {
            return Some(Self::Table(lut));
        }
        let center = from.number(tags::WINDOW_CENTER)?;
        let width = from.number(tags::WINDOW_WIDTH)?;
        let function = match from.text(tags::VOILUT_FUNCTION).as_deref() {
            Some("LINEAR_EXACT") => WindowFunction::LinearExact,
            Some("SIGMOID") => WindowFunction::Sigmoid,
            _ => WindowFunction::Linear,
        };
        let least = if function == WindowFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
        (width >= least).then_some(Self::Window { center, width, function })
    }

    /// The shade of a modality value, 0 to 1.
    pub fn apply(&self, value: f64) -> f64 {
        match self {
            Self::Table(lut) => f64::from(lut.get(value as i64)) / f64::from(lut.max()),
            Self::Window { center, width, function } => window(value, *center, *width, *function),
        }
    }
}

fn window(value: f64, center: f64, width: f64, function: WindowFunction) -> f64 {
    match function {
        WindowFunction::Linear => {
            let (middle, range) = (center - 0.5, width - 1.0);
            if value <= middle - range / 2.0 {
                0.0
            } else if value > middle + range / 2.0 {
                1.0
            } else {
                (value - middle) / range + 0.5
            }
        }
        WindowFunction::LinearExact => ((value - center) / width + 0.5).clamp(0.0, 1.0),
        WindowFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_standard() {
        use WindowFunction::{Linear, LinearExact, Sigmoid};
        for (value, center, width, function, expected) in [
            // The example of C.11.2.1.2.1: center 2048, width 4096 is the identity on 12 bits.
            (0.0, 2048.0, 4096.0, Linear, 0.0),
            (4095.0, 2048.0, 4096.0, Linear, 1.0),
            (2047.5, 2048.0, 4096.0, Linear, 0.5),
            // Width 1 is a threshold.
            (99.0, 100.0, 1.0, Linear, 0.0),
            (100.0, 100.0, 1.0, Linear, 1.0),
            (0.0, 50.0, 100.0, LinearExact, 0.0),
            (75.0, 50.0, 100.0, LinearExact, 0.75),
            (50.0, 50.0, 100.0, Sigmoid, 0.5),
        ] {
            let found = window(value, center, width, function);
            assert!((found - expected).abs() < 1e-12, "{value} {function:?}: {found}");
        }
    }
}
