//! Rendered samples against pictures worked out from the standard (`pictures.tsv`, written by `pictures.py`).

mod support;

use prelim_imaging::Limits;
use prelim_imaging::decode::decode_frame;
use prelim_imaging::header::digest;
use prelim_imaging::photometry::Photometry;
use prelim_imaging::render::{ct_windows, xray_grey};
use prelim_imaging::scan::scan;

/// The windows of the chest CT profile, in HU.
const WINDOWS: [(f64, f64); 3] = [(-1024.0, 1024.0), (-135.0, 215.0), (-1000.0, -300.0)];

#[test]
fn pictures_are_those_that_the_standard_says() {
    let golden = support::golden("pictures.tsv");
    // Lossy JPEG may differ by one before it is rendered, and so does here; `corpus.rs` holds it.
    let is_exact =
        |syntax: &str| !["50", "51", "53", "55"].iter().any(|end| syntax == format!("1.2.840.10008.1.2.4.{end}"));
    let mut compared = 0;
    let mut wrong = Vec::new();
    for sample in support::samples() {
        let bytes = sample.read();
        let Some(expected) = golden.iter().find(|cells| cells[0] == sample.name) else { continue };
        let Ok(scanned) = scan(&bytes, &Limits::default()) else { continue };
        if !is_exact(scanned.syntax().uid()) {
            continue;
        }
        let frame = decode_frame(&scanned, 1, &Limits::default()).unwrap();
        let photometry = Photometry::read(&scanned, 1);
        let found =
            [digest(&xray_grey(&frame, &photometry).data), digest(&ct_windows(&frame, &photometry, &WINDOWS).data)];
        for (kind, (found, expected)) in ["X-ray", "CT"].iter().zip(found.iter().zip(&expected[1..])) {
            compared += 1;
            if found.as_str() != expected {
                wrong.push(format!("{} as {kind}, by {photometry:?}", sample.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n").chars().take(4000).collect::<String>()
    );
    assert!(compared >= 50, "only {compared} pictures compared");
}
