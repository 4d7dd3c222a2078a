//! Random operations on a store and on the state machine side by side: every answer, and all that can be seen
//! afterwards, must be the same.

use std::fmt::Debug;
use std::sync::Arc;

use prelim_proto::demand::Demand;
use prelim_proto::ids::{FencingToken, JobId, Tenant, Uid};
use prelim_proto::job::{JobKind, JobState};
use prelim_proto::review::Standing;
use prelim_proto::study::{CompletionReason, Priority, StudyState};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::fixture::{
    CT, XRAY, add, complete, completion, demanding, draft, instance, offer, outcome, plan, question, reviewed, study,
    wanted, wish,
};
use super::steps::{begun, ended};
use super::{Harness, notes, worklist};
use crate::clock::{Clock as _, ManualClock};
use crate::queue::{Share, Shares, Verdict};
use crate::store::delivery::{DeliveryEnd, DeliveryKey, DeliveryState};
use crate::store::memory::{Maps, MemoryStore};
use crate::store::record::{
    AddInstances, Arriving, CompleteStudies, Due, Heartbeat, LeaseRequest, Merged, Plan, StudyQuery,
};
use crate::store::records::Reads as _;
use crate::store::step::PutStep;
use crate::store::{JobStore, StoreError};

/// Studies in play.
const STUDIES: u8 = 2;
/// Destinations in play.
const DESTINATIONS: [&str; 2] = ["pacs", "archive"];
/// What jobs in play demand of workers.
const DEMANDS: [&str; 4] = ["", "a", "a\tp", "\tp"];
/// Operations in a sequence, at most.
const STEPS: usize = 60;

/// One operation. Leases are named by their number in the order in which they were given, so that old tokens come up
/// again and again.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Add { study: u8, instance: u8, contents: u8, foreign: bool, stat: bool },
    Preview { study: u8, instance: u8 },
    Complete { study: u8, request: Option<u8> },
    Due { study: u8, stale: bool, in_ms: i64 },
    Arrive { study: u8, association: u8 },
    Leave { study: u8, association: u8, whole: bool },
    Expect { study: u8, instances: u32 },
    Plan { study: u8, jobs: u8, stale: bool, stat: bool, demand: u8 },
    Lease { kinds: u8, ttl_ms: u64, request: Option<u8>, held: u8, bound: bool, offer: u8 },
    Renew { lease: usize },
    Release { lease: usize },
    Finish { lease: usize },
    Fail { lease: usize, verdict: Verdict },
    Expire { lease: usize, verdict: Verdict },
    Merge { lease: usize, draft: bool },
    Review { study: u8, standing: u8, stale: bool, request: u8 },
    Wish { study: u8, again: bool },
    Send { to: u8, ttl_ms: u64, limit: usize },
    End { study: u8, to: u8, stale: bool, state: u8 },
    Ask { study: u8, question: u32, demand: u8 },
    EndQuestion { study: u8, question: u32, lease: Option<usize> },
    Cancel { study: u8 },
    Requeue { study: u8, job: u32 },
    Remove { study: u8, stale: bool },
    ForgetStudy { study: u8 },
    Advance { by_ms: u32 },
    Reopen,
    Reconcile,
    Forget,
    Heartbeat { worker: u8, process: u8 },
    Drain { worker: u8, drain: bool },
    ForgetWorker { worker: u8 },
    ForgetWorkers,
    Step { step: u8, study: u8, write: u8, end: bool, stale: bool },
    ForgetSteps,
    Worklist(worklist::Op),
    Notes(notes::Op),
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Dead), Just(Verdict::RetryIn(0)), (1_u64..30).prop_map(Verdict::RetryIn)]
}

