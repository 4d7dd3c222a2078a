//! Guesses of passwords, slowed by name and by address. Pure: the time comes in as an argument.
//!
//! Who was let in from an address with a name is not slowed by what others try, with that name from elsewhere or with other
//! names from there: nobody is kept out by a stranger, also where all come through one proxy.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// What is remembered at most, of names and addresses each; the oldest goes first.
const MAX_KNOWN: usize = 4_096;
/// Failures with a name before the next has to wait.
const FREE_OF_NAME: u32 = 5;
/// Failures from an address before the next has to wait: many people may share one.
const FREE_OF_ADDRESS: u32 = 30;
/// The first wait, in ms; it doubles with each failure.
const FIRST_MS: i64 = 1_000;
/// The longest.
const LONGEST_MS: i64 = 60_000;
/// After this without a failure nothing is held against a name or an address, in ms.
const FORGET_MS: i64 = 3_600_000;

/// What was tried lately.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    tried: BTreeMap<Tried, Failures>,
    order: VecDeque<Tried>,
    welcome: VecDeque<(String, IpAddr)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    Name(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    last_ms: i64,
}

impl Failures {
    /// How long the next guess has to wait, in ms.
    fn wait_ms(&self, free: u32, now_ms: i64) -> i64 {
        let over = self.count.saturating_sub(free);
        if over == 0 || now_ms - self.last_ms > FORGET_MS {
            return 0;
        }
        let pause = FIRST_MS.saturating_mul(1 << (over - 1).min(16)).min(LONGEST_MS);
        (self.last_ms + pause - now_ms).clamp(0, LONGEST_MS)
    }
}

impl Guesses {
    /// How long a guess with this name from this address has to wait, in ms; 0 where it is looked at.
    pub(crate) fn wait_ms(&self, name: &str, address: IpAddr, now_ms: i64) -> i64 {
        let is_welcome = self.welcome.iter().any(|(known, from)| known == name && *from == address);
        let of = |tried: Tried, free| self.tried.get(&tried).map_or(0, |failures| failures.wait_ms(free, now_ms));
        if is_welcome {
            return 0;
        }
        of(Tried::Name(name.to_owned()), FREE_OF_NAME).max(of(Tried::Address(address), FREE_OF_ADDRESS))
    }

    /// Notes a wrong guess.
    pub(crate) fn failed(&mut self, name: &str, address: IpAddr, now_ms: i64) {
        for tried in [Tried::Name(name.to_owned()), Tried::Address(address)] {
            let failures = self.tried.entry(tried.clone()).or_insert_with(|| {
                self.order.push_back(tried);
                Failures::default()
            });
            if now_ms - failures.last_ms > FORGET_MS {
                failures.count = 0;
            }
            *failures = Failures { count: failures.count.saturating_add(1), last_ms: now_ms };
        }
        // The wrong password of somebody who was let in before counts against that place, too.
        if self.tried.get(&Tried::Name(name.to_owned())).is_some_and(|failures| failures.count > 2 * FREE_OF_NAME) {
            self.welcome.retain(|(known, from)| !(known == name && *from == address));
        }
        while self.order.len() > 2 * MAX_KNOWN {
            if let Some(oldest) = self.order.pop_front() {
                self.tried.remove(&oldest);
            }
        }
    }

    /// Notes that somebody was let in.
    pub(crate) fn let_in(&mut self, name: &str, address: IpAddr) {
        self.forget(&Tried::Name(name.to_owned()));
        self.welcome.retain(|(known, from)| !(known == name && *from == address));
        self.welcome.push_back((name.to_owned(), address));
        if self.welcome.len() > MAX_KNOWN {
            self.welcome.pop_front();
        }
    }

    fn forget(&mut self, tried: &Tried) {
        if self.tried.remove(tried).is_some() {
            self.order.retain(|known| known != tried);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn the_sixth_guess_waits_and_each_after_it_waits_longer() {
        let mut guesses = Guesses::default();
        let mut now_ms = 1_000_000;
        for _ in 0..FREE_OF_NAME {
            guesses.failed("jane", HERE, now_ms);
            assert_eq!(guesses.wait_ms("jane", HERE, now_ms), 0);
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            guesses.failed("jane", HERE, now_ms);
            waits.push(guesses.wait_ms("jane", THERE, now_ms));
            now_ms += waits.last().unwrap();
            assert_eq!(guesses.wait_ms("jane", HERE, now_ms), 0);
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(guesses.wait_ms("john", HERE, now_ms), 0, "another name from there");
        assert_eq!(guesses.wait_ms("jane", HERE, now_ms + FORGET_MS + 1), 0);
    }

    #[test]
    fn an_address_that_tries_many_names_is_slowed() {
        let mut guesses = Guesses::default();
        for n in 0..=FREE_OF_ADDRESS {
            guesses.failed(&format!("name{n}"), HERE, 5);
        }
        assert_eq!(guesses.wait_ms("jane", HERE, 5), 1_000);
        assert_eq!(guesses.wait_ms("jane", THERE, 5), 0);
        guesses.let_in("john", HERE);
        assert_eq!(guesses.wait_ms("john", HERE, 5), 0, "he was in from there before");
        for _ in 0..=2 * FREE_OF_NAME {
            guesses.failed("john", HERE, 5);
        }
        assert!(guesses.wait_ms("john", HERE, 5) > 0, "his own wrong guesses count");
    }

    #[test]
    fn a_stranger_keeps_nobody_out() {
        let mut guesses = Guesses::default();
        guesses.let_in("jane", HERE);
        for _ in 0..20 {
            guesses.failed("jane", THERE, 5);
        }
        assert!(guesses.wait_ms("jane", THERE, 5) > 0);
        assert_eq!(guesses.wait_ms("jane", HERE, 5), 0);
        guesses.let_in("jane", HERE);
        assert_eq!(guesses.wait_ms("jane", THERE, 5), 0, "she is in: nothing is held against her name");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guesses = Guesses::default();
        for n in 0..3 * MAX_KNOWN as u32 {
            guesses.failed(&n.to_string(), IpAddr::V4(n.into()), 5);
            guesses.let_in(&format!("x{n}"), HERE);
        }
        assert!(guesses.tried.len() <= 2 * MAX_KNOWN && guesses.order.len() <= 2 * MAX_KNOWN);
        assert!(guesses.welcome.len() <= MAX_KNOWN);
    }
}
