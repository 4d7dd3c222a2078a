//! A client that does not give up: it repeats an upload under its request id until somebody acknowledges it.

use std::time::{Duration, Instant};

use prelim_proto::v1::study_service_client::StudyServiceClient;
use prelim_proto::v1::submit_studies_request::Part;
use prelim_proto::v1::worker_service_client::WorkerServiceClient;
use prelim_proto::v1::{
    Disposition, GetReportRequest, ObjectEnd, ObjectStart, Priority, ReportFormat, SubmitHeader, SubmitStudiesRequest,
    SubmitStudiesResponse,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::studies::TinyStudy;

/// Time for one try: longer than a pause, shorter than patience.
const TRY: Duration = Duration::from_secs(10);
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

async fn connect(address: &str) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect_timeout(CONNECT).tcp_nodelay(true).connect().await;
    channel.map_err(|error| Status::unavailable(error.to_string()))
}

/// Clients of the services at `address`.
pub(crate) async fn studies(address: &str) -> Result<StudyServiceClient<Channel>, Status> {
    Ok(StudyServiceClient::new(connect(address).await?))
}

/// What workers ask.
pub(crate) async fn workers(address: &str) -> Result<WorkerServiceClient<Channel>, Status> {
    Ok(WorkerServiceClient::new(connect(address).await?))
}

/// Sends a study once.
pub(crate) async fn submit(address: &str, study: &TinyStudy) -> Result<SubmitStudiesResponse, Status> {
    let header = SubmitHeader {
        request_id: format!("send {}", study.uid),
        priority: Priority::Routine as i32,
        ..SubmitHeader::default()
    };
    let mut parts = vec![Part::Header(header)];
    for (view, object) in study.objects.iter().enumerate() {
        parts.push(Part::Start(ObjectStart { name: view.to_string(), size_bytes: object.len() as u64 }));
        parts.push(Part::Chunk(object.clone()));
        parts.push(Part::End(ObjectEnd::default()));
    }
    let stream = futures::stream::iter(parts.into_iter().map(|part| SubmitStudiesRequest { part: Some(part) }));
    let mut request = Request::new(stream);
    request.set_timeout(TRY);
    Ok(studies(address).await?.submit_studies(request).await?.into_inner())
}

/// Sends a study to one coordinator after the other until one says that every object is held; how many tries that took.
///
/// # Panics
/// Where it takes longer than `patience`, an object is refused, or a coordinator says that it was at fault.
pub(crate) async fn submit_until_held(addresses: &[String], study: &TinyStudy, patience: Duration) -> u32 {
    let began = Instant::now();
    let mut tries = 0;
    let mut last = String::new();
    for address in addresses.iter().cycle() {
        assert!(began.elapsed() < patience, "study {} was not taken in {tries} tries: {last}", study.uid);
        tries += 1;
        let tried = tokio::time::timeout(TRY, submit(address, study)).await;
        match tried.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))) {
            Ok(response) => {
                assert_eq!(response.objects.len(), study.objects.len());
                for object in response.objects {
                    assert_ne!(object.disposition(), Disposition::Refused, "{object:?}");
                }
                return tries;
            }
            Err(status) => {
                assert!(status.code() != Code::Internal || !status.message().starts_with("store:"), "{status:?}");
                last = format!("{status:?}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    unreachable!("a cycle has no end")
}

/// The newest draft of a study as JSON.
pub(crate) async fn draft(client: &mut StudyServiceClient<Channel>, study: &str) -> Result<serde_json::Value, Status> {
    let request = GetReportRequest { study_uid: study.to_owned(), format: ReportFormat::Json as i32, version: 0 };
    let report = client.get_report(request).await?.into_inner().report.unwrap_or_default();
    Ok(serde_json::from_slice(&report.content).expect("a draft is JSON"))
}
