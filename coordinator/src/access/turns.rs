//! Turns at work that takes a processor, shared among addresses: a few at once, the others wait in lines.
//!
//! An address has only a few in the common line, and its others wait behind them: who comes from elsewhere waits for those
//! few, and not for all. A wait is bounded, and so is how many wait.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bits of an IPv6 address that count: who has one address has all of its /64 network.
const NETWORK: u32 = 64;

/// How turns are shared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Turns at once; as many of one address are in the common line.
    pub(crate) at_once: usize,
    /// Of one address, in all.
    pub(crate) of_address: usize,
    /// In all.
    pub(crate) in_all: usize,
    /// The longest that anybody waits.
    pub(crate) longest: Duration,
}

/// Who waits, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns {
    limits: Limits,
    /// The common line: who came first goes first.
    places: Arc<Semaphore>,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    of: BTreeMap<IpAddr, Line>,
    /// All that wait or have their turn.
    count: usize,
}

#[derive(Debug)]
struct Line {
    /// Into the common line.
    ahead: Arc<Semaphore>,
    count: usize,
}

/// A turn, or a place in a line; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    address: IpAddr,
    lines: Arc<Mutex<Lines>>,
    held: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Turns {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, places: Arc::new(Semaphore::new(limits.at_once)), lines: Arc::default() }
    }

    /// Waits for a turn; none where too many wait already, or it would take too long.
    pub(crate) async fn take(&self, address: IpAddr) -> Option<Turn> {
        let address = network(address);
        let ahead = self.stand_in_line(address)?;
        // From here on the place is given back, also where the caller goes away.
        let mut turn = Turn { address, lines: self.lines.clone(), held: None };
        let end = Instant::now() + self.limits.longest;
        let own = timeout_at(end, ahead.acquire_owned()).await.ok()?.ok()?;
        let place = timeout_at(end, self.places.clone().acquire_owned()).await.ok()?.ok()?;
        turn.held = Some((place, own));
        Some(turn)
    }

    fn stand_in_line(&self, address: IpAddr) -> Option<Arc<Semaphore>> {
        let mut lines = lock(&self.lines);
        if lines.count >= self.limits.in_all {
            return None;
        }
        let at_once = self.limits.at_once;
        let line =
            lines.of.entry(address).or_insert_with(|| Line { ahead: Arc::new(Semaphore::new(at_once)), count: 0 });
        if line.count >= self.limits.of_address {
            return None;
        }
        line.count += 1;
        let ahead = line.ahead.clone();
        lines.count += 1;
        Some(ahead)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.held = None;
        let mut lines = lock(&self.lines);
        lines.count -= 1;
        if let Some(line) = lines.of.get_mut(&self.address) {
            line.count -= 1;
            if line.count == 0 {
                lines.of.remove(&self.address);
            }
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whom an address stands for.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host = u128::MAX >> NETWORK;
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const LIMITS: Limits = Limits { at_once: 4, of_address: 100, in_all: 150, longest: Duration::from_secs(600) };

    fn turns(limits: Limits) -> Arc<Turns> {
        Arc::new(Turns::new(limits))
    }

    /// Works in a turn for some steps of the runtime; whether there was a turn.
    async fn work(turns: Arc<Turns>, address: IpAddr, done: Arc<Mutex<Vec<IpAddr>>>) -> bool {
        let Some(_turn) = turns.take(address).await else { return false };
        for _ in 0..3 {
            yield_now().await;
        }
        done.lock().unwrap().push(address);
        true
    }

    #[tokio::test]
    async fn who_comes_from_elsewhere_waits_for_few_of_many() {
        let (turns, done) = (turns(LIMITS), Arc::default());
        let mut all = JoinSet::new();
        for _ in 0..100 {
            all.spawn(work(turns.clone(), HERE, Arc::clone(&done)));
        }
        while done.lock().unwrap().is_empty() {
            yield_now().await;
        }
        let before = done.lock().unwrap().len();
        all.spawn(work(turns.clone(), THERE, Arc::clone(&done)));
        assert!(all.join_all().await.into_iter().all(|had| had), "all have their turn in the end");
        let place = done.lock().unwrap().iter().position(|address| *address == THERE).unwrap();
        assert!(place - before <= 2 * LIMITS.at_once, "{place} went before, {before} of them sooner");
        assert!(lock(&turns.lines).of.is_empty() && lock(&turns.lines).count == 0);
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_and_takes_no_place() {
        let turns = turns(Limits { at_once: 1, longest: Duration::from_millis(20), ..LIMITS });
        let held = turns.take(HERE).await.unwrap();
        let began = Instant::now();
        assert!(turns.take(THERE).await.is_none());
        assert!(turns.take(HERE).await.is_none());
        assert!(began.elapsed() >= Duration::from_millis(40));
        drop(held);
        assert!(turns.take(THERE).await.is_some());
        assert_eq!(lock(&turns.lines).count, 0);
    }

    #[tokio::test]
    async fn who_goes_away_takes_no_place() {
        let turns = turns(Limits { at_once: 1, ..LIMITS });
        let held = turns.take(HERE).await.unwrap();
        let gone = tokio::spawn(work(turns.clone(), HERE, Arc::default()));
        yield_now().await;
        assert_eq!(lock(&turns.lines).count, 2);
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(lock(&turns.lines).count, 1);
        drop(held);
        assert!(turns.take(HERE).await.is_some());
    }

    #[tokio::test]
    async fn how_many_wait_is_bounded_for_each_address_and_in_all() {
        let turns = turns(LIMITS);
        let gate = Arc::new(Semaphore::new(0));
        let wait = |address| {
            let (turns, gate) = (turns.clone(), Arc::clone(&gate));
            async move {
                let turn = turns.take(address).await;
                // It is never opened, but closed in the end.
                let _ = gate.acquire().await;
                turn.is_some()
            }
        };
        let mut all = JoinSet::new();
        for _ in 0..LIMITS.of_address {
            all.spawn(wait(HERE));
        }
        while lock(&turns.lines).count < LIMITS.of_address {
            yield_now().await;
        }
        assert!(turns.take(HERE).await.is_none(), "the line of that address is full");
        for n in 0..LIMITS.in_all - LIMITS.of_address {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 1, u8::try_from(n).unwrap()));
            all.spawn(wait(address));
        }
        while lock(&turns.lines).count < LIMITS.in_all {
            yield_now().await;
        }
        assert!(turns.take(THERE).await.is_none(), "all lines together are full");
        gate.close();
        assert!(all.join_all().await.into_iter().all(|had| had));
        assert!(turns.take(THERE).await.is_some());
    }

    #[test]
    fn a_network_of_ipv6_has_one_line() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::5"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::5"), of("2001:db8:1:3::5"));
        assert_eq!(of("::ffff:10.0.0.1"), HERE);
        assert_eq!(of("10.0.0.1"), HERE);
    }
}
