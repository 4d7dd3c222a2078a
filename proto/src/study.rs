//! A study as received, and where it stands.

use serde::{Deserialize, Serialize};

use crate::cost::StudyCost;
use crate::demand::Demand;
use crate::ids::{Digest, Tenant, Uid};
use crate::image::{ImageAttributes, ImageKind};

/// Where a study stands. The path is receiving → complete → queued → reading → drafted → signed | amended | rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StudyState {
    /// Instances are still arriving.
    Receiving,
    /// Everything expected has arrived; not yet partitioned.
    Complete,
    /// Its jobs wait for a worker.
    Queued,
    /// A worker holds, or has done, at least one of its jobs.
    Reading,
    /// An unsigned draft exists.
    Drafted,
    /// A radiologist signed the report.
    Signed,
    /// A signed report was amended.
    Amended,
    /// A radiologist rejected the draft.
    Rejected,
    /// No draft could be made; the reason is with the study.
    Failed,
    /// Someone cancelled it; the reason is with the study.
    Cancelled,
    /// A rule of the site says that it is not read; the reason is with the study.
    Skipped,
    /// It is being removed, with all that is known of it.
    Removing,
}

impl StudyState {
    /// Whether it has a report that can be looked at, a draft or what a radiologist made of one.
    pub fn is_reported(self) -> bool {
        matches!(self, Self::Drafted | Self::Signed | Self::Amended | Self::Rejected)
    }

    /// Whether no work of prelim's own is left to do on the study.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Receiving | Self::Complete | Self::Queued | Self::Reading)
    }

    /// The state as a lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Complete => "complete",
            Self::Queued => "queued",
            Self::Reading => "reading",
            Self::Drafted => "drafted",
            Self::Signed => "signed",
            Self::Amended => "amended",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Removing => "removing",
        }
    }
}

/// How soon a study is wanted. A larger value is read sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// In its turn.
    #[default]
    Routine,
    /// Before routine work.
    Urgent,
    /// Before everything.
    Stat,
}

/// What is known of the patient and the request. Held in study records only: never in jobs, keys, logs or metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyAttributes {
    /// Patient ID (0010,0020).
    pub patient_id: String,
    /// Patient's Name (0010,0010), as decoded text.
    pub patient_name: String,
    /// Patient's Birth Date (0010,0030), YYYYMMDD.
    pub patient_birth_date: String,
    /// Patient's Sex (0010,0040).
    pub patient_sex: String,
    /// Accession Number (0008,0050).
    pub accession_number: String,
    /// Study ID (0020,0010).
    pub study_id: String,
    /// Study Date (0008,0020), YYYYMMDD.
    pub study_date: String,
    /// Study Time (0008,0030), HHMMSS[.FFFFFF].
    pub study_time: String,
    /// Study Description (0008,1030).
    pub description: String,
    /// Referring Physician's Name (0008,0090).
    pub referring_physician: String,
    /// Institution Name (0008,0080).
    pub institution: String,
    /// Who else is named, so that names can be looked for: other names of the patient, who requested, performed and read. A line
    /// each, as DICOM writes names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other_names: String,
    /// What else identifies the patient or the request. A line each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub other_ids: String,
    /// The patient's address, and departments. A line each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub places: String,
}

/// Longest list of names, identifiers or places of a study, in bytes; what more there is, is not kept.
pub const MAX_LISTED_BYTES: usize = 8_192;

impl StudyAttributes {
    /// Fills the empty fields from `other`: real senders leave attributes out of some objects of a study.
    pub fn fill_from(&mut self, other: &Self) {
        let fields: [(&mut String, &String); 11] = [
            (&mut self.patient_id, &other.patient_id),
            (&mut self.patient_name, &other.patient_name),
            (&mut self.patient_birth_date, &other.patient_birth_date),
            (&mut self.patient_sex, &other.patient_sex),
            (&mut self.accession_number, &other.accession_number),
            (&mut self.study_id, &other.study_id),
            (&mut self.study_date, &other.study_date),
            (&mut self.study_time, &other.study_time),
            (&mut self.description, &other.description),
            (&mut self.referring_physician, &other.referring_physician),
            (&mut self.institution, &other.institution),
        ];
        for (own, new) in fields {
            if own.is_empty() {
                own.clone_from(new);
            }
        }
        let lists: [(&mut String, &String); 3] = [
            (&mut self.other_names, &other.other_names),
            (&mut self.other_ids, &other.other_ids),
            (&mut self.places, &other.places),
        ];
        for (own, new) in lists {
            new.lines().for_each(|line| add_line(own, line));
        }
    }

    /// Whether the two speak of different people: their Patient IDs differ, or, where one of them has none, their names
    /// or birth dates. What is empty says nothing.
    pub fn is_another_patient(&self, other: &Self) -> bool {
        let differ = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
        if !self.patient_id.is_empty() && !other.patient_id.is_empty() {
            return self.patient_id != other.patient_id;
        }
        differ(&self.patient_name, &other.patient_name) || differ(&self.patient_birth_date, &other.patient_birth_date)
    }
}

/// Adds a line to a list, unless it has it, or would be longer than [`MAX_LISTED_BYTES`].
pub fn add_line(list: &mut String, line: &str) {
    let is_held = list.lines().any(|held| held == line);
    if line.is_empty() || is_held || list.len() + 1 + line.len() > MAX_LISTED_BYTES {
        return;
    }
    if !list.is_empty() {
        list.push('\n');
    }
    list.push_str(line);
}

