//! Rendering: a decoded frame to the picture that a model or a reader sees.

use crate::frame::{Frame, Pixels};
use crate::photometry::{Photometry, Voi};

/// A picture in shades of grey, 0 black to 255 white.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GreyImage {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `[height, width]`, row by row.
    pub data: Vec<u8>,
}

/// A picture in red, green and blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `[height, width, 3]`, row by row.
    pub data: Vec<u8>,
}

/// An X-ray as grey: modality transform, then VOI LUT or window, or the range of the values where there is neither;
/// inverted for MONOCHROME1, so that air is always dark; rounded to the nearest of 256 shades. Padding is black.
pub fn xray_grey(frame: &Frame, photometry: &Photometry) -> GreyImage {
    let data = match &frame.pixels {
        Pixels::Grey(values) => grey(values, photometry),
        Pixels::Rgb(rgb) => rgb.as_chunks::<3>().0.iter().map(|pixel| luma(*pixel)).collect(),
    };
    GreyImage { width: frame.columns, height: frame.rows, data }
}

fn grey(values: &[i32], photometry: &Photometry) -> Vec<u8> {
    let shade: Box<dyn Fn(f64) -> f64 + '_> = match &photometry.voi {
        Some(voi) => Box::new(|value| voi.apply(value)),
        None => {
            let (low, high) = range(values, photometry);
            // One value only is shown black.
            let scale = if high > low { 1.0 / (high - low) } else { 0.0 };
            Box::new(move |value| (value - low) * scale)
        }
    };
    map_values(values, |stored| {
        if photometry.is_padding(stored) {
            return 0;
        }
        let shade = shade(photometry.modality.apply(stored)).clamp(0.0, 1.0);
        let shade = if photometry.is_inverted { 1.0 - shade } else { shade };
        (shade * 255.0).round() as u8
    })
}

/// Smallest and largest modality value of the pixels that are image.
fn range(values: &[i32], photometry: &Photometry) -> (f64, f64) {
    let image = || values.iter().filter(|&&stored| !photometry.is_padding(stored));
    let (Some(&low), Some(&high)) = (image().min(), image().max()) else { return (0.0, 0.0) };
    // Only a straight line keeps the ends at the ends; a table has to be looked at entry by entry.
    let ends = [low, high].map(|stored| photometry.modality.apply(stored));
    if let crate::photometry::Modality::Table(_) = photometry.modality {
        let all = || image().map(|&stored| photometry.modality.apply(stored));
        return (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    }
    (ends[0].min(ends[1]), ends[0].max(ends[1]))
}

/// A CT frame as three windows of its modality values (HU), one to a channel:
/// `clamp((hu − low) / (high − low) × 255, 0, 255)`, the fraction cut off. Padding is black in all three.
pub fn ct_windows(frame: &Frame, photometry: &Photometry, windows: &[(f64, f64); 3]) -> RgbImage {
    let data = match &frame.pixels {
        Pixels::Rgb(rgb) => rgb.clone(),
        Pixels::Grey(values) => {
            let channels = windows.map(|(low, high)| {
                map_values(values, |stored| {
                    if photometry.is_padding(stored) {
                        return 0;
                    }
                    let hu = photometry.modality.apply(stored);
                    // `as` saturates at 0 and 255, cuts the fraction off, and makes an empty window black.
                    ((hu - low) / (high - low) * 255.0) as u8
                })
            });
            let pixels = channels[0].iter().zip(&channels[1]).zip(&channels[2]);
            pixels.flat_map(|((red, green), blue)| [*red, *green, *blue]).collect()
        }
    };
    RgbImage { width: frame.columns, height: frame.rows, data }
}

/// A CT frame as grey in one window of its modality values.
pub fn ct_grey(frame: &Frame, photometry: &Photometry, window: (f64, f64)) -> GreyImage {
    let (low, high) = window;
    let voi = Voi::Window {
        center: (low + high) / 2.0,
        width: (high - low).max(f64::MIN_POSITIVE),
        function: crate::photometry::WindowFunction::LinearExact,
    };
    xray_grey(frame, &Photometry { voi: Some(voi), is_inverted: false, ..photometry.clone() })
}

impl GreyImage {
    /// The same shades in all three channels.
    pub fn to_rgb(&self) -> RgbImage {
        RgbImage {
            width: self.width,
            height: self.height,
            data: self.data.iter().flat_map(|&grey| [grey; 3]).collect(),
        }
    }
}

/// Applies `render` to each value. Frames have few different values, so the answers are kept in a table where their
/// range allows it.
fn map_values(values: &[i32], render: impl Fn(i32) -> u8) -> Vec<u8> {
    let (Some(&low), Some(&high)) = (values.iter().min(), values.iter().max()) else { return Vec::new() };
    let span = i64::from(high) - i64::from(low) + 1;
    if span > 1 << 17 || span > values.len() as i64 {
        return values.iter().map(|&value| render(value)).collect();
    }
    let table: Vec<u8> = (low..=high).map(render).collect();
    values.iter().map(|&value| table[(value - low) as usize]).collect()
}

/// Luma of ITU-R BT.601, which JPEG uses.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    (0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lut::Lut;
    use crate::photometry::{Modality, WindowFunction};

    fn frame(values: &[i32]) -> Frame {
        Frame { rows: 1, columns: values.len() as u32, pixels: Pixels::Grey(values.to_vec()) }
    }

    #[test]
    fn without_a_window_the_range_without_padding_is_shown() {
        let photometry = Photometry { padding: Some((-2000, -2000)), ..Photometry::IDENTITY };
        assert_eq!(xray_grey(&frame(&[-2000, 100, 200, 300]), &photometry).data, [0, 0, 128, 255]);
        let inverted = Photometry { is_inverted: true, ..photometry };
        assert_eq!(xray_grey(&frame(&[-2000, 100, 200, 300]), &inverted).data, [0, 255, 128, 0]);
        assert_eq!(xray_grey(&frame(&[7, 7]), &Photometry::IDENTITY).data, [0, 0]);
    }

    #[test]
    fn a_negative_slope_and_a_table_are_applied_before_the_range() {
        let modality = Modality::Linear { slope: -1.0, intercept: 0.0 };
        let negative = Photometry { modality, ..Photometry::IDENTITY };
        assert_eq!(xray_grey(&frame(&[0, 1, 2]), &negative).data, [255, 128, 0]);
        let table = Modality::Table(Lut { first: 0, entries: vec![0, 100, 0], bits: 8 });
        let table = Photometry { modality: table, ..Photometry::IDENTITY };
        assert_eq!(xray_grey(&frame(&[0, 1, 2]), &table).data, [0, 255, 0]);
    }

    #[test]
    fn ct_windows_cut_the_fraction_off() {
        let windows = [(-1024.0, 1024.0), (-135.0, 215.0), (-1000.0, -300.0)];
        let modality = Modality::Linear { slope: 1.0, intercept: -1024.0 };
        let photometry = Photometry { modality, ..Photometry::IDENTITY };
        let rgb = ct_windows(&frame(&[0, 1024, 2048]), &photometry, &windows);
        assert_eq!(rgb.data, [0, 0, 0, 127, 98, 255, 255, 255, 255]);
    }

    #[test]
    fn a_linear_window_is_applied() {
        let voi = Voi::Window { center: 128.0, width: 256.0, function: WindowFunction::Linear };
        let photometry = Photometry { voi: Some(voi), ..Photometry::IDENTITY };
        assert_eq!(xray_grey(&frame(&[0, 100, 255, 300]), &photometry).data, [0, 100, 255, 255]);
    }
}
