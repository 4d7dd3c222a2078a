//! `ExchangeService`: drafts out to other systems, and studies in from them.

use std::sync::Arc;

use prelim_proto::ids::Uid;
use prelim_proto::v1;
use prelim_proto::v1::exchange_service_server::ExchangeService;
use tonic::{Request, Response, Status};

use super::status;
use crate::audit::Act;
use crate::dimse::scu::find::{FoundStudy, Question};
use crate::service::Coordinator;
use crate::session::Session;
use crate::store::delivery::DeliveryRecord;
use crate::store::record::{StudyCursor, StudyQuery, StudyRecord};

/// Studies a page where the client does not say, and at most.
const PAGE: (u32, u32) = (50, 500);

/// The service.
pub(crate) struct Exchange(pub(crate) Arc<Coordinator>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ExchangeService for Exchange {
    async fn list_deliveries(&self, request: Request<v1::ListDeliveriesRequest>) -> Answer<v1::ListDeliveriesResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        if !request.study_uid.is_empty() {
            let study = uid(&request.study_uid)?;
            session.allow(&self.0, &study).await.map_err(status::of)?;
            self.0.record(&study).await.map_err(status::of)?;
            let held = self.0.deliveries(&study).await.map_err(status::of)?;
            session.note_query(Vec::new(), &[study]).await.map_err(status::of)?;
            let deliveries = held.into_iter().map(delivery).collect();
            return Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token: String::new() }));
        }
        let page = if request.page_size == 0 { PAGE.0 } else { request.page_size.min(PAGE.1) } as usize;
        let after = after(&request.page_token)?;
        // One more than asked for tells whether there is another page.
        let query = StudyQuery { after, tenants: session.tenants(), limit: page + 1, ..StudyQuery::default() };
        let mut studies = self.0.studies(query).await.map_err(status::of)?;
        let is_last = studies.len() <= page;
        studies.truncate(page);
        let next_page_token = match studies.last() {
            Some(last) if !is_last => token(last),
            _ => String::new(),
        };
        let mut deliveries = Vec::new();
        for study in studies.iter().filter(|study| study.draft_version > 0) {
            deliveries.extend(self.0.deliveries(&study.uid).await.map_err(status::of)?.into_iter().map(delivery));
        }
        let place = (!request.page_token.is_empty()).then(|| format!("page_token={}", request.page_token));
        let asked = std::iter::once(format!("page_size={page}")).chain(place);
        session.note_query(asked.collect(), &[]).await.map_err(status::of)?;
        Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn deliver_study(&self, request: Request<v1::DeliverStudyRequest>) -> Answer<v1::DeliverStudyResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let study = uid(&request.study_uid)?;
        session.allow(&self.0, &study).await.map_err(status::of)?;
        session.note(Act::Reported, std::slice::from_ref(&study)).await.map_err(status::of)?;
        let held = self.0.deliver(&study, &request.destination).await.map_err(status::of)?;
        let deliveries = held.into_iter().map(delivery).collect();
        Ok(Response::new(v1::DeliverStudyResponse { deliveries }))
    }

    async fn find_remote_studies(
        &self,
        request: Request<v1::FindRemoteStudiesRequest>,
    ) -> Answer<v1::FindRemoteStudiesResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        // Whose they are is known when they are fetched; who may fetch for nobody has nothing to ask.
        session.tenant_for_submission("").await.map(drop).or_else(choice).map_err(status::of)?;
        let question = Question {
            study: if request.study_uid.is_empty() { String::new() } else { uid(&request.study_uid)?.into() },
            accession_number: request.accession_number,
            patient_id: request.patient_id,
            study_date: request.study_date,
        };
        let asked = [
            ("source", &request.source),
            ("StudyInstanceUID", &question.study),
            ("AccessionNumber", &question.accession_number),
            ("PatientID", &question.patient_id),
            ("StudyDate", &question.study_date),
        ];
        let asked = asked.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}"));
        session.note_query(asked.collect(), &[]).await.map_err(status::of)?;
        let found = self.0.find_remote(&request.source, &question).await.map_err(status::of)?;
        let studies = found.into_iter().map(remote).collect();
        Ok(Response::new(v1::FindRemoteStudiesResponse { studies }))
    }

    async fn fetch_remote_study(
        &self,
        request: Request<v1::FetchRemoteStudyRequest>,
    ) -> Answer<v1::FetchRemoteStudyResponse> {
        let session = Session::of(&request);
        let request = request.into_inner();
        let study = uid(&request.study_uid)?;
        let tenant = session.tenant_for_submission(&request.tenant).await.map_err(status::of)?;
        session.note(Act::Fetched, std::slice::from_ref(&study)).await.map_err(status::of)?;
        let fetched = self.0.fetch_remote(&request.source, &study, &tenant).await.map_err(status::of)?;
        let fetched = v1::Fetched {
            study_uid: study.into(),
            by: fetched.by.to_owned(),
            expected: fetched.expected,
            held: fetched.held,
            accepted: fetched.accepted,
            failed: fetched.failed,
            reasons: fetched.reasons,
        };
        Ok(Response::new(v1::FetchRemoteStudyResponse { fetched: Some(fetched) }))
    }
}

/// Who has the choice among tenants may look before it chooses.
fn choice(error: crate::service::ServiceError) -> Result<(), crate::service::ServiceError> {
    use crate::access::Refusal;
    use crate::service::ServiceError;
    match error {
        ServiceError::Refused(Refusal::TenantUnclear { .. }) => Ok(()),
        error => Err(error),
    }
}

fn uid(text: &str) -> Result<Uid, Status> {
    Uid::parse(text).map_err(|error| status::invalid("study_uid", error.to_string()))
}

/// A place in the list of studies, as text.
fn token(last: &StudyRecord) -> String {
    format!("{} {}", last.received_at_ms, last.uid)
}

/// What [`token`] wrote.
fn after(token: &str) -> Result<Option<StudyCursor>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let foreign = || status::invalid("page_token", "not a token of this list; start again without one");
    let (time, uid) = token.split_once(' ').ok_or_else(foreign)?;
    let received_at_ms = time.parse().map_err(|_| foreign())?;
    Ok(Some(StudyCursor { received_at_ms, uid: Uid::parse(uid).map_err(|_| foreign())? }))
}

fn delivery(record: DeliveryRecord) -> v1::Delivery {
    v1::Delivery {
        study_uid: record.key.study.into(),
        version: record.key.version,
        destination: record.key.destination,
        object: record.key.object,
        state: record.state.as_str().to_owned(),
        attempts: record.attempts,
        answer: record.answer,
        instance_uid: record.instance,
        created_at_ms: record.created_at_ms,
        updated_at_ms: record.updated_at_ms,
    }
}

fn remote(found: FoundStudy) -> v1::RemoteStudy {
    v1::RemoteStudy {
        study_uid: found.study,
        patient_id: found.patient_id,
        patient_name: found.patient_name,
        accession_number: found.accession_number,
        study_date: found.study_date,
        description: found.description,
        modalities: found.modalities,
        instance_count: found.instances.unwrap_or(0),
    }
}
