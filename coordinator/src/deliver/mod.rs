//! Reports out, as drafts and once signed: to a PACS by C-STORE, to an archive by STOW-RS, to a RIS by HL7 v2 messages, to a FHIR
//! server, until each has said what became of them.
//!
//! # Layout
//! - [`destinations`]: the file that says where drafts go
//! - `run`: what is due, leased and sent; `attempt`: one association's or connection's worth of it
//! - `verdict`: what an answer means for a delivery (pure)
//! - `stow`: STOW-RS; `fhir`: a FHIR server; `http`: what both post by; `mllp`: HL7 v2 messages; C-STORE is in
//!   [`crate::dimse::scu`]
//! - `ask`: what people ask: what was sent where, and once more
//!
//! **Invariant**: a delivery is noted in the same step as its draft, and forgotten by nobody: it ends as sent, as refused, as
//! given up, or because a newer draft is there.
//! **Invariant**: the same draft is the same object, with the same UID, however often it is sent.
//! **Invariant**: that patient data leaves is in the audit before it does.

mod ask;
mod attempt;
pub mod destinations;
mod fhir;
mod http;
mod mllp;
mod run;
mod stow;
mod verdict;

pub(crate) use destinations::Moment;
pub(crate) use run::deliver_until_stopped;

use crate::service::Coordinator;
use crate::store::StoreError;
use crate::store::delivery::Wish;
use prelim_proto::study::Study;

/// Open deliveries to a destination that are counted.
const MOST_COUNTED: usize = 1_000;

impl Coordinator {
    /// How many drafts are on their way to each destination, up to [`MOST_COUNTED`].
    pub(crate) async fn deliveries_open(&self) -> Result<Vec<(String, usize)>, StoreError> {
        let destinations = self.destinations.as_ref().map(|destinations| destinations.get()).unwrap_or_default();
        let mut open = Vec::with_capacity(destinations.len());
        for destination in destinations.iter() {
            let count = self.store.open_deliveries(&destination.name, MOST_COUNTED).await?.len();
            open.push((destination.name.clone(), count));
        }
        Ok(open)
    }

    /// Where a report of the study is to go at that moment, and whether an earlier version of it is signed.
    pub(crate) fn wishes(&self, study: &Study, moment: Moment, has_signed: bool) -> Vec<Wish> {
        let Some(destinations) = &self.destinations else { return Vec::new() };
        let destinations = destinations.get();
        // A rule may name some of them; where it names none, a draft goes to all.
        let named = study.intake.route.as_ref().map_or(&[][..], |route| &route.destinations);
        let is_named = |name: &String| named.is_empty() || named.contains(name);
        let wanted =
            destinations.iter().filter(|destination| destination.takes(&study.tenant) && is_named(&destination.name));
        if let Some(unknown) = named.iter().find(|name| destinations.iter().all(|known| known.name != **name)) {
            tracing::error!(destination = %unknown, "a rule names a destination that is not in --destinations");
        }
        wanted.flat_map(|destination| destinations::Destination::wishes(destination, moment, has_signed)).collect()
    }
}
