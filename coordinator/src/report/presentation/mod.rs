//! The boxes as a Grayscale Softcopy Presentation State (PS3.3 section A.33.1): viewers draw them over the source images, and
//! readers can hide them.
//!
//! # Layout
//! - `annotation`: boxes, their words and the warning
//! - `display`: what of an image is shown, and how its values become shades
//!
//! A presentation state replaces the images' own modality transform and polarity with one of its own for all. So it speaks of
//! the images that agree in these with the best one; the boxes of others are in the other forms.

mod annotation;
mod display;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use prelim_proto::finding::{Evidence, Finding};
use prelim_proto::review::Standing;

use super::dicom::element::{Element, ImageReference, image_reference_item, sequence, text_element};
use super::dicom::{self, DataSet, header};
use super::lookup::{Image, Images};
use super::uid::Names;
use super::{Format, ReportError, ReportInputs, Shading, present};

/// A frame with boxes, how its values are shown, and what is marked on it.
struct Annotated<'a> {
    image: Image<'a>,
    frame: u32,
    shading: &'a Shading,
    boxes: Vec<(usize, &'a Finding, &'a Evidence)>,
}

impl Annotated<'_> {
    fn reference(&self) -> DataSet {
        image_reference_item(ImageReference {
            class: &self.image.instance.sop_class,
            instance: &self.image.instance.uid,
            frame: (self.image.attributes.frames > 1).then_some(self.frame),
        })
    }

    /// What one presentation state has one of for all its images: rescale, and whether the smallest value is white.
    fn transform(&self) -> ((f64, f64), bool) {
        (self.shading.rescale, self.image.attributes.photometric == "MONOCHROME1")
    }
}

/// Writes the object. Fails where no box lies on a grey image whose display is known.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = Names::of(inputs)?;
    let frames = annotated(inputs);
    let Some(first) = frames.first() else { return Err(ReportError::NothingToShow(Format::Presentation)) };
    let shown = format!("{:?}", frames.iter().map(|frame| frame.shading).collect::<Vec<_>>());
    let identity = header::Identity {
        class: uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
        instance: &names.object("presentation", shown.as_bytes()),
        series: &names.object_series("presentation"),
        modality: "PR",
        series_number: "9904",
        holds: "boxes",
    };
    let mut object = header::of(inputs, &identity);
    let elements =
        [identification(inputs), relationship(&frames), display::of(first, &frames), annotation::of(inputs, &frames)];
    for element in elements.into_iter().flatten() {
        object.put(element);
    }
    dicom::file(object)
}

/// The frames with boxes that can be shown together, in order of series, instance and frame.
fn annotated<'a>(inputs: &ReportInputs<'a>) -> Vec<Annotated<'a>> {
    let images = Images::of(inputs.study);
    let mut frames: Vec<Annotated<'a>> = Vec::new();
    let all = inputs.report.findings.iter().enumerate();
    let seen = all.flat_map(|(index, finding)| finding.evidence.iter().map(move |evidence| (index, finding, evidence)));
    for (index, finding, evidence) in seen.filter(|(_, _, evidence)| evidence.bounds.is_some()) {
        let is_same =
            |frame: &&mut Annotated<'_>| frame.image.instance.uid == evidence.instance && frame.frame == evidence.frame;
        if let Some(frame) = frames.iter_mut().find(is_same) {
            frame.boxes.push((index, finding, evidence));
            continue;
        }
        let is_of = |s: &&Shading| s.instance == evidence.instance && s.frame == evidence.frame;
        let Some(image) = images.get(&evidence.instance) else { continue };
        let Some(shading) = inputs.shadings.iter().find(is_of) else { continue };
        if image.attributes.photometric.starts_with("MONOCHROME") {
            frames.push(Annotated { image, frame: evidence.frame, shading, boxes: vec![(index, finding, evidence)] });
        }
    }
    if let Some(transform) = frames.first().map(Annotated::transform) {
        frames.retain(|frame| frame.transform() == transform);
    }
    frames.sort_by_key(|frame| (&frame.image.series.uid, &frame.image.instance.uid, frame.frame));
    frames
}

/// The presentation state identification module (PS3.3 section C.11.10).
fn identification(inputs: &ReportInputs<'_>) -> Vec<Element> {
    let (date, time) = header::content_time(inputs);
    let demonstration = if present::is_demonstration(inputs.report) { " (DEMONSTRATION MODEL)" } else { "" };
    let (label, description) = match inputs.report.standing() {
        Standing::Draft => ("UNSIGNED_DRAFT", "Unsigned draft - not a medical device"),
        Standing::Signed => ("SIGNED_REPORT", "Signed report, drafted by software"),
        Standing::Amended => ("AMENDED_REPORT", "Amended report, drafted by software"),
        Standing::Rejected => ("REJECTED_DRAFT", "Rejected draft - not to be used"),
    };
    let description = format!("{description}{demonstration}");
    vec![
        header::no_laterality(),
        text_element(tags::PRESENTATION_CREATION_DATE, VR::DA, date),
        text_element(tags::PRESENTATION_CREATION_TIME, VR::TM, time),
        text_element(tags::CONTENT_LABEL, VR::CS, label),
        text_element(tags::CONTENT_DESCRIPTION, VR::LO, description),
        text_element(tags::CONTENT_CREATOR_NAME, VR::PN, "prelim"),
    ]
}

/// The presentation state relationship module (PS3.3 section C.11.11).
fn relationship(frames: &[Annotated<'_>]) -> Vec<Element> {
    let series = frames.chunk_by(|a, b| a.image.series.uid == b.image.series.uid).map(|frames| {
        // An instance is named once, with all its frames.
        let images = frames.chunk_by(|a, b| a.image.instance.uid == b.image.instance.uid).map(|frames| {
            let mut item = frames[0].reference();
            if frames[0].image.attributes.frames > 1 {
                let numbers: Vec<String> = frames.iter().map(|frame| frame.frame.to_string()).collect();
                item.put(text_element(tags::REFERENCED_FRAME_NUMBER, VR::IS, numbers.join("\\")));
            }
            item
        });
        DataSet::from_element_iter([
            text_element(tags::SERIES_INSTANCE_UID, VR::UI, frames[0].image.series.uid.as_str()),
            sequence(tags::REFERENCED_IMAGE_SEQUENCE, images.collect()),
        ])
    });
    vec![sequence(tags::REFERENCED_SERIES_SEQUENCE, series.collect())]
}
