//! CT: which series are read, in which order their slices lie, and how they are cut into slabs.

use std::collections::BTreeMap;

use prelim_imaging::geometry::{self, Stack};
use prelim_proto::job::ImageRole;
use prelim_proto::study::{Series, UnreadReason};

use super::{Group, Picture, Plan, body_part};

/// Slices from which a series is a scan and not a few single images.
const SCAN_SLICES: usize = 3;

/// The slabs of all series that are read, in order of series, each from the feet to the head.
pub(super) fn slabs(plan: &mut Plan<'_>, series: Vec<(&Series, Vec<Picture<'_>>)>) -> Vec<Group> {
    let mut scans: Vec<Scan<'_>> = Vec::new();
    for (series, pictures) in series {
        let wanted: Vec<Picture<'_>> = pictures.into_iter().filter(|picture| is_wanted(plan, picture)).collect();
        if !wanted.is_empty() {
            scans.push(Scan::new(series, wanted));
        }
    }
    best_of_each(plan, scans).into_iter().flat_map(|scan| cut(plan, scan)).collect()
}

/// Whether a picture is a slice to read; notes why not.
fn is_wanted(plan: &mut Plan<'_>, picture: &Picture<'_>) -> bool {
    let why = if picture.is_typed("LOCALIZER") || picture.is_typed("SCOUT") {
        "localizer"
    } else if picture.is_typed("DOSE_INFO") || picture.is_typed("SCREEN SAVE") || picture.is_typed("SCREENSAVE") {
        "dose sheet or screen save"
    } else if picture.image_type(0).eq_ignore_ascii_case("DERIVED") && picture.image_type(1).eq_ignore_ascii_case("SECONDARY") {
        "derived copy"
    } else if !picture.image.photometric.starts_with("MONOCHROME") {
        "colour image in a CT series"
    } else {
        return true;
    };
    plan.leave(picture.instance, UnreadReason::NotNeeded, why.to_owned());
    false
}

/// A series of slices, with every frame of its objects.
struct Scan<'a> {
    series: &'a Series,
    frames: Vec<(Picture<'a>, u32)>,
    stack: Stack,
}

impl<'a> Scan<'a> {
    fn new(series: &'a Series, pictures: Vec<Picture<'a>>) -> Self {
        // The order given decides between slices at one place: by acquisition, then number, then UID.
        let mut pictures = pictures;
        pictures.sort_by_key(|p| (p.image.acquisition_number, p.instance.number, p.instance.uid.clone()));
        let frames: Vec<(Picture<'a>, u32)> =
            pictures.into_iter().flat_map(|p| (1..=p.image.frames.max(1)).map(move |frame| (p, frame))).collect();
        let planes: Vec<_> = frames.iter().map(|(p, frame)| p.image.planes.get(*frame as usize - 1).copied()).collect();
        Self { series, stack: geometry::stack(&planes), frames }
    }

    fn first(&self) -> &Picture<'a> {
        &self.frames[0].0
    }

    /// What the reconstruction is for: a sharp kernel shows lung and bone, a soft one the rest.
    fn is_sharp(&self) -> bool {
        let kernel = self.first().image.convolution_kernel.as_deref().unwrap_or("").to_ascii_uppercase();
        let named = ["LUNG", "BONE", "EDGE", "SHARP", "DETAIL"].iter().any(|word| kernel.contains(word));
        // Siemens names kernels B10 (soft) to B80 (sharp), Philips YA and YB; numbers from 60 on are sharp.
        let number: String = kernel.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        named || number.parse::<u32>().is_ok_and(|n| (60..=99).contains(&n))
    }

    /// Reconstructions of one acquisition share these.
    fn acquisition(&self) -> (Option<String>, Option<i32>, Option<String>, bool, bool) {
        let image = self.first().image;
        let axial = self.stack.order.first().and_then(|&i| self.plane(i)).is_none_or(|n| n[2].abs() > 0.7);
        let part = image.body_part.clone();
        (image.frame_of_reference.clone(), image.acquisition_number, part, axial, self.frames.len() >= SCAN_SLICES)
    }

    fn plane(&self, index: usize) -> Option<[f64; 3]> {
        let (picture, frame) = &self.frames[index];
        picture.image.planes.get(*frame as usize - 1).and_then(geometry::normal)
    }
}

