//! Time, as an argument.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where a store on this machine takes its time from. A store on a server uses the server's clock instead.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch; never less than an earlier answer.
    fn now_ms(&self) -> i64;
}

/// The machine's clock as it was at the start, and time that runs evenly since: when someone sets the machine's clock,
/// no lease grows or ends early.
#[derive(Debug)]
pub struct SystemClock {
    started_at_ms: i64,
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_at_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Self { started_at_ms, started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let running_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.started_at_ms.saturating_add(running_ms)
    }
}

/// Now, by one such clock for the whole process: what lasts for a while by it, lasts on when someone sets the machine's clock.
pub(crate) fn steady_ms() -> i64 {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::default);
    CLOCK.now_ms()
}

/// The date of today where this machine is, by which the age of a study is told.
pub fn today() -> jiff::civil::Date {
    jiff::ZonedDateTime::now().date()
}

/// A clock that moves only when told to, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now_ms`.
    pub fn at(now_ms: i64) -> Self {
        Self { now_ms: AtomicI64::new(now_ms) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by_ms: u32) {
        self.now_ms.fetch_add(i64::from(by_ms), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}
