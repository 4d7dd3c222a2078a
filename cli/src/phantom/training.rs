//! What a training run reads of phantoms: the very pixels that the worker would hand to the model, with their labels.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use prelim_imaging::render;
use prelim_imaging::{Limits, decode, photometry, scan};
use prelim_proto::image::ImageKind;
use prelim_worker::preprocess::{Picture, Preprocess};
use prelim_worker::profile::ReadingProfile;
use rayon::prelude::*;
use serde_json::{Value, json};

/// Share of a finding's largest cross-section below which a slice only just cuts it.
const JUST_CUT: f64 = 0.25;
/// A mass shows as one only where it is wider than a nodule can be: area of 29 mm across.
const MASS_MM2: f64 = 660.0;
/// Fluid and air that are seen for certain.
const LAYER_MM2: f64 = 350.0;
/// Share of a volume's slices that show findings, where it has any.
const WITH_FINDINGS: f64 = 0.65;

/// What is wanted.
pub(crate) struct Request {
    /// Model folder, for its image processor and CT windows.
    pub(crate) model: PathBuf,
    /// Folder of studies.
    pub(crate) studies: PathBuf,
    /// Slices to take of each volume; all of them, also those that only just cut a finding, where it is zero.
    pub(crate) slices: usize,
}

/// Pictures in the model's size, and a label each.
pub(crate) struct Pictures {
    /// `[n, 3, height, width]`, before rescaling and normalizing.
    pub(crate) bytes: Vec<u8>,
    /// `[n, 3, height, width]`.
    pub(crate) shape: Vec<usize>,
    /// Study, instance, kind and findings of each.
    pub(crate) labels: Vec<Value>,
}

/// Reads the studies below a folder as the worker would.
///
/// # Errors
/// Where a file is missing or does not read.
pub(crate) fn read(request: &Request) -> anyhow::Result<Pictures> {
    let profile = ReadingProfile::load(&request.model)?;
    let windows = profile.kind(ImageKind::Ct).and_then(|kind| kind.windows_hu);
    let windows = windows.context("the model's profile has no CT windows")?;
    let reader = Reader {
        preprocess: Preprocess::read(&request.model)?,
        windows: windows.map(|[low, high]| (f64::from(low), f64::from(high))),
        slices: request.slices,
    };
    let mut folders: Vec<PathBuf> = fs::read_dir(&request.studies)
        .with_context(|| request.studies.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    folders.retain(|folder| folder.join("truth.json").is_file());
    folders.sort();
    if folders.is_empty() {
        bail!("no studies with a truth.json below {}", request.studies.display());
    }
    let read: Vec<Vec<(Vec<u8>, Value)>> =
        folders.par_iter().map(|folder| reader.study(folder)).collect::<anyhow::Result<_>>()?;
    let (mut bytes, mut labels) = (Vec::new(), Vec::new());
    for (picture, label) in read.into_iter().flatten() {
        bytes.extend_from_slice(&picture);
        labels.push(label);
    }
    let shape = vec![labels.len(), 3, reader.preprocess.height, reader.preprocess.width];
    Ok(Pictures { bytes, shape, labels })
}

struct Reader {
    preprocess: Preprocess,
    windows: [(f64, f64); 3],
    slices: usize,
}

impl Reader {
    fn study(&self, folder: &Path) -> anyhow::Result<Vec<(Vec<u8>, Value)>> {
        let truth: Value = serde_json::from_slice(&fs::read(folder.join("truth.json"))?)?;
        let instances: Vec<&str> =
            truth["instances"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_ct = truth["modality"] == "CT";
        let files = files_by_instance(folder)?;
        let chosen = if is_ct && self.slices > 0 { choose(&truth, &instances, self.slices) } else { instances };
        let mut out = Vec::with_capacity(chosen.len());
        for instance in chosen {
            let path = files.get(instance).with_context(|| format!("{}: no file of {instance}", folder.display()))?;
            let picture = self.picture(path, is_ct).with_context(|| path.display().to_string())?;
            let findings: Vec<Value> =
                on_instance(&truth, instance).map(|(finding, place)| label(finding, place)).collect();
            let kind = if is_ct { "ct" } else { "xray" };
            out.push((
                picture,
                json!({ "kind": kind, "study": truth["study"], "instance": instance, "findings": findings }),
            ));
        }
        Ok(out)
    }

    /// Decodes, renders and resizes one image.
    fn picture(&self, path: &Path, is_ct: bool) -> anyhow::Result<Vec<u8>> {
        let (bytes, limits) = (fs::read(path)?, Limits::default());
        let scanned = scan::scan(&bytes, &limits)?;
        let frame = decode::decode_frame(&scanned, 1, &limits)?;
        let photometry = photometry::Photometry::read(&scanned, 1);
        let (data, width, height, channels) = if is_ct {
            let image = render::ct_windows(&frame, &photometry, &self.windows);
            (image.data, image.width, image.height, 3)
        } else {
            let image = render::xray_grey(&frame, &photometry);
            (image.data, image.width, image.height, 1)
        };
        let picture = Picture { bytes: &data, height: height as usize, width: width as usize, channels };
        Ok(self.preprocess.resized(&picture))
    }
}

/// The files of a study by SOP Instance UID, read from their headers.
fn files_by_instance(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dcm") {
            let bytes = fs::read(&path)?;
            let header = prelim_imaging::header::read_header(&bytes, None, &Limits::default())?;
            files.insert(header.instance.uid.to_string(), path);
        }
    }
    Ok(files)
}

