//! What all DICOM objects of a draft share: elements, the modules of patient, study, series and equipment, and the file.
//!
//! # Layout
//! - `element`: elements and items of data sets
//! - `item`: content items of structured reports and key object selections
//! - `header`: the modules around the content (PS3.3 sections C.7 and C.12)
//!
//! **Invariant**: nothing depends on when or where an object is written. UIDs are digests of the content, dates and times
//! are the study's, so that the same draft is the same object and storing it twice stores it once.

pub(super) mod element;
pub(super) mod header;
pub(super) mod item;

use dicom_dictionary_std::uids;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::ReportError;

/// A data set or an item of a sequence.
pub(super) type DataSet = InMemDicomObject;

// Names this writer in the file meta information (PS3.7 section D.3.3.2).
pub(crate) use prelim_imaging::deidentify::IMPLEMENTATION_CLASS_UID;

/// The object as a DICOM file in Explicit VR Little Endian.
pub(super) fn file(object: DataSet) -> Result<Vec<u8>, ReportError> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name("PRELIM");
    let file = object.with_meta(meta).map_err(|error| ReportError::Dicom(Box::new(error)))?;
    let mut bytes = Vec::new();
    file.write_all(&mut bytes).map_err(|error| ReportError::Dicom(Box::new(error)))?;
    Ok(bytes)
}
