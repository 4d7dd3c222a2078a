//! From a picture of bytes to the numbers that a vision tower takes, as the checkpoint's own image processor does it.
//!
//! Resizing follows the 8-bit path of the reference implementation (PyTorch's antialiased `interpolate` on `uint8`, which
//! the current image processors use): weights rounded to 16-bit fixed point, columns first, then rows, with a byte between
//! the two passes. The result equals the reference's bit for bit. Pillow's kernel, which older processors use, carries more
//! bits in its weights and differs by one level (0.0078 after normalization) in places.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

/// Most pixels along one edge that a processor may ask for.
const MAX_EDGE: u64 = 4096;
/// Files that may hold the image processor's settings, newest layout first.
const FILES: [&str; 2] = ["processor_config.json", "preprocessor_config.json"];

/// What is wrong with a checkpoint's image processor settings.
#[derive(Debug, thiserror::Error)]
pub enum PreprocessError {
    /// Neither file is there.
    #[error("no processor_config.json or preprocessor_config.json in {0}")]
    Missing(PathBuf),
    /// A file is there and cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not JSON.
    #[error("{path} is not JSON: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        source: serde_json::Error,
    },
    /// A setting that this software does not carry out, or that makes no sense.
    #[error("image processor setting {setting} is {found}; {wanted}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        wanted: &'static str,
    },
    /// The image processor and the vision tower disagree.
    #[error(
        "the image processor makes pictures of {width} x {height}, the vision tower takes {side} x {side}; \
         its settings should be those that were published with the weights"
    )]
    PictureSize {
        /// Columns that the processor makes.
        width: usize,
        /// Rows that the processor makes.
        height: usize,
        /// Rows and columns that the tower takes.
        side: usize,
    },
}

/// A picture of bytes, rows from the top, channels interleaved.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// `height × width × channels` bytes.
    pub bytes: &'a [u8],
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey, repeated into three) or 3 (red, green, blue).
    pub channels: usize,
}

/// The kernel that resizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Triangle, resample code 2.
    Bilinear,
    /// Cubic convolution with a = -0.5, resample code 3.
    Bicubic,
}

impl Filter {
    /// Reach of the kernel at scale one, in pixels.
    fn radius(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// Value of the kernel at distance `x`.
    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }
}

/// What is done to a picture, read from the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preprocess {
    /// Rows that the vision tower takes.
    pub height: usize,
    /// Columns that the vision tower takes.
    pub width: usize,
    /// Where only the middle of a picture is shown: what its shorter edge becomes before the middle is cut out. Otherwise the
    /// whole picture is squeezed into the tower's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shorter_edge: Option<usize>,
    /// The kernel for pictures that come in another size.
    pub filter: Filter,
    /// Factor on the bytes, usually 1/255.
    pub rescale: Option<f64>,
    /// Mean that is taken off each channel, and the deviation it is divided by.
    pub normalize: Option<([f64; 3], [f64; 3])>,
}