/// A study's findings on one instance, with their place there.
fn on_instance<'a>(truth: &'a Value, instance: &'a str) -> impl Iterator<Item = (&'a Value, &'a Value)> {
    truth["findings"].as_array().into_iter().flatten().filter_map(move |finding| {
        let mut boxes = finding["boxes"].as_array().into_iter().flatten();
        boxes.find(|place| place["instance"] == instance).map(|place| (finding, place))
    })
}

/// A finding as one picture shows it: the severity is the picture's own where it has one.
fn label(finding: &Value, place: &Value) -> Value {
    let severity = place.get("severity").unwrap_or(&finding["severity"]);
    json!({
        "finding": finding["finding"], "side": finding["side"], "zone": finding["zone"], "severity": severity,
        "box": place["box"], "area_mm2": place["area_mm2"], "mask": place["mask"],
    })
}

/// Slices to learn from: as many of each finding among those that show all theirs clearly, and some that show none.
fn choose<'a>(truth: &Value, instances: &[&'a str], count: usize) -> Vec<&'a str> {
    let (mut clear, mut empty) = (BTreeMap::<String, Vec<&str>>::new(), Vec::new());
    for &instance in instances {
        let mut on = on_instance(truth, instance).peekable();
        if on.peek().is_none() {
            empty.push(instance);
        } else if on.all(|(finding, place)| is_clear(finding, place)) {
            for (finding, _) in on_instance(truth, instance) {
                clear.entry(finding["finding"].to_string()).or_default().push(instance);
            }
        }
    }
    let wanted = (count as f64 * WITH_FINDINGS).round() as usize;
    let each = wanted.div_ceil(clear.len().max(1));
    let mut chosen: Vec<&str> = clear.values().flat_map(|slices| spread(slices, each.min(slices.len()))).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen.extend(spread(&empty, count.saturating_sub(chosen.len()).min(empty.len())));
    chosen
}

/// Whether a picture shows enough of a finding for it to be named.
fn is_clear(finding: &Value, place: &Value) -> bool {
    let area = |place: &Value| place["area_mm2"].as_f64().unwrap_or(0.0);
    let largest = finding["boxes"].as_array().into_iter().flatten().map(area).fold(0.0, f64::max);
    let least = match finding["finding"].as_str() {
        Some("mass") => MASS_MM2.max(JUST_CUT * largest),
        Some("pleural_effusion" | "pneumothorax") => LAYER_MM2,
        Some("nodule") => 0.35 * largest,
        _ => JUST_CUT * largest,
    };
    area(place) >= least
}

/// `count` of the items, evenly spread.
fn spread<'a>(items: &[&'a str], count: usize) -> Vec<&'a str> {
    (0..count).map(|at| items[(2 * at + 1) * items.len() / (2 * count)]).collect()
}
