//! Performed procedure steps: what modalities say that they do and did, and what that means for when a study is complete.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use prelim_proto::ids::{Tenant, Uid};

use crate::dimse::mpps::{Said, StepError};
use crate::intake::complete::Performed;
use crate::service::{Coordinator, ServiceError};
use crate::store::record::StudyRecord;
use crate::store::step::{MAX_STEPS, Mark, PutStep, StepRecord, StepState};

/// How often a step is looked at again that another message changed at the same time.
const TRIES: u32 = 8;

/// What steps say of the studies that are being received, as of a number of changes of each.
#[derive(Default)]
pub(crate) struct KnownSteps {
    studies: Mutex<HashMap<Uid, (u64, Performed)>>,
}

/// A message about a step that was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepRefusal {
    /// By the rules of the service.
    #[error(transparent)]
    Step(#[from] StepError),
    /// By the store.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl Coordinator {
    /// Begins a step of a tenant's modality; the studies that it is of.
    pub(crate) async fn begin_step(&self, tenant: &Tenant, uid: &Uid, said: Said) -> Result<Vec<Uid>, StepRefusal> {
        let blank = StepRecord {
            uid: uid.clone(),
            tenant: tenant.clone(),
            state: StepState::InProgress,
            studies: Vec::new(),
            listed: Vec::new(),
            revision: 0,
            write: rand::random(),
            changed_at_ms: 0,
        };
        let step = said.begin(blank)?;
        let studies = step.studies.clone();
        match self.write_step(step, None).await? {
            true => Ok(studies),
            false => Err(StepError::Duplicate.into()),
        }
    }

    /// Changes a step of a tenant's modality; the studies that it is of, and where it stands now.
    pub(crate) async fn change_step(
        &self,
        tenant: &Tenant,
        uid: &Uid,
        said: Said,
    ) -> Result<(Vec<Uid>, StepState), StepRefusal> {
        for _ in 0..TRIES {
            let held = self.store.step(uid).await.map_err(ServiceError::from)?;
            // Other tenants' steps do not exist for the caller.
            let held = held.filter(|held| held.tenant == *tenant).ok_or(StepError::Unknown)?;
            let after = Some(held.revision);
            let step = StepRecord { write: rand::random(), ..said.clone().change(held)? };
            let (studies, state) = (step.studies.clone(), step.state);
            if self.write_step(step, after).await? {
                return Ok((studies, state));
            }
        }
        Err(ServiceError::Stopping.into())
    }

    async fn write_step(&self, step: StepRecord, after: Option<u64>) -> Result<bool, ServiceError> {
        let studies = step.studies.clone();
        let written = self.store.put_step(PutStep { step, after, max_steps: MAX_STEPS }).await?;
        studies.iter().for_each(|study| self.changed(study));
        Ok(written)
    }

    /// What steps say of studies that are being received, in order. What did not change since it was looked at is known.
    pub(crate) async fn performed(&self, studies: &[&StudyRecord]) -> Result<Vec<Performed>, ServiceError> {
        let known = |study: &StudyRecord| {
            let studies = self.steps.studies.lock().unwrap_or_else(PoisonError::into_inner);
            studies.get(&study.uid).filter(|(changes, _)| *changes == study.arrival.changes).map(|(_, known)| *known)
        };
        let mut found: HashMap<Uid, (u64, Performed)> = HashMap::with_capacity(studies.len());
        let mut unknown: Vec<&StudyRecord> = Vec::new();
        for study in studies {
            match known(study) {
                Some(known) => drop(found.insert(study.uid.clone(), (study.arrival.changes, known))),
                None => unknown.push(study),
            }
        }
        if !unknown.is_empty() {
            let steps = self.store.steps_of(unknown.iter().map(|study| study.uid.clone()).collect()).await?;
            for (study, steps) in unknown.into_iter().zip(steps) {
                let performed = self.performed_of(study, &steps).await?;
                found.insert(study.uid.clone(), (study.arrival.changes, performed));
            }
        }
        let performed = studies.iter().map(|study| found.get(&study.uid).map_or_else(Performed::default, |it| it.1));
        let performed = performed.collect();
        self.steps.studies.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        Ok(performed)
    }

    /// Forgets what is known of studies that are not being received any more.
    pub(crate) fn forget_performed(&self, receiving: &HashSet<Uid>) {
        self.steps.studies.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| receiving.contains(uid));
    }

    async fn performed_of(&self, study: &StudyRecord, steps: &[StepRecord]) -> Result<Performed, ServiceError> {
        let mut performed = told(study, steps);
        // With fewer than that, something is missing, whatever they are.
        if performed.listed == 0 || study.instances < performed.listed {
            performed.held = study.instances.min(performed.listed);
            return Ok(performed);
        }
        let held = self.store.instances(&study.uid).await?;
        let held: HashSet<Mark> = held.iter().map(|record| Mark::of(&record.instance.uid)).collect();
        performed.held = listed(study, steps).iter().filter(|mark| held.contains(mark)).count() as u32;
        Ok(performed)
    }
}

