//! One finding as measurement groups.
//!
//! TID 1410 holds one region on one image, TID 1411 the outlines of one thing on the slices of a volume, TID 1501 no region.
//! Two views of a chest are no volume: an X-ray finding seen in both is two groups of TID 1410 with one Tracking Unique
//! Identifier, which is what the standard has that identifier for. Only the first of them carries the measurements.

use prelim_proto::comparison::ChangeKind;
use prelim_proto::finding::{Evidence, Finding, ImageBox};
use prelim_proto::image::ImageKind;
use prelim_proto::review::Standing;

use crate::report::concepts as c;
use crate::report::dicom::DataSet;
use crate::report::dicom::element::ImageReference;
use crate::report::dicom::item::{self, Relationship};
use crate::report::lookup::{Image, Images};
use crate::report::{picture, present};

/// The measurement groups of a finding, at least one. What became of it since an earlier study is said with its measurements;
/// how sure the model was, only in what nobody has signed.
pub(super) fn of(
    finding: &Finding,
    tracking_uid: &str,
    images: &Images<'_>,
    change: Option<ChangeKind>,
    standing: Standing,
) -> Vec<DataSet> {
    let seen = || finding.evidence.iter().filter_map(|e| images.get(&e.instance).map(|image| (e, image)));
    let regions: Vec<(DataSet, f32)> =
        seen().filter_map(|(e, image)| e.bounds.map(|bounds| (region(e, bounds, &image), e.confidence))).collect();
    let sources: Vec<DataSet> = seen()
        .filter(|(e, _)| e.bounds.is_none())
        .map(|(e, image)| item::image(Relationship::Contains, c::SOURCE_OF_MEASUREMENT, reference(e, &image)))
        .collect();
    let volume = seen().all(|(_, image)| image.series.kind() == Some(ImageKind::Ct));

    let group = |template: &str, measured: Vec<DataSet>, regions: Vec<DataSet>| {
        let children = [named(finding, tracking_uid), measured, regions].concat();
        item::container(c::MEASUREMENT_GROUP, Some(template), children)
    };
    let sure = |confidence| (!standing.is_signed()).then(|| certainty(confidence));
    let whole = || [measured(finding, change, sure(finding.confidence)), sources.clone()].concat();
    match regions.len() {
        0 => vec![group("1501", whole(), Vec::new())],
        n if n > 1 && volume => vec![group("1411", whole(), regions.into_iter().map(|(region, _)| region).collect())],
        _ => regions
            .into_iter()
            .enumerate()
            .map(|(i, (region, confidence))| {
                group("1410", if i == 0 { whole() } else { sure(confidence).into_iter().collect() }, vec![region])
            })
            .collect(),
    }
}

/// What every group of the finding says: which thing it is, and where in the body.
fn named(finding: &Finding, tracking_uid: &str) -> Vec<DataSet> {
    let side = finding.laterality.map(|s| item::code(Relationship::HasConceptMod, c::LATERALITY, c::laterality(s)));
    let zone = finding.zone.map(|z| item::code(Relationship::HasConceptMod, c::TOPOGRAPHICAL_MODIFIER, c::zone(z)));
    let site = item::code(Relationship::HasConceptMod, c::FINDING_SITE, c::site(finding.code));
    vec![
        item::text(Relationship::HasObsContext, c::TRACKING_IDENTIFIER, &present::finding_title(finding)),
        item::uid_reference(Relationship::HasObsContext, c::TRACKING_UNIQUE_IDENTIFIER, tracking_uid),
        item::code(Relationship::Contains, c::FINDING, finding.code.concept()),
        item::with_children(site, [side, zone].into_iter().flatten().collect()),
        item::code(Relationship::Contains, c::PRESENCE_OF_PROPERTY, c::presence(finding.presence)),
    ]
}

/// What is said once of the finding: how sure, how much, how large, what became of it.
fn measured(finding: &Finding, change: Option<ChangeKind>, certainty: Option<DataSet>) -> Vec<DataSet> {
    let severity = finding.severity.map(|s| item::code(Relationship::Contains, c::SEVERITY, c::severity(s)));
    let size = finding.size_mm.map(|mm| item::number(Relationship::Contains, c::LONG_AXIS, mm, c::MILLIMETER));
    let compared = |change| item::code(Relationship::Contains, c::COMPARISON_TO_PREVIOUS_STUDIES, change);
    let change = change.and_then(c::change).map(compared);
    [certainty, severity, size, change].into_iter().flatten().collect()
}

fn certainty(confidence: f32) -> DataSet {
    let percent = if confidence.is_finite() { (confidence * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    item::number(Relationship::Contains, c::CERTAINTY_OF_FINDING, percent, c::PERCENT)
}

/// The box as a closed polyline in pixels of the frame as stored.
fn region(evidence: &Evidence, bounds: ImageBox, image: &Image<'_>) -> DataSet {
    let source = item::image(Relationship::SelectedFrom, c::SOURCE, reference(evidence, image));
    item::polyline(c::IMAGE_REGION, &picture::corners(bounds, image.attributes), source)
}

fn reference<'a>(evidence: &Evidence, image: &Image<'a>) -> ImageReference<'a> {
    ImageReference {
        class: &image.instance.sop_class,
        instance: &image.instance.uid,
        frame: (image.attributes.frames > 1).then_some(evidence.frame),
    }
}
