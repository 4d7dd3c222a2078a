//! From an instance's bytes to the pictures that the model sees: decode, render, preprocess.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prelim_imaging::decode::DecodeError;
use prelim_imaging::frame::Frame;
use prelim_imaging::photometry::Photometry;
use prelim_imaging::pixels::PixelDescription;
use prelim_imaging::sandbox::{Decoder, DecoderCommand, SandboxError};
use prelim_imaging::scan::{PixelBytes, ScanError, Scanned, scan};
use prelim_imaging::{Limits, render};
use prelim_proto::finding::ImageBox;
use prelim_proto::study::UnreadReason;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::desk::{Desk, NoRoom, look_bytes};
use crate::engine::request;
use crate::preprocess::{Picture, Preprocess};

/// Version of what is done to an image before the model sees it, beside the checkpoint's own processor. Raise it with
/// every change that can change a picture.
pub const PREPROCESS_VERSION: u32 = 1;

/// Fewest rows and columns of a part that is shown by itself: of fewer, nothing can be told.
const MIN_PART: usize = 32;

/// Memory of a frame past which its decoder process is not kept for the next one: it would hold on to it.
const LARGE_BYTES: u64 = 64 << 20;

/// A frame that became a picture.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What the model gets.
    pub picture: Arc<request::Picture>,
    /// Rows and columns of the frame as stored.
    pub size: (u32, u32),
}

/// A frame that did not.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The object is not readable at all.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The frame does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// There is not enough memory to decode it.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl PictureError {
    /// The kind of reason, for the record of what was not read.
    pub fn unread_reason(&self) -> UnreadReason {
        match self {
            Self::Scan(ScanError::TooLong { .. }) | Self::NoRoom(_) => UnreadReason::TooLarge,
            Self::Scan(_) => UnreadReason::Corrupt,
            Self::Decode(error) => error.unread_reason(),
        }
    }

    /// Whether the fault is this machine's and not the image's, so that another try or another worker may read it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Decode(DecodeError::Sandbox(SandboxError::NotStarted(_))) | Self::NoRoom(_))
    }
}

/// Time spent, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// To scan and decode.
    pub decode_ms: f64,
    /// To render, resize and normalise.
    pub preprocess_ms: f64,
}

/// Makes pictures for one model.
pub struct Sight {
    preprocess: Preprocess,
    limits: Limits,
    command: DecoderCommand,
    /// Decoder processes that nobody uses now.
    idle: Mutex<Vec<Decoder>>,
}

impl Sight {
    /// Sight as `preprocess` has it, with decoder processes started by `command`.
    pub fn new(preprocess: Preprocess, command: DecoderCommand) -> Self {
        Self { preprocess, limits: Limits::default(), command, idle: Mutex::default() }
    }

    /// What is done to images, in words, for the provenance of drafts.
    pub fn version(&self) -> String {
        let Preprocess { height, width, filter, .. } = &self.preprocess;
        let filter = format!("{filter:?}").to_lowercase();
        format!("{PREPROCESS_VERSION}, {width} x {height} {filter}")
    }

    /// Bytes of a picture.
    pub fn picture_bytes(&self) -> u64 {
        (3 * self.preprocess.height * self.preprocess.width * size_of::<f32>()) as u64
    }

    /// Pictures of `frames` (from 1) of one instance, in that order. `windows_hu` is for CT: the three windows that become
    /// the channels; without them the image is an X-ray. Each takes room on the desk while it is decoded, and waits for it.
    /// Blocks, on a thread of the runtime that may.
    pub fn see(
        &self,
        bytes: &[u8],
        frames: &[u32],
        windows_hu: Option<[[f32; 2]; 3]>,
        desk: &Desk,
    ) -> (Vec<Result<Seen, PictureError>>, Spent) {
        let whole: Vec<_> = frames.iter().map(|frame| (*frame, None)).collect();
        self.see_parts(bytes, &whole, windows_hu, desk)
    }

