//! What is recorded, in the codes of DICOM PS3.15 Annex A.5.

use std::net::SocketAddr;

use prelim_proto::ids::Uid;
use serde::Serialize;

/// A code of the DICOM Controlled Terminology (PS3.16 Annex D) with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Code {
    /// Code value; the coding scheme is DCM.
    pub code: &'static str,
    /// Code meaning.
    pub meaning: &'static str,
}

const fn code(code: &'static str, meaning: &'static str) -> Code {
    Code { code, meaning }
}

// Event ids: PS3.16 CID 400.
const APPLICATION_ACTIVITY: Code = code("110100", "Application Activity");
const INSTANCES_ACCESSED: Code = code("110103", "DICOM Instances Accessed");
const INSTANCES_TRANSFERRED: Code = code("110104", "DICOM Instances Transferred");
const STUDY_DELETED: Code = code("110105", "DICOM Study Deleted");
const PROCEDURE_RECORD: Code = code("110111", "Procedure Record");
const QUERY: Code = code("110112", "Query");
const SECURITY_ALERT: Code = code("110113", "Security Alert");
const USER_AUTHENTICATION: Code = code("110114", "User Authentication");
// Event types: PS3.16 CID 401 and 403.
const APPLICATION_START: Code = code("110120", "Application Start");
const APPLICATION_STOP: Code = code("110121", "Application Stop");
const LOGIN: Code = code("110122", "Login");
const LOGOUT: Code = code("110123", "Logout");
const NODE_AUTHENTICATION: Code = code("110126", "Node Authentication");
const RESTRICTED_FUNCTION: Code = code("110132", "Use of Restricted Function");
const RECORDING_STARTED: Code = code("110134", "Audit Recording Started");

/// Outcome indicators of RFC 3881 section 5.1.3.
const SUCCESS: u8 = 0;
const MINOR_FAILURE: u8 = 4;
const SERIOUS_FAILURE: u8 = 8;
const MAJOR_FAILURE: u8 = 12;

/// Something that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The coordinator began to serve.
    Started,
    /// The coordinator stopped.
    Stopped,
    /// An audit file was changed by another hand, and set aside.
    SetAside,
    /// A connection was refused: no certificate, or not a good one.
    NodeRefused,
    /// Somebody signed in to the page.
    SignedIn,
    /// Somebody signed out of it.
    SignedOut,
    /// A call was refused: nothing told who called, or what told it did not count.
    LoginRefused,
    /// A call was refused: the caller has not the role for it.
    RoleRefused,
    /// A call was refused: the study or tenant is another's.
    TenantRefused,
    /// Instances of a study were taken in.
    Submitted,
    /// A study was shown.
    Read,
    /// A study's draft was given out.
    Reported,
    /// A study's report was signed, amended or rejected.
    Reviewed,
    /// It was not: the request could not be carried out.
    NotReviewed,
    /// A question about a study was asked.
    Asked,
    /// It was answered.
    Answered,
    /// A study's draft was sent to another system.
    Delivered,
    /// A study was asked for at another system, and brought from there.
    Fetched,
    /// A study's images were given to a worker.
    Leased,
    /// Work on a study was stopped.
    Cancelled,
    /// A job of a study that was given up was given another try.
    Requeued,
    /// A study was removed.
    Removed,
    /// A modality said what it does, or did, for a study.
    Performed,
    /// A workitem was created.
    WorkitemCreated,
    /// A workitem was shown.
    WorkitemRead,
    /// A workitem was changed, claimed, ended, or asked to be canceled.
    WorkitemChanged,
    /// Studies or workitems were listed, or followed.
    Queried,
}

impl Act {
    /// Whether it is recorded also where it concerns no study.
    pub fn may_be_of_no_study(self) -> bool {
        matches!(
            self,
            Self::SignedIn | Self::SignedOut | Self::WorkitemCreated | Self::WorkitemRead | Self::WorkitemChanged
        )
    }

