//! Promises of phantoms: the same study from the same seed, truth that agrees with the pixels, sound DICOM.

use std::collections::BTreeSet;
use std::path::Path;

use prelim_imaging::{Limits, decode, frame::Pixels, header, photometry, render, scan};
use serde_json::Value;

use super::{Modality, Request, write, write_request};

fn draw(seed: u64, first: u64, count: u32, modality: Modality) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let request = Request { first, count, seed, modality: Some(modality), masks: false };
    write_request(folder.path(), &request).unwrap();
    folder
}

fn truth(study: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(study.join("truth.json")).unwrap()).unwrap()
}

fn studies(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Brightness of a film as a reader sees it, 0 to 255, with its edge.
fn shown(path: &Path) -> (Vec<u8>, usize) {
    let bytes = std::fs::read(path).unwrap();
    let limits = Limits::default();
    let scanned = scan::scan(&bytes, &limits).unwrap();
    let frame = decode::decode_frame(&scanned, 1, &limits).unwrap();
    let image = render::xray_grey(&frame, &photometry::Photometry::read(&scanned, 1));
    (image.data, image.width as usize)
}

/// Hounsfield units of a slice.
fn hounsfield(path: &Path) -> Vec<i32> {
    let bytes = std::fs::read(path).unwrap();
    let limits = Limits::default();
    let scanned = scan::scan(&bytes, &limits).unwrap();
    let photometry = photometry::Photometry::read(&scanned, 1);
    let Pixels::Grey(values) = decode::decode_frame(&scanned, 1, &limits).unwrap().pixels else { panic!("colour") };
    values.into_iter().map(|stored| photometry.modality.apply(stored) as i32).collect()
}

#[test]
fn a_study_depends_on_its_seed_and_number_only() {
    for modality in [Modality::Dx, Modality::Ct] {
        let together = draw(5, 0, 3, modality);
        let alone = draw(5, 2, 1, modality);
        let other = draw(6, 2, 1, modality);
        let (third, alone, other) =
            (&studies(together.path())[2], &studies(alone.path())[0], &studies(other.path())[0]);
        assert_eq!(third.file_name(), alone.file_name());
        for file in studies(third) {
            let name = file.file_name().unwrap();
            let bytes = std::fs::read(&file).unwrap();
            assert!(bytes == std::fs::read(alone.join(name)).unwrap(), "{}", name.display());
        }
        assert_ne!(truth(third)["study"], truth(other)["study"]);
    }
}

#[test]
fn without_a_modality_films_and_volumes_come_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let folders = write(folder.path(), 3, 1, None).unwrap();
    let modalities: Vec<Value> = folders.iter().map(|study| truth(study)["modality"].clone()).collect();
    assert_eq!(modalities, ["DX", "DX", "CT"]);
}

#[test]
fn every_finding_turns_up_and_some_studies_are_normal() {
    for (modality, count, kinds) in [(Modality::Dx, 60, 9), (Modality::Ct, 16, 5)] {
        let folder = draw(11, 0, count, modality);
        let truths: Vec<Value> = studies(folder.path()).iter().map(|study| truth(study)).collect();
        let findings = |truth: &Value| truth["findings"].as_array().unwrap().clone();
        let names: BTreeSet<String> =
            truths.iter().flat_map(findings).map(|finding| finding["finding"].to_string()).collect();
        assert_eq!(names.len(), kinds, "{names:?}");
        let normal = truths.iter().filter(|truth| findings(truth).is_empty()).count() as f64;
        assert!((0.05..0.40).contains(&(normal / f64::from(count))), "{normal} of {count}");
    }
}

