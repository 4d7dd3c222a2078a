//! What a study shows: which part of the body, by which kind of image.

use std::collections::BTreeSet;

use prelim_proto::image::ImageKind;
use prelim_proto::study::Study;

use crate::report::present;

/// Parts of the body as far as earlier studies are told apart by them. A study may show several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Region {
    Head,
    Neck,
    Chest,
    Abdomen,
    Pelvis,
    Spine,
    Arm,
    Leg,
}

/// Words of Body Part Examined (PS3.16 annex L) and of descriptions, by region. Some parts are two: CHESTABDOMEN.
const WORDS: [(Region, &[&str]); 8] = [
    (Region::Head, &["HEAD", "BRAIN", "SKULL", "SINUS", "ORBIT", "FACE", "SCHÄDEL", "SCHAEDEL"]),
    (Region::Neck, &["NECK", "LARYNX", "THYROID"]),
    (Region::Chest, &["CHEST", "THORAX", "LUNG", "RIB", "STERNUM", "CXR"]),
    (Region::Abdomen, &["ABDOM", "CHESTABD", "LIVER", "KIDNEY", "PANCREAS"]),
    (Region::Pelvis, &["PELVIS", "ABDPELV", "HIP", "SACRUM"]),
    (Region::Spine, &["SPINE"]),
    (Region::Arm, &["SHOULDER", "CLAVICLE", "HUMERUS", "ARM", "ELBOW", "WRIST", "HAND", "FINGER"]),
    (Region::Leg, &["FEMUR", "LEG", "KNEE", "TIBIA", "ANKLE", "FOOT", "CALCANEUS", "TOE"]),
];

impl Region {
    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Neck => "neck",
            Self::Chest => "chest",
            Self::Abdomen => "abdomen",
            Self::Pelvis => "pelvis",
            Self::Spine => "spine",
            Self::Arm => "arm",
            Self::Leg => "leg",
        }
    }
}

/// What a study shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) kinds: Vec<ImageKind>,
    pub(super) regions: BTreeSet<Region>,
    /// It has images, and none of them is of a kind that is read.
    pub(super) is_of_other_kind: bool,
}

impl Shown {
    /// What `study` shows, by its images where they say; else by its descriptions.
    pub(super) fn of(study: &Study) -> Self {
        let images = || study.series.iter().filter(|series| series.instances.iter().any(|each| each.image.is_some()));
        let mut kinds: Vec<ImageKind> = Vec::new();
        for kind in [ImageKind::Xray, ImageKind::Ct] {
            if images().any(|series| series.kind() == Some(kind)) {
                kinds.push(kind);
            }
        }
        let is_of_other_kind = kinds.is_empty() && images().next().is_some();
        let said: Vec<String> = std::iter::once(&study.attributes.description)
            .chain(study.series.iter().map(|series| &series.description))
            .map(|text| text.to_uppercase())
            .collect();
        if kinds.is_empty() && !is_of_other_kind {
            kinds = said.first().map(|text| kinds_in(text)).unwrap_or_default();
        }
        let of_kind = images().filter(|series| series.kind().is_some());
        let parts =
            of_kind.flat_map(|series| &series.instances).filter_map(|each| each.image.as_ref()?.body_part.as_deref());
        let mut regions: BTreeSet<Region> = parts.flat_map(|part| regions_in(&part.to_uppercase())).collect();
        if regions.is_empty() {
            regions = said.iter().flat_map(|text| regions_in(text)).collect();
        }
        Self { kinds, regions, is_of_other_kind }
    }

    /// What a study shows of which only its modalities and its description are known.
    pub(super) fn said(modalities: &[String], description: &str) -> Self {
        let description = description.to_uppercase();
        let has = |known: &[&str]| modalities.iter().any(|modality| known.contains(&modality.as_str()));
        let mut kinds = Vec::new();
        kinds.extend(has(&["CR", "DX", "RF", "XA", "RG"]).then_some(ImageKind::Xray));
        kinds.extend(has(&["CT"]).then_some(ImageKind::Ct));
        if kinds.is_empty() {
            kinds = kinds_in(&description);
        }
        let has_others =
            modalities.iter().any(|modality| !["", "SR", "PR", "KO", "DOC", "OT"].contains(&modality.as_str()));
        let is_of_other_kind = kinds.is_empty() && has_others;
        Self { kinds, regions: regions_in(&description).into_iter().collect(), is_of_other_kind }
    }

    /// In a few words: "chest X-ray", "head and neck CT".
    pub(super) fn words(&self) -> String {
        let regions: Vec<&str> = self.regions.iter().map(|region| region.name()).collect();
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| present::kind(*kind)).collect();
        let kinds = if kinds.is_empty() { "study".to_owned() } else { kinds.join(" and ") };
        if regions.is_empty() { kinds } else { format!("{} {kinds}", regions.join(" and ")) }
    }
}

fn regions_in(text: &str) -> Vec<Region> {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let is_named = |(_, known): &(Region, &[&str])| known.iter().any(|known| has(&words, known));
    WORDS.into_iter().filter(is_named).map(|(region, _)| region).collect()
}

/// Whether one of the words is it, or holds it where it is too long to be met by chance: CHEST in CHESTABDOMEN.
fn has(words: &[&str], known: &str) -> bool {
    let by_chance = known.len() < 4;
    words.iter().any(|word| if by_chance { *word == known } else { word.contains(known) })
}

/// Kinds of image that a description names.
fn kinds_in(text: &str) -> Vec<ImageKind> {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    let names = |known: &[&str]| known.iter().any(|known| words.contains(known));
    let is_xray = names(&["CR", "DX", "XR", "CXR", "RADIOGRAPH", "RADIOGRAPHY"]) || text.contains("X-RAY");
    let kinds = [(ImageKind::Xray, is_xray), (ImageKind::Ct, names(&["CT", "CAT"]))];
    kinds.into_iter().filter(|(_, is_it)| *is_it).map(|(kind, _)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_words() {
        for (text, expected) in [
            ("CHEST", vec![Region::Chest]),
            ("CHESTABDPELVIS", vec![Region::Chest, Region::Abdomen, Region::Pelvis]),
            ("CHESTABDOMEN", vec![Region::Chest, Region::Abdomen]),
            ("ABDOMENPELVIS", vec![Region::Abdomen, Region::Pelvis]),
            ("HEADNECK", vec![Region::Head, Region::Neck]),
            ("XR CHEST 2 VIEWS PA/LAT", vec![Region::Chest]),
            ("CT THORAX W/O CONTRAST", vec![Region::Chest]),
            ("CSPINE", vec![Region::Spine]),
            ("TRIBAL SHIP", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(regions_in(text), expected, "{text}");
        }
        assert_eq!(kinds_in("XR CHEST 1V"), [ImageKind::Xray]);
        assert_eq!(kinds_in("CT ABDOMEN"), [ImageKind::Ct]);
        assert_eq!(kinds_in("CONTACT"), []);
    }
}
