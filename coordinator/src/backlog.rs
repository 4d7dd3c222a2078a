//! How much work waits, in expected seconds of one worker's time: what the cluster is scaled by. Pure but for what it
//! remembers of jobs that were done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prelim_proto::cost::JobCost;
use prelim_proto::demand::{Demand, ModelName, Offer};
use prelim_proto::image::ImageKind;
use prelim_proto::job::JobKind;

use crate::store::record::{ByKind, Heartbeat, QueueDepth};

/// What a job is taken to need before any of its kind was done, in s: X-ray and CT.
const FIRST_GUESS: Means = Means { xray_s: 2.0, ct_s: 10.0 };
/// What a question is taken to need, in s: it is short, and keeps a worker there that somebody waits for.
const QUESTION_S: f64 = 5.0;
/// How much the newest job counts in the average.
const NEWEST: f64 = 0.05;
/// Models that are remembered apart; of more, the average over all is taken.
const MAX_MODELS: usize = 64;

/// What jobs needed lately, by kind, over all models and by model.
#[derive(Debug, Default)]
pub struct Needs {
    lately: Mutex<Lately>,
}

#[derive(Debug, Default)]
struct Lately {
    all: Means,
    by_model: BTreeMap<ModelName, Means>,
}

/// What a job needs on average, in s.
#[derive(Debug, Clone, Copy)]
struct Means {
    xray_s: f64,
    ct_s: f64,
}

impl Default for Means {
    fn default() -> Self {
        FIRST_GUESS
    }
}

impl Means {
    fn note(&mut self, kind: ImageKind, needed_s: f64) {
        let mean_s = match kind {
            ImageKind::Xray => &mut self.xray_s,
            ImageKind::Ct => &mut self.ct_s,
        };
        *mean_s += NEWEST * (needed_s - *mean_s);
    }

    fn of(&self, kind: ImageKind) -> f64 {
        match kind {
            ImageKind::Xray => self.xray_s,
            ImageKind::Ct => self.ct_s,
        }
    }
}

impl Lately {
    /// What jobs with a demand need.
    fn of(&self, demand: &Demand) -> Means {
        demand.model.as_ref().and_then(|model| self.by_model.get(model)).copied().unwrap_or(self.all)
    }
}

/// A part of the cluster that is scaled by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The kinds of job that its workers take.
    pub kinds: Vec<ImageKind>,
    /// What its workers offer; none where it is all that there is.
    pub offer: Option<Offer>,
}

impl Needs {
    /// Notes what a job needed, and of which model, where its worker says so.
    pub fn note(&self, kind: JobKind, model: Option<ModelName>, cost: &JobCost) {
        let needed_s = cost.spent_s();
        let JobKind::Read(kind) = kind else { return };
        if !needed_s.is_finite() || needed_s < 0.0 {
            return;
        }
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.all.note(kind, needed_s);
        let (all, known) = (lately.all, lately.by_model.len());
        if let Some(model) = model
            && (known < MAX_MODELS || lately.by_model.contains_key(&model))
        {
            lately.by_model.entry(model).or_insert(all).note(kind, needed_s);
        }
    }

    /// The work that waits and runs, of the kinds named, in expected seconds. Running work counts as well: the workers that
    /// do it must not be taken away.
    pub fn backlog_s(&self, depth: &QueueDepth, kinds: &[ImageKind]) -> f64 {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |kind: &ImageKind| count(depth.leased, *kind) * lately.all.of(*kind);
        let answered_s = depth.leased.answer as f64 * QUESTION_S;
        waiting_s(&lately, depth, kinds, |_| true) + kinds.iter().map(running).sum::<f64>() + answered_s
    }

    /// The work that a pool could do and does, in expected seconds: the jobs that wait for what its workers offer, those
    /// that any worker may do, and what those of its workers do that are known.
    pub fn backlog_of_s<'a>(
        &self,
        pool: &Pool,
        depth: &QueueDepth,
        workers: impl Iterator<Item = &'a Heartbeat>,
    ) -> f64 {
        let Some(offer) = &pool.offer else { return self.backlog_s(depth, &pool.kinds) };
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let means = lately.of(&Demand { model: offer.model.clone(), prompt: None });
        // What a worker does, it does not say: the longer kind of those that the pool takes.
        let longest_s = pool.kinds.iter().map(|kind| means.of(*kind)).fold(0.0, f64::max);
        let running: u64 =
            workers.filter(|worker| worker.offer().model == offer.model).map(|worker| u64::from(worker.running)).sum();
        waiting_s(&lately, depth, &pool.kinds, |demand| offer.meets(demand)) + running as f64 * longest_s
    }
}

