//! A frame for the viewer: its stored values, decoded and in order, with what makes shades of them in one header. Where that is no
//! line, a shade for each value comes behind them, as pictures of frames have it.

use axum::body::Body;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use prelim_imaging::Limits;
use prelim_imaging::frame::{Frame, Pixels};
use prelim_imaging::photometry::{Modality, Photometry, Voi, WindowFunction};
use prelim_imaging::render::xray_grey;
use prelim_imaging::sandbox::Decoder;
use prelim_imaging::scan::scan;
use prelim_proto::ids::Uid;
use serde::Serialize;

use super::Call;
use super::fault::Fault;
use crate::session::Session;
use crate::web::held::{Instance, Source};

/// The header with what a frame is, as JSON.
const FRAME: HeaderName = HeaderName::from_static("x-prelim-frame");
/// An instance does not change; but what a browser keeps is not to outlast a shift.
const LASTS: &str = "private, max-age=3600, immutable";
/// Shades that come behind the values at most: of more than 16 bits a table or a curve is drawn as a line.
const MAX_SHADES: i64 = 1 << 20;

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Told {
    rows: u32,
    columns: u32,
    /// Bits of a sample: 8 or 16, or 32 where there are more.
    bits: u32,
    signed: bool,
    /// 1 for grey, 3 for red, green and blue.
    samples: u32,
    /// From a stored value to what it means (HU for CT): slope, then intercept.
    slope: f64,
    intercept: f64,
    /// What is shown, in what values mean; none where the object leaves it to the viewer.
    window: Option<Window>,
    /// The smallest value is white.
    inverted: bool,
    /// Stored values that are no image, the first and the last.
    padding: Option<(i32, i32)>,
    /// Smallest and largest stored value of the frame that is no padding.
    smallest: i32,
    largest: i32,
    /// How many shades come behind the values, a byte for each value from the smallest to the largest, before inversion; none
    /// where the window is a line.
    shades: usize,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Window {
    center: f64,
    width: f64,
    /// `linear`, `linear_exact` or `sigmoid` (PS3.3 section C.11.2), or `table`: then it is about as steep as the table.
    function: &'static str,
    /// The shades of the table fall as values rise.
    falls: bool,
}

/// Gives out a frame.
pub(super) async fn give(
    call: &Call<'_>,
    session: &Session,
    study: Uid,
    instance: Uid,
    frame: u32,
) -> Result<Response<Body>, Fault> {
    let record = call.record(session, &study).await?;
    call.viewed(session, &study).await?;
    let held = call.web.instances_of(&record).await?;
    let found = held.iter().find(|each| each.instance.uid == instance);
    let found = found.ok_or_else(|| Fault::nothing_here("the study holds no such instance"))?;
    let frames = found.instance.image.as_ref().map_or(0, |image| image.frames.max(1));
    if frame > frames {
        return Err(Fault::nothing_here(format!("frame {frame} of {frames}")));
    }
    let source = Source::Stored(found.instance.digest.clone());
    let found = Instance { record: found.clone(), source };
    let Ok(_place) = call.web.requests.clone().try_acquire_owned() else {
        return Err(Fault::busy("many requests are served already: come again"));
    };
    let web = call.web;
    // Its bytes as they are stored, and the frame as numbers and as bytes.
    let decoded = web.decoded_bytes(&found) / frames as usize * 3;
    let room = web.memory.wait_for(web.held_bytes(&found).saturating_add(decoded)).await?;
    let bytes = web.bytes_of(&study, &found).await?;
    let command = web.coordinator.decoder.clone();
    let decode = move || {
        let _room = room;
        let limits = Limits::default();
        let scanned = scan(&bytes, &limits).map_err(|error| Fault::invalid("instance", error.to_string()))?;
        let mut decoder = Decoder::new(command, limits, Decoder::DEADLINE);
        let decoded = decoder.decode(&scanned, frame);
        let decoded = decoded.map_err(|error| Fault::invalid("frame", format!("it cannot be decoded: {error}")))?;
        Ok::<_, Fault>(written(decoded, &Photometry::read(&scanned, frame)))
    };
    let (told, values) =
        tokio::task::spawn_blocking(decode).await.map_err(|_| Fault::busy("the coordinator is stopping"))??;
    let length = values.len();
    let mut response = Response::new(Body::from(values));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(LASTS));
    // It is made of numbers and of words of ours.
    if let Ok(value) = HeaderValue::from_str(&serde_json::to_string(&told).unwrap_or_default()) {
        headers.insert(FRAME, value);
    }
    Ok(response)
}

