//! Pages in the making: the writer that escapes, for HTML and for FHIR's narratives.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::report::present;

/// A page in the making. Markup goes in as literals, everything else through [`Page::text`] and [`Page::value`].
#[derive(Default)]
pub(in crate::report) struct Page {
    out: String,
}

impl Page {
    /// Markup. `'static` keeps anything that was received out of it.
    pub(in crate::report) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Text or an attribute's value, escaped for both, without control characters.
    pub(in crate::report) fn text(&mut self, text: &str) -> &mut Self {
        for c in present::clean(text).chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                c => self.out.push(c),
            }
        }
        self
    }

    /// A number or the like, escaped too.
    pub(in crate::report) fn value(&mut self, value: impl Display) -> &mut Self {
        self.text(&value.to_string())
    }

    /// A number with two decimals, for coordinates.
    pub(in crate::report) fn coordinate(&mut self, value: f32) -> &mut Self {
        // Writing to a string does not fail.
        let _ = write!(self.out, "{value:.2}");
        self
    }

    /// A PNG as a data URI (RFC 2397).
    pub(in crate::report) fn png(&mut self, png: &[u8]) -> &mut Self {
        self.out.push_str("data:image/png;base64,");
        STANDARD.encode_string(png, &mut self.out);
        self
    }

    /// A name and its value in a description list; nothing where the value is empty. What people wrote has its own direction.
    pub(in crate::report) fn entry(&mut self, name: &'static str, value: &str) -> &mut Self {
        if !present::clean(value).is_empty() {
            self.raw("<div><dt>").raw(name).raw("</dt><dd dir=\"auto\">").text(value).raw("</dd></div>");
        }
        self
    }

    /// A list of sentences.
    pub(in crate::report) fn list<'t>(&mut self, lines: impl Iterator<Item = &'t str>) -> &mut Self {
        self.raw("<ul>");
        for line in lines {
            self.raw("<li dir=\"auto\">").text(line).raw("</li>");
        }
        self.raw("</ul>")
    }

    /// The page so far.
    pub(in crate::report) fn into_string(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_for_elements_and_attributes() {
        let mut page = Page::default();
        page.text("<script>\"x\" & 'y'</script>\u{0}\u{202e}");
        assert_eq!(page.into_string(), "&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;");
    }

    #[test]
    fn what_people_wrote_has_its_own_direction() {
        let mut page = Page::default();
        page.entry("Study", "אחת").list(["שתיים (PA)."].into_iter());
        let found = page.into_string();
        assert!(found.contains("<dd dir=\"auto\">אחת</dd>"), "{found}");
        assert!(found.contains("<li dir=\"auto\">שתיים (PA).</li>"), "{found}");
    }
}
