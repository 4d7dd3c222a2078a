//! Key images: the frames that a report shows, decoded in a process of their own and rendered for people.

use prelim_imaging::Limits;
use prelim_imaging::keyimage::grey_png;
use prelim_imaging::photometry::Photometry;
use prelim_imaging::render::{GreyImage, ct_grey, xray_grey};
use prelim_imaging::sandbox::Decoder;
use prelim_imaging::scan::scan;
use prelim_proto::ids::{Digest, Uid};
use prelim_proto::report::Report;
use prelim_proto::study::Study;

use crate::report::{KeyImage, wanted_key_images};
use crate::service::Coordinator;

/// Longer side of a key image, in pixels: sharp on a page, small in a file.
const MAX_SIDE: u32 = 768;
/// Window of CT key images, in HU: wide enough to show lung and soft tissue on one picture.
const CT_WINDOW_HU: (f64, f64) = (-1_000.0, 400.0);

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