/// Operations, the useful ones more often.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let study = || 0..STUDIES;
    // Mostly the newest leases.
    let lease = || prop_oneof![4 => 0_usize..3, 1 => 0_usize..12];
    prop_oneof![
        4 => (study(), 0_u8..3, 0_u8..8, 0_u8..16, prop::bool::weighted(0.2)).prop_map(
            |(study, instance, contents, foreign, stat)| {
                Op::Add { study, instance, contents: u8::from(contents == 0), foreign: foreign == 0, stat }
            }
        ),
        1 => (study(), 0_u8..3).prop_map(|(study, instance)| Op::Preview { study, instance }),
        5 => (study(), prop::option::of(0_u8..4)).prop_map(|(study, request)| Op::Complete { study, request }),
        2 => (study(), prop::bool::weighted(0.1), -5_i64..15)
            .prop_map(|(study, stale, in_ms)| Op::Due { study, stale, in_ms }),
        1 => (study(), 0_u8..3).prop_map(|(study, association)| Op::Arrive { study, association }),
        1 => (study(), 0_u8..3, any::<bool>())
            .prop_map(|(study, association, whole)| Op::Leave { study, association, whole }),
        1 => (study(), 1_u32..4).prop_map(|(study, instances)| Op::Expect { study, instances }),
        6 => (study(), 0_u8..4, prop::bool::weighted(0.1), any::<bool>(), 0_u8..8)
            .prop_map(|(study, jobs, stale, stat, demand)| Op::Plan { study, jobs, stale, stat, demand }),
        10 => (1_u8..16, 1_u64..40, prop::option::of(0_u8..2), 0_u8..4, prop::bool::weighted(0.2), 0_u8..4).prop_map(
            |(kinds, ttl_ms, request, held, bound, offer)| Op::Lease { kinds, ttl_ms, request, held, bound, offer }
        ),
        1 => lease().prop_map(|lease| Op::Renew { lease }),
        1 => lease().prop_map(|lease| Op::Release { lease }),
        8 => lease().prop_map(|lease| Op::Finish { lease }),
        3 => (lease(), verdict()).prop_map(|(lease, verdict)| Op::Fail { lease, verdict }),
        3 => (lease(), verdict()).prop_map(|(lease, verdict)| Op::Expire { lease, verdict }),
        6 => (lease(), prop::bool::weighted(0.8)).prop_map(|(lease, draft)| Op::Merge { lease, draft }),
        4 => (study(), 0_u8..3, prop::bool::weighted(0.1), 0_u8..4)
            .prop_map(|(study, standing, stale, request)| Op::Review { study, standing, stale, request }),
        1 => (study(), any::<bool>()).prop_map(|(study, again)| Op::Wish { study, again }),
        4 => (0_u8..2, 1_u64..40, 1_usize..3).prop_map(|(to, ttl_ms, limit)| Op::Send { to, ttl_ms, limit }),
        4 => (study(), 0_u8..2, prop::bool::weighted(0.1), 0_u8..8)
            .prop_map(|(study, to, stale, state)| Op::End { study, to, stale, state }),
        3 => (study(), 0_u32..2, 0_u8..4).prop_map(|(study, question, demand)| Op::Ask { study, question, demand }),
        2 => (study(), 0_u32..2, prop::option::of(lease()))
            .prop_map(|(study, question, lease)| Op::EndQuestion { study, question, lease }),
        1 => study().prop_map(|study| Op::Cancel { study }),
        2 => (study(), 0_u32..5).prop_map(|(study, job)| Op::Requeue { study, job }),
        1 => (study(), prop::bool::weighted(0.1)).prop_map(|(study, stale)| Op::Remove { study, stale }),
        1 => study().prop_map(|study| Op::ForgetStudy { study }),
        4 => (1_u32..30).prop_map(|by_ms| Op::Advance { by_ms }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Reconcile),
        1 => Just(Op::Forget),
        1 => (0_u8..2, 0_u8..3).prop_map(|(worker, process)| Op::Heartbeat { worker, process }),
        1 => (0_u8..2, any::<bool>()).prop_map(|(worker, drain)| Op::Drain { worker, drain }),
        2 => (0_u8..2, study(), 0_u8..6, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(step, study, write, end, stale)| Op::Step { step, study, write, end, stale }),
        1 => Just(Op::ForgetSteps),
        6 => worklist::op().prop_map(Op::Worklist),
        3 => notes::op().prop_map(Op::Notes),
        1 => prop_oneof![(0_u8..2).prop_map(|worker| Op::ForgetWorker { worker }), Just(Op::ForgetWorkers)],
    ]
}

