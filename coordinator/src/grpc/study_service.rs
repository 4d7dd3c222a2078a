//! `StudyService`: what clients ask.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prelim_proto::ids::Uid;
use prelim_proto::study::{Priority, StudyAttributes, StudyState};
use prelim_proto::v1;
use prelim_proto::v1::study_service_server::StudyService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{route, status, upload, watch};
use crate::audit::Act;
use crate::deidentify::Reidentified;
use crate::intake::{Claim, Object, Outcome, Sending};
use crate::report::Format;
use crate::service::{Coordinator, ServiceError};
use crate::session::Session;
use crate::store::record::{StudyCursor, StudyQuery, StudyRecord};

/// Studies a page where the client does not say.
const DEFAULT_PAGE: u32 = 50;
/// Studies a page at most.
const MAX_PAGE: u32 = 500;
/// Studies that one watch names at most.
const MAX_WATCHED: usize = 10_000;
/// Longest pseudonym: that of a UID.
const MAX_PSEUDONYM_BYTES: usize = 64;

/// The service.
pub(crate) struct Studies(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl StudyService for Studies {
    type WatchStudiesStream = ReceiverStream<Result<v1::WatchStudiesResponse, Status>>;

    async fn submit_studies(
        &self,
        request: Request<Streaming<v1::SubmitStudiesRequest>>,
    ) -> Answer<v1::SubmitStudiesResponse> {
        let session = Session::of(&request);
        let uploaded = upload::receive(&self.0, session, request.into_inner()).await?;
        let study_uids = match (&uploaded.stopped, uploaded.expected_instances) {
            (None, None) => self.complete(uploaded.request_id, &uploaded.outcomes).await?,
            (_, Some(instances)) => self.expect(instances, &uploaded.outcomes).await?,
            // The rest of them is still to come.
            (Some(_), None) => touched(&uploaded.outcomes).into_iter().map(String::from).collect(),
        };
        let objects = uploaded.outcomes.into_iter().map(upload::message).collect();
        let stopped = uploaded.stopped.as_ref().map(status::stopped);
        Ok(Response::new(v1::SubmitStudiesResponse { objects, study_uids, stopped }))
    }

    async fn submit_folder(&self, request: Request<v1::SubmitFolderRequest>) -> Answer<v1::SubmitFolderResponse> {
        let is_local = request.remote_addr().is_some_and(|peer: SocketAddr| peer.ip().is_loopback());
        if !(self.0.config.allow_folders && is_local) {
            return Err(status::of(ServiceError::FoldersNotAllowed));
        }
        let session = Session::of(&request);
        let request = request.into_inner();
        let priority = Priority::from_wire(request.priority).map_err(|error| status::of(error.into()))?;
        let tenant = session.tenant_for_submission(&request.tenant).await.map_err(status::of)?;
        let mut sending = Sending::new(tenant, &session.caller().name);
        let taken = self.read_folder(&session, &mut sending, &request.path, priority).await;
        self.0.end(sending, taken.is_ok()).await.map_err(status::of)?;
        let outcomes = taken.map_err(status::of)?;
        let study_uids = self.complete(request.request_id, &outcomes).await?;
        let objects = outcomes.into_iter().map(upload::message).collect();
        Ok(Response::new(v1::SubmitFolderResponse { objects, study_uids }))
    }

    async fn get_study(&self, request: Request<v1::GetStudyRequest>) -> Answer<v1::GetStudyResponse> {
        let session = Session::of(&request);
        let uid = uid(&request.into_inner().study_uid)?;
        session.allow(&self.0, &uid).await.map_err(status::of)?;
        let study = self.0.study(&uid).await.map_err(status::of)?;
        let unmet =
            self.0.unmet_of([(study.state, study.intake.route.as_ref())].into_iter()).await.map_err(status::of)?;
        session.note(Act::Read, &[uid]).await.map_err(status::of)?;
        let study = waiting_for(study.into(), unmet.into_iter().next().flatten());
        Ok(Response::new(v1::GetStudyResponse { study: Some(study) }))
    }

    async fn reidentify(&self, request: Request<v1::ReidentifyRequest>) -> Answer<v1::ReidentifyResponse> {
        let session = Session::of(&request);
        let pseudonym = request.into_inner().pseudonym;
        let pseudonym = pseudonym.trim();
        if pseudonym.is_empty() || pseudonym.len() > MAX_PSEUDONYM_BYTES {
            let problem = format!("not between 1 and {MAX_PSEUDONYM_BYTES} characters");
            return Err(status::invalid("pseudonym", problem));
        }
        let found = self.0.reidentify(pseudonym, session.tenants()).await.map_err(status::of)?;
        let studies: Vec<Uid> = found.iter().map(|found| found.study.uid.clone()).collect();
        // A look for one who is not here is on record, too.
        session.note_query(vec![format!("pseudonym={pseudonym}")], &studies).await.map_err(status::of)?;
        session.note(Act::Read, &studies).await.map_err(status::of)?;
        let found = found.into_iter().map(reidentified).collect();
        Ok(Response::new(v1::ReidentifyResponse { found }))
    }

    async fn list_studies(&self, request: Request<v1::ListStudiesRequest>) -> Answer<v1::ListStudiesResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let page = if request.page_size == 0 { DEFAULT_PAGE } else { request.page_size.min(MAX_PAGE) } as usize;
        let states = request.states.iter().map(|wire| state(*wire)).collect::<Result<Vec<_>, _>>()?;
        let after = page_after(&request)?;
        let wanted = states.iter().map(|state| format!("states={}", state.as_str()));
        let place = (!request.page_token.is_empty()).then(|| format!("page_token={}", request.page_token));
        let asked: Vec<String> = wanted.chain([format!("page_size={page}")]).chain(place).collect();
        // One more than asked for tells whether there is another page.
        let tenants = session.tenants();
        let query = StudyQuery { states, after, tenants, limit: page + 1, ..StudyQuery::default() };
        let mut records = self.0.studies(query).await.map_err(status::of)?;
        let is_last = records.len() <= page;
        records.truncate(page);
        let next_page_token = match records.last() {
            Some(last) if !is_last => page_token(&request.states, last),
            _ => String::new(),
        };
        let unmet = self
            .0
            .unmet_of(records.iter().map(|study| (study.state, study.route.as_ref())))
            .await
            .map_err(status::of)?;
        let studies = records.into_iter().map(summary).zip(unmet);
        let studies = studies.map(|(study, unmet)| waiting_for(study, unmet)).collect();
        session.note_query(asked, &[]).await.map_err(status::of)?;
        Ok(Response::new(v1::ListStudiesResponse { studies, next_page_token }))
    }

    async fn watch_studies(&self, request: Request<v1::WatchStudiesRequest>) -> Answer<Self::WatchStudiesStream> {
        let session = Session::of(&request);
        let named = request.into_inner().study_uids;
        if named.len() > MAX_WATCHED {
            return Err(status::invalid("study_uids", format!("more than {MAX_WATCHED}")));
        }
        let studies = named.iter().map(|text| uid(text)).collect::<Result<Vec<_>, _>>()?;
        for study in &studies {
            session.allow(&self.0, study).await.map_err(status::of)?;
        }
        session.note_query(Vec::new(), &studies).await.map_err(status::of)?;
        Ok(Response::new(watch::watch(self.0.clone(), session, studies)))
    }

    async fn complete_study(&self, request: Request<v1::CompleteStudyRequest>) -> Answer<v1::CompleteStudyResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let uid = uid(&request.study_uid)?;
        upload::check_request_id(&request.request_id)?;
        session.allow(&self.0, &uid).await.map_err(status::of)?;
        let request_id = Some(request.request_id).filter(|id| !id.is_empty());
        self.0.complete(request_id, vec![uid.clone()]).await.map_err(status::of)?;
        session.note(Act::Submitted, std::slice::from_ref(&uid)).await.map_err(status::of)?;
        let record = self.0.record(&uid).await.map_err(status::of)?;
        Ok(Response::new(v1::CompleteStudyResponse { study: Some(summary(record)) }))
    }

    async fn cancel_study(&self, request: Request<v1::CancelStudyRequest>) -> Answer<v1::CancelStudyResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let uid = uid(&request.study_uid)?;
        session.allow(&self.0, &uid).await.map_err(status::of)?;
        self.0.cancel(&uid, &request.reason).await.map_err(status::of)?;
        session.note(Act::Cancelled, std::slice::from_ref(&uid)).await.map_err(status::of)?;
        let record = self.0.record(&uid).await.map_err(status::of)?;
        Ok(Response::new(v1::CancelStudyResponse { study: Some(summary(record)) }))
    }

    async fn remove_study(&self, request: Request<v1::RemoveStudyRequest>) -> Answer<v1::RemoveStudyResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let uid = uid(&request.study_uid)?;
        session.allow(&self.0, &uid).await.map_err(status::of)?;
        self.0.remove(&uid, request.signed_too).await.map_err(status::of)?;
        session.note(Act::Removed, &[uid]).await.map_err(status::of)?;
        Ok(Response::new(v1::RemoveStudyResponse {}))
    }

    async fn test_route(&self, request: Request<v1::TestRouteRequest>) -> Answer<v1::TestRouteResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let uid = uid(&request.study_uid)?;
        session.allow(&self.0, &uid).await.map_err(status::of)?;
        let decision = self.0.test_route(&uid, &request.rules).await.map_err(status::of)?;
        session.note(Act::Read, &[uid]).await.map_err(status::of)?;
        Ok(Response::new(route::message(decision)))
    }

    async fn get_report(&self, request: Request<v1::GetReportRequest>) -> Answer<v1::GetReportResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let uid = uid(&request.study_uid)?;
        let (wire, format) = format(request.format)?;
        session.allow(&self.0, &uid).await.map_err(status::of)?;
        let report = match request.version {
            0 => self.0.report(&uid, format).await,
            version => self.0.report_of(&uid, version, format).await,
        };
        let report = report.map_err(status::of)?;
        session.note(Act::Reported, std::slice::from_ref(&uid)).await.map_err(status::of)?;
        let report = v1::RenderedReport {
            study_uid: uid.into(),
            version: report.version,
            format: wire as i32,
            media_type: format.media_type().to_owned(),
            content: report.content,
        };
        Ok(Response::new(v1::GetReportResponse { report: Some(report) }))
    }
}

