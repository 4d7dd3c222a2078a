//! The views of an X-ray study.

use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole};
use prelim_proto::study::UnreadReason;

use super::{Group, Image, Partition, PartitionLimits, code_word};

/// Frames up to which a multi-frame image is a set of stills; more are a cine run, which a reader watches and does not
/// read frame by frame.
const MAX_STILLS: u32 = 4;

/// The jobs of a study's X-ray images: the views of a body part together where they fit, else one job a view with
/// others beside it.
pub(super) fn groups(images: &[Image<'_>], limits: &PartitionLimits, result: &mut Partition) -> Vec<Group> {
    let mut views: Vec<(Option<String>, u8, ImageRef)> = Vec::new();
    for image in images {
        let frames = image.attributes.frames;
        if frames > MAX_STILLS {
            let detail = format!("cine run of {frames} frames; only stills are read");
            result.unread.push(image.unread(UnreadReason::NotReadable, detail));
            continue;
        }
        let (rank, label) = view(image);
        for frame in 1..=frames {
            let label = if frames > 1 { format!("{label}, frame {frame} of {frames}") } else { label.clone() };
            views.push((image.body_part(), rank, image.reference(frame, label)));
        }
    }
    // Frontal views first; the sort keeps the order of series and instance within a rank.
    views.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));

    let mut groups = Vec::new();
    for part in views.chunk_by(|a, b| a.0 == b.0) {
        let body_part = part[0].0.clone();
        let refs: Vec<ImageRef> = part.iter().map(|(_, _, image)| image.clone()).collect();
        let shown = refs.iter().map(|image| image.label.as_str()).collect::<Vec<_>>().join(", ");
        let region = body_part.as_deref().unwrap_or("body part not stated").to_lowercase();
        let kind = ImageKind::Xray;
        if refs.len() <= limits.max_views_per_job {
            let views = if refs.len() == 1 { "1 view".to_owned() } else { format!("{} views together", refs.len()) };
            result.notes.push(format!("X-ray, {region}: {views} ({shown})."));
            groups.push(Group { kind, images: refs, body_part });
        } else {
            result.notes.push(format!("X-ray, {region}: {} views, each read by itself ({shown}).", refs.len()));
            for at in 0..refs.len() {
                groups.push(Group { kind, images: one_of(&refs, at, limits), body_part: body_part.clone() });
            }
        }
    }
    groups
}

/// View `at`, with as many others as context as a job may show.
fn one_of(refs: &[ImageRef], at: usize, limits: &PartitionLimits) -> Vec<ImageRef> {
    let context = |image: &ImageRef| ImageRef { role: ImageRole::Context, ..image.clone() };
    let others = refs.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, image)| context(image));
    std::iter::once(refs[at].clone()).chain(others.take(limits.max_views_per_job.saturating_sub(1))).collect()
}

/// Place of a view among the others of its body part, and what to call it.
pub(super) fn view(image: &Image<'_>) -> (u8, String) {
    let stated = image.attributes.view_position.as_deref().and_then(code_word).unwrap_or("").trim();
    let upper = stated.to_uppercase();
    let (rank, name) = match upper.as_str() {
        "PA" | "POSTERO-ANTERIOR" => (0, "PA".to_owned()),
        "AP" | "ANTERO-POSTERIOR" => (1, "AP".to_owned()),
        "LL" | "RL" | "LAT" | "LATERAL" | "LEFT LATERAL" | "RIGHT LATERAL" | "MEDIO-LATERAL" | "LATERO-MEDIAL" => {
            (3, "lateral".to_owned())
        }
        "" => (2, "view not stated".to_owned()),
        _ => (2, stated.to_lowercase()),
    };
    let side = match image.attributes.laterality.as_deref() {
        Some("L") => "left ",
        Some("R") => "right ",
        _ => "",
    };
    (rank, format!("{side}{name}"))
}
