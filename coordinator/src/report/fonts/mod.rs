//! Text for the forms that are drawn: the fonts, the direction of writing, and the glyphs of a line.
//!
//! Scripts that need it are shaped (Arabic letters join, Devanagari syllables form), and lines that mix directions are put in
//! the order in which they are read (Unicode Standard Annex 9). What no font has becomes [`MISSING`].

use std::ops::Range;
use std::sync::LazyLock;

use rustybuzz::{Direction, Face, UnicodeBuffer};
use unicode_bidi::BidiInfo;

/// Stands for a character that no font has.
pub(super) const MISSING: char = '\u{fffd}';

/// The font files, in the order in which they are asked for a character.
pub(super) const FILES: [&[u8]; 8] = [
    include_bytes!("NotoSans-Regular.ttf"),
    include_bytes!("NotoSans-Bold.ttf"),
    include_bytes!("NotoSansArabic-Regular.ttf"),
    include_bytes!("NotoSansHebrew-Regular.ttf"),
    include_bytes!("NotoSansThai-Regular.ttf"),
    include_bytes!("NotoSansDevanagari-Regular.ttf"),
    include_bytes!("DroidSansFallbackFull.ttf"),
    include_bytes!("NanumGothic.ttf"),
];
const REGULAR: usize = 0;
const BOLD: usize = 1;

static FACES: LazyLock<Vec<Face<'static>>> =
    LazyLock::new(|| FILES.iter().filter_map(|file| Face::from_slice(file, 0)).collect());

/// A font by its place in [`FILES`].
pub(super) fn face(font: usize) -> &'static Face<'static> {
    &FACES[font]
}

/// A glyph with its measures in ems.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glyph {
    pub(super) id: u16,
    /// The bytes of [`Run::text`] that it is drawn for.
    pub(super) text: Range<usize>,
    pub(super) advance: f32,
    pub(super) x_offset: f32,
    pub(super) y_offset: f32,
}

/// Glyphs of one font, from left to right.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) font: usize,
    pub(super) text: String,
    pub(super) glyphs: Vec<Glyph>,
}

/// A line of text ready to be drawn, from left to right.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Line {
    pub(super) runs: Vec<Run>,
    /// Width in ems.
    pub(super) width: f32,
}

impl Line {
    /// The glyphs of `text`, which is one line without control characters.
    pub(super) fn of(text: &str, bold: bool) -> Self {
        let text = shown(text);
        let mut line = Self::default();
        let bidi = BidiInfo::new(&text, None);
        for paragraph in &bidi.paragraphs {
            let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for range in runs {
                let is_rtl = levels[range.start].is_rtl();
                let mut parts = by_font(&text[range], bold);
                if is_rtl {
                    parts.reverse();
                }
                line.runs.extend(parts.into_iter().map(|(font, part)| shape(font, part, is_rtl)));
            }
        }
        line.width = line.runs.iter().flat_map(|run| &run.glyphs).map(|glyph| glyph.advance).sum();
        line
    }

    /// `text` as lines of at most `width` ems, cut between words, or within those that are longer than a line.
    pub(super) fn wrapped(text: &str, bold: bool, width: f32) -> Vec<Self> {
        let measured = |text: &str| Self::of(text, bold).width;
        let space = measured(" ");
        let mut lines: Vec<String> = Vec::new();
        let (mut line, mut used) = (String::new(), 0.0);
        for word in text.split(' ') {
            for piece in pieces(word, bold, width) {
                let length = measured(&piece);
                if !line.is_empty() && used + space + length > width {
                    lines.push(std::mem::take(&mut line));
                    used = 0.0;
                }
                if !line.is_empty() {
                    line.push(' ');
                    used += space;
                }
                line.push_str(&piece);
                used += length;
            }
        }
        lines.push(line);
        lines.iter().map(|line| Self::of(line, bold)).collect()
    }
}

/// The word whole where it fits, else in pieces that do.
fn pieces(word: &str, bold: bool, width: f32) -> Vec<String> {
    // No glyph of ours is wider than three ems.
    if word.chars().count() as f32 * 3.0 <= width || Line::of(word, bold).width <= width {
        return vec![word.to_owned()];
    }
    let mut pieces = vec![String::new()];
    let mut used = 0.0;
    for c in word.chars() {
        let advance = Line::of(c.encode_utf8(&mut [0; 4]), bold).width;
        if used + advance > width && used > 0.0 {
            pieces.push(String::new());
            used = 0.0;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
        used += advance;
    }
    pieces
}

/// Whether some character of `text` has no glyph.
pub(super) fn is_incomplete(text: &str) -> bool {
    shown(text).contains(MISSING)
}

/// `text` with what no font has replaced, and without the joiners and selectors that show nothing.
fn shown(text: &str) -> String {
    let ignorable = |c: char| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e0fff}');
    let known = |c: char| FACES.iter().any(|face| face.glyph_index(c).is_some());
    text.chars().filter(|&c| !ignorable(c)).map(|c| if known(c) { c } else { MISSING }).collect()
}