/// The machine on maps, with the leases that it gave.
pub(crate) struct Model {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) leases: Vec<(JobId, FencingToken)>,
}

impl Model {
    /// An empty model whose clock stands at `now_ms`.
    pub(crate) fn new(now_ms: i64) -> Self {
        let clock = Arc::new(ManualClock::at(now_ms));
        Self { store: MemoryStore::new(clock.clone()), clock, leases: Vec::new() }
    }

    /// The model as it is now, apart from this one.
    pub(crate) fn fork(&self) -> Self {
        let clock = Arc::new(ManualClock::at(self.clock.now_ms()));
        let store = MemoryStore::with(self.store.maps(), clock.clone());
        Self { store, clock, leases: self.leases.clone() }
    }

    /// A lease, counted from the newest; one that never was where there is none.
    fn lease(&self, back: usize) -> (JobId, FencingToken) {
        let newest_first = self.leases.iter().rev();
        newest_first.cycle().nth(back).cloned().unwrap_or_else(|| (JobId::new(study(0), 0), FencingToken(77)))
    }
}

fn text(answer: impl Debug) -> String {
    format!("{answer:?}")
}

/// The number of the next lease.
fn next_lease(model: &Maps) -> u64 {
    model.hidden().1 + 100
}

/// Whom study `n` belongs to.
fn tenant(n: u8) -> Tenant {
    Tenant::parse(["east", "west"][usize::from(n % 2)]).unwrap()
}

/// East may run two jobs at a time and have one study open; west weighs twice as much.
fn shares() -> Arc<Shares> {
    let east = Share { max_running: Some(2), ..Share::default() };
    let west = Share { weight: 2, ..Share::default() };
    Arc::new(Shares { tenants: [(tenant(0), east), (tenant(1), west)].into(), ..Shares::default() })
}

fn adding(n: u8, i: u8, contents: u8, foreign: bool) -> AddInstances {
    let uid = study(n);
    let mut add = add(&uid, vec![instance(&uid, i, contents), instance(&uid, 0, 0)]);
    add.tenant = tenant(n + u8::from(foreign));
    add.limits.max_open_studies = 2;
    add.limits.max_open_of_tenant = 1;
    add
}

fn heartbeat(worker: u8, process: u8) -> Heartbeat {
    Heartbeat {
        worker: format!("w{worker}"),
        kinds: vec![XRAY],
        slots: 2,
        running: worker.into(),
        model: "m".into(),
        prompts: vec!["p".into()],
        adapters: vec!["a".into()],
        software_version: "0".into(),
        process: format!("p{process}"),
        questions: Vec::new(),
    }
}

