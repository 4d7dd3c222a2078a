//! Paths of the worklist to what they ask for (PS3.18 tables 11.1.1-1 and 11.3-1; pure).
//!
//! Beside the standard's paths, those are taken that clients and servers use in the place of a header for the requesting
//! application entity: `/state/TITLE` and `/cancelrequest/TITLE`.

use hyper::Method;
use prelim_proto::ids::Uid;

use super::problem::Problem;
use crate::access::Role::{Read, Submit};
use crate::access::table::Need;

/// The well-known UID of the whole worklist, and that of the part of it that fits a filter (PS3.4 section CC.3.1).
const WORKLIST: &str = "1.2.840.10008.5.1.4.34.5";
const FILTERED: &str = "1.2.840.10008.5.1.4.34.5.1";

/// What a request asks of the worklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// A workitem is created.
    Create,
    /// Workitems are searched.
    Search,
    /// A workitem is given out.
    Retrieve(Uid),
    /// Attributes of it are changed.
    Update(Uid),
    /// It is claimed, completed or canceled.
    ChangeState(Uid),
    /// Its performer is asked to cancel it; by the application entity of this title, where it says so.
    RequestCancellation(Uid, Option<String>),
    /// An application entity is to be told of what happens.
    Subscribe(Target, String),
    /// It is to be told no more.
    Unsubscribe(Target, String),
    /// It is to be told of no new workitems.
    Suspend(String),
    /// It listens.
    OpenChannel(String),
}

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// One workitem.
    Workitem(Uid),
    /// All of them.
    Worklist,
    /// Those that fit a filter.
    Filtered,
}

impl Ask {
    /// Its name in the audit and in messages, and what it takes. Who performs workitems also submits: its results.
    pub(super) fn need(&self) -> (&'static str, Need) {
        let role = match self {
            Self::Create | Self::Update(_) | Self::ChangeState(_) | Self::RequestCancellation(..) => {
                Need::Role(&[Submit])
            }
            _ => Need::Role(&[Read]),
        };
        ("UPS-RS", role)
    }
}

/// What `method` asks for at a path of these parts; none where the path is not of the worklist.
pub(super) fn route(method: &Method, parts: &[&str]) -> Option<Result<Ask, Problem>> {
    let rest = match parts {
        ["workitems", rest @ ..] => rest,
        ["subscribers", title] | ["ws", "subscribers", title] => {
            return Some(match method.as_str() {
                "GET" => self::title(title).map(Ask::OpenChannel),
                other => Err(Problem::method(other, "GET")),
            });
        }
        _ => return None,
    };
    Some(workitems(method, rest))
}

fn workitems(method: &Method, rest: &[&str]) -> Result<Ask, Problem> {
    let [uid, rest @ ..] = rest else {
        return match method.as_str() {
            "POST" => Ok(Ask::Create),
            "GET" | "HEAD" => Ok(Ask::Search),
            other => Err(Problem::method(other, "GET, POST")),
        };
    };
    let uid = Uid::parse(uid).map_err(|error| Problem::bad(format!("workitems: {error}")))?;
    let target = match uid.as_str() {
        WORKLIST => Target::Worklist,
        FILTERED => Target::Filtered,
        _ => Target::Workitem(uid.clone()),
    };
    match (method.as_str(), rest) {
        ("GET" | "HEAD", []) => Ok(Ask::Retrieve(uid)),
        ("POST", []) => Ok(Ask::Update(uid)),
        (other, []) => Err(Problem::method(other, "GET, POST")),
        ("PUT", ["state"] | ["state", _]) => Ok(Ask::ChangeState(uid)),
        (other, ["state"] | ["state", _]) => Err(Problem::method(other, "PUT")),
        ("POST", ["cancelrequest"]) => Ok(Ask::RequestCancellation(uid, None)),
        ("POST", ["cancelrequest", by]) => Ok(Ask::RequestCancellation(uid, Some(title(by)?))),
        (other, ["cancelrequest"] | ["cancelrequest", _]) => Err(Problem::method(other, "POST")),
        ("POST", ["subscribers", by]) => Ok(Ask::Subscribe(target, title(by)?)),
        ("DELETE", ["subscribers", by]) => Ok(Ask::Unsubscribe(target, title(by)?)),
        (other, ["subscribers", _]) => Err(Problem::method(other, "POST, DELETE")),
        ("POST", ["subscribers", by, "suspend"]) if !matches!(target, Target::Workitem(_)) => {
            Ok(Ask::Suspend(title(by)?))
        }
        _ => Err(Problem::nothing_here("no such resource of a workitem")),
    }
}

/// An application entity title (PS3.5 section 6.2, VR AE).
fn title(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let is_title =
        (1..=16).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\');
    match is_title {
        true => Ok(text.to_owned()),
        false => Err(Problem::bad(format!("{text:?} is no application entity title: 1 to 16 characters of ASCII"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_standard() {
        let uid = || Uid::parse("1.2").unwrap();
        let asked = |method: Method, path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            route(&method, &parts).unwrap().map_err(|problem| problem.status().as_u16())
        };
        let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
        for (method, path, ask) in [
            (&post, "workitems", Ask::Create),
            (&get, "workitems", Ask::Search),
            (&get, "workitems/1.2", Ask::Retrieve(uid())),
            (&post, "workitems/1.2", Ask::Update(uid())),
            (&put, "workitems/1.2/state", Ask::ChangeState(uid())),
            (&put, "workitems/1.2/state/AE1", Ask::ChangeState(uid())),
            (&post, "workitems/1.2/cancelrequest", Ask::RequestCancellation(uid(), None)),
            (&post, "workitems/1.2/cancelrequest/AE1", Ask::RequestCancellation(uid(), Some("AE1".to_owned()))),
            (&post, "workitems/1.2/subscribers/AE1", Ask::Subscribe(Target::Workitem(uid()), "AE1".to_owned())),
            (
                &post,
                "workitems/1.2.840.10008.5.1.4.34.5/subscribers/AE1",
                Ask::Subscribe(Target::Worklist, "AE1".to_owned()),
            ),
            (
                &delete,
                "workitems/1.2.840.10008.5.1.4.34.5.1/subscribers/AE1",
                Ask::Unsubscribe(Target::Filtered, "AE1".to_owned()),
            ),
            (&post, "workitems/1.2.840.10008.5.1.4.34.5/subscribers/AE1/suspend", Ask::Suspend("AE1".to_owned())),
            (&get, "subscribers/AE1", Ask::OpenChannel("AE1".to_owned())),
            (&get, "ws/subscribers/AE1", Ask::OpenChannel("AE1".to_owned())),
        ] {
            assert_eq!(asked(method.clone(), path), Ok(ask), "{path}");
        }
        for (method, path, status) in [
            (&delete, "workitems", 405),
            (&delete, "workitems/1.2", 405),
            (&post, "workitems/1.2/state", 405),
            (&get, "workitems/abc", 400),
            (&post, "workitems/1.2/subscribers/A TITLE THAT IS TOO LONG", 400),
            (&post, "workitems/1.2/subscribers/AE1/suspend", 404),
            (&get, "workitems/1.2/metadata", 404),
            (&post, "subscribers/AE1", 405),
        ] {
            assert_eq!(asked(method.clone(), path), Err(status), "{path}");
        }
        assert!(route(&get, &["studies"]).is_none());
    }
}
