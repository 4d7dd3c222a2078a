//! The draft as a DICOM structured report: Comprehensive 3D SR (PS3.3 section A.35.13), template TID 1500 "Measurement Report"
//! (PS3.16), unverified and preliminary.
//!
//! # Layout
//! - `header`: the modules around the content: patient, study, series, equipment, flags, evidence
//! - `tree`: the content tree from its root down to the list of findings
//! - `group`: one finding as measurement groups (TID 1410, 1411 or 1501)
//! - `concepts`: the coded concepts that the tree is made of
//! - `item`: content items of each value type
//! - `uid`: identifiers from content
//!
//! **Invariant**: nothing depends on when or where the report is written. UIDs are digests of the content, dates and times
//! are the study's, so that the same draft is the same object and storing it twice stores it once.

mod concepts;
mod group;
mod header;
mod item;
mod tree;
mod uid;

use dicom_dictionary_std::uids;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::{ReportError, ReportInputs};

/// A data set or an item of a sequence.
type DataSet = InMemDicomObject;

/// Names this writer in the file meta information (PS3.7 section D.3.3.2). Drawn once.
pub(crate) const IMPLEMENTATION_CLASS_UID: &str = "2.25.174230158376521745526708923649139534494";

/// Writes the report as a DICOM file in Explicit VR Little Endian.
pub(super) fn write(inputs: &ReportInputs<'_>) -> Result<Vec<u8>, ReportError> {
    let names = uid::Names::of(inputs)?;
    let mut object = header::of(inputs, &names);
    for element in tree::of(inputs, &names) {
        object.put(element);
    }
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name("PRELIM");
    let file = object.with_meta(meta).map_err(|error| ReportError::Dicom(Box::new(error)))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| ReportError::Dicom(Box::new(error)))?;
    Ok(bytes)
}
