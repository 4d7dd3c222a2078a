//! Pictures of frames (PS3.18 sections 8.3.5 and 10.4.1.1.3): modality transform, VOI LUT or window, and no more.
//!
//! A picture is made smaller to fit a viewport, and never larger: a browser does that as well. No annotation is burned in.
//! The draft's structured report is rendered as a page, and its encapsulated document as the document that it is (PS3.18
//! table 8.7.4-1).

use axum::body::Body;
use hyper::Response;
use prelim_imaging::Limits;
use prelim_imaging::frame::{Frame, Pixels};
use prelim_imaging::keyimage::{grey_jpeg, grey_png, rgb_jpeg, rgb_png};
use prelim_imaging::photometry::{Photometry, Voi, WindowFunction};
use prelim_imaging::render::{RgbImage, ct_grey, xray_grey};
use prelim_imaging::sandbox::Decoder;
use prelim_imaging::scan::scan;
use prelim_proto::ids::Uid;

use super::held::{Instance, Source};
use super::negotiate::Accepted;
use super::problem::Problem;
use super::request::Call;
use super::route::Scope;
use super::{query, wado};
use crate::pictures::CT_WINDOW_HU;
use crate::report::Format;

const JPEG: &str = "image/jpeg";
const PNG: &str = "image/png";
/// Longer side of a thumbnail, in pixels, where the caller does not say.
const THUMBNAIL_SIDE: u32 = 256;
/// Quality of JPEG where the caller does not say.
const QUALITY: u8 = 90;

/// How a picture is wanted.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    /// Largest width and height.
    viewport: Option<(u32, u32)>,
    window: Option<Voi>,
    quality: u8,
}

/// Gives out a picture: of the frame, or of the first; of the instance, or of the middle image in the scope.
pub(super) async fn retrieve(
    call: &Call<'_>,
    scope: Scope,
    frame: Option<u32>,
    is_thumbnail: bool,
) -> Result<Response<Body>, Problem> {
    let asked = call.head.uri.query();
    let accepted = Accepted::read(&call.head.headers, query::accept(asked).as_deref())?;
    let (study, instances) = call.instances(&scope).await?;
    if !is_thumbnail && let Some((version, format, essence)) = document(&instances) {
        let essence = accepted.picture(&[essence])?;
        let page = call.web.coordinator.report_of(&study.record.uid, version, format).await?;
        return Ok(wado::answer(essence, Some(page.content.len() as u64), Body::from(page.content)));
    }
    let essence = accepted.picture(&[JPEG, PNG])?;
    let mut wanted = Wanted::read(asked)?;
    if is_thumbnail {
        wanted.viewport.get_or_insert((THUMBNAIL_SIDE, THUMBNAIL_SIDE));
    }
    let mut images: Vec<&Instance> =
        instances.iter().filter(|instance| instance.record.instance.image.is_some()).collect();
    // A study looks like its images, and not like what was drawn on some of them.
    if images.iter().any(|image| matches!(image.source, Source::Stored(_))) {
        images.retain(|image| matches!(image.source, Source::Stored(_)));
    }
    images.sort_by_key(|image| (&image.record.series, image.record.instance.number));
    let image = images.get(images.len() / 2).ok_or_else(|| Problem::nothing_here("there is no image to show"))?;
    let frames = image.record.instance.image.as_ref().map_or(0, |image| image.frames);
    let number = frame.unwrap_or(1);
    if number > frames {
        return Err(Problem::nothing_here(format!("frame {number} of {frames}")));
    }
    let picture = draw(call, &study.record.uid, image, number, wanted, essence).await?;
    Ok(wado::answer(essence, Some(picture.len() as u64), Body::from(picture)))
}

/// The form of the draft that shows an object of it which is no image: its version, the form, and its media type.
fn document(instances: &[Instance]) -> Option<(u32, Format, &'static str)> {
    let [Instance { source: Source::Draft(version, format), .. }] = instances else { return None };
    match format {
        Format::Sr => Some((*version, Format::Html, "text/html")),
        Format::DicomPdf => Some((*version, Format::Pdf, "application/pdf")),
        _ => None,
    }
}

async fn draw(
    call: &Call<'_>,
    study: &Uid,
    instance: &Instance,
    number: u32,
    wanted: Wanted,
    essence: &'static str,
) -> Result<Vec<u8>, Problem> {
    let web = call.web;
    let of = instance.record.instance.image.as_ref().map_or(1, |image| image.frames.max(1)) as usize;
    let decoded = 2 * web.decoded_bytes(instance) / of;
    let room = web.memory.wait_for(web.held_bytes(instance).saturating_add(decoded)).await?;
    let bytes = web.bytes_of(study, instance).await?;
    let (command, is_ct) = (web.coordinator.decoder.clone(), instance.record.modality == "CT");
    let draw = move || {
        let _room = room;
        let limits = Limits::default();
        let scanned = scan(&bytes, &limits).map_err(|error| Problem::unreadable(error.to_string()))?;
        let mut decoder = Decoder::new(command, limits, Decoder::DEADLINE);
        let frame = decoder
            .decode(&scanned, number)
            .map_err(|error| Problem::not_acceptable(format!("it cannot be decoded: {error}")))?;
        picture(&frame, Photometry::read(&scanned, number), &wanted, is_ct, essence)
    };
    tokio::task::spawn_blocking(draw).await.map_err(|_| Problem::busy("the coordinator is stopping"))?
}

