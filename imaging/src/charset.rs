//! Character sets (PS3.3 section C.12.1.1.2, PS3.5 section 6.1), with ISO 2022 code extensions.

use encoding_rs as enc;
use encoding_rs::Encoding;

/// The character sets of a data set or item.
#[derive(Debug, Clone, PartialEq)]
pub struct CharacterSets {
    /// In force at the start of each value and after each delimiter.
    initial: Designated,
    /// None is declared that holds more than ASCII.
    is_undeclared: bool,
}

/// What the two halves of the code table hold (ISO 2022).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Designated {
    /// Bytes below 0x80.
    low: Low,
    /// Bytes from 0x80, and the low ones with them.
    high: &'static Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Low {
    Ascii,
    /// ISO-IR 87, two bytes a character.
    JisX0208,
    /// ISO-IR 159, two bytes a character.
    JisX0212,
}

impl Default for CharacterSets {
    fn default() -> Self {
        // The default repertoire is ASCII; objects that use more without saying so mean UTF-8 where it is that, for no other
        // text looks so, and else mostly Latin-1.
        Self { initial: Designated { low: Low::Ascii, high: enc::WINDOWS_1252 }, is_undeclared: true }
    }
}

impl CharacterSets {
    /// Reads the value of Specific Character Set (0008,0005). Only the first term matters: the others are named by
    /// the escape sequences where they are used.
    pub fn from_value(value: &[u8]) -> Self {
        let first = value.split(|&byte| byte == b'\\').next().unwrap_or_default();
        let term = String::from_utf8_lossy(first).to_uppercase();
        let number = term.trim_matches(['\0', ' ']).rsplit([' ', '_']).next().unwrap_or_default().to_owned();
        let high = match number.as_str() {
            "101" => enc::ISO_8859_2,
            "109" => enc::ISO_8859_3,
            "110" => enc::ISO_8859_4,
            "144" => enc::ISO_8859_5,
            "127" => enc::ISO_8859_6,
            "126" => enc::ISO_8859_7,
            "138" => enc::ISO_8859_8,
            "148" => enc::WINDOWS_1254,
            "203" => enc::ISO_8859_15,
            "166" => enc::WINDOWS_874,
            "13" => enc::SHIFT_JIS,
            "87" | "159" => enc::EUC_JP,
            "149" => enc::EUC_KR,
            "192" => enc::UTF_8,
            "58" | "GBK" | "GB18030" => enc::GB18030,
            _ => enc::WINDOWS_1252,
        };
        // The default repertoire by its own name is none more.
        let is_undeclared = matches!(number.as_str(), "" | "6") && !value.contains(&b'\\');
        Self { initial: Designated { low: Low::Ascii, high }, is_undeclared }
    }

    /// The text of a value.
    pub fn decode(&self, bytes: &[u8]) -> String {
        self.decode_until(bytes, b"\t\n\x0c\r\\")
    }

    /// The text of a person's name, in which the delimiters of components and groups also end an escape.
    pub fn decode_name(&self, bytes: &[u8]) -> String {
        self.decode_until(bytes, b"\\^=")
    }

    fn decode_until(&self, bytes: &[u8], delimiters: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len());
        let mut now = self.initial;
        let mut rest = bytes;
        // Encodings of several bytes a character may hold any byte after their first; without escapes a value is
        // decoded whole, so that no character is cut.
        if !bytes.contains(&0x1B) {
            if self.is_undeclared
                && let Ok(text) = std::str::from_utf8(bytes)
            {
                return text.to_owned();
            }
            return now.decode(bytes);
        }
        while let Some(&first) = rest.first() {
            if let Some((designated, length)) = escape(rest, now) {
                now = designated;
                rest = &rest[length..];
                continue;
            }
            if now.low == Low::Ascii && delimiters.contains(&first) {
                now = self.initial;
                text.push(char::from(first));
                rest = &rest[1..];
                continue;
            }
            let run = run_length(rest, now, delimiters);
            text.push_str(&now.decode(&rest[..run]));
            rest = &rest[run..];
        }
        text
    }
}

/// How many bytes, at least one, come before the next escape or delimiter.
fn run_length(bytes: &[u8], now: Designated, delimiters: &[u8]) -> usize {
    let ends = |&byte: &u8| byte == 0x1B || now.low == Low::Ascii && delimiters.contains(&byte);
    bytes.iter().skip(1).position(ends).map_or(bytes.len(), |position| position + 1)
}