impl Studies {
    /// Notes how many instances the studies have that the objects belong to, and names them.
    async fn expect(&self, instances: u32, outcomes: &[Outcome]) -> Result<Vec<String>, Status> {
        let studies = touched(outcomes);
        for study in &studies {
            self.0.expect(study, instances).await.map_err(status::of)?;
        }
        Ok(studies.into_iter().map(String::from).collect())
    }

    /// Completes the studies that the objects belong to, and names them.
    async fn complete(&self, request_id: String, outcomes: &[Outcome]) -> Result<Vec<String>, Status> {
        let studies = touched(outcomes);
        let request_id = Some(request_id).filter(|id| !id.is_empty());
        self.0.complete(request_id, studies.clone()).await.map_err(status::of)?;
        Ok(studies.into_iter().map(String::from).collect())
    }

    /// Takes in every file below a folder of this machine.
    async fn read_folder(
        &self,
        session: &Session,
        sending: &mut Sending,
        path: &str,
        priority: Priority,
    ) -> Result<Vec<Outcome>, ServiceError> {
        let root = PathBuf::from(path);
        let missing = || ServiceError::NoFolder(path.to_owned());
        let walk = root.clone();
        let files = tokio::task::spawn_blocking(move || files_below(&walk)).await.map_err(|_| missing())?;
        let files = files.map_err(|_| missing())?;
        let mut outcomes = Vec::with_capacity(files.len());
        let mut noted = BTreeSet::new();
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        for file in &files {
            let name = file.strip_prefix(&root).unwrap_or(file).to_string_lossy().into_owned();
            let bytes = tokio::fs::read(file).await;
            batch_bytes += bytes.as_ref().map_or(0, Vec::len);
            batch.push(Object {
                name,
                bytes: bytes.map(Into::into).map_err(|e| format!("cannot be read: {e}")),
                claimed: Claim::default(),
            });
            if upload::is_full(batch.len(), batch_bytes) {
                let taken = self.0.accept(sending, std::mem::take(&mut batch), priority).await?;
                session.note_submitted(&mut noted, &taken).await?;
                outcomes.extend(taken);
                batch_bytes = 0;
            }
        }
        let taken = self.0.accept(sending, batch, priority).await?;
        session.note_submitted(&mut noted, &taken).await?;
        outcomes.extend(taken);
        Ok(outcomes)
    }
}

