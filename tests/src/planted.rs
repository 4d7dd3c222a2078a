//! Values that are planted, and the search for them in everything that was written. Pure.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Letters of a mark: consonants and vowels in turn make no word that anything else would say.
const LETTERS: [&[u8]; 2] = [b"bdfgkmpqvwxz", b"aeiouy"];

/// A mark that nothing else bears, by which a value is found again.
#[derive(Debug, Clone)]
pub struct Mark {
    /// As it is planted.
    pub text: String,
    needles: Vec<(&'static str, Vec<u8>)>,
    /// Letters and digits beside it make it something else.
    is_a_word: bool,
}

impl Mark {
    /// Random letters, found in whatever case and encoding they come back.
    pub fn letters(count: usize) -> Self {
        let letter = |at: usize, entropy: u64| {
            let letters = LETTERS[at % 2];
            char::from(letters[entropy as usize % letters.len()])
        };
        let text: String = (0..count).map(|at| letter(at, entropy())).collect();
        let text = format!("{}{}", text[..1].to_uppercase(), &text[1..]);
        let mut needles = Vec::new();
        let lower = text.to_lowercase();
        needles.push(("as text", lower.clone().into_bytes()));
        let wide = |to_bytes: fn(u16) -> [u8; 2]| lower.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
        needles.push(("in UTF-16, little endian", wide(u16::to_le_bytes)));
        needles.push(("in UTF-16, big endian", wide(u16::to_be_bytes)));
        for written in [&text, &lower, &text.to_uppercase()] {
            needles.push(("in hexadecimal", hexadecimal(written, "")));
            needles.push(("in per cent", hexadecimal(written, "%")));
            needles.extend((0..3).map(|before| ("in base64", base64_core(written, before))));
        }
        Self { text, needles, is_a_word: false }
    }

    /// A date that nobody was born on, found as DICOM and as people write it.
    pub fn date() -> Self {
        let text = format!("{}{:02}{:02}", 1701 + entropy() % 99, 1 + entropy() % 12, 1 + entropy() % 28);
        let (year, rest) = text.split_at(4);
        let dashes = format!("{year}-{}-{}", &rest[..2], &rest[2..]);
        let needles = vec![("as text", text.clone().into_bytes()), ("as a date", dashes.into_bytes())];
        Self { text, needles, is_a_word: true }
    }

    /// The beginning of UIDs that nobody else gives out.
    pub fn uid() -> Self {
        let text = format!("2.25.{}", entropy());
        Self { needles: vec![("as text", text.clone().into_bytes())], text, is_a_word: false }
    }

    /// The first place in `bytes` where it is, with what stands around it.
    pub fn find(&self, bytes: &[u8]) -> Option<String> {
        let lower = bytes.to_ascii_lowercase();
        self.needles.iter().find_map(|(how, needle)| {
            // Base64 tells upper case from lower.
            let place = find(if *how == "in base64" { bytes } else { &lower }, needle, self.is_a_word)?;
            let around = &bytes[place.saturating_sub(120)..(place + needle.len() + 80).min(bytes.len())];
            Some(format!("{how}: …{}…", String::from_utf8_lossy(around).escape_debug()))
        })
    }
}

fn entropy() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn find(bytes: &[u8], needle: &[u8], is_a_word: bool) -> Option<usize> {
    let goes_on = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    // The first byte sorts out nearly every place.
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == needle[0]).map(|at| from + at) {
        let is_part = is_a_word && (goes_on(at.checked_sub(1)) || goes_on(Some(at + needle.len())));
        if bytes[at..].starts_with(needle) && !is_part {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn hexadecimal(text: &str, before: &str) -> Vec<u8> {
    text.bytes().flat_map(|byte| format!("{before}{byte:02x}").into_bytes()).collect()
}

/// What base64 makes of a text after `before` other bytes, as far as that depends on the text alone.
fn base64_core(text: &str, before: usize) -> Vec<u8> {
    let bytes = [&[0; 2][..before], text.as_bytes()].concat();
    let coded = STANDARD_NO_PAD.encode(&bytes).into_bytes();
    let last = bytes.len() * 8 / 6;
    coded[(before * 8).div_ceil(6)..last].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_in_every_form_and_nowhere_else() {
        let mark = Mark::letters(8);
        let text = mark.text.as_str();
        let around = |inner: &[u8]| [&b"log line { name="[..], inner, b" }"].concat();
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut forms = vec![text.into(), text.to_uppercase().into_bytes(), utf16, hexadecimal(text, "%")];
        for before in ["", "a", "ab"] {
            forms.push(STANDARD_NO_PAD.encode(format!("{before}{text}^more")).into_bytes());
        }
        for form in forms {
            assert!(mark.find(&around(&form)).is_some(), "{}", String::from_utf8_lossy(&form));
        }
        assert_eq!(mark.find(&around(b"somebody else")), None);
        assert_eq!(mark.find(&around(&text.as_bytes()[..7])), None);
        assert_ne!(Mark::letters(8).text, mark.text);
        let date = Mark::date();
        assert!(date.find(date.text.as_bytes()).is_some());
        assert_eq!(date.find(format!("0{}", date.text).as_bytes()), None);
    }
}
