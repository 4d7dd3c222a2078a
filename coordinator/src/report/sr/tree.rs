//! The content tree from its root down to the list of findings (TID 1500).

use dicom_core::VR;
use dicom_dictionary_std::tags;
use prelim_proto::report::{ModelProvenance, Report};
use prelim_proto::review::Standing;
use prelim_proto::study::Study;
use prelim_proto::vocabulary::Concept;

use super::{group, previous};
use crate::report::concepts as c;
use crate::report::dicom::DataSet;
use crate::report::dicom::element::{Element, code_sequence, text_element};
use crate::report::dicom::item::{self, Relationship};
use crate::report::lookup::{Images, images_read};
use crate::report::uid::Names;
use crate::report::{ReportInputs, present};

/// The elements of the tree's root.
///
/// Two containers are TID 1500's (the measurements, where there are findings, and the evaluations, always). The sections with
/// sentences come after them: the template is extensible, and readers that look for measurements skip what they do not know.
pub(super) fn of(inputs: &ReportInputs<'_>, names: &Names) -> Vec<Element> {
    let report = inputs.report;
    let mut children = vec![item::code(Relationship::HasConceptMod, c::LANGUAGE, c::ENGLISH)];
    children.extend(report.review.iter().flat_map(item::person_observer));
    children.extend(item::device_observer(report, &names.device));
    children.extend(procedures(inputs.study, report));
    children.push(comment(&report.statement));
    if let Some(replaces) = present::replaces(report) {
        children.push(comment(&format!("{replaces}.")));
    }
    if present::is_demonstration(report) {
        children.push(comment(present::DEMONSTRATION));
    }
    children.extend(measurements(inputs, names));
    children.push(evaluations(report));
    children.extend(sections(report));
    children.extend(remarks(report));

    let mut root = item::container_elements(Some("1500"), children);
    root.push(text_element(tags::VALUE_TYPE, VR::CS, "CONTAINER"));
    root.push(code_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, c::IMAGING_MEASUREMENT_REPORT));
    root
}

fn procedures(study: &Study, report: &Report) -> Vec<DataSet> {
    let procedures = c::procedures(report, &images_read(study, report)).into_iter();
    procedures.map(|procedure| item::code(Relationship::HasConceptMod, c::PROCEDURE_REPORTED, procedure)).collect()
}

fn measurements(inputs: &ReportInputs<'_>, names: &Names) -> Option<DataSet> {
    let images = Images::of(inputs.study);
    let findings = inputs.report.findings.iter().zip(&names.tracking).enumerate();
    let (change, standing) = (|index| present::change(inputs.report, index), inputs.report.standing());
    let groups: Vec<DataSet> = findings
        .flat_map(|(index, (finding, uid))| group::of(finding, uid, &images, change(index), standing))
        .collect();
    if groups.is_empty() {
        return None;
    }
    let children = [algorithms(inputs.report), groups].concat();
    Some(item::container(c::IMAGING_MEASUREMENTS, None, children))
}

fn evaluations(report: &Report) -> DataSet {
    let mut children = algorithms(report);
    // What was rejected says nothing of findings.
    if report.standing() != Standing::Rejected {
        children.push(item::code(Relationship::Contains, c::FINDINGS_SUMMARY, c::findings_summary(report)));
    }
    children.push(item::code(Relationship::Contains, c::PRIORITY, c::priority(report.urgency)));
    item::container(c::QUALITATIVE_EVALUATIONS, None, children)
}

/// The models, with everything that a draft depends on (TID 4019).
fn algorithms(report: &Report) -> Vec<DataSet> {
    let text = |name, value: &str| item::text(Relationship::HasConceptMod, name, value);
    let algorithm = |model: &ModelProvenance| {
        [
            text(c::ALGORITHM_NAME, &present::model(model)),
            text(c::ALGORITHM_VERSION, &format!("prelim {}", model.software_version)),
            text(c::ALGORITHM_PARAMETERS, &format!("weights sha256 {}", model.digest)),
            text(c::ALGORITHM_PARAMETERS, &format!("prompt {}", model.prompt_version)),
            text(c::ALGORITHM_PARAMETERS, &format!("preprocessing {}", model.preprocess_version)),
            text(c::ALGORITHM_PARAMETERS, &format!("arithmetic {}", model.arithmetic)),
        ]
    };
    report.models.iter().flat_map(algorithm).collect()
}

/// The sentences, in the sections of a radiology report (CID 7001).
fn sections(report: &Report) -> Vec<DataSet> {
    let findings: Vec<&str> = report.findings_text.iter().map(|sentence| sentence.text.as_str()).collect();
    let impression: Vec<&str> = report.impression.iter().map(|sentence| sentence.text.as_str()).collect();
    let technique: Vec<&str> = report.technique.iter().map(String::as_str).collect();
    let sections: [(Concept, Concept, Vec<&str>); 3] = [
        (c::CURRENT_PROCEDURE_DESCRIPTIONS, c::PROCEDURE_DESCRIPTION, technique),
        (c::FINDINGS, c::FINDING, findings),
        (c::IMPRESSIONS, c::IMPRESSION, impression),
    ];
    let text = |name: Concept, lines: Vec<&str>| -> Vec<DataSet> {
        lines.into_iter().map(|line| item::text(Relationship::Contains, name, line)).collect()
    };
    let mut sections: Vec<DataSet> = sections
        .into_iter()
        .filter(|(_, _, lines)| !lines.is_empty())
        .map(|(heading, name, lines)| item::container(heading, None, text(name, lines)))
        .collect();
    sections.extend(previous::section(report));
    sections
}

/// What qualifies the draft, whose words it has, and what was not read.
fn remarks(report: &Report) -> Vec<DataSet> {
    let limitations = report.limitations.iter().map(|limitation| comment(&format!("Limitation: {limitation}")));
    let inserted = report.inserted.iter().map(|inserted| comment(&present::inserted(inserted)));
    let unread = report.unread.iter().map(|unread| comment(&format!("Not read: {}", present::unread(unread))));
    limitations.chain(inserted).chain(unread).collect()
}

fn comment(text: &str) -> DataSet {
    item::text(Relationship::Contains, c::COMMENT, text)
}
