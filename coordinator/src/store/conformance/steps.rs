//! Performed procedure steps.

use prelim_proto::ids::{Tenant, Uid};
use prelim_proto::study::CompletionReason;

use super::Harness;
use super::cases::record;
use super::fixture::{add, completion, instance, study, uid};
use crate::store::StoreError;
use crate::store::record::{Added, Due};
use crate::store::step::{MAX_STEPS_OF_STUDY, Mark, PutStep, StepRecord, StepState};

/// Step number `n` of some studies, as it is written first.
pub(super) fn begun(n: u8, tenant: &str, studies: &[Uid], write: u64) -> PutStep {
    let step = StepRecord {
        uid: uid(&format!("1.9.{n}")),
        tenant: Tenant::parse(tenant).unwrap(),
        state: StepState::InProgress,
        studies: studies.to_vec(),
        listed: Vec::new(),
        revision: 0,
        write,
        changed_at_ms: 0,
    };
    PutStep { step, after: None, max_steps: 3 }
}

/// The same after `after`, ended, with instances that it lists.
pub(super) fn ended(put: PutStep, after: u64, listed: &[&str], write: u64) -> PutStep {
    let listed = listed.iter().map(|text| Mark::of(&uid(text))).collect();
    let step = StepRecord { state: StepState::Completed, listed, write, ..put.step };
    PutStep { step, after: Some(after), ..put }
}

pub(super) async fn a_step_is_written_over_the_revision_that_was_read(h: &mut impl Harness) {
    let (store, of) = (h.store(), [study(1), study(2)]);
    let first = begun(1, "default", &of, 11);
    assert_eq!(store.step(&first.step.uid).await, Ok(None));
    assert_eq!(store.put_step(first.clone()).await, Ok(true));
    // Again, as after an answer that was lost; and another of the same UID.
    assert_eq!(store.put_step(first.clone()).await, Ok(true));
    assert_eq!(store.put_step(begun(1, "default", &of, 12)).await, Ok(false));
    h.advance(100);
    let last = ended(first.clone(), 1, &["1.2.1.1.1", "1.2.1.1.2"], 13);
    assert_eq!(store.put_step(ended(first.clone(), 2, &[], 14)).await, Ok(false));
    assert_eq!(store.put_step(last.clone()).await, Ok(true));
    assert_eq!(store.put_step(last.clone()).await, Ok(true));
    assert_eq!(store.put_step(ended(first, 1, &[], 15)).await, Ok(false));
    h.reopen().await;
    let store = h.store();
    let held = store.step(&last.step.uid).await.unwrap().unwrap();
    assert_eq!(held, StepRecord { revision: 2, changed_at_ms: h.now_ms(), ..last.step });
    // Found by each of its studies; others are found by none.
    store.put_step(begun(0, "west", &of[..1], 16)).await.unwrap();
    store.put_step(begun(2, "default", &[], 17)).await.unwrap();
    let full = Err(StoreError::TooManySteps { limit: 3 });
    assert_eq!(store.put_step(begun(3, "default", &[], 18)).await, full);
    let found = store.steps_of(vec![study(1), study(2), study(3)]).await.unwrap();
    let uids: Vec<Vec<&str>> = found.iter().map(|steps| steps.iter().map(|step| step.uid.as_str()).collect()).collect();
    assert_eq!(uids, [vec!["1.9.0", "1.9.1"], vec!["1.9.1"], vec![]]);
    assert_eq!(found[1][0], held);
    h.advance(100);
    assert_eq!(store.forget_steps(101).await, Ok(0));
    assert_eq!(store.forget_steps(50).await, Ok(3));
    assert_eq!(store.step(&held.uid).await, Ok(None));
    assert_eq!(store.steps_of(vec![study(1)]).await.unwrap(), [vec![]]);
    // There is room again. Of one study, no more are looked at than that.
    for n in 0..=MAX_STEPS_OF_STUDY as u8 {
        let put = PutStep { max_steps: 100, ..begun(n, "default", &of, u64::from(n)) };
        assert_eq!(store.put_step(put).await, Ok(true));
    }
    assert_eq!(store.steps_of(vec![study(2)]).await.unwrap()[0].len(), MAX_STEPS_OF_STUDY);
}

pub(super) async fn a_step_that_changes_voids_what_was_decided_of_its_studies(h: &mut impl Harness) {
    let (store, of) = (h.store(), study(1));
    assert_eq!(store.add_instances(add(&of, vec![instance(&of, 1, 1)])).await.unwrap(), [Added::Accepted]);
    let due =
        |changes| Due { study: of.clone(), changes, at_ms: 0, completion: completion(CompletionReason::QuietPeriod) };
    let before = record(h, &of).await.arrival.changes;
    let step = begun(1, "default", std::slice::from_ref(&of), 1);
    store.put_step(step.clone()).await.unwrap();
    assert_eq!(store.complete_due(vec![due(before)]).await.unwrap(), []);
    store.put_step(ended(step, 1, &[], 2)).await.unwrap();
    assert_eq!(store.complete_due(vec![due(before + 1)]).await.unwrap(), []);
    // A step of somebody else's changes nothing, nor does one that is not written.
    store.put_step(begun(2, "west", std::slice::from_ref(&of), 3)).await.unwrap();
    store.put_step(begun(1, "default", std::slice::from_ref(&of), 4)).await.unwrap();
    assert_eq!(store.complete_due(vec![due(before + 2)]).await.unwrap(), [of]);
}
