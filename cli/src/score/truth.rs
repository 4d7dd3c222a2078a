//! The `truth.json` beside a study.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prelim_proto::finding::{ImageBox, Laterality};
use prelim_proto::ids::Uid;
use prelim_proto::vocabulary::FindingCode;
use serde::Deserialize;

use crate::files;

/// What is in a study.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Truth {
    /// "DX" or "CT".
    pub(crate) modality: String,
    /// Study Instance UID.
    pub(crate) study: Uid,
    /// The findings, each code at most once; empty for a normal study.
    pub(crate) findings: Vec<TrueFinding>,
}

impl Truth {
    /// The finding with this code.
    pub(crate) fn finding(&self, code: FindingCode) -> Option<&TrueFinding> {
        self.findings.iter().find(|finding| finding.finding == code)
    }

    /// The findings in a few words.
    pub(crate) fn in_words(&self) -> String {
        let words = |finding: &TrueFinding| {
            let side = finding.side.map_or_else(String::new, |side| format!("{side:?} ").to_lowercase());
            format!("{side}{}", finding.finding.name())
        };
        let all: Vec<String> = self.findings.iter().map(words).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }
}

/// The truths below `folders`, each with its study's folder, in order of path.
pub(crate) fn below(folders: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Truth)>> {
    let files = files::below(folders)?.files;
    let mut truths = Vec::new();
    for path in files.into_iter().filter(|path| path.file_name().is_some_and(|name| name == "truth.json")) {
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let truth = serde_json::from_str(&text).with_context(|| format!("{} is no truth", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        truths.push((folder, truth));
    }
    anyhow::ensure!(
        !truths.is_empty(),
        "no truth.json below {}: make studies with `prelim phantom --out DIR --count N`",
        folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
    );
    Ok(truths)
}

/// A finding that is there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TrueFinding {
    /// What it is.
    pub(crate) finding: FindingCode,
    /// On which side.
    #[serde(default)]
    pub(crate) side: Option<Laterality>,
    /// Where it shows, a box a frame.
    #[serde(default)]
    pub(crate) boxes: Vec<TrueBox>,
}

/// Where a finding shows on one frame.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TrueBox {
    /// SOP Instance UID.
    pub(crate) instance: Uid,
    /// The frame, from 1.
    #[serde(default = "one")]
    pub(crate) frame: u32,
    /// Top, left, bottom, right as fractions of the frame.
    #[serde(rename = "box")]
    edges: [f32; 4],
}

fn one() -> u32 {
    1
}

impl TrueBox {
    /// The rectangle.
    pub(crate) fn bounds(&self) -> Option<ImageBox> {
        let [top, left, bottom, right] = self.edges;
        ImageBox::new(top, left, bottom, right)
    }
}