impl Preprocess {
    /// Reads the settings from a model folder.
    ///
    /// # Errors
    /// Where no file has them, a file does not parse, or a setting is one that is not carried out here.
    pub fn read(folder: &Path) -> Result<Self, PreprocessError> {
        for path in FILES.map(|name| folder.join(name)) {
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(PreprocessError::Read { path, source }),
            };
            let json: Value = serde_json::from_slice(&text).map_err(|source| PreprocessError::Json { path, source })?;
            // The newest layout nests the settings; a processor file without them leaves them to the older file.
            match json.get("image_processor") {
                Some(nested) => return Self::from_json(nested),
                None if json.get("size").is_some() || json.get("image_mean").is_some() => {
                    return Self::from_json(&json);
                }
                None => {}
            }
        }
        Err(PreprocessError::Missing(folder.to_owned()))
    }

    /// [`Self::read_for`], for studies, of which nothing may be cut off unseen.
    ///
    /// # Errors
    /// As [`Self::read_for`], and where the settings show the middle of a picture only.
    pub fn read_whole(folder: &Path, side: usize) -> Result<Self, PreprocessError> {
        let read = Self::read_for(folder, side)?;
        match read.shorter_edge {
            None => Ok(read),
            Some(_) => Err(setting(
                "do_center_crop",
                &Value::Bool(true),
                "a study is read whole: set it to false, and size to the height and width that it crops to",
            )),
        }
    }

    /// [`Self::read`], for a vision tower that takes `side` rows and columns.
    ///
    /// # Errors
    /// As [`Self::read`], and where the settings make pictures of another size.
    pub fn read_for(folder: &Path, side: usize) -> Result<Self, PreprocessError> {
        let read = Self::read(folder)?;
        if (read.height, read.width) != (side, side) {
            return Err(PreprocessError::PictureSize { width: read.width, height: read.height, side });
        }
        Ok(read)
    }

    /// Reads the settings from the JSON of an image processor; what is absent is as SigLIP's processors have it.
    ///
    /// # Errors
    /// Where a setting is one that is not carried out here.
    pub fn from_json(json: &Value) -> Result<Self, PreprocessError> {
        let flag = |key: &str| json.get(key).and_then(Value::as_bool);
        if flag("do_pan_and_scan") == Some(true) {
            return Err(setting(
                "do_pan_and_scan",
                &Value::Bool(true),
                "only whole pictures are read: set it to false",
            ));
        }
        if flag("do_resize") == Some(false) {
            return Err(setting(
                "do_resize",
                &Value::Bool(false),
                "pictures come in any size and are always resized: set it to true",
            ));
        }
        let (height, width, shorter_edge) = if flag("do_center_crop") == Some(true) {
            let (height, width) = read_size("crop_size", json.get("crop_size"))?;
            (height, width, Some(read_shorter_edge(json.get("size"), height.max(width))?))
        } else {
            let (height, width) = read_size("size", json.get("size"))?;
            (height, width, None)
        };
        let filter = read_filter(json)?;
        let rescale = flag("do_rescale")
            .unwrap_or(true)
            .then(|| json.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0));
        let normalize = if flag("do_normalize").unwrap_or(true) {
            let deviation = read_channels("image_std", json.get("image_std"))?;
            if deviation.contains(&0.0) {
                return Err(setting("image_std", &json["image_std"], "no deviation may be zero"));
            }
            Some((read_channels("image_mean", json.get("image_mean"))?, deviation))
        } else {
            None
        };
        Ok(Self { height, width, shorter_edge, filter, rescale, normalize })
    }

    /// Numbers for the vision tower, `[3, height, width]`.
    ///
    /// # Panics
    /// Where the picture's length does not agree with its size, or it has neither one nor three channels.
    pub fn pixel_values(&self, picture: &Picture<'_>) -> Vec<f32> {
        let bytes = self.resized(picture);
        let plane = self.height * self.width;
        let mut values = Vec::with_capacity(bytes.len());
        for (channel, bytes) in bytes.chunks_exact(plane).enumerate() {
            let table = self.levels(channel);
            values.extend(bytes.iter().map(|&byte| table[usize::from(byte)]));
        }
        values
    }

    /// The picture in the tower's size, still bytes, `[3, height, width]`.
    ///
    /// # Panics
    /// As [`Self::pixel_values`].
    pub fn resized(&self, picture: &Picture<'_>) -> Vec<u8> {
        let Picture { bytes, height, width, channels } = *picture;
        assert_eq!(bytes.len(), height * width * channels, "a picture's length agrees with its size");
        assert!(channels == 1 || channels == 3, "a picture is grey or has three channels");
        let (rows, columns) = self.scaled(height, width);
        let across = (width != columns).then(|| Taps::new(self.filter, width, columns));
        let down = (height != rows).then(|| Taps::new(self.filter, height, rows));
        let mut planes = Vec::with_capacity(3 * self.height * self.width);
        for channel in 0..channels {
            let mut plane: Vec<u8> = bytes.iter().skip(channel).step_by(channels).copied().collect();
            if let Some(taps) = &across {
                plane = taps.across(&plane, width);
            }
            if let Some(taps) = &down {
                plane = taps.down(&plane, columns);
            }
            let (top, left) = ((rows - self.height) / 2, (columns - self.width) / 2);
            for row in plane.chunks_exact(columns).skip(top).take(self.height) {
                planes.extend_from_slice(&row[left..left + self.width]);
            }
        }
        if channels == 1 {
            let plane = self.height * self.width;
            planes.extend_from_within(..plane);
            planes.extend_from_within(..plane);
        }
        planes
    }

    /// Rows and columns of a picture once it is resized, before its middle is cut out.
    fn scaled(&self, height: usize, width: usize) -> (usize, usize) {
        let Some(edge) = self.shorter_edge else { return (self.height, self.width) };
        // The longer edge is cut to a whole number, as the reference does it.
        match height <= width {
            true => (edge, edge * width / height),
            false => (edge * height / width, edge),
        }
    }

    /// The number that each byte becomes in a channel. Rescaling and normalizing are one step in f32, as in the reference,
    /// so that the last bit agrees.
    fn levels(&self, channel: usize) -> [f32; 256] {
        let factor = self.rescale.unwrap_or(1.0);
        std::array::from_fn(|byte| {
            let byte = byte as f32;
            match self.normalize {
                Some((mean, deviation)) => {
                    let per_level = 1.0 / factor;
                    (byte - (mean[channel] * per_level) as f32) / (deviation[channel] * per_level) as f32
                }
                None => byte * factor as f32,
            }
        })
    }
}

