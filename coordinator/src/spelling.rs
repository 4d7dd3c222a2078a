//! Texts in the form in which they are compared: without what is not seen, and with other forms of the same letters as one. Pure.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// A text as it is seen: without characters that are not, and with letters of other scripts that look like Latin ones as those.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c)).map(as_it_looks).collect()
}

/// Characters without a shape: soft hyphens, blanks without width, joiners, marks of direction, selectors and tags.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// The Latin letter that a Cyrillic or Greek one looks like.
fn as_it_looks(c: char) -> char {
    match c {
        'а' | 'α' => 'a',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'с' | 'ϲ' => 'c',
        'С' | 'Ϲ' => 'C',
        'ԁ' => 'd',
        'е' => 'e',
        'Е' | 'Ε' => 'E',
        'ɡ' => 'g',
        'һ' => 'h',
        'Н' | 'Η' => 'H',
        'і' | 'ι' => 'i',
        'І' | 'Ι' | 'Ӏ' => 'I',
        'ј' => 'j',
        'Ј' => 'J',
        'к' | 'κ' => 'k',
        'К' | 'Κ' => 'K',
        'ӏ' => 'l',
        'м' => 'm',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'о' | 'ο' => 'o',
        'О' | 'Ο' => 'O',
        'р' | 'ρ' => 'p',
        'Р' | 'Ρ' => 'P',
        'ԛ' => 'q',
        'ѕ' => 's',
        'Ѕ' => 'S',
        'т' | 'τ' => 't',
        'Т' | 'Τ' => 'T',
        'υ' => 'u',
        'ν' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'Х' | 'Χ' => 'X',
        'у' | 'γ' => 'y',
        'У' | 'Υ' => 'Y',
        'Ζ' => 'Z',
        c => c,
    }
}

/// The pieces of a name that is written in one with capital letters inside: "XiaoDong" has "Xiao" and "Dong".
pub(crate) fn pieces(name: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut was_small = false;
    for c in name.chars() {
        match pieces.last_mut().filter(|_| !(was_small && c.is_uppercase())) {
            Some(piece) => piece.push(c),
            None => pieces.push(c.to_string()),
        }
        was_small = c.is_lowercase();
    }
    pieces
}

/// A text without capitals, accents and other forms of the same letters. The page folds what it looks for in the same way
/// (`page/src/worklist/filters.ts`).
pub(crate) fn folded(text: &str) -> String {
    let plain = text.chars().flat_map(char::to_lowercase).nfkd().filter(|c| !is_combining_mark(*c));
    let mut folded = String::with_capacity(text.len());
    for c in plain {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'đ' | 'ð' => folded.push('d'),
            'ł' => folded.push('l'),
            'ı' => folded.push('i'),
            // As it is written at the end of a word.
            'ς' => folded.push('σ'),
            c => folded.push(c),
        }
    }
    folded
}

/// The ways to write it without accents: "Müller" is "muller" and "mueller".
pub(crate) fn spellings(text: &str) -> Vec<String> {
    let mut spelt = String::with_capacity(text.len());
    for c in text.nfc().flat_map(char::to_lowercase) {
        match c {
            'ä' => spelt.push_str("ae"),
            'ö' | 'ø' => spelt.push_str("oe"),
            'ü' => spelt.push_str("ue"),
            'å' => spelt.push_str("aa"),
            c => spelt.push(c),
        }
    }
    let (plain, spelt) = (folded(text), folded(&spelt));
    if plain == spelt { vec![plain] } else { vec![plain, spelt] }
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

pub(crate) fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|held| held == word)
}

pub(crate) fn joined(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether a letter is of a script whose words have no spaces between them, or take endings of their own: Thai, Hangul (whole
/// or taken apart), kana, Han.
pub(crate) fn has_no_spaces(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0E7F | 0x1100..=0x11FF | 0x3040..=0x30FF | 0x3400..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF
            | 0x20000..=0x3FFFF)
}
