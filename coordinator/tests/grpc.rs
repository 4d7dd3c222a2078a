//! A coordinator from the outside: studies in, jobs out and back, drafts fetched.

mod support;

use std::sync::Arc;

use prelim_coordinator::CoordinatorConfig;
use prelim_coordinator::clock::{Clock as _, ManualClock, SystemClock};
use prelim_coordinator::queue::IntakeLimits;
use prelim_coordinator::retain::RetainConfig;
use prelim_coordinator::store::JobStore as _;
use prelim_coordinator::store::embedded::EmbeddedStore;
use prelim_coordinator::store::notes::{Notes as _, PutNote};
use prelim_coordinator::store::record::{AddInstances, InstanceRecord};
use prelim_proto::ids::{Digest, Tenant, Uid};
use prelim_proto::study::{Instance, Priority, StudyAttributes};
use prelim_proto::v1::{self, Disposition, JobKind, ReportFormat, StudyState};
use support::{Running, slice};
use tonic::Code;
use tonic_types::StatusExt as _;

/// Leases the next CT job, waiting up to a minute.
async fn lease(running: &mut Running) -> v1::Lease {
    let request = v1::LeaseRequest {
        worker_id: "w".into(),
        kinds: vec![JobKind::ReadCt as i32],
        wait_ms: 60_000,
        ..Default::default()
    };
    running.workers.lease(request).await.unwrap().into_inner().lease.expect("a job is waiting")
}

fn held(lease: &v1::Lease) -> Option<v1::HeldLease> {
    Some(v1::HeldLease { job_id: lease.job.as_ref().unwrap().id.clone(), token: lease.token })
}

/// What a model might say of every slice of the job: a nodule on the left.
fn outcome(lease: &v1::Lease) -> v1::JobOutcome {
    let job = lease.job.as_ref().unwrap();
    let finding = |image: &v1::ImageRef| v1::Finding {
        code: "nodule".into(),
        presence: v1::Presence::Present as i32,
        laterality: v1::Laterality::Left as i32,
        confidence: 0.75,
        evidence: vec![v1::Evidence {
            instance_uid: image.instance_uid.clone(),
            series_uid: image.series_uid.clone(),
            frame: image.frame,
            bounds: Some(v1::ImageBox { top: 0.25, left: 0.5, bottom: 0.5, right: 0.75 }),
            confidence: 0.75,
        }],
        ..v1::Finding::default()
    };
    v1::JobOutcome {
        findings: job.images.iter().map(finding).collect(),
        frames_read: job.images.len() as u32,
        model: Some(v1::ModelProvenance {
            name: "test".into(),
            digest: "0".repeat(64),
            ..v1::ModelProvenance::default()
        }),
        ..v1::JobOutcome::default()
    }
}

/// Files below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

/// Asks for the first image of the leased job.
fn read_request(lease: &v1::Lease) -> v1::ReadObjectRequest {
    let job = lease.job.as_ref().unwrap();
    let digest = job.images[0].digest.clone();
    v1::ReadObjectRequest { digest, job_id: job.id.clone(), token: lease.token, chunks_only: false }
}

async fn complete(running: &mut Running, lease: &v1::Lease) -> Result<(), tonic::Status> {
    let request = v1::CompleteRequest {
        worker_id: "w".into(),
        lease: held(lease),
        outcome: Some(outcome(lease)),
        ..Default::default()
    };
    running.workers.complete(request).await.map(|_| ())
}

/// The last states of the studies named, once all are settled.
async fn settled(running: &mut Running, studies: &[&str]) -> Vec<v1::Study> {
    let study_uids = studies.iter().map(ToString::to_string).collect();
    let mut changes = running.studies.watch_studies(v1::WatchStudiesRequest { study_uids }).await.unwrap().into_inner();
    let mut newest = std::collections::BTreeMap::new();
    while let Some(change) = changes.message().await.unwrap() {
        newest.extend(change.study.map(|study| (study.uid.clone(), study)));
    }
    newest.into_values().collect()
}

async fn report(running: &mut Running, study: &str, format: ReportFormat) -> Result<Vec<u8>, tonic::Status> {
    let request = v1::GetReportRequest { study_uid: study.into(), format: format as i32, version: 0 };
    Ok(running.studies.get_report(request).await?.into_inner().report.unwrap().content)
}

