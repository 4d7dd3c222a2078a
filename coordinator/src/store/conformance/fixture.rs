//! Small studies, jobs and outcomes to test stores with.

use std::sync::Arc;

use prelim_proto::cost::JobCost;
use prelim_proto::demand::{Demand, Offer};
use prelim_proto::finding::{Finding, Presence};
use prelim_proto::ids::{Digest, JobId, Tenant, Uid};
use prelim_proto::image::ImageKind;
use prelim_proto::job::{ImageRef, ImageRole, JobKind, JobOutcome, JobSpec};
use prelim_proto::priors::ToldBlob;
use prelim_proto::report::{ModelProvenance, Urgency};
use prelim_proto::review::{Decision, Standing};
use prelim_proto::study::{
    Completion, CompletionReason, Instance, Priority, Route, StudyAttributes, Unread, UnreadReason,
};
use prelim_proto::vocabulary::FindingCode;

use crate::queue::{IntakeLimits, head_start_ms};
use crate::store::delivery::Wish;
use crate::store::record::{
    AddInstances, CompleteStudies, InstanceRecord, Judged, LeaseRequest, Merged, Plan, Reviewed, StudyRecord, Summary,
};

pub(crate) const XRAY: JobKind = JobKind::Read(ImageKind::Xray);
pub(crate) const CT: JobKind = JobKind::Read(ImageKind::Ct);

pub(crate) fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// Study number `n`.
pub(crate) fn study(n: u8) -> Uid {
    uid(&format!("1.2.{n}"))
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest::from_bytes(&[n; 32])
}

/// Instance `n` of a study, with contents `contents`.
pub(crate) fn instance(of: &Uid, n: u8, contents: u8) -> InstanceRecord {
    InstanceRecord {
        series: uid(&format!("{of}.1")),
        modality: "DX".into(),
        description: String::new(),
        number: None,
        requests: Vec::new(),
        instance: Instance {
            uid: uid(&format!("{of}.1.{n}")),
            sop_class: uid("1.2.840.10008.5.1.4.1.1.1.1"),
            transfer_syntax: uid("1.2.840.10008.1.2.1"),
            digest: digest(contents),
            size_bytes: 100,
            number: Some(n.into()),
            source_name: None,
            image: None,
        },
    }
}

pub(crate) fn add(of: &Uid, instances: Vec<InstanceRecord>) -> AddInstances {
    AddInstances {
        study: of.clone(),
        tenant: Tenant::default(),
        attributes: StudyAttributes { patient_id: format!("P{of}"), ..StudyAttributes::default() },
        priority: Priority::Routine,
        instances,
        limits: IntakeLimits { max_open_studies: 100, max_open_of_tenant: 100, max_instances_per_study: 50 },
    }
}

pub(crate) fn complete(of: &Uid, request_id: Option<&str>) -> CompleteStudies {
    CompleteStudies {
        request_id: request_id.map(str::to_owned),
        studies: vec![of.clone()],
        completion: completion(CompletionReason::Told),
    }
}

pub(crate) fn completion(reason: CompletionReason) -> Completion {
    Completion { reason, detail: "in words".into() }
}

/// A study that has just begun.
pub(crate) fn record_of(study: &str) -> StudyRecord {
    crate::store::machine::new_study(&add(&uid(study), Vec::new()), 0)
}

/// A plan of read jobs of the given kinds, numbered from `first`.
pub(crate) fn plan(of: &Uid, generation: u32, first: u32, kinds: &[JobKind], priority: Priority) -> Plan {
    let job = |(kind, number): (&JobKind, u32)| JobSpec {
        id: JobId::new(of.clone(), number),
        kind: *kind,
        images: vec![image(of)],
        body_part: Some("CHEST".into()),
        priority,
        demand: Demand::default(),
        told: Some(ToldBlob { digest: Digest::from_bytes(&[4; 32]), size_bytes: 40 }),
        compared: Some(Digest::from_bytes(&[5; 32])),
    };
    Plan {
        generation,
        jobs: kinds.iter().zip(first..).map(job).collect(),
        priority,
        route: Route { rule: "chests".into(), destinations: vec!["pacs".into()], demand: Demand::default() },
        head_start_ms: head_start_ms(priority),
        unread: vec![Unread {
            instance: uid(&format!("{of}.1.9")),
            frame: None,
            reason: UnreadReason::NotNeeded,
            detail: "localizer".into(),
        }],
        notes: vec!["one series".into()],
        failure: "nothing to read".into(),
        skipped: false,
    }
}

