//! Paths below `/api` to what they ask for. Pure.

use hyper::Method;
use percent_encoding::percent_decode_str;
use prelim_proto::ids::Uid;

use super::fault::Fault;
use crate::access::Role::{Read, Review};
use crate::access::table::Need;
use crate::question::How;

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Somebody signs in with a password.
    SignIn,
    /// Who is signed in.
    Session,
    /// Somebody signs out.
    SignOut,
    /// Somebody is sent to the issuer to sign in there.
    OidcBegin,
    /// Somebody comes back from there.
    OidcEnd,
    /// A part of the worklist.
    Worklist,
    /// What changes in it.
    Events,
    /// A study with all that is shown of it.
    Study(Uid),
    /// A version of its report.
    Report(Uid, u32),
    /// A frame of an image.
    Pixels(Uid, Uid, u32),
    /// What the caller has not finished, is looked at, saved, or thrown away.
    Copy(Uid, Do),
    /// The report as it would be signed.
    Preview(Uid),
    /// A report is signed.
    Sign(Uid),
    /// A draft is rejected.
    Reject(Uid),
    /// The caller reads it, or no longer.
    Reading(Uid, Do),
    /// What the caller asked about it.
    Questions(Uid),
    /// Whether a model answers questions about it.
    Answering(Uid),
    /// Something is asked about it.
    NewQuestion(Uid),
    /// The words of an answer are put into the report.
    TakeAnswer(Uid, String, How),
    /// A question is withdrawn or forgotten.
    DropQuestion(Uid, String),
    /// What findings may say.
    Vocabulary,
    /// How often radiologists agreed with drafts.
    Agreement,
    /// Reports that radiologists made of drafts, for training.
    Export,
}

/// What is done to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    Get,
    Put,
    Delete,
}

impl Ask {
    /// Its name in the audit and in messages, and what it takes. Nothing, where it is for those who are not signed in.
    pub(super) fn need(&self) -> (&'static str, Need) {
        match self {
            Self::SignIn => ("page sign-in", Need::Nothing),
            Self::OidcBegin | Self::OidcEnd => ("page sign-in by OpenID Connect", Need::Nothing),
            Self::Session => ("page session", Need::Known),
            Self::SignOut => ("page sign-out", Need::Known),
            Self::Vocabulary => ("page vocabulary", Need::Known),
            Self::Worklist => ("page worklist", Need::Role(&[Read])),
            Self::Events => ("page events", Need::Role(&[Read])),
            Self::Study(_) => ("page study", Need::Role(&[Read])),
            Self::Report(..) => ("page report", Need::Role(&[Read])),
            Self::Pixels(..) => ("page pixels", Need::Role(&[Read])),
            Self::Reading(..) => ("page reading", Need::Role(&[Read])),
            Self::Questions(_) => ("page questions", Need::Role(&[Read])),
            Self::Answering(_) => ("page answering", Need::Role(&[Read])),
            Self::NewQuestion(_) => ("page ask", Need::Role(&[Read])),
            Self::TakeAnswer(..) => ("page insert an answer", Need::Role(&[Review])),
            Self::DropQuestion(..) => ("page forget a question", Need::Role(&[Read])),
            Self::Copy(..) => ("page working copy", Need::Role(&[Review])),
            Self::Preview(_) => ("page preview", Need::Role(&[Review])),
            Self::Sign(_) => ("page sign", Need::Role(&[Review])),
            Self::Reject(_) => ("page reject", Need::Role(&[Review])),
            Self::Agreement => ("page agreement", Need::Role(&[Read])),
            Self::Export => ("page export", Need::Role(&[Review])),
        }
    }

