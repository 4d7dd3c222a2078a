//! The Key Object Selection, as DICOM's tools read it.

use prelim_coordinator::report::Format;

use crate::samples;
use crate::tools;

#[test]
fn the_selection_is_valid_and_names_source_images_and_the_capture() {
    for sample in samples::all() {
        let Some(_) = sample.written(Format::KeyObjects) else {
            assert!(sample.report.findings.iter().all(|finding| finding.evidence.is_empty()), "{}", sample.name);
            continue;
        };
        tools::dciodvfy(&sample, Format::KeyObjects, "KeyObjectSelectionDocument");
        let read = tools::object(&sample, Format::KeyObjects);
        tools::check_header(&sample, &read, "KO");
        assert_eq!(read["title"], serde_json::json!(["113000", "Of Interest"]));
        let images = read["images"].as_array().unwrap();
        let capture = tools::object(&sample, Format::Capture);
        assert_eq!(images[0]["instance"], capture["instance"], "{}", sample.name);
        let best = &sample.report.findings[0].evidence[0];
        assert_eq!(images[1]["instance"], best.instance.as_str());
        for finding in &sample.report.findings {
            for evidence in &finding.evidence {
                let named = images.iter().any(|image| {
                    let frames = image["frames"].as_array().unwrap();
                    image["instance"] == evidence.instance.as_str()
                        && (frames.is_empty() || frames.contains(&evidence.frame.into()))
                });
                assert!(named, "{}: {}", sample.name, evidence.instance);
            }
        }
        let evidence = read["evidence"].as_array().unwrap();
        assert!(images.iter().all(|image| evidence.contains(&image["instance"])), "{}", sample.name);
    }
}
