//! Related parts in one body (RFC 2046 section 5.1, RFC 2387; pure).

use bytes::Bytes;
use memchr::memmem::Finder;

/// Longest boundary. RFC 2046 section 5.1.1 allows 70 characters, and Orthanc writes 73.
const MAX_BOUNDARY_BYTES: usize = 256;
/// Longest head of a part.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// Longest text before the first part.
const MAX_PREAMBLE_BYTES: usize = 64 << 10;

/// A body that is none of several parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MultipartError {
    /// The boundary cannot be one.
    #[error("the boundary has {0} characters, and 1 to {MAX_BOUNDARY_BYTES} are allowed")]
    Boundary(usize),
    /// No part begins.
    #[error("no part begins with the boundary of Content-Type")]
    NoPart,
    /// The head of a part does not end.
    #[error("the head of part {0} is longer than {MAX_HEAD_BYTES} bytes")]
    LongHead(usize),
    /// Something else follows a boundary.
    #[error("the boundary before part {0} is followed by something else")]
    AfterBoundary(usize),
}

/// What comes of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins; its media type, where it names one.
    Begin(Option<String>),
    /// Bytes of the part.
    Bytes(Vec<u8>),
    /// The part is whole.
    End,
}

/// Where in the body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary.
    Boundary,
    Head,
    /// Before the line end that ends the head of a part.
    Start,
    Part,
    Epilogue,
}

/// Takes a body apart as it comes. It holds back no more than a boundary, or the head of a part.
pub(super) struct Reader {
    delimiter: Finder<'static>,
    delimiter_bytes: usize,
    state: State,
    held: Vec<u8>,
    parts: usize,
}

impl Reader {
    /// A reader for parts with this boundary between them.
    pub(super) fn new(boundary: &str) -> Result<Self, MultipartError> {
        if !(1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()) {
            return Err(MultipartError::Boundary(boundary.len()));
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let delimiter_bytes = delimiter.len();
        // The first one may be the first of the body, with no line before it.
        let held = b"\r\n".to_vec();
        Ok(Self {
            delimiter: Finder::new(&delimiter).into_owned(),
            delimiter_bytes,
            state: State::Preamble,
            held,
            parts: 0,
        })
    }

    /// Whether the last part has ended, and no other follows.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Epilogue
    }

    /// Takes the next bytes of the body, and gives what comes of them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, MultipartError> {
        let mut events = Vec::new();
        if self.state == State::Epilogue {
            return Ok(events);
        }
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some(left) = self.step(rest, &mut events)? {
            rest = left;
        }
        let used = held.len() - rest.len();
        self.held = held;
        self.held.drain(..used);
        if let State::Part = self.state {
            // What may be the beginning of a delimiter stays.
            let keep = self.held.len().min(self.delimiter_bytes - 1);
            let part: Vec<u8> = self.held.drain(..self.held.len() - keep).collect();
            if !part.is_empty() {
                events.push(Event::Bytes(part));
            }
        }
        Ok(events)
    }

    /// Goes from one state to the next; the bytes left, or nothing where more are needed.
    fn step<'a>(&mut self, rest: &'a [u8], events: &mut Vec<Event>) -> Result<Option<&'a [u8]>, MultipartError> {
        match self.state {
            State::Preamble => match self.delimiter.find(rest) {
                Some(at) => Ok(Some(self.enter(State::Boundary, &rest[at + self.delimiter_bytes..]))),
                None if rest.len() > MAX_PREAMBLE_BYTES => Err(MultipartError::NoPart),
                None => Ok(None),
            },
            State::Boundary => {
                if rest.starts_with(b"--") {
                    self.state = State::Epilogue;
                    return Ok(None);
                }
                // Spaces may follow it.
                let blank = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
                match &rest[blank..] {
                    [b'\r', b'\n', after @ ..] => {
                        self.parts += 1;
                        // The head may be empty: its end is the end of this line, too.
                        let after = &rest[rest.len() - after.len() - 2..];
                        Ok(Some(self.enter(State::Head, after)))
                    }
                    [] | [b'\r'] | [b'-'] if blank < MAX_HEAD_BYTES => Ok(None),
                    _ => Err(MultipartError::AfterBoundary(self.parts + 1)),
                }
            }
            State::Head => match memchr::memmem::find(rest, b"\r\n\r\n") {
                Some(at) if at <= MAX_HEAD_BYTES => {
                    events.push(Event::Begin(media_type(&rest[..at])));
                    Ok(Some(self.enter(State::Start, &rest[at + 2..])))
                }
                None if rest.len() <= MAX_HEAD_BYTES => Ok(None),
                _ => Err(MultipartError::LongHead(self.parts)),
            },
            // The line end after the head may be that of the next boundary already: then the part is empty.
            State::Start if rest.len() < self.delimiter_bytes && self.delimiter.needle().starts_with(rest) => Ok(None),
            State::Start if rest.starts_with(self.delimiter.needle()) => Ok(Some(self.enter(State::Part, rest))),
            State::Start => Ok(Some(self.enter(State::Part, &rest[2..]))),
            State::Part => match self.delimiter.find(rest) {
                Some(at) => {
                    if at > 0 {
                        events.push(Event::Bytes(rest[..at].to_vec()));
                    }
                    events.push(Event::End);
                    Ok(Some(self.enter(State::Boundary, &rest[at + self.delimiter_bytes..])))
                }
                None => Ok(None),
            },
            State::Epilogue => Ok(None),
        }
    }

    fn enter<'a>(&mut self, state: State, rest: &'a [u8]) -> &'a [u8] {
        self.state = state;
        rest
    }
}

