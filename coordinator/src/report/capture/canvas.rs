//! Pixels, and what is drawn on them.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use rustybuzz::ttf_parser::{GlyphId, OutlineBuilder};

use crate::report::fonts::{self, Line};

/// A colour: red, green, blue.
pub(super) type Colour = [u8; 3];

/// A picture in red, green and blue.
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    /// `[height, width, 3]`, row by row.
    pub(super) rgb: Vec<u8>,
}

impl Canvas {
    /// A black picture.
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }

    fn put(&mut self, x: i64, y: i64, colour: Colour, coverage: f32) {
        let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        if !inside {
            return;
        }
        let at = (y as usize * self.width as usize + x as usize) * 3;
        for (old, new) in self.rgb[at..at + 3].iter_mut().zip(colour) {
            *old = (f32::from(*old) * (1.0 - coverage) + f32::from(new) * coverage).round() as u8;
        }
    }

    /// A grey picture of `width` columns with its upper left corner at (`x`, `y`).
    pub(super) fn grey(&mut self, (x, y): (u32, u32), width: u32, shades: &[u8]) {
        for (row, line) in shades.chunks(width.max(1) as usize).enumerate() {
            for (column, &shade) in line.iter().enumerate() {
                self.put(i64::from(x) + column as i64, i64::from(y) + row as i64, [shade; 3], 1.0);
            }
        }
    }

    /// A filled rectangle from (`left`, `top`) to before (`right`, `bottom`).
    pub(super) fn fill(&mut self, [left, top, right, bottom]: [i64; 4], colour: Colour) {
        let (right, bottom) = (right.min(i64::from(self.width)), bottom.min(i64::from(self.height)));
        for y in top.max(0)..bottom {
            for x in left.max(0)..right {
                self.put(x, y, colour, 1.0);
            }
        }
    }

    /// The outline of a rectangle, `thickness` pixels to each side of its edges.
    pub(super) fn outline(&mut self, [left, top, right, bottom]: [i64; 4], thickness: i64, colour: Colour) {
        let t = thickness;
        self.fill([left - t, top - t, right + t, top + t], colour);
        self.fill([left - t, bottom - t, right + t, bottom + t], colour);
        self.fill([left - t, top - t, left + t, bottom + t], colour);
        self.fill([right - t, top - t, right + t, bottom + t], colour);
    }

    /// A line of text from `x`, its base line at `y`, an em being `size` pixels.
    pub(super) fn text(&mut self, line: &Line, (mut x, y): (f32, f32), size: f32, colour: Colour) {
        for run in &line.runs {
            let face = fonts::face(run.font);
            let scale = size / face.units_per_em() as f32;
            for glyph in &run.glyphs {
                // A box with room to all sides of the letter, and where it lies on the picture.
                let (box_width, box_height) = ((glyph.advance + 2.0) * size, 3.0 * size);
                let (left, top) = ((x - size).floor(), (y - 2.0 * size).floor());
                let origin = (x - left + glyph.x_offset * size, y - top - glyph.y_offset * size);
                let mut outline = Outline::new((box_width as usize + 1, box_height as usize + 1), origin, scale);
                if face.outline_glyph(GlyphId(glyph.id), &mut outline).is_some() {
                    outline.paths.for_each_pixel_2d(|column, row, coverage| {
                        if coverage > 0.0 {
                            let (column, row) = (left as i64 + i64::from(column), top as i64 + i64::from(row));
                            self.put(column, row, colour, coverage.min(1.0));
                        }
                    });
                }
                x += glyph.advance * size;
            }
        }
    }
}

/// A glyph's outline in pixels.
struct Outline {
    paths: Rasterizer,
    origin: (f32, f32),
    scale: f32,
    start: Point,
    last: Point,
}

impl Outline {
    fn new((width, height): (usize, usize), origin: (f32, f32), scale: f32) -> Self {
        let nowhere = point(0.0, 0.0);
        Self { paths: Rasterizer::new(width, height), origin, scale, start: nowhere, last: nowhere }
    }

    /// In pixels of the box, and never outside it.
    fn at(&self, x: f32, y: f32) -> Point {
        let (width, height) = self.paths.dimensions();
        let (x, y) = (self.origin.0 + x * self.scale, self.origin.1 - y * self.scale);
        point(x.clamp(0.0, width as f32 - 1.0), y.clamp(0.0, height as f32 - 1.0))
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.start = self.at(x, y);
        self.last = self.start;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.at(x, y);
        self.paths.draw_line(self.last, to);
        self.last = to;
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (by, to) = (self.at(x1, y1), self.at(x, y));
        self.paths.draw_quad(self.last, by, to);
        self.last = to;
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (first, second, to) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.paths.draw_cubic(self.last, first, second, to);
        self.last = to;
    }

    fn close(&mut self) {
        self.paths.draw_line(self.last, self.start);
        self.last = self.start;
    }
}
