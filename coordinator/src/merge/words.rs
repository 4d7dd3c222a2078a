//! The sentences of a report, by template from the joined findings.
//!
//! Words and structure cannot disagree: every sentence is made of findings in the list, and says which.

use prelim_proto::finding::{Finding, Laterality, Presence, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRole, JobKind};
use prelim_proto::report::Sentence;
use prelim_proto::study::Study;

use super::Reading;

/// The finding in words: "small left pleural effusion", with its size where that is known.
fn phrase(finding: &Finding) -> String {
    let mut words: Vec<&str> = Vec::new();
    words.extend(finding.severity.map(severity));
    words.extend(finding.laterality.map(laterality));
    words.extend(finding.zone.map(zone));
    words.push(finding.code.name());
    let mut text = words.join(" ");
    if let Some(mm) = finding.size_mm {
        text.push_str(&format!(", about {mm:.0} mm"));
    }
    text
}

fn severity(value: Severity) -> &'static str {
    match value {
        Severity::Small => "small",
        Severity::Mild => "mild",
        Severity::Moderate => "moderate",
        Severity::Large => "large",
        Severity::Severe => "severe",
    }
}

fn laterality(value: Laterality) -> &'static str {
    match value {
        Laterality::Left => "left",
        Laterality::Right => "right",
        Laterality::Bilateral => "bilateral",
    }
}

fn zone(value: Zone) -> &'static str {
    match value {
        Zone::Upper => "upper",
        Zone::Mid => "mid",
        Zone::Lower => "lower",
        Zone::Anterior => "anterior",
        Zone::Posterior => "posterior",
    }
}

/// A sentence: a capital first and a full stop last.
fn sentence(text: &str, findings: Vec<u32>) -> Sentence {
    let mut chars = text.chars();
    let first: String = chars.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    Sentence { text: format!("{first}{}.", chars.as_str()), findings }
}

/// The findings in words, one sentence each.
pub(super) fn findings(findings: &[Finding], kinds: &[ImageKind]) -> Vec<Sentence> {
    if findings.is_empty() {
        let images = match kinds {
            [ImageKind::Ct] => "slices",
            _ => "images",
        };
        return vec![sentence(&format!("none of the findings that the model can name was seen on the {images} read"), vec![])];
    }
    let one = |(index, finding): (usize, &Finding)| {
        let phrase = phrase(finding);
        let text = match finding.presence {
            Presence::Present => phrase,
            Presence::Uncertain => format!("possible {phrase}"),
            Presence::Absent => format!("no {}", finding.code.name()),
        };
        sentence(&text, vec![index as u32])
    };
    findings.iter().enumerate().map(one).collect()
}

/// What it comes to: one sentence of what is present, one of what is possible.
pub(super) fn impression(findings: &[Finding]) -> Vec<Sentence> {
    let together = |presence: Presence, before: &str| {
        let those: Vec<(u32, &Finding)> =
            (0u32..).zip(findings).filter(|(_, finding)| finding.presence == presence).collect();
        if those.is_empty() {
            return None;
        }
        let phrases: Vec<String> = those.iter().map(|(_, finding)| phrase(finding)).collect();
        Some(sentence(&format!("{before}{}", phrases.join("; ")), those.iter().map(|(index, _)| *index).collect()))
    };
    let said: Vec<Sentence> = [together(Presence::Present, ""), together(Presence::Uncertain, "possible: ")]
        .into_iter()
        .flatten()
        .collect();
    if said.is_empty() {
        // Not "normal": the model was asked for a list of findings, and that is all that can be said.
        return vec![sentence("no finding among those that the model can name", vec![])];
    }
    said
}

/// How the images were made and which were read.
pub(super) fn technique(study: &Study, readings: &[Reading<'_>]) -> Vec<String> {
    let mut sentences = Vec::new();
    let of_kind = |kind| readings.iter().filter(move |reading| reading.spec.kind == JobKind::Read(kind));
    let to_read = |kind| {
        of_kind(kind).flat_map(|reading| &reading.spec.images).filter(|image| image.role == ImageRole::Read)
    };
    let part = readings.iter().find_map(|reading| reading.spec.body_part.as_deref());
    let part = part.map(|part| format!(" of the {}", part.to_lowercase())).unwrap_or_default();
    let views: Vec<&str> = to_read(ImageKind::Xray).map(|image| image.label.as_str()).collect();
    if !views.is_empty() {
        let named: Vec<&str> = views.iter().copied().filter(|label| !label.is_empty()).collect();
        let named = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        sentences.push(format!("X-ray{part}, {}{named}.", count(views.len(), "view")));
    }
    let slices = to_read(ImageKind::Ct).count();
    if slices > 0 {
        let slabs = of_kind(ImageKind::Ct).count();
        sentences.push(format!("CT{part}, {} read in {}.", count(slices, "slice"), count(slabs, "slab")));
    }
    sentences.extend(study.partition_notes.iter().cloned());
    sentences
}

fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
