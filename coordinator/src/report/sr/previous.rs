//! The earlier studies that a draft was compared with, below "Previous Findings" (CID 7001): what changed in sentences, then a
//! container for each study, whose context says that its items are of another procedure (TID 1005).

use prelim_proto::comparison::{Change, Prior, PriorFinding};
use prelim_proto::report::Report;

use crate::report::dicom::DataSet;
use crate::report::dicom::item::{self, Relationship};
use crate::report::{concepts as c, present};

/// The section; none where nothing is said of earlier studies.
pub(super) fn section(report: &Report) -> Option<DataSet> {
    let sentence = |line: &String| item::text(Relationship::Contains, c::PREVIOUS_FINDING, line);
    let children: Vec<DataSet> =
        report.comparison.iter().map(sentence).chain(report.priors.iter().map(study)).collect();
    (!children.is_empty()).then(|| item::container(c::PREVIOUS_FINDINGS, None, children))
}

/// An earlier study: which it is, and its findings as far as they were compared.
fn study(prior: &Prior) -> DataSet {
    let mut children =
        vec![item::uid_reference(Relationship::HasObsContext, c::PROCEDURE_STUDY_INSTANCE_UID, prior.study.as_str())];
    if let Some(date) = present::valid_date(&prior.date) {
        children.push(item::date(Relationship::HasObsContext, c::STUDY_DATE, &date));
    }
    children.push(item::text(Relationship::Contains, c::COMMENT, &present::prior(prior)));
    children.extend(prior.changes.iter().filter_map(|change| Some(finding(change, change.prior.as_ref()?))));
    item::container(c::RELEVANT_PREVIOUS_PROCEDURES, None, children)
}

/// A finding as it was then, and what became of it.
fn finding(change: &Change, then: &PriorFinding) -> DataSet {
    let modifier = |name, value| item::code(Relationship::HasConceptMod, name, value);
    let property = |name, value| item::code(Relationship::HasProperties, name, value);
    let qualified = [
        then.laterality.map(|side| modifier(c::LATERALITY, c::laterality(side))),
        then.zone.map(|zone| modifier(c::TOPOGRAPHICAL_MODIFIER, c::zone(zone))),
        Some(property(c::PRESENCE_OF_PROPERTY, c::presence(then.presence))),
        then.severity.map(|severity| property(c::SEVERITY, c::severity(severity))),
        then.size_mm.map(|mm| item::number(Relationship::HasProperties, c::LONG_AXIS, mm, c::MILLIMETER)),
        c::change(change.kind).map(|change| property(c::COMPARISON_TO_PREVIOUS_STUDIES, change)),
    ];
    let named = item::code(Relationship::Contains, c::PREVIOUS_FINDING, then.code.concept());
    item::with_children(named, qualified.into_iter().flatten().collect())
}
