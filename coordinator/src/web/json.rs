//! The DICOM JSON model (PS3.18 annex F; pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use prelim_imaging::dataset::{Attributes, Element, Value};
use prelim_imaging::scan::Scanned;

/// Binary values up to this length stand in the JSON; longer ones are fetched by their address.
const MAX_INLINE_BYTES: usize = 1 << 10;
/// The same for texts and numbers.
const MAX_INLINE_TEXT_BYTES: usize = 64 << 10;
/// What is always fetched by its address: pixels.
const PIXELS: &[Tag] = &[tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA];
/// What speaks of how pixels are encapsulated, which is nothing to who fetches frames.
const OFFSETS: &[Tag] = &[tags::EXTENDED_OFFSET_TABLE, tags::EXTENDED_OFFSET_TABLE_LENGTHS];

/// The attributes of an object as JSON. Large values are at `bulk_data` and the way to them.
pub(super) fn describe(scanned: &Scanned<'_>, bulk_data: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 << 10);
    data_set(&scanned.attributes(), &mut Place { bulk_data, way: String::new() }, true, &mut out);
    out
}

/// Where large values are, and the way to the data set that is written.
struct Place<'a> {
    bulk_data: &'a str,
    way: String,
}

fn data_set(attributes: &Attributes<'_>, place: &mut Place<'_>, is_root: bool, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut before = None;
    for element in attributes.elements() {
        // Group lengths are of a file; of two with one tag in a damaged object the first counts.
        if element.tag.element() == 0 || before == Some(element.tag) || OFFSETS.contains(&element.tag) {
            continue;
        }
        // JSON has one character set, and its root says so.
        let is_charset = element.tag == tags::SPECIFIC_CHARACTER_SET;
        if is_charset && !is_root {
            continue;
        }
        if before.replace(element.tag).is_some() {
            out.push(b',');
        }
        let vr = element.vr.to_string();
        out.extend(format!("\"{}\":{{\"vr\":\"{vr}\"", hex(element.tag)).bytes());
        if is_charset {
            out.extend(b",\"Value\":[\"ISO_IR 192\"]");
        } else {
            value(attributes, element, place, out);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

/// Group and element as eight digits.
pub(super) fn hex(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

fn value(attributes: &Attributes<'_>, element: &Element, place: &mut Place<'_>, out: &mut Vec<u8>) {
    let bytes = match &element.value {
        Value::Items(items) if items.is_empty() => return,
        Value::Items(_) => return sequence(attributes, element, place, out),
        Value::Fragments(_) => return elsewhere(element, place, out),
        Value::Bytes(_) => attributes.value(element),
    };
    if bytes.is_empty() {
        return;
    }
    let is_binary = matches!(element.vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN);
    let limit = if is_binary { MAX_INLINE_BYTES } else { MAX_INLINE_TEXT_BYTES };
    if bytes.len() > limit || PIXELS.contains(&element.tag) {
        return elsewhere(element, place, out);
    }
    if is_binary {
        let little = if element.big_endian { turned(bytes, element.vr) } else { bytes.to_vec() };
        out.extend(b",\"InlineBinary\":\"");
        out.extend(STANDARD.encode(little).bytes());
        out.push(b'"');
        return;
    }
    out.extend(b",\"Value\":[");
    let start = out.len();
    for value in values(attributes, element, bytes) {
        if out.len() > start {
            out.push(b',');
        }
        // To memory, and of what is always JSON: it cannot fail.
        let _ = serde_json::to_writer(&mut *out, &value);
    }
    out.push(b']');
}

fn sequence(attributes: &Attributes<'_>, element: &Element, place: &mut Place<'_>, out: &mut Vec<u8>) {
    out.extend(b",\"Value\":[");
    let length = place.way.len();
    for (at, item) in attributes.items_of(element).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        place.way.push_str(&format!("{}/{at}/", hex(element.tag)));
        data_set(&item, place, false, out);
        place.way.truncate(length);
    }
    out.push(b']');
}

/// Says where a value is.
fn elsewhere(element: &Element, place: &Place<'_>, out: &mut Vec<u8>) {
    // Addresses are made of characters that need no quoting.
    let address = format!("{}/{}{}", place.bulk_data, place.way, hex(element.tag));
    out.extend(format!(",\"BulkDataURI\":\"{address}\"").bytes());
}

/// Bytes of numbers, least significant first.
pub(super) fn turned(bytes: &[u8], vr: VR) -> Vec<u8> {
    let width = match vr {
        VR::OW => 2,
        VR::OF | VR::OL => 4,
        VR::OD | VR::OV => 8,
        _ => 1,
    };
    let mut turned = bytes.to_vec();
    turned.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    turned
}

/// The values of an element that is neither binary nor a sequence, as PS3.18 table F.2.3-1 has them.
fn values(attributes: &Attributes<'_>, element: &Element, bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = || attributes.text_of(element);
    match element.vr {
        VR::PN => text().split('\\').map(name).collect(),
        VR::LT | VR::ST | VR::UT | VR::UR => vec![text().into()],
        VR::IS | VR::DS => text().split('\\').map(number).collect(),
        VR::AT => {
            let words = attributes.words(element.tag);
            words.chunks_exact(2).map(|pair| format!("{:04X}{:04X}", pair[0], pair[1]).into()).collect()
        }
        VR::FL | VR::FD => floats(bytes, element),
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => {
            prelim_imaging::dataset::binary_integers(bytes, element.vr, element.big_endian)
                .into_iter()
                .map(Into::into)
                .collect()
        }
        _ => text().split('\\').map(|value| one(value.trim_matches(' '))).collect(),
    }
}

/// A text, or nothing where it is empty.
fn one(text: &str) -> serde_json::Value {
    if text.is_empty() { serde_json::Value::Null } else { text.into() }
}

/// A number where the text is one; the text where it is not.
fn number(text: &str) -> serde_json::Value {
    let text = text.trim_matches(['\0', ' ']);
    let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let whole = text.strip_prefix('+').unwrap_or(text).parse::<i64>().ok().map(Into::into);
    let decimal = || text.parse::<f64>().ok().filter(|_| is_plain).and_then(serde_json::Number::from_f64);
    whole.or_else(|| decimal().map(Into::into)).unwrap_or_else(|| one(text))
}

/// Floating-point numbers; what is none in JSON is a word (PS3.18 section F.2.3).
fn floats(bytes: &[u8], element: &Element) -> Vec<serde_json::Value> {
    let read: Vec<f64> = if element.vr == VR::FL {
        let read = if element.big_endian { f32::from_be_bytes } else { f32::from_le_bytes };
        // By way of its shortest decimal: 0.1 is meant, and not 0.10000000149.
        let wide = |value: f32| value.to_string().parse().unwrap_or(f64::from(value));
        bytes.as_chunks().0.iter().map(|chunk| wide(read(*chunk))).collect()
    } else {
        let read = if element.big_endian { f64::from_be_bytes } else { f64::from_le_bytes };
        bytes.as_chunks().0.iter().map(|chunk| read(*chunk)).collect()
    };
    let one = |value: f64| match serde_json::Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "NaN".into(),
        None => (if value > 0.0 { "inf" } else { "-inf" }).into(),
    };
    read.into_iter().map(one).collect()
}

/// A person's name in its groups (PS3.18 section F.2.2).
pub(super) fn name(text: &str) -> serde_json::Value {
    let groups = text.split('=').zip(["Alphabetic", "Ideographic", "Phonetic"]);
    let named: serde_json::Map<_, _> = groups
        .map(|(group, kind)| (kind.to_owned(), group.trim_matches(' ')))
        .filter(|(_, group)| !group.is_empty())
        .map(|(kind, group)| (kind, group.into()))
        .collect();
    if named.is_empty() { serde_json::Value::Null } else { named.into() }
}

#[cfg(test)]
mod tests {
    use prelim_imaging::Limits;
    use prelim_imaging::scan::scan;
    use serde_json::json;

    use super::*;

    fn put(to: &mut Vec<u8>, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) {
        to.extend(tag.0.to_le_bytes());
        to.extend(tag.1.to_le_bytes());
        to.extend(vr);
        if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
            to.extend([0, 0]);
            to.extend((value.len() as u32).to_le_bytes());
        } else {
            to.extend((value.len() as u16).to_le_bytes());
        }
        to.extend(value);
    }

    #[test]
    fn each_representation_is_written_as_the_standard_has_it() {
        let (mut item, mut bytes) = (Vec::new(), Vec::new());
        put(&mut item, (0x54, 0x10), b"OB", &[9; 2_000]);
        let item = [&[0xFE, 0xFF, 0, 0xE0], &(item.len() as u32).to_le_bytes()[..], &item].concat();
        put(&mut bytes, (0x8, 0x5), b"CS", b"ISO_IR 100");
        put(&mut bytes, (0x8, 0x18), b"UI", b"1.2.3\0");
        put(&mut bytes, (0x8, 0x60), b"CS", b"");
        put(&mut bytes, (0x8, 0x1140), b"SQ", &item);
        put(&mut bytes, (0x10, 0x10), b"PN", b"J\xe9r\xf4me^A=I ");
        put(&mut bytes, (0x18, 0x50), b"DS", b"1.50\\x ");
        put(&mut bytes, (0x20, 0x13), b"IS", b"+7");
        put(&mut bytes, (0x28, 0x9), b"AT", &[0x18, 0, 0x63, 0x10]);
        put(&mut bytes, (0x28, 0x10), b"US", &[0, 2]);
        put(&mut bytes, (0x28, 0x9999), b"FL", &0.1f32.to_le_bytes());
        put(&mut bytes, (0x28, 0x999a), b"FD", &f64::NAN.to_le_bytes());
        put(&mut bytes, (0x29, 0x1010), b"UN", &[1, 2]);
        put(&mut bytes, (0x7fe0, 0x10), b"OW", &[1, 2]);
        let scanned = scan(&bytes, &Limits::default()).unwrap();
        let found: serde_json::Value = serde_json::from_slice(&describe(&scanned, "http://x/bulkdata")).unwrap();
        let expected = json!({
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00080018": {"vr": "UI", "Value": ["1.2.3"]},
            "00080060": {"vr": "CS"},
            "00081140": {"vr": "SQ", "Value": [
                {"00540010": {"vr": "OB", "BulkDataURI": "http://x/bulkdata/00081140/0/00540010"}}
            ]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Jérôme^A", "Ideographic": "I"}]},
            "00180050": {"vr": "DS", "Value": [1.5, "x"]},
            "00200013": {"vr": "IS", "Value": [7]},
            "00280009": {"vr": "AT", "Value": ["00181063"]},
            "00280010": {"vr": "US", "Value": [512]},
            "00289999": {"vr": "FL", "Value": [0.1]},
            "0028999A": {"vr": "FD", "Value": ["NaN"]},
            "00291010": {"vr": "UN", "InlineBinary": "AQI="},
            "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/bulkdata/7FE00010"},
        });
        assert_eq!(found, expected);
    }
}
