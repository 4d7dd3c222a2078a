//! X-ray views: together as far as the model can take them, else one job a view with the others as context.

use prelim_proto::job::ImageRole;
use prelim_proto::study::UnreadReason;

use super::{Group, Picture, Plan, body_part};

/// Frames read of one multi-frame object (a cine of fluoroscopy): the first, middle and last.
const STILLS: usize = 3;

/// The groups of views that become jobs. Views come in order of view, then of UID: frontal before lateral.
pub(super) fn jobs(plan: &mut Plan<'_>, mut pictures: Vec<Picture<'_>>) -> Vec<Group> {
    pictures.sort_by_key(|picture| (rank(picture), picture.instance.uid.clone()));
    let mut views: Vec<(Picture<'_>, u32)> = Vec::new();
    for picture in pictures {
        if picture.is_typed("LOCALIZER") {
            plan.leave(picture.instance, UnreadReason::NotNeeded, "localizer".to_owned());
            continue;
        }
        let stills = stills(picture.image.frames.max(1));
        if !plan.allow(stills.len()) {
            plan.leave_past_limit(&picture);
            continue;
        }
        if picture.image.frames as usize > stills.len() {
            plan.note(format!("Of {} frames of one object, {} stills are read.", picture.image.frames, stills.len()));
        }
        views.extend(stills.into_iter().map(|frame| (picture, frame)));
    }
    if views.is_empty() {
        return Vec::new();
    }
    let part = body_part(&views.iter().map(|(picture, _)| *picture).collect::<Vec<_>>());
    let limit = plan.limits.views_per_job;
    if views.len() <= limit {
        let images = views.iter().map(|(view, frame)| view.reference(*frame, ImageRole::Read, label(view))).collect();
        return vec![Group { images, body_part: part }];
    }
    plan.note(format!("{} views, more than the {limit} that one job takes: one job a view.", views.len()));
    let job = |read: usize| {
        // The view that is read comes first; the ones nearest in order are its context.
        let others = (0..views.len()).filter(|other| *other != read).take(limit.saturating_sub(1));
        let image = |index: usize, role| views[index].0.reference(views[index].1, role, label(&views[index].0));
        let images = std::iter::once(image(read, ImageRole::Read)).chain(others.map(|other| image(other, ImageRole::Context)));
        Group { images: images.collect(), body_part: part.clone() }
    };
    (0..views.len()).map(job).collect()
}

/// Frontal views first, then lateral ones, then those that do not say.
fn rank(picture: &Picture<'_>) -> u8 {
    match picture.image.view_position.as_deref() {
        Some("PA") => 0,
        Some("AP") => 1,
        Some("LL" | "RL" | "LATERAL") => 2,
        _ => 3,
    }
}

/// What the view is, in a word.
fn label(picture: &Picture<'_>) -> String {
    match picture.image.view_position.as_deref() {
        Some("LL" | "RL") => "lateral".to_owned(),
        Some(view) => view.to_owned(),
        None => String::new(),
    }
}

/// The frames of an object that are read, from 1, ascending.
fn stills(frames: u32) -> Vec<u32> {
    if frames as usize <= STILLS { (1..=frames).collect() } else { vec![1, frames.div_ceil(2), frames] }
}