/// A frame in bytes, least significant first, in as few as its values need.
fn written(frame: Frame, photometry: &Photometry) -> (Told, Vec<u8>) {
    let (rows, columns) = (frame.rows, frame.columns);
    let told = |bits, signed, samples| Told {
        rows,
        columns,
        bits,
        signed,
        samples,
        slope: 1.0,
        intercept: 0.0,
        window: None,
        inverted: false,
        padding: None,
        smallest: 0,
        largest: 255,
        shades: 0,
    };
    let mut values = match frame.pixels {
        Pixels::Rgb(data) => return (told(8, false, 3), data),
        Pixels::Grey(values) => values,
    };
    let mut padding = photometry.padding;
    let (slope, intercept) = match &photometry.modality {
        Modality::Linear { slope, intercept } => (*slope, *intercept),
        Modality::Table(lut) => {
            // What the values mean is told instead of them; padding has no meaning, and stays outside of it.
            let is_padding = |value: i32| photometry.is_padding(value);
            values.iter_mut().for_each(|value| {
                *value = if is_padding(*value) { -1 } else { i32::from(lut.get(i64::from(*value))) };
            });
            padding = padding.map(|_| (-1, -1));
            (1.0, 0.0)
        }
    };
    let counts = |value: &&i32| !padding.is_some_and(|(low, high)| (low..=high).contains(*value));
    let smallest = values.iter().filter(counts).min().copied().unwrap_or(0);
    let largest = values.iter().filter(counts).max().copied().unwrap_or(0);
    let (least, most) = (values.iter().min().copied().unwrap_or(0), values.iter().max().copied().unwrap_or(0));
    let (bits, signed) = match (least, most) {
        (0.., ..=255) => (8, false),
        (0.., ..=65_535) => (16, false),
        (-32_768.., ..=32_767) => (16, true),
        _ => (32, true),
    };
    let mut bytes: Vec<u8> = match bits {
        8 => values.iter().map(|value| *value as u8).collect(),
        16 => values.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    let shades = shades(photometry.voi.as_ref(), Modality::Linear { slope, intercept }, smallest, largest);
    bytes.extend_from_slice(&shades);
    let (window, shades) = (photometry.voi.as_ref().map(window), shades.len());
    let inverted = photometry.is_inverted;
    let grey = Told { slope, intercept, window, inverted, padding, smallest, largest, shades, ..told(bits, signed, 1) };
    (grey, bytes)
}

/// The shade of each value from the smallest to the largest where they are no line; else none.
fn shades(voi: Option<&Voi>, modality: Modality, smallest: i32, largest: i32) -> Vec<u8> {
    let is_line = |voi: &&Voi| matches!(voi, Voi::Window { function, .. } if *function != WindowFunction::Sigmoid);
    let Some(voi) = voi.filter(|voi| !is_line(voi)) else { return Vec::new() };
    let columns = i64::from(largest) - i64::from(smallest) + 1;
    if columns > MAX_SHADES {
        return Vec::new();
    }
    let values = Frame { rows: 1, columns: columns as u32, pixels: Pixels::Grey((smallest..=largest).collect()) };
    xray_grey(&values, &Photometry { modality, voi: Some(voi.clone()), padding: None, is_inverted: false }).data
}

/// What is shown, as a window.
fn window(voi: &Voi) -> Window {
    match voi {
        Voi::Window { center, width, function } => {
            let function = match function {
                WindowFunction::Linear => "linear",
                WindowFunction::LinearExact => "linear_exact",
                WindowFunction::Sigmoid => "sigmoid",
            };
            Window { center: *center, width: *width, function, falls: false }
        }
        Voi::Table(lut) => {
            let (begin, end) = (lut.get(i64::from(lut.first)), lut.get(i64::MAX));
            let (low, high) = (f64::from(begin.min(end)), f64::from(begin.max(end)));
            // Between the values that are a tenth and nine tenths of the way from black to white a table is most like a line.
            let is_between = |entry: &u16| {
                let part = (f64::from(*entry) - low) / (high - low).max(1.0);
                (0.1..=0.9).contains(&part)
            };
            let first = lut.entries.iter().position(is_between).unwrap_or(0);
            let last = lut.entries.iter().rposition(is_between).unwrap_or(lut.entries.len() - 1);
            let width = ((last - first) as f64 / 0.8).max(1.0);
            let center = f64::from(lut.first) + (first + last) as f64 / 2.0;
            Window { center, width, function: "table", falls: end < begin }
        }
    }
}

#[cfg(test)]
mod tests {
    use prelim_imaging::lut::Lut;

    use super::*;

    fn grey(values: &[i32]) -> Frame {
        Frame { rows: 1, columns: values.len() as u32, pixels: Pixels::Grey(values.to_vec()) }
    }

    #[test]
    fn values_are_in_as_few_bytes_as_they_need() {
        for (values, bits, signed, bytes) in [
            (&[0, 255][..], 8, false, &[0, 255][..]),
            (&[256, 65_535], 16, false, &[0, 1, 255, 255]),
            (&[-1_024, 3], 16, true, &[0, 252, 3, 0]),
            (&[-1, 70_000], 32, true, &[255, 255, 255, 255, 112, 17, 1, 0]),
        ] {
            let (told, written) = written(grey(values), &Photometry::IDENTITY);
            assert_eq!((told.bits, told.signed, written.as_slice()), (bits, signed, bytes), "{values:?}");
            assert_eq!((told.smallest, told.largest), (values[0], values[1]));
        }
    }

    #[test]
    fn what_makes_shades_of_values_is_told() {
        let voi = Voi::Window { center: 40.0, width: 400.0, function: WindowFunction::Linear };
        let modality = Modality::Linear { slope: 2.0, intercept: -1_024.0 };
        let photometry = Photometry { modality, voi: Some(voi), padding: Some((-2_000, -2_000)), is_inverted: true };
        let (told, _) = written(grey(&[-2_000, 5, 7]), &photometry);
        assert_eq!((told.slope, told.intercept, told.inverted), (2.0, -1_024.0, true));
        assert_eq!((told.smallest, told.largest, told.padding), (5, 7, Some((-2_000, -2_000))));
        assert_eq!(told.window, Some(Window { center: 40.0, width: 400.0, function: "linear", falls: false }));
        assert_eq!(told.shades, 0, "a window over the values has them");
        let (told, bytes) = written(Frame { rows: 1, columns: 1, pixels: Pixels::Rgb(vec![1, 2, 3]) }, &photometry);
        assert_eq!((told.samples, told.bits, bytes), (3, 8, vec![1, 2, 3]));
    }

    #[test]
    fn what_is_no_line_comes_with_the_shade_of_each_value() {
        let values = [-3, -1, 2];
        let sigmoid = Voi::Window { center: 0.0, width: 4.0, function: WindowFunction::Sigmoid };
        let table = |entries: &[u16]| Voi::Table(Lut { first: -2, entries: entries.to_vec(), bits: 8 });
        for (voi, function, falls) in [
            (sigmoid, "sigmoid", false),
            (table(&[0, 10, 200, 250, 255]), "table", false),
            (table(&[255, 250, 200, 10, 0]), "table", true),
        ] {
            let modality = Modality::Linear { slope: -1.0, intercept: 0.5 };
            let photometry = Photometry { modality, voi: Some(voi), padding: Some((-3, -3)), is_inverted: true };
            let (told, bytes) = written(grey(&values), &photometry);
            let shades = &bytes[bytes.len() - told.shades..];
            assert_eq!((told.bits, told.shades, bytes.len()), (16, 4, 6 + 4), "from -1 to 2");
            let window = told.window.as_ref().unwrap();
            assert_eq!((window.function, window.falls), (function, falls));
            // As a picture of the frame has them, which is inverted.
            let picture = xray_grey(&grey(&values), &photometry).data;
            assert_eq!([255 - shades[0], 255 - shades[3]], [picture[1], picture[2]]);
        }
        let wide = Photometry { voi: Some(table(&[0, 1])), ..Photometry::IDENTITY };
        assert_eq!(written(grey(&[0, 1 << 21]), &wide).0.shades, 0);
    }
}
