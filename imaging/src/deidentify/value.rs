//! Values that say nothing, and dates moved back.

use dicom_core::VR;
use jiff::ToSpan as _;
use jiff::civil::Date;

/// What stands where a text was.
pub(super) const REMOVED: &str = "REMOVED";

/// A value of the representation that says nothing. Zeros are zeros in any order of bytes.
pub(super) fn dummy(vr: VR) -> Vec<u8> {
    match vr {
        VR::AS => b"000Y".to_vec(),
        VR::DA => b"19000101".to_vec(),
        VR::DT => b"19000101000000".to_vec(),
        VR::TM => b"000000".to_vec(),
        VR::DS | VR::IS => b"0".to_vec(),
        VR::UR => b"urn:removed".to_vec(),
        VR::US | VR::SS | VR::OB | VR::OW => vec![0; 2],
        VR::UL | VR::SL | VR::FL | VR::OF | VR::OL | VR::AT => vec![0; 4],
        VR::FD | VR::OD | VR::SV | VR::UV | VR::OV => vec![0; 8],
        VR::SQ | VR::UN => Vec::new(),
        _ => REMOVED.as_bytes().to_vec(),
    }
}

/// Dates, or dates with times, moved back by so many days; a time stays. Nothing where one of the values names no day.
pub(super) fn moved(vr: VR, value: &[u8], days: u32) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(value).ok()?;
    let moved: Option<Vec<String>> = text.split('\\').map(|value| moved_one(vr, value, days)).collect();
    Some(moved?.join("\\").into_bytes())
}

fn moved_one(vr: VR, value: &str, days: u32) -> Option<String> {
    let value = value.trim_matches(['\0', ' ']);
    if value.is_empty() {
        return Some(String::new());
    }
    if !value.bytes().all(|byte| byte.is_ascii_digit() || b".:+-".contains(&byte)) {
        return None;
    }
    if vr == VR::TM {
        return Some(value.to_owned());
    }
    // The standard before 1993 wrote dates with points.
    let (date, time) = match value.as_bytes().get(4) {
        Some(b'.') => (value.get(..10)?.replace('.', ""), value.get(10..)?),
        _ => (value.get(..8)?.to_owned(), value.get(8..)?),
    };
    if date.len() != 8 || (vr == VR::DA && !time.is_empty()) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| date.get(range)?.parse::<i16>().ok();
    let (month, day) = (i8::try_from(number(4..6)?).ok()?, i8::try_from(number(6..8)?).ok()?);
    let date = Date::new(number(0..4)?, month, day).ok()?.checked_sub(i64::from(days).days()).ok()?;
    (date.year() >= 0).then(|| format!("{:04}{:02}{:02}{time}", date.year(), date.month(), date.day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_moved_whole_or_not_at_all() {
        let text = |vr, value: &str, days| moved(vr, value.as_bytes(), days).map(|v| String::from_utf8(v).unwrap());
        for (vr, value, days, expected) in [
            (VR::DA, "20240301", 1, Some("20240229")),
            (VR::DA, "2024.03.01", 1, Some("20240229")),
            (VR::DA, "20240301\\20240302 ", 2, Some("20240228\\20240229")),
            (VR::DT, "20240101120000.5+0100", 1, Some("20231231120000.5+0100")),
            (VR::TM, "120000.5", 1, Some("120000.5")),
            (VR::TM, "noon", 1, None),
            (VR::DT, "2024", 1, None),
            (VR::DA, "20240231", 1, None),
            (VR::DA, "20240301-20240302", 1, None),
            (VR::DA, "DOE^JOHN", 1, None),
            (VR::DA, "00010101", 3_650, None),
            (VR::DA, "", 1, Some("")),
        ] {
            assert_eq!(text(vr, value, days).as_deref(), expected, "{value}");
        }
        assert_eq!(moved(VR::DA, &[0xFF; 8], 1), None);
    }
}
