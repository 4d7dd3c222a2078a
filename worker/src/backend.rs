//! Which device a worker computes on: the one place that names them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use prelim_kernels::{Arithmetic, Backend, DeviceMemory, GraphCounts, Precision};

use crate::config::ArithmeticChoice;
use crate::model::{KeptType, Model, WeightType};

/// Where the model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// This machine's processor.
    #[default]
    Cpu,
    /// The GPU that the CUDA driver calls so.
    Cuda(usize),
}

/// A device that is spelled otherwise.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not cpu, cuda or cuda:N")]
pub struct UnknownDevice(String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(text.to_owned());
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                // A sign is not part of a number here.
                let digits = number.bytes().all(|byte| byte.is_ascii_digit());
                number.parse().ok().filter(|_| digits).map(Self::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl DeviceChoice {
    /// cpu, cuda.
    fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// What drafts say of the arithmetic. Instruction sets, numbers of threads and of GPUs have no place there: the results
    /// are the same bits on all processors, and on all GPUs of a kind.
    pub(crate) fn arithmetic(self, weights: WeightType, kept: KeptType, choice: ArithmeticChoice) -> String {
        match self {
            Self::Cuda(_) => {
                let precision = match precision(weights) {
                    Precision::F16 => "f16",
                    Precision::Bf16 => "bf16",
                };
                // What they stand for is computed with.
                let quantised = if kept.is_quantised() { format!(", weights of {kept}") } else { String::new() };
                format!("cuda {precision}{quantised}")
            }
            Self::Cpu => match products(kept, choice) {
                Arithmetic::Bf16 => format!("cpu {kept}, products of bf16"),
                Arithmetic::Exact => format!("cpu {kept}"),
            },
        }
    }
}

/// The device that a model was loaded on, for numbers and logs. It keeps neither.
pub struct LoadedDevice {
    /// As its backend is called.
    pub name: String,
    /// cpu, cuda.
    pub kind: &'static str,
    pub(crate) memory: Asked<DeviceMemory>,
    pub(crate) graphs: Asked<GraphCounts>,
}

/// What a device is asked, as long as the model is there.
pub(crate) type Asked<T> = Box<dyn Fn() -> Option<T> + Send + Sync>;

impl LoadedDevice {
    /// The device of `model`.
    pub(crate) fn of<B: Backend>(model: &Arc<Model<B>>, choice: DeviceChoice) -> Self {
        let (name, kind) = (model.backend().name(), choice.kind());
        let (for_memory, for_graphs) = (Arc::downgrade(model), Arc::downgrade(model));
        let memory = move || for_memory.upgrade()?.backend().device_memory().ok().flatten();
        let graphs = move || for_graphs.upgrade()?.backend().graph_counts();
        Self { name, kind, memory: Box::new(memory), graphs: Box::new(graphs) }
    }

    /// Its memory, where it has its own and the model is still there.
    pub fn memory(&self) -> Option<DeviceMemory> {
        (self.memory)()
    }

    /// How its passes that repeat are started, where it has graphs and the model is still there.
    pub fn graphs(&self) -> Option<GraphCounts> {
        (self.graphs)()
    }
}

/// What a processor's products round: nothing where weights are kept as f32.
pub(crate) fn products(kept: KeptType, choice: ArithmeticChoice) -> Arithmetic {
    match choice {
        ArithmeticChoice::Bf16 if kept != KeptType::F32 => Arithmetic::Bf16,
        ArithmeticChoice::Bf16 | ArithmeticChoice::Exact => Arithmetic::Exact,
    }
}

/// The numbers of a GPU's products: f16 holds weights of bf16 too, and rounds activations less. bf16 where it is asked for.
pub(crate) fn precision(weights: WeightType) -> Precision {
    match weights {
        WeightType::AsStored | WeightType::F32 | WeightType::Int8 | WeightType::Int4 => Precision::F16,
        WeightType::Bf16 => Precision::Bf16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_spelled_as_they_are_shown() {
        for (text, wanted) in
            [("cpu", DeviceChoice::Cpu), ("cuda", DeviceChoice::Cuda(0)), ("cuda:3", DeviceChoice::Cuda(3))]
        {
            let parsed: DeviceChoice = text.parse().unwrap();
            assert_eq!(parsed, wanted);
            assert_eq!(parsed.to_string().parse(), Ok(wanted));
        }
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:+1", "cuda:-1", "CUDA", "cuda:99999999999999999999"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
