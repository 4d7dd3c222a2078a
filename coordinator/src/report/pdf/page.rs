//! Lines, boxes and page breaks. Lengths are points, from the upper left corner of the page.

use crate::report::fonts::Line;
use crate::report::present;

/// Width and height of a page: A4.
pub(super) const SIZE: (f32, f32) = (595.28, 841.89);
/// Left and right of what is on it.
pub(super) const LEFT: f32 = 42.0;
pub(super) const RIGHT: f32 = SIZE.0 - LEFT;
pub(super) const WIDTH: f32 = RIGHT - LEFT;
/// Upper and lower end of what flows.
const TOP: f32 = 66.0;
const BOTTOM: f32 = SIZE.1 - 44.0;

/// Pages at most. What a hostile header or a runaway reading has more is in the other forms.
const PAGES_MAX: usize = 60;

/// Height of a line over the size of its letters.
const LEADING: f32 = 1.38;

/// A colour: red, green, blue.
pub(super) type Colour = [u8; 3];

pub(super) const INK: Colour = [0x16, 0x1c, 0x24];
pub(super) const QUIET: Colour = [0x56, 0x60, 0x6b];
pub(super) const RULE: Colour = [0xd3, 0xd9, 0xdf];
pub(super) const ACCENT: Colour = [0x12, 0x3f, 0x63];

/// How text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) bold: bool,
    pub(super) colour: Colour,
}

impl Style {
    pub(super) const BODY: Self = Self { size: 9.5, bold: false, colour: INK };
    pub(super) const STRONG: Self = Self { bold: true, ..Self::BODY };
    pub(super) const SMALL: Self = Self { size: 8.0, bold: false, colour: QUIET };

    /// Height of a line.
    pub(super) fn leading(self) -> f32 {
        self.size * LEADING
    }
}

/// Something drawn.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// A line of text, by the left end of its base line.
    Text { line: Line, x: f32, y: f32, size: f32, colour: Colour },
    /// A filled rectangle.
    Filled { place: Place, colour: Colour },
    /// The outline of a rectangle.
    Outline { place: Place, colour: Colour, width: f32 },
    /// The picture of that number.
    Picture { number: usize, place: Place },
}

/// A rectangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// Pages in the making.
pub(super) struct Pages {
    pub(super) pages: Vec<Vec<Mark>>,
    /// Where the next thing goes.
    pub(super) y: f32,
}

impl Pages {
    pub(super) fn new() -> Self {
        Self { pages: vec![Vec::new()], y: TOP }
    }

    /// Draws on the last page.
    pub(super) fn put(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    /// Begins a page where `height` is not left on this one. Whether it was begun.
    pub(super) fn room(&mut self, height: f32) -> bool {
        // On an empty page there will never be more.
        let full = self.y + height > BOTTOM && self.y > TOP;
        if full {
            self.pages.push(Vec::new());
            self.y = TOP;
        }
        full
    }

    /// Whether there may be no more pages.
    pub(super) fn is_full(&self) -> bool {
        self.pages.len() > PAGES_MAX
    }

    /// A line of text whose letters hang from `top`.
    pub(super) fn line(&mut self, line: Line, x: f32, top: f32, style: Style) {
        let y = top + style.size * 1.08;
        self.put(Mark::Text { line, x, y, size: style.size, colour: style.colour });
    }

    /// One line of cleaned text, as it is.
    pub(super) fn text(&mut self, text: &str, x: f32, top: f32, style: Style) {
        self.line(Line::of(&present::clean(text), style.bold), x, top, style);
    }

    /// A paragraph from `x` to the right margin, over as many pages as it takes.
    pub(super) fn paragraph(&mut self, text: &str, x: f32, style: Style) {
        for line in lines(text, RIGHT - x, style) {
            if self.is_full() {
                return;
            }
            self.room(style.leading());
            self.line(line, x, self.y, style);
            self.y += style.leading();
        }
    }

    /// The heading of a section, with room for something below it.
    pub(super) fn heading(&mut self, text: &str) {
        self.y += 9.0;
        self.room(56.0);
        let style = Style { size: 11.0, bold: true, colour: ACCENT };
        self.text(text, LEFT, self.y, style);
        self.y += style.leading() + 1.0;
        self.rule(LEFT, WIDTH);
        self.y += 5.0;
    }

    /// A thin line across.
    pub(super) fn rule(&mut self, x: f32, width: f32) {
        self.put(Mark::Filled { place: Place { x, y: self.y, width, height: 0.7 }, colour: RULE });
    }

    /// Sentences with a dot before each.
    pub(super) fn list<'t>(&mut self, sentences: impl Iterator<Item = &'t str>, style: Style) {
        for sentence in sentences {
            self.room(style.leading());
            self.text("•", LEFT + 2.0, self.y, style);
            self.paragraph(sentence, LEFT + 13.0, style);
            self.y += 1.5;
        }
    }
}

/// Cleaned text as lines of at most `width` points.
pub(super) fn lines(text: &str, width: f32, style: Style) -> Vec<Line> {
    Line::wrapped(&present::clean(text), style.bold, width / style.size)
}

/// Width of a line of cleaned text in points.
pub(super) fn width(line: &Line, style: Style) -> f32 {
    line.width * style.size
}
