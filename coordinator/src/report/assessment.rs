//! What a radiologist made of each finding, as a DICOM structured report of its own (Comprehensive 3D SR): accepted, changed,
//! rejected or added, with the model's certainty and the reviewer's reason; and where the words of each sentence are from. It is
//! what the quality of a model is watched by, and stays when the report itself is amended.
//!
//! DICOM has no template for this. The profile that will name one, IHE AI Result Assessment for Imaging, was not at hand when
//! this was written: the concepts that no standard names are of the scheme 99PRELIM, and what the profile is about is all here.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use prelim_proto::finding::Finding;
use prelim_proto::report::{Inserted, Report};
use prelim_proto::review::{Assessment, Decision, Origin, Review, Wording};
use prelim_proto::vocabulary::Concept;

use super::concepts as c;
use super::dicom::element::{Element, code_sequence, reference_item, sequence, text_element};
use super::dicom::item::{self, Relationship};
use super::dicom::{self, DataSet, header};
use super::uid::Names;
use super::{Format, ReportError, ReportInputs, present};

const fn ours(value: &'static str, meaning: &'static str) -> Concept {
    Concept { value, scheme: "99PRELIM", meaning }
}

const TITLE: Concept = ours("assessment", "Assessment of findings by software");
const REVIEWED_DOCUMENT: Concept = ours("reviewed-sr", "Document that was reviewed");
const ASSESSED_FINDING: Concept = ours("assessed-finding", "Finding that was assessed");
const DECISION: Concept = ours("decision", "Decision on a finding");
const REASON: Concept = ours("reason", "Reason of a decision");
const BEFORE: Concept = ours("before", "Finding before the review");
const AFTER: Concept = ours("after", "Finding after the review");
const SENTENCE: Concept = ours("sentence", "Sentence of the report");
const WORDS: Concept = ours("words", "Words of a sentence");
const ORIGIN: Concept = ours("origin", "Where words are from");
const AUTHOR: Concept = ours("words-by", "Person who wrote words or took them from an answer");

/// Writes the object. A draft that nobody has reviewed has nothing to show.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let review = inputs.report.review.as_ref().ok_or(ReportError::NothingToShow(Format::Assessment))?;
    let names = Names::of(inputs)?;
    let identity = header::Identity {
        class: uids::COMPREHENSIVE3_DSR_STORAGE,
        instance: &names.object("assessment", &[]),
        series: &names.object_series("assessment"),
        modality: "SR",
        series_number: "9905",
        holds: "ASSESSMENT",
    };
    let mut object = header::of(inputs, &identity);
    for element in document(inputs, review).into_iter().chain(content(inputs.report, review)) {
        object.put(element);
    }
    dicom::file(object)
}

/// The modules of the series and the document. Who reviewed answers for the assessment, also where the report was rejected.
fn document(inputs: &ReportInputs<'_>, review: &Review) -> Vec<Element> {
    let (date, time) = header::content_time(inputs);
    let reviewed = reference_item(uids::COMPREHENSIVE3_DSR_STORAGE, review.document.instance.as_str());
    let series = header::series_reference(review.document.series.as_str(), vec![reviewed]);
    let mut elements = vec![
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        text_element(tags::COMPLETION_FLAG, VR::CS, "COMPLETE"),
        text_element(tags::VERIFICATION_FLAG, VR::CS, "VERIFIED"),
        text_element(tags::PRELIMINARY_FLAG, VR::CS, "FINAL"),
        text_element(tags::CONTENT_DATE, VR::DA, date),
        text_element(tags::CONTENT_TIME, VR::TM, time),
        sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
        header::verifying_observer(review),
    ];
    elements.extend(header::evidence_sequence(inputs.study, vec![series]));
    elements
}

