//! Room for objects that are held whole: received, decoded or described. All requests share it.
//!
//! A part of it keeps objects that are likely to be asked for again: viewers ask for one frame after the other, and the whole
//! object has to be read and compared with its digest for each. What is kept goes as soon as a request wants its room.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prelim_proto::ids::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Bytes in a permit.
const UNIT: usize = 1 << 20;
/// The part of the room that is for what is kept: a quarter.
const KEPT_OF: usize = 4;

/// The room.
pub(crate) struct Memory {
    room: Arc<Semaphore>,
    units: usize,
    kept: Mutex<Kept>,
}

/// Objects that are kept, the one asked for last first.
#[derive(Default)]
struct Kept {
    objects: VecDeque<(Digest, Bytes, Room)>,
    /// Requests that wait for room: until they have it, nothing more is kept.
    waiting: usize,
}

/// A request that waits for room, until this is dropped.
struct Waiting<'a>(&'a Memory);

/// A part of the room, free again when this is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

impl Memory {
    /// Room for so many MiB.
    pub(crate) fn new(mib: usize) -> Self {
        let units = (mib << 20) / UNIT;
        Self { room: Arc::new(Semaphore::new(units)), units, kept: Mutex::default() }
    }

    /// Waits for room for `bytes`. Nobody who waits may hold room already: else all could wait for each other.
    pub(crate) async fn wait_for(&self, bytes: usize) -> Result<Room, Problem> {
        let units = bytes.div_ceil(UNIT).max(1);
        if units > self.units {
            return Err(Problem::too_large(format!(
                "{} MiB would be held at once, and there is room for {} MiB (--http-memory-mib)",
                units, self.units
            )));
        }
        if let Ok(room) = self.room.clone().try_acquire_many_owned(units as u32) {
            return Ok(room);
        }
        let _waiting = self.want(units);
        let room = self.room.clone().acquire_many_owned(units as u32).await;
        room.map_err(|_| Problem::busy("the coordinator is stopping"))
    }

    /// Makes `held` room for `bytes` in all; whether there was as much.
    pub(crate) fn grow(&self, held: &mut Option<Room>, bytes: usize) -> bool {
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(has);
        if more == 0 {
            return true;
        }
        self.give_up(&mut self.lock_kept(), more);
        match self.room.clone().try_acquire_many_owned(more as u32) {
            Ok(room) => {
                match held {
                    Some(held) => held.merge(room),
                    none => *none = Some(room),
                }
                true
            }
            Err(_) => false,
        }
    }

    /// An object that is kept, by its digest.
    pub(crate) fn kept(&self, digest: &Digest) -> Option<Bytes> {
        let mut kept = self.lock_kept();
        let place = kept.objects.iter().position(|(known, ..)| known == digest)?;
        let found = kept.objects.remove(place)?;
        let bytes = found.1.clone();
        kept.objects.push_front(found);
        Some(bytes)
    }

    /// Keeps an object for a while, where there is room.
    pub(crate) fn keep(&self, digest: Digest, bytes: Bytes) {
        let (units, most) = (bytes.len().div_ceil(UNIT).max(1), self.units / KEPT_OF);
        let mut kept = self.lock_kept();
        if kept.waiting > 0 || units > most || kept.objects.iter().any(|(known, ..)| *known == digest) {
            return;
        }
        while units + kept.units() > most {
            kept.objects.pop_back();
        }
        if let Ok(room) = self.room.clone().try_acquire_many_owned(units as u32) {
            kept.objects.push_front((digest, bytes, room));
        }
    }

    /// Notes that a request waits for room, and makes some.
    fn want(&self, units: usize) -> Waiting<'_> {
        let mut kept = self.lock_kept();
        kept.waiting += 1;
        self.give_up(&mut kept, units);
        Waiting(self)
    }

    /// Gives up what is kept, the oldest first, until so much room is free or nothing is kept.
    fn give_up(&self, kept: &mut Kept, units: usize) {
        while self.room.available_permits() < units && kept.objects.pop_back().is_some() {}
    }

    fn lock_kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn units(&self) -> usize {
        self.objects.iter().map(|(_, _, room)| room.num_permits()).sum()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock_kept().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_taken_grown_and_given_back() {
        let memory = Memory::new(3);
        let room = memory.wait_for(UNIT + 1).await.unwrap();
        let mut held = None;
        assert!(memory.grow(&mut held, UNIT));
        assert!(!memory.grow(&mut held, UNIT + 1), "2 of 3 are held by another");
        drop(room);
        assert!(memory.grow(&mut held, 3 * UNIT));
        assert_eq!(memory.wait_for(4 * UNIT).await.unwrap_err().status().as_u16(), 413);
    }

    #[tokio::test]
    async fn what_is_kept_gives_way_to_requests() {
        let memory = Arc::new(Memory::new(8));
        let (digest, object) = (|n: u8| Digest::from_bytes(&[n; 32]), |mib: usize| Bytes::from(vec![0; mib * UNIT]));
        memory.keep(digest(1), object(1));
        memory.keep(digest(2), object(1));
        assert!(memory.kept(&digest(1)).is_some());
        memory.keep(digest(3), object(1));
        let there = |memory: &Memory| [1, 2, 3].map(|n| memory.kept(&digest(n)).is_some());
        assert_eq!(there(&memory), [true, false, true], "a quarter is for what is kept, and the oldest goes");
        memory.keep(digest(4), object(3));
        assert!(memory.kept(&digest(4)).is_none(), "longer than the quarter");
        let held = memory.wait_for(6 * UNIT).await.unwrap();
        assert_eq!(there(&memory), [true, false, true], "there was room");
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.wait_for(8 * UNIT).await.map(|room| room.num_permits()) }
        });
        while memory.lock_kept().waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(there(&memory), [false, false, false]);
        memory.keep(digest(1), object(1));
        assert!(memory.kept(&digest(1)).is_none(), "somebody waits for the room");
        drop(held);
        assert_eq!(waiting.await.unwrap().unwrap(), 8);
        memory.keep(digest(1), object(2));
        let mut grown = None;
        assert!(memory.grow(&mut grown, 8 * UNIT) && memory.kept(&digest(1)).is_none());
    }
}
