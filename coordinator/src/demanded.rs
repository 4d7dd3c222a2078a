//! Models and prompts that jobs wait for, and who offers them: a job that demands what nobody offers waits until somebody
//! does, and that is said.

use std::collections::BTreeSet;
use std::time::Duration;

use prelim_proto::demand::Demand;
use prelim_proto::job::JobKind;
use prelim_proto::study::{Route, StudyState};
use prelim_proto::trace::without_uids;

use crate::service::{Coordinator, ServiceError};
use crate::store::record::{ByKind, Demanded, Heartbeat, QueueDepth};

/// How often it is looked whether somebody offers what is demanded.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How many of `workers` take such jobs, of one of the kinds that wait at least.
fn takers<'a>(demanded: &Demanded, workers: impl Iterator<Item = &'a Heartbeat>) -> usize {
    let waits = |kind: &JobKind| *ByKind::of(&mut demanded.ready.clone(), *kind) > 0;
    let takes = |worker: &&Heartbeat| worker.offer().meets(&demanded.demand) && worker.kinds.iter().any(waits);
    workers.filter(takes).count()
}

/// A demand that nobody meets, in words.
fn unmet(demand: &Demand) -> String {
    format!("waits for a worker that offers {demand}; none is known")
}

impl Coordinator {
    /// What waits for a certain model or prompt, each with how many of the workers that go on take it.
    pub async fn demanded(&self, depth: &QueueDepth) -> Result<Vec<(Demanded, usize)>, ServiceError> {
        if depth.demanded.is_empty() {
            return Ok(Vec::new());
        }
        let workers = self.workers().await?;
        let going_on = || workers.iter().filter(|(worker, _)| !worker.draining).map(|(worker, _)| &worker.heartbeat);
        Ok(depth.demanded.iter().map(|each| (each.clone(), takers(each, going_on()))).collect())
    }

    /// What studies in these states, which rules took so, wait for, where no worker offers it: a sentence for each that
    /// waits, in order.
    pub(crate) async fn unmet_of(
        &self,
        studies: impl Iterator<Item = (StudyState, Option<&Route>)>,
    ) -> Result<Vec<Option<String>>, ServiceError> {
        let demand = |(state, route): (StudyState, Option<&Route>)| {
            let is_waiting = matches!(state, StudyState::Queued | StudyState::Reading);
            route.map(|route| route.demand.clone()).filter(|demand| is_waiting && !demand.is_any())
        };
        let demands: Vec<Option<Demand>> = studies.map(demand).collect();
        if demands.iter().all(Option::is_none) {
            return Ok(vec![None; demands.len()]);
        }
        let workers = self.workers().await?;
        let offers: Vec<_> =
            workers.iter().filter(|(worker, _)| !worker.draining).map(|(worker, _)| worker.heartbeat.offer()).collect();
        let is_unmet = |demand: &Demand| !offers.iter().any(|offer| offer.meets(demand));
        Ok(demands.into_iter().map(|demand| demand.filter(is_unmet).map(|demand| unmet(&demand))).collect())
    }

    /// Says in the log what is demanded and not offered, once, and when somebody offers it, until the coordinator stops.
    pub(crate) async fn watch_demands(&self) {
        let mut told: BTreeSet<Demand> = BTreeSet::new();
        while !self.stopping.is_cancelled() {
            match self.look_for_takers().await {
                Ok(unmet) => {
                    for (demand, jobs) in unmet.iter().filter(|(demand, _)| !told.contains(demand)) {
                        tracing::warn!(%demand, jobs, "jobs wait for what no worker offers");
                    }
                    let unmet: BTreeSet<Demand> = unmet.into_iter().map(|(demand, _)| demand).collect();
                    for demand in told.difference(&unmet) {
                        tracing::info!(%demand, "jobs wait no longer for what no worker offers");
                    }
                    told = unmet;
                }
                Err(error) => tracing::debug!(error = without_uids(&error), "who takes what is not known"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Demands that no worker meets, each with the jobs that wait.
    async fn look_for_takers(&self) -> Result<Vec<(Demand, u64)>, ServiceError> {
        // Without a model in the rules nothing is asked for, and the store is left alone.
        if self.rules.get().demands().is_empty() {
            return Ok(Vec::new());
        }
        let demanded = self.demanded(&self.depth().await?).await?;
        Ok(demanded.into_iter().filter(|(_, takers)| *takers == 0).map(|(d, _)| (d.demand, d.ready.reads())).collect())
    }
}

#[cfg(test)]
mod tests {
    use prelim_proto::image::ImageKind;

    use super::*;

    #[test]
    fn a_worker_takes_what_it_offers_of_its_kinds() {
        let worker = |model: &str, kind| Heartbeat {
            worker: "w".into(),
            kinds: vec![JobKind::Read(kind)],
            slots: 1,
            running: 0,
            model: model.into(),
            prompts: vec!["p".into(), "no name".into()],
            adapters: vec!["a+lora".into(), " no name".into()],
            software_version: String::new(),
            process: String::new(),
            questions: Vec::new(),
        };
        let workers = [worker("a", ImageKind::Xray), worker("a", ImageKind::Ct), worker("b", ImageKind::Ct)];
        for (key, want) in [("a", 1), ("b", 1), ("\tp", 2), ("a\tp", 1), ("c", 0), ("\tq", 0), ("a+lora", 2)] {
            let demand = Demand::from_key(key).unwrap();
            let demanded = Demanded { demand, ready: ByKind { ct: 3, ..ByKind::default() }, longest_wait_ms: 0 };
            assert_eq!(takers(&demanded, workers.iter()), want, "{key:?}");
        }
    }
}
