//! What lists and statistics tell of a report, taken out of it once, when it is made. Pure.

use prelim_proto::finding::Presence;
use prelim_proto::image::ImageAttributes;
use prelim_proto::report::Report;
use prelim_proto::study::Study;

use crate::report::present;
use crate::store::record::{Judged, Summary};

/// The summary of a version of a study's report. `before` is that of the version that it comes after; `judged` what a
/// radiologist made of the draft that it goes back to, where that is news.
pub(crate) fn summary(report: &Report, study: &Study, before: Option<&Summary>, judged: Option<Judged>) -> Summary {
    let images =
        study.series.iter().flat_map(|series| &series.instances).filter_map(|instance| instance.image.as_ref());
    let first = |of: fn(&ImageAttributes) -> Option<&String>| images.clone().find_map(of).cloned();
    let lowest = report.findings.iter().map(|finding| finding.confidence).min_by(f32::total_cmp);
    let there = report.findings.iter().filter(|finding| finding.presence != Presence::Absent);
    Summary {
        urgency: report.urgency,
        // What is not there is none.
        findings: u32::try_from(there.count()).unwrap_or(u32::MAX),
        // To three decimals, as reports have it.
        confidence: lowest.map(|confidence| (f64::from(confidence) * 1_000.0).round() / 1_000.0),
        partial: report.partial,
        body_part: first(|image| image.body_part.as_ref()),
        station: first(|image| image.station.as_ref()),
        device: first(|image| image.device.as_ref()),
        demonstration: present::is_demonstration(report),
        models: report.models.iter().map(|model| model.name.clone()).collect(),
        judged: judged.or_else(|| before.and_then(|before| before.judged.clone())),
    }
}
