//! Which images a question is about. Pure.

use std::collections::VecDeque;

use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind};
use prelim_proto::question::MAX_QUESTION_IMAGES;
use prelim_proto::report::Report;
use prelim_proto::study::Study;

use super::Pointed;
use crate::partition::{self, PartitionLimits, partition};

/// The images, those that matter most first, all of one kind, with what they show. The image that is pointed at alone, where one
/// is; else those in which findings of the report were seen, and then those that a reading would look at: an X-ray's views in
/// their order, and slices spread over a CT.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn images(
    study: &Study,
    report: Option<&Report>,
    pointed: Option<&Pointed>,
    limits: &PartitionLimits,
) -> Result<(ImageKind, Vec<ImageRef>, Option<String>), String> {
    if let Some(pointed) = pointed {
        let (kind, image, body_part) = partition::image(study, &pointed.instance, pointed.frame)?;
        return Ok((kind, vec![image], body_part));
    }
    let parts = partition(study, 0, limits);
    if parts.jobs.is_empty() {
        return Err(parts.failure);
    }
    let mut read: Vec<(ImageKind, ImageRef, Option<String>)> = Vec::new();
    for job in parts.jobs {
        let JobKind::Read(kind) = job.kind else { continue };
        let images = job.images.into_iter().filter(|image| image.role == ImageRole::Read);
        read.extend(images.map(|image| (kind, image, job.body_part.clone())));
    }
    let seen = report.into_iter().flat_map(|report| &report.findings).flat_map(|finding| &finding.evidence);
    let place = |evidence: &prelim_proto::finding::Evidence| {
        read.iter().position(|(_, image, _)| image.instance == evidence.instance && image.frame == evidence.frame)
    };
    let mut places: Vec<usize> = seen.filter_map(place).collect();
    let first = places.first().copied().unwrap_or(0);
    let Some((kind, _, body_part)) = read.get(first) else { return Err("nothing in it is read".to_owned()) };
    let (kind, body_part) = (*kind, body_part.clone());
    let of_kind: Vec<usize> = (0..read.len()).filter(|place| read[*place].0 == kind).collect();
    match kind {
        ImageKind::Xray => places.extend(&of_kind),
        ImageKind::Ct => places.extend(spread(of_kind.len()).map(|place| of_kind[place])),
    }
    let mut images: Vec<ImageRef> = Vec::new();
    for (of, image, _) in places.into_iter().map(|place| &read[place]) {
        let is_new = !images.iter().any(|held| (&held.instance, held.frame) == (&image.instance, image.frame));
        if *of == kind && is_new && images.len() < MAX_QUESTION_IMAGES {
            images.push(image.clone());
        }
    }
    Ok((kind, images, body_part))
}

/// The numbers below `length`, so that the first of them, however many, are spread over it: the middle, then the middles of the
/// halves, and so on.
fn spread(length: usize) -> impl Iterator<Item = usize> {
    let mut parts = VecDeque::new();
    parts.push_back(0..length);
    std::iter::from_fn(move || {
        loop {
            let part = parts.pop_front()?;
            if !part.is_empty() {
                let middle = part.start + part.len() / 2;
                parts.extend([part.start..middle, middle + 1..part.end]);
                return Some(middle);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_and_each_comes_once() {
        assert_eq!(spread(8).collect::<Vec<_>>(), [4, 2, 6, 1, 3, 5, 7, 0]);
        let mut all: Vec<usize> = spread(37).collect();
        all.sort_unstable();
        assert_eq!(all, (0..37).collect::<Vec<_>>());
        assert_eq!(spread(0).count(), 0);
    }
}
