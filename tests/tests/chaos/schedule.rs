//! Disasters drawn from a seed. Pure: the same seed breaks the same things at the same times.

/// One round, in ms.
pub(crate) const ROUND_MS: u64 = 1_200;
/// The rest that a victim has between two disasters, in ms.
const REST_MS: u64 = 400;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    /// SIGKILL, and started again on the same files.
    Kill,
    /// SIGSTOP until past the lease, then SIGCONT.
    Pause,
    /// Its cable is pulled.
    Cut,
    /// Its cable becomes a slow one.
    Slow,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The server of the store.
    Redis,
    /// A coordinator.
    Coordinator,
    /// A worker.
    Worker,
}

/// One disaster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disaster {
    /// When it begins, in ms from the start.
    pub(crate) begins_ms: u64,
    /// When it is over.
    pub(crate) ends_ms: u64,
    /// What happens.
    pub(crate) blow: Blow,
    /// To whom.
    pub(crate) role: Role,
    /// To which of them.
    pub(crate) number: usize,
}

/// Every blow to every role; workers are hit most often, Redis least, as there are more of them.
fn deck() -> Vec<(Blow, Role)> {
    let roles = [(Role::Redis, 1), (Role::Coordinator, 2), (Role::Worker, 3)];
    let blows = [Blow::Kill, Blow::Pause, Blow::Cut, Blow::Slow];
    let often = roles.iter().flat_map(|(role, times)| std::iter::repeat_n(*role, *times));
    often.flat_map(|role| blows.iter().map(move |blow| (*blow, role))).collect()
}

/// Shortest and longest of each, in ms. A pause lasts longer than a lease.
fn lasts(blow: Blow) -> (u64, u64) {
    match blow {
        Blow::Kill => (50, 1_500),
        Blow::Pause => (1_200, 3_000),
        Blow::Cut => (300, 3_000),
        Blow::Slow => (500, 2_500),
    }
}

/// One or two disasters a round, in order of time. Victims are hit again only when they have had a rest; what happens to
/// one may overlap with what happens to others.
pub(crate) fn schedule(seed: u64, rounds: u64, coordinators: usize, workers: usize) -> Vec<Disaster> {
    let mut dice = Dice(seed);
    let mut cards = Vec::new();
    let mut free_ms = std::collections::BTreeMap::<(Role, usize), u64>::new();
    let mut disasters = Vec::new();
    for round in 0..rounds {
        for _ in 0..dice.between(1, 2) {
            if cards.is_empty() {
                cards = deck();
            }
            let (blow, role) = cards.swap_remove(dice.between(0, cards.len() as u64 - 1) as usize);
            let count = [1, coordinators, workers][role as usize];
            let number = dice.between(0, count as u64 - 1) as usize;
            let free = free_ms.entry((role, number)).or_default();
            let begins_ms = (round * ROUND_MS + dice.between(0, ROUND_MS - 1)).max(*free);
            let (shortest, longest) = lasts(blow);
            let ends_ms = begins_ms + dice.between(shortest, longest);
            *free = ends_ms + REST_MS;
            disasters.push(Disaster { begins_ms, ends_ms, blow, role, number });
        }
    }
    disasters.sort_by_key(|disaster| disaster.begins_ms);
    disasters
}

/// SplitMix64: small, and the same on every machine.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

#[test]
fn a_seed_breaks_the_same_things_and_every_kind_of_them() {
    let drawn = schedule(7, 200, 2, 4);
    assert_eq!(drawn, schedule(7, 200, 2, 4));
    assert_ne!(drawn, schedule(8, 200, 2, 4));
    assert!((200..=400).contains(&drawn.len()));
    for kind in deck() {
        assert!(drawn.iter().any(|disaster| (disaster.blow, disaster.role) == kind), "{kind:?}");
    }
    for (at, one) in drawn.iter().enumerate() {
        let next = drawn[at + 1..].iter().find(|other| (other.role, other.number) == (one.role, one.number));
        assert!(next.is_none_or(|next| next.begins_ms >= one.ends_ms + REST_MS), "{one:?} {next:?}");
    }
}