/// The value of Content-Type in the head of a part.
fn media_type(head: &[u8]) -> Option<String> {
    let lines = head.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
    lines.into_iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    })
}

/// Puts parts together.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    boundary: String,
}

impl Writer {
    /// A writer whose boundary ends in `random`, which nobody can know before.
    pub(super) fn new(random: u128) -> Self {
        Self { boundary: format!("prelim-{random:032x}") }
    }

    /// The media type of the whole, of parts of this one.
    pub(super) fn media_type(&self, part: &str) -> String {
        format!("multipart/related; type=\"{part}\"; boundary=\"{}\"", self.boundary)
    }

    /// What comes before a part; `is_first` says that none is before it.
    pub(super) fn head(&self, media_type: &str, is_first: bool) -> Bytes {
        let line = if is_first { "" } else { "\r\n" };
        Bytes::from(format!("{line}--{}\r\nContent-Type: {media_type}\r\n\r\n", self.boundary))
    }

    /// What comes after the last part.
    pub(super) fn end(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--\r\n", self.boundary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The media type of a part, its bytes, and whether its end was seen.
    type Part = (Option<String>, Vec<u8>, bool);

    /// The parts of a body that comes in pieces of `size` bytes, and whether its end was seen.
    fn parts(body: &[u8], size: usize) -> Result<(Vec<Part>, bool), MultipartError> {
        let mut reader = Reader::new("XX")?;
        let mut parts: Vec<Part> = Vec::new();
        for piece in body.chunks(size) {
            for event in reader.push(piece)? {
                match event {
                    Event::Begin(media_type) => parts.push((media_type, Vec::new(), false)),
                    Event::Bytes(bytes) => parts.last_mut().unwrap().1.extend(bytes),
                    Event::End => parts.last_mut().unwrap().2 = true,
                }
            }
        }
        Ok((parts, reader.is_over()))
    }

    #[test]
    fn parts_are_the_same_however_they_come() {
        let body = b"before\r\n--XX\r\nContent-Type: application/dicom\r\nX: y\r\n\r\none\r\n--X\r\n--\r\n--XX \r\n\r\n\r\n--XX\r\n\
            content-type:a/b\r\n\r\n\r\n\r\n--XX--\r\nafter";
        let expected = vec![
            (Some("application/dicom".to_owned()), b"one\r\n--X\r\n--".to_vec(), true),
            (None, Vec::new(), true),
            (Some("a/b".to_owned()), b"\r\n".to_vec(), true),
        ];
        for size in 1..body.len() {
            assert_eq!(parts(body, size), Ok((expected.clone(), true)), "{size}");
        }
    }

    #[test]
    fn a_body_that_breaks_off_leaves_a_part_without_its_end() {
        let (parts, is_over) = parts(b"--XX\r\n\r\none\r\n--XX\r\n\r\ntw", 3).unwrap();
        assert_eq!(parts.iter().map(|part| part.2).collect::<Vec<_>>(), [true, false]);
        assert!(!is_over);
    }

    #[test]
    fn what_is_no_multipart_is_refused_without_holding_it() {
        assert_eq!(parts(&[7; 100_000], 1_000), Err(MultipartError::NoPart));
        assert_eq!(parts(b"--XXY\r\n\r\n", 4), Err(MultipartError::AfterBoundary(1)));
        let head = [b"--XX\r\nA: ".to_vec(), vec![b'a'; 20_000]].concat();
        assert_eq!(parts(&head, 1_000), Err(MultipartError::LongHead(1)));
        assert_eq!(Reader::new("").err(), Some(MultipartError::Boundary(0)));
        assert_eq!(Reader::new(&"x".repeat(257)).err(), Some(MultipartError::Boundary(257)));
    }

    #[test]
    fn what_is_written_reads_back() {
        let writer = Writer::new(7);
        let body =
            [writer.head("a/b", true), Bytes::from_static(b"one"), writer.head("c/d", false), writer.end()].concat();
        let mut reader = Reader::new(&writer.boundary).unwrap();
        let events = reader.push(&body).unwrap();
        let begin = |media_type: &str| Event::Begin(Some(media_type.to_owned()));
        assert_eq!(events, [begin("a/b"), Event::Bytes(b"one".to_vec()), Event::End, begin("c/d"), Event::End]);
        assert!(reader.is_over());
        assert!(writer.media_type("a/b").contains("type=\"a/b\"; boundary=\"prelim-"));
    }
}