/// Whether a step says what of a study it made: one that is of several studies does not say of which.
fn is_telling(step: &StepRecord) -> bool {
    step.state == StepState::Completed && step.studies.len() == 1 && !step.listed.is_empty()
}

/// The steps of the study's own tenant: another's say nothing of it.
fn own<'a>(study: &StudyRecord, steps: &'a [StepRecord]) -> impl Iterator<Item = &'a StepRecord> {
    let tenant = study.tenant.clone();
    steps.iter().filter(move |step| step.tenant == tenant)
}

/// Everything that completed steps list, each once.
fn listed(study: &StudyRecord, steps: &[StepRecord]) -> HashSet<Mark> {
    own(study, steps).filter(|step| is_telling(step)).flat_map(|step| step.listed.iter().copied()).collect()
}

/// What steps say of a study, but for how much of it is held.
fn told(study: &StudyRecord, steps: &[StepRecord]) -> Performed {
    let mut performed = Performed { listed: listed(study, steps).len() as u32, ..Performed::default() };
    for step in own(study, steps) {
        match step.state {
            StepState::InProgress => performed.in_progress += 1,
            StepState::Discontinued => performed.discontinued += 1,
            StepState::Completed if is_telling(step) => performed.completed += 1,
            StepState::Completed => performed.silent += 1,
        }
        if step.state != StepState::InProgress {
            performed.ended_at_ms = performed.ended_at_ms.max(step.changed_at_ms);
        }
    }
    performed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::fixture::{record_of, uid};

    #[test]
    fn steps_of_a_study_are_told_together() {
        let study = record_of("1.2.3");
        let step = |tenant: &str, state, studies: &[&str], listed: &[&str], changed_at_ms| StepRecord {
            uid: uid("1.9"),
            tenant: Tenant::parse(tenant).unwrap(),
            state,
            studies: studies.iter().map(|text| uid(text)).collect(),
            listed: listed.iter().map(|text| Mark::of(&uid(text))).collect(),
            revision: 1,
            write: 0,
            changed_at_ms,
        };
        use StepState::{Completed, Discontinued, InProgress};
        let own = &["1.2.3"];
        let steps = [
            step("default", Completed, own, &["1.1", "1.2"], 5),
            step("default", Completed, own, &["1.2", "1.3"], 7),
            step("default", Completed, own, &[], 1),
            step("default", Completed, &["1.2.3", "1.2.4"], &["1.7"], 2),
            step("default", Discontinued, own, &["1.8"], 9),
            step("default", InProgress, own, &["1.9"], 99),
            step("other", InProgress, own, &[], 1),
        ];
        let want =
            Performed { in_progress: 1, completed: 2, discontinued: 1, silent: 2, listed: 3, held: 0, ended_at_ms: 9 };
        assert_eq!(told(&study, &steps), want);
        assert_eq!(told(&study, &[]), Performed::default());
    }
}