    /// The same of parts of frames, each the whole of one where no box is given. Blocks.
    pub fn see_parts(
        &self,
        bytes: &[u8],
        parts: &[(u32, Option<ImageBox>)],
        windows_hu: Option<[[f32; 2]; 3]>,
        desk: &Desk,
    ) -> (Vec<Result<Seen, PictureError>>, Spent) {
        let mut spent = Spent::default();
        let started = Instant::now();
        let scanned = scan(bytes, &self.limits);
        spent.decode_ms += milliseconds(started);
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(error) => {
                return (parts.iter().map(|_| Err(error.clone().into())).collect(), spent);
            }
        };
        let mut decoder = self.decoder();
        let room = self.room(&scanned, windows_hu.is_some());
        let mut see_one = |(frame, bounds): (u32, Option<ImageBox>)| {
            let _place = Handle::current().block_on(desk.look(room))?;
            let started = Instant::now();
            let decoded = decoder.decode(&scanned, frame);
            spent.decode_ms += milliseconds(started);
            let started = Instant::now();
            let seen = self.picture(&scanned, &decoded?, (frame, bounds), windows_hu);
            spent.preprocess_ms += milliseconds(started);
            Ok(seen)
        };
        let seen = parts.iter().map(|part| see_one(*part)).collect();
        if room <= LARGE_BYTES {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        }
        (seen, spent)
    }

    /// Bytes that a frame takes while it is looked at. What is wrong with one that has no sizes, its decoder says.
    fn room(&self, scanned: &Scanned<'_>, is_ct: bool) -> u64 {
        let Ok(description) = PixelDescription::read(&scanned.attributes(), &self.limits) else { return 0 };
        let is_coded = matches!(scanned.pixel_bytes(), Some(PixelBytes::Fragments(_)));
        let pixels = u64::from(description.rows) * u64::from(description.columns);
        look_bytes(pixels, is_coded, is_ct || description.samples == 3)
    }

    fn picture(
        &self,
        scanned: &Scanned<'_>,
        frame: &Frame,
        (number, bounds): (u32, Option<ImageBox>),
        windows_hu: Option<[[f32; 2]; 3]>,
    ) -> Seen {
        let photometry = Photometry::read(scanned, number);
        let (height, width) = (frame.rows as usize, frame.columns as usize);
        let pixels = match windows_hu {
            Some(windows) => {
                let windows = windows.map(|[low, high]| (f64::from(low), f64::from(high)));
                let image = render::ct_windows(frame, &photometry, &windows);
                self.pixels(&Picture { bytes: &image.data, height, width, channels: 3 }, bounds)
            }
            None => {
                let image = render::xray_grey(frame, &photometry);
                self.pixels(&Picture { bytes: &image.data, height, width, channels: 1 }, bounds)
            }
        };
        let mut hash = Sha256::new();
        for value in &pixels {
            hash.update(value.to_le_bytes());
        }
        let picture = request::Picture { digest: hash.finalize().into(), pixels: pixels.into() };
        Seen { picture: Arc::new(picture), size: (frame.rows, frame.columns) }
    }

    /// What the model gets of an image, or of a part of it.
    fn pixels(&self, image: &Picture<'_>, bounds: Option<ImageBox>) -> Vec<f32> {
        let Some(bounds) = bounds else { return self.preprocess.pixel_values(image) };
        let (rows, columns) =
            (span(bounds.top, bounds.bottom, image.height), span(bounds.left, bounds.right, image.width));
        let width = columns.len() * image.channels;
        let row = |row: usize| {
            let start = (row * image.width + columns.start) * image.channels;
            &image.bytes[start..start + width]
        };
        let bytes: Vec<u8> = rows.clone().flat_map(row).copied().collect();
        let (height, width) = (rows.len(), columns.len());
        self.preprocess.pixel_values(&Picture { bytes: &bytes, height, width, channels: image.channels })
    }

    fn decoder(&self) -> Decoder {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Decoder::new(self.command.clone(), self.limits, Decoder::DEADLINE))
    }
}

/// The pixels between two fractions of a length, at least [`MIN_PART`] of them where there are so many, about the middle.
fn span(from: f32, to: f32, length: usize) -> Range<usize> {
    let at = |fraction: f32| (f64::from(fraction) * length as f64).round() as usize;
    let (from, to) = (at(from).min(length), at(to).min(length));
    let least = MIN_PART.min(length);
    if to >= from + least {
        return from..to;
    }
    let start = usize::midpoint(from, to).saturating_sub(least / 2).min(length - least);
    start..start + least
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_inside_its_image_and_never_tiny() {
        for (from, to, length, want) in [
            (0.0, 1.0, 100, 0..100),
            (0.2, 0.8, 100, 20..80),
            (0.5, 0.51, 100, 34..66),
            (0.0, 0.0, 100, 0..32),
            (1.0, 1.0, 100, 68..100),
            (0.5, 0.5, 10, 0..10),
        ] {
            let got = span(from, to, length);
            assert_eq!(got.len(), want.len(), "{from} {to} {length}: {got:?}");
            assert!(got.start.abs_diff(want.start) <= 2 && got.end <= length, "{from} {to} {length}: {got:?}");
        }
    }
}
