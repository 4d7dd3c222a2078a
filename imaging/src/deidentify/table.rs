//! PS3.15 table E.1-1: what the Basic Application Level Confidentiality Profile does to each attribute.

mod rows;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use Action::{X, XZU};

/// The action codes of the table (PS3.15 section E.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::upper_case_acronyms, reason = "the standard writes them so")]
pub(super) enum Action {
    /// A dummy value.
    D,
    /// A zero-length or dummy value.
    Z,
    /// Removed.
    X,
    /// Another UID, the same wherever this one stands.
    U,
    /// Z or D, as the attribute is of type 2 or 1.
    ZD,
    /// X or Z, as it is of type 3 or 2.
    XZ,
    /// X or D, as it is of type 3 or 1.
    XD,
    /// X, Z or D, as it is of type 3, 2 or 1.
    XZD,
    /// X or Z, or the UIDs in the items replaced.
    XZU,
}

/// What is done to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It stays; in a sequence, what is in the items is looked at.
    Keep,
    /// It goes.
    Remove,
    /// It stays without a value.
    Empty,
    /// Its value is replaced by one that says nothing; in a sequence, all texts in the items are.
    Replace,
    /// Its UIDs are mapped.
    Map,
    /// A pseudonym takes its place.
    Pseudonym,
    /// A date or time: moved where temporal relations are retained, else as the step beside it.
    Moment(Otherwise),
}

/// What becomes of a date or time that is not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    Remove,
    Empty,
    Replace,
}

