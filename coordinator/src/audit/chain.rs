//! The chain of lines: each carries the digest of the one before and its own. Pure.
//!
//! What it shows: a line that was changed, taken out, put in or moved, by accident or by a hand that did not make the rest anew. It
//! has no key. What it cannot show: lines cut off at the end, and a file written anew from some line on by somebody who may write
//! it; a digest that is kept where that hand does not reach ([`find`](super::find)) shows both, as does the one that the log tells at
//! every start.

use std::io::BufRead;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// What the first line of a chain names as the digest before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Between a line's record and its digest.
const SEPARATOR: &str = ",\"digest\":\"";

/// A place in a chain: the number of a line, and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Number of the line in the chain, from 1.
    pub seq: u64,
    /// Its digest.
    pub digest: String,
}

impl Link {
    /// Before the first line.
    pub fn genesis() -> Self {
        Self { seq: 0, digest: GENESIS.to_owned() }
    }
}

/// The first line that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct Broken {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Closes a record (a JSON object) with its digest: the line, and the digest.
pub fn seal(record: &str) -> (String, String) {
    let digest = sha256(record);
    let open = record.strip_suffix('}').unwrap_or(record);
    (format!("{open}{SEPARATOR}{digest}\"}}"), digest)
}

/// Follows the chain through the lines of a file, from `after` (or from wherever its first line is, if none). The first
/// and the last place; nothing where there are no lines. A last line without an end is left out, and said to be there.
///
/// # Errors
/// The first line that does not fit, or an error of reading.
pub fn follow(mut lines: impl BufRead, after: Option<&Link>) -> std::io::Result<Result<Followed, Broken>> {
    let mut followed = Followed { before: after.cloned(), last: after.cloned(), lines: 0, whole_bytes: 0, torn: false };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(Ok(followed));
        }
        if line.pop() != Some(b'\n') {
            followed.torn = true;
            return Ok(Ok(followed));
        }
        let number = followed.lines + 1;
        match next(&line, followed.last.as_ref()) {
            Ok((before, link)) => {
                followed.before.get_or_insert(before);
                followed.last = Some(link);
            }
            Err(problem) => return Ok(Err(Broken { line: number, problem })),
        }
        followed.lines = number;
        followed.whole_bytes += read as u64;
    }
}

/// What following a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The place before the first line, where there is one.
    pub before: Option<Link>,
    /// The last line's place.
    pub last: Option<Link>,
    /// Whole lines.
    pub lines: usize,
    /// Bytes of whole lines.
    pub whole_bytes: u64,
    /// Something without an end comes after them: a write that a crash cut short.
    pub torn: bool,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
    previous: String,
}

/// The places before and of a line.
fn next(line: &[u8], last: Option<&Link>) -> Result<(Link, Link), &'static str> {
    let changed = "was changed: its digest is wrong";
    let line = std::str::from_utf8(line).map_err(|_| changed)?;
    let (open, digest) = line.rsplit_once(SEPARATOR).ok_or("is no line of an audit file")?;
    let digest = digest.strip_suffix("\"}").ok_or("is no line of an audit file")?;
    let record = format!("{open}}}");
    if sha256(&record) != digest {
        return Err(changed);
    }
    let numbered: Numbered = serde_json::from_str(&record).map_err(|_| "is no line of an audit file")?;
    let before = Link { seq: numbered.seq.saturating_sub(1), digest: numbered.previous };
    let fits = match last {
        Some(last) => *last == before,
        None => before.seq != 0 || before.digest == GENESIS,
    };
    if !fits {
        return Err("does not follow the line before it: one was taken out, put in or changed");
    }
    Ok((before, Link { seq: numbered.seq, digest: digest.to_owned() }))
}

/// The number of a line that has this digest.
pub(super) fn number_of(line: &str, digest: &str) -> Option<u64> {
    let (open, found) = line.rsplit_once(SEPARATOR)?;
    let numbered = || serde_json::from_str::<Numbered>(&format!("{open}}}")).ok();
    if found.strip_suffix("\"}")? == digest { Some(numbered()?.seq) } else { None }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u64) -> Vec<String> {
        let mut previous = GENESIS.to_owned();
        let mut lines = Vec::new();
        for seq in 1..=count {
            let record = serde_json::json!({"seq": seq, "outcome": 4, "previous": previous}).to_string();
            let (line, digest) = seal(&record);
            lines.push(line);
            previous = digest;
        }
        lines
    }

    fn check(lines: &[String]) -> Result<Followed, Broken> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        follow(text.as_bytes(), None).unwrap()
    }

    #[test]
    fn a_chain_left_alone_holds() {
        let lines = chain(5);
        let followed = check(&lines).unwrap();
        assert_eq!((followed.lines, followed.before, followed.torn), (5, Some(Link::genesis()), false));
        assert_eq!(followed.last.unwrap().seq, 5);
        let later = check(&lines[2..]).unwrap();
        assert_eq!(later.before.unwrap().seq, 2, "a file may go on where another ended");
        assert_eq!(check(&[]).unwrap().last, None);
    }

    #[test]
    fn the_first_line_that_another_hand_touched_is_named() {
        type Change = fn(&mut Vec<String>);
        let changes: [(&str, usize, Change); 7] = [
            ("a value", 3, |lines| lines[2] = lines[2].replace("outcome\":4", "outcome\":0")),
            ("a value of the last line", 5, |lines| lines[4] = lines[4].replace("\"outcome\":4", "\"outcome\":0")),
            ("a line taken out", 3, |lines| drop(lines.remove(2))),
            ("a line put in twice", 3, |lines| lines.insert(1, lines[1].clone())),
            ("two lines exchanged", 2, |lines| lines.swap(1, 2)),
            ("a line sealed again", 4, |lines| {
                let record = lines[2].rsplit_once(SEPARATOR).unwrap().0.replace("outcome\":4", "outcome\":0") + "}";
                lines[2] = seal(&record).0;
            }),
            ("something else", 2, |lines| lines[1] = "{}".to_owned()),
        ];
        for (what, line, change) in changes {
            let mut lines = chain(5);
            change(&mut lines);
            assert_eq!(check(&lines).unwrap_err().line, line, "{what}");
        }
    }

    #[test]
    fn a_line_cut_short_by_a_crash_is_left_out() {
        let lines = chain(3);
        let text = format!("{}\n{}\n{}", lines[0], lines[1], &lines[2][..20]);
        let followed = follow(text.as_bytes(), None).unwrap().unwrap();
        assert_eq!((followed.lines, followed.torn), (2, true));
        assert_eq!(followed.whole_bytes as usize, lines[0].len() + lines[1].len() + 2);
    }
}