/// Carries out one operation that concerns the store alone; the answer as text. The model says what the arguments stand
/// for.
pub(crate) async fn apply(store: &dyn JobStore, op: &Op, model: &Maps, lease: (JobId, FencingToken)) -> String {
    let (job, token) = lease;
    match op {
        Op::Add { study: n, instance: i, contents, foreign, stat } => {
            let mut add = adding(*n, *i, *contents, *foreign);
            add.priority = if *stat { Priority::Stat } else { Priority::Routine };
            let (preview, added) = (store.preview_instances(add.clone()).await, store.add_instances(add).await);
            // A disk may fail between the two.
            let broke = matches!(added, Err(StoreError::Storage(_) | StoreError::Disk(_) | StoreError::Full(_)));
            assert!(broke || preview == added, "a preview says what is then done: {preview:?}, {added:?}");
            text(added)
        }
        Op::Preview { study: n, instance: i } => text(store.preview_instances(adding(*n, *i, 0, false)).await),
        Op::Complete { study: n, request } => {
            let request = request.map(|r| format!("r{r}"));
            text(store.complete_studies(CompleteStudies { request_id: request, ..complete(&study(*n), None) }).await)
        }
        Op::Due { study: n, stale, in_ms } => {
            let known = model.study(&study(*n)).unwrap();
            let (changes, seen_ms) = known.map_or((0, 0), |known| (known.arrival.changes, known.last_instance_at_ms));
            let changes = changes.wrapping_sub(u64::from(*stale));
            let completion = completion(CompletionReason::QuietPeriod);
            let due = Due { study: study(*n), changes, at_ms: seen_ms + in_ms, completion };
            text(store.complete_due(vec![due]).await)
        }
        Op::Arrive { study: n, association } => {
            let sender = ["CT1", "CT2"][usize::from(association % 2)].to_owned();
            let begun = Arriving::Begun { association: format!("a{association}"), sender };
            text(store.note_arriving(&study(*n), begun).await)
        }
        Op::Leave { study: n, association, whole } => {
            let ended = Arriving::Ended { association: format!("a{association}"), whole: *whole };
            text(store.note_arriving(&study(*n), ended).await)
        }
        Op::Expect { study: n, instances } => {
            text(store.note_arriving(&study(*n), Arriving::Expected(*instances)).await)
        }
        Op::Plan { study: n, jobs, stale, stat, demand } => {
            let uid = study(*n);
            let known = model.study(&uid).unwrap();
            let (generation, first) = known.map_or((1, 0), |known| (known.generation, known.next_job));
            let kinds = &[XRAY, CT, XRAY][..usize::from(*jobs)];
            let priority = if *stat { Priority::Stat } else { Priority::Routine };
            let plan = plan(&uid, generation - u32::from(*stale), first, kinds, priority);
            let plan = demanding(plan, &DEMANDS.map(|key| Demand::from_key(key).unwrap())[usize::from(demand % 4)]);
            text(store.plan_study(&uid, Plan { skipped: *stat, ..plan }).await)
        }
        Op::Lease { kinds, ttl_ms, request, held, bound, offer: n } => {
            let wants: Vec<_> = [XRAY, CT, JobKind::Merge, JobKind::Answer]
                .into_iter()
                .zip([1, 2, 4, 8])
                .filter_map(|(kind, bit)| (kinds & bit != 0).then_some(kind))
                .collect();
            let held = (0..STUDIES).filter(|n| held & (1 << n) != 0).map(study).collect();
            let request = LeaseRequest {
                // A name for each lease that there will be, so that none is used twice but to repeat.
                request: request.map(|r| format!("q{}", next_lease(model) - u64::from(r))).unwrap_or_default(),
                repeats: request.is_some_and(|r| r > 0),
                tenants: bound.then(|| vec![tenant(1)]),
                offer: [offer("", &[]), offer("a", &[]), offer("a", &["p"]), offer("b", &["p"])][usize::from(*n)]
                    .clone(),
                held,
                shares: shares(),
                ..wanted("w", &wants, *ttl_ms)
            };
            text(store.lease(request).await)
        }
        Op::Renew { .. } => text(store.renew(&job, token, 25).await),
        Op::Release { .. } => text(store.release(&job, token).await),
        Op::Finish { .. } => text(store.complete_job(&job, token, outcome(token.0)).await),
        Op::Fail { verdict, .. } => text(store.fail_job(&job, token, "went wrong", *verdict).await),
        Op::Expire { verdict, .. } => text(store.expire(&job, token, *verdict).await),
        Op::Merge { draft: whole, .. } => {
            let version = model.study(job.study()).unwrap().map_or(1, |study| study.draft_version + 1);
            let nothing = || Merged::Nothing { reason: "nothing".into(), unread: Vec::new() };
            text(store.commit_merge(&job, token, if *whole { draft(version) } else { nothing() }).await)
        }
        Op::Review { study: n, standing, stale, request } => {
            let standing = [Standing::Signed, Standing::Amended, Standing::Rejected][usize::from(*standing)];
            let version = model.study(&study(*n)).unwrap().map_or(1, |study| study.draft_version + 1);
            let review = reviewed(version - u32::from(*stale), standing, &format!("r{request}"));
            text(store.commit_review(&study(*n), review).await)
        }
        Op::Wish { study: n, again } => {
            let version = model.study(&study(*n)).unwrap().map_or(1, |study| study.draft_version);
            text(
                store.add_deliveries(&study(*n), version, vec![wish("pacs", "sr"), wish("pacs", "html")], *again).await,
            )
        }
        Op::Send { to, ttl_ms, limit } => {
            text(store.lease_deliveries(DESTINATIONS[usize::from(*to)], *ttl_ms, *limit).await)
        }
        Op::End { study: n, to, stale, state } => {
            let held = model.deliveries(&study(*n)).unwrap();
            let newest = held.iter().rev().find(|each| each.key.destination == DESTINATIONS[usize::from(*to)]);
            let (key, token) = newest.map_or_else(
                || (DeliveryKey { study: study(*n), version: 1, destination: "pacs".into(), object: "sr".into() }, 1),
                |each| (each.key.clone(), each.token.0),
            );
            let end = DeliveryEnd {
                state: DeliveryState::ALL[usize::from(*state)],
                due_in_ms: 20,
                answer: format!("said {state}"),
                instance: "1.2".into(),
                transaction: if *state == 2 { "3.4".into() } else { String::new() },
            };
            text(store.end_delivery(&key, FencingToken(token.saturating_sub(u64::from(*stale))), end).await)
        }
        Op::Ask { study: n, question: of, demand } => {
            text(store.ask(question(&study(*n), *of, DEMANDS[usize::from(*demand)]), 1_000).await)
        }
        Op::EndQuestion { study: n, question: of, lease } => match lease {
            // Most often the question that the lease is of.
            Some(_) => text(store.end_question(&job, Some(token)).await),
            None => text(store.end_question(&question(&study(*n), *of, "").id, None).await),
        },
        Op::Cancel { study: n } => text(store.cancel_study(&study(*n), "stopped").await),
        Op::Requeue { study: n, job } => text(store.requeue_job(&JobId::new(study(*n), *job)).await),
        Op::Remove { study: n, stale } => {
            let known_at_ms = model.study(&study(*n)).unwrap().map_or(0, |known| known.updated_at_ms);
            text(store.remove_study(&study(*n), known_at_ms - i64::from(*stale)).await)
        }
        Op::ForgetStudy { study: n } => text(store.forget_study(&study(*n)).await),
        Op::Reconcile => text(store.reconcile().await),
        Op::Forget => text(store.forget_requests(40).await),
        Op::Heartbeat { worker, process } => text(store.heartbeat(heartbeat(*worker, *process)).await),
        Op::Drain { worker, drain } => text(store.drain_worker(&format!("w{worker}"), *drain).await),
        Op::ForgetWorker { worker } => text(store.forget_worker(&format!("w{worker}")).await),
        Op::ForgetWorkers => text(store.forget_workers(40).await),
        Op::Step { step, study: n, write, end, stale } => {
            let new = begun(*step, ["east", "west"][usize::from(n % 2)], &[study(*n)], u64::from(*write));
            let held = model.step(&new.step.uid).unwrap();
            let put = match held {
                Some(held) if *end => ended(new, held.revision - u64::from(*stale), &["1.2.0.1.0"], u64::from(*write)),
                _ => new,
            };
            text(store.put_step(PutStep { max_steps: 2 - u64::from(*stale), ..put }).await)
        }
        Op::ForgetSteps => text(store.forget_steps(40).await),
        Op::Worklist(op) => {
            let version = |uid: &Uid| model.workitem(uid).unwrap().map_or(1, |record| record.version);
            worklist::apply(store, op, version).await
        }
        Op::Notes(op) => {
            let version = |key: &str| model.note(key).unwrap().map_or(0, |note| note.version);
            notes::apply(store, op, version).await
        }
        Op::Advance { .. } | Op::Reopen => String::new(),
    }
}

