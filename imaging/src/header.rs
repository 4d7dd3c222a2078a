//! The header of an object as domain types, for the intake.

mod image;
mod named;
mod planes;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use prelim_proto::ids::{Digest, IdError, Uid};
use prelim_proto::study::{Instance, RequestIds, StudyAttributes};
use sha2::{Digest as _, Sha256};

use crate::dataset::Attributes;
use crate::limits::Limits;
use crate::scan::{ScanError, Scanned, scan};

/// What an object says of itself, its series and its study.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Study Instance UID (0020,000D).
    pub study: Uid,
    /// Patient and request, as this object has them.
    pub study_attributes: StudyAttributes,
    /// The series that the object is in.
    pub series: SeriesHeader,
    /// The object itself.
    pub instance: Instance,
}

/// What an object says of its series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesHeader {
    /// Series Instance UID (0020,000E).
    pub uid: Uid,
    /// Modality (0008,0060).
    pub modality: String,
    /// Series Description (0008,103E).
    pub description: String,
    /// Series Number (0020,0011).
    pub number: Option<i32>,
    /// The requests that it was made for (Request Attributes Sequence (0040,0275)). At most [`MAX_REQUESTS`].
    pub requests: Vec<RequestIds>,
}

/// Requests of one series that are kept.
pub const MAX_REQUESTS: usize = 16;

/// Why an object cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are no whole DICOM object.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// An identifier without which the object belongs nowhere.
    #[error("no {0}")]
    Missing(&'static str),
    /// An identifier that is none.
    #[error("{name}: {error}")]
    Identifier {
        /// Which.
        name: &'static str,
        /// What is wrong with it.
        error: IdError,
    },
}

/// The SHA-256 digest of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(&Sha256::digest(bytes).into())
}

/// Scans `bytes` and reads the header. `source_name` is the sender's name for them, if it has one.
pub fn read_header(bytes: &[u8], source_name: Option<&str>, limits: &Limits) -> Result<Header, HeaderError> {
    let scanned = scan(bytes, limits)?;
    header_of(&scanned, bytes, source_name)
}

/// The header of an object already scanned from `bytes`.
pub fn header_of(scanned: &Scanned<'_>, bytes: &[u8], source_name: Option<&str>) -> Result<Header, HeaderError> {
    let attributes = scanned.attributes();
    let sop_class = uid(&attributes, tags::SOP_CLASS_UID, "SOP Class UID")?;
    let instance = uid(&attributes, tags::SOP_INSTANCE_UID, "SOP Instance UID")?;
    let study = uid(&attributes, tags::STUDY_INSTANCE_UID, "Study Instance UID")?;
    let series = uid(&attributes, tags::SERIES_INSTANCE_UID, "Series Instance UID")?;
    let transfer_syntax = Uid::parse(scanned.syntax().uid())
        .map_err(|error| HeaderError::Identifier { name: "Transfer Syntax UID", error })?;
    let text = |tag| attributes.text(tag).unwrap_or_default();
    let number = |tag| attributes.integer(tag).and_then(|number| i32::try_from(number).ok());
    Ok(Header {
        study,
        study_attributes: study_attributes(&attributes),
        series: SeriesHeader {
            uid: series,
            modality: text(tags::MODALITY),
            description: text(tags::SERIES_DESCRIPTION),
            number: number(tags::SERIES_NUMBER),
            requests: requests(&attributes),
        },
        instance: Instance {
            uid: instance,
            sop_class,
            transfer_syntax,
            digest: digest(bytes),
            size_bytes: bytes.len() as u64,
            number: number(tags::INSTANCE_NUMBER),
            source_name: source_name.map(str::to_owned),
            image: scanned.pixel_bytes().and_then(|_| image::image_attributes(&attributes)),
        },
    })
}

fn requests(attributes: &Attributes<'_>) -> Vec<RequestIds> {
    let ids = |item: Attributes<'_>| RequestIds {
        scheduled_step: item.text(tags::SCHEDULED_PROCEDURE_STEP_ID).unwrap_or_default(),
        requested_procedure: item.text(tags::REQUESTED_PROCEDURE_ID).unwrap_or_default(),
    };
    let all = attributes.items(tags::REQUEST_ATTRIBUTES_SEQUENCE).take(MAX_REQUESTS).map(ids);
    all.filter(|ids| *ids != RequestIds::default()).collect()
}

fn uid(attributes: &Attributes<'_>, tag: Tag, name: &'static str) -> Result<Uid, HeaderError> {
    let text = attributes.text(tag).ok_or(HeaderError::Missing(name))?;
    Uid::parse(&text).map_err(|error| HeaderError::Identifier { name, error })
}

fn study_attributes(attributes: &Attributes<'_>) -> StudyAttributes {
    let text = |tag| attributes.text(tag).unwrap_or_default();
    let mut known = StudyAttributes {
        patient_id: text(tags::PATIENT_ID),
        patient_name: text(tags::PATIENT_NAME),
        patient_birth_date: text(tags::PATIENT_BIRTH_DATE),
        patient_sex: text(tags::PATIENT_SEX),
        accession_number: text(tags::ACCESSION_NUMBER),
        study_id: text(tags::STUDY_ID),
        study_date: text(tags::STUDY_DATE),
        study_time: text(tags::STUDY_TIME),
        description: text(tags::STUDY_DESCRIPTION),
        referring_physician: text(tags::REFERRING_PHYSICIAN_NAME),
        institution: text(tags::INSTITUTION_NAME),
        ..StudyAttributes::default()
    };
    named::note(attributes, &mut known);
    known
}
