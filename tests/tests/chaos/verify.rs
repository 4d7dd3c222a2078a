//! What must hold when all is healed, whatever happened before.

use std::collections::BTreeMap;

use prelim_coordinator::store::JobStore as _;
use prelim_coordinator::store::record::{ByKind, QueueDepth, Reconciled, Settlement, StudyQuery};
use prelim_proto::ids::Uid;
use prelim_proto::job::{JobKind, JobState};
use prelim_proto::study::StudyState;

use crate::client;
use crate::logs;
use crate::site::Site;
use crate::studies::TinyStudy;

/// What came out, for those who want figures.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Read jobs.
    pub(crate) read_jobs: usize,
    /// Merge jobs: one a study, and another where a dead letter was tried again.
    pub(crate) merges: usize,
    /// Jobs, merges included, by the attempts that they took.
    pub(crate) by_attempts: BTreeMap<u32, usize>,
    /// Attempts that went wrong, by their reason.
    pub(crate) failures: BTreeMap<String, usize>,
}

impl Outcome {
    /// Whether every job was done at the first attempt.
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.by_attempts.keys().eq([&1]) && self.failures.is_empty()
    }
}

/// Waits until nothing is left to do.
pub(crate) fn wait_until_settled(site: &mut Site) {
    let store = site.store();
    site.wait_for("every study to be settled", |site| {
        let depth = site.runtime.block_on(store.depth()).expect("Redis answers");
        depth.open_studies == 0 && depth.ready == ByKind::default() && depth.leased == ByKind::default()
    });
}

/// Checks that each of these studies, and no other, is held whole and has exactly one draft, made of outcomes that were
/// each committed by one attempt; that nothing is left in the queue; and that nobody complains.
///
/// # Panics
/// Where that is not so.
pub(crate) fn all_drafted_once(site: &mut Site, sent: &[TinyStudy]) -> Outcome {
    wait_until_settled(site);
    let store = site.store();
    assert_eq!(site.redis_cli(&["config", "get", "maxmemory-policy"]), "maxmemory-policy\nnoeviction");
    let limit = (sent.len() + 10).to_string();
    let listed = site.prelim_json(&["studies", "--json", "--limit", &limit]);
    let listed = listed.as_array().expect("a list");
    let held: Vec<&str> = listed.iter().filter_map(|study| study["study_uid"].as_str()).collect();
    for study in sent {
        assert!(held.contains(&study.uid.as_str()), "study {} was acknowledged, and is lost", study.uid);
    }
    assert_eq!(held.len(), sent.len(), "studies that nobody sent");
    for study in listed {
        assert_eq!(study["state"], "drafted", "{study}");
    }

    let mut outcome = Outcome::default();
    let addresses = site.addresses();
    site.runtime.block_on(async {
        assert_eq!(store.depth().await, Ok(QueueDepth::default()));
        let mut client = client::studies(&addresses[0]).await.expect("a coordinator answers");
        for study in sent {
            look_at(&store, study, &mut outcome).await;
            let draft = client::draft(&mut client, &study.uid).await.expect("a draft");
            assert!(draft.to_string().contains(&study.uid), "{draft}");
        }
        let all = store.studies(StudyQuery { limit: sent.len() + 10, ..StudyQuery::default() }).await.expect("Redis");
        assert_eq!(all.len(), sent.len());
        // Last, since it would mend what is wrong.
        assert_eq!(store.reconcile().await, Ok(Reconciled::default()));
    });
    let complaints = logs::complaints(&site.logs());
    assert!(complaints.is_empty(), "{} complaints: {complaints:#?}", complaints.len());
    outcome
}

/// How many jobs workers say to have done: all of them at last, as a worker says so when it has the answer, and at times more.
pub(crate) fn said_to_be_done(site: &mut Site, outcome: &Outcome) -> usize {
    let mut done = 0;
    site.wait_for("the workers to say what is done", |site| {
        done = logs::count(&site.logs(), "done");
        done >= outcome.read_jobs
    });
    done
}

/// One study in the store.
async fn look_at(store: &dyn prelim_coordinator::store::JobStore, study: &TinyStudy, outcome: &mut Outcome) {
    let uid = Uid::parse(&study.uid).expect("a UID");
    let record = store.study(&uid).await.expect("Redis answers").expect("it is held");
    assert_eq!((record.state, record.draft_version), (StudyState::Drafted, 1), "{record:?}");
    assert_eq!((record.instances as usize, record.generation), (study.objects.len(), 1), "{record:?}");
    assert!(record.unread.is_empty(), "{record:?}");
    assert!(store.draft(&uid, Some(1)).await.expect("Redis answers").is_some());
    assert_eq!(store.draft(&uid, Some(2)).await, Ok(None));
    let jobs = store.jobs(&uid).await.expect("Redis answers");
    let reads = jobs.iter().filter(|(job, ..)| job.kind != JobKind::Merge).count();
    // A view each.
    assert_eq!(reads, study.objects.len(), "{jobs:?}");
    outcome.read_jobs += reads;
    outcome.merges += jobs.len() - reads;
    for (job, _, came) in jobs {
        assert_eq!((job.state, job.settled), (JobState::Done, Some((job.token, Settlement::Completed))), "{job:?}");
        let is_read = job.kind != JobKind::Merge;
        assert_eq!(came.is_some(), is_read, "{job:?}");
        *outcome.by_attempts.entry(job.attempts).or_default() += 1;
        for failure in job.failures {
            *outcome.failures.entry(failure.reason).or_default() += 1;
        }
    }
}
