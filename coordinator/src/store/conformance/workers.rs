//! Workers: what is known of them, and what they are told.

use prelim_proto::question::QuestionKind;

use super::Harness;
use super::fixture::{CT, XRAY};
use crate::store::StoreError;
use crate::store::record::{Done, Heartbeat, Orders, PROCESSES_KEPT};

fn heartbeat(worker: &str, process: &str) -> Heartbeat {
    Heartbeat {
        worker: worker.into(),
        kinds: vec![XRAY, CT],
        slots: 4,
        running: 0,
        model: "m".into(),
        prompts: vec!["p".into()],
        adapters: vec!["a".into()],
        software_version: "0".into(),
        process: process.into(),
        questions: vec![QuestionKind::Describe],
    }
}

pub(super) async fn two_processes_of_one_name_are_told_apart<H: Harness>(h: &mut H) {
    let hears = async |h: &H, worker: &str, process: &str| {
        h.store().heartbeat(heartbeat(worker, process)).await.unwrap().shares_name
    };
    // A process takes the place of one that ended, as often as it likes; one that says nothing is no other.
    for process in ["p1", "p1", "p2", "", "p3", "p3"] {
        assert!(!hears(h, "a", process).await, "{process}");
    }
    // One that was thought gone is there again: both are told, for a while.
    assert!(hears(h, "a", "p2").await);
    h.advance(10_000);
    assert!(hears(h, "a", "p3").await);
    h.reopen().await;
    let known = h.store().workers().await.unwrap();
    assert!(known[0].0.shares_name(known[0].0.seen_at_ms));
    assert_eq!(known[0].0.processes, ["p1", "p2", "p3"]);
    // The other has ended: after three heartbeats the name is one's own.
    for by_ms in [30_000, 1] {
        h.advance(by_ms);
        assert_eq!(hears(h, "a", "p3").await, by_ms == 30_000);
    }
    // Also where many take turns, up to as many as are remembered.
    for turn in 0..2 {
        for number in 0..PROCESSES_KEPT {
            assert_eq!(hears(h, "b", &format!("q{number}")).await, turn == 1, "{turn} {number}");
        }
    }
    h.store().heartbeat(heartbeat("b", "one more")).await.unwrap();
    let known = h.store().workers().await.unwrap();
    assert_eq!(known[1].0.processes.len(), PROCESSES_KEPT);
}

pub(super) async fn workers_are_known_drained_and_forgotten(h: &mut impl Harness) {
    let says = |worker: &str, running| Heartbeat { running, ..heartbeat(worker, "") };
    let (go_on, stop) = (Orders::default(), Orders { drain: true, shares_name: false });
    let store = h.store();
    assert_eq!(store.heartbeat(says("a", 0)).await, Ok(go_on));
    h.advance(100);
    assert_eq!(store.heartbeat(says("b", 0)).await, Ok(go_on));
    assert_eq!(store.heartbeat(says("a", 3)).await, Ok(go_on));
    assert_eq!(store.drain_worker("c", true).await, Err(StoreError::NoWorker("c".into())));
    for want in [Done::Now, Done::Before] {
        assert_eq!(store.drain_worker("a", true).await, Ok(want));
    }
    h.advance(50);
    h.reopen().await;
    let store = h.store();
    assert_eq!(store.heartbeat(says("a", 2)).await, Ok(stop));
    let known: Vec<_> = store.workers().await.unwrap();
    let brief =
        known.iter().map(|(worker, silent_ms)| (&*worker.heartbeat.worker, worker.heartbeat.running, *silent_ms));
    assert_eq!(brief.collect::<Vec<_>>(), [("a", 2, 0), ("b", 0, 50)]);
    assert!(known[0].0.draining && !known[1].0.draining);
    assert_eq!(known[0].0.seen_at_ms - known[0].0.since_ms, 150);
    assert_eq!(store.drain_worker("a", false).await, Ok(Done::Now));
    assert_eq!(store.heartbeat(says("a", 2)).await, Ok(go_on));
    assert_eq!(store.forget_workers(49).await, Ok(1));
    for want in [Done::Now, Done::Before] {
        assert_eq!(store.forget_worker("a").await, Ok(want));
    }
    assert_eq!(store.workers().await, Ok(Vec::new()));
}
