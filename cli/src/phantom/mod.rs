//! Phantoms: chest radiographs and chest CTs that belong to no one, with what is in them known.
//!
//! # Layout
//! - [`dice`], [`noise`], [`vessels`]: chance, textures and vessel trees that both kinds of picture are made with
//! - [`findings`]: which findings a study has
//! - [`radiograph`], [`ct`]: the pictures, drawn
//! - [`dicom`], [`uid`]: the pictures as DICOM objects
//! - [`truth`]: what is in them, as `truth.json`
//! - [`training`]: what a training run reads of them
//!
//! **Invariant**: a study depends on its seed, its number and its modality, and on nothing else.

mod ct;
mod dice;
mod dicom;
mod findings;
mod noise;
mod radiograph;
#[cfg(test)]
mod tests;
pub(crate) mod training;
mod truth;
mod uid;
mod vessels;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use self::dice::Dice;
use self::dicom::StudyHeader;
use self::findings::Drawn;
use self::truth::{Place, TrueBox, TrueFinding, Truth};

/// Why a phantom was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PhantomError {
    /// A folder or file could not be made.
    #[error("{path} cannot be written: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image could not be written.
    #[error("{path} cannot be written: {detail}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// What a phantom is an image of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modality {
    /// A chest radiograph.
    Dx,
    /// A chest CT.
    Ct,
}

/// Which studies are to be written.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Number of the first study.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u32,
    /// The seed they depend on.
    pub(crate) seed: u64,
    /// Only this modality, or both in turn.
    pub(crate) modality: Option<Modality>,
    /// Whether `truth.json` has the findings' masks, which training needs.
    pub(crate) masks: bool,
}

impl Request {
    /// Modality of a study: two radiographs to one CT where both are wanted.
    fn modality_of(&self, index: u64) -> Modality {
        self.modality.unwrap_or(if index % 3 == 2 { Modality::Ct } else { Modality::Dx })
    }
}

/// Writes `count` studies below `out`, each in a folder of its own with its `truth.json`; returns the folders.
///
/// # Errors
/// Where a folder or file cannot be written; what was written before stays.
pub(crate) fn write(
    out: &Path,
    count: u32,
    seed: u64,
    modality: Option<Modality>,
) -> Result<Vec<PathBuf>, PhantomError> {
    write_request(out, &Request { first: 0, count, seed, modality, masks: false })
}

/// Writes the studies of a request below `out`, in parallel; returns the folders in order.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_request(out: &Path, request: &Request) -> Result<Vec<PathBuf>, PhantomError> {
    (request.first..request.first + u64::from(request.count))
        .into_par_iter()
        .map(|index| write_study(out, request, index))
        .collect()
}

/// Makes a study's folder, without the images of a phantom that was drawn there before.
fn empty(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    if folder.join("truth.json").is_file() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "dcm") {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

fn write_study(out: &Path, request: &Request, index: u64) -> Result<PathBuf, PhantomError> {
    let modality = request.modality_of(index);
    let mut dice = Dice::of_study(request.seed, index, modality);
    let header = StudyHeader::draw(&mut dice, request.seed, index, modality);
    let word = match modality {
        Modality::Dx => "dx",
        Modality::Ct => "ct",
    };
    let folder = out.join(format!("{word}-{:05}", index + 1));
    empty(&folder).map_err(|source| PhantomError::Folder { path: folder.clone(), source })?;
    let codes = findings::draw(&mut dice, modality);
    let (instances, findings) = match modality {
        Modality::Dx => {
            let film = radiograph::draw(&mut dice, &codes);
            let instance = dicom::write_film(&mut dice, &header, &film, &folder.join("film.dcm"))?;
            let findings = film_findings(&film, &instance, request.masks);
            (vec![instance], findings)
        }
        Modality::Ct => {
            let volume = ct::draw(&mut dice, &codes);
            let instances = dicom::write_volume(&mut dice, &header, &volume, &folder)?;
            let findings = volume_findings(&volume, &instances, request.masks);
            (instances, findings)
        }
    };
    let truth = Truth {
        modality: if modality == Modality::Dx { "DX" } else { "CT" },
        body_part: "CHEST",
        seed: request.seed,
        index,
        study: header.study,
        instances,
        findings,
    };
    write_truth(&truth, &folder.join("truth.json"))?;
    Ok(folder)
}

fn write_truth(truth: &Truth, path: &Path) -> Result<(), PhantomError> {
    let wrong = |source| PhantomError::Folder { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(truth).map_err(|error| wrong(error.into()))?;
    text.push(b'\n');
    fs::write(path, text).map_err(wrong)
}

fn film_findings(film: &radiograph::Film, instance: &str, with_mask: bool) -> Vec<TrueFinding> {
    let place = Place { instance, pixel_mm: film.spacing_mm, severity: None, with_mask };
    film.findings.iter().filter_map(|(drawn, trace)| list(drawn, trace.finish(&place).into_iter().collect())).collect()
}

fn volume_findings(volume: &ct::Volume, instances: &[String], with_mask: bool) -> Vec<TrueFinding> {
    let places = |finding: usize| -> Vec<TrueBox> {
        let on = volume.slices.iter().zip(instances).filter_map(|(slice, instance)| {
            let (trace, severity) = &slice.findings[finding];
            trace.finish(&Place { instance, pixel_mm: volume.spacing_mm, severity: *severity, with_mask })
        });
        on.collect()
    };
    volume.findings.iter().enumerate().filter_map(|(at, drawn)| list(drawn, places(at))).collect()
}

/// A finding with its places; nothing where it shows nowhere.
fn list(drawn: &Drawn, boxes: Vec<TrueBox>) -> Option<TrueFinding> {
    let largest = boxes.iter().max_by(|a, b| a.area_mm2.total_cmp(&b.area_mm2))?;
    Some(TrueFinding {
        finding: drawn.code.key(),
        side: drawn.side,
        zone: drawn.zone,
        severity: drawn.severity,
        size_mm: drawn.size_mm,
        key_instance: largest.instance.clone(),
        boxes,
    })
}