/// Fixed-point weights of one output pixel after another.
struct Taps {
    /// First input pixel and number of weights, for each output pixel.
    spans: Vec<(usize, usize)>,
    /// The weights of all output pixels, one after another.
    weights: Vec<i32>,
    /// Bits after the binary point.
    precision: u32,
}

impl Taps {
    fn new(filter: Filter, from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        // Shrinking widens the kernel so that every input pixel counts: that is the antialiasing.
        let stretch = scale.max(1.0);
        let reach = filter.radius() * stretch;
        let (mut spans, mut exact) = (Vec::with_capacity(to), Vec::new());
        for pixel in 0..to {
            let centre = scale * (pixel as f64 + 0.5);
            let first = (centre - reach + 0.5).max(0.0) as usize;
            let count = ((centre + reach + 0.5) as usize).min(from) - first;
            let at = |tap: usize| filter.at(((tap + first) as f64 - centre + 0.5) / stretch);
            let sum: f64 = (0..count).map(at).sum();
            exact.extend((0..count).map(|tap| at(tap) / sum));
            spans.push((first, count));
        }
        let largest = exact.iter().copied().fold(0.0, f64::max);
        // As many bits as keep the largest weight inside 16 bits.
        let fits = |bits: u32| 0.5 + largest * f64::from(1u32 << (bits + 1)) < f64::from(1 << 15);
        let precision = (0..22).find(|&bits| !fits(bits)).unwrap_or(22);
        let one = f64::from(1u32 << precision);
        let weights = exact.iter().map(|weight| (weight * one).round() as i32).collect();
        Self { spans, weights, precision }
    }

    /// Resizes every row of `plane`.
    fn across(&self, plane: &[u8], width: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(plane.len() / width * self.spans.len());
        for row in plane.chunks_exact(width) {
            let mut weights = self.weights.as_slice();
            for &(first, count) in &self.spans {
                let (mine, rest) = weights.split_at(count);
                weights = rest;
                let sum: i32 = row[first..first + count].iter().zip(mine).map(|(&v, &w)| i32::from(v) * w).sum();
                out.push(self.round(sum));
            }
        }
        out
    }

