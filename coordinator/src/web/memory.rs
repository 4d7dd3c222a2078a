//! Room for objects that are held whole: received, decoded or described. All requests share it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// Bytes in a permit.
const UNIT: usize = 1 << 20;

/// The room.
pub(super) struct Memory {
    room: Arc<Semaphore>,
    units: usize,
}

/// A part of the room, free again when this is dropped.
pub(super) type Room = OwnedSemaphorePermit;

impl Memory {
    /// Room for so many MiB.
    pub(super) fn new(mib: usize) -> Self {
        let units = (mib << 20) / UNIT;
        Self { room: Arc::new(Semaphore::new(units)), units }
    }

    /// Waits for room for `bytes`. Nobody who waits may hold room already: else all could wait for each other.
    pub(super) async fn wait_for(&self, bytes: usize) -> Result<Room, Problem> {
        let units = bytes.div_ceil(UNIT).max(1);
        if units > self.units {
            return Err(Problem::too_large(format!(
                "{} MiB would be held at once, and there is room for {} MiB (--http-memory-mib)",
                units, self.units
            )));
        }
        let room = self.room.clone().acquire_many_owned(units as u32).await;
        room.map_err(|_| Problem::busy("the coordinator is stopping"))
    }

    /// Makes `held` room for `bytes` in all; whether there was as much.
    pub(super) fn grow(&self, held: &mut Option<Room>, bytes: usize) -> bool {
        let has = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(has);
        if more == 0 {
            return true;
        }
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
}
