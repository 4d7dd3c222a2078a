//! What was not read, and what qualifies a draft.

use prelim_proto::finding::{Finding, Presence};
use prelim_proto::job::{ImageRole, JobOutcome};
use prelim_proto::study::{Study, Unread, UnreadReason};

use super::Reading;

/// Everything of the study that was not read: by the partition's choice, by the workers, and for dead jobs.
pub(super) fn unread(study: &Study, readings: &[Reading<'_>]) -> Vec<Unread> {
    // An earlier merge may have listed what was tried again since.
    let chosen = study.unread.iter().filter(|unread| unread.reason != UnreadReason::JobDead);
    let mut unread: Vec<Unread> = chosen.cloned().collect();
    for reading in readings {
        match reading.end {
            Ok(outcome) => unread.extend(outcome.unread.iter().cloned()),
            Err(why) => {
                let to_read = reading.spec.images.iter().filter(|image| image.role == ImageRole::Read);
                unread.extend(to_read.map(|image| Unread {
                    instance: image.instance.clone(),
                    frame: Some(image.frame),
                    reason: UnreadReason::JobDead,
                    detail: format!("reading was given up: {why}"),
                }));
            }
        }
    }
    unread.sort_by(|a, b| (&a.instance, a.frame, &a.detail).cmp(&(&b.instance, b.frame, &b.detail)));
    // A slice that two slabs showed is named once.
    unread.dedup_by(|later, earlier| later.instance == earlier.instance && later.frame == earlier.frame);
    unread
}

/// Whether it should have been read, and was not.
pub(super) fn is_missed(unread: &Unread) -> bool {
    match unread.reason {
        UnreadReason::TransferSyntax | UnreadReason::Corrupt | UnreadReason::TooLarge | UnreadReason::JobDead => true,
        UnreadReason::NotReadable | UnreadReason::NotNeeded => false,
    }
}

/// Why there is no draft: each reason, once.
pub(super) fn nothing_read(unread: &[Unread]) -> String {
    let mut details: Vec<&str> = unread.iter().filter(|u| is_missed(u)).map(|u| u.detail.as_str()).collect();
    details.sort_unstable();
    details.dedup();
    let more = details.len().saturating_sub(3);
    details.truncate(3);
    let found = if details.is_empty() { "no frame was decoded".to_owned() } else { details.join("; ") };
    let more = if more > 0 { format!("; and {more} other reasons") } else { String::new() };
    format!("no image of the study could be read: {found}{more}")
}

/// That instances were announced which are not there, where that is so.
pub(super) fn announced(study: &Study) -> Option<String> {
    let held = study.series.iter().map(|series| series.instances.len()).sum::<usize>();
    let expected = study.intake.expected_instances.filter(|expected| held < *expected as usize)?;
    Some(format!("The sender announced {expected} instances of the study, and only {held} were there."))
}

/// What qualifies the draft, in sentences.
pub(super) fn limitations(
    outcomes: &[&JobOutcome],
    unread: &[Unread],
    findings: &[Finding],
    unsupported: usize,
) -> Vec<String> {
    let mut sentences = Vec::new();
    if outcomes.iter().any(|outcome| outcome.model.demonstration) {
        sentences.push(
            "The model is a demonstration, trained on generated images: its findings say nothing about patients."
                .to_owned(),
        );
    }
    let missed = unread.iter().filter(|unread| is_missed(unread)).count();
    if missed > 0 {
        let images = if missed == 1 { "One image was" } else { &format!("{missed} images were") };
        sentences.push(format!("The draft is partial: {images} not read, for the reasons listed."));
    }
    if outcomes.iter().any(|outcome| outcome.truncated) {
        sentences
            .push("The model's answer for some images was cut off at its limit: findings may be missing.".to_owned());
    }
    if unsupported > 0 {
        let seen = if unsupported == 1 { "One observation" } else { &format!("{unsupported} observations") };
        sentences.push(format!("{seen} on a single slice, without support from its neighbours, not reported."));
    }
    if findings.iter().any(|finding| finding.presence == Presence::Uncertain) {
        sentences.push("Findings called possible were seen with low confidence.".to_owned());
    }
    let mut stated: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.limitations).collect();
    stated.sort_unstable();
    stated.dedup();
    sentences.extend(stated.into_iter().cloned());
    sentences
}
