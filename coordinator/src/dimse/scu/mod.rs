//! What we ask of other application entities, as an SCU.
//!
//! # Layout
//! - [`node`]: who is asked, where, and how; `tls`: certificates for that
//! - [`association`]: an association that we request; [`error`]: what can go wrong, in the words of the peer's answer
//! - [`store`]: C-STORE (PS3.4 annex B); [`find`]: C-FIND; [`retrieve`]: C-GET and C-MOVE (PS3.4 annex C);
//!   `commit`: storage commitment (PS3.4 annex J)
//!
//! **Invariant**: an association is ended by a release, or by an abort that says that there was none: never by silence.

pub mod association;
pub(crate) mod commit;
pub mod error;
pub mod find;
pub mod node;
pub mod retrieve;
pub mod store;
pub(crate) mod tls;
