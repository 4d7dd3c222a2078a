//! The answer to objects sent: the Store Instances Response module (PS3.18 section 10.5.3 and annex I; pure).

use axum::body::Body;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use hyper::{Response, StatusCode};
use prelim_proto::ids::Uid;
use serde_json::{Map, Value, json};

use super::json::hex;
use super::negotiate::JSON;
use super::wado;
use crate::intake::{Outcome, Refused, Verdict};

/// Error Comment (0000,0902): for people, beside the code. The standard has no attribute for it here, and other servers
/// use this one.
const ERROR_COMMENT: Tag = Tag(0x0000, 0x0902);
/// Longest comment, in characters (LO).
const MAX_COMMENT_CHARS: usize = 64;

/// Out of resources: may be sent again later.
const OUT_OF_RESOURCES: u16 = 0xA700;
/// It is another object, or of another study, than is said.
const MISMATCH: u16 = 0xA900;
/// It is not understood.
const NOT_UNDERSTOOD: u16 = 0xC000;
/// The instance is held, with other bytes.
const DUPLICATE_INSTANCE: u16 = 0x0111;
/// Not authorized.
const NOT_AUTHORIZED: u16 = 0x0124;

/// Why a part was not taken in before anything was read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It is longer than any object may be.
    #[error("longer than any object may be")]
    TooLong,
    /// Others hold the room for objects.
    #[error("no room for it now; send it again later")]
    NoRoom,
    /// It is no DICOM object by its own word.
    #[error("its Content-Type is not application/dicom")]
    MediaType,
    /// The body ended in the middle of it.
    #[error("the body ended in the middle of it")]
    BrokenOff,
    /// A store is full, or did not answer: what came after was not read.
    #[error("not all was taken; send the rest again later")]
    Stopped,
}

/// What became of the objects of a request.
#[derive(Default)]
pub(super) struct Stored {
    taken: Vec<Value>,
    refused: Vec<Value>,
    /// Of those that say not even what they are.
    others: Vec<Value>,
    study: Option<Uid>,
    studies: usize,
}