    /// Event id, event type, action code (C, R, U, D, E) and outcome (PS3.15 section A.5.3).
    pub fn codes(self) -> (Code, Option<Code>, char, u8) {
        match self {
            Self::Started => (APPLICATION_ACTIVITY, Some(APPLICATION_START), 'E', SUCCESS),
            Self::Stopped => (APPLICATION_ACTIVITY, Some(APPLICATION_STOP), 'E', SUCCESS),
            Self::SetAside => (SECURITY_ALERT, Some(RECORDING_STARTED), 'E', MAJOR_FAILURE),
            Self::NodeRefused => (SECURITY_ALERT, Some(NODE_AUTHENTICATION), 'E', MINOR_FAILURE),
            Self::SignedIn => (USER_AUTHENTICATION, Some(LOGIN), 'E', SUCCESS),
            Self::SignedOut => (USER_AUTHENTICATION, Some(LOGOUT), 'E', SUCCESS),
            Self::LoginRefused => (USER_AUTHENTICATION, Some(LOGIN), 'E', MINOR_FAILURE),
            Self::RoleRefused => (SECURITY_ALERT, Some(RESTRICTED_FUNCTION), 'E', MINOR_FAILURE),
            Self::TenantRefused => (SECURITY_ALERT, Some(RESTRICTED_FUNCTION), 'E', SERIOUS_FAILURE),
            Self::Submitted => (INSTANCES_TRANSFERRED, None, 'C', SUCCESS),
            Self::Read | Self::Reported => (INSTANCES_ACCESSED, None, 'R', SUCCESS),
            Self::Asked | Self::Answered => (INSTANCES_ACCESSED, None, 'R', SUCCESS),
            Self::Leased | Self::Delivered => (INSTANCES_TRANSFERRED, None, 'R', SUCCESS),
            Self::Fetched => (INSTANCES_TRANSFERRED, None, 'C', SUCCESS),
            Self::Cancelled | Self::Requeued => (PROCEDURE_RECORD, None, 'U', SUCCESS),
            Self::Removed => (STUDY_DELETED, None, 'D', SUCCESS),
            Self::Reviewed => (PROCEDURE_RECORD, None, 'U', SUCCESS),
            Self::NotReviewed => (PROCEDURE_RECORD, None, 'U', MINOR_FAILURE),
            Self::Performed => (PROCEDURE_RECORD, None, 'U', SUCCESS),
            Self::WorkitemCreated => (PROCEDURE_RECORD, None, 'C', SUCCESS),
            Self::WorkitemRead => (PROCEDURE_RECORD, None, 'R', SUCCESS),
            Self::WorkitemChanged => (PROCEDURE_RECORD, None, 'U', SUCCESS),
            Self::Queried => (QUERY, None, 'E', SUCCESS),
        }
    }
}

/// One event. It names studies by UID and callers by the name in their certificate or token, and nobody else but whom a query
/// names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub act: Act,
    /// Why, where something was refused.
    pub reason: Option<String>,
    /// What it came to, in a few words of ours.
    pub result: Option<String>,
    /// Who called, where that is known.
    pub caller: Option<String>,
    /// What tells the account from another that had its name before, where it has one.
    pub account: Option<String>,
    /// From where.
    pub address: Option<SocketAddr>,
    /// What was called.
    pub call: Option<&'static str>,
    /// Study Instance UIDs.
    pub studies: Vec<Uid>,
    /// What was looked for, each as `NAME=VALUE` (ParticipantObjectQuery of PS3.15 section A.5.3.10, in words).
    pub query: Vec<String>,
}

impl Event {
    /// An event of which nothing more is known.
    pub fn of(act: Act) -> Self {
        let (studies, query) = (Vec::new(), Vec::new());
        Self { act, reason: None, result: None, caller: None, account: None, address: None, call: None, studies, query }
    }
}

/// A line, but for its own digest.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    seq: u64,
    at: String,
    event: Code,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<Code>,
    action: char,
    outcome: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Uid]>::is_empty")]
    studies: &'a [Uid],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    query: &'a [String],
    previous: &'a str,
}

impl<'a> Record<'a> {
    pub(super) fn new(event: &'a Event, seq: u64, at: String, previous: &'a str) -> Self {
        let (id, kind, action, outcome) = event.act.codes();
        Self {
            seq,
            at,
            event: id,
            kind,
            action,
            outcome,
            reason: event.reason.as_deref(),
            result: event.result.as_deref(),
            caller: event.caller.as_deref(),
            account: event.account.as_deref(),
            address: event.address,
            call: event.call,
            studies: &event.studies,
            query: &event.query,
            previous,
        }
    }
}
