//! Paths to what they ask for (PS3.18 section 8.2 and tables 10.3-1 and 10.4.1-1; pure).

use hyper::Method;
use percent_encoding::percent_decode_str;
use prelim_proto::ids::Uid;

use super::ROOT;
use super::problem::Problem;
use super::worklist_route::{self, Ask};
use crate::access::Role::{Read, Submit};
use crate::access::table::Need;

/// Frames that one request may name.
const MAX_FRAMES: usize = 10_000;
/// Longest way to an attribute within sequences, in steps.
const MAX_STEPS: usize = 64;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// Instances are sent; of that study only, where the path names one.
    Store(Option<Uid>),
    /// What is held is searched.
    Search(Level, Scope),
    /// Something that is held is given out.
    Retrieve(What, Scope),
    /// Something is asked of the worklist.
    Worklist(Ask),
    /// A browser asks whether a page may call.
    Preflight,
}

/// What a search lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Study,
    Series,
    Instance,
}

/// What the path names: nothing, a study, a series of it, an instance of that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) study: Option<Uid>,
    pub(super) series: Option<Uid>,
    pub(super) instance: Option<Uid>,
}

/// A representation of what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// DICOM objects.
    Instances,
    /// Their attributes, without what is large.
    Metadata,
    /// Frames by number, from 1.
    Frames(Vec<u32>),
    /// A large value.
    BulkData(Vec<Step>),
    /// A picture of a frame, or of the first.
    Rendered(Option<u32>),
    /// A small picture.
    Thumbnail(Option<u32>),
}

/// A step on the way to an attribute: its group and element, and the item to go on in, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) tag: (u16, u16),
    pub(super) item: Option<usize>,
}

impl Operation {
    /// Its name in the audit and in messages, and what it takes.
    pub(super) fn need(&self) -> (&'static str, Need) {
        match self {
            Self::Store(_) => ("STOW-RS", Need::Role(&[Submit])),
            Self::Search(..) => ("QIDO-RS", Need::Role(&[Read])),
            Self::Retrieve(..) => ("WADO-RS", Need::Role(&[Read])),
            Self::Worklist(ask) => ask.need(),
            Self::Preflight => ("OPTIONS", Need::Nothing),
        }
    }

    /// Its name in numbers.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Store(_) => "store",
            Self::Search(..) => "search",
            Self::Retrieve(What::Instances, _) => "instances",
            Self::Retrieve(What::Metadata, _) => "metadata",
            Self::Retrieve(What::Frames(_), _) => "frames",
            Self::Retrieve(What::BulkData(_), _) => "bulkdata",
            Self::Retrieve(What::Rendered(_) | What::Thumbnail(_), _) => "rendered",
            Self::Worklist(Ask::OpenChannel(_)) => "channel",
            Self::Worklist(_) => "worklist",
            Self::Preflight => "preflight",
        }
    }
}

/// What `method` asks for at `path`.
pub(super) fn route(method: &Method, path: &str) -> Result<Operation, Problem> {
    let rest = path.strip_prefix(ROOT).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let rest = rest.ok_or_else(|| Problem::nothing_here("DICOMweb is below /dicom-web"))?;
    if method == Method::OPTIONS {
        return Ok(Operation::Preflight);
    }
    let decoded: Vec<_> = rest.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy()).collect();
    let parts: Vec<&str> = decoded.iter().map(AsRef::as_ref).filter(|part| !part.is_empty()).collect();
    if let Some(asked) = worklist_route::route(method, &parts) {
        return asked.map(Operation::Worklist);
    }
    let mut scope = Scope::default();
    let rest = names(&parts, &mut scope)?;
    let operation = match (method.as_str(), rest) {
        ("POST", [] | ["studies"]) if scope.series.is_none() && !parts.is_empty() => {
            return Ok(Operation::Store(scope.study));
        }
        (_, ["studies"]) if scope.study.is_none() => Operation::Search(Level::Study, scope),
        (_, ["series"]) if scope.series.is_none() => Operation::Search(Level::Series, scope),
        (_, ["instances"]) if scope.instance.is_none() => Operation::Search(Level::Instance, scope),
        (_, what) if scope.study.is_some() => Operation::Retrieve(representation(what, &scope)?, scope),
        _ => {
            return Err(Problem::nothing_here(
                "there are /studies, /series, /instances, /workitems and /subscribers here",
            ));
        }
    };
    match method.as_str() {
        "GET" | "HEAD" => Ok(operation),
        other => Err(Problem::method(other, "GET")),
    }
}

