//! Pages to bytes, as PDF/A-2b (ISO 19005-2): every font is within, nothing is loaded, nothing runs.

use krilla::color::rgb;
use krilla::configure::{Configuration, Validator};
use krilla::geom::{PathBuilder, Point, Rect, Size, Transform};
use krilla::image::{BitsPerComponent, CustomImage, Image, ImageColorspace};
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule, Stroke};
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use krilla::{Document, SerializeSettings};

use super::page::{Colour, Mark, Place, SIZE};
use crate::report::fonts::{self, Line};
use crate::report::{KeyImage, ReportError, picture};

/// Writes `pages`. The document's id is `id`. PDF/A wants a date: it is when the report was reviewed, or for a draft, when
/// the study came, for a clock would make the same report two documents.
pub(super) fn write(
    pages: &[Vec<Mark>],
    pictures: &[&KeyImage],
    title: String,
    id: &str,
    made_at_ms: i64,
) -> Result<Vec<u8>, ReportError> {
    let fonts: Option<Vec<Font>> = fonts::FILES.iter().map(|&file| Font::new(file.into(), 0)).collect();
    let fonts = fonts.ok_or_else(|| ReportError::Pdf("a font does not open".to_owned()))?;
    let images: Vec<Option<Image>> = pictures.iter().map(|image| grey(image)).collect();
    let settings = SerializeSettings {
        configuration: Configuration::new_with_validator(Validator::A2_B),
        enable_tagging: false,
        ..SerializeSettings::default()
    };
    let mut document = Document::new_with(settings);
    let metadata = Metadata::new().title(title).creator("prelim".to_owned()).language("en".to_owned());
    document.set_metadata(metadata.document_id(id.to_owned()).creation_date(date(made_at_ms)));
    for marks in pages {
        let page = PageSettings::from_wh(SIZE.0, SIZE.1).unwrap_or_default();
        let mut page = document.start_page_with(page);
        let mut surface = page.surface();
        for mark in marks {
            draw(&mut surface, mark, &fonts, &images);
        }
        surface.finish();
        page.finish();
    }
    document.finish().map_err(|error| ReportError::Pdf(format!("{error:?}").chars().take(300).collect()))
}

fn date(ms: i64) -> DateTime {
    let when = jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let part = |number: i8| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(when.year()).unwrap_or_default();
    let date = DateTime::new(year).month(part(when.month())).day(part(when.day()));
    let time = date.hour(part(when.hour())).minute(part(when.minute())).second(part(when.second()));
    time.utc_offset_hour(0).utc_offset_minute(0)
}

fn draw(surface: &mut Surface<'_>, mark: &Mark, fonts: &[Font], images: &[Option<Image>]) {
    match mark {
        Mark::Text { line, x, y, size, colour } => {
            surface.set_stroke(None);
            surface.set_fill(Some(fill(*colour)));
            text(surface, line, (*x, *y), *size, fonts);
        }
        Mark::Filled { place, colour } => {
            surface.set_stroke(None);
            surface.set_fill(Some(fill(*colour)));
            rectangle(surface, *place);
        }
        Mark::Outline { place, colour, width } => {
            surface.set_fill(None);
            surface.set_stroke(Some(Stroke { paint: paint(*colour).into(), width: *width, ..Stroke::default() }));
            rectangle(surface, *place);
        }
        Mark::Picture { number, place } => match images.get(*number).and_then(Option::as_ref) {
            Some(image) => {
                let Some(size) = Size::from_wh(place.width, place.height) else { return };
                surface.push_transform(&Transform::from_translate(place.x, place.y));
                surface.draw_image(image.clone(), size);
                surface.pop();
            }
            None => draw(surface, &Mark::Filled { place: *place, colour: [0, 0, 0] }, fonts, images),
        },
    }
}

fn text(surface: &mut Surface<'_>, line: &Line, (mut x, y): (f32, f32), size: f32, fonts: &[Font]) {
    for run in &line.runs {
        let glyph = |glyph: &fonts::Glyph| {
            let id = GlyphId::new(u32::from(glyph.id));
            KrillaGlyph::new(id, glyph.advance, glyph.x_offset, glyph.y_offset, 0.0, glyph.text.clone(), None)
        };
        let glyphs: Vec<KrillaGlyph> = run.glyphs.iter().map(glyph).collect();
        surface.draw_glyphs(Point::from_xy(x, y), &glyphs, fonts[run.font].clone(), &run.text, size, false);
        x += run.glyphs.iter().map(|glyph| glyph.advance).sum::<f32>() * size;
    }
}

fn rectangle(surface: &mut Surface<'_>, place: Place) {
    let mut path = PathBuilder::new();
    // A box without an extent is a line, and a line has no rectangle.
    if let Some(rect) = Rect::from_xywh(place.x, place.y, place.width.max(0.1), place.height.max(0.1)) {
        path.push_rect(rect);
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
}

fn fill(colour: Colour) -> Fill {
    Fill { paint: paint(colour).into(), opacity: NormalizedF32::ONE, rule: FillRule::default() }
}

fn paint([red, green, blue]: Colour) -> rgb::Color {
    rgb::Color::new(red, green, blue)
}

fn grey(image: &KeyImage) -> Option<Image> {
    let shades = picture::shades(image)?;
    Image::from_custom(Grey { shades, size: (image.width, image.height) }, false).ok()
}

/// A picture in shades of grey.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Grey {
    shades: Vec<u8>,
    size: (u32, u32),
}

impl CustomImage for Grey {
    fn color_channel(&self) -> &[u8] {
        &self.shades
    }

    fn alpha_channel(&self) -> Option<&[u8]> {
        None
    }

    fn bits_per_component(&self) -> BitsPerComponent {
        BitsPerComponent::Eight
    }

    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn icc_profile(&self) -> Option<&[u8]> {
        None
    }

    fn color_space(&self) -> ImageColorspace {
        ImageColorspace::Luma
    }
}
