//! Encoded pictures, so that a picture that several prompts show goes through the vision tower once.

use std::collections::{BTreeMap, HashMap};

/// What an encoded picture depends on: the digest of its pixels, and the adapter that it was encoded with.
pub(super) type ImageKey = ([u8; 32], Option<usize>);

/// The most recently used encoded pictures.
pub(super) struct ImageCache<I> {
    capacity: usize,
    entries: HashMap<ImageKey, (u64, I)>,
    by_use: BTreeMap<u64, ImageKey>,
    clock: u64,
}

impl<I: Clone> ImageCache<I> {
    /// A cache of at most `capacity` pictures.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, entries: HashMap::new(), by_use: BTreeMap::new(), clock: 0 }
    }

    pub(super) fn get(&mut self, key: &ImageKey) -> Option<I> {
        let (used, image) = self.entries.get_mut(key)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, *key);
        Some(image.clone())
    }

    pub(super) fn put(&mut self, key: ImageKey, image: I) {
        self.clock += 1;
        if let Some((used, _)) = self.entries.insert(key, (self.clock, image)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.clock, key);
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
        cache.put(([1; 32], None), 'a');
        cache.put(([2; 32], None), 'b');
        assert_eq!(cache.get(&([1; 32], None)), Some('a'));
        cache.put(([3; 32], None), 'c');
        assert_eq!(cache.get(&([2; 32], None)), None);
        assert_eq!(cache.get(&([1; 32], None)), Some('a'));
        assert_eq!(cache.get(&([3; 32], None)), Some('c'));
        assert_eq!(cache.get(&([3; 32], Some(0))), None, "another adapter sees another picture");
    }
}