    /// Resizes every column of `plane`.
    fn down(&self, plane: &[u8], width: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(width * self.spans.len());
        let mut sums = vec![0i32; width];
        let mut weights = self.weights.as_slice();
        for &(first, count) in &self.spans {
            let (mine, rest) = weights.split_at(count);
            weights = rest;
            sums.fill(0);
            for (row, &weight) in plane[first * width..].chunks_exact(width).zip(mine) {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(value) * weight;
                }
            }
            out.extend(sums.iter().map(|&sum| self.round(sum)));
        }
        out
    }

    fn round(&self, sum: i32) -> u8 {
        let half = (1 << self.precision) >> 1;
        ((sum + half) >> self.precision).clamp(0, 255) as u8
    }
}

fn setting(setting: &'static str, found: &Value, wanted: &'static str) -> PreprocessError {
    PreprocessError::Setting { setting, found: found.to_string(), wanted }
}

/// `size` as `{height, width}` or as one number; a shortest edge alone leaves pictures of any shape, which no tower takes.
fn read_size(name: &'static str, size: Option<&Value>) -> Result<(usize, usize), PreprocessError> {
    let wanted = "a height and a width from 1 to 4096 are needed";
    let found = size.unwrap_or(&Value::Null);
    let edge = |value: &Value| value.as_u64().filter(|edge| (1..=MAX_EDGE).contains(edge)).map(|edge| edge as usize);
    let pair = match found {
        Value::Object(map) => map.get("height").and_then(edge).zip(map.get("width").and_then(edge)),
        number => edge(number).map(|edge| (edge, edge)),
    };
    pair.ok_or_else(|| setting(name, found, wanted))
}

/// `size` of a processor that crops: what the shorter edge becomes, at least as long as what is cut out of it.
fn read_shorter_edge(size: Option<&Value>, least: usize) -> Result<usize, PreprocessError> {
    let found = size.unwrap_or(&Value::Null);
    let edge = found.get("shortest_edge").unwrap_or(found).as_u64();
    let edge = edge.filter(|edge| (least as u64..=MAX_EDGE).contains(edge));
    let wanted = "a shortest_edge from the size of the crop to 4096 is needed";
    edge.map(|edge| edge as usize).ok_or_else(|| setting("size", found, wanted))
}

/// The resampling kernel: a code or a name; where it is absent, what the named processor defaults to.
fn read_filter(json: &Value) -> Result<Filter, PreprocessError> {
    let kind = json.get("image_processor_type").and_then(Value::as_str).unwrap_or_default();
    let found = match json.get("resample").or_else(|| json.get("interpolation")) {
        None | Some(Value::Null) if kind.starts_with("Siglip") => return Ok(Filter::Bicubic),
        None | Some(Value::Null) => return Ok(Filter::Bilinear),
        Some(found) => found,
    };
    match (found.as_u64(), found.as_str()) {
        (Some(2), _) | (_, Some("bilinear")) => Ok(Filter::Bilinear),
        (Some(3), _) | (_, Some("bicubic")) => Ok(Filter::Bicubic),
        _ => Err(setting("resample", found, "2 (bilinear) and 3 (bicubic) are carried out")),
    }
}

/// One number for each channel, or one for all; 0.5 where absent.
fn read_channels(name: &'static str, value: Option<&Value>) -> Result<[f64; 3], PreprocessError> {
    let found = match value {
        None | Some(Value::Null) => return Ok([0.5; 3]),
        Some(found) => found,
    };
    if let Some(number) = found.as_f64() {
        return Ok([number; 3]);
    }
    let numbers: Option<Vec<f64>> = found.as_array().map(|all| all.iter().filter_map(Value::as_f64).collect());
    numbers.and_then(|n| n.try_into().ok()).ok_or_else(|| setting(name, found, "three numbers are needed"))
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
