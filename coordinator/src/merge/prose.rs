//! Sentences from findings, by template. Words and structure cannot disagree: each sentence is made from the findings
//! whose numbers it carries.

use std::cmp::Reverse;

use prelim_proto::finding::{Finding, Laterality, Presence, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind};
use prelim_proto::report::{Sentence, Urgency};
use prelim_proto::study::Study;
use prelim_proto::vocabulary::FindingCode;

use super::{Reading, positive, urgency};
use crate::report::present;

/// How the images were made, in sentences.
pub(super) fn technique(study: &Study, readings: &[Reading<'_>]) -> Vec<String> {
    let of_kind = |kind| readings.iter().filter(move |reading| reading.spec.kind == JobKind::Read(kind));
    let mut sentences = Vec::new();
    let mut parts: Vec<(&Option<String>, Vec<&ImageRef>)> = Vec::new();
    for reading in of_kind(ImageKind::Xray) {
        let read = reading.spec.images.iter().filter(|image| image.role == ImageRole::Read);
        match parts.last_mut() {
            Some((part, views)) if **part == reading.spec.body_part => views.extend(read),
            _ => parts.push((&reading.spec.body_part, read.collect())),
        }
    }
    for (part, views) in parts {
        let labels: Vec<&str> = views.iter().map(|view| view.label.as_str()).collect();
        let number = if views.len() == 1 { "one view".to_owned() } else { format!("{} views", views.len()) };
        sentences.push(format!("Radiography{}, {number} ({}).", region(part.as_deref()), labels.join(", ")));
    }
    let mut series: Vec<(&prelim_proto::ids::Uid, Option<&str>, usize)> = Vec::new();
    for reading in of_kind(ImageKind::Ct) {
        for image in reading.spec.images.iter().filter(|image| image.role == ImageRole::Read) {
            match series.last_mut() {
                Some((uid, _, slices)) if **uid == image.series => *slices += 1,
                _ => series.push((&image.series, reading.spec.body_part.as_deref(), 1)),
            }
        }
    }
    for (uid, part, slices) in series {
        let thickness = study.series.iter().find(|series| series.uid == *uid).and_then(|series| {
            series.instances.iter().find_map(|instance| instance.image.as_ref()?.slice_thickness_mm)
        });
        let thickness = thickness.map_or(String::new(), |mm| format!(" of {mm:.1} mm"));
        let slices = if slices == 1 { "one slice".to_owned() } else { format!("{slices} slices") };
        sentences.push(format!("CT{}, {slices}{thickness}.", region(part)));
    }
    sentences
}

fn region(part: Option<&str>) -> String {
    part.map_or(String::new(), |part| format!(" of the {}", part.to_lowercase()))
}

/// In place of "no finding" where an answer ended before the model had said all: it might have come to one.
const CUT: &str = "Not read to the end: the model's answer was cut off before it named a finding.";

/// The findings in words, one sentence a finding; whether an answer was cut off counts where there is none.
pub(super) fn findings_text(findings: &[Finding], is_cut: bool) -> Vec<Sentence> {
    let sentences = findings.iter().zip(0..).map(|(finding, index)| Sentence {
        text: format!("{}.", capitalised(&detailed(finding))),
        findings: vec![index],
    });
    let sentences: Vec<Sentence> = sentences.collect();
    if sentences.is_empty() {
        let text = if is_cut { CUT } else { "No finding on the images that were read." };
        return vec![Sentence { text: text.into(), findings: Vec::new() }];
    }
    sentences
}

/// What matters, the most urgent first.
pub(super) fn impression(findings: &[Finding], partial: bool, is_cut: bool) -> Vec<Sentence> {
    let mut important: Vec<(usize, &Finding)> = positive(findings).collect();
    important.sort_by_key(|(index, finding)| (Reverse(urgency::of(finding)), is_device(finding.code), *index));
    let mut sentences: Vec<Sentence> = important
        .into_iter()
        .map(|(index, finding)| {
            let urgent = match urgency::of(finding) {
                Urgency::Critical => " Critical: to be seen at once.",
                Urgency::Urgent => " Urgent: to be seen the same day.",
                Urgency::Routine => "",
            };
            Sentence { text: format!("{}.{urgent}", capitalised(&short(finding))), findings: vec![index as u32] }
        })
        .collect();
    if sentences.is_empty() {
        let read = if partial { "on the part of the study that was read" } else { "on the images that were read" };
        let text = if is_cut { CUT.to_owned() } else { format!("No finding {read}.") };
        sentences.push(Sentence { text, findings: Vec::new() });
    }
    sentences
}

fn is_device(code: FindingCode) -> bool {
    matches!(code, FindingCode::Pacemaker | FindingCode::EndotrachealTube)
}

/// "possible small left pleural effusion".
fn short(finding: &Finding) -> String {
    let name = finding.code.name();
    let certainty = match finding.presence {
        Presence::Absent => {
            return match finding.laterality {
                None => format!("no {name}"),
                Some(Laterality::Bilateral) => format!("no {name} on either side"),
                Some(side) => format!("no {} {name}", present::laterality(side)),
            };
        }
        Presence::Uncertain => "possible ",
        Presence::Present => "",
    };
    let severity = finding.severity.map_or("", |severity| match severity {
        Severity::Small => "small ",
        Severity::Mild => "mild ",
        Severity::Moderate => "moderate ",
        Severity::Large => "large ",
        Severity::Severe => "severe ",
    });
    let side = finding.laterality.map_or("", |side| match side {
        Laterality::Left => "left ",
        Laterality::Right => "right ",
        Laterality::Bilateral => "bilateral ",
    });
    format!("{certainty}{severity}{side}{name}")
}

/// The same with place and size.
pub(super) fn detailed(finding: &Finding) -> String {
    let mut text = short(finding);
    if let Some(zone) = finding.zone {
        text += match zone {
            Zone::Upper => ", upper zone",
            Zone::Mid => ", mid zone",
            Zone::Lower => ", lower zone",
            Zone::Anterior => ", anterior",
            Zone::Posterior => ", posterior",
        };
    }
    if let Some(size_mm) = finding.size_mm {
        text += &format!(", {}", present::millimetres(size_mm));
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
