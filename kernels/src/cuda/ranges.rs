//! Which parts of a piece of memory are free. The first that is large enough is given out, so that passes that ask for the same in
//! the same order get the same places.

use std::collections::BTreeMap;

/// Arrays begin at multiples of this, as those of the driver do.
const ALIGNMENT: u64 = 256;

/// Free parts.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Bytes of each, by where it begins. No two touch.
    free: BTreeMap<u64, u64>,
    /// Where the last part that was ever given out ends.
    highest: u64,
}

impl Ranges {
    /// All of so many bytes is free.
    pub(super) fn new(bytes: u64) -> Self {
        Self { free: BTreeMap::from([(0, bytes / ALIGNMENT * ALIGNMENT)]), highest: 0 }
    }

    /// A part of at least so many bytes: where it begins, and its bytes. None where no free part is so large.
    pub(super) fn take(&mut self, bytes: u64) -> Option<(u64, u64)> {
        let wanted = aligned(bytes)?;
        let (at, free) = self.free.iter().map(|(at, free)| (*at, *free)).find(|(_, free)| *free >= wanted)?;
        Some(self.cut(at, free, (at, wanted)))
    }

    /// The same from the other end.
    pub(super) fn take_last(&mut self, bytes: u64) -> Option<(u64, u64)> {
        let wanted = aligned(bytes)?;
        let (at, free) = self.free.iter().rev().map(|(at, free)| (*at, *free)).find(|(_, free)| *free >= wanted)?;
        Some(self.cut(at, free, (at + free - wanted, wanted)))
    }

    /// Gives a part out of the free one at `at`, of whose `free` bytes what is before and behind it stays free.
    fn cut(&mut self, at: u64, free: u64, part: (u64, u64)) -> (u64, u64) {
        let (begin, end) = (part.0, part.0 + part.1);
        self.free.remove(&at);
        if at < begin {
            self.free.insert(at, begin - at);
        }
        if end < at + free {
            self.free.insert(end, at + free - end);
        }
        self.highest = self.highest.max(end);
        part
    }

    /// Takes a part back, and joins it with its free neighbours.
    pub(super) fn give_back(&mut self, at: u64, bytes: u64) {
        let (mut at, mut bytes) = (at, bytes);
        if let Some(after) = self.free.remove(&(at + bytes)) {
            bytes += after;
        }
        if let Some((before, free)) = self.free.range(..at).next_back().map(|(before, free)| (*before, *free))
            && before + free == at
        {
            (at, bytes) = (before, free + bytes);
        }
        self.free.insert(at, bytes);
    }

    /// Where the last part that was ever given out ends.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }
}

fn aligned(bytes: u64) -> Option<u64> {
    bytes.max(1).checked_next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_that_is_large_enough_is_given_out() {
        let mut ranges = Ranges::new(4096);
        let [a, b, c] = [100, 256, 700].map(|bytes| ranges.take(bytes).unwrap());
        assert_eq!([a, b, c], [(0, 256), (256, 256), (512, 768)]);
        ranges.give_back(b.0, b.1);
        assert_eq!(ranges.take(300), Some((1280, 512)), "the hole is too small");
        assert_eq!(ranges.take(0), Some((256, 256)), "of no size is a part as well");
        assert_eq!((ranges.take(4096), ranges.highest()), (None, 1792));
    }

    #[test]
    fn both_ends_give_out() {
        let mut ranges = Ranges::new(2048);
        assert_eq!((ranges.take_last(300), ranges.take(10)), (Some((1536, 512)), Some((0, 256))));
        let last = ranges.take_last(256).unwrap();
        assert_eq!(last, (1280, 256));
        ranges.give_back(1536, 512);
        assert_eq!(
            (ranges.take_last(512), ranges.take(1024), ranges.take_last(1)),
            (Some((1536, 512)), Some((256, 1024)), None)
        );
    }

    #[test]
    fn what_comes_back_is_joined_whatever_the_order() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut ranges = Ranges::new(768);
            let parts = [0; 3].map(|bytes| ranges.take(bytes).unwrap());
            assert_eq!(ranges.take(1), None);
            order.into_iter().for_each(|at| ranges.give_back(parts[at].0, parts[at].1));
            assert_eq!(ranges.take(768), Some((0, 768)), "{order:?}");
        }
    }
}
