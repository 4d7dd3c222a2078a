//! The OBX segments: the statement, the sections in words, the findings in codes, what was not read.

use prelim_proto::comparison::ChangeKind;
use prelim_proto::finding::{Finding, Presence};
use prelim_proto::vocabulary::Concept;

use super::segment::{Message, coded, escaped, joined, texts};
use super::{reviewer, status, studied};
use crate::report::uid::Names;
use crate::report::{ReportInputs, concepts as c, present};

/// What an OBX says.
struct Observation {
    /// OBX-2: TX, CE, NM or ST.
    kind: &'static str,
    /// OBX-3.
    name: Concept,
    /// OBX-4: which of several with the same name.
    part: String,
    /// OBX-5, escaped already.
    value: String,
    /// OBX-6.
    unit: Option<Concept>,
    /// OBX-8 (table 0078).
    flag: &'static str,
}

/// Writes all of them.
pub(super) fn write(message: &mut Message, inputs: &ReportInputs<'_>, names: &Names) {
    let report = inputs.report;
    let software = format!("prelim {}", present::software_version(report));
    let equipment = joined('^', &[&escaped(&software), "", &names.device, "ISO"]);
    let reviewer = reviewer(inputs);
    for observation in observations(inputs) {
        let mut fields = vec![String::new(); 18];
        fields[0] = message.next_result();
        fields[1] = observation.kind.to_owned();
        fields[2] = coded(observation.name);
        fields[3] = observation.part;
        fields[4] = observation.value;
        fields[5] = observation.unit.map(coded).unwrap_or_default();
        fields[7] = observation.flag.to_owned();
        fields[10] = status(inputs.report.standing()).to_owned();
        fields[13] = studied(inputs);
        fields[15].clone_from(&reviewer);
        fields[17].clone_from(&equipment);
        message.segment("OBX", &fields);
    }
}

fn observations(inputs: &ReportInputs<'_>) -> Vec<Observation> {
    let report = inputs.report;
    let sentences = |sentences: &[prelim_proto::report::Sentence]| -> Vec<String> {
        sentences.iter().map(|sentence| sentence.text.clone()).collect()
    };
    let mut remarks = vec![report.statement.clone()];
    remarks.extend(present::replaces(report).map(|replaces| format!("{replaces}.")));
    if report.partial {
        remarks.push("Partial: not everything was read.".to_owned());
    }
    remarks.extend(report.limitations.iter().map(|limitation| format!("Limitation: {limitation}")));
    remarks.extend(report.unread.iter().map(|unread| format!("Not read: {}", present::unread(unread))));
    if report.findings.is_empty() {
        remarks.push(present::no_findings(report).to_owned());
    }
    remarks.extend(
        report.models.iter().map(|model| format!("Model: {} (sha256 {})", present::model(model), model.digest)),
    );
    remarks.extend(report.inserted.iter().map(present::inserted));

    let mut all = section(c::IMPRESSIONS, &sentences(&report.impression));
    all.extend(section(c::FINDINGS, &sentences(&report.findings_text)));
    all.extend(section(c::CURRENT_PROCEDURE_DESCRIPTIONS, &report.technique));
    all.extend(section(c::PREVIOUS_FINDINGS, &report.comparison));
    all.extend(section(c::COMMENT, &remarks));
    all.push(value("CE", c::PRIORITY, "", coded(c::priority(report.urgency))));
    all.push(value("ST", c::STUDY_INSTANCE_UID, "", inputs.study.uid.to_string()));
    all.extend((1..).zip(&report.priors).map(|(number, prior): (usize, _)| {
        value("ST", c::PROCEDURE_STUDY_INSTANCE_UID, &number.to_string(), prior.study.to_string())
    }));
    let change = |index| present::change(report, index);
    all.extend(
        report
            .findings
            .iter()
            .enumerate()
            .flat_map(|(index, f)| finding(f, index + 1, change(index), !report.standing().is_signed())),
    );
    all
}

/// A section of the report, one OBX a sentence, as most receivers show them: a line each.
fn section(name: Concept, sentences: &[String]) -> Vec<Observation> {
    let lines = sentences.iter().flat_map(|sentence| texts(sentence));
    lines.enumerate().map(|(index, line)| value("TX", name, &(index + 1).to_string(), line)).collect()
}

/// A finding, then what qualifies it, all of them numbered below the finding; the model's certainty where it is asked for.
fn finding(finding: &Finding, number: usize, change: Option<ChangeKind>, sure: bool) -> Vec<Observation> {
    let flag = match finding.presence {
        Presence::Present => "A",
        Presence::Absent => "N",
        Presence::Uncertain => "",
    };
    let concept = finding.code.concept();
    let presence = coded(c::presence(finding.presence));
    let first = Observation { flag, ..value("CE", concept, &number.to_string(), presence) };
    let qualified = |name, concept| value("CE", name, &format!("{number}.1"), coded(concept));
    let measured = |name, measure: f32, unit| Observation {
        unit: Some(unit),
        ..value("NM", name, &format!("{number}.1"), format!("{measure:.1}"))
    };
    let confidence = finding.confidence.clamp(0.0, 1.0) * 100.0;
    let details = [
        Some(qualified(c::FINDING_SITE, c::site(finding.code))),
        finding.laterality.map(|side| qualified(c::LATERALITY, c::laterality(side))),
        finding.zone.map(|zone| qualified(c::TOPOGRAPHICAL_MODIFIER, c::zone(zone))),
        finding.severity.map(|severity| qualified(c::SEVERITY, c::severity(severity))),
        finding.size_mm.map(|size| measured(c::LONG_AXIS, size, c::MILLIMETER)),
        change.and_then(c::change).map(|change| qualified(c::COMPARISON_TO_PREVIOUS_STUDIES, change)),
        (sure && confidence.is_finite()).then(|| measured(c::CERTAINTY_OF_FINDING, confidence, c::PERCENT)),
    ];
    std::iter::once(first).chain(details.into_iter().flatten()).collect()
}

fn value(kind: &'static str, name: Concept, part: &str, value: String) -> Observation {
    Observation { kind, name, part: part.to_owned(), value, unit: None, flag: "" }
}