#[tokio::test]
async fn a_study_becomes_a_draft_in_every_form() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    let response = running.submit("a", (0..5).map(|i| ("slice", slice(7, i))).collect()).await;
    assert_eq!(response.study_uids, ["1.2.7"]);
    assert!(response.objects.iter().all(|object| object.disposition() == Disposition::Accepted));

    let lease = lease(&mut running).await;
    let job = lease.job.clone().unwrap();
    assert_eq!(job.images.len(), 5);
    let mut stream = running.workers.read_object(read_request(&lease)).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await.unwrap() {
        bytes.extend(part.chunk);
    }
    assert_eq!(bytes, slice(7, 0));

    complete(&mut running, &lease).await.unwrap();
    complete(&mut running, &lease).await.expect("a repeated commit is answered as the first time");
    let studies = settled(&mut running, &["1.2.7"]).await;
    assert_eq!(studies[0].state(), StudyState::Drafted);

    let json = report(&mut running, "1.2.7", ReportFormat::Json).await.unwrap();
    let document = prelim_coordinator::report::json::parse(&json).unwrap();
    assert_eq!(document.report.findings.len(), 1);
    assert!(String::from_utf8(json).unwrap().contains("not a medical device"));
    let html = String::from_utf8(report(&mut running, "1.2.7", ReportFormat::Html).await.unwrap()).unwrap();
    assert!(html.contains("data:image/png;base64"), "the key image is in the page");
    for (format, begins) in [(ReportFormat::Fhir, "{"), (ReportFormat::Hl7, "MSH|"), (ReportFormat::Pdf, "%PDF-")] {
        let content = report(&mut running, "1.2.7", format).await.unwrap();
        assert!(content.starts_with(begins.as_bytes()), "{format:?}");
    }
    for format in [
        ReportFormat::DicomSr,
        ReportFormat::DicomPdf,
        ReportFormat::DicomSc,
        ReportFormat::DicomKeyObjects,
        ReportFormat::DicomPresentationState,
    ] {
        let content = report(&mut running, "1.2.7", format).await.unwrap();
        assert_eq!(&content[128..132], b"DICM", "{format:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    running.submit("a", vec![("one", slice(1, 0))]).await;
    let first = lease(&mut running).await;
    running.stop().await;

    let mut running = Running::start(data.path()).await;
    complete(&mut running, &first).await.expect("a lease outlives the coordinator");
    assert_eq!(settled(&mut running, &["1.2.1"]).await[0].state(), StudyState::Drafted);
    running.stop().await;
}

#[tokio::test]
async fn a_silent_worker_loses_its_job_and_cannot_commit() {
    let data = tempfile::tempdir().unwrap();
    let short = CoordinatorConfig { data: data.path().to_owned(), lease_ttl_ms: 4_000, ..CoordinatorConfig::default() };
    let mut running = Running::with(short).await;
    running.submit("a", vec![("one", slice(2, 0))]).await;
    let stale = lease(&mut running).await;
    // The lease lasts four seconds; the job comes back by itself.
    let fresh = loop {
        let request = v1::LeaseRequest {
            worker_id: "v".into(),
            kinds: vec![JobKind::ReadCt as i32],
            wait_ms: 10_000,
            ..Default::default()
        };
        if let Some(lease) = running.workers.lease(request).await.unwrap().into_inner().lease {
            break lease;
        }
    };
    assert!(fresh.token > stale.token);
    let unread = running.workers.read_object(read_request(&stale)).await.unwrap_err();
    assert_eq!(unread.code(), Code::FailedPrecondition, "bytes are for who holds the lease");
    assert!(running.workers.read_object(read_request(&fresh)).await.is_ok());
    let refused = complete(&mut running, &stale).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "LEASE_LOST");
    complete(&mut running, &fresh).await.unwrap();
    assert_eq!(settled(&mut running, &["1.2.2"]).await[0].state(), StudyState::Drafted);
    running.stop().await;
}

#[tokio::test]
async fn the_next_job_comes_along_with_an_outcome_and_again_when_it_is_repeated() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    running.submit("a", vec![("one", slice(2, 0)), ("two", slice(3, 0))]).await;
    let first = lease(&mut running).await;
    let want = v1::LeaseRequest {
        worker_id: "w".into(),
        kinds: vec![JobKind::ReadCt as i32],
        wait_ms: 60_000,
        request_id: "next".into(),
        ..Default::default()
    };
    let request = |next| v1::CompleteRequest {
        worker_id: "w".into(),
        lease: held(&first),
        outcome: Some(outcome(&first)),
        next: Some(next),
        ..Default::default()
    };
    let wrong = v1::LeaseRequest { kinds: Vec::new(), ..want.clone() };
    let refused = running.workers.complete(request(wrong)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "and nothing is stored");
    let second = running.workers.complete(request(want.clone())).await.unwrap().into_inner().next.expect("it waits");
    assert_ne!(second.job, first.job);
    // As after an answer that was lost.
    let repeated = v1::LeaseRequest { repeated: true, ..want.clone() };
    let again = running.workers.complete(request(repeated)).await.unwrap().into_inner().next.expect("the same");
    assert_eq!((again.job, again.token), (second.job.clone(), second.token));
    // There is no third, and nobody waits for one.
    let last = v1::CompleteRequest {
        lease: held(&second),
        outcome: Some(outcome(&second)),
        ..request(v1::LeaseRequest { request_id: "last".into(), ..want.clone() })
    };
    assert_eq!(running.workers.complete(last).await.unwrap().into_inner().next, None);
    assert!(settled(&mut running, &["1.2.2", "1.2.3"]).await.iter().all(|study| study.state() == StudyState::Drafted));
    running.stop().await;
}