/// The studies that objects belong to which were taken, each once.
fn touched(outcomes: &[Outcome]) -> Vec<Uid> {
    let taken = outcomes.iter().filter(|outcome| !outcome.is_refused());
    let mut studies: Vec<Uid> = taken.filter_map(|o| o.ids.as_ref().map(|ids| ids.0.clone())).collect();
    studies.sort();
    studies.dedup();
    studies
}

/// The files below a folder, in order of path.
fn files_below(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A study as lists and watches show it: with what its series are, but without the series.
pub(super) fn summary(record: StudyRecord) -> v1::Study {
    let (modalities, instance_count) = (record.modalities.clone(), record.instances);
    v1::Study { modalities, instance_count, ..v1::Study::from(record.into_study(Vec::new())) }
}

/// The study, with what it waits for, where that is something that no worker offers.
fn waiting_for(study: v1::Study, unmet: Option<String>) -> v1::Study {
    v1::Study { state_reason: study.state_reason.or(unmet), ..study }
}

fn reidentified(found: Reidentified) -> v1::Reidentified {
    let Reidentified { kind, original, study } = found;
    let StudyAttributes { patient_id, patient_name, accession_number, .. } = study.attributes;
    let (kind, study_uid) = (kind.to_owned(), study.uid.into());
    v1::Reidentified { kind, original, study_uid, patient_id, patient_name, accession_number }
}

fn uid(text: &str) -> Result<Uid, Status> {
    Uid::parse(text).map_err(|error| status::invalid("study_uid", error.to_string()))
}

fn state(wire: i32) -> Result<StudyState, Status> {
    let named = v1::StudyState::try_from(wire);
    let named = named.map_err(|_| status::invalid("states", format!("{wire} is no state")))?;
    StudyState::try_from(named).map_err(|error| status::of(error.into()))
}

fn format(wire: i32) -> Result<(v1::ReportFormat, Format), Status> {
    let named = v1::ReportFormat::try_from(wire);
    let named = named.map_err(|_| status::invalid("format", format!("{wire} is no format")))?;
    Ok(match named {
        v1::ReportFormat::Unspecified | v1::ReportFormat::Json => (v1::ReportFormat::Json, Format::Json),
        v1::ReportFormat::Html => (named, Format::Html),
        v1::ReportFormat::DicomSr => (named, Format::Sr),
        v1::ReportFormat::Text => (named, Format::Text),
        v1::ReportFormat::Fhir => (named, Format::Fhir),
        v1::ReportFormat::Hl7 => (named, Format::Hl7),
        v1::ReportFormat::Pdf => (named, Format::Pdf),
        v1::ReportFormat::DicomPdf => (named, Format::DicomPdf),
        v1::ReportFormat::DicomSc => (named, Format::Capture),
        v1::ReportFormat::DicomKeyObjects => (named, Format::KeyObjects),
        v1::ReportFormat::DicomPresentationState => (named, Format::Presentation),
        v1::ReportFormat::DicomAssessment => (named, Format::Assessment),
    })
}

/// A page token: the query's states, then the last study of the page before.
fn page_token(states: &[i32], last: &StudyRecord) -> String {
    let states: Vec<String> = states.iter().map(ToString::to_string).collect();
    format!("{};{};{}", states.join(","), last.received_at_ms, last.uid)
}

/// Where the page of a request begins.
fn page_after(request: &v1::ListStudiesRequest) -> Result<Option<StudyCursor>, Status> {
    if request.page_token.is_empty() {
        return Ok(None);
    }
    let foreign = || status::invalid("page_token", "not a token of this query; start again without one");
    let mut parts = request.page_token.splitn(3, ';');
    let (states, received, uid) = (parts.next(), parts.next(), parts.next());
    let asked: Vec<String> = request.states.iter().map(ToString::to_string).collect();
    if states != Some(asked.join(",").as_str()) {
        return Err(foreign());
    }
    let received_at_ms = received.and_then(|text| text.parse().ok()).ok_or_else(foreign)?;
    let uid = uid.and_then(|text| Uid::parse(text).ok()).ok_or_else(foreign)?;
    Ok(Some(StudyCursor { received_at_ms, uid }))
}
