//! Report writers, checked by the tools that will read what they write.
//!
//! Verifies the promise that each draft is written as JSON with a published schema, HTML for people, plain text, FHIR R4 and HL7
//! v2.5.1 that validators take, PDF that `qpdf` and poppler read, and DICOM objects (structured report, Encapsulated PDF,
//! Secondary Capture, Key Object Selection, presentation state) that `dciodvfy` passes and that pydicom and highdicom read back
//! whole.

mod capture;
mod fhir;
mod hl7;
mod html;
mod json;
mod key_objects;
mod pdf;
mod presentation;
mod reviewed;
mod samples;
mod sr;
mod text;
mod tools;

use prelim_coordinator::report::{self, Format, ReportError};
use prelim_proto::ids::Uid;
use samples::Sample;

#[test]
fn every_form_is_a_pure_function_and_carries_the_statement() {
    for sample in samples::all() {
        for format in Format::ALL {
            let Some(first) = sample.written(format) else { continue };
            assert!(first == sample.write(format), "{format} of {}", sample.name);
            let text = match format {
                // Its words are glyphs, compressed.
                Format::Pdf => pdf::text(&sample),
                _ => String::from_utf8_lossy(&first).into_owned(),
            };
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains("not a medical device"), "{format} of {}", sample.name);
            let demonstration =
                text.to_uppercase().contains("DEMONSTRATION MODEL") || text.contains("\"demonstration\": true");
            assert_eq!(demonstration, sample.demonstration(), "{format} of {}", sample.name);
        }
    }
}

#[test]
fn a_report_of_another_study_is_refused() {
    let Sample { mut study, report, .. } = samples::normal();
    study.uid = Uid::parse("1.2.3").unwrap();
    let inputs = report::ReportInputs { report: &report, study: &study, key_images: &[], shadings: &[] };
    assert!(matches!(report::write(Format::Json, &inputs), Err(ReportError::OtherStudy { .. })));
}

#[test]
fn evidence_outside_the_study_is_refused() {
    let Sample { study, mut report, .. } = samples::chest_xray();
    report.findings[0].evidence[0].instance = Uid::parse("1.2.3").unwrap();
    let inputs = report::ReportInputs { report: &report, study: &study, key_images: &[], shadings: &[] };
    assert!(matches!(report::write(Format::Sr, &inputs), Err(ReportError::EvidenceNotInStudy { .. })));
}

#[test]
fn sentences_point_at_findings() {
    let Sample { study, mut report, .. } = samples::normal();
    report.impression[0].findings.push(0);
    let inputs = report::ReportInputs { report: &report, study: &study, key_images: &[], shadings: &[] };
    assert!(matches!(
        report::write(Format::Text, &inputs),
        Err(ReportError::FindingOutOfRange { index: 0, findings: 0 })
    ));
}

#[test]
fn key_images_are_the_best_of_each_finding_first_and_bounded() {
    let ct = samples::chest_ct();
    let wanted = report::wanted_key_images(&ct.report);
    assert!(wanted.len() <= report::KEY_IMAGES_MAX);
    let best: Vec<_> =
        ct.report.findings.iter().map(|f| (f.evidence[0].instance.clone(), f.evidence[0].frame)).collect();
    for frame in &best {
        assert!(wanted[..best.len()].contains(frame), "{frame:?}");
    }
    assert!(report::wanted_key_images(&samples::normal().report).is_empty());
}

#[test]
fn formats_are_asked_for_by_name() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse::<Format>().unwrap(), format);
    }
    let error = "docx".parse::<Format>().unwrap_err();
    assert!(
        error.to_string().starts_with(
            "unknown report format \"docx\": json, html, text, sr, fhir, hl7, pdf, dicom-pdf, sc, kos, gsps, assessment"
        ),
        "{error}"
    );
}
