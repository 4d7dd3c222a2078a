//! `prelim logits` gives what `transformers` gives, from text and pictures to tokens.
//!
//! Verifies issue 2, promise 5, from the outside: tokens equal, pixel values equal or within one level, logits as near as
//! the pixels are.
#![allow(clippy::print_stdout, reason = "deviations are shown beside what is asserted")]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use prelim_kernels::Cpu;
use prelim_worker::logits::{Dump, LogitsError, Values, dump};
use prelim_worker::model::WeightType;
use prelim_worker::preprocess::Picture;
use safetensors::SafeTensors;

/// One grey level after rescaling and normalising.
const ONE_LEVEL: f32 = 2.0 / 255.0 + 1e-6;

fn fixture() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity/tiny-gemma3"))
}

struct Png {
    bytes: Vec<u8>,
    height: usize,
    width: usize,
}

impl Png {
    fn read(path: &Path) -> Self {
        let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        Self { bytes, height: info.height as usize, width: info.width as usize }
    }

    fn picture(&self) -> Picture<'_> {
        Picture { bytes: &self.bytes, height: self.height, width: self.width, channels: 3 }
    }
}

fn prompt(case: &str) -> String {
    let meta = std::fs::read(fixture().join("golden_meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    meta["cases"][case]["prompt_text"].as_str().unwrap().to_owned()
}

fn run(prompt: &str, pictures: &[Picture<'_>]) -> Result<Dump, LogitsError> {
    dump(&fixture(), Cpu::with_threads(2).unwrap(), WeightType::F32, None, prompt, pictures)
}

fn floats(dump: &Dump, name: &str) -> Vec<f32> {
    match &dump.tensors[name].values {
        Values::F32(values) => values.clone(),
        Values::I64(_) => panic!("{name} is whole numbers"),
    }
}

fn check(case: &str, images: &[&str]) {
    let pictures: Vec<Png> = images.iter().map(|name| Png::read(&fixture().join(name))).collect();
    let pictures: Vec<Picture<'_>> = pictures.iter().map(Png::picture).collect();
    let found = run(&prompt(case), &pictures).unwrap();
    let bytes = std::fs::read(fixture().join(format!("golden_{case}.safetensors"))).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    for name in ["input_ids", "greedy_tokens"] {
        let wanted = golden.tensor(name).unwrap();
        let wanted_ids = wanted.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(found.tensors[name].values, Values::I64(wanted_ids), "{name} of {case}");
        assert_eq!(found.tensors[name].shape, wanted.shape(), "shape of {name} of {case}");
    }
    let worst = |name: &str| -> f32 {
        let wanted = golden.tensor(name).unwrap();
        assert_eq!(found.tensors[name].shape, wanted.shape(), "shape of {name} of {case}");
        let wanted = wanted.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        floats(&found, name).iter().zip(wanted).fold(0.0, |worst: f32, (a, b)| {
            let error = (a - b).abs();
            if error <= worst { worst } else { error }
        })
    };
    let logits = worst("logits");
    if images.is_empty() {
        assert!(logits <= 1e-4, "logits of {case} are off by {logits}");
        return;
    }
    let pixels = worst("pixel_values");
    println!("{case}: pixel values within {pixels:.5}, logits within {logits:.6}");
    assert!(pixels <= ONE_LEVEL, "pixel values of {case} are off by {pixels}");
    // Equal pixels give equal logits; one level here and there moves them a little.
    let tolerance = if pixels <= 1e-6 { 1e-4 } else { 0.1 };
    assert!(logits <= tolerance, "logits of {case} are off by {logits}");
    for name in ["vision_last_hidden_state", "projected_image_tokens"] {
        assert!(worst(name) <= tolerance, "{name} of {case} is off by {}", worst(name));
    }
}

#[test]
fn text_alone_gives_the_golden_logits() {
    check("text_only_f32", &[]);
}

#[test]
fn a_picture_gives_the_golden_tokens() {
    check("one_image_f32", &["image0.png"]);
}

#[test]
fn two_pictures_give_the_golden_tokens() {
    check("two_images_f32", &["image0.png", "image1.png"]);
}

#[test]
fn soft_tokens_written_out_are_the_same_prompt() {
    let picture = Png::read(&fixture().join("image0.png"));
    let short = prompt("one_image_f32");
    let soft = "<image_soft_token>".repeat(16);
    let long = short.replace("<start_of_image>", &format!("\n\n<start_of_image>{soft}<end_of_image>\n\n"));
    assert_eq!(run(&long, &[picture.picture()]).unwrap(), run(&short, &[picture.picture()]).unwrap());
}

#[test]
fn the_tensors_read_back() {
    let found = run(&prompt("text_only_f32"), &[]).unwrap();
    let bytes = found.to_safetensors().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names().len(), found.tensors.len());
    assert_eq!(file.tensor("logits").unwrap().shape(), [1, 57, 512]);
}

#[test]
fn a_processor_that_does_not_fit_the_tower_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture().join("config.json"), folder.path().join("config.json")).unwrap();
    std::fs::write(folder.path().join("processor_config.json"), r#"{ "image_processor": { "size": 56 } }"#).unwrap();
    let picture = Png::read(&fixture().join("image0.png"));
    let backend = Cpu::with_threads(1).unwrap();
    let found = dump(folder.path(), backend, WeightType::F32, None, &prompt("one_image_f32"), &[picture.picture()]);
    let found = found.unwrap_err().to_string();
    assert!(found.contains("makes pictures of 56 x 56, the vision tower takes 112 x 112"), "{found}");
}

#[test]
fn a_prompt_that_does_not_fit_its_pictures_is_refused() {
    let picture = Png::read(&fixture().join("image0.png"));
    let text = |result: Result<Dump, LogitsError>| result.unwrap_err().to_string();
    assert_eq!(
        text(run("<bos>x<image_soft_token>", &[picture.picture()])),
        "the prompt has 1 soft tokens written out, and 1 images have 16"
    );
    assert_eq!(text(run("<bos>x", &[picture.picture()])), "prompt text has 0 places for pictures, there are 1");
    assert_eq!(
        text(run("", &[])),
        "the prompt is empty; give text that has gone through the chat template, <bos> included"
    );
}

/// LLaVA: one `<image>` stands for a picture, whose middle is cut out by a bicubic processor.
#[test]
fn a_picture_gives_the_golden_tokens_of_llava() {
    let folder = fixture().with_file_name("tiny-llava-dinov2");
    let picture = Png::read(&folder.join("image0.png"));
    let run = |prompt: &str| {
        dump(&folder, Cpu::with_threads(2).unwrap(), WeightType::F32, None, prompt, &[picture.picture()]).unwrap()
    };
    let found = run("<s><image>findings : the heart size is");
    let bytes = std::fs::read(folder.join("golden_one_image_f32.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let ids = |name: &str| -> Vec<i64> {
        let data = golden.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    assert_eq!(found.tensors["input_ids"].values, Values::I64(ids("input_ids")));
    let Values::I64(greedy) = &found.tensors["greedy_tokens"].values else { panic!("tokens are whole numbers") };
    assert_eq!(greedy[..16], ids("greedy_tokens"));
    for (name, tolerance) in [("pixel_values", 1e-6), ("image_features", 1e-4), ("logits", 1e-4)] {
        let wanted = golden.tensor(name).unwrap().data().to_vec();
        let wanted: Vec<f32> = wanted.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let found = floats(&found, name);
        assert_eq!(found.len(), wanted.len(), "{name}");
        let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("LLaVA: {name} within {worst:.7}");
        assert!(worst <= tolerance, "{name} is off by {worst}");
    }
    assert_eq!(run(&format!("<s>{}findings : the heart size is", "<image>".repeat(64))), found);
}
