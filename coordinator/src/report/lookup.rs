//! Finding instances in the study record.

use std::collections::{HashMap, HashSet};

use prelim_proto::ids::Uid;
use prelim_proto::image::ImageAttributes;
use prelim_proto::report::Report;
use prelim_proto::study::{Instance, Series, Study};

/// One image of the study, with its series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    /// The series.
    pub(super) series: &'a Series,
    /// The instance.
    pub(super) instance: &'a Instance,
    /// The instance's image attributes.
    pub(super) attributes: &'a ImageAttributes,
}

/// The images of a study, by instance.
pub(super) struct Images<'a> {
    by_uid: HashMap<&'a Uid, Image<'a>>,
}

impl<'a> Images<'a> {
    /// Indexes `study`. Objects that are no image are left out.
    pub(super) fn of(study: &'a Study) -> Self {
        let by_uid = in_order(study).map(|image| (&image.instance.uid, image)).collect();
        Self { by_uid }
    }

    /// The image with that SOP Instance UID.
    pub(super) fn get(&self, uid: &Uid) -> Option<Image<'a>> {
        self.by_uid.get(uid).copied()
    }
}

/// The images of a study in the record's order, which is by UID.
fn in_order(study: &Study) -> impl Iterator<Item = Image<'_>> {
    study.series.iter().flat_map(|series| {
        series.instances.iter().filter_map(move |instance| {
            instance.image.as_ref().map(|attributes| Image { series, instance, attributes })
        })
    })
}

/// The images that the report rests on, in the record's order: of a kind that was read, and not listed as unread as a whole.
pub(super) fn images_read<'a>(study: &'a Study, report: &Report) -> Vec<Image<'a>> {
    let unread: HashSet<&Uid> =
        report.unread.iter().filter(|unread| unread.frame.is_none()).map(|unread| &unread.instance).collect();
    in_order(study)
        .filter(|image| image.series.kind().is_some_and(|kind| report.kinds.contains(&kind)))
        .filter(|image| !unread.contains(&image.instance.uid))
        .collect()
}
