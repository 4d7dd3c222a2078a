//! What every store must do: written cases for each guarantee of [`JobStore`], and random operations compared, step by
//! step, with the state machine on plain maps.

mod arriving;
mod cases;
pub(crate) mod fixture;
pub(crate) mod model;
mod notes;
mod steps;
mod workers;
pub(crate) mod worklist;

use std::sync::Arc;

use async_trait::async_trait;

use super::JobStore;

/// A store under test, with its clock.
#[async_trait]
pub(crate) trait Harness: Send {
    /// The store.
    fn store(&self) -> Arc<dyn JobStore>;
    /// Moves the store's clock forward.
    fn advance(&self, by_ms: u32);
    /// What the clock says.
    fn now_ms(&self) -> i64;
    /// Lets go of the store and opens it again, as after a restart. Everything acknowledged must still be there.
    async fn reopen(&mut self);
}

/// Random sequences tried, unless `PRELIM_MODEL_CASES` says otherwise.
const MODEL_CASES: u32 = 96;

/// Holds the stores that `factory` makes (empty, each apart from the others) to the guarantees of [`JobStore`].
pub(crate) async fn conformance<H: Harness>(factory: impl AsyncFn() -> H) {
    cases::run_all(&factory).await;
    explore(factory, MODEL_CASES).await;
}

/// The part of [`conformance`] that is left to chance.
pub(crate) async fn explore<H: Harness>(factory: impl AsyncFn() -> H, cases: u32) {
    let cases = std::env::var("PRELIM_MODEL_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    model::explore_at_random(&factory, cases).await;
}
