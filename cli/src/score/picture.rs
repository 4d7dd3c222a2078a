//! The confusion of classes, drawn as SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Score, class_name};

/// Side of a cell, in px.
const CELL: usize = 46;
/// Room for the names, in px.
const MARGIN: usize = 170;
/// Room on the right, in px: the last column's name slants over it.
const SLANT: usize = 80;
/// Room for the title, in px.
const TITLE: usize = 380;

/// A grid of true classes (rows) by claimed classes (columns), shaded by the share of the row.
pub(crate) fn confusion(score: &Score) -> String {
    let mut names: Vec<&str> =
        score.confusion.iter().flat_map(|(truth, claim, _)| [truth.as_str(), claim.as_str()]).collect();
    names.sort_unstable();
    names.dedup();
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for (truth, _, count) in &score.confusion {
        *rows.entry(truth).or_default() += count;
    }
    let grid = names.len() * CELL;
    let width = MARGIN + (grid + SLANT).max(TITLE);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/><text x="{MARGIN}" y="18" font-size="14">Claimed (columns) by true class (rows), {studies} studies</text>"##,
        height = MARGIN + grid + 40,
        studies = score.studies,
    );
    for (i, name) in names.iter().enumerate() {
        let middle = MARGIN + i * CELL + CELL / 2;
        let words = class_name(name);
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            r##"<text x="{}" y="{}" text-anchor="end" fill="#222">{words}</text>"##,
            MARGIN - 8,
            middle + 24
        );
        let _ = write!(
            svg,
            r##"<text transform="translate({},{}) rotate(-55)" fill="#222">{words}</text>"##,
            middle + 4,
            MARGIN + 12,
        );
    }
    for (truth, claim, count) in &score.confusion {
        let place = |name: &str| names.iter().position(|other| *other == name).unwrap_or(0);
        let (x, y) = (MARGIN + place(claim) * CELL, MARGIN + 20 + place(truth) * CELL);
        let share = *count as f64 / rows.get(truth.as_str()).copied().unwrap_or(1).max(1) as f64;
        let hue = if truth == claim { "#1a7f5a" } else { "#b3261e" };
        let ink = if share > 0.5 { "#fff" } else { "#222" };
        let inner = CELL - 2;
        let _ = write!(
            svg,
            r##"<rect x="{x}" y="{y}" width="{inner}" height="{inner}" fill="{hue}" fill-opacity="{share:.3}"/><text x="{}" y="{}" text-anchor="middle" fill="{ink}">{count}</text>"##,
            x + CELL / 2,
            y + CELL / 2 + 4,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