impl Stored {
    /// Objects that were told of.
    pub(super) fn len(&self) -> usize {
        self.taken.len() + self.refused.len() + self.others.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any object was taken in.
    pub(super) fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Tells of a part of which nothing was read.
    pub(super) fn fail(&mut self, failure: Failure) {
        let is_for_now = matches!(failure, Failure::NoRoom | Failure::Stopped);
        let code = if is_for_now { OUT_OF_RESOURCES } else { NOT_UNDERSTOOD };
        self.others.push(failed(None, code, &failure.to_string()));
    }

    /// Tells of objects that the intake answered for. Where it is stopped, what it refuses at a limit may come again.
    pub(super) fn extend(&mut self, outcomes: Vec<Outcome>, is_stopped: bool) {
        let code = |refused: &Refused| match refused {
            Refused::Limit(_) if is_stopped => OUT_OF_RESOURCES,
            other => code(other),
        };
        for outcome in outcomes {
            match (outcome.verdict, outcome.sop) {
                (Verdict::Refused(refused), None) => {
                    self.others.push(failed(None, code(&refused), &refused.to_string()));
                }
                (Verdict::Refused(refused), Some(sop)) => {
                    self.refused.push(failed(Some(&sop), code(&refused), &refused.to_string()));
                }
                (Verdict::Accepted | Verdict::Duplicate, sop) => {
                    let mut item = Map::new();
                    if let Some(sop) = &sop {
                        reference(&mut item, sop);
                    }
                    self.taken.push(item.into());
                    if let Some((study, _)) = outcome.ids.filter(|(study, _)| self.study.as_ref() != Some(study)) {
                        self.studies += 1;
                        self.study = Some(study);
                    }
                }
            }
        }
    }

    /// The answer: 200 where all was taken in, 202 where some was, 409 where nothing was.
    pub(super) fn response(self, base: &str) -> Response<Body> {
        let status = match (self.taken.is_empty(), self.refused.is_empty() && self.others.is_empty()) {
            (false, true) => StatusCode::OK,
            (false, false) => StatusCode::ACCEPTED,
            (true, _) => StatusCode::CONFLICT,
        };
        let mut module = Map::new();
        if let Some(study) = self.study.filter(|_| self.studies == 1) {
            put(&mut module, tags::RETRIEVE_URL, "UR", vec![format!("{base}/studies/{study}").into()]);
        }
        for (tag, items) in [
            (tags::FAILED_SOP_SEQUENCE, self.refused),
            (tags::REFERENCED_SOP_SEQUENCE, self.taken),
            (tags::OTHER_FAILURES_SEQUENCE, self.others),
        ] {
            if !items.is_empty() {
                put(&mut module, tag, "SQ", items);
            }
        }
        let body = Value::from(module).to_string();
        let mut response = wado::answer(JSON, Some(body.len() as u64), Body::from(body));
        *response.status_mut() = status;
        response
    }
}

fn failed(sop: Option<&(Uid, Uid)>, code: u16, comment: &str) -> Value {
    let mut item = Map::new();
    if let Some(sop) = sop {
        reference(&mut item, sop);
    }
    put(&mut item, tags::FAILURE_REASON, "US", vec![code.into()]);
    let comment: String = comment.replace('\\', "/").chars().take(MAX_COMMENT_CHARS).collect();
    put(&mut item, ERROR_COMMENT, "LO", vec![comment.into()]);
    item.into()
}

fn reference(item: &mut Map<String, Value>, (class, instance): &(Uid, Uid)) {
    put(item, tags::REFERENCED_SOP_CLASS_UID, "UI", vec![class.as_str().into()]);
    put(item, tags::REFERENCED_SOP_INSTANCE_UID, "UI", vec![instance.as_str().into()]);
}

fn put(to: &mut Map<String, Value>, tag: Tag, vr: &str, values: Vec<Value>) {
    to.insert(hex(tag), json!({"vr": vr, "Value": values}));
}

/// The code of a refusal: those of C-STORE.
fn code(refused: &Refused) -> u16 {
    match refused {
        Refused::Unreadable(_) | Refused::OtherPatient | Refused::Limit(_) => NOT_UNDERSTOOD,
        Refused::NotAsClaimed(_) => MISMATCH,
        Refused::Conflict { .. } => DUPLICATE_INSTANCE,
        Refused::OtherTenant => NOT_AUTHORIZED,
        Refused::Removing => OUT_OF_RESOURCES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(instance: &str, verdict: Verdict) -> Outcome {
        let uid = |text: &str| Uid::parse(text).unwrap();
        let is_refused = matches!(verdict, Verdict::Refused(_));
        let ids = (!is_refused).then(|| (uid("1.2"), uid(instance)));
        Outcome { name: String::new(), verdict, ids, sop: Some((uid("1.1"), uid(instance))) }
    }

    #[test]
    fn the_status_says_whether_all_or_some_or_none_was_taken() {
        let refused = || outcome("1.4", Verdict::Refused(Refused::NotAsClaimed("Study Instance UID")));
        let status = |outcomes: Vec<Outcome>| {
            let mut stored = Stored::default();
            stored.extend(outcomes, false);
            stored.response("http://x").status().as_u16()
        };
        assert_eq!(status(vec![outcome("1.3", Verdict::Accepted), outcome("1.3", Verdict::Duplicate)]), 200);
        assert_eq!(status(vec![outcome("1.3", Verdict::Accepted), refused()]), 202);
        assert_eq!(status(vec![refused()]), 409);
    }

    #[test]
    fn what_a_full_store_refuses_may_come_again() {
        let limit = || vec![outcome("1.4", Verdict::Refused(Refused::Limit("full".into())))];
        let reason = |is_stopped| {
            let mut stored = Stored::default();
            stored.extend(limit(), is_stopped);
            stored.refused[0]["00081197"]["Value"].clone()
        };
        assert_eq!((reason(false), reason(true)), (json!([0xC000]), json!([0xA700])));
        // Whatever else was taken, such an answer is not that all was.
        let mut stored = Stored::default();
        stored.extend(vec![outcome("1.3", Verdict::Accepted)], true);
        stored.fail(Failure::Stopped);
        assert_eq!(stored.response("http://x").status(), StatusCode::ACCEPTED);
    }

    #[test]
    fn a_refusal_has_its_code_and_its_reason() {
        let item = failed(Some(&(Uid::parse("1.1").unwrap(), Uid::parse("1.4").unwrap())), MISMATCH, "its \\ reason");
        assert_eq!(item["00081197"]["Value"], json!([0xA900]));
        assert_eq!(item["00081155"]["Value"], json!(["1.4"]));
        assert_eq!(item["00000902"]["Value"], json!(["its / reason"]));
    }
}