/// Question `n` about a study.
pub(crate) fn question(of: &Uid, n: u32, demand: &str) -> JobSpec {
    JobSpec {
        id: JobId::new(of.clone(), JobId::FIRST_QUESTION + n),
        kind: JobKind::Answer,
        images: vec![image(of)],
        body_part: None,
        priority: Priority::Stat,
        demand: Demand::from_key(demand).unwrap(),
        told: None,
        compared: None,
    }
}

/// A plan whose jobs demand something.
pub(crate) fn demanding(plan: Plan, demand: &Demand) -> Plan {
    let jobs = plan.jobs.into_iter().map(|job| JobSpec { demand: demand.clone(), ..job }).collect();
    let route = Route { demand: demand.clone(), ..plan.route };
    Plan { jobs, route, ..plan }
}

/// A worker's offer: a model, empty for none, and prompts.
pub(crate) fn offer(model: &str, prompts: &[&str]) -> Offer {
    Offer::from_wire(model, &[], &prompts.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn image(of: &Uid) -> ImageRef {
    ImageRef {
        instance: uid(&format!("{of}.1.1")),
        series: uid(&format!("{of}.1")),
        frame: 1,
        digest: digest(1),
        size_bytes: 100,
        role: ImageRole::Read,
        plane: None,
        pixel_spacing_mm: Some((0.5, 0.5)),
        label: "PA".into(),
    }
}

pub(crate) fn wanted(worker: &str, kinds: &[JobKind], ttl_ms: u64) -> LeaseRequest {
    LeaseRequest {
        worker: worker.into(),
        request: String::new(),
        repeats: false,
        kinds: kinds.to_vec(),
        offer: Offer::default(),
        tenants: None,
        held: Vec::new(),
        ttl_ms,
        shares: Arc::default(),
    }
}

/// An outcome that says which attempt it is from.
pub(crate) fn outcome(mark: u64) -> JobOutcome {
    JobOutcome {
        findings: vec![Finding {
            code: FindingCode::Pneumothorax,
            presence: Presence::Present,
            laterality: None,
            zone: None,
            severity: None,
            size_mm: Some(12.5),
            confidence: 0.75,
            evidence: Vec::new(),
        }],
        frames_read: 1,
        unread: Vec::new(),
        truncated: false,
        limitations: vec![format!("attempt {mark}")],
        model: ModelProvenance {
            name: "test".into(),
            digest: digest(9),
            prompt_version: "1".into(),
            preprocess_version: "1".into(),
            arithmetic: "cpu f32".into(),
            software_version: "0".into(),
            demonstration: true,
            base: None,
        },
        cost: JobCost { prompt_tokens: 100, generated_tokens: mark, ..JobCost::default() },
        answer: None,
    }
}

pub(crate) fn draft(version: u32) -> Merged {
    let deliveries = vec![wish("pacs", "sr"), wish("archive", "sr")];
    let objects = vec!["sr".to_owned(), "kos".to_owned()];
    let (digest, summary) = (digest(version as u8), Box::new(summary(version)));
    Merged::Draft { version, digest, size_bytes: 10, objects, summary, unread: Vec::new(), deliveries }
}

/// What lists tell of a version.
pub(crate) fn summary(version: u32) -> Summary {
    Summary {
        urgency: Urgency::Urgent,
        findings: version,
        confidence: Some(0.25),
        partial: false,
        body_part: Some("CHEST".into()),
        station: None,
        device: Some("Maker \"Model\"".into()),
        demonstration: true,
        models: vec!["m".into()],
        judged: Some(Judged { at_ms: 5, decisions: vec![(FindingCode::Nodule, Decision::Changed)] }),
    }
}

pub(crate) fn reviewed(version: u32, standing: Standing, request: &str) -> Reviewed {
    Reviewed {
        version,
        standing,
        request: request.to_owned(),
        digest: digest(100 + version as u8),
        size_bytes: 20,
        objects: vec!["sr".to_owned(), "assessment".to_owned()],
        summary: summary(version),
        deliveries: vec![wish("pacs", "sr")],
    }
}

pub(crate) fn wish(destination: &str, object: &str) -> Wish {
    Wish { destination: destination.to_owned(), object: object.to_owned() }
}
