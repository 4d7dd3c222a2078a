//! Encoded pictures, so that a picture that several prompts show goes through the vision tower once.

use std::collections::{BTreeMap, HashMap};

/// The most recently used encoded pictures, by digest of their pixels.
pub(super) struct ImageCache<I> {
    capacity: usize,
    entries: HashMap<[u8; 32], (u64, I)>,
    by_use: BTreeMap<u64, [u8; 32]>,
    clock: u64,
}

impl<I: Clone> ImageCache<I> {
    /// A cache of at most `capacity` pictures.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    pub(super) fn get(&mut self, digest: &[u8; 32]) -> Option<I> {
        let (used, image) = self.entries.get_mut(digest)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, *digest);
        Some(image.clone())
    }

    pub(super) fn put(&mut self, digest: [u8; 32], image: I) {
        self.clock += 1;
        if let Some((used, _)) = self.entries.insert(digest, (self.clock, image)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.clock, digest);
        while self.entries.len() > self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_unused_the_longest_is_dropped_first() {
        let mut cache = ImageCache::new(2);
        cache.put([1; 32], 'a');
        cache.put([2; 32], 'b');
        assert_eq!(cache.get(&[1; 32]), Some('a'));
        cache.put([3; 32], 'c');
        assert_eq!(cache.get(&[2; 32]), None);
        assert_eq!(cache.get(&[1; 32]), Some('a'));
        assert_eq!(cache.get(&[3; 32]), Some('c'));
    }
}