    /// Its name in numbers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::SignIn | Self::Session | Self::SignOut | Self::OidcBegin | Self::OidcEnd => "page_session",
            Self::Worklist => "page_worklist",
            Self::Events => "page_events",
            Self::Pixels(..) => "page_pixels",
            Self::Answering(_)
            | Self::Questions(_)
            | Self::NewQuestion(_)
            | Self::DropQuestion(..)
            | Self::TakeAnswer(..) => "page_questions",
            Self::Agreement | Self::Export => "page_agreement",
            _ => "page_study",
        }
    }

    /// Whether it shows that somebody is there: a page that is left alone asks for some things by itself.
    pub(super) fn is_by_a_person(&self) -> bool {
        !matches!(self, Self::Session | Self::Events | Self::Reading(..) | Self::Answering(_))
    }
}

/// What `method` asks for at `path`, which begins with `/api`.
pub(super) fn route(method: &Method, path: &str) -> Result<Ask, Fault> {
    let decoded: Vec<_> = path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
    let parts: Vec<&str> = decoded.iter().map(AsRef::as_ref).skip(2).collect();
    let (get, post, put, delete) = (
        matches!(*method, Method::GET | Method::HEAD),
        *method == Method::POST,
        *method == Method::PUT,
        *method == Method::DELETE,
    );
    let only = |is_so: bool, ask: Ask, allow| if is_so { Ok(ask) } else { Err(Fault::method(allow)) };
    let either = |ask: fn(Uid, Do) -> Ask, uid: Uid, allow: &'static str| match () {
        () if get && allow.starts_with("GET") => Ok(ask(uid, Do::Get)),
        () if put => Ok(ask(uid, Do::Put)),
        () if delete => Ok(ask(uid, Do::Delete)),
        () => Err(Fault::method(allow)),
    };
    match parts[..] {
        ["session"] if get => Ok(Ask::Session),
        ["session"] if post => Ok(Ask::SignIn),
        ["session"] => only(delete, Ask::SignOut, "GET, POST, DELETE"),
        ["oidc", "begin"] => only(get, Ask::OidcBegin, "GET"),
        ["oidc", "end"] => only(get, Ask::OidcEnd, "GET"),
        ["studies"] => only(get, Ask::Worklist, "GET"),
        ["events"] => only(get, Ask::Events, "GET"),
        ["vocabulary"] => only(get, Ask::Vocabulary, "GET"),
        ["agreement"] => only(get, Ask::Agreement, "GET"),
        ["agreement", "export"] => only(get, Ask::Export, "GET"),
        ["studies", study] => only(get, Ask::Study(uid("study", study)?), "GET"),
        ["studies", study, "reports", version] => {
            let version = version.parse().ok().filter(|version| *version > 0);
            let version = version.ok_or_else(|| Fault::invalid("version", "a version is a number from 1"))?;
            only(get, Ask::Report(uid("study", study)?, version), "GET")
        }
        ["studies", study, "pixels", instance, frame] => {
            let frame = frame.parse().ok().filter(|frame| *frame > 0);
            let frame = frame.ok_or_else(|| Fault::invalid("frame", "a frame is a number from 1"))?;
            only(get, Ask::Pixels(uid("study", study)?, uid("instance", instance)?, frame), "GET")
        }
        ["studies", study, "working-copy"] => either(Ask::Copy, uid("study", study)?, "GET, PUT, DELETE"),
        ["studies", study, "reading"] => either(Ask::Reading, uid("study", study)?, "PUT, DELETE"),
        ["studies", study, "questions"] if get => Ok(Ask::Questions(uid("study", study)?)),
        ["studies", study, "questions"] => only(post, Ask::NewQuestion(uid("study", study)?), "GET, POST"),
        ["studies", study, "answering"] => only(get, Ask::Answering(uid("study", study)?), "GET"),
        ["studies", study, "questions", id] => {
            let id = id.chars().take(64).collect();
            only(delete, Ask::DropQuestion(uid("study", study)?, id), "DELETE")
        }
        ["studies", study, "questions", id, "taken"] => {
            let id = id.chars().take(64).collect();
            only(put, Ask::TakeAnswer(uid("study", study)?, id, How::Inserted), "PUT")
        }
        ["studies", study, "questions", id, "pasted"] => {
            let id = id.chars().take(64).collect();
            only(put, Ask::TakeAnswer(uid("study", study)?, id, How::Pasted), "PUT")
        }
        ["studies", study, "preview"] => only(post, Ask::Preview(uid("study", study)?), "POST"),
        ["studies", study, "sign"] => only(post, Ask::Sign(uid("study", study)?), "POST"),
        ["studies", study, "reject"] => only(post, Ask::Reject(uid("study", study)?), "POST"),
        _ => Err(Fault::nothing_here("there is no such call")),
    }
}