/// Which of the model's leases an operation names.
pub(crate) fn named(op: &Op, model: &Model) -> (JobId, FencingToken) {
    match op {
        Op::Renew { lease } | Op::Release { lease } | Op::Finish { lease } => model.lease(*lease),
        Op::Fail { lease, .. } | Op::Expire { lease, .. } | Op::Merge { lease, .. } => model.lease(*lease),
        Op::EndQuestion { lease: Some(lease), .. } => model.lease(*lease),
        _ => model.lease(0),
    }
}

/// Carries out one operation on the model, remembers a lease that it gave, and checks what must always hold.
pub(crate) async fn apply_to_model(op: &Op, model: &mut Model) -> String {
    let before = model.store.maps();
    let answer = apply(&model.store, op, &before, named(op, model)).await;
    let maps = model.store.maps();
    for uid in (0..STUDIES).map(study) {
        for job in maps.jobs(&uid).unwrap() {
            let lease = (job.id.clone(), job.token);
            if job.state == JobState::Leased && !model.leases.contains(&lease) {
                model.leases.push(lease);
            }
        }
    }
    check(&maps);
    answer
}

/// What holds in every state of the machine.
pub(crate) fn check(maps: &Maps) {
    for uid in (0..STUDIES).map(study) {
        let Some(study) = maps.study(&uid).unwrap() else { continue };
        let jobs = maps.jobs(&uid).unwrap();
        let reads: Vec<_> = jobs.iter().filter(|job| job.kind.is_read()).collect();
        let merges = jobs.iter().filter(|job| job.kind == JobKind::Merge && job.state != JobState::Cancelled);
        let finished = reads.iter().filter(|job| matches!(job.state, JobState::Done | JobState::Dead)).count() as u32;
        assert_eq!(reads.len() as u32, study.jobs_total, "the study knows its jobs");
        if !matches!(study.state, StudyState::Cancelled | StudyState::Removing) {
            assert_eq!(finished, study.jobs_finished, "the study counts its finished jobs");
            // Done merges may be left from before a requeue.
            let current = merges.filter(|job| Some(&job.id) == study.merge.as_ref() || job.state != JobState::Done);
            let due = u32::from(study.jobs_total > 0 && finished == study.jobs_total);
            assert_eq!(current.count() as u32, due, "one merge when every job is finished, none before");
        }
        let is_reported = matches!(
            study.state,
            StudyState::Drafted | StudyState::Signed | StudyState::Amended | StudyState::Rejected
        );
        assert_eq!(is_reported, study.draft_version > 0 && is_merged(&study, maps));
        assert!(study.signed_version <= study.draft_version, "what is signed is a version of the report");
        let is_signed = matches!(study.state, StudyState::Signed | StudyState::Amended);
        assert!(!is_signed || study.signed_version > 0, "a signed study has what was signed");
        for job in &jobs {
            assert_eq!(job.state == JobState::Leased, job.expires_at_ms != 0, "leased while there is an expiry");
            assert_eq!(job.state == JobState::Done, maps.outcome(&job.id).unwrap().is_some() || merged(job));
            let over = !job.id.is_question() && matches!(study.state, StudyState::Receiving | StudyState::Complete);
            assert!(!over, "an open study has no jobs");
            assert!(maps.spec(&job.id).unwrap().is_some());
        }
    }
}

