//! Media types and `Accept` (PS3.18 sections 8.7.3 to 8.7.8; RFC 9110 section 12.5.1; pure).

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use prelim_imaging::syntax::EXPLICIT_LITTLE;

use super::problem::Problem;

/// The DICOM JSON model.
pub(super) const JSON: &str = "application/dicom+json";
/// An object as in a file.
pub(super) const DICOM: &str = "application/dicom";
/// Uncompressed bytes.
pub(super) const OCTETS: &str = "application/octet-stream";
/// Several parts.
pub(super) const RELATED: &str = "multipart/related";

/// Media ranges that one request may name.
const MAX_RANGES: usize = 64;

/// Compressed frames (PS3.18 tables 8.7.3-2, -3 and 8.7.3-4, and CP 2273 for JPEG XL): a media type, and the tails of its
/// transfer syntaxes under 1.2.840.10008.1.2.
const COMPRESSED: &[(&str, &[&str])] = &[
    ("image/jpeg", &[".4.50", ".4.51", ".4.53", ".4.55", ".4.57", ".4.70"]),
    ("image/jls", &[".4.80", ".4.81"]),
    ("image/jp2", &[".4.90", ".4.91"]),
    ("image/jphc", &[".4.201", ".4.202", ".4.203"]),
    ("image/jxl", &[".4.110", ".4.111", ".4.112"]),
    ("image/dicom-rle", &[".5"]),
];

/// A media type, or a range of them, with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaType {
    /// Type and subtype, in lower case.
    pub(super) essence: String,
    /// Names in lower case, and values.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads `type/subtype; name=value; name="value"`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = split(text, ';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let parameters = parts.filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            Some((name.trim().to_ascii_lowercase(), value.to_owned()))
        });
        Some(Self { parameters: parameters.collect(), essence })
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// How much it is wanted, in thousandths; 0 is not at all.
    fn quality(&self) -> u16 {
        let quality = self.parameter("q").and_then(|text| text.trim().parse::<f32>().ok()).unwrap_or(1.0);
        (quality.clamp(0.0, 1.0) * 1_000.0) as u16
    }

    /// Whether a media type of this essence is in the range.
    fn takes(&self, essence: &str) -> bool {
        let kind = essence.split('/').next().unwrap_or_default();
        self.essence == essence || self.essence == "*/*" || self.essence == format!("{kind}/*")
    }

    /// The essence of its parts, where it is of several; `*/*` where it does not say.
    fn part(&self) -> String {
        self.parameter("type").map_or("*/*".to_owned(), str::to_ascii_lowercase)
    }
}

/// Splits at a character outside of quotes.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        if c == '"' {
            quoted = !quoted;
        }
        c == at && !quoted
    })
}

/// What a client takes, the most wanted first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted(Vec<MediaType>);

