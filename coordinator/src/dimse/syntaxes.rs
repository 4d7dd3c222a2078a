//! What is stored, and in which encodings.

use dicom_dictionary_std::uids;
use prelim_imaging::syntax::TransferSyntax;

/// Storage SOP classes taken (PS3.4 annex B.5): X-ray and CT, and what comes with their studies.
const STORED: &[&str] = &[
    uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_MAMMOGRAPHY_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::DIGITAL_INTRA_ORAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::DIGITAL_INTRA_ORAL_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::CT_IMAGE_STORAGE,
    uids::ENHANCED_CT_IMAGE_STORAGE,
    uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE,
    uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::ENHANCED_XA_IMAGE_STORAGE,
    uids::X_RAY_RADIOFLUOROSCOPIC_IMAGE_STORAGE,
    uids::ENHANCED_XRF_IMAGE_STORAGE,
    // X-Ray Angiographic Bi-Plane Image, retired, and not in the dictionary.
    "1.2.840.10008.5.1.4.1.1.12.77",
    uids::X_RAY3_D_ANGIOGRAPHIC_IMAGE_STORAGE,
    uids::X_RAY3_D_CRANIOFACIAL_IMAGE_STORAGE,
    uids::BREAST_TOMOSYNTHESIS_IMAGE_STORAGE,
    uids::BREAST_PROJECTION_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION,
    uids::BREAST_PROJECTION_X_RAY_IMAGE_STORAGE_FOR_PROCESSING,
    uids::SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_SINGLE_BIT_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_BYTE_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_GRAYSCALE_WORD_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::MULTI_FRAME_TRUE_COLOR_SECONDARY_CAPTURE_IMAGE_STORAGE,
    uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE,
    uids::SEGMENTATION_STORAGE,
    uids::BASIC_TEXT_SR_STORAGE,
    uids::ENHANCED_SR_STORAGE,
    uids::COMPREHENSIVE_SR_STORAGE,
    uids::COMPREHENSIVE3_DSR_STORAGE,
    uids::MAMMOGRAPHY_CADSR_STORAGE,
    uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE,
    uids::CHEST_CADSR_STORAGE,
    uids::X_RAY_RADIATION_DOSE_SR_STORAGE,
    uids::PATIENT_RADIATION_DOSE_SR_STORAGE,
    uids::ENCAPSULATED_PDF_STORAGE,
];

/// How much we would rather have a transfer syntax than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Liking {
    /// Nothing is lost, and every element says what it is.
    Exact,
    /// Nothing is lost, but elements of private groups do not say what they are, or numbers are the wrong way round.
    Plain,
    /// Pixels lose something, unless they have lost it already.
    Lossy,
}

/// Transfer syntaxes that are taken: all of them are decoded here. The tails stand under 1.2.840.10008.1.2.
const TAKEN: &[(Liking, &[&str])] = &[
    (
        Liking::Exact,
        &[".1", ".4.57", ".4.70", ".4.80", ".4.90", ".4.201", ".4.202", ".4.110", ".5", ".8.1", ".1.98", ".1.99"],
    ),
    (Liking::Plain, &["", ".2"]),
    (Liking::Lossy, &[".4.50", ".4.51", ".4.53", ".4.55", ".4.81", ".4.91", ".4.203", ".4.111", ".4.112"]),
];
/// Before every tail of [`TAKEN`].
const SYNTAX_ROOT: &str = "1.2.840.10008.1.2";

/// Whether objects of this class are stored.
pub(super) fn is_stored(sop_class: &str) -> bool {
    STORED.contains(&sop_class)
}

/// The one of the proposed transfer syntaxes that we would rather have; among equals the sender's first, which is most
/// likely how it holds the object. `None` where none is taken.
pub(super) fn choose(proposed: &[String]) -> Option<&str> {
    let liking = |uid: &str| {
        let tail = uid.strip_prefix(SYNTAX_ROOT)?;
        TAKEN.iter().find(|(_, tails)| tails.contains(&tail)).map(|(liking, _)| *liking)
    };
    let known =
        proposed.iter().map(|uid| uid.trim_end_matches(['\0', ' '])).filter_map(|uid| Some((liking(uid)?, uid)));
    known.min_by_key(|(liking, _)| *liking).map(|(_, uid)| uid)
}

/// Storage SOP classes taken.
pub(super) fn stored() -> impl Iterator<Item = String> {
    STORED.iter().map(|uid| (*uid).to_owned())
}

/// Transfer syntaxes that are taken, those that we would rather have first.
pub(super) fn taken() -> impl Iterator<Item = String> {
    TAKEN.iter().flat_map(|(_, tails)| *tails).map(|tail| format!("{SYNTAX_ROOT}{tail}"))
}

/// Proposed transfer syntaxes with their names, for the log.
pub(super) fn names(proposed: &[String]) -> String {
    proposed.iter().map(|uid| TransferSyntax::new(uid).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use prelim_imaging::syntax::Compression;

    use super::*;

    fn uids(tails: &[&str]) -> Vec<String> {
        tails.iter().map(|tail| format!("{SYNTAX_ROOT}{tail}")).collect()
    }

    #[test]
    fn everything_taken_is_decoded() {
        for uid in TAKEN.iter().flat_map(|(_, tails)| uids(tails)) {
            let syntax = TransferSyntax::new(&uid);
            assert_ne!(syntax.compression(), Compression::Unknown, "{uid}");
            assert!(syntax.name().is_some(), "{uid}");
        }
    }

    #[test]
    fn what_loses_nothing_is_chosen_first() {
        assert_eq!(choose(&uids(&[".4.50", ".1", ""])), Some("1.2.840.10008.1.2.1"));
        assert_eq!(choose(&uids(&[".4.91", ".4.90"])), Some("1.2.840.10008.1.2.4.90"));
        assert_eq!(choose(&uids(&["", ".4.70", ".1"])), Some("1.2.840.10008.1.2.4.70"));
        assert_eq!(choose(&uids(&[".4.100"])), None);
        assert_eq!(choose(&["1.2.840.10008.1.2.1\0".to_owned()]), Some("1.2.840.10008.1.2.1"));
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn x_ray_and_ct_are_stored_and_others_are_not() {
        for (uid, stored) in [
            ("1.2.840.10008.5.1.4.1.1.2", true),
            ("1.2.840.10008.5.1.4.1.1.1.1", true),
            ("1.2.840.10008.5.1.4.1.1.4", false),
            ("1.2.840.10008.5.1.4.1.1", false),
            ("1.2.840.10008.5.1.4.1.1.20", false),
        ] {
            assert_eq!(is_stored(uid), stored, "{uid}");
        }
    }
}
