//! Pictures and texts, as people have them, become the points that `transformers` makes of them.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use prelim_kernels::Cpu;
use prelim_worker::embed::{EmbedError, Encoder};
use prelim_worker::model::WeightType;
use prelim_worker::preprocess::Picture;
use safetensors::SafeTensors;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/parity")).join(name)
}

fn open(folder: &Path) -> Result<Encoder<Cpu>, EmbedError> {
    Encoder::open(folder, Cpu::with_threads(2).unwrap(), WeightType::AsStored)
}

fn read_png(path: &Path) -> (Vec<u8>, usize, usize) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (bytes, info.height as usize, info.width as usize)
}

/// Texts of the golden.
fn texts() -> Vec<String> {
    let meta = fs::read(fixture("tiny-siglip").join("golden_meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    meta["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn pictures_and_texts_become_the_points_of_the_golden() {
    let folder = fixture("tiny-siglip");
    let bytes = fs::read(folder.join("golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |name: &str| -> Vec<f32> {
        let data = golden.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let encoder = open(&folder).unwrap();
    let tokens: Vec<_> = texts().iter().map(|text| encoder.tokenize(text).unwrap()).collect();
    let ids: Vec<i64> = tokens.iter().flat_map(|text| text.ids.iter().map(|id| i64::from(*id))).collect();
    let wanted = golden.tensor("input_ids").unwrap().data().to_vec();
    assert_eq!(ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>(), wanted);
    assert!(tokens.iter().all(|text| !text.is_cut));
    let files = ["image0.png", "image1.png"].map(|name| read_png(&folder.join(name)));
    let pictures =
        files.each_ref().map(|(bytes, height, width)| Picture { bytes, height: *height, width: *width, channels: 3 });
    let (images, texts) = (encoder.embed_pictures(&pictures), encoder.embed_texts(&tokens));
    let near = |name: &str, found: &[f32]| {
        let wanted = floats(name);
        assert_eq!(found.len(), wanted.len(), "{name}");
        let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-5, "{name} is off by {worst}");
    };
    near("image_embeds", images.values());
    near("text_embeds", texts.values());
    near("logits_per_image", &encoder.embedder().logits_per_image(&images, &texts).concat());
}

#[test]
fn a_text_that_is_too_long_keeps_its_end_token_and_says_so() {
    let encoder = open(&fixture("tiny-siglip")).unwrap();
    let long = encoder.tokenize(&"there is a small left pleural effusion ".repeat(20)).unwrap();
    assert_eq!((long.ids.len(), long.ids.last(), long.is_cut), (64, Some(&1), true));
}

#[test]
fn a_folder_of_another_kind_is_refused_with_those_that_would_do() {
    let found = open(&fixture("tiny-gemma3")).err().unwrap().to_string();
    assert!(
        found.ends_with(
            "config.json is for Gemma3ForConditionalGeneration, which prelim does not embed; it embeds SiglipModel (MedSigLIP); this one is for `prelim worker --model`"
        ),
        "{found}"
    );
}
