//! Pixels that may show who the patient is: text burned into them, and faces. Nothing here looks at pixels: the header tells,
//! or gives a hint. Cleaning them (the Clean Pixel Data and Clean Recognizable Visual Features Options) is not done.

use std::fmt;

use dicom_dictionary_std::tags;

use crate::dataset::Attributes;

/// Classes whose pixels come from screens, scanners and devices that write the patient's name into them: prefixes, and what
/// they are.
const CLASSES: &[(&str, &str)] = &[
    ("1.2.840.10008.5.1.4.1.1.7", "Secondary Capture"),
    ("1.2.840.10008.5.1.4.1.1.6", "Ultrasound"),
    ("1.2.840.10008.5.1.4.1.1.3", "Ultrasound Multi-frame"),
    ("1.2.840.10008.5.1.4.1.1.77.1", "Visible Light"),
];
/// Classes of volumes from which a face can be drawn: CT, MR and PET, also enhanced.
const VOLUMES: &[&str] = &[
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.130",
];
/// Body parts in whose images the face may lie.
const HEADS: &[&str] = &[
    "HEAD", "SKULL", "BRAIN", "FACE", "ORBIT", "SINUS", "JAW", "MAXILLA", "MANDIBLE", "NOSE", "ZYGOMA", "IAC", "TEETH",
];
/// Words in Image Type (0008,0008) of pictures of a screen or a sheet.
const SCREENS: &[&str] = &["SCREEN", "REPORT", "DOSE_INFO", "PROTOCOL"];

/// What pixels may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// Burned In Annotation (0028,0301) is YES.
    Annotation,
    /// Recognizable Visual Features (0028,0302) is YES.
    Features,
    /// A class known for burned-in text, of which the object does not say that it has none.
    Class(&'static str),
    /// Image Type or Conversion Type: a picture of a screen, a film or a sheet.
    Screen,
    /// A volume of the head.
    Head,
    /// Overlays in bits of the pixels.
    Overlay,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation => f.write_str("its header says that text is burned into the pixels"),
            Self::Features => f.write_str("its header says that the patient can be recognised"),
            Self::Class(class) => write!(f, "{class} images often have the patient's name burned in"),
            Self::Screen => f.write_str("it is a picture of a screen, a film or a sheet, which may name the patient"),
            Self::Head => f.write_str("a face can be drawn from a volume of the head"),
            Self::Overlay => f.write_str("overlays stay in unused bits of the pixels"),
        }
    }
}

/// What is shown, in one sentence.
pub fn sentence(shows: &[Shown]) -> String {
    shows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", and ")
}

/// What the pixels of an object may show.
pub(super) fn shown(root: &Attributes<'_>) -> Vec<Shown> {
    let text = |tag| root.text(tag).unwrap_or_default().to_uppercase();
    let (class, burned_in) = (text(tags::SOP_CLASS_UID), text(tags::BURNED_IN_ANNOTATION));
    let is_of = |prefix: &str| class == prefix || class.starts_with(&format!("{prefix}."));
    let mut shows = Vec::new();
    if burned_in == "YES" {
        shows.push(Shown::Annotation);
    }
    // What an object says for certain is better than a hint.
    if !matches!(burned_in.as_str(), "YES" | "NO") {
        shows.extend(CLASSES.iter().find(|(prefix, _)| is_of(prefix)).map(|(_, name)| Shown::Class(name)));
        let image_type = text(tags::IMAGE_TYPE);
        let is_screen = SCREENS.iter().any(|word| image_type.contains(word));
        if is_screen || root.has(tags::CONVERSION_TYPE) && !text(tags::CONVERSION_TYPE).is_empty() {
            shows.push(Shown::Screen);
        }
    }
    let features = text(tags::RECOGNIZABLE_VISUAL_FEATURES);
    if features == "YES" {
        shows.push(Shown::Features);
    } else if features != "NO" && VOLUMES.iter().any(|prefix| is_of(prefix)) && is_of_head(root) {
        shows.push(Shown::Head);
    }
    // PS3.3 section C.9.2.1: before 2004, overlays could lie in the high bits of the pixels.
    let has_bits = |at: u16| {
        let group = 0x6000 + 2 * at;
        root.has(dicom_core::Tag(group, 0x0010)) && !root.has(dicom_core::Tag(group, 0x3000))
    };
    if (0..16).any(has_bits) {
        shows.push(Shown::Overlay);
    }
    shows
}

/// Whether the header says that the head is in the image.
fn is_of_head(root: &Attributes<'_>) -> bool {
    let of_region = root.items(tags::ANATOMIC_REGION_SEQUENCE).filter_map(|code| code.text(tags::CODE_MEANING));
    let stated = [tags::BODY_PART_EXAMINED, tags::STUDY_DESCRIPTION, tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME];
    let words = stated.into_iter().filter_map(|tag| root.text(tag)).chain(of_region);
    words.map(|words| words.to_uppercase()).any(|words| HEADS.iter().any(|head| words.contains(head)))
}
