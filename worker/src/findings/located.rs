//! JSON with the place of every value: the tokens that spelt a value are found by its bytes.

use std::ops::Range;

/// Deepest nesting that is read; answers have three levels.
const MAX_DEPTH: usize = 16;

/// A value and the bytes it was read from, quotes and brackets included.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Located {
    pub(super) bytes: Range<usize>,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Object(Vec<(String, Located)>),
    Array(Vec<Located>),
    Text(String),
    /// A number, `true`, `false` or `null`, as written.
    Other(String),
}

impl Located {
    /// Reads the whole of `text`; nothing where it is no JSON.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(value)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Located> {
        match &self.value {
            Value::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Located] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match &self.value {
            Value::Other(word) => word.parse().ok(),
            _ => None,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next, after white space.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Option<Located> {
        self.skip_space();
        let start = self.at;
        let value = match self.peek()? {
            _ if depth > MAX_DEPTH => return None,
            b'{' => Value::Object(self.object(depth)?),
            b'[' => Value::Array(self.array(depth)?),
            b'"' => Value::Text(self.string()?),
            _ => Value::Other(self.word()?),
        };
        Some(Located { bytes: start..self.at, value })
    }

    fn object(&mut self, depth: usize) -> Option<Vec<(String, Located)>> {
        let mut members = Vec::new();
        self.at += 1;
        if self.take(b'}') {
            return Some(members);
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            if !self.take(b':') {
                return None;
            }
            members.push((key, self.value(depth + 1)?));
            if !self.take(b',') {
                return self.take(b'}').then_some(members);
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Located>> {
        let mut items = Vec::new();
        self.at += 1;
        if self.take(b']') {
            return Some(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.take(b',') {
                return self.take(b']').then_some(items);
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn word(&mut self) -> Option<String> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'a'..=b'z' | b'E' | b'+' | b'-' | b'.')) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        serde_json::from_str::<serde_json::Value>(word).ok().map(|_| word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_bytes() {
        let text = r#"{"a":[1, {"b":"x\"é"}],"c":null}"#;
        let all = Located::read(text).unwrap();
        assert_eq!(all.bytes, 0..text.len());
        let b = all.get("a").unwrap().items()[1].get("b").unwrap();
        assert_eq!(b.text(), Some("x\"é"));
        assert_eq!(&text[b.bytes.clone()], r#""x\"é""#);
        assert_eq!(all.get("a").unwrap().items()[0].number(), Some(1.0));
        assert_eq!(all.get("c").unwrap().value, Value::Other("null".to_owned()));
    }

    #[test]
    fn what_is_no_json_is_nothing() {
        let deep = "[".repeat(40) + &"]".repeat(40);
        for text in ["", "{", "[1,]", "{\"a\" 1}", "\"a", "[1]x", "nul", "\"\\", "01", deep.as_str()] {
            assert_eq!(Located::read(text), None, "{text}");
        }
    }
}
