//! The presentation state, as DICOM's tools read it.

use prelim_coordinator::report::Format;
use prelim_proto::ids::Uid;
use serde_json::json;

use crate::samples;
use crate::tools;

#[test]
fn the_state_is_valid_and_has_every_box_in_pixels() {
    for sample in samples::all() {
        let boxes = sample.report.findings.iter().flat_map(|f| &f.evidence).filter(|e| e.bounds.is_some()).count();
        if boxes == 0 {
            assert!(sample.written(Format::Presentation).is_none(), "{}", sample.name);
            continue;
        }
        tools::dciodvfy(&sample, Format::Presentation, "GrayscaleSoftcopyPresentationState");
        let read = tools::object(&sample, Format::Presentation);
        tools::check_header(&sample, &read, "PR");
        let annotations = read["annotations"].as_array().unwrap();
        let drawn: usize = annotations.iter().map(|a| a["graphics"].as_array().unwrap().len()).sum();
        assert_eq!(drawn, boxes, "{}", sample.name);
        for annotation in annotations {
            let graphics = annotation["graphics"].as_array().unwrap();
            assert!(graphics.iter().all(|g| g["type"] == "POLYLINE" && g["units"] == "PIXEL"));
            let texts = annotation["texts"].as_array().unwrap();
            assert_eq!(texts.len(), graphics.len() + 1);
            assert!(texts[0].as_str().unwrap().contains("UNSIGNED DRAFT"));
        }
        assert_eq!(read["areas"].as_array().unwrap().len(), annotations.len());
    }
}

#[test]
fn boxes_lie_where_the_structured_report_has_them() {
    let read = tools::object(&samples::chest_xray(), Format::Presentation);
    // The left effusion on the PA view of 2048 columns and 2500 rows.
    let points = json!([1187.84, 1650.0, 1761.28, 1650.0, 1761.28, 2100.0, 1187.84, 2100.0, 1187.84, 1650.0]);
    let got = &read["annotations"][0]["graphics"][0]["points"];
    for (got, wanted) in got.as_array().unwrap().iter().zip(points.as_array().unwrap()) {
        assert!((got.as_f64().unwrap() - wanted.as_f64().unwrap()).abs() < 0.01, "{got} {wanted}");
    }
    assert_eq!(read["annotations"][0]["texts"][1], "1. Left pleural effusion 97 %");
    assert_eq!(read["areas"][0], json!([1, 1, 2048, 2500]));
}

#[test]
fn the_windows_are_those_of_the_images() {
    let ct = tools::object(&samples::chest_ct(), Format::Presentation);
    assert_eq!(ct["rescale"], json!([1.0, -1024.0, "HU"]));
    assert!(ct["windows"].as_array().unwrap().iter().all(|window| *window == json!([40.0, 400.0, "LINEAR"])));
    let enhanced = tools::object(&samples::enhanced_ct(), Format::Presentation);
    assert_eq!(enhanced["referenced"][0]["frames"], json!([17, 18]));
}

#[test]
fn white_images_keep_their_polarity_and_others_are_left_out() {
    let mut sample = samples::chest_xray();
    for instance in &mut sample.study.series[0].instances[..1] {
        instance.image.as_mut().unwrap().photometric = "MONOCHROME1".to_owned();
    }
    let read = tools::object(&sample, Format::Presentation);
    assert_eq!(read["shape"], "INVERSE");
    let first: &Uid = &sample.study.series[0].instances[0].uid;
    let referenced = read["referenced"].as_array().unwrap();
    assert!(referenced.len() == 1 && referenced[0]["instance"] == first.as_str(), "{referenced:?}");
}