impl Accepted {
    /// What the headers say, or the query's `accept` (PS3.18 section 8.3.3.1), which counts instead of them. Everything,
    /// where neither says anything.
    pub(super) fn read(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Problem> {
        let in_headers = headers.get_all(ACCEPT).iter().map(|value| value.to_str().unwrap_or_default());
        let text = query.map_or_else(|| in_headers.collect::<Vec<_>>().join(","), str::to_owned);
        let mut ranges = Vec::new();
        for part in split(&text, ',').map(str::trim).filter(|part| !part.is_empty()) {
            if ranges.len() == MAX_RANGES {
                return Err(Problem::bad(format!("Accept names more than {MAX_RANGES} media types")));
            }
            ranges.push(
                MediaType::parse(part).ok_or_else(|| Problem::bad(format!("Accept: {part:?} is no media type")))?,
            );
        }
        if ranges.is_empty() {
            ranges.extend(MediaType::parse("*/*"));
        }
        ranges.retain(|range| range.quality() > 0);
        ranges.sort_by_key(|range| std::cmp::Reverse(range.quality()));
        Ok(Self(ranges))
    }

    /// Whether the DICOM JSON model is taken, also by the name of JSON in general.
    pub(super) fn json(&self) -> Result<(), Problem> {
        let taken = self.0.iter().any(|range| range.takes(JSON) || range.takes("application/json"));
        if taken { Ok(()) } else { Err(self.refused(JSON)) }
    }

    /// How DICOM objects are wanted.
    pub(super) fn objects(&self) -> Result<ObjectForm, Problem> {
        let is_single = |range: &MediaType| range.essence == DICOM;
        let is_related = |range: &MediaType| range.takes(RELATED) && part_takes(range, DICOM);
        let form = self.0.iter().find(|range| is_single(range) || is_related(range));
        let form = form.ok_or_else(|| self.refused("multipart/related; type=\"application/dicom\""))?;
        let is_single = is_single(form);
        let same = self.0.iter().filter(|range| if is_single { range.essence == DICOM } else { is_related(range) });
        // Without the parameter it is Explicit VR Little Endian that is meant (PS3.18 section 8.7.3.5.2).
        let syntaxes = same.map(|range| range.parameter("transfer-syntax").unwrap_or(EXPLICIT_LITTLE).to_owned());
        Ok(ObjectForm { is_single, syntaxes: syntaxes.collect() })
    }

    /// How a frame, or another large value, is wanted that is stored in this transfer syntax.
    pub(super) fn frames(&self, stored: &str) -> Result<FrameForm, Problem> {
        let compressed = media_type_of(stored);
        for range in &self.0 {
            let is_related = range.takes(RELATED);
            let wanted = if is_related && range.essence != "*/*" { range.part() } else { range.essence.clone() };
            let wanted = MediaType { essence: wanted, parameters: Vec::new() };
            let syntax = range.parameter("transfer-syntax");
            let as_stored = compressed.filter(|essence| {
                // A type of image without a syntax means its usual one; what is stored is as good.
                wanted.takes(essence)
                    && (syntax == Some("*")
                        || syntax == Some(stored)
                        || syntax.is_none() && wanted.essence == **essence)
            });
            if let Some(essence) = as_stored {
                return Ok(FrameForm { is_single: !is_related, compressed: Some(essence) });
            }
            let is_plain = syntax.is_none_or(|syntax| syntax == EXPLICIT_LITTLE || syntax == "*");
            if wanted.takes(OCTETS) && is_plain {
                return Ok(FrameForm { is_single: !is_related, compressed: None });
            }
        }
        Err(self.refused(&format!("multipart/related; type=\"{OCTETS}\"")))
    }

    /// The kind of picture that is wanted: the first of those on offer, where any will do.
    pub(super) fn picture(&self, offered: &[&'static str]) -> Result<&'static str, Problem> {
        let found = self.0.iter().find_map(|range| offered.iter().find(|essence| range.takes(essence)));
        found.copied().ok_or_else(|| self.refused(&offered.join(" or ")))
    }

    fn refused(&self, offered: &str) -> Problem {
        let asked: Vec<&str> = self.0.iter().map(|range| range.essence.as_str()).take(5).collect();
        Problem::not_acceptable(format!("Accept asks for {}, and there is {offered} here", asked.join(", ")))
    }
}

/// Whether parts of that essence may be in what `range` names.
fn part_takes(range: &MediaType, essence: &str) -> bool {
    MediaType { essence: range.part(), parameters: Vec::new() }.takes(essence)
}

/// How DICOM objects are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectForm {
    /// One object, not in a part.
    pub(super) is_single: bool,
    /// In these transfer syntaxes; `*` as they are stored.
    syntaxes: Vec<String>,
}

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// It is given as it is stored.
    AsStored,
    /// It is written anew in Explicit VR Little Endian, its pixels decoded.
    Plain,
}

impl ObjectForm {
    /// What is done with an object that is stored in `stored`; nothing where it cannot be had as wanted.
    pub(super) fn encoding(&self, stored: &str) -> Option<Encoding> {
        if self.syntaxes.iter().any(|wanted| wanted == "*" || wanted == stored) {
            Some(Encoding::AsStored)
        } else {
            self.syntaxes.iter().any(|wanted| wanted == EXPLICIT_LITTLE).then_some(Encoding::Plain)
        }
    }

    /// That nothing can be had as wanted.
    pub(super) fn refused(&self) -> Problem {
        Problem::not_acceptable(format!(
            "transfer-syntax {} is asked for; objects are given as stored (transfer-syntax=*) or in {EXPLICIT_LITTLE}",
            self.syntaxes.join(", ")
        ))
    }
}

/// How frames are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameForm {
    /// One, not in a part.
    pub(super) is_single: bool,
    /// As stored, under this media type; else decoded.
    pub(super) compressed: Option<&'static str>,
}

