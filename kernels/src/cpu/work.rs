//! Work divided among threads.

use std::marker::PhantomData;

use rayon::prelude::*;

/// Multiply-adds that are worth a second thread: about what a core does while another one wakes up.
const WORTH_A_THREAD: usize = 400_000;
/// Tasks for each thread, so that none waits long for the last one.
const TASKS_PER_THREAD: usize = 4;

/// How many threads there are to divide work among.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) threads: usize,
    /// Memory that operations use one after the other.
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code, reason = "tiles alone use it"))]
    pub(super) kept: &'a Kept,
}

/// Memory for packed activations, kept from one operation to the next: fresh memory costs as much as the packing.
#[derive(Debug, Default)]
pub(super) struct Kept {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) tiles: std::sync::Mutex<Vec<std::mem::MaybeUninit<super::amx::Tile>>>,
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
        if self.threads == 1 || count <= 1 {
            (0..count).for_each(task);
        } else {
            (0..count).into_par_iter().with_max_len(1).for_each(task);
        }
    }

    /// Runs a task for each item.
    pub(super) fn run_each<T: Send>(self, items: &mut [T], task: impl Fn(usize, &mut T) + Send + Sync) {
        if self.threads == 1 || items.len() <= 1 {
            items.iter_mut().enumerate().for_each(|(index, item)| task(index, item));
        } else {
            items.par_iter_mut().enumerate().with_max_len(1).for_each(|(index, item)| task(index, item));
        }
    }

    /// Runs tasks with memory of their own, made once for each thread that takes part.
    pub(super) fn run_with<T: Send>(
        self,
        count: usize,
        make: impl Fn() -> T + Send + Sync,
        task: impl Fn(&mut T, usize) + Send + Sync,
    ) {
        if self.threads == 1 || count <= 1 {
            let mut own = make();
            (0..count).for_each(|index| task(&mut own, index));
        } else {
            (0..count).into_par_iter().with_max_len(1).for_each_init(make, task);
        }
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
