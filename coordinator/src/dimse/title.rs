//! Application entity titles.

/// What an application entity title is, for people.
pub const AE_TITLE: &str = "1 to 16 ASCII characters without backslash, and not spaces only";

/// Whether a text is an application entity title (PS3.5 section 6.2, AE).
pub fn is_ae_title(text: &str) -> bool {
    let plain = text.bytes().all(|byte| (0x20..0x7F).contains(&byte) && byte != b'\\');
    plain && text.len() <= 16 && !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_told_from_other_texts() {
        for (title, is) in [("PRELIM", true), ("", false), ("   ", false), ("A\\B", false), ("ÄTHER", false)] {
            assert_eq!(is_ae_title(title), is, "{title}");
        }
        assert!(!is_ae_title("A TITLE THAT IS TOO LONG"));
    }
}
