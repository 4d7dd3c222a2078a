//! Which device a worker computes on: the one place that names them.

use std::fmt;
use std::str::FromStr;

use prelim_kernels::{Arithmetic, Precision};

use crate::config::ArithmeticChoice;
use crate::model::WeightType;

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
    /// What drafts say of the arithmetic. Instruction sets, numbers of threads and of GPUs have no place there: the results
    /// are the same bits on all processors, and on all GPUs of a kind.
    pub(crate) fn arithmetic(self, weights: WeightType, is_bf16: bool, choice: ArithmeticChoice) -> &'static str {
        match (self, weights) {
            (Self::Cuda(_), _) => match precision(weights) {
                Precision::F16 => "cuda f16",
                Precision::Bf16 => "cuda bf16",
            },
            (Self::Cpu, _) => match (are_bf16(weights, is_bf16), products(weights, is_bf16, choice)) {
                (true, Arithmetic::Bf16) => "cpu bf16, products of bf16",
                (true, Arithmetic::Exact) => "cpu bf16",
                (false, _) => "cpu f32",
            },
        }
    }
}

/// What a processor's products round: nothing where weights are kept as f32.
pub(crate) fn products(weights: WeightType, is_bf16: bool, choice: ArithmeticChoice) -> Arithmetic {
    match choice {
        ArithmeticChoice::Bf16 if are_bf16(weights, is_bf16) => Arithmetic::Bf16,
        ArithmeticChoice::Bf16 | ArithmeticChoice::Exact => Arithmetic::Exact,
    }
}

/// Whether a processor keeps weights of a checkpoint as bf16.
fn are_bf16(weights: WeightType, is_bf16: bool) -> bool {
    match weights {
        WeightType::AsStored => is_bf16,
        WeightType::Bf16 => true,
        WeightType::F32 => false,
    }
}

/// The numbers of a GPU's products: f16 holds weights of bf16 too, and rounds activations less. bf16 where it is asked for.
pub(crate) fn precision(weights: WeightType) -> Precision {
    match weights {
        WeightType::AsStored | WeightType::F32 => Precision::F16,
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
