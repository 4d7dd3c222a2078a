//! The schemas of the domain's words and identifiers.
//!
//! The words come from the domain types through serde, so that the schema cannot name a word that the code does not take. The
//! matches make the compiler ask for a word that is added later.

use prelim_proto::comparison::ChangeKind;
use prelim_proto::finding::{Laterality, Presence, Severity, Zone};
use prelim_proto::image::ImageKind;
use prelim_proto::question::QuestionKind;
use prelim_proto::report::{Passage, Urgency};
use prelim_proto::review::{Decision, Origin, Standing};
use prelim_proto::study::UnreadReason;
use prelim_proto::vocabulary::FindingCode;
use schemars::{Schema, SchemaGenerator, json_schema};

macro_rules! word_schemas {
    ($($function:ident: $type:ident = $($word:ident)|+;)*) => {$(
        #[doc = concat!("One of the words of [`", stringify!($type), "`].")]
        pub(super) fn $function(_: &mut SchemaGenerator) -> Schema {
            let words = [$($type::$word),+].map(|word| match word {
                $($type::$word => serde_json::to_value(word).unwrap_or_default(),)+
            });
            json_schema!({ "type": "string", "enum": words })
        }
    )*};
}

word_schemas! {
    laterality: Laterality = Left | Right | Bilateral;
    zone: Zone = Upper | Mid | Lower | Anterior | Posterior;
    severity: Severity = Small | Mild | Moderate | Large | Severe;
    presence: Presence = Present | Absent | Uncertain;
    urgency: Urgency = Routine | Urgent | Critical;
    standing: Standing = Draft | Signed | Amended | Rejected;
    decision: Decision = Accepted | Changed | Rejected | Added;
    change_kind: ChangeKind = New | Larger | Smaller | NoLongerSeen | Unchanged | SeenOnlyNow | SeenOnlyThen;
    image_kind: ImageKind = Xray | Ct;
    passage: Passage = Findings | Impression;
    origin: Origin = Draft | Decisions | Answer | Person;
    question_kind: QuestionKind = Question | Describe | Shorten | Explain;
    unread_reason: UnreadReason =
        NotReadable | NotNeeded | TransferSyntax | Corrupt | TooLarge | JobDead;
}

/// One of the vocabulary's keys.
pub(super) fn finding_key(_: &mut SchemaGenerator) -> Schema {
    let keys: Vec<&str> = FindingCode::ALL.iter().map(|code| code.key()).collect();
    json_schema!({ "type": "string", "enum": keys })
}

/// Image kinds.
pub(super) fn image_kinds(generator: &mut SchemaGenerator) -> Schema {
    let items = image_kind(generator);
    json_schema!({ "type": "array", "items": items })
}

/// A DICOM UID.
pub(super) fn uid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]+([.][0-9]+)*$", "maxLength": 64 })
}

/// A SHA-256 digest.
pub(super) fn digest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}
