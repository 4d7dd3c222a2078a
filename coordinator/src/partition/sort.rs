//! Which instances are images that prelim reads.

use prelim_proto::image::ImageKind;
use prelim_proto::study::{Instance, Series, Study, Unread, UnreadReason};

use super::Image;

/// DX, raw: the detector's values before processing (PS3.4 annex B.5).
const DX_FOR_PROCESSING: &str = "1.2.840.10008.5.1.4.1.1.1.1.1";
/// DX, processed for viewing.
const DX_FOR_PRESENTATION: &str = "1.2.840.10008.5.1.4.1.1.1.1";
/// What Secondary Capture classes begin with.
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";

/// What storage classes begin with (PS3.4 annex B.5).
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";
/// What the rest of a class begins with that holds no image, and what people call it; the first that fits.
const NO_IMAGES: [(&str, &str); 10] = [
    ("88.67", "radiation dose report"),
    ("88.59", "key object selection"),
    ("88.", "structured report"),
    ("104.", "encapsulated document"),
    ("11.", "presentation state"),
    ("9.", "waveform"),
    ("66.4", "segmentation"),
    ("66", "raw data or registration"),
    ("481.", "radiotherapy object"),
    ("78.", "ophthalmic measurement"),
];

/// The images of a study by kind, in order of series and instance number.
#[derive(Debug, Default)]
pub(super) struct ByKind<'a> {
    pub(super) xray: Vec<Image<'a>>,
    pub(super) ct: Vec<Image<'a>>,
}

/// Sorts the instances of a study; what is no image to be read goes to `unread`.
pub(super) fn by_kind<'a>(study: &'a Study, unread: &mut Vec<Unread>) -> ByKind<'a> {
    let mut sorted = ByKind::default();
    for (series, instance) in study.series.iter().flat_map(|s| s.instances.iter().map(move |i| (s, i))) {
        match readable(series, instance) {
            Ok((kind, attributes)) => {
                let image = Image { series, instance, attributes };
                match kind {
                    ImageKind::Xray => sorted.xray.push(image),
                    ImageKind::Ct => sorted.ct.push(image),
                }
            }
            Err((reason, detail)) => {
                unread.push(Unread { instance: instance.uid.clone(), frame: None, reason, detail });
            }
        }
    }
    drop_raw_copies(&mut sorted.xray, unread);
    sorted.xray.sort_by(|a, b| a.order().cmp(&b.order()));
    sorted.ct.sort_by(|a, b| a.order().cmp(&b.order()));
    sorted
}

pub(super) type Readable<'a> = Result<(ImageKind, &'a prelim_proto::image::ImageAttributes), (UnreadReason, String)>;

/// The kind and attributes of an instance that can be read, or the reason why it cannot.
pub(super) fn readable<'a>(series: &Series, instance: &'a Instance) -> Readable<'a> {
    let modality = if series.modality.is_empty() { "not stated" } else { &series.modality };
    let Some(image) = &instance.image else {
        return Err((UnreadReason::NotReadable, class_name(instance)));
    };
    let kind = series.kind().or_else(|| kind_of_class(series, instance));
    let Some(kind) = kind else {
        return Err((UnreadReason::NotReadable, format!("modality {modality} is not read")));
    };
    if image.rows == 0 || image.columns == 0 {
        let (rows, columns) = (image.rows, image.columns);
        return Err((UnreadReason::Corrupt, format!("image of {rows} rows and {columns} columns")));
    }
    if kind == ImageKind::Ct && is_secondary_capture(instance) {
        return Err((UnreadReason::NotNeeded, "secondary capture (dose sheet, screen or other copy)".into()));
    }
    Ok((kind, image))
}

/// What an object without an image is, by its SOP class.
fn class_name(instance: &Instance) -> String {
    let class = instance.sop_class.as_str();
    let is_it = |known: &&(&str, &str)| class.strip_prefix(STORAGE).is_some_and(|rest| rest.starts_with(known.0));
    match NO_IMAGES.iter().find(is_it) {
        Some((_, name)) => format!("{name}: it holds no image"),
        None => format!("object of class {class} has no image"),
    }
}

/// The kind that the SOP class says, for objects without a modality.
fn kind_of_class(series: &Series, instance: &Instance) -> Option<ImageKind> {
    if !series.modality.is_empty() {
        return None;
    }
    match instance.sop_class.as_str() {
        // Computed Radiography, Digital X-Ray; CT, Enhanced CT.
        "1.2.840.10008.5.1.4.1.1.1" | DX_FOR_PRESENTATION | DX_FOR_PROCESSING => Some(ImageKind::Xray),
        "1.2.840.10008.5.1.4.1.1.2" | "1.2.840.10008.5.1.4.1.1.2.1" => Some(ImageKind::Ct),
        _ => None,
    }
}

fn is_secondary_capture(instance: &Instance) -> bool {
    let rest = instance.sop_class.as_str().strip_prefix(SECONDARY_CAPTURE);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A detector may send each exposure raw and processed: the processed one is read.
fn drop_raw_copies(images: &mut Vec<Image<'_>>, unread: &mut Vec<Unread>) {
    let is = |image: &Image<'_>, class| image.instance.sop_class.as_str() == class;
    if !images.iter().any(|image| is(image, DX_FOR_PRESENTATION)) {
        return;
    }
    images.retain(|image| {
        let raw = is(image, DX_FOR_PROCESSING);
        if raw {
            unread.push(image.unread(UnreadReason::NotNeeded, "raw copy of an exposure; the processed one is read"));
        }
        !raw
    });
}
