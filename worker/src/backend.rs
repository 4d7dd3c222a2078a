//! Which device this build computes on: the one place that names it.

use prelim_kernels::{Cpu, DeviceError};

/// The device.
pub(crate) type Device = Cpu;

/// Its kind, for the provenance of drafts. Instruction sets and numbers of threads have no place there: the results
/// are the same bits on all of them.
pub(crate) const KIND: &str = "cpu";

/// The device of this machine.
pub(crate) fn device() -> Result<Device, DeviceError> {
    Cpu::new()
}
