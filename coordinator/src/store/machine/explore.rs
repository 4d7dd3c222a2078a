//! Every state that a small world can reach, by breadth-first search: one study with two read jobs, two workers, a
//! clock, failures, cancellation, requeues and a late instance. What must always hold is checked in each.

use std::collections::{HashSet, VecDeque};

use crate::queue::Verdict;
use crate::store::conformance::model::{Model, Op, apply_to_model};
use crate::store::record::StudyQuery;
use crate::store::records::Reads as _;

/// Operations in a row, at most.
const DEPTH: u32 = 9;
/// Leases given in one path, at most: each makes new states without end.
const LEASES: usize = 4;

fn moves() -> Vec<Op> {
    let mut moves = vec![
        Op::Add { study: 0, instance: 1, contents: 0, foreign: false, stat: false },
        Op::Complete { study: 0, request: None },
        Op::Plan { study: 0, jobs: 2, stale: false, stat: false, demand: 0 },
        Op::Lease { kinds: 7, ttl_ms: 10, request: None, held: 0, bound: false, offer: 1 },
        Op::Cancel { study: 0 },
        Op::Requeue { study: 0, job: 0 },
        Op::Requeue { study: 0, job: 1 },
        Op::Requeue { study: 0, job: 2 },
        Op::Advance { by_ms: 10 },
    ];
    for lease in 0..LEASES {
        moves.extend([
            Op::Release { lease },
            Op::Finish { lease },
            Op::Fail { lease, verdict: Verdict::RetryIn(10) },
            Op::Fail { lease, verdict: Verdict::Dead },
            Op::Expire { lease, verdict: Verdict::RetryIn(0) },
            Op::Merge { lease, draft: true },
        ]);
    }
    moves
}

#[tokio::test]
async fn every_state_of_a_small_world_keeps_the_invariants() {
    let mut start = Model::new(0);
    for op in [
        Op::Add { study: 0, instance: 0, contents: 0, foreign: false, stat: false },
        Op::Complete { study: 0, request: None },
        Op::Plan { study: 0, jobs: 2, stale: false, stat: false, demand: 0 },
    ] {
        apply_to_model(&op, &mut start).await;
    }
    let moves = moves();
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([(start, 0)]);
    let (mut drafted, mut steps) = (0_u64, 0_u64);
    while let Some((model, depth)) = queue.pop_front() {
        for op in &moves {
            if !fits(op, model.leases.len()) {
                continue;
            }
            let mut next = model.fork();
            if let Op::Advance { by_ms } = op {
                next.clock.advance(*by_ms);
            }
            apply_to_model(op, &mut next).await;
            steps += 1;
            let maps = next.store.maps();
            if !matches!(op, Op::Advance { .. }) && maps == model.store.maps() {
                // Refused, or done before.
                continue;
            }
            let state = format!("{:?} {:?}", next.clock, maps);
            if depth + 1 < DEPTH && seen.insert(hash(&state)) {
                let all = maps.studies(&StudyQuery { limit: 1, ..StudyQuery::default() }).unwrap();
                drafted += u64::from(all[0].draft_version > 0);
                queue.push_back((next, depth + 1));
            }
        }
    }
    println!("{} states, {steps} steps, {drafted} of the states with a draft", seen.len());
    assert!(seen.len() > 10_000 && drafted > 10, "{} states, {drafted} drafted", seen.len());
}

/// Whether an operation means something new with so many leases given.
fn fits(op: &Op, leases: usize) -> bool {
    match op {
        Op::Lease { .. } => leases < LEASES,
        Op::Release { lease } | Op::Finish { lease } | Op::Fail { lease, .. } => *lease < leases,
        Op::Expire { lease, .. } | Op::Merge { lease, .. } => *lease < leases,
        _ => true,
    }
}

fn hash(text: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).into()
}
