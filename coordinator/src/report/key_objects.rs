//! The images that the draft rests on, as a Key Object Selection (PS3.3 section A.35.4, TID 2010): the source images of the
//! findings, best first, and the Secondary Capture that shows them with boxes.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use prelim_proto::finding::Presence;

use super::dicom::element::{Element, ImageReference, code_sequence, reference_item, sequence, text_element};
use super::dicom::item::{self, Relationship};
use super::dicom::{self, DataSet, header};
use super::lookup::{Image, Images};
use super::uid::Names;
use super::{Format, ReportError, ReportInputs, capture, concepts as c, frames, present};

/// Writes the object. Fails where no finding was seen on an image.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = Names::of(inputs)?;
    let sources = sources(inputs);
    if sources.is_empty() {
        return Err(ReportError::NothingToShow(Format::KeyObjects));
    }
    let capture = capture::instance(&names, &capture::shown(inputs));
    let identity = header::Identity {
        class: uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
        instance: &names.object("key objects", capture.as_deref().unwrap_or_default().as_bytes()),
        series: &names.object_series("key objects"),
        modality: "KO",
        series_number: "9903",
        holds: "selection",
    };
    let mut object = header::of(inputs, &identity);
    for element in document(inputs, &names, &sources, capture.as_deref()) {
        object.put(element);
    }
    for element in content(inputs, &names, &sources, capture.as_deref()) {
        object.put(element);
    }
    dicom::file(object)
}

/// The frames that findings were seen on, each once: each finding's best first, then the others.
fn sources<'a>(inputs: &ReportInputs<'a>) -> Vec<(Image<'a>, u32)> {
    let images = Images::of(inputs.study);
    let shown = inputs.report.findings.iter().filter(|finding| finding.presence != Presence::Absent);
    let by_finding: Vec<_> = shown.map(frames).collect();
    let longest = by_finding.iter().map(Vec::len).max().unwrap_or(0);
    let mut sources: Vec<(Image<'a>, u32)> = Vec::new();
    for (instance, frame) in (0..longest).flat_map(|rank| by_finding.iter().filter_map(move |frames| frames.get(rank)))
    {
        let is_new = !sources.iter().any(|(image, known)| image.instance.uid == *instance && known == frame);
        sources.extend(images.get(instance).filter(|_| is_new).map(|image| (image, *frame)));
    }
    sources
}

/// The key object document modules (PS3.3 sections C.17.6.1 and C.17.6.2).
fn document(
    inputs: &ReportInputs<'_>,
    names: &Names,
    sources: &[(Image<'_>, u32)],
    capture: Option<&str>,
) -> Vec<Element> {
    let (date, time) = header::content_time(inputs);
    let mut images: Vec<Image<'_>> = sources.iter().map(|(image, _)| *image).collect();
    images.sort_by_key(|image| (&image.series.uid, &image.instance.uid));
    images.dedup_by_key(|image| &image.instance.uid);
    let mut series = header::series_references(&images);
    series.extend(capture.map(|instance| {
        header::series_reference(&capture::series(names), vec![reference_item(capture::CLASS, instance)])
    }));
    let mut elements = vec![
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        text_element(tags::CONTENT_DATE, VR::DA, date),
        text_element(tags::CONTENT_TIME, VR::TM, time),
    ];
    elements.extend(header::evidence_sequence(inputs.study, series));
    elements
}

/// The content tree.
fn content(
    inputs: &ReportInputs<'_>,
    names: &Names,
    sources: &[(Image<'_>, u32)],
    capture: Option<&str>,
) -> Vec<Element> {
    let demonstration = if present::is_demonstration(inputs.report) { present::DEMONSTRATION } else { "" };
    let words = format!("{} {demonstration}", inputs.report.statement);
    let mut children = vec![item::code(Relationship::HasConceptMod, c::LANGUAGE, c::ENGLISH)];
    children.extend(item::device_observer(inputs.report, &names.device));
    children.push(item::text(Relationship::Contains, c::KEY_OBJECT_DESCRIPTION, &words));
    children.extend(capture.map(|instance| item::key_image(reference_item(capture::CLASS, instance))));
    children.extend(sources.iter().map(source));
    let mut root = item::container_elements(Some("2010"), children);
    root.push(text_element(tags::VALUE_TYPE, VR::CS, "CONTAINER"));
    root.push(code_sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, c::OF_INTEREST));
    root
}

fn source((image, frame): &(Image<'_>, u32)) -> DataSet {
    let reference = ImageReference {
        class: &image.instance.sop_class,
        instance: &image.instance.uid,
        frame: (image.attributes.frames > 1).then_some(*frame),
    };
    item::key_image(dicom::element::image_reference_item(reference))
}