/// Of the reconstructions of one acquisition, the soft one with most slices, or the sharp one where there is no other.
fn best_of_each<'a>(plan: &mut Plan<'_>, scans: Vec<Scan<'a>>) -> Vec<Scan<'a>> {
    let mut acquisitions: BTreeMap<_, Vec<Scan<'a>>> = BTreeMap::new();
    for scan in scans {
        // Without a frame of reference nothing says that two series show the same thing: both are read.
        let lone = scan.first().image.frame_of_reference.is_none().then(|| scan.series.uid.clone());
        acquisitions.entry((scan.acquisition(), lone)).or_default().push(scan);
    }
    let mut best: Vec<Scan<'a>> = Vec::new();
    for (_, mut same) in acquisitions {
        same.sort_by_key(|scan| (scan.is_sharp(), std::cmp::Reverse(scan.stack.order.len()), scan.series.uid.clone()));
        let mut same = same.into_iter();
        let Some(chosen) = same.next() else { continue };
        for other in same {
            plan.note(format!(
                "Series {} is another reconstruction of the same acquisition as series {}: not read.",
                name(other.series),
                name(chosen.series)
            ));
            for (picture, _) in other.frames.iter().filter(|(_, frame)| *frame == 1) {
                let detail = "another reconstruction of the same acquisition is read".to_owned();
                plan.leave(picture.instance, UnreadReason::NotNeeded, detail);
            }
        }
        best.push(chosen);
    }
    best.sort_by(|a, b| a.series.uid.cmp(&b.series.uid));
    best
}

/// How a series is called in a sentence.
fn name(series: &Series) -> String {
    series.number.map_or_else(|| "without a number".to_owned(), |number| number.to_string())
}

/// Cuts a scan into slabs that overlap.
fn cut(plan: &mut Plan<'_>, scan: Scan<'_>) -> Vec<Group> {
    let mut order = scan.stack.order.clone();
    describe(plan, &scan);
    for &index in scan.stack.duplicates.iter().chain(&scan.stack.oblique) {
        let (picture, frame) = scan.frames[index];
        let detail = if scan.stack.oblique.contains(&index) { "slice at an angle to the others" } else { "second slice at one place" };
        plan.leave(picture.instance, UnreadReason::NotNeeded, detail.to_owned());
        if let Some(last) = plan.partition.unread.last_mut() {
            last.frame = Some(frame);
        }
    }
    // Slices without a position keep the order of their numbers, after the others.
    order.extend(&scan.stack.unplaced);
    if !plan.allow(order.len()) {
        for (picture, _) in scan.frames.iter().filter(|(_, frame)| *frame == 1) {
            plan.leave_past_limit(picture);
        }
        return Vec::new();
    }
    let (size, overlap) = (plan.limits.slices_per_slab.max(1), plan.limits.slab_overlap);
    let part = body_part(&scan.frames.iter().map(|(picture, _)| *picture).collect::<Vec<_>>());
    let total = order.len();
    // Slabs of even size: 17 slices are 9 and 8, not 16 and 1.
    let slabs = total.div_ceil(size);
    let slab = |number: usize| {
        let (from, to) = (number * total / slabs, (number + 1) * total / slabs);
        let shown = from.saturating_sub(overlap)..(to + overlap).min(total);
        let image = |place: usize| {
            let (picture, frame) = &scan.frames[order[place]];
            let role = if (from..to).contains(&place) { ImageRole::Read } else { ImageRole::Context };
            picture.reference(*frame, role, format!("slice {} of {total}", place + 1))
        };
        Group { images: shown.map(image).collect(), body_part: part.clone() }
    };
    (0..slabs).map(slab).collect()
}

/// Notes what is unusual about the geometry of a scan.
fn describe(plan: &mut Plan<'_>, scan: &Scan<'_>) {
    let (stack, series) = (&scan.stack, name(scan.series));
    if stack.is_tilted() {
        plan.note(format!("Series {series}: the slices are tilted by {:.0} degrees.", stack.lean_deg));
    }
    if !stack.gaps.is_empty() {
        let widest = stack.gaps.iter().map(|gap| gap.1).fold(0.0, f64::max);
        let gaps = stack.gaps.len();
        plan.note(format!("Series {series}: slices are missing at {gaps} places, {widest:.1} mm at the widest."));
    } else if stack.is_uneven() {
        plan.note(format!("Series {series}: the slices are unevenly spaced."));
    }
    if !stack.unplaced.is_empty() {
        plan.note(format!("Series {series}: {} slices have no position and keep the order of their numbers.", stack.unplaced.len()));
    }
}
