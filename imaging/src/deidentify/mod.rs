//! De-identification after the Basic Application Level Confidentiality Profile (PS3.15 annex E).
//!
//! # Layout
//! - [`Key`]: UIDs, pseudonyms and days that follow from the site's key
//! - `table`: table E.1-1, and what is done to an attribute; `clean`: that, done to a data set
//! - `value`: dummy values, and dates moved; `write`: elements and the file header as bytes
//! - [`burned_in`]: pixels that may show who the patient is, which are told of and not cleaned
//!
//! Every attribute of the table is treated, at any depth. Beyond it, what cannot be judged goes: private attributes, curves,
//! overlays, attributes that PS3.6 does not have, and values of another representation than PS3.6 gives them. Names of persons
//! are emptied, dates are treated as the table's, UIDs are mapped unless they name a class, a syntax or a coding scheme, and
//! codes are replaced unless their scheme is a public one. Of structured content and graphic annotations the codes of public
//! schemes, numbers, places and references stay, and every text is replaced, as the Clean Structured Content and Clean Graphics
//! Options want it. Pixels keep their bytes.
//!
//! **Invariant**: what is not understood whole is refused; nothing is passed on as it came.
//! **Invariant**: the same object, key and options give the same bytes.

pub mod burned_in;
mod clean;
mod key;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod write;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use prelim_proto::ids::{IdError, Uid};

pub use burned_in::Shown;
pub use key::{Key, KeyError};
pub use write::IMPLEMENTATION_CLASS_UID;

use crate::dataset::Attributes;
use crate::limits::Limits;
use crate::scan::{ScanError, scan};

/// Media Storage Directory Storage, and what its relations begin with.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";
/// What the classes of encapsulated documents begin with (PDF, CDA, STL, …).
const DOCUMENT: &str = "1.2.840.10008.5.1.4.1.1.104.";

/// What an object may say of how it was de-identified (PS3.16 CID 7050): codes of DCM, and their meanings.
pub const METHODS: [(&str, &str); 5] = [
    ("113100", "Basic Application Confidentiality Profile"),
    ("113103", "Clean Graphics Option"),
    ("113104", "Clean Structured Content Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
];

/// What is kept beside what the profile keeps, and what is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Age, sex, size and their like stay: the Retain Patient Characteristics Option.
    pub keeps_characteristics: bool,
    /// Dates stay, all moved back by the same days for one patient: the Retain Longitudinal Temporal Information with
    /// Modified Dates Option.
    pub keeps_dates: bool,
    /// An object whose pixels may show who the patient is is refused.
    pub refuses_burned_in: bool,
}

/// What an object said before, by which it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub instance: Uid,
    /// SOP Class UID.
    pub sop_class: Uid,
    /// Patient ID; empty where there is none.
    pub patient_id: String,
    /// Accession Number; empty where there is none.
    pub accession_number: String,
}

/// An object without what names the patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deidentified {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What the object said before. Not to be passed on with it.
    pub original: Original,
    /// What its pixels may show.
    pub shows: Vec<Shown>,
}

/// Why an object was not de-identified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeidentifyError {
    /// The bytes are no whole DICOM object.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// An identifier without which the object belongs nowhere.
    #[error("no {0}")]
    Missing(&'static str),
    /// An identifier that is none. What it says instead is not repeated.
    #[error("{0} is no UID")]
    Identifier(&'static str),
    /// A transfer syntax that is not known, and might hold anything.
    #[error("an unknown transfer syntax")]
    Syntax,
    /// A directory of files names patients throughout.
    #[error("a directory of files; de-identify the files themselves")]
    Directory,
    /// A document shows what its author wrote.
    #[error("an encapsulated document, whose text cannot be de-identified")]
    Document,
    /// Pixels that may show who the patient is.
    #[error("{}; it is refused as asked for", burned_in::sentence(.0))]
    BurnedIn(Vec<Shown>),
    /// Two elements where one may be: readers differ on which of them counts.
    #[error("element {0} is there twice")]
    Twice(Tag),
}

/// De-identifies an object.
pub fn deidentify(
    bytes: &[u8],
    key: &Key,
    options: &Options,
    limits: &Limits,
) -> Result<Deidentified, DeidentifyError> {
    let scanned = scan(bytes, limits)?;
    if scanned.syntax().name().is_none() {
        return Err(DeidentifyError::Syntax);
    }
    let root = scanned.attributes();
    let class = root.text(tags::SOP_CLASS_UID).unwrap_or_default();
    if class == DIRECTORY || root.has(tags::DIRECTORY_RECORD_SEQUENCE) {
        return Err(DeidentifyError::Directory);
    }
    if class.starts_with(DOCUMENT) || root.has(tags::ENCAPSULATED_DOCUMENT) {
        return Err(DeidentifyError::Document);
    }
    let original = original(&root)?;
    let shows = burned_in::shown(&root);
    if options.refuses_burned_in && !shows.is_empty() {
        return Err(DeidentifyError::BurnedIn(shows));
    }
    let patient = if original.patient_id.is_empty() { original.study.as_str() } else { &original.patient_id };
    let cleaner = clean::Cleaner::new(key, options, patient, &original.patient_id);
    let data_set = cleaner.data_set(&root, scanned.syntax().encoding())?;
    let syntax = scanned.syntax();
    let data_set = if syntax.is_deflated() { write::deflated(&data_set) } else { data_set };
    let mut whole = write::file_header(original.sop_class.as_str(), &key.uid(original.instance.as_str()), syntax.uid());
    whole.extend_from_slice(&data_set);
    Ok(Deidentified { bytes: whole, original, shows })
}

/// What an object says of itself.
fn original(root: &Attributes<'_>) -> Result<Original, DeidentifyError> {
    let uid = |tag, name| {
        let text = root.text(tag).ok_or(DeidentifyError::Missing(name))?;
        Uid::parse(&text).map_err(|_: IdError| DeidentifyError::Identifier(name))
    };
    Ok(Original {
        study: uid(tags::STUDY_INSTANCE_UID, "Study Instance UID")?,
        series: uid(tags::SERIES_INSTANCE_UID, "Series Instance UID")?,
        instance: uid(tags::SOP_INSTANCE_UID, "SOP Instance UID")?,
        sop_class: uid(tags::SOP_CLASS_UID, "SOP Class UID")?,
        patient_id: root.text(tags::PATIENT_ID).unwrap_or_default(),
        accession_number: root.text(tags::ACCESSION_NUMBER).unwrap_or_default(),
    })
}
