//! What is stored, and in which encodings.

use prelim_imaging::syntax::TransferSyntax;

/// Verification (PS3.4 annex A).
pub(super) const VERIFICATION: &str = "1.2.840.10008.1.1";

/// Storage SOP classes taken (PS3.4 annex B.5): X-ray and CT, and what comes with their studies. The tails stand under
/// 1.2.840.10008.5.1.4.1.1.
const STORED: &[(&str, &str)] = &[
    (".1", "Computed Radiography Image"),
    (".1.1", "Digital X-Ray Image, For Presentation"),
    (".1.1.1", "Digital X-Ray Image, For Processing"),
    (".1.2", "Digital Mammography X-Ray Image, For Presentation"),
    (".1.2.1", "Digital Mammography X-Ray Image, For Processing"),
    (".1.3", "Digital Intra-Oral X-Ray Image, For Presentation"),
    (".1.3.1", "Digital Intra-Oral X-Ray Image, For Processing"),
    (".2", "CT Image"),
    (".2.1", "Enhanced CT Image"),
    (".2.2", "Legacy Converted Enhanced CT Image"),
    (".12.1", "X-Ray Angiographic Image"),
    (".12.1.1", "Enhanced XA Image"),
    (".12.2", "X-Ray Radiofluoroscopic Image"),
    (".12.2.1", "Enhanced XRF Image"),
    (".12.77", "X-Ray Angiographic Bi-Plane Image (retired)"),
    (".13.1.1", "X-Ray 3D Angiographic Image"),
    (".13.1.2", "X-Ray 3D Craniofacial Image"),
    (".13.1.3", "Breast Tomosynthesis Image"),
    (".13.1.4", "Breast Projection X-Ray Image, For Presentation"),
    (".13.1.5", "Breast Projection X-Ray Image, For Processing"),
    (".7", "Secondary Capture Image"),
    (".7.1", "Multi-frame Single Bit Secondary Capture Image"),
    (".7.2", "Multi-frame Grayscale Byte Secondary Capture Image"),
    (".7.3", "Multi-frame Grayscale Word Secondary Capture Image"),
    (".7.4", "Multi-frame True Color Secondary Capture Image"),
    (".11.1", "Grayscale Softcopy Presentation State"),
    (".11.2", "Color Softcopy Presentation State"),
    (".66.4", "Segmentation"),
    (".88.11", "Basic Text SR"),
    (".88.22", "Enhanced SR"),
    (".88.33", "Comprehensive SR"),
    (".88.34", "Comprehensive 3D SR"),
    (".88.50", "Mammography CAD SR"),
    (".88.59", "Key Object Selection Document"),
    (".88.65", "Chest CAD SR"),
    (".88.67", "X-Ray Radiation Dose SR"),
    (".88.75", "Patient Radiation Dose SR"),
    (".104.1", "Encapsulated PDF"),
];
/// Before every tail of [`STORED`].
const ROOT: &str = "1.2.840.10008.5.1.4.1.1";

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
    sop_class.strip_prefix(ROOT).is_some_and(|tail| STORED.iter().any(|(known, _)| *known == tail))
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
