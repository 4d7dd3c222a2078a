//! What came of a workitem that prelim performed: the draft's objects, and where they can be had (PS3.3 section C.30.3).

use jiff::Timestamp;
use prelim_imaging::Limits;
use prelim_imaging::header::read_header;
use prelim_proto::ids::Uid;

use super::dataset::{Dataset, code, items, moment, put_items, put_text, tag};
use crate::deliver::destinations::Route;
use crate::report::{Format, ReportError};
use crate::service::{Coordinator, ServiceError};
use crate::store::delivery::DeliveryState;
use crate::store::record::StudyRecord;
use crate::store::worklist::Workitem;

/// What prelim says of its work.
const DESCRIPTION: &str = "Unsigned draft by software that is not a medical device";
/// Scheme of the codes that are prelim's own.
const SCHEME: &str = "99PRELIM";

/// One object of a draft.
struct Output {
    sop_class: Uid,
    instance: Uid,
    series: Uid,
    /// Application entity titles of the archives that took it.
    taken_by: Vec<String>,
}

impl Coordinator {
    /// The workitem with what was done for it; nothing where that cannot be said yet: its objects are still being sent.
    pub(super) async fn with_results(
        &self,
        workitem: &Workitem,
        study: &StudyRecord,
        now: Timestamp,
        may_wait: bool,
    ) -> Result<Option<Workitem>, ServiceError> {
        let version = study.standing_version();
        let deliveries = self.store.deliveries(&study.uid).await?;
        let is_under_way = |state| matches!(state, DeliveryState::Waiting | DeliveryState::Sending);
        let mine = || deliveries.iter().filter(|delivery| delivery.key.version == version);
        // What is asked for again and again ends somewhen; a workitem waits only for so long.
        if may_wait && mine().any(|delivery| is_under_way(delivery.state)) {
            return Ok(None);
        }
        let title = |name: &str| match &self.destination(name).ok()?.route {
            Route::Dicom(node) => Some(node.called.clone()),
            _ => None,
        };
        let mut outputs = Vec::new();
        for word in &study.draft_objects {
            let Ok(format) = word.parse::<Format>() else { continue };
            let written = match self.report_of(&study.uid, version, format).await {
                Ok(written) => written.content,
                Err(ServiceError::Report(ReportError::NothingToShow(_))) => continue,
                Err(error) => return Err(error),
            };
            let Ok(header) = read_header(&written, None, &Limits::default()) else { continue };
            let is_taken =
                |state| matches!(state, DeliveryState::Sent | DeliveryState::Committed | DeliveryState::Committing);
            let took = mine().filter(|delivery| delivery.key.object == *word && is_taken(delivery.state));
            let taken_by = took.filter_map(|delivery| title(&delivery.key.destination)).collect();
            let instance = header.instance;
            outputs.push(Output {
                sop_class: instance.sop_class,
                instance: instance.uid,
                series: header.series.uid,
                taken_by,
            });
        }
        let base = match &self.config.web.http_url {
            Some(url) => format!("{}{}", url.trim_end_matches('/'), crate::web::ROOT),
            None => workitem.base.clone(),
        };
        let mut after = workitem.clone();
        let mut performed = items(&after.dataset, tag::PERFORMED).next().cloned().unwrap_or_default();
        put_text(&mut performed, tag::PERFORMED_END, "DT", moment(now));
        put_items(&mut performed, tag::OUTPUTS, outputs.iter().map(|output| item(output, &study.uid, &base)));
        put_items(&mut after.dataset, tag::PERFORMED, [performed]);
        Ok(Some(after))
    }

    /// What is said of the work from its beginning.
    pub(super) fn performed_procedure(&self, workitem: &Workitem, now: Timestamp) -> Dataset {
        let title = &self.config.dicom.aet;
        let station = items(&workitem.dataset, tag::STATIONS)
            .find(|station| super::dataset::text(station, tag::CODE_VALUE) == Some(title))
            .cloned()
            .unwrap_or_else(|| code(title, SCHEME, "prelim"));
        let mut codes: Vec<Dataset> = items(&workitem.dataset, tag::WORKITEM_CODES).cloned().collect();
        if codes.is_empty() {
            codes.push(code("110004", "DCM", "Computer Aided Detection"));
        }
        let mut performed = Dataset::new();
        put_items(&mut performed, tag::PERFORMED_STATIONS, [station]);
        put_items(&mut performed, tag::PERFORMED_WORKITEM_CODES, codes);
        put_text(&mut performed, tag::PERFORMED_START, "DT", moment(now));
        put_text(&mut performed, tag::PERFORMED_DESCRIPTION, "LO", DESCRIPTION);
        put_items(&mut performed, tag::OUTPUTS, []);
        performed
    }
}

/// An object as an item (PS3.3 table 10-3b): what it is, and how it is retrieved.
fn item(output: &Output, study: &Uid, base: &str) -> Dataset {
    let mut reference = Dataset::new();
    put_text(&mut reference, tag::REFERENCED_SOP_CLASS_UID, "UI", output.sop_class.as_str());
    put_text(&mut reference, tag::REFERENCED_SOP_INSTANCE_UID, "UI", output.instance.as_str());
    let mut item = Dataset::new();
    put_text(&mut item, tag::TYPE_OF_INSTANCES, "CS", "DICOM");
    put_text(&mut item, tag::STUDY_INSTANCE_UID, "UI", study.as_str());
    put_text(&mut item, tag::SERIES_INSTANCE_UID, "UI", output.series.as_str());
    put_items(&mut item, tag::REFERENCED_SOP_SEQUENCE, [reference]);
    if !base.is_empty() {
        let mut retrieval = Dataset::new();
        put_text(&mut retrieval, tag::RETRIEVE_URL, "UR", format!("{base}/studies/{study}/series/{}", output.series));
        put_items(&mut item, tag::WADO_RS_RETRIEVAL, [retrieval]);
    }
    let archives = output.taken_by.iter().map(|title| {
        let mut retrieval = Dataset::new();
        put_text(&mut retrieval, tag::RETRIEVE_AE_TITLE, "AE", title.as_str());
        retrieval
    });
    let archives: Vec<Dataset> = archives.collect();
    if !archives.is_empty() {
        put_items(&mut item, tag::DICOM_RETRIEVAL, archives);
    }
    item
}