fn content(report: &Report, review: &Review) -> Vec<Element> {
    let comment = |text: &str| item::text(Relationship::Contains, c::COMMENT, text);
    let mut children = vec![item::code(Relationship::HasConceptMod, c::LANGUAGE, c::ENGLISH)];
    children.extend(item::person_observer(review));
    children.push(comment(&report.statement));
    if present::is_demonstration(report) {
        children.push(comment(present::DEMONSTRATION));
    }
    let class = uids::COMPREHENSIVE3_DSR_STORAGE;
    let reviewed = review.document.instance.as_str();
    children.push(item::composite(Relationship::Contains, REVIEWED_DOCUMENT, class, reviewed));
    children.extend(report.models.iter().map(|model| comment(&present::provenance(model, report))));
    children.extend(review.assessments.iter().map(|assessment| assessed(assessment, report)));
    children.extend(review.words.iter().filter_map(|words| sentence(words, report)));
    let mut root = item::container_elements(None, children);
    root.push(text_element(tags::VALUE_TYPE, VR::CS, "CONTAINER"));
    root.push(code_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, TITLE));
    root
}

/// One finding.
fn assessed(assessment: &Assessment, report: &Report) -> DataSet {
    let tracking = assessment.tracking.as_str();
    let after = assessment.finding.and_then(|index| report.findings.get(index as usize));
    let words = |finding: &Finding| {
        let mut parts = vec![present::finding_heading(finding)];
        parts.extend(present::finding_details(finding));
        parts.join(", ")
    };
    let contains = Relationship::Contains;
    let certainty = |finding: &Finding| {
        let percent = if finding.confidence.is_finite() { finding.confidence.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
        item::number(contains, c::CERTAINTY_OF_FINDING, percent, c::PERCENT)
    };
    let named = assessment.before.as_ref().or(after);
    let children = [
        Some(item::uid_reference(Relationship::HasObsContext, c::TRACKING_UNIQUE_IDENTIFIER, tracking)),
        named.map(|finding| item::code(contains, c::FINDING, finding.code.concept())),
        Some(item::code(contains, DECISION, decision(assessment.decision))),
        assessment.before.as_ref().map(|finding| item::text(contains, BEFORE, &words(finding))),
        assessment.before.as_ref().map(certainty),
        after.map(|finding| item::text(contains, AFTER, &words(finding))),
        (!assessment.reason.is_empty()).then(|| item::text(contains, REASON, &assessment.reason)),
    ];
    item::container(ASSESSED_FINDING, None, children.into_iter().flatten().collect())
}

/// One sentence, with where its words are from.
fn sentence(words: &Wording, report: &Report) -> Option<DataSet> {
    let said = words.passage.of(report).get(words.sentence as usize)?;
    let contains = Relationship::Contains;
    let author = (!words.by.is_empty()).then(|| present::person_name(&words.by));
    let is_it = |inserted: &&Inserted| (inserted.passage, inserted.sentence) == (words.passage, words.sentence);
    let mut children =
        vec![item::text(contains, WORDS, &said.text), item::code(contains, ORIGIN, origin(words.origin))];
    children.extend(author.map(|name| item::text(contains, AUTHOR, &name)));
    let answers = report.inserted.iter().filter(is_it);
    children.extend(answers.map(|inserted| item::text(contains, c::COMMENT, &present::inserted(inserted))));
    Some(item::container(SENTENCE, None, children))
}

fn origin(origin: Origin) -> Concept {
    match origin {
        Origin::Draft => ours("of-draft", "Of the draft"),
        Origin::Decisions => ours("of-decisions", "Made by software of the findings as decided"),
        Origin::Answer => ours("of-answer", "Words of a model's answer, taken by a person"),
        Origin::Person => ours("of-person", "Typed or pasted by a person"),
    }
}

fn decision(decision: Decision) -> Concept {
    match decision {
        Decision::Accepted => ours("accepted", "Accepted"),
        Decision::Changed => ours("changed", "Changed"),
        Decision::Rejected => ours("rejected", "Rejected"),
        Decision::Added => ours("added", "Added"),
    }
}