/// One instance (one DICOM object) of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// SOP Instance UID (0008,0018).
    pub uid: Uid,
    /// SOP Class UID (0008,0016).
    pub sop_class: Uid,
    /// Transfer syntax in which the bytes are held.
    pub transfer_syntax: Uid,
    /// SHA-256 of the bytes as received.
    pub digest: Digest,
    /// Length of the bytes.
    pub size_bytes: u64,
    /// Instance Number (0020,0013).
    pub number: Option<i32>,
    /// The name that the sender gave the file, for messages to the sender; never a full path.
    pub source_name: Option<String>,
    /// What the image is, or nothing where the object is no image.
    pub image: Option<ImageAttributes>,
}

/// The identifiers of a request that a series was made for (an item of Request Attributes Sequence (0040,0275)).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestIds {
    /// Scheduled Procedure Step ID (0040,0009).
    pub scheduled_step: String,
    /// Requested Procedure ID (0040,1001).
    pub requested_procedure: String,
}

/// One series of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Series Instance UID (0020,000E).
    pub uid: Uid,
    /// Modality (0008,0060).
    pub modality: String,
    /// Series Description (0008,103E).
    pub description: String,
    /// Series Number (0020,0011).
    pub number: Option<i32>,
    /// The instances, in order of UID.
    pub instances: Vec<Instance>,
}

impl Series {
    /// What the series holds, as far as prelim reads it.
    pub fn kind(&self) -> Option<ImageKind> {
        match self.modality.as_str() {
            "CR" | "DX" | "RF" | "XA" | "RG" => Some(ImageKind::Xray),
            "CT" => Some(ImageKind::Ct),
            _ => None,
        }
    }
}

/// Something that was received and not read, with the reason. Nothing is dropped in silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The instance.
    pub instance: Uid,
    /// The frame, from 1, where only one frame is meant.
    pub frame: Option<u32>,
    /// The kind of reason, for programs.
    pub reason: UnreadReason,
    /// What was found, for people.
    pub detail: String,
}

/// Why something was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreadReason {
    /// A modality or SOP class that prelim does not read.
    NotReadable,
    /// A localizer, dose sheet, derived copy or second reconstruction: not needed.
    NotNeeded,
    /// A transfer syntax without a decoder.
    TransferSyntax,
    /// The pixels did not decode, or do not agree with the header.
    Corrupt,
    /// Past a named limit.
    TooLarge,
    /// The job that should have read it was given up.
    JobDead,
}

/// A study: everything with one Study Instance UID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Study Instance UID (0020,000D).
    pub uid: Uid,
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// Where it stands.
    pub state: StudyState,
    /// Why it stands there, for failed, cancelled and skipped studies.
    pub state_reason: Option<String>,
    /// How soon it is wanted.
    pub priority: Priority,
    /// When the first instance was accepted, in ms since the Unix epoch.
    pub received_at_ms: i64,
    /// When the record last changed, in ms since the Unix epoch.
    pub updated_at_ms: i64,
    /// Patient and request.
    pub attributes: StudyAttributes,
    /// The series, in order of UID.
    pub series: Vec<Series>,
    /// What will not be, or was not, read.
    pub unread: Vec<Unread>,
    /// How the study was partitioned, in sentences.
    pub partition_notes: Vec<String>,
    /// Jobs in all, without the merge.
    pub jobs_total: u32,
    /// Jobs done or dead.
    pub jobs_finished: u32,
    /// What it cost so far.
    pub cost: StudyCost,
    /// How it came in, and what the site's rules made of it.
    pub intake: Intake,
}

/// How a study came in, and what the site's rules made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    /// Who sent it: application entity titles, and names of callers; in order of name.
    pub senders: Vec<String>,
    /// Instances that it has in all, where its sender said so.
    pub expected_instances: Option<u32>,
    /// Why it was called complete; none while instances are still arriving.
    pub completion: Option<Completion>,
    /// Which rule took it; none before it is complete.
    pub route: Option<Route>,
}

/// Why a study was called complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The rule that held.
    pub reason: CompletionReason,
    /// The same for people, with its numbers.
    pub detail: String,
}

/// The rules by which a study is called complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionReason {
    /// Its sender said so.
    Told,
    /// As many instances are there as its sender announced.
    CountReached,
    /// All that its performed procedure steps list is there.
    StepsPerformed,
    /// Every association that brought instances of it was released.
    AssociationsEnded,
    /// Nothing came for a while.
    QuietPeriod,
    /// It was waited for long enough.
    MaximumWait,
}

impl CompletionReason {
    /// The reason in a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::CountReached => "count reached",
            Self::StepsPerformed => "steps performed",
            Self::AssociationsEnded => "associations ended",
            Self::QuietPeriod => "quiet period",
            Self::MaximumWait => "maximum wait",
        }
    }
}

/// What the site's rules made of a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Name of the rule that took it; `default` where none of them did.
    pub rule: String,
    /// Where its reports are to go, by name.
    pub destinations: Vec<String>,
    /// The model and prompt that it is to be read with, where the rule names them.
    #[serde(flatten)]
    pub demand: Demand,
}
