//! What fits a search (PS3.4 section C.2.2.2; pure).

use prelim_proto::ids::Uid;

/// What an attribute must be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Key {
    /// A text, with wildcards.
    Pattern(Pattern),
    /// One of several.
    AnyOf(Vec<Pattern>),
    /// One of several identifiers.
    Uids(Vec<Uid>),
    /// A date or time in a range.
    Range(Dates),
    /// A number.
    Number(i64),
}

impl Key {
    /// Whether one of the values fits.
    pub(crate) fn fits(&self, values: &[String]) -> bool {
        values.iter().any(|value| match self {
            Self::Pattern(pattern) => pattern.fits(value),
            Self::AnyOf(patterns) => patterns.iter().any(|pattern| pattern.fits(value)),
            Self::Uids(uids) => uids.iter().any(|uid| uid.as_str() == value),
            Self::Range(dates) => dates.fits(value),
            Self::Number(number) => value.trim().parse() == Ok(*number),
        })
    }

    /// The one value that fits, where there is only one.
    pub(crate) fn exact(&self) -> Option<&str> {
        match self {
            Self::Pattern(pattern) => pattern.exact(),
            Self::Range(dates) => dates.exact(),
            _ => None,
        }
    }
}

/// A text in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    any_case: bool,
}

impl Pattern {
    pub(crate) fn new(text: &str, any_case: bool) -> Self {
        Self { text: if any_case { text.to_lowercase() } else { text.to_owned() }, any_case }
    }

    fn exact(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !self.any_case && !text.contains(['*', '?']))
    }

    /// Goes back to the last star only: never longer than the product of both lengths.
    pub(crate) fn fits(&self, value: &str) -> bool {
        let pattern: Vec<char> = self.text.chars().collect();
        let value: Vec<char> =
            if self.any_case { value.to_lowercase().chars().collect() } else { value.chars().collect() };
        let (mut at, mut in_pattern, mut star) = (0, 0, None);
        while at < value.len() {
            match pattern.get(in_pattern) {
                Some('*') => {
                    star = Some((in_pattern, at));
                    in_pattern += 1;
                }
                Some(c) if *c == '?' || *c == value[at] => {
                    in_pattern += 1;
                    at += 1;
                }
                _ => {
                    let Some((place, from)) = star else { return false };
                    star = Some((place, from + 1));
                    in_pattern = place + 1;
                    at = from + 1;
                }
            }
        }
        pattern[in_pattern..].iter().all(|c| *c == '*')
    }
}

/// A range of dates (YYYYMMDD) or times (HHMMSS.FFFFFF, cut anywhere), its ends in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dates {
    from: Option<String>,
    to: Option<String>,
}

impl Dates {
    /// Reads one, or `from-to`, or an end alone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_one = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            digits && (2..=13).contains(&text.len())
        };
        // Colons and dashes within a date or time are of DICOM's first days, and a dash cannot be told from that of a range.
        let text = text.trim().replace(':', "");
        let (from, to) = text.split_once('-').unwrap_or((&text, &text));
        let end = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let is_range =
            [from, to].iter().all(|text| text.is_empty() || is_one(text)) && !(from.is_empty() && to.is_empty());
        is_range.then(|| Self { from: end(from), to: end(to) })
    }

    fn exact(&self) -> Option<&str> {
        self.from.as_deref().filter(|from| self.to.as_deref() == Some(*from) && from.len() == 8)
    }

    fn fits(&self, value: &str) -> bool {
        let value = value.trim().replace([':', '.'], "");
        if value.is_empty() {
            return false;
        }
        // A time that is cut short stands for all that begin so.
        let end = |text: &String| text.replace('.', "");
        let from =
            self.from.as_ref().is_none_or(|from| value.as_str() >= end(from).as_str() || end(from).starts_with(&value));
        let to = self.to.as_ref().is_none_or(|to| value.as_str() <= end(to).as_str() || value.starts_with(&end(to)));
        from && to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_characters() {
        for (pattern, value, fits) in [
            ("Doe^*", "Doe^Jane", true),
            ("doe^jane", "Doe^Jane", true),
            ("*a*a*a*", "banana", true),
            ("D?e*", "Doe", true),
            ("Doe", "Doe^Jane", false),
            ("*b", "abc", false),
            ("", "", true),
            ("?", "", false),
            ("山?", "山田", true),
        ] {
            assert_eq!(Pattern::new(pattern, true).fits(value), fits, "{pattern} {value}");
        }
        assert!(!Pattern::new("a", false).fits("A"));
        // Many stars take no long time.
        assert!(!Pattern::new(&"*a".repeat(500), false).fits(&"a".repeat(499)));
        assert_eq!(Pattern::new("A?", false).exact(), None);
        assert_eq!(Pattern::new("A", false).exact(), Some("A"));
    }

    #[test]
    fn ranges_have_their_ends_in_them() {
        for (range, value, fits) in [
            ("20200101", "20200101", true),
            ("20200101", "20200102", false),
            ("20200101-20200131", "20200131", true),
            ("20200101-", "20191231", false),
            ("-20200101", "20191231", true),
            ("20200101", "", false),
            ("0800-0930", "093059.5", true),
            ("0800-0930", "0931", false),
            ("080000-", "08", true),
            ("10:30-11", "104500", true),
        ] {
            assert_eq!(Dates::parse(range).unwrap().fits(value), fits, "{range} {value}");
        }
        for text in ["-", "", "today", "2020-01-01"] {
            assert_eq!(Dates::parse(text), None, "{text}");
        }
        assert_eq!(Dates::parse("20200101").unwrap().exact(), Some("20200101"));
        assert_eq!(Dates::parse("20200101-").unwrap().exact(), None);
    }
}
