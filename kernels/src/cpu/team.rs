//! Threads that divide tasks among themselves, and watch for the next ones for a while before they sleep.
//!
//! A step of a decoder is a hundred small operations after each other. To wake a thread takes as long as many of them, so that
//! two threads of a pool that sleeps in between had two thirds of their time; here a thread that has nothing to do looks for
//! work for [`WATCH`] first. Whoever runs tasks takes part, and never waits for a thread that has not begun one: on a machine
//! that others use as well, a thread may be away for milliseconds.

use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread looks for work before it sleeps: longer than what is between two operations of a pass.
const WATCH: Duration = Duration::from_micros(200);
/// Looks between two at the clock.
const LOOKS: u32 = 64;

/// The threads beside the one that runs tasks.
#[derive(Debug)]
pub(super) struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// Whoever runs tasks; others who come meanwhile run theirs alone.
    turn: Mutex<()>,
}

/// What threads share of a round of tasks.
#[derive(Debug)]
struct Shared {
    /// Number of the round, times [`ROUND`]; then [`OPEN`] while helpers may join; then how many have joined and not left.
    state: AtomicU64,
    round: UnsafeCell<Round>,
    next: AtomicUsize,
    failed: Mutex<Option<Box<dyn Any + Send>>>,
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

const OPEN: u64 = 1 << 16;
const ROUND: u64 = 1 << 17;
/// The number of a round that asks helpers to end.
const LAST: u64 = u64::MAX / ROUND;

/// The tasks of a round.
#[derive(Debug, Clone, Copy)]
struct Round {
    task: *const (dyn Fn(usize) + Sync),
    count: usize,
}

// SAFETY: a round is written while no helper has joined, and read by those who have; its task may be called from any thread.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Team {
    /// Starts so many helpers.
    pub(super) fn new(helpers: usize) -> std::io::Result<Self> {
        let nothing: &'static (dyn Fn(usize) + Sync) = &|_| {};
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            round: UnsafeCell::new(Round { task: nothing, count: 0 }),
            next: AtomicUsize::new(0),
            failed: Mutex::new(None),
            asleep: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut team = Self { shared, helpers: Vec::with_capacity(helpers), turn: Mutex::new(()) };
        for number in 1..=helpers {
            let shared = Arc::clone(&team.shared);
            // Those that were started end with the team, if a later one is not.
            team.helpers
                .push(thread::Builder::new().name(format!("prelim-cpu-{number}")).spawn(move || help(&shared))?);
        }
        Ok(team)
    }

    /// Runs tasks `0..count`, in any order and at the same time, and returns when all are done.
    ///
    /// # Panics
    /// Where a task does, when all that were begun have ended.
    pub(super) fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        let Ok(turn) = self.turn.try_lock() else {
            return (0..count).for_each(task);
        };
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. All helpers have left when this returns, so that none sees the task after its life.
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(task)
        };
        let round = Round { task, count };
        // SAFETY: no helper has joined a round: all have left the one before, and this one is not open yet.
        unsafe { *shared.round.get() = round };
        shared.next.store(0, Ordering::Relaxed);
        let number = shared.state.load(Ordering::Relaxed) / ROUND + 1;
        let open = number * ROUND + OPEN;
        shared.state.store(open, Ordering::SeqCst);
        shared.wake_sleepers();
        shared.work(round);
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while !shared.state.load(Ordering::Acquire).is_multiple_of(OPEN) {
            looks += 1;
            if looks < 1_000 { spin_loop() } else { thread::yield_now() }
        }
        let failed = shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = failed {
            drop(turn);
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.state.store(LAST * ROUND, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for helper in self.helpers.drain(..) {
            // A helper does not panic: tasks that do are caught.
            let _ = helper.join();
        }
    }
}

impl Shared {
    /// Takes tasks until none is left.
    fn work(&self, round: Round) {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: whoever works on a round has joined it, or began it: its task lives until all have left.
            let task = unsafe { &*round.task };
            loop {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                if index >= round.count {
                    return;
                }
                task(index);
            }
        }));
        if let Err(panic) = worked {
            // Nobody begins another.
            self.next.store(round.count, Ordering::Relaxed);
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    fn wake_sleepers(&self) {
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Waits until the state is that of another round than `seen`, and returns it.
    fn next_round(&self, seen: u64) -> u64 {
        let began = Instant::now();
        loop {
            for _ in 0..LOOKS {
                let state = self.state.load(Ordering::Acquire);
                if state / ROUND != seen {
                    return state;
                }
                spin_loop();
            }
            if began.elapsed() > WATCH {
                break;
            }
        }
        let mut sleeping = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        loop {
            let state = self.state.load(Ordering::SeqCst);
            if state / ROUND != seen {
                self.asleep.fetch_sub(1, Ordering::SeqCst);
                return state;
            }
            sleeping = self.wake.wait(sleeping).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a helper does until its team is dropped.
fn help(shared: &Shared) {
    let mut seen = 0;
    loop {
        let mut state = shared.next_round(seen);
        seen = state / ROUND;
        if seen == LAST {
            return;
        }
        // Joins, while the round is open.
        while state & OPEN != 0 && state / ROUND == seen {
            match shared.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Err(now) => state = now,
                Ok(_) => {
                    // SAFETY: the round is open, and stays as it is until this thread has left.
                    let round = unsafe { *shared.round.get() };
                    shared.work(round);
                    shared.state.fetch_sub(1, Ordering::Release);
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn every_task_runs_once_in_every_round() {
        let team = Team::new(3).unwrap();
        for round in 0..20_000usize {
            let count = round % 17;
            let ran: Vec<AtomicU32> = (0..count).map(|_| AtomicU32::new(0)).collect();
            team.run(count, &|index| _ = ran[index].fetch_add(1, Ordering::Relaxed));
            assert!(ran.iter().all(|ran| ran.load(Ordering::Relaxed) == 1), "round {round}");
            if round % 5_000 == 0 {
                // Long enough for all to fall asleep.
                thread::sleep(10 * WATCH);
            }
        }
    }

    #[test]
    fn helpers_take_part() {
        let team = Team::new(1).unwrap();
        let began = Instant::now();
        // Two tasks, each of which waits for the other.
        let here = AtomicU32::new(0);
        team.run(2, &|_| {
            here.fetch_add(1, Ordering::SeqCst);
            while here.load(Ordering::SeqCst) < 2 {
                assert!(began.elapsed() < Duration::from_secs(60), "nobody helps");
                thread::yield_now();
            }
        });
    }

    #[test]
    fn a_task_may_run_tasks_and_threads_may_run_them_at_the_same_time() {
        let team = Team::new(2).unwrap();
        let sum = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        team.run(4, &|_| team.run(2, &|_| _ = sum.fetch_add(1, Ordering::Relaxed)));
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 3 * 500 * 8);
    }

    #[test]
    fn a_panic_comes_through_and_leaves_the_team_as_good_as_new() {
        let team = Team::new(2).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            team.run(50, &|index| assert!(index != 20, "twenty"));
        }));
        let panic = caught.unwrap_err();
        assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("twenty")) || panic.is::<String>());
        let ran = AtomicU32::new(0);
        team.run(50, &|_| _ = ran.fetch_add(1, Ordering::Relaxed));
        assert_eq!(ran.into_inner(), 50);
    }
}