/// UIDs that name a kind of thing (a class, a syntax, a coding scheme), and neither a thing nor a person. All others are
/// mapped, whether or not the table has them.
const OF_KINDS: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::RELATED_GENERAL_SOP_CLASS_UID,
    tags::ORIGINAL_SPECIALIZED_SOP_CLASS_UID,
    tags::SOP_CLASSES_IN_STUDY,
    tags::SOP_CLASSES_SUPPORTED,
    tags::REFERENCED_SOP_CLASS_UID,
    tags::AVAILABLE_TRANSFER_SYNTAX_UID,
    tags::STORED_INSTANCE_TRANSFER_SYNTAX_UID,
    tags::FLOW_TRANSFER_SYNTAX_UID,
    tags::MAC_CALCULATION_TRANSFER_SYNTAX_UID,
    tags::ENCRYPTED_CONTENT_TRANSFER_SYNTAX_UID,
    tags::CODING_SCHEME_UID,
    tags::CONTEXT_UID,
    tags::CONTEXT_GROUP_EXTENSION_CREATOR_UID,
    tags::MAPPING_RESOURCE_UID,
    tags::PERTINENT_SOP_CLASSES_IN_STUDY,
    tags::PERTINENT_SOP_CLASSES_IN_SERIES,
];
/// What the Retain Patient Characteristics Option keeps (column "Rtn. Pat. Chars. Opt." with a K). Free text, which it
/// would have cleaned, is removed.
const CHARACTERISTICS: &[Tag] = &[
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::ETHNIC_GROUP,
    tags::SMOKING_STATUS,
    tags::PREGNANCY_STATUS,
    tags::PATIENT_SEX_NEUTERED,
    tags::SELECTOR_AS_VALUE,
];
/// Dates and times that the longitudinal options do not retain.
const NEVER_MOVED: &[Tag] = &[tags::PATIENT_BIRTH_DATE, tags::PATIENT_BIRTH_TIME, tags::GPS_TIME_STAMP];
/// What pseudonyms are made for.
const PSEUDONYMS: &[Tag] = &[tags::PATIENT_ID, tags::PATIENT_NAME, tags::ACCESSION_NUMBER];
/// What this makes anew for the whole object.
const OURS: &[Tag] = &[
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// The action of the table for an attribute; none where the profile leaves it as it is.
pub(super) fn action(tag: Tag) -> Option<Action> {
    // Private attributes; curves; overlays, of which nothing is left without their data.
    let (group, element) = (tag.group(), tag.element());
    if group % 2 == 1 || (group & 0xFF00) == 0x5000 || (group & 0xFF00) == 0x6000 {
        return Some(X);
    }
    // Group lengths would be wrong, and the groups of messages, files and directories belong in no data set.
    if element == 0 || group < 8 || OURS.contains(&tag) {
        return Some(X);
    }
    let at = rows::ROWS.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
    Some(rows::ROWS[at].1)
}

/// What is done to an attribute of the given representation.
///
/// No table here knows the type that each IOD gives an attribute, so the choices that hang on it are made so that the
/// object conforms whichever it is: one that is present stays present, with a dummy value where it might have to have one.
/// Sequences are emptied at most (type 2), for a dummy item would say something that is not so.
pub(super) fn step(tag: Tag, vr: VR, keeps_characteristics: bool) -> Step {
    if PSEUDONYMS.contains(&tag) {
        return Step::Pseudonym;
    }
    if keeps_characteristics && CHARACTERISTICS.contains(&tag) {
        return Step::Keep;
    }
    let action = action(tag);
    if matches!(vr, VR::DA | VR::DT | VR::TM) {
        return moment(tag, action);
    }
    if vr == VR::UI && action != Some(X) {
        return if OF_KINDS.contains(&tag) { Step::Keep } else { Step::Map };
    }
    let is_sequence = vr == VR::SQ;
    match action {
        // The profile knows no other names of persons.
        None if vr == VR::PN => Step::Empty,
        None => Step::Keep,
        Some(X) => Step::Remove,
        Some(XZU) => Step::Keep,
        Some(Action::XD) if is_sequence => Step::Remove,
        Some(Action::XZD | Action::ZD) if is_sequence => Step::Empty,
        Some(Action::Z | Action::XZ) => Step::Empty,
        Some(Action::D | Action::ZD | Action::XD | Action::XZD | Action::U) => Step::Replace,
    }
}

fn moment(tag: Tag, action: Option<Action>) -> Step {
    let otherwise = match action {
        Some(X) => Otherwise::Remove,
        Some(Action::Z | Action::XZ) => Otherwise::Empty,
        _ => Otherwise::Replace,
    };
    match otherwise {
        Otherwise::Remove if NEVER_MOVED.contains(&tag) => Step::Remove,
        _ if NEVER_MOVED.contains(&tag) => Step::Empty,
        otherwise => Step::Moment(otherwise),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_each_attribute_has_one() {
        assert!(rows::ROWS.is_sorted_by(|(a, _), (b, _)| a < b));
        assert_eq!(rows::ROWS.len(), 652);
    }

    #[test]
    fn choices_are_made_by_representation_and_option() {
        use Otherwise::{Empty, Replace};
        for (tag, vr, keeps, expected) in [
            (tags::PATIENT_ID, VR::LO, false, Step::Pseudonym),
            (tags::PATIENT_AGE, VR::AS, false, Step::Remove),
            (tags::PATIENT_AGE, VR::AS, true, Step::Keep),
            (tags::PATIENT_BIRTH_DATE, VR::DA, true, Step::Empty),
            (tags::STUDY_DATE, VR::DA, false, Step::Moment(Empty)),
            (tags::SERIES_DATE, VR::DA, false, Step::Moment(Replace)),
            (tags::SECONDARY_REVIEW_DATE, VR::DA, false, Step::Moment(Replace)),
            (tags::EVALUATOR_NAME, VR::PN, false, Step::Empty),
            (tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, false, Step::Keep),
            (tags::VERIFYING_OBSERVER_SEQUENCE, VR::SQ, false, Step::Replace),
            (tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, VR::SQ, false, Step::Empty),
            (tags::SOP_CLASS_UID, VR::UI, false, Step::Keep),
            (tags::SOP_INSTANCE_UID, VR::UI, false, Step::Map),
            (tags::VOLUME_FRAME_OF_REFERENCE_UID, VR::UI, false, Step::Map),
            (tags::ROWS, VR::US, false, Step::Keep),
            (Tag(0x0009, 0x1001), VR::LO, true, Step::Remove),
            (Tag(0x5004, 0x3000), VR::OW, true, Step::Remove),
            (Tag(0x6002, 0x0010), VR::US, true, Step::Remove),
            (Tag(0x0008, 0x0000), VR::UL, true, Step::Remove),
            (Tag(0x0002, 0x0016), VR::AE, true, Step::Remove),
        ] {
            assert_eq!(step(tag, vr, keeps), expected, "{tag}");
        }
    }
}
