//! The reference's own pixel values, and the settings that are refused.

use std::path::PathBuf;

use safetensors::SafeTensors;
use serde_json::json;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/parity/tiny-gemma3").join(name)
}

fn read_png(name: &str) -> (Vec<u8>, usize, usize) {
    let file = std::io::BufReader::new(std::fs::File::open(golden(name)).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    (bytes, info.height as usize, info.width as usize)
}

#[test]
fn pixel_values_equal_the_reference_bit_for_bit() {
    let preprocess = Preprocess::read(&golden("")).unwrap();
    let file = std::fs::read(golden("golden_two_images_f32.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let expected: Vec<f32> = tensors
        .tensor("pixel_values")
        .unwrap()
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    let mut found = Vec::new();
    for name in ["image0.png", "image1.png"] {
        let (bytes, height, width) = read_png(name);
        found.extend(preprocess.pixel_values(&Picture { bytes: &bytes, height, width, channels: 3 }));
    }
    assert_eq!(found.len(), expected.len());
    let differing = found.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    assert_eq!(differing, 0, "of {}", expected.len());
}

#[test]
fn a_grey_picture_becomes_three_equal_channels() {
    let preprocess = Preprocess::from_json(&json!({"size": 8, "resample": 2})).unwrap();
    let bytes: Vec<u8> = (0..16 * 12).map(|v| v as u8).collect();
    let values = preprocess.pixel_values(&Picture { bytes: &bytes, height: 16, width: 12, channels: 1 });
    assert_eq!(values.len(), 3 * 64);
    assert_eq!(values[..64], values[64..128]);
    assert_eq!(values[..64], values[128..]);
    assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)));
}

#[test]
fn a_picture_of_the_right_size_keeps_its_bytes() {
    for filter in ["bilinear", "bicubic"] {
        let preprocess =
            Preprocess::from_json(&json!({"size": {"height": 5, "width": 7}, "resample": filter})).unwrap();
        let bytes: Vec<u8> = (0..35).map(|v| v * 7).collect();
        let picture = Picture { bytes: &bytes, height: 5, width: 7, channels: 1 };
        assert_eq!(preprocess.resized(&picture)[..35], bytes[..]);
    }
}

#[test]
fn an_even_picture_stays_even_at_any_size() {
    for (resample, size) in [(2, 3), (2, 50), (3, 3), (3, 50)] {
        let preprocess = Preprocess::from_json(&json!({"size": size, "resample": resample})).unwrap();
        let picture = Picture { bytes: &[77; 20 * 31], height: 20, width: 31, channels: 1 };
        assert!(preprocess.resized(&picture).iter().all(|&v| v == 77), "resample {resample} to {size}");
    }
}

#[test]
fn flags_switch_their_steps_off() {
    let plain = Preprocess::from_json(&json!({
        "size": 2, "do_rescale": false, "do_normalize": false
    }))
    .unwrap();
    let picture = Picture { bytes: &[0, 10, 20, 255], height: 2, width: 2, channels: 1 };
    assert_eq!(plain.pixel_values(&picture)[..4], [0.0, 10.0, 20.0, 255.0]);
    let rescaled = Preprocess { rescale: Some(1.0 / 255.0), ..plain };
    assert_eq!(rescaled.pixel_values(&picture)[3], 1.0);
}

#[test]
fn settings_default_to_what_the_named_processor_does() {
    let filter = |json| Preprocess::from_json(&json).unwrap().filter;
    assert_eq!(filter(json!({"size": 8, "image_processor_type": "SiglipImageProcessor"})), Filter::Bicubic);
    assert_eq!(filter(json!({"size": 8, "image_processor_type": "Gemma3ImageProcessor"})), Filter::Bilinear);
    assert_eq!(
        filter(json!({"size": 8, "image_processor_type": "Gemma3ImageProcessorFast", "resample": 3})),
        Filter::Bicubic
    );
}

#[test]
fn settings_that_are_not_carried_out_are_refused_by_name() {
    for (json, name) in [
        (json!({}), "size"),
        (json!({"size": {"shortest_edge": 224}}), "size"),
        (json!({"size": 0}), "size"),
        (json!({"size": 8, "resample": 1}), "resample"),
        (json!({"size": 8, "do_pan_and_scan": true}), "do_pan_and_scan"),
        (json!({"size": 8, "do_center_crop": true}), "crop_size"),
        (json!({"size": {"shortest_edge": 7}, "crop_size": 8, "do_center_crop": true}), "size"),
        (json!({"size": 8, "do_resize": false}), "do_resize"),
        (json!({"size": 8, "image_mean": [0.5, 0.5]}), "image_mean"),
        (json!({"size": 8, "image_std": 0.0}), "image_std"),
    ] {
        let error = Preprocess::from_json(&json).unwrap_err().to_string();
        assert!(error.contains(&format!("setting {name} is")), "{json}: {error}");
    }
}

#[test]
fn a_size_that_the_tower_does_not_take_is_refused() {
    assert!(Preprocess::read_for(&golden(""), 112).is_ok());
    assert_eq!(
        Preprocess::read_for(&golden(""), 56).unwrap_err().to_string(),
        "the image processor makes pictures of 112 x 112, the vision tower takes 56 x 56; its settings should be those \
         that were published with the weights"
    );
}

#[test]
fn a_folder_without_settings_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Preprocess::read(folder.path()).unwrap_err();
    assert!(matches!(error, PreprocessError::Missing(_)), "{error}");
}
