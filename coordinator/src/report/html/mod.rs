//! One self-contained page for people: no script, no other host, nothing to load. It can be mailed, archived and printed.
//!
//! # Layout
//! - `head`: title, policy, style; banner; patient and study
//! - `reading`: impression and findings
//! - `images`: key images with boxes
//! - `background`: technique, limitations, what was not read, provenance
//!
//! **Invariant**: only string literals reach the page unescaped.
//! **Invariant**: the page states a content security policy that forbids scripts and every connection, and keeps to it.

mod background;
mod head;
mod images;
mod reading;

use prelim_proto::finding::Finding;

use super::markup::Page;
use super::picture::in_reading_order;
use super::{KeyImage, ReportInputs};

/// Colours of finding marks. The stylesheet has as many; findings past them start over, and the numbers tell them apart.
const MARK_CLASSES: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];

/// Writes the page.
pub(super) fn write(inputs: &ReportInputs<'_>) -> String {
    let key_images: Vec<KeyImage> = in_reading_order(inputs).into_iter().cloned().collect();
    let inputs = &ReportInputs { key_images: &key_images, ..*inputs };
    let mut page = Page::default();
    head::write(&mut page, inputs);
    page.raw("<main>");
    head::patient(&mut page, inputs);
    page.raw("<div class=\"columns\"><div class=\"reading\">");
    reading::impression(&mut page, inputs);
    reading::findings(&mut page, inputs);
    page.raw("</div>");
    images::write(&mut page, inputs);
    page.raw("</div>");
    background::write(&mut page, inputs);
    page.raw("</main>\n</body>\n</html>\n");
    page.into_string()
}

/// The class that colours the mark of finding `index`.
fn mark_class(index: usize) -> &'static str {
    MARK_CLASSES[index % MARK_CLASSES.len()]
}

/// The finding's number as a mark that links to the finding.
fn finding_mark(page: &mut Page, index: usize, finding: &Finding) {
    let title = super::present::finding_heading(finding);
    page.raw("<a class=\"mark ").raw(mark_class(index)).raw("\" href=\"#finding-").value(index + 1);
    page.raw("\" title=\"").text(&title).raw("\">").value(index + 1).raw("</a>");
}