fn merged(job: &crate::store::record::JobRecord) -> bool {
    job.kind == JobKind::Merge && job.state == JobState::Done
}

/// Whether the study's merge is done and came to a draft.
fn is_merged(study: &crate::store::record::StudyRecord, maps: &Maps) -> bool {
    let merge = study.merge.as_ref().and_then(|id| maps.job(id).unwrap());
    merge.is_some_and(|job| job.state == JobState::Done)
        && study.state != StudyState::Failed
        && study.state != StudyState::Skipped
        && study.state != StudyState::Cancelled
        && study.state != StudyState::Removing
}

/// All that can be seen of a store, as text.
pub(crate) async fn view(store: &dyn JobStore) -> String {
    let all = StudyQuery { limit: usize::MAX, ..StudyQuery::default() };
    let open = StudyQuery { states: vec![StudyState::Receiving, StudyState::Reading], ..all.clone() };
    let mut seen = format!("{:?}\n{:?}\n", store.studies(all).await, store.studies(open).await);
    for uid in (0..STUDIES).map(study) {
        seen += &format!("{:?}\n{:?}\n", store.jobs(&uid).await, store.instances(&uid).await);
        let instances: Vec<Uid> = (0..3).map(|n| instance(&uid, n, 0).instance.uid).collect();
        seen += &format!("{:?}\n", store.studies_of(instances).await);
        for n in 0..2 {
            seen += &format!("{:?}\n", store.job(&question(&uid, n, "").id).await);
        }
        seen += &format!("{:?}\n{:?}\n", store.draft(&uid, None).await, store.deliveries(&uid).await);
    }
    seen += &format!("{:?}\n", store.steps_of((0..STUDIES).map(study).collect()).await);
    for destination in DESTINATIONS {
        seen += &format!("{:?}\n", store.open_deliveries(destination, 10).await);
    }
    seen += &format!("{:?}\n{:?}\n", store.dead_jobs(None, usize::MAX).await, store.expired(usize::MAX).await);
    seen += &worklist::view(store).await;
    seen += &notes::view(store).await;
    seen + &format!("{:?}\n{:?}", store.depth().await, store.workers().await)
}