#[tokio::test]
async fn objects_that_cannot_be_taken_are_named_and_do_not_stop_the_others() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    let mut other = slice(3, 0);
    *other.last_mut().unwrap() ^= 1;
    let objects =
        vec![("notes", b"not an image".to_vec()), ("good", slice(3, 0)), ("again", slice(3, 0)), ("other", other)];
    let response = running.submit("a", objects).await;
    let dispositions: Vec<_> = response.objects.iter().map(|object| object.disposition()).collect();
    use Disposition::{Accepted, Duplicate, Refused};
    assert_eq!(dispositions, [Refused, Accepted, Duplicate, Refused]);
    assert!(response.objects[3].reason.contains("same SOP Instance UID"), "{}", response.objects[3].reason);
    // Only what was accepted is kept.
    let files = walk(&data.path().join("objects"));
    assert_eq!(files, 1);
    running.stop().await;
}

/// Puts a settled study into the store of a data folder, as of so long ago.
async fn settled_ago(data: &std::path::Path, study: &str, ago_ms: i64) {
    let store = EmbeddedStore::open(data, Arc::new(ManualClock::at(SystemClock::default().now_ms() - ago_ms))).unwrap();
    let uid = |text: &str| Uid::parse(text).unwrap();
    let instance = Instance {
        uid: uid("1.2.3.4"),
        sop_class: uid("1.2.840.10008.5.1.4.1.1.1.1"),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
        digest: Digest::from_bytes(&[1; 32]),
        size_bytes: 100,
        number: None,
        source_name: None,
        image: None,
    };
    let record = InstanceRecord {
        series: uid("1.2.3"),
        modality: "DX".into(),
        description: String::new(),
        number: None,
        requests: Vec::new(),
        instance,
    };
    let add = AddInstances {
        study: uid(study),
        tenant: Tenant::default(),
        attributes: StudyAttributes::default(),
        priority: Priority::Routine,
        instances: vec![record],
        limits: IntakeLimits::default(),
    };
    store.add_instances(add).await.unwrap();
    store.cancel_study(&uid(study), "a test").await.unwrap();
}

/// A study is old where coordinators are known to have run since, and not because the clock says so at a start.
#[tokio::test]
async fn a_clock_that_is_far_ahead_at_a_start_removes_nothing() {
    let day_ms = 86_400_000;
    let data = tempfile::tempdir().unwrap();
    settled_ago(data.path(), "1.2.9", 400 * day_ms).await;
    let config = CoordinatorConfig {
        data: data.path().to_owned(),
        retain: RetainConfig { keep_days: Some(30), ..RetainConfig::default() },
        ..CoordinatorConfig::default()
    };
    // It is looked at the start; the second time it is known that time went by.
    for (is_known, expected) in [(false, StudyState::Cancelled), (true, StudyState::Removing)] {
        if is_known {
            let clock = Arc::new(SystemClock::default());
            let store = EmbeddedStore::open(data.path(), clock.clone()).unwrap();
            let mark = format!(r#"{{"at_ms":{},"held_ms":0}}"#, clock.now_ms());
            store.put_note(PutNote::new("retain/mark/".to_owned(), mark, 86_400_000)).await.unwrap();
        }
        let mut running = Running::with(config.clone()).await;
        let mut state = StudyState::Cancelled;
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let request = v1::GetStudyRequest { study_uid: "1.2.9".into() };
            state = running.studies.get_study(request).await.unwrap().into_inner().study.unwrap().state();
            if state == StudyState::Removing {
                break;
            }
        }
        assert_eq!(state, expected, "{is_known}");
        running.stop().await;
    }
}