impl Designated {
    fn decode(self, bytes: &[u8]) -> String {
        match self.low {
            Low::Ascii => self.high.decode_without_bom_handling(bytes).0.into_owned(),
            Low::JisX0208 => {
                let high: Vec<u8> = bytes.iter().map(|byte| byte | 0x80).collect();
                enc::EUC_JP.decode_without_bom_handling(&high).0.into_owned()
            }
            Low::JisX0212 => {
                let three =
                    |pair: &[u8]| [0x8F].into_iter().chain(pair.iter().map(|byte| byte | 0x80)).collect::<Vec<_>>();
                let bytes: Vec<u8> = bytes.chunks(2).flat_map(three).collect();
                enc::EUC_JP.decode_without_bom_handling(&bytes).0.into_owned()
            }
        }
    }
}

/// The escape sequence at the start of `bytes` (PS3.3 tables C.12-3 and C.12-4): what it designates, and its length.
fn escape(bytes: &[u8], now: Designated) -> Option<(Designated, usize)> {
    let sequence = bytes.strip_prefix(&[0x1B])?;
    let low = |low| Designated { low, ..now };
    let high = |high| Designated { high, ..now };
    Some(match sequence {
        [b'(', b'B', ..] => (low(Low::Ascii), 3),
        // Romaji differs from ASCII in the yen sign and the overline only.
        [b'(', b'J', ..] => (low(Low::Ascii), 3),
        [b')', b'I', ..] => (high(enc::SHIFT_JIS), 3),
        [b'$', b'B', ..] => (low(Low::JisX0208), 3),
        [b'$', b'(', b'D', ..] => (low(Low::JisX0212), 4),
        [b'$', b')', b'C', ..] => (high(enc::EUC_KR), 4),
        [b'$', b')', b'A', ..] => (high(enc::GBK), 4),
        [b'-', set, ..] => {
            let set = match set {
                b'A' => enc::WINDOWS_1252,
                b'B' => enc::ISO_8859_2,
                b'C' => enc::ISO_8859_3,
                b'D' => enc::ISO_8859_4,
                b'L' => enc::ISO_8859_5,
                b'G' => enc::ISO_8859_6,
                b'F' => enc::ISO_8859_7,
                b'H' => enc::ISO_8859_8,
                b'M' => enc::WINDOWS_1254,
                b'b' => enc::ISO_8859_15,
                b'T' => enc::WINDOWS_874,
                _ => return None,
            };
            (high(set), 3)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of PS3.5 annexes H, I and J.
    #[test]
    fn the_standards_examples_read_as_printed() {
        for (terms, bytes, expected) in [
            (
                &b"\\ISO 2022 IR 87"[..],
                &b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"[..],
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                b"ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
                "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
            ),
            (
                b"\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
                "Hong^Gildong=洪^吉洞=홍^길동",
            ),
            (
                b"\\ISO 2022 IR 58",
                b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
                "Zhang^XiaoDong=张^小东=",
            ),
            (b"GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
            (b"ISO_IR 192", "Äneas^Rüdiger".as_bytes(), "Äneas^Rüdiger"),
            (b"ISO_IR 203", b"\xbcuvre^Zo\xeb \xa4", "Œuvre^Zoë €"),
            (b"\\ISO 2022 IR 203", b"\x1b-b\xbduvre^\x1b-bZo\xeb", "œuvre^Zoë"),
            (b"ISO_IR 144", b"\xbb\xee\xda", "Люк"),
            (b"", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
            // Not declared, and yet it is: most who forget to declare it write UTF-8.
            (b"", "Müller^Jürgen".as_bytes(), "Müller^Jürgen"),
            (b"ISO_IR 6 ", "Müller^Jürgen".as_bytes(), "Müller^Jürgen"),
            // Declared is declared.
            (b"ISO_IR 100", "Müller".as_bytes(), "MÃ¼ller"),
        ] {
            let read = CharacterSets::from_value(terms).decode_name(bytes);
            assert_eq!(read, expected, "{}", String::from_utf8_lossy(terms));
        }
    }

    #[test]
    fn an_unknown_escape_loses_no_text() {
        assert_eq!(CharacterSets::default().decode(b"a\x1b%b\\c"), "a\u{1b}%b\\c");
    }
}
