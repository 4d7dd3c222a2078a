//! Work divided among threads.

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use super::team::Team;

/// Multiply-adds that are worth a second thread: about what a core does while another one wakes up.
const WORTH_A_THREAD: usize = 400_000;
/// Tasks for each thread, so that none waits long for the last one.
const TASKS_PER_THREAD: usize = 4;

/// How many threads there are to divide work among.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) threads: usize,
    /// None where there is one thread.
    pub(super) team: Option<&'a Team>,
    /// Memory that operations use one after the other.
    #[cfg_attr(
        not(all(target_arch = "x86_64", target_os = "linux")),
        allow(dead_code, reason = "products of bf16 alone use it")
    )]
    pub(super) kept: &'a Kept,
}

/// Memory for packed activations, kept from one operation to the next: fresh memory costs as much as the packing.
#[derive(Debug, Default)]
pub(super) struct Kept {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) tiles: Mutex<Vec<std::mem::MaybeUninit<super::bf16::Tile>>>,
}

impl Work<'_> {
    /// One thread: this one.
    pub(super) fn alone(self) -> Self {
        Self { threads: 1, ..self }
    }

    /// Into how many tasks to divide so many multiply-adds.
    pub(super) fn tasks(self, multiply_adds: usize) -> usize {
        if self.threads == 1 || multiply_adds < 2 * WORTH_A_THREAD {
            return 1;
        }
        (multiply_adds / WORTH_A_THREAD).min(self.threads * TASKS_PER_THREAD)
    }

    /// Runs tasks `0..count`, in any order and at the same time.
    pub(super) fn run(self, count: usize, task: impl Fn(usize) + Send + Sync) {
        match self.team.filter(|_| self.threads > 1 && count > 1) {
            Some(team) => team.run(count, &task),
            None => (0..count).for_each(task),
        }
    }

    /// Runs a task for each item.
    pub(super) fn run_each<T: Send>(self, items: &mut [T], task: impl Fn(usize, &mut T) + Send + Sync) {
        let first = Items(items.as_mut_ptr());
        self.run(items.len(), |index| {
            // SAFETY: each index comes once, and the items are borrowed until all tasks are done.
            task(index, unsafe { &mut *first.at(index) });
        });
    }

    /// Runs tasks with memory of their own, of which there is some for each thread that takes part.
    pub(super) fn run_with<T: Send>(
        self,
        count: usize,
        make: impl Fn() -> T + Send + Sync,
        task: impl Fn(&mut T, usize) + Send + Sync,
    ) {
        let idle = Mutex::new(Vec::new());
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        self.run(count, |index| {
            let taken = idle().pop();
            let mut own = taken.unwrap_or_else(&make);
            task(&mut own, index);
            idle().push(own);
        });
    }
}

/// Items that tasks take one each.
struct Items<T>(*mut T);

// SAFETY: each item is used by one task, and may be used by any thread.
unsafe impl<T: Send> Sync for Items<T> {}

impl<T> Items<T> {
    /// # Safety
    /// The item is there.
    unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: the caller's contract.
        unsafe { self.0.add(index) }
    }
}

/// A slice that tasks write disjoint parts of.
pub(super) struct Shared<'a> {
    pointer: *mut f32,
    values: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a pointer into a slice that is borrowed for as long; whoever writes through it (in `unsafe`) answers for
// writing disjoint parts.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Self { pointer: values.as_mut_ptr(), values: PhantomData }
    }

    pub(super) fn pointer(&self) -> *mut f32 {
        self.pointer
    }
}
