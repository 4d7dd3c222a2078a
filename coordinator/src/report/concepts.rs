//! The coded concepts of structured forms. Numbers are the context groups of PS3.16.

use prelim_proto::comparison::ChangeKind;
use prelim_proto::finding::{Laterality, Presence, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::report::{Report, Urgency};
use prelim_proto::vocabulary::{Concept, FindingCode};

use super::lookup::Image;

macro_rules! concepts {
    ($($name:ident = $value:literal, $scheme:literal, $meaning:literal;)*) => {
        $(pub(super) const $name: Concept = Concept { value: $value, scheme: $scheme, meaning: $meaning };)*
    };
}

concepts! {
    IMAGING_MEASUREMENT_REPORT = "126000", "DCM", "Imaging Measurement Report";
    LANGUAGE = "121049", "DCM", "Language of Content Item and Descendants";
    ENGLISH = "en", "RFC5646", "English";

    OBSERVER_TYPE = "121005", "DCM", "Observer Type";
    PERSON = "121006", "DCM", "Person";
    DEVICE = "121007", "DCM", "Device";
    PERSON_OBSERVER_NAME = "121008", "DCM", "Person Observer Name";
    PERSON_OBSERVER_ORGANIZATION = "121009", "DCM", "Person Observer's Organization Name";
    DEVICE_OBSERVER_UID = "121012", "DCM", "Device Observer UID";
    DEVICE_OBSERVER_NAME = "121013", "DCM", "Device Observer Name";
    DEVICE_OBSERVER_MANUFACTURER = "121014", "DCM", "Device Observer Manufacturer";
    DEVICE_OBSERVER_MODEL_NAME = "121015", "DCM", "Device Observer Model Name";

    PROCEDURE_REPORTED = "121058", "DCM", "Procedure reported";
    PLAIN_CHEST_XRAY = "399208008", "SCT", "Plain chest X-ray";
    CT_OF_CHEST = "169069000", "SCT", "CT of chest";
    XRAY_OF_UNSPECIFIED_REGION = "43468-8", "LN", "XR unspecified body region";
    CT_OF_UNSPECIFIED_REGION = "25045-6", "LN", "CT unspecified body region";

    DIAGNOSTIC_IMAGING_REPORT = "18748-4", "LN", "Diagnostic Imaging Report";
    DIAGNOSTIC_IMAGING_STUDY = "18748-4", "LN", "Diagnostic imaging study";

    IMAGING_MEASUREMENTS = "126010", "DCM", "Imaging Measurements";
    QUALITATIVE_EVALUATIONS = "C0034375", "UMLS", "Qualitative Evaluations";
    ALGORITHM_NAME = "111001", "DCM", "Algorithm Name";
    ALGORITHM_PARAMETERS = "111002", "DCM", "Algorithm Parameters";
    ALGORITHM_VERSION = "111003", "DCM", "Algorithm Version";
    FINDINGS_SUMMARY = "111017", "DCM", "CAD Processing and Findings Summary";
    PRIORITY = "260870009", "SCT", "Priority";

    MEASUREMENT_GROUP = "125007", "DCM", "Measurement Group";
    TRACKING_IDENTIFIER = "112039", "DCM", "Tracking Identifier";
    TRACKING_UNIQUE_IDENTIFIER = "112040", "DCM", "Tracking Unique Identifier";
    FINDING = "121071", "DCM", "Finding";
    FINDING_SITE = "363698007", "SCT", "Finding Site";
    LATERALITY = "272741003", "SCT", "Laterality";
    TOPOGRAPHICAL_MODIFIER = "106233006", "SCT", "Topographical modifier";
    PRESENCE_OF_PROPERTY = "121052", "DCM", "Presence of property";
    SEVERITY = "246112005", "SCT", "Severity";
    CERTAINTY_OF_FINDING = "111012", "DCM", "Certainty of Finding";
    PERCENT = "%", "UCUM", "percent";
    LONG_AXIS = "103339001", "SCT", "Long Axis";
    MILLIMETER = "mm", "UCUM", "millimeter";
    IMAGE_REGION = "111030", "DCM", "Image Region";
    SOURCE_OF_MEASUREMENT = "121112", "DCM", "Source of Measurement";
    SOURCE = "260753009", "SCT", "Source";

    CURRENT_PROCEDURE_DESCRIPTIONS = "55111-9", "LN", "Current Procedure Descriptions";
    PROCEDURE_DESCRIPTION = "121065", "DCM", "Procedure Description";
    PREVIOUS_FINDINGS = "18834-2", "LN", "Previous Findings";
    PREVIOUS_FINDING = "121069", "DCM", "Previous Finding";
    FINDINGS = "59776-5", "LN", "Findings";
    IMPRESSIONS = "19005-8", "LN", "Impressions";
    IMPRESSION = "121073", "DCM", "Impression";
    RELEVANT_PREVIOUS_PROCEDURES = "111513", "DCM", "Relevant Previous Procedures";
    PROCEDURE_STUDY_INSTANCE_UID = "121018", "DCM", "Procedure Study Instance UID";
    STUDY_DATE = "111060", "DCM", "Study Date";
    COMPARISON_TO_PREVIOUS_STUDIES = "111424", "DCM", "Comparison to previous studies";
    COMMENT = "121106", "DCM", "Comment";
    STUDY_INSTANCE_UID = "110180", "DCM", "Study Instance UID";

    OF_INTEREST = "113000", "DCM", "Of Interest";
    KEY_OBJECT_DESCRIPTION = "113012", "DCM", "Key Object Description";
    SOURCE_IMAGE = "121322", "DCM", "Source image for image processing operation";
    PROCESSING_EQUIPMENT = "109102", "DCM", "Processing Equipment";
}

const fn sct(value: &'static str, meaning: &'static str) -> Concept {
    Concept { value, scheme: "SCT", meaning }
}

const fn dcm(value: &'static str, meaning: &'static str) -> Concept {
    Concept { value, scheme: "DCM", meaning }
}

/// What was examined (CID 100), one for each kind of image that was read.
pub(super) fn procedures(report: &Report, read: &[Image<'_>]) -> Vec<Concept> {
    let chest = |kind: ImageKind| {
        let of_kind = read.iter().filter(|image| image.series.kind() == Some(kind));
        of_kind.map(|i| i.attributes.body_part.as_deref()).any(|part| matches!(part, Some("CHEST" | "THORAX")))
    };
    report.kinds.iter().map(|&kind| procedure(kind, chest(kind))).collect()
}

fn procedure(kind: ImageKind, chest: bool) -> Concept {
    match (kind, chest) {
        (ImageKind::Xray, true) => PLAIN_CHEST_XRAY,
        (ImageKind::Xray, false) => XRAY_OF_UNSPECIFIED_REGION,
        (ImageKind::Ct, true) => CT_OF_CHEST,
        (ImageKind::Ct, false) => CT_OF_UNSPECIFIED_REGION,
    }
}

/// How the reading went and whether anything was seen (CID 6047). It is the standard's own word for "no findings" of a
/// program, which says less than "no abnormality".
pub(super) fn findings_summary(report: &Report) -> Concept {
    let found = report.findings.iter().any(|finding| finding.presence != Presence::Absent);
    match (report.models.is_empty(), report.partial, found) {
        (false, false, false) => dcm("111241", "All algorithms succeeded; without findings"),
        (false, false, true) => dcm("111242", "All algorithms succeeded; with findings"),
        (false, true, false) => dcm("111243", "Not all algorithms succeeded; without findings"),
        (_, _, true) => dcm("111244", "Not all algorithms succeeded; with findings"),
        (true, _, false) => dcm("111245", "No algorithms succeeded; without findings"),
    }
}

/// How soon a person should look.
pub(super) fn priority(urgency: Urgency) -> Concept {
    match urgency {
        Urgency::Routine => sct("50811001", "Routine"),
        Urgency::Urgent => sct("103391001", "Urgent"),
        Urgency::Critical => sct("25876001", "Emergency"),
    }
}

/// Where in the body the finding is. Findings of the vocabulary have one place each.
pub(super) fn site(code: FindingCode) -> Concept {
    match code {
        FindingCode::PleuralEffusion | FindingCode::Pneumothorax => sct("3120008", "Pleura"),
        FindingCode::Consolidation
        | FindingCode::Nodule
        | FindingCode::Mass
        | FindingCode::InterstitialEdema
        | FindingCode::Atelectasis => sct("39607008", "Lung"),
        FindingCode::Cardiomegaly => sct("80891009", "Heart"),
        FindingCode::Pacemaker => sct("816094009", "Chest"),
        FindingCode::EndotrachealTube => sct("44567001", "Trachea"),
        FindingCode::Fracture => sct("3138006", "Bone"),
    }
}

/// The side (CID 244).
pub(super) fn laterality(side: Laterality) -> Concept {
    match side {
        Laterality::Left => sct("7771000", "Left"),
        Laterality::Right => sct("24028007", "Right"),
        Laterality::Bilateral => sct("51440002", "Bilateral"),
    }
}

/// The part of the site.
pub(super) fn zone(zone: Zone) -> Concept {
    match zone {
        Zone::Upper => sct("261183002", "Upper"),
        Zone::Mid => sct("255562008", "Mid"),
        Zone::Lower => sct("261122009", "Lower"),
        Zone::Anterior => sct("255549009", "Anterior"),
        Zone::Posterior => sct("255551008", "Posterior"),
    }
}

/// The amount (CID 3716 and CID 252).
pub(super) fn severity(severity: Severity) -> Concept {
    match severity {
        Severity::Small => sct("255507004", "Small"),
        Severity::Mild => sct("255604002", "Mild"),
        Severity::Moderate => sct("6736007", "Moderate"),
        Severity::Large => sct("255509001", "Large"),
        Severity::Severe => sct("24484000", "Severe"),
    }
}

/// What became of a finding; nothing where that cannot be told.
pub(super) fn change(kind: ChangeKind) -> Option<Concept> {
    match kind {
        ChangeKind::New => Some(sct("7147002", "New")),
        ChangeKind::Larger => Some(sct("35105006", "Increased")),
        ChangeKind::Smaller => Some(sct("1250004", "Decreased")),
        ChangeKind::Unchanged => Some(sct("260388006", "No status change")),
        ChangeKind::NoLongerSeen => Some(sct("272519000", "Absent")),
        ChangeKind::SeenOnlyNow | ChangeKind::SeenOnlyThen => None,
    }
}

/// Whether the finding is there (CID 240).
pub(super) fn presence(presence: Presence) -> Concept {
    match presence {
        Presence::Present => sct("52101004", "Present"),
        Presence::Absent => sct("272519000", "Absent"),
        Presence::Uncertain => sct("373068000", "Undetermined"),
    }
}