/// Reads pairs of a word and a UID off the front of a path.
fn names<'a, 'b>(parts: &'a [&'b str], scope: &mut Scope) -> Result<&'a [&'b str], Problem> {
    let mut rest = parts;
    while let [word, uid, after @ ..] = rest {
        let place = match *word {
            "studies" if scope.study.is_none() => &mut scope.study,
            "series" if scope.study.is_some() && scope.series.is_none() => &mut scope.series,
            "instances" if scope.series.is_some() && scope.instance.is_none() => &mut scope.instance,
            _ => break,
        };
        *place = Some(Uid::parse(uid).map_err(|error| Problem::bad(format!("{word}: {error}")))?);
        rest = after;
    }
    Ok(rest)
}

fn representation(what: &[&str], scope: &Scope) -> Result<What, Problem> {
    let in_instance = scope.instance.is_some();
    match what {
        [] => Ok(What::Instances),
        ["metadata"] => Ok(What::Metadata),
        ["rendered"] if in_instance => Ok(What::Rendered(None)),
        ["thumbnail"] => Ok(What::Thumbnail(None)),
        ["frames", list] if in_instance => Ok(What::Frames(frames(list)?)),
        ["frames", list, "rendered"] if in_instance => Ok(What::Rendered(Some(one_frame(list)?))),
        ["frames", list, "thumbnail"] if in_instance => Ok(What::Thumbnail(Some(one_frame(list)?))),
        ["bulkdata", way @ ..] if in_instance => Ok(What::BulkData(steps(way)?)),
        ["rendered"] => Err(Problem::nothing_here("rendered pictures are of an instance, or of one of its frames")),
        _ => Err(Problem::nothing_here("no such resource of a study, series or instance")),
    }
}

fn frames(list: &str) -> Result<Vec<u32>, Problem> {
    let bad = || Problem::bad("frames: not a list of numbers from 1, with commas between them".to_owned());
    let frames: Vec<u32> = list
        .split(',')
        .take(MAX_FRAMES + 1)
        .map(|number| number.trim().parse().ok().filter(|number| *number > 0).ok_or_else(bad))
        .collect::<Result<_, _>>()?;
    if frames.len() > MAX_FRAMES {
        return Err(Problem::bad(format!("frames: more than {MAX_FRAMES} in one request")));
    }
    Ok(frames)
}

fn one_frame(list: &str) -> Result<u32, Problem> {
    match frames(list)?[..] {
        [frame] => Ok(frame),
        _ => Err(Problem::bad("frames: a picture is of one frame".to_owned())),
    }
}

/// `7FE00010`, or `52009229/0/00289132`: attributes, and the items of sequences between them.
fn steps(way: &[&str]) -> Result<Vec<Step>, Problem> {
    let bad = || Problem::bad("bulkdata: not a way to an attribute, as 7FE00010 or 54000100/0/54001010".to_owned());
    if way.is_empty() || way.len() > 2 * MAX_STEPS || way.len().is_multiple_of(2) {
        return Err(bad());
    }
    way.chunks(2)
        .map(|pair| {
            let item = pair.get(1).map(|item| item.parse().map_err(|_| bad())).transpose()?;
            Ok(Step { tag: tag(pair[0]).ok_or_else(bad)?, item })
        })
        .collect()
}