/// `text` in parts that one font has each. Spaces and marks stay with what is before them where its font has them.
fn by_font(text: &str, bold: bool) -> Vec<(usize, &str)> {
    let first = if bold { BOLD } else { REGULAR };
    let mut parts: Vec<(usize, Range<usize>)> = Vec::new();
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let has = |font: usize| face(font).glyph_index(c).is_some();
        let font = match parts.last() {
            Some(&(font, _)) if !c.is_alphanumeric() && has(font) => font,
            _ => std::iter::once(first).chain(REGULAR..FILES.len()).find(|&font| has(font)).unwrap_or(first),
        };
        match parts.last_mut() {
            Some((last, range)) if *last == font => range.end = end,
            _ => parts.push((font, at..end)),
        }
    }
    parts.into_iter().map(|(font, range)| (font, &text[range])).collect()
}

fn shape(font: usize, text: &str, is_rtl: bool) -> Run {
    let face = face(font);
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(text);
    buffer.set_direction(if is_rtl { Direction::RightToLeft } else { Direction::LeftToRight });
    buffer.guess_segment_properties();
    let shaped = rustybuzz::shape(face, &[], buffer);
    let mut starts: Vec<usize> = shaped.glyph_infos().iter().map(|info| info.cluster as usize).collect();
    starts.push(text.len());
    starts.sort_unstable();
    starts.dedup();
    let end = |start: usize| starts.iter().copied().find(|&next| next > start).unwrap_or(text.len());
    let ems = |units: i32| units as f32 / face.units_per_em() as f32;
    let glyphs = shaped.glyph_infos().iter().zip(shaped.glyph_positions()).map(|(info, position)| Glyph {
        id: info.glyph_id as u16,
        text: info.cluster as usize..end(info.cluster as usize),
        advance: ems(position.x_advance),
        x_offset: ems(position.x_offset),
        y_offset: ems(position.y_offset),
    });
    Run { font, glyphs: glyphs.collect(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_font_opens_and_has_the_mark_for_what_is_missing() {
        assert_eq!(FACES.len(), FILES.len());
        assert!(face(REGULAR).glyph_index(MISSING).is_some() && face(BOLD).glyph_index(MISSING).is_some());
    }

    #[test]
    fn names_of_many_scripts_have_their_glyphs() {
        for name in [
            "Müller",
            "Παπαδόπουλος",
            "Иванова",
            "山田 太郎 やまだ",
            "김희중 金喜中",
            "عبد الله",
            "כהן",
            "สมชาย",
            "शर्मा",
            "Nguyễn",
        ] {
            assert!(!is_incomplete(name), "{name}");
            let line = Line::of(name, false);
            assert!(line.runs.iter().flat_map(|run| &run.glyphs).all(|glyph| glyph.id != 0), "{name}");
        }
        assert!(is_incomplete("𓀀"));
    }

    #[test]
    fn arabic_is_drawn_from_right_to_left_and_joined() {
        let line = Line::of("ID 12 مرحبا", false);
        let last = line.runs.last().unwrap();
        // The first letter of the word is the last to the right, and not the letter that stands alone.
        assert_eq!(last.glyphs.last().unwrap().text.start, 0);
        let alone = Line::of("م", false).runs[0].glyphs[0].id;
        assert_ne!(last.glyphs.last().unwrap().id, alone);
        assert!(line.runs[0].text.starts_with("ID 12"));
    }

    #[test]
    fn lines_keep_to_their_width_and_lose_nothing() {
        let text = format!("{} {}", "word ".repeat(40), "unbroken".repeat(40));
        let lines = Line::wrapped(&text, false, 20.0);
        assert!(lines.iter().all(|line| line.width <= 20.01));
        let letters: usize = lines.iter().flat_map(|line| &line.runs).map(|run| run.text.replace(' ', "").len()).sum();
        assert_eq!(letters, text.replace(' ', "").len());
    }
}