/// The media type of a frame that is compressed in this transfer syntax.
fn media_type_of(syntax: &str) -> Option<&'static str> {
    let tail = syntax.strip_prefix("1.2.840.10008.1.2")?;
    COMPRESSED.iter().find(|(_, tails)| tails.contains(&tail)).map(|(essence, _)| *essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

    fn accepted(text: &str) -> Accepted {
        Accepted::read(&HeaderMap::new(), Some(text)).unwrap()
    }

    #[test]
    fn media_types_are_read_with_quotes_and_without() {
        let read = MediaType::parse("Multipart/Related; type=\"application/dicom\"; boundary=\"a;b,c\"").unwrap();
        assert_eq!(read.essence, RELATED);
        assert_eq!((read.parameter("type"), read.parameter("boundary")), (Some(DICOM), Some("a;b,c")));
        assert_eq!(MediaType::parse("nonsense"), None);
        assert_eq!(split("a;\"b,c\",d", ',').collect::<Vec<_>>(), ["a;\"b,c\"", "d"]);
    }

    #[test]
    fn objects_come_as_the_client_wants_them() {
        let form = |text: &str| accepted(text).objects().map(|form| (form.is_single, form.encoding(JPEG)));
        let related = "multipart/related; type=\"application/dicom\"";
        for (text, expected) in [
            ("", Some((false, Some(Encoding::Plain)))),
            ("*/*", Some((false, Some(Encoding::Plain)))),
            (related, Some((false, Some(Encoding::Plain)))),
            (&format!("{related}; transfer-syntax=*"), Some((false, Some(Encoding::AsStored)))),
            (&format!("{related}; transfer-syntax={JPEG}"), Some((false, Some(Encoding::AsStored)))),
            (&format!("{related}; transfer-syntax={JPEG_2000}"), Some((false, None))),
            (&format!("{related}; transfer-syntax={JPEG_2000}, {related}"), Some((false, Some(Encoding::Plain)))),
            ("application/dicom; transfer-syntax=*", Some((true, Some(Encoding::AsStored)))),
            ("application/dicom+json", None),
            ("multipart/related; type=\"application/dicom+xml\"", None),
            ("text/html, */*;q=0.1", Some((false, Some(Encoding::Plain)))),
            ("*/*;q=0", None),
        ] {
            assert_eq!(form(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn frames_come_compressed_where_the_client_takes_that() {
        let form =
            |text: &str, stored: &str| accepted(text).frames(stored).map(|form| (form.is_single, form.compressed)).ok();
        let octets = "multipart/related; type=\"application/octet-stream\"";
        for (text, stored, expected) in [
            (octets, JPEG, Some((false, None))),
            ("", JPEG, Some((false, None))),
            ("multipart/related", EXPLICIT_LITTLE, Some((false, None))),
            ("multipart/related; type=\"image/jpeg\"", JPEG, Some((false, Some("image/jpeg")))),
            ("multipart/related; type=\"image/jpeg\"", JPEG_2000, None),
            ("multipart/related; type=\"*/*\"; transfer-syntax=*", JPEG_2000, Some((false, Some("image/jp2")))),
            (
                &format!("multipart/related; type=image/jp2; transfer-syntax={JPEG}, {octets}"),
                JPEG_2000,
                Some((false, None)),
            ),
            ("application/octet-stream", JPEG, Some((true, None))),
            ("image/jpeg", JPEG, Some((true, Some("image/jpeg")))),
        ] {
            assert_eq!(form(text, stored), expected, "{text} {stored}");
        }
    }

    #[test]
    fn json_and_pictures_are_negotiated() {
        for (text, taken) in [("", true), ("application/json", true), (JSON, true), ("application/dicom+xml", false)] {
            assert_eq!(accepted(text).json().is_ok(), taken, "{text}");
        }
        let picture = |text| accepted(text).picture(&["image/jpeg", "image/png"]).ok();
        assert_eq!(picture("image/png;q=0.5, image/*;q=0.9"), Some("image/jpeg"));
        assert_eq!(picture("image/png"), Some("image/png"));
        assert_eq!(picture("video/mp4"), None);
    }
}