fn uid(field: &str, text: &str) -> Result<Uid, Fault> {
    Uid::parse(text).map_err(|error| Fault::invalid(field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_they_ask_for() {
        let study = || Uid::parse("1.2").unwrap();
        for (method, path, ask) in [
            ("GET", "/api/session", Ask::Session),
            ("HEAD", "/api/session", Ask::Session),
            ("POST", "/api/session", Ask::SignIn),
            ("DELETE", "/api/session", Ask::SignOut),
            ("GET", "/api/studies", Ask::Worklist),
            ("GET", "/api/studies/1%2E2", Ask::Study(study())),
            ("GET", "/api/studies/1.2/reports/3", Ask::Report(study(), 3)),
            ("GET", "/api/studies/1.2/pixels/1.3/2", Ask::Pixels(study(), Uid::parse("1.3").unwrap(), 2)),
            ("PUT", "/api/studies/1.2/working-copy", Ask::Copy(study(), Do::Put)),
            ("GET", "/api/studies/1.2/working-copy", Ask::Copy(study(), Do::Get)),
            ("DELETE", "/api/studies/1.2/reading", Ask::Reading(study(), Do::Delete)),
            ("POST", "/api/studies/1.2/sign", Ask::Sign(study())),
            ("GET", "/api/studies/1.2/questions", Ask::Questions(study())),
            ("POST", "/api/studies/1.2/questions", Ask::NewQuestion(study())),
            ("GET", "/api/studies/1.2/answering", Ask::Answering(study())),
            (
                "PUT",
                "/api/studies/1.2/questions/80000001/taken",
                Ask::TakeAnswer(study(), "80000001".into(), How::Inserted),
            ),
            (
                "PUT",
                "/api/studies/1.2/questions/80000001/pasted",
                Ask::TakeAnswer(study(), "80000001".into(), How::Pasted),
            ),
            ("DELETE", "/api/studies/1.2/questions/80000001", Ask::DropQuestion(study(), "80000001".into())),
        ] {
            assert_eq!(route(&Method::from_bytes(method.as_bytes()).unwrap(), path).unwrap(), ask, "{path}");
        }
    }

    #[test]
    fn what_is_not_served_is_said() {
        for (method, path, status) in [
            (Method::GET, "/api", 404),
            (Method::GET, "/api/", 404),
            (Method::GET, "/api/studies/", 400),
            (Method::GET, "/api/studies/1.2/reports/0", 400),
            (Method::GET, "/api/studies/1.2/pixels/1.3/x", 400),
            (Method::GET, "/api/studies/1.2/reading", 405),
            (Method::GET, "/api/studies/1.2/sign", 405),
            (Method::POST, "/api/studies", 405),
            (Method::PUT, "/api/session", 405),
            (Method::GET, "/api/studies/../session", 404),
        ] {
            assert_eq!(route(&method, path).unwrap_err().status().as_u16(), status, "{method} {path}");
        }
    }

    #[test]
    fn only_signing_in_is_open() {
        for ask in
            [Ask::Session, Ask::SignOut, Ask::Worklist, Ask::Events, Ask::Vocabulary, Ask::Agreement, Ask::Export]
        {
            assert_ne!(ask.need().1, Need::Nothing, "{ask:?}");
        }
    }
}
