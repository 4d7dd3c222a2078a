//! Which images a question is about. Pure.

use std::collections::VecDeque;

use prelim_proto::finding::{Evidence, Finding, Laterality};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind};
use prelim_proto::question::MAX_QUESTION_IMAGES;
use prelim_proto::report::Report;
use prelim_proto::study::Study;

use super::Pointed;
use crate::partition::{self, PartitionLimits, partition};
use crate::review::phrases;

/// What a question is about.
pub(super) struct Images {
    pub(super) kind: ImageKind,
    /// Those that matter most first, all of one kind.
    pub(super) images: Vec<ImageRef>,
    /// What they show.
    pub(super) body_part: Option<String>,
    /// How many there were to choose from; none where one was pointed at.
    pub(super) of: Option<u32>,
}

/// The images, those that matter most first. The image that is pointed at alone, where one is; else those in which findings of the
/// report were seen that the words name, then those of its other findings, and then those that a reading would look at: an X-ray's
/// views in their order, and slices spread over a CT.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn images(
    study: &Study,
    report: Option<&Report>,
    words: &str,
    pointed: Option<&Pointed>,
    limits: &PartitionLimits,
) -> Result<Images, String> {
    if let Some(pointed) = pointed {
        let (kind, image, body_part) = partition::image(study, &pointed.instance, pointed.frame)?;
        return Ok(Images { kind, images: vec![image], body_part, of: None });
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
    let findings = report.map_or(&[][..], |report| &report.findings);
    let seen = seen_of(findings, words);
    let place = |evidence: &Evidence| {
        read.iter().position(|(_, image, _)| image.instance == evidence.instance && image.frame == evidence.frame)
    };
    let mut places: Vec<usize> = seen.into_iter().filter_map(place).collect();
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
    let of = u32::try_from(of_kind.len()).ok();
    Ok(Images { kind, images, body_part, of })
}

/// Where findings were seen: those that the words name first, the surest place of each before the second one of any; then the
/// others.
fn seen_of<'a>(findings: &'a [Finding], words: &str) -> Vec<&'a Evidence> {
    let mut named: Vec<&Finding> = Vec::new();
    for clause in phrases::clauses(words) {
        let (side, parts) = (phrases::side(&clause), phrases::parts(&clause));
        let is_there = |finding: &Finding| {
            let is_side = |side| [Some(side), Some(Laterality::Bilateral)].contains(&finding.laterality);
            let is_part = |(_, zones): &(&str, Vec<_>)| finding.zone.is_some_and(|zone| zones.contains(&zone));
            (side.is_some_and(is_side), parts.iter().any(is_part))
        };
        for (code, ..) in phrases::named(&clause) {
            let mut meant: Vec<&Finding> = findings.iter().filter(|finding| finding.code == code).collect();
            meant.sort_by_key(|finding| std::cmp::Reverse(is_there(finding)));
            named.extend(meant);
        }
    }
    let most = named.iter().map(|finding| finding.evidence.len()).max().unwrap_or(0);
    let in_turn = (0..most).flat_map(|rank| named.iter().filter_map(move |finding| finding.evidence.get(rank)));
    in_turn.chain(findings.iter().flat_map(|finding| &finding.evidence)).collect()
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
    fn findings_that_the_words_name_come_first() {
        use prelim_proto::finding::{Presence, Zone};
        use prelim_proto::ids::Uid;
        use prelim_proto::vocabulary::FindingCode::{self, Nodule, Pneumothorax};
        let finding = |code: FindingCode, side, zone, frames: &[u32]| {
            let evidence = |frame: &u32| Evidence {
                instance: Uid::parse("1.2").unwrap(),
                series: Uid::parse("1.3").unwrap(),
                frame: *frame,
                bounds: None,
                confidence: 1.0,
            };
            Finding {
                code,
                presence: Presence::Present,
                laterality: Some(side),
                zone,
                severity: None,
                size_mm: None,
                confidence: 1.0,
                evidence: frames.iter().map(evidence).collect(),
            }
        };
        let findings = [
            finding(Nodule, Laterality::Right, Some(Zone::Upper), &[1, 2]),
            finding(Nodule, Laterality::Left, Some(Zone::Lower), &[3, 4]),
            finding(Pneumothorax, Laterality::Left, None, &[5, 6]),
        ];
        for (words, want) in [
            ("Is there a pneumothorax?", &[5, 6, 1, 2][..]),
            ("Nodule or pneumothorax?", &[1, 3, 5, 2, 4, 6]),
            ("Is the left nodule calcified?", &[3, 1, 4, 2]),
            ("How large is the nodule in the lower zone?", &[3, 1, 4, 2]),
            ("Is there a mass?", &[1, 2, 3, 4, 5, 6]),
            ("Anything else?", &[1, 2, 3, 4, 5, 6]),
            ("", &[1, 2, 3, 4, 5, 6]),
        ] {
            let frames: Vec<u32> = seen_of(&findings, words).iter().map(|evidence| evidence.frame).collect();
            assert_eq!(frames[..want.len()], *want, "{words}");
        }
        assert!(seen_of(&[], "Is there a mass?").is_empty());
    }

    #[test]
    fn places_are_spread_and_each_comes_once() {
        assert_eq!(spread(8).collect::<Vec<_>>(), [4, 2, 6, 1, 3, 5, 7, 0]);
        let mut all: Vec<usize> = spread(37).collect();
        all.sort_unstable();
        assert_eq!(all, (0..37).collect::<Vec<_>>());
        assert_eq!(spread(0).count(), 0);
    }
}
