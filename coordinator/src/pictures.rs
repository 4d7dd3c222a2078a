//! What reports show of images: key images, decoded in a process of their own and rendered for people, and how a viewer shows
//! the rest.

use prelim_imaging::Limits;
use prelim_imaging::keyimage::grey_png;
use prelim_imaging::photometry::{Modality, Photometry, Voi};
use prelim_imaging::render::{GreyImage, ct_grey, xray_grey};
use prelim_imaging::sandbox::Decoder;
use prelim_imaging::scan::scan;
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::report::Report;
use prelim_proto::study::Study;

use crate::report::{KeyImage, Shading, Window, boxed_frames, wanted_key_images};
use crate::service::Coordinator;

/// Longer side of a key image, in pixels: sharp on a page, small in a file.
const MAX_SIDE: u32 = 768;
/// Window of CT key images, in HU: wide enough to show lung and soft tissue on one picture.
pub(crate) const CT_WINDOW_HU: (f64, f64) = (-1_000.0, 400.0);

/// The pictures for a report. One that cannot be made is left out: the report stands without it.
pub(crate) async fn key_images(coordinator: &Coordinator, report: &Report, study: &Study) -> Vec<KeyImage> {
    let mut images = Vec::new();
    for (instance, frame) in wanted_key_images(report) {
        let Some((digest, is_ct)) = find(study, &instance) else { continue };
        let Ok(bytes) = coordinator.bytes.get(&study.uid, &digest).await else { continue };
        let command = coordinator.decoder.clone();
        let draw = move || {
            let mut decoder = Decoder::new(command, Limits::default(), Decoder::DEADLINE);
            picture(&mut decoder, &bytes, frame, is_ct)
        };
        match tokio::task::spawn_blocking(draw).await {
            Ok(Some((png, width, height))) => images.push(KeyImage { instance, frame, png, width, height }),
            Ok(None) | Err(_) => tracing::warn!(frame, "key image could not be made"),
        }
    }
    images
}

/// How the frames with boxes are shown, by their headers. One whose values go through a table is left out: a presentation
/// state has room for one transform of all its images.
pub(crate) async fn shadings(coordinator: &Coordinator, report: &Report, study: &Study) -> Vec<Shading> {
    let mut shadings = Vec::new();
    for (instance, frame) in boxed_frames(report) {
        let Some((digest, _)) = find(study, &instance) else { continue };
        let Ok(bytes) = coordinator.bytes.get(&study.uid, &digest).await else { continue };
        let read = move || {
            let scanned = scan(&bytes, &Limits::default()).ok()?;
            Some(Photometry::read(&scanned, frame))
        };
        let Ok(Some(photometry)) = tokio::task::spawn_blocking(read).await else { continue };
        let Modality::Linear { slope, intercept } = photometry.modality else { continue };
        let window = match photometry.voi {
            Some(Voi::Window { center, width, function }) => Some(Window { center, width, function }),
            Some(Voi::Table(_)) | None => None,
        };
        shadings.push(Shading { instance, frame, rescale: (slope, intercept), window });
    }
    shadings
}

/// The digest of an instance, and whether it is a CT slice.
fn find(study: &Study, uid: &Uid) -> Option<(Digest, bool)> {
    study.series.iter().find_map(|series| {
        let instance = series.instances.iter().find(|instance| instance.uid == *uid)?;
        Some((instance.digest.clone(), series.modality == "CT"))
    })
}

/// One frame as PNG, with its width and height.
fn picture(decoder: &mut Decoder, bytes: &[u8], frame: u32, is_ct: bool) -> Option<(Vec<u8>, u32, u32)> {
    let scanned = scan(bytes, &Limits::default()).ok()?;
    let decoded = decoder.decode(&scanned, frame).ok()?;
    let photometry = Photometry::read(&scanned, frame);
    let grey: GreyImage =
        if is_ct { ct_grey(&decoded, &photometry, CT_WINDOW_HU) } else { xray_grey(&decoded, &photometry) };
    let longer = grey.width.max(grey.height).max(1);
    let shown = |side: u32| if longer > MAX_SIDE { (side * MAX_SIDE / longer).max(1) } else { side };
    Some((grey_png(&grey, MAX_SIDE).ok()?, shown(grey.width), shown(grey.height)))
}
