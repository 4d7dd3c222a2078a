//! How much work waits, in expected seconds of one worker's time: what the cluster is scaled by.

use std::sync::{Mutex, PoisonError};

use prelim_proto::cost::JobCost;
use prelim_proto::image::ImageKind;
use prelim_proto::job::JobKind;

use crate::store::record::{ByKind, QueueDepth};

/// What a job is taken to need before any of its kind was done, in s: X-ray and CT.
const FIRST_GUESS_S: (f64, f64) = (2.0, 10.0);
/// How much the newest job counts in the average.
const NEWEST: f64 = 0.05;

/// What jobs needed lately, by kind.
#[derive(Debug)]
pub struct Needs {
    means_s: Mutex<(f64, f64)>,
}

impl Default for Needs {
    fn default() -> Self {
        Self { means_s: Mutex::new(FIRST_GUESS_S) }
    }
}

impl Needs {
    /// Notes what a job needed.
    pub fn note(&self, kind: JobKind, cost: &JobCost) {
        let parts_ms =
            [cost.fetch_ms, cost.decode_ms, cost.preprocess_ms, cost.vision_ms, cost.prefill_ms, cost.generate_ms];
        let needed_s = parts_ms.iter().sum::<f64>() / 1_000.0;
        if !needed_s.is_finite() || needed_s < 0.0 {
            return;
        }
        let mut means_s = self.means_s.lock().unwrap_or_else(PoisonError::into_inner);
        let mean_s = match kind {
            JobKind::Read(ImageKind::Xray) => &mut means_s.0,
            JobKind::Read(ImageKind::Ct) => &mut means_s.1,
            JobKind::Merge => return,
        };
        *mean_s += NEWEST * (needed_s - *mean_s);
    }

    /// The work that waits and runs, of the kinds named, in expected seconds. Running work counts as well: the workers that
    /// do it must not be taken away.
    pub fn backlog_s(&self, depth: &QueueDepth, kinds: &[ImageKind]) -> f64 {
        let (xray_s, ct_s) = *self.means_s.lock().unwrap_or_else(PoisonError::into_inner);
        let all = |of: fn(&ByKind) -> u64| (of(&depth.ready) + of(&depth.leased)) as f64;
        let of_kind = |kind: &ImageKind| match kind {
            ImageKind::Xray => all(|counts| counts.xray) * xray_s,
            ImageKind::Ct => all(|counts| counts.ct) * ct_s,
        };
        kinds.iter().map(of_kind).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_follows_what_jobs_need() {
        let needs = Needs::default();
        let ready = ByKind { xray: 10, ct: 3, merge: 50 };
        let leased = ByKind { ct: 2, ..ByKind::default() };
        let depth = QueueDepth { ready, leased, ..QueueDepth::default() };
        let both = [ImageKind::Xray, ImageKind::Ct];
        assert_eq!(needs.backlog_s(&depth, &both), 10.0 * 2.0 + 5.0 * 10.0);
        for _ in 0..200 {
            needs.note(JobKind::Read(ImageKind::Ct), &JobCost { vision_ms: 3_000.0, ..JobCost::default() });
        }
        needs.note(JobKind::Read(ImageKind::Ct), &JobCost { vision_ms: f64::NAN, ..JobCost::default() });
        assert!((needs.backlog_s(&depth, &[ImageKind::Ct]) - 15.0).abs() < 0.1);
        assert_eq!(needs.backlog_s(&depth, &[]), 0.0);
    }
}