/// What the byte store lost comes back by being sent again, and what was given up for it is read.
#[tokio::test]
async fn lost_bytes_are_stored_anew_when_they_are_sent_again() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    running.submit("a", vec![("one", slice(5, 0)), ("two", slice(5, 1))]).await;
    let objects = data.path().join("objects/studies");
    std::fs::remove_dir_all(&objects).unwrap();
    let first = lease(&mut running).await;
    let lost = running.workers.read_object(read_request(&first)).await.unwrap_err();
    assert_eq!(lost.code(), Code::NotFound);
    let request =
        v1::FailRequest { worker_id: "w".into(), lease: held(&first), reason: "no object".into(), retryable: false };
    running.workers.fail(request).await.unwrap();
    assert_eq!(settled(&mut running, &["1.2.5"]).await[0].state(), StudyState::Failed);

    let response = running.submit("b", vec![("one", slice(5, 0)), ("two", slice(5, 1))]).await;
    assert!(response.objects.iter().all(|object| object.disposition() == Disposition::Duplicate));
    let again = lease(&mut running).await;
    assert_eq!(again.job.as_ref().unwrap().id, first.job.as_ref().unwrap().id, "the job that was given up");
    running.workers.read_object(read_request(&again)).await.unwrap();
    complete(&mut running, &again).await.unwrap();
    assert_eq!(settled(&mut running, &["1.2.5"]).await[0].state(), StudyState::Drafted);
    running.stop().await;
}

/// Nothing is acknowledged that would be looked for in vain.
#[tokio::test]
async fn nothing_is_taken_while_the_data_folder_is_elsewhere() {
    let work = tempfile::tempdir().unwrap();
    let (data, elsewhere) = (work.path().join("data"), work.path().join("elsewhere"));
    let bytes = work.path().join("bytes");
    let config = CoordinatorConfig {
        data: data.clone(),
        bytes: Some(format!("file://{}", bytes.display())),
        ..CoordinatorConfig::default()
    };
    let mut running = Running::with(config).await;
    for folder in [&data, &bytes] {
        std::fs::rename(folder, &elsewhere).unwrap();
        let refused = running.try_submit("a", vec![("one", slice(6, 0))]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(refused.message().contains("it was moved"), "{}", refused.message());
        assert!(!folder.exists(), "nothing is made in its place");
        std::fs::rename(&elsewhere, folder).unwrap();
    }
    let response = running.submit("a", vec![("one", slice(6, 0))]).await;
    assert_eq!(response.objects[0].disposition(), Disposition::Accepted);
    running.stop().await;
}

#[tokio::test]
async fn a_cancelled_study_stays_so_until_it_is_sent_again() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    running.submit("a", vec![("one", slice(4, 0))]).await;
    let lease = lease(&mut running).await;
    let request = v1::CancelStudyRequest { study_uid: "1.2.4".into(), reason: "wrong patient".into() };
    let study = running.studies.cancel_study(request).await.unwrap().into_inner().study.unwrap();
    assert_eq!((study.state(), study.state_reason.as_deref()), (StudyState::Cancelled, Some("wrong patient")));
    let renewal =
        v1::RenewRequest { worker_id: "w".into(), leases: held(&lease).into_iter().collect(), ..Default::default() };
    let renewed = running.workers.renew(renewal).await.unwrap().into_inner();
    assert_eq!(renewed.leases[0].status(), v1::LeaseStatus::Cancelled);
    running.submit("b", vec![("one", slice(4, 0))]).await;
    let again = running.studies.get_study(v1::GetStudyRequest { study_uid: "1.2.4".into() }).await.unwrap();
    assert_eq!(again.into_inner().study.unwrap().state(), StudyState::Queued);
    running.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_unknown_things_are_named() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path()).await;
    running.submit("a", (10..15).map(|study| ("one", slice(study, 0))).collect()).await;
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListStudiesRequest { page_size: 2, page_token, states: vec![] };
        let page = running.studies.list_studies(request).await.unwrap().into_inner();
        found.extend(page.studies.into_iter().map(|study| study.uid));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    found.sort();
    assert_eq!(found, ["1.2.10", "1.2.11", "1.2.12", "1.2.13", "1.2.14"]);

    let foreign = v1::ListStudiesRequest { page_size: 2, page_token: "nonsense".into(), states: vec![] };
    assert_eq!(running.studies.list_studies(foreign).await.unwrap_err().code(), Code::InvalidArgument);
    let missing = report(&mut running, "9.9", ReportFormat::Json).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let waiting = report(&mut running, "1.2.10", ReportFormat::Json).await.unwrap_err();
    assert_eq!(waiting.code(), Code::FailedPrecondition);
    assert!(waiting.message().contains("queued"), "{}", waiting.message());
    running.stop().await;
}

#[tokio::test]
async fn health_and_both_reflections_answer() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path()).await;
    let channel = tonic::transport::Channel::from_shared(running.address.clone()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: "prelim.v1.StudyService".into() };
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);

    use tonic_reflection::pb::{v1, v1alpha};
    let ask = v1::server_reflection_request::MessageRequest::FileContainingSymbol("prelim.v1.StudyService".into());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let ask =
        v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol("prelim.v1.WorkerService".into());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    running.stop().await;
}
