//! The Secondary Capture, as DICOM's tools read it.

use prelim_coordinator::report::{self, Format};

use crate::samples;
use crate::tools;

#[test]
fn the_capture_is_valid_and_has_a_frame_for_each_key_image() {
    for sample in samples::all() {
        let wanted = report::wanted_key_images(&sample.report).len();
        if wanted == 0 {
            assert!(sample.written(Format::Capture).is_none(), "{}", sample.name);
            continue;
        }
        tools::dciodvfy(&sample, Format::Capture, "MultiframeTrueColorSCImage");
        let read = tools::object(&sample, Format::Capture);
        tools::check_header(&sample, &read, "OT");
        assert_eq!(read["pixels"]["shape"][0], wanted, "{}", sample.name);
        assert_eq!(read["sources"].as_array().unwrap().len(), wanted);
        assert_eq!(read["burned_in"], "YES");
    }
}

#[test]
fn the_warning_and_the_boxes_are_in_the_pixels() {
    let read = tools::object(&samples::chest_xray(), Format::Capture);
    for corner in read["pixels"]["top"].as_array().unwrap() {
        assert_eq!(*corner, serde_json::json!([0x8f, 0x17, 0x22]), "the band of the warning");
    }
    let colours = read["pixels"]["colours"][0].as_array().unwrap();
    // The first and the third finding have boxes on the first image.
    for mark in [[0x56, 0xb4, 0xe9], [0xf0, 0xe4, 0x42]] {
        assert!(colours.contains(&serde_json::json!(mark)), "{mark:?}");
    }
}