#[test]
fn a_films_boxes_hold_what_they_name() {
    let folder = draw(3, 0, 40, Modality::Dx);
    let (mut brighter, mut round) = (0, 0);
    for study in studies(folder.path()) {
        let (pixels, size) = shown(&study.join("film.dcm"));
        for finding in truth(&study)["findings"].as_array().unwrap() {
            let boxes = finding["boxes"].as_array().unwrap();
            assert_eq!(boxes.len(), 1);
            let edges: Vec<f64> =
                boxes[0]["box"].as_array().unwrap().iter().map(|edge| edge.as_f64().unwrap()).collect();
            assert!(edges[0] < edges[2] && edges[1] < edges[3] && edges.iter().all(|edge| (0.0..=1.0).contains(edge)));
            if finding["finding"] != "nodule" {
                continue;
            }
            // A nodule is brighter than the lung around it.
            let mean = |grow: f64| {
                let [top, left, bottom, right] = [edges[0] - grow, edges[1] - grow, edges[2] + grow, edges[3] + grow]
                    .map(|e| (e * size as f64) as usize);
                let rows = (top..bottom).flat_map(|y| (left..right).map(move |x| (y, x)));
                let values: Vec<f64> = rows.map(|(y, x)| f64::from(pixels[y * size + x])).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            round += 1;
            brighter += usize::from(mean(0.0) > mean(0.03) + 4.0);
        }
    }
    assert!(round >= 3 && brighter == round, "{brighter} of {round}");
}

#[test]
fn a_volumes_findings_have_their_density_where_the_boxes_are() {
    let folder = draw(4, 0, 40, Modality::Ct);
    let mut checked = 0;
    for study in studies(folder.path()) {
        let truth = truth(&study);
        let instances: Vec<&Value> = truth["instances"].as_array().unwrap().iter().collect();
        assert!((24..=40).contains(&instances.len()), "{} slices", instances.len());
        for finding in truth["findings"].as_array().unwrap() {
            let key = &finding["key_instance"];
            let slice = instances.iter().position(|instance| *instance == key).unwrap();
            let hu = hounsfield(&study.join(format!("slice-{:03}.dcm", slice + 1)));
            let place = finding["boxes"].as_array().unwrap().iter().find(|place| &place["instance"] == key).unwrap();
            let edges: Vec<f64> =
                place["box"].as_array().unwrap().iter().map(|edge| edge.as_f64().unwrap() * 256.0).collect();
            let (y, x) = (((edges[0] + edges[2]) / 2.0) as usize, ((edges[1] + edges[3]) / 2.0) as usize);
            let near = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (y, x)));
            let mean = near.map(|(y, x)| hu[y * 256 + x]).sum::<i32>() / 9;
            match finding["finding"].as_str().unwrap() {
                "nodule" | "mass" => assert!((-60..120).contains(&mean), "{}: {mean} HU", finding["finding"]),
                // The middle of a crescent's box may lie outside of it: the air and the fluid are looked at as a whole.
                _ => continue,
            }
            checked += 1;
        }
    }
    assert!(checked >= 4, "{checked} findings looked at");
}

#[test]
fn a_volume_has_real_geometry() {
    let folder = draw(8, 0, 2, Modality::Ct);
    for study in studies(folder.path()) {
        let mut before: Option<f64> = None;
        for number in 1..=truth(&study)["instances"].as_array().unwrap().len() {
            let bytes = std::fs::read(study.join(format!("slice-{number:03}.dcm"))).unwrap();
            let image = header::read_header(&bytes, None, &Limits::default()).unwrap().instance.image.unwrap();
            let plane = image.planes[0];
            assert_eq!(plane.row, [1.0, 0.0, 0.0]);
            assert_eq!(plane.column, [0.0, 1.0, 0.0]);
            if let Some(before) = before {
                let step = before - plane.position_mm[2];
                assert!((step - image.slice_thickness_mm.unwrap()).abs() < 1e-6, "slices touch: {step}");
            }
            before = Some(plane.position_mm[2]);
        }
    }
}

#[test]
fn a_mask_covers_its_box_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let request = Request { first: 0, count: 12, seed: 9, modality: Some(Modality::Dx), masks: true };
    for study in write_request(folder.path(), &request).unwrap() {
        for finding in truth(&study)["findings"].as_array().unwrap() {
            let place = &finding["boxes"][0];
            let mask = place["mask"].as_str().unwrap();
            assert_eq!(mask.len(), 24 * 24);
            let edges: Vec<f64> =
                place["box"].as_array().unwrap().iter().map(|edge| edge.as_f64().unwrap() * 24.0).collect();
            for (cell, digit) in mask.chars().enumerate().filter(|(_, digit)| *digit > '7') {
                let (y, x) = ((cell / 24) as f64, (cell % 24) as f64);
                let touches = y + 1.0 > edges[0] && y < edges[2] && x + 1.0 > edges[1] && x < edges[3];
                assert!(touches, "{}: {digit} at {y}, {x} outside {edges:?}", finding["finding"]);
            }
        }
    }
}