fn picture(
    frame: &Frame,
    photometry: Photometry,
    wanted: &Wanted,
    is_ct: bool,
    essence: &str,
) -> Result<Vec<u8>, Problem> {
    let side = wanted.longest_side(frame.columns, frame.rows);
    let failed = |error: &dyn ToString| Problem::unreadable(error.to_string());
    if let Pixels::Rgb(data) = &frame.pixels {
        let image = RgbImage { width: frame.columns, height: frame.rows, data: data.clone() };
        return match essence {
            PNG => rgb_png(&image, side).map_err(|error| failed(&error)),
            _ => rgb_jpeg(&image, side, wanted.quality).map_err(|error| failed(&error)),
        };
    }
    let image = match &wanted.window {
        Some(window) => xray_grey(frame, &Photometry { voi: Some(window.clone()), ..photometry }),
        // A CT slice without a window would be shown over its whole range.
        None if is_ct && photometry.voi.is_none() => ct_grey(frame, &photometry, CT_WINDOW_HU),
        None => xray_grey(frame, &photometry),
    };
    match essence {
        PNG => grey_png(&image, side).map_err(|error| failed(&error)),
        _ => grey_jpeg(&image, side, wanted.quality).map_err(|error| failed(&error)),
    }
}

impl Wanted {
    fn read(asked: Option<&str>) -> Result<Self, Problem> {
        let mut wanted = Self { viewport: None, window: None, quality: QUALITY };
        for (name, value) in query::pairs(asked) {
            let bad = |what: &str| Problem::bad(format!("{name}: {what}"));
            match name.as_str() {
                "accept" => {}
                "viewport" => {
                    wanted.viewport = Some(viewport(&value).ok_or_else(|| bad("not WIDTH,HEIGHT in pixels"))?)
                }
                "window" => {
                    let usage = "not CENTER,WIDTH,FUNCTION, with linear, linear-exact or sigmoid";
                    wanted.window = Some(window(&value).ok_or_else(|| bad(usage))?);
                }
                "quality" => {
                    let quality = value.parse().ok().filter(|quality| (1..=100).contains(quality));
                    wanted.quality = quality.ok_or_else(|| bad("not a number from 1 to 100"))?;
                }
                "annotation" | "charset" | "iccprofile" => {
                    return Err(bad("not done here: the picture has pixels only"));
                }
                _ => return Err(Problem::bad(format!("no parameter {name:?} of a picture"))),
            }
        }
        Ok(wanted)
    }

    /// The longer side that a picture of this size has in the viewport.
    fn longest_side(&self, width: u32, height: u32) -> u32 {
        let longest = width.max(height);
        let Some((most_wide, most_high)) = self.viewport else { return longest };
        let scale = f64::from(most_wide) / f64::from(width.max(1));
        let scale = scale.min(f64::from(most_high) / f64::from(height.max(1))).min(1.0);
        ((f64::from(longest) * scale) as u32).max(1)
    }
}

/// `WIDTH,HEIGHT`. A part of the image is not cut out.
fn viewport(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(',')?;
    let side = |text: &str| text.trim().parse().ok().filter(|side| (1..=16_384).contains(side));
    Some((side(width)?, side(height)?))
}

fn window(text: &str) -> Option<Voi> {
    let [center, width, function] = text.split(',').map(str::trim).collect::<Vec<_>>()[..] else { return None };
    let function = match function.to_ascii_lowercase().as_str() {
        "linear" => WindowFunction::Linear,
        "linear-exact" => WindowFunction::LinearExact,
        "sigmoid" => WindowFunction::Sigmoid,
        _ => return None,
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    let (center, width) = (number(center)?, number(width)?);
    let least = if function == WindowFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
    (width >= least).then_some(Voi::Window { center, width, function })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_and_what_is_wrong_is_named() {
        let wanted = Wanted::read(Some("window=40,400,linear&viewport=512,256&quality=70")).unwrap();
        let window = Voi::Window { center: 40.0, width: 400.0, function: WindowFunction::Linear };
        assert_eq!(wanted, Wanted { viewport: Some((512, 256)), window: Some(window), quality: 70 });
        assert_eq!(wanted.longest_side(1_024, 1_024), 256);
        assert_eq!(wanted.longest_side(100, 50), 100, "never larger");
        for (asked, named) in [
            ("window=40,0,linear", "window"),
            ("window=40,400", "window"),
            ("viewport=0,1", "viewport"),
            ("quality=0", "quality"),
            ("annotation=patient", "annotation"),
            ("zoom=2", "zoom"),
        ] {
            let problem = Wanted::read(Some(asked)).unwrap_err().to_string();
            assert!(problem.contains(named), "{asked}: {problem}");
        }
    }
}
