//! The header of every sample against what pydicom reads (`headers.tsv`, written by `headers.py`), and the geometry of
//! the real series.

mod support;

use prelim_imaging::header::{Header, read_header};
use prelim_imaging::{Limits, geometry};

#[test]
fn headers_say_what_other_tools_read() {
    let golden = support::golden("headers.tsv");
    let mut read = 0;
    let mut wrong = Vec::new();
    for sample in support::samples() {
        let Some(expected) = golden.iter().find(|cells| cells[0] == sample.name) else { continue };
        match read_header(&sample.read(), None, &Limits::default()) {
            Ok(header) => {
                let found = cells(&sample.name, &header);
                if found != *expected {
                    wrong.push(format!("found    {found:?}\nexpected {expected:?}"));
                }
                read += 1;
            }
            // Damaged ones are refused, by an error that `malformed.tsv` holds.
            Err(_) if sample.name.starts_with("malformed/") => {}
            Err(error) => wrong.push(format!("{}: {error}", sample.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read >= 50, "only {read} headers compared");
}

/// The header as a line of the golden file.
fn cells(name: &str, header: &Header) -> Vec<String> {
    let image = header.instance.image.as_ref();
    let planes = image.map(|image| image.planes.as_slice()).unwrap_or_default();
    let numbers = |numbers: &[f64], digits: usize| {
        numbers.iter().map(|number| format!("{number:.digits$}")).collect::<Vec<_>>().join(" ")
    };
    vec![
        name.to_owned(),
        header.study.to_string(),
        header.series.uid.to_string(),
        header.instance.uid.to_string(),
        header.series.modality.clone(),
        // Empty representations at the end may be left out.
        header.study_attributes.patient_name.trim_end_matches('=').to_owned(),
        header.study_attributes.study_date.clone(),
        image.map(|image| format!("{}x{}", image.rows, image.columns)).unwrap_or_default(),
        image.and_then(|image| image.pixel_spacing_mm).map(|(r, c)| numbers(&[r, c], 6)).unwrap_or_default(),
        planes.len().to_string(),
        planes.last().map(|plane| numbers(&plane.position_mm, 4)).unwrap_or_default(),
    ]
}

#[test]
fn a_tilted_head_with_uneven_steps_is_ordered_and_named_so() {
    let slices: Vec<_> = support::samples().into_iter().filter(|s| s.name.contains("ge_head")).collect();
    let planes: Vec<_> = slices
        .iter()
        // Given from the head down, against their numbers.
        .rev()
        .map(|slice| read_header(&slice.read(), None, &Limits::default()).unwrap().instance.image.unwrap().planes[0])
        .map(Some)
        .collect();
    let stack = geometry::stack(&planes);
    assert_eq!(stack.order, (0..slices.len()).rev().collect::<Vec<_>>());
    assert!((stack.lean_deg - 18.5).abs() < 0.1, "{}", stack.lean_deg);
    assert!(stack.is_tilted() && stack.is_uneven());
    assert!(stack.gaps.is_empty() || slices.len() < 10, "{:?}", stack.gaps);
    assert_eq!((stack.duplicates.len(), stack.oblique.len(), stack.unplaced.len()), (0, 0, 0));
}