/// Eight hexadecimal digits as group and element.
pub(crate) fn tag(text: &str) -> Option<(u16, u16)> {
    let is_tag = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16).ok().filter(|_| is_tag)?;
    Some(((number >> 16) as u16, number as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Option<Uid> {
        Some(Uid::parse(text).unwrap())
    }

    fn at(study: Option<Uid>, series: Option<Uid>, instance: Option<Uid>) -> Scope {
        Scope { study, series, instance }
    }

    fn get(path: &str) -> Result<Operation, u16> {
        route(&Method::GET, &format!("/dicom-web{path}")).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn paths_are_those_of_the_standard() {
        let study = || at(uid("1.2"), None, None);
        let instance = || at(uid("1.2"), uid("3.4"), uid("5.6"));
        let retrieve = |what, scope| Ok(Operation::Retrieve(what, scope));
        let of = "/studies/1.2/series/3.4/instances/5.6";
        assert_eq!(get("/studies"), Ok(Operation::Search(Level::Study, Scope::default())));
        assert_eq!(get("/studies/"), Ok(Operation::Search(Level::Study, Scope::default())));
        assert_eq!(get("/series"), Ok(Operation::Search(Level::Series, Scope::default())));
        assert_eq!(get("/studies/1.2/instances"), Ok(Operation::Search(Level::Instance, study())));
        let series = at(uid("1.2"), uid("3.4"), None);
        assert_eq!(get("/studies/1.2/series/3.4/instances"), Ok(Operation::Search(Level::Instance, series.clone())));
        assert_eq!(get("/studies/1.2"), retrieve(What::Instances, study()));
        assert_eq!(get("/studies/1.2/series/3.4/metadata"), retrieve(What::Metadata, series));
        assert_eq!(get(&format!("{of}/frames/1,3")), retrieve(What::Frames(vec![1, 3]), instance()));
        assert_eq!(get(&format!("{of}/frames/1%2C3")), retrieve(What::Frames(vec![1, 3]), instance()));
        assert_eq!(get(&format!("{of}/frames/2/rendered")), retrieve(What::Rendered(Some(2)), instance()));
        assert_eq!(get("/studies/1.2/thumbnail"), retrieve(What::Thumbnail(None), study()));
        let steps = vec![Step { tag: (0x5400, 0x100), item: Some(0) }, Step { tag: (0x5400, 0x1010), item: None }];
        assert_eq!(get(&format!("{of}/bulkdata/54000100/0/54001010")), retrieve(What::BulkData(steps), instance()));
    }

    #[test]
    fn other_paths_are_refused_with_a_reason() {
        let of = "/studies/1.2/series/3.4/instances/5.6";
        for (path, status) in [
            ("/", 404),
            ("/patients", 404),
            ("/studies/../secret", 400),
            ("/studies/1.2/series/abc", 400),
            ("/studies/1.2/rendered", 404),
            (&format!("{of}/frames/0"), 400),
            (&format!("{of}/frames/1,"), 400),
            (&format!("{of}/bulkdata/7FE0001"), 400),
            (&format!("{of}/bulkdata/7FE00010/0"), 400),
        ] {
            assert_eq!(get(path), Err(status), "{path}");
        }
        let status = |method: Method, path: &str| route(&method, path).map_err(|problem| problem.status().as_u16());
        assert_eq!(status(Method::GET, "/dicom-webs/studies"), Err(404));
        assert_eq!(status(Method::DELETE, "/dicom-web/studies/1.2"), Err(405));
        assert_eq!(status(Method::POST, "/dicom-web/studies"), Ok(Operation::Store(None)));
        assert_eq!(status(Method::POST, "/dicom-web/studies/1.2"), Ok(Operation::Store(uid("1.2"))));
        assert_eq!(status(Method::POST, "/dicom-web/studies/1.2/series/3.4"), Err(405));
        assert_eq!(status(Method::POST, "/dicom-web"), Err(404));
    }
}
