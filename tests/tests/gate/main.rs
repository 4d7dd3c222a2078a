//! The gate: rules about the repository itself, checked like everything else.

mod direction;
mod documents;
mod size;