/// The work that waits, of the kinds named and with a demand that `counts`, in expected seconds; and questions, which every
/// worker may answer.
fn waiting_s(lately: &Lately, depth: &QueueDepth, kinds: &[ImageKind], counts: impl Fn(&Demand) -> bool) -> f64 {
    let of_kind = |kind: &ImageKind| {
        let mut for_any = count(depth.ready, *kind);
        let mut waiting_s = 0.0;
        for demanded in &depth.demanded {
            let jobs = count(demanded.ready, *kind);
            for_any -= jobs;
            if counts(&demanded.demand) {
                waiting_s += jobs * lately.of(&demanded.demand).of(*kind);
            }
        }
        waiting_s + for_any * lately.all.of(*kind)
    };
    let elsewhere = depth.demanded.iter().filter(|demanded| !counts(&demanded.demand));
    let questions = depth.ready.answer.saturating_sub(elsewhere.map(|demanded| demanded.ready.answer).sum());
    kinds.iter().map(of_kind).sum::<f64>() + questions as f64 * QUESTION_S
}

fn count(mut jobs: ByKind, kind: ImageKind) -> f64 {
    *jobs.of(JobKind::Read(kind)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::Demanded;

    const BOTH: [ImageKind; 2] = [ImageKind::Xray, ImageKind::Ct];

    fn reading(seconds: f64) -> JobCost {
        JobCost { vision_ms: seconds * 1_000.0, ..JobCost::default() }
    }

    #[test]
    fn the_backlog_follows_what_jobs_need() {
        let needs = Needs::default();
        let ready = ByKind { xray: 10, ct: 3, merge: 50, answer: 0 };
        let leased = ByKind { ct: 2, ..ByKind::default() };
        let depth = QueueDepth { ready, leased, ..QueueDepth::default() };
        assert_eq!(needs.backlog_s(&depth, &BOTH), 10.0 * 2.0 + 5.0 * 10.0);
        for _ in 0..200 {
            needs.note(JobKind::Read(ImageKind::Ct), None, &reading(3.0));
        }
        needs.note(JobKind::Read(ImageKind::Ct), None, &reading(f64::NAN));
        assert!((needs.backlog_s(&depth, &[ImageKind::Ct]) - 15.0).abs() < 0.1);
        assert_eq!(needs.backlog_s(&depth, &[]), 0.0);
        let asked = |ready, leased| QueueDepth {
            ready: ByKind { answer: ready, ..ByKind::default() },
            leased: ByKind { answer: leased, ..ByKind::default() },
            ..QueueDepth::default()
        };
        assert_eq!(needs.backlog_s(&asked(2, 1), &BOTH), 3.0 * QUESTION_S);
    }

    #[test]
    fn pools_of_two_models_are_scaled_by_their_own_jobs() {
        let name = |text: &str| ModelName::parse(text).unwrap();
        let needs = Needs::default();
        for _ in 0..400 {
            needs.note(JobKind::Read(ImageKind::Ct), Some(name("small")), &reading(1.0));
            needs.note(JobKind::Read(ImageKind::Ct), Some(name("large")), &reading(30.0));
        }
        let waits = |key: &str, ct| Demanded {
            demand: Demand::from_key(key).unwrap(),
            ready: ByKind { ct, ..ByKind::default() },
            longest_wait_ms: 0,
        };
        let depth = QueueDepth {
            ready: ByKind { ct: 11, ..ByKind::default() },
            leased: ByKind { ct: 4, ..ByKind::default() },
            demanded: vec![waits("large", 2), waits("large\tlong", 1), waits("small", 8)],
            ..QueueDepth::default()
        };
        let worker = |model: &str, running| Heartbeat {
            worker: model.to_owned(),
            kinds: Vec::new(),
            slots: 4,
            running,
            model: model.to_owned(),
            prompts: Vec::new(),
            adapters: Vec::new(),
            software_version: String::new(),
            process: String::new(),
            questions: Vec::new(),
        };
        let workers = [worker("large", 1), worker("small", 3)];
        let of = |model: &str, prompts: &[&str]| {
            let prompts: Vec<String> = prompts.iter().map(|name| (*name).to_owned()).collect();
            let offer = Some(Offer::from_wire(model, &[], &prompts).unwrap());
            needs.backlog_of_s(&Pool { kinds: BOTH.to_vec(), offer }, &depth, workers.iter())
        };
        let near = |got: f64, want: f64| assert!((got - want).abs() < 0.5, "{got} and not {want}");
        near(of("small", &[]), 8.0 + 3.0 * 2.0);
        near(of("large", &[]), 2.0 * 30.0 + 30.0);
        near(of("large", &["long"]), 3.0 * 30.0 + 30.0);
        assert_eq!(of("other", &[]), 0.0);
        // What demands nothing may be done by any pool.
        let any = QueueDepth { ready: ByKind { ct: 13, ..ByKind::default() }, ..depth.clone() };
        let pool = Pool { kinds: vec![ImageKind::Ct], offer: Some(Offer::from_wire("other", &[], &[]).unwrap()) };
        assert!(needs.backlog_of_s(&pool, &any, workers.iter()) > 1.0);
        // All together, for a cluster that is one pool.
        near(needs.backlog_s(&QueueDepth { leased: ByKind::default(), ..depth }, &BOTH), 8.0 + 3.0 * 30.0);
    }
}