/// Runs one sequence on a fresh store; what differed, if something did.
async fn run(harness: &mut impl Harness, ops: &[Op]) -> Result<(), String> {
    let mut model = Model::new(harness.now_ms());
    for (step, op) in ops.iter().enumerate() {
        match op {
            Op::Advance { by_ms } => {
                harness.advance(*by_ms);
                model.clock.advance(*by_ms);
            }
            Op::Reopen => harness.reopen().await,
            _ => {}
        }
        let store = harness.store();
        let got = apply(&*store, op, &model.store.maps(), named(op, &model)).await;
        let want = apply_to_model(op, &mut model).await;
        if got != want {
            return Err(format!("step {step} {op:?} answers\n  {got}\ninstead of\n  {want}"));
        }
        let (got, want) = (view(&*store).await, view(&model.store).await);
        if got != want {
            return Err(format!("after step {step} {op:?} one sees\n  {got}\ninstead of\n  {want}"));
        }
    }
    Ok(())
}

/// Sequences of operations from a fixed seed, or from `PRELIM_MODEL_SEED`.
pub(crate) fn runner() -> TestRunner {
    let mut seed = [0; 32];
    let text = std::env::var("PRELIM_MODEL_SEED").unwrap_or_default();
    for (byte, from) in seed.iter_mut().zip(text.bytes()) {
        *byte = from;
    }
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// Tries `cases` random sequences; shrinks and shows the first that differs.
pub(crate) async fn explore_at_random<H: Harness>(factory: &impl AsyncFn() -> H, cases: u32) {
    let mut runner = runner();
    let sequences = prop::collection::vec(op(), 1..STEPS);
    for case in 0..cases {
        let mut tree = sequences.new_tree(&mut runner).unwrap();
        let Err(mut why) = run(&mut factory().await, &tree.current()).await else { continue };
        let mut smallest = tree.current();
        let mut more = tree.simplify();
        while more {
            match run(&mut factory().await, &tree.current()).await {
                Err(error) => {
                    (why, smallest) = (error, tree.current());
                    more = tree.simplify();
                }
                Ok(()) => more = tree.complicate(),
            }
        }
        panic!("case {case}: {smallest:#?}\n{why}");
    }
}
