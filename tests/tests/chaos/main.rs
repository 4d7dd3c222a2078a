//! A cluster of real processes whose world breaks: what was promised must hold all the same.
//!
//! Needs root, a kernel with network namespaces, `redis-server`, and `ip` and `tc` (iproute2), which `tests/install.sh`
//! installs.
//!
//! # Layout
//! - [`network`]: a network namespace a host, on one switch, with cables that can be cut or slowed
//! - [`program`]: a process on a host: started, killed, paused, looked after
//! - [`site`]: Redis, coordinators and workers together
//! - [`studies`]: tiny DX studies by the hundred; [`client`], [`sending`]: submitting them until they are acknowledged
//! - [`schedule`]: disasters drawn from a seed (pure)
//! - [`logs`], [`verify`]: what must hold when all is healed
//! - the promises: [`rounds`], [`fencing`], [`poison`], [`memory`], [`restart`], [`clocks`]
//!
//! **Invariant**: one site at a time: they share two cores, and deadlines are generous instead of exact.
//! **Invariant**: what a test made (processes, namespaces, folders) is gone when it ends, also by a panic; what an earlier
//! run left behind when it was killed is removed at the next start.

mod client;
mod clocks;
mod fencing;
mod logs;
mod memory;
mod network;
mod poison;
mod program;
mod restart;
mod rounds;
mod schedule;
mod sending;
mod site;
mod studies;
mod verify;
