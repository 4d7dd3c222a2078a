//! Modality Performed Procedure Step (PS3.4 annex F): what its messages say, as far as it concerns what a study will hold
//! (pure).
//!
//! Of what table F.7.2-1 asks for, only what is used is asked for: the status, and which studies the step is of. Modalities
//! leave out much else, and a procedure must not be held up for that.

use dicom_dictionary_std::tags;
use prelim_imaging::Limits;
use prelim_imaging::dataset::Attributes;
use prelim_imaging::scan::scan;
use prelim_proto::ids::Uid;

use super::part10::Meta;
use crate::store::step::{MAX_LISTED, MAX_STUDIES, Mark, StepRecord, StepState};

/// Series that one step may name.
const MAX_SERIES: usize = 4_096;

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StepError {
    /// No data set.
    #[error("{0}")]
    Unreadable(String),
    /// An attribute is missing.
    #[error("no {0}")]
    Missing(&'static str),
    /// An attribute has no value.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// An attribute has another value than it may have.
    #[error("{0}")]
    Invalid(String),
    /// More than is kept.
    #[error("more than {0}")]
    TooMuch(&'static str),
    /// The step has ended (PS3.4 section F.7.2.2.2, error A710).
    #[error("the step has ended and may no longer be updated")]
    Ended,
    /// There is one with that UID.
    #[error("there is a step with this SOP Instance UID")]
    Duplicate,
    /// There is none with that UID.
    #[error("no step with this SOP Instance UID")]
    Unknown,
    /// The UID of the step is none.
    #[error("no SOP Instance UID that is one")]
    NoUid,
}

/// What a message says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Performed Procedure Step Status (0040,0252).
    state: Option<StepState>,
    /// Study Instance UIDs of Scheduled Step Attributes Sequence (0040,0270).
    studies: Option<Vec<Uid>>,
    /// What Performed Series Sequence (0040,0340) lists.
    listed: Option<Vec<Mark>>,
}

impl Said {
    /// Reads the data set of a message about the step `uid`.
    pub(crate) fn read(data_set: &[u8], uid: &Uid, transfer_syntax: &str) -> Result<Self, StepError> {
        let meta = Meta { sop_class: super::PERFORMED_STEP, sop_instance: uid.as_str(), transfer_syntax };
        let mut file = meta.header();
        file.extend_from_slice(data_set);
        let scanned = scan(&file, &Limits::default()).map_err(|error| StepError::Unreadable(error.to_string()))?;
        let attributes = scanned.attributes();
        let mut said = Self::default();
        if attributes.has(tags::PERFORMED_PROCEDURE_STEP_STATUS) {
            said.state = Some(state(&attributes.text(tags::PERFORMED_PROCEDURE_STEP_STATUS).unwrap_or_default())?);
        }
        if attributes.has(tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE) {
            said.studies = Some(studies(&attributes)?);
        }
        if attributes.has(tags::PERFORMED_SERIES_SEQUENCE) {
            said.listed = Some(listed(&attributes)?);
        }
        Ok(said)
    }

    /// The step that an N-CREATE begins, of a modality of `of`'s tenant.
    pub(crate) fn begin(self, of: StepRecord) -> Result<StepRecord, StepError> {
        match self.state {
            None => return Err(StepError::Missing("Performed Procedure Step Status (0040,0252)")),
            Some(StepState::InProgress) => {}
            Some(_) => return Err(StepError::Invalid("a step begins IN PROGRESS".to_owned())),
        }
        let studies = self.studies.ok_or(StepError::Missing("Scheduled Step Attributes Sequence (0040,0270)"))?;
        Ok(StepRecord { studies, listed: self.listed.unwrap_or_default(), ..of })
    }

    /// What becomes of a step by an N-SET. Which studies it is of is said once, when it begins.
    pub(crate) fn change(self, step: StepRecord) -> Result<StepRecord, StepError> {
        if step.state != StepState::InProgress {
            return Err(StepError::Ended);
        }
        let state = self.state.unwrap_or(step.state);
        // A sequence is replaced as a whole (PS3.4 section F.7.2.2.2).
        Ok(StepRecord { state, listed: self.listed.unwrap_or(step.listed), ..step })
    }
}

fn state(text: &str) -> Result<StepState, StepError> {
    match text.trim() {
        "" => Err(StepError::Empty("Performed Procedure Step Status (0040,0252)")),
        "IN PROGRESS" => Ok(StepState::InProgress),
        "COMPLETED" => Ok(StepState::Completed),
        "DISCONTINUED" => Ok(StepState::Discontinued),
        other => {
            let short: String = other.chars().take(16).collect();
            Err(StepError::Invalid(format!("{short:?} is no Performed Procedure Step Status")))
        }
    }
}

/// The studies that the step is of, each once, in order.
fn studies(attributes: &Attributes<'_>) -> Result<Vec<Uid>, StepError> {
    const NAME: &str = "Study Instance UID (0020,000D) of Scheduled Step Attributes Sequence";
    let mut studies = Vec::new();
    for item in attributes.items(tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE) {
        match item.text(tags::STUDY_INSTANCE_UID) {
            None if item.has(tags::STUDY_INSTANCE_UID) => return Err(StepError::Empty(NAME)),
            None => return Err(StepError::Missing(NAME)),
            Some(text) => {
                studies.push(Uid::parse(&text).map_err(|_| StepError::Invalid(format!("{NAME} is no UID")))?);
            }
        }
        if studies.len() > 4 * MAX_STUDIES {
            return Err(StepError::TooMuch("64 scheduled steps"));
        }
    }
    studies.sort();
    studies.dedup();
    match studies.len() {
        0 => Err(StepError::Empty("Scheduled Step Attributes Sequence (0040,0270)")),
        1..=MAX_STUDIES => Ok(studies),
        _ => Err(StepError::TooMuch("16 studies")),
    }
}

/// Every instance that the step lists, images and others, each once, in order.
fn listed(attributes: &Attributes<'_>) -> Result<Vec<Mark>, StepError> {
    let series = attributes.items(tags::PERFORMED_SERIES_SEQUENCE);
    if series.len() > MAX_SERIES {
        return Err(StepError::TooMuch("4096 series"));
    }
    let mut listed = Vec::new();
    for item in series {
        for sequence in [tags::REFERENCED_IMAGE_SEQUENCE, tags::REFERENCED_NON_IMAGE_COMPOSITE_SOP_INSTANCE_SEQUENCE] {
            for reference in item.items(sequence) {
                let uid = reference.text(tags::REFERENCED_SOP_INSTANCE_UID).unwrap_or_default();
                let wrong = |_| StepError::Invalid("Referenced SOP Instance UID (0008,1155) is no UID".to_owned());
                listed.push(Mark::of(&Uid::parse(&uid).map_err(wrong)?));
                if listed.len() > MAX_LISTED {
                    return Err(StepError::TooMuch("20000 instances"));
                }
            }
        }
    }
    listed.sort_unstable();
    listed.dedup();
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
    use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
    use dicom_object::InMemDicomObject;
    use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
    use prelim_proto::ids::Tenant;

    use super::*;

    const IMPLICIT: &str = "1.2.840.10008.1.2";

    fn text(tag: Tag, vr: VR, value: &str) -> DataElement<InMemDicomObject> {
        DataElement::new(tag, vr, PrimitiveValue::from(value))
    }

    fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> DataElement<InMemDicomObject> {
        DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
    }

    fn uid(text: &str) -> Uid {
        Uid::parse(text).unwrap()
    }

    fn references(uids: &[&str]) -> Vec<InMemDicomObject> {
        let item =
            |uid: &&str| InMemDicomObject::from_element_iter([text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid)]);
        uids.iter().map(item).collect()
    }

    fn read(elements: Vec<DataElement<InMemDicomObject>>) -> Result<Said, StepError> {
        let object = InMemDicomObject::from_element_iter(elements);
        let syntax = TransferSyntaxRegistry.get(IMPLICIT).unwrap();
        let mut bytes = Vec::new();
        object.write_dataset_with_ts(&mut bytes, syntax).unwrap();
        Said::read(&bytes, &uid("1.9.1"), IMPLICIT)
    }

    fn status(value: &str) -> DataElement<InMemDicomObject> {
        text(tags::PERFORMED_PROCEDURE_STEP_STATUS, VR::CS, value)
    }

    fn scheduled(studies: &[&str]) -> DataElement<InMemDicomObject> {
        let item = |study: &&str| InMemDicomObject::from_element_iter([text(tags::STUDY_INSTANCE_UID, VR::UI, study)]);
        sequence(tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE, studies.iter().map(item).collect())
    }

    fn performed(images: &[&str], others: &[&str]) -> DataElement<InMemDicomObject> {
        let series = InMemDicomObject::from_element_iter([
            sequence(tags::REFERENCED_IMAGE_SEQUENCE, references(images)),
            sequence(tags::REFERENCED_NON_IMAGE_COMPOSITE_SOP_INSTANCE_SEQUENCE, references(others)),
        ]);
        sequence(tags::PERFORMED_SERIES_SEQUENCE, vec![series])
    }

    fn blank() -> StepRecord {
        StepRecord {
            uid: uid("1.9.1"),
            tenant: Tenant::default(),
            state: StepState::InProgress,
            studies: Vec::new(),
            listed: Vec::new(),
            revision: 0,
            write: 0,
            changed_at_ms: 0,
        }
    }

    #[test]
    fn a_step_begins_goes_on_and_ends_once() {
        let begun = read(vec![status("IN PROGRESS"), scheduled(&["1.2.3", "1.2.4", "1.2.3"])]).unwrap();
        let step = begun.begin(blank()).unwrap();
        assert_eq!((step.state, step.studies.clone()), (StepState::InProgress, vec![uid("1.2.3"), uid("1.2.4")]));
        let step = read(vec![performed(&["1.2.3.1"], &[])]).unwrap().change(step).unwrap();
        assert_eq!((step.state, step.listed.len()), (StepState::InProgress, 1));
        let last = vec![status("COMPLETED"), scheduled(&["1.2.9"]), performed(&["1.2.3.1", "1.2.3.2"], &["1.2.3.9"])];
        let step = read(last.clone()).unwrap().change(step).unwrap();
        assert_eq!((step.state, step.studies.len(), step.listed.len()), (StepState::Completed, 2, 3));
        assert!(step.listed.contains(&Mark::of(&uid("1.2.3.9"))) && step.listed.is_sorted());
        assert_eq!(read(last).unwrap().change(step.clone()), Err(StepError::Ended));
        let discontinued = StepRecord { state: StepState::Discontinued, ..step };
        assert_eq!(read(vec![status("IN PROGRESS")]).unwrap().change(discontinued), Err(StepError::Ended));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let begin = |elements| read(elements).and_then(|said| said.begin(blank()));
        for (elements, says) in [
            (vec![scheduled(&["1.2"])], "no Performed Procedure Step Status"),
            (vec![status("IN PROGRESS")], "no Scheduled Step Attributes Sequence"),
            (vec![status(""), scheduled(&["1.2"])], "Status (0040,0252) is empty"),
            (vec![status("COMPLETED"), scheduled(&["1.2"])], "begins IN PROGRESS"),
            (vec![status("DONE"), scheduled(&["1.2"])], "\"DONE\" is no Performed Procedure Step Status"),
            (vec![status("IN PROGRESS"), scheduled(&[])], "Sequence (0040,0270) is empty"),
            (vec![status("IN PROGRESS"), scheduled(&[""])], "Sequence is empty"),
            (vec![status("IN PROGRESS"), scheduled(&["1..2"])], "is no UID"),
            (vec![performed(&["x"], &[])], "Referenced SOP Instance UID (0008,1155) is no UID"),
        ] {
            let error = begin(elements).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        let many: Vec<String> = (0..17).map(|n| format!("1.2.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(begin(vec![status("IN PROGRESS"), scheduled(&many)]), Err(StepError::TooMuch("16 studies")));
        let cut = [0x40, 0, 0x52, 2, 0xFF, 0xFF, 0xFF, 0x7F];
        assert!(matches!(Said::read(&cut, &uid("1.9.1"), IMPLICIT), Err(StepError::Unreadable(_))));
    }
}
