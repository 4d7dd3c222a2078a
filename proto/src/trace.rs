//! The trace of a study: the ids by which spans from every machine find each other.
//!
//! They follow from the study's UID, so that nothing has to be handed on: a coordinator that takes over from another, and
//! a worker that leases a job, write to the same trace. The UID cannot be read from them. Logs name a study by the trace's
//! id too (`study.hash`).

use std::fmt::Display;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use sha2::{Digest as _, Sha256};

use crate::ids::Uid;

/// Ids of a study's trace, as W3C Trace Context and OpenTelemetry have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StudyTrace {
    /// Of the trace. Not 0.
    pub trace_id: u128,
    /// Of its root: the span from the first instance to the first draft. Not 0.
    pub root_span_id: u64,
}

impl StudyTrace {
    /// Those of a study.
    pub fn of(study: &Uid) -> Self {
        let hash = Sha256::new_with_prefix("prelim trace 1\n").chain_update(study.as_str()).finalize();
        let (mut trace_id, mut root_span_id) = ([0; 16], [0; 8]);
        trace_id.copy_from_slice(&hash[..16]);
        root_span_id.copy_from_slice(&hash[16..24]);
        Self { trace_id: u128::from_be_bytes(trace_id).max(1), root_span_id: u64::from_be_bytes(root_span_id).max(1) }
    }

    /// The trace's id as people search for it: 32 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The root as the parent of other spans, wherever it is added itself.
    pub fn context(&self) -> Context {
        let (trace_id, span_id) = (TraceId::from(self.trace_id), SpanId::from(self.root_span_id));
        let root = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, true, TraceState::default());
        Context::new().with_remote_span_context(root)
    }
}

/// Characters of one text in a log, at most.
const MAX_LOGGED: usize = 300;

/// What another process or a library said, fit for a log: without UIDs and control characters, on one line, and cut where it
/// is long.
pub fn for_log(said: &impl Display) -> String {
    let said = without_uids(said);
    let visible = said.chars().map(|c| if c.is_control() || is_separator(c) { ' ' } else { c });
    let mut clean: String = visible.clone().take(MAX_LOGGED).collect();
    if visible.count() > MAX_LOGGED {
        clean.push('…');
    }
    clean
}

/// Whether a viewer of logs may take it for the end of a line, or turn what follows around (Unicode's bidirectional
/// controls).
fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What was said, with the trace's id in the place of each UID: errors name studies and instances by UID, which leads to
/// the patient and must reach no log and no collector.
pub fn without_uids(said: &impl Display) -> String {
    replace_uids(&said.to_string(), |uid| StudyTrace::of(uid).id())
}

/// What was said, with something else in the place of each UID.
pub fn replace_uids(said: &str, mut replace: impl FnMut(&Uid) -> String) -> String {
    let mut clean = String::with_capacity(said.len());
    let mut rest = said;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let word = &rest[start..];
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let word = word[..end].trim_end_matches('.');
        clean.push_str(&rest[..start]);
        match Uid::parse(word) {
            Ok(uid) if is_long(word) => clean.push_str(&replace(&uid)),
            _ => clean.push_str(word),
        }
        rest = &rest[start + word.len()..];
    }
    clean + rest
}

/// Whether it is a UID rather than a number, a version or an address, none of which is that long.
fn is_long(word: &str) -> bool {
    let dots = word.bytes().filter(|byte| *byte == b'.').count();
    dots >= 4 || dots >= 2 && word.len() > "255.255.255.255".len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_study_has_a_trace_of_its_own_and_keeps_it() {
        let (one, other) = (Uid::parse("1.2.3").unwrap(), Uid::parse("1.2.4").unwrap());
        // A collector holds spans of weeks ago: the ids must not change between versions.
        assert_eq!(StudyTrace::of(&one).id(), "d66d98a4d207bc584f69adbdf7db2a51");
        assert_ne!(StudyTrace::of(&one).trace_id, StudyTrace::of(&other).trace_id);
        assert_ne!(StudyTrace::of(&one).root_span_id, StudyTrace::of(&other).root_span_id);
    }

    #[test]
    fn uids_are_taken_out_of_what_is_said_and_nothing_else() {
        let uid = "1.2.840.113619.2.55";
        let id = StudyTrace::of(&Uid::parse(uid).unwrap()).id();
        for (said, clean) in [
            (format!("no study {uid}"), format!("no study {id}")),
            (format!("lease 3 of job {uid}/0 is lost, {uid}."), format!("lease 3 of job {id}/0 is lost, {id}.")),
            ("10.0.0.255:7070 v1.2.3 took 0.12345678901234567 s".into(), String::new()),
            ("1.2.".into(), String::new()),
        ] {
            assert_eq!(without_uids(&said), if clean.is_empty() { said } else { clean });
        }
        assert_eq!(for_log(&"a\u{1b}[31m\r\nforged\u{2028}line\u{202e} 1.2"), "a [31m  forged line  1.2");
        let long = for_log(&"é".repeat(10_000));
        assert_eq!((long.chars().count(), long.chars().last()), (301, Some('…')));
        assert!(!for_log(&format!("study {uid}\0")).contains(uid));
        assert!(!without_uids(&"study 2.25.201501161806183374663").contains("2.25"));
    }
}
