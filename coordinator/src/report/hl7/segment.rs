//! Segments in the making.

use prelim_proto::vocabulary::Concept;

use crate::report::present;

/// Longest value, in characters, escapes counted: what chapter 2.A gives a String (ST), and validators any text. Texts that
/// are longer go on in the next OBX.
const VALUE_CHARS: usize = 199;

/// A message so far.
#[derive(Default)]
pub(super) struct Message {
    out: String,
    results: usize,
}

impl Message {
    /// A segment of these fields, from its first; each is escaped already.
    pub(super) fn segment(&mut self, name: &str, fields: &[String]) {
        self.out.push_str(name);
        for field in fields {
            self.out.push('|');
            self.out.push_str(field);
        }
        while self.out.ends_with('|') {
            self.out.pop();
        }
        self.out.push('\r');
    }

    /// The number of the next OBX.
    pub(super) fn next_result(&mut self) -> String {
        self.results += 1;
        self.results.to_string()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out.into_bytes()
    }
}

/// A value of a header on one line, with the delimiters escaped (chapter 2.7), cut between characters.
pub(super) fn escaped(value: &str) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in present::clean(value).chars() {
        let escaped = escape(c);
        length += escaped.len().max(1);
        if length > VALUE_CHARS {
            break;
        }
        put(&mut out, c);
    }
    out.trim_end().to_owned()
}

/// A text as the values of as many OBX as it takes, cut between words where it has any.
pub(super) fn texts(text: &str) -> Vec<String> {
    let length = |text: &str| text.chars().map(|c| escape(c).len().max(1)).sum::<usize>();
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in present::clean(text).split(' ') {
        if used > 0 && used + 1 + length(word) > VALUE_CHARS {
            lines.push(String::new());
            used = 0;
        }
        let space = if used > 0 { " " } else { "" };
        for c in space.chars().chain(word.chars()) {
            let more = escape(c).len().max(1);
            if used + more > VALUE_CHARS {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                put(line, c);
            }
            used += more;
        }
    }
    lines
}

fn put(out: &mut String, c: char) {
    match escape(c) {
        "" => out.push(c),
        escaped => out.push_str(escaped),
    }
}

/// The escape sequence of a delimiter; empty for what stands for itself.
fn escape(c: char) -> &'static str {
    match c {
        '|' => "\\F\\",
        '^' => "\\S\\",
        '&' => "\\T\\",
        '~' => "\\R\\",
        '\\' => "\\E\\",
        _ => "",
    }
}

/// Components or repetitions, escaped already, without empty ones at the end.
pub(super) fn joined(delimiter: char, parts: &[&str]) -> String {
    parts.join(&delimiter.to_string()).trim_end_matches(delimiter).to_owned()
}

/// A Coded Element (CE): identifier, text, coding system.
pub(super) fn coded(concept: Concept) -> String {
    // Table 0396 calls DICOM's codes DCM and SNOMED CT's SCT, as DICOM does.
    joined('^', &[&escaped(concept.value), &escaped(concept.meaning), concept.scheme])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_end_its_field() {
        assert_eq!(escaped("a|b^c&d~e\\f\rMSH|\u{0}"), "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f MSH\\F\\");
        assert_eq!(escaped(&"x".repeat(70_000)).len(), VALUE_CHARS);
        assert_eq!(escaped(&"|".repeat(70_000)), "\\F\\".repeat(VALUE_CHARS / 3));
    }

    #[test]
    fn long_texts_go_on_in_another_segment() {
        let text = "word ".repeat(450) + &"y".repeat(2_500);
        let lines = texts(&text);
        assert!(lines.iter().all(|line| line.chars().count() <= VALUE_CHARS));
        let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
        assert_eq!(lines.iter().map(|line| letters(line)).sum::<usize>(), letters(&text));
        assert_eq!(texts("a^b"), ["a\\S\\b"]);
    }
}
