//! Contexts and prediction errors: the adaptive heart of JPEG-LS (T.87 annex A).

use super::bits::BitReader;
use super::params::Params;
use crate::codec::CodecError;

/// Contexts of the regular mode, with signs folded together (T.87 sect. A.3.4); 0 is the run.
const CONTEXTS: usize = 365;

/// The order of run-length codes by RUNindex (T.87 sect. A.2.1).
const RUN_ORDER: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// No conforming stream needs a larger Golomb parameter: errors are 16 bits.
const MAX_K: u32 = 16;

/// The counters of one regular context: A, B, C and N of the standard.
#[derive(Debug, Clone, Copy)]
struct Context {
    magnitude: u32,
    bias: i32,
    correction: i32,
    count: i32,
}

/// The counters of one of the two run-interruption contexts.
#[derive(Debug, Clone, Copy)]
struct RunContext {
    magnitude: u32,
    count: i32,
    negatives: i32,
}

/// The state that adapts along a scan, and the bits it reads.
pub(super) struct Model<'a> {
    pub(super) bits: BitReader<'a>,
    params: Params,
    contexts: Box<[Context; CONTEXTS]>,
    /// By RItype.
    runs: [RunContext; 2],
}

impl<'a> Model<'a> {
    /// A model in its initial state (T.87 sect. A.2.1) that reads `bits`.
    pub(super) fn new(params: Params, bits: BitReader<'a>) -> Self {
        let magnitude = u32::try_from((params.range + 32) / 64).unwrap_or(0).max(2);
        Self {
            bits,
            params,
            contexts: Box::new([Context { magnitude, bias: 0, correction: 0, count: 1 }; CONTEXTS]),
            runs: [RunContext { magnitude, count: 1, negatives: 0 }; 2],
        }
    }

    /// The signed context number of the gradients around a sample; 0 begins a run.
    ///
    /// `a` is to the left, `b` above, `c` above left, `d` above right.
    pub(super) fn context(&self, a: i32, b: i32, c: i32, d: i32) -> i32 {
        (self.quantize(d - b) * 9 + self.quantize(b - c)) * 9 + self.quantize(c - a)
    }

    /// A gradient as one of nine regions (T.87 sect. A.3.3).
    fn quantize(&self, gradient: i32) -> i32 {
        let size = gradient.abs();
        let [t1, t2, t3] = self.params.thresholds;
        if size <= self.params.near {
            return 0;
        }
        let region = 1 + i32::from(size >= t1) + i32::from(size >= t2) + i32::from(size >= t3);
        if gradient < 0 { -region } else { region }
    }

    /// Decodes one sample in the regular mode (T.87 sect. A.4, A.5, A.6).
    pub(super) fn regular(&mut self, context: i32, a: i32, b: i32, c: i32) -> Result<i32, CodecError> {
        let sign = if context < 0 { -1 } else { 1 };
        let params = &self.params;
        let state = &mut self.contexts[context.unsigned_abs() as usize];
        let predicted = predict(a, b, c) + sign * state.correction;
        let predicted = predicted.clamp(0, params.max_value);
        let k = golomb_parameter(state.magnitude, state.count);
        if k > MAX_K {
            return Err(corrupt(&self.bits));
        }
        let mapped = self.bits.golomb(k, params.limit - params.qbpp - 1, params.qbpp)?;
        let mut error = unfold(mapped);
        if k == 0 && params.near == 0 && 2 * state.bias <= -state.count {
            error = !error;
        }
        if error.abs() > params.range {
            return Err(corrupt(&self.bits));
        }
        state.update(error, params);
        Ok(reconstruct(params, predicted, sign * error))
    }

    /// How many samples equal the one before, of the `left` that remain in the line
    /// (T.87 sect. A.7.1). Equal to `left` when the run reaches the end of the line.
    pub(super) fn run_length(&mut self, run_index: &mut usize, left: usize) -> Result<usize, CodecError> {
        let mut length = 0;
        while self.bits.take(1)? == 1 {
            let block = 1usize << RUN_ORDER[*run_index];
            if block <= left - length {
                length += block;
                *run_index = (*run_index + 1).min(RUN_ORDER.len() - 1);
            } else {
                length = left;
            }
            if length == left {
                return Ok(length);
            }
        }
        length += self.bits.take(RUN_ORDER[*run_index])? as usize;
        // A run that a zero bit ends has an interrupting sample behind it in the same line.
        if length >= left {
            return Err(corrupt(&self.bits));
        }
        Ok(length)
    }

    /// Decodes the sample that ends a run of one component (T.87 sect. A.7.2). The caller lowers
    /// RUNindex after it.
    pub(super) fn run_interruption(&mut self, run_index: usize, a: i32, b: i32) -> Result<i32, CodecError> {
        if (a - b).abs() > self.params.near {
            return self.run_step(run_index, a, b);
        }
        let error = self.run_error(run_index, 1)?;
        Ok(reconstruct(&self.params, a, error))
    }

    /// Decodes a sample that ends a run and is told from the one above: RItype 0, the only type
    /// where samples alternate.
    pub(super) fn run_step(&mut self, run_index: usize, a: i32, b: i32) -> Result<i32, CodecError> {
        let error = self.run_error(run_index, 0)?;
        let sign = if a > b { -1 } else { 1 };
        Ok(reconstruct(&self.params, b, sign * error))
    }

    /// Decodes the prediction error of a run-interruption sample of type `run_type`, 0 or 1.
    fn run_error(&mut self, run_index: usize, run_type: u32) -> Result<i32, CodecError> {
        let params = &self.params;
        let state = &mut self.runs[run_type as usize];
        let weight = state.magnitude + run_type * (state.count as u32 >> 1);
        let k = golomb_parameter(weight, state.count);
        if k > MAX_K {
            return Err(corrupt(&self.bits));
        }
        let limit = params.limit - RUN_ORDER[run_index] - 1;
        let mapped = self.bits.golomb(k, limit - params.qbpp - 1, params.qbpp)?;
        let folded = mapped + run_type;
        let size = folded.div_ceil(2) as i32;
        if size > params.range {
            return Err(corrupt(&self.bits));
        }
        let odd_is_negative = k != 0 || 2 * state.negatives >= state.count;
        let odd = folded & 1 == 1;
        let error = if odd == odd_is_negative { -size } else { size };
        state.update(error, mapped, run_type, params);
        Ok(error)
    }
}

impl Context {
    /// Learns from one prediction error (T.87 sect. A.6).
    fn update(&mut self, error: i32, params: &Params) {
        // Saturates only for RESET near 65535 with every error extreme, which no picture has.
        self.magnitude = self.magnitude.saturating_add(error.unsigned_abs());
        self.bias += error * params.step;
        if self.count == params.reset {
            self.magnitude >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

impl RunContext {
    /// Learns from one run-interruption error (T.87 sect. A.7.2.2).
    fn update(&mut self, error: i32, mapped: u32, run_type: u32, params: &Params) {
        if error < 0 {
            self.negatives += 1;
        }
        self.magnitude = self.magnitude.saturating_add((mapped + 1 - run_type) >> 1);
        if self.count == params.reset {
            self.magnitude >>= 1;
            self.count >>= 1;
            self.negatives >>= 1;
        }
        self.count += 1;
    }
}

/// The median edge detector (T.87 sect. A.4.1).
fn predict(a: i32, b: i32, c: i32) -> i32 {
    if c >= a.max(b) {
        a.min(b)
    } else if c <= a.min(b) {
        a.max(b)
    } else {
        a + b - c
    }
}

/// The least k for which `count << k >= magnitude` (T.87 sect. A.5.1).
fn golomb_parameter(magnitude: u32, count: i32) -> u32 {
    let (magnitude, count) = (u64::from(magnitude), count as u64);
    if count >= magnitude {
        return 0;
    }
    let k = count.leading_zeros() - magnitude.leading_zeros();
    k + u32::from(count << k < magnitude)
}

/// A folded error back to its sign: 0, -1, 1, -2, 2, ...
fn unfold(mapped: u32) -> i32 {
    // `mapped` is below 2^23, so that both casts keep the value.
    (mapped >> 1) as i32 ^ -((mapped & 1) as i32)
}

/// Prediction plus error, modulo the range, clamped to a sample (T.87 sect. A.4.5, A.8).
fn reconstruct(params: &Params, predicted: i32, error: i32) -> i32 {
    let period = params.range * params.step;
    let mut value = predicted + error * params.step;
    if value < -params.near {
        value += period;
    } else if value > params.max_value + params.near {
        value -= period;
    }
    value.clamp(0, params.max_value)
}

fn corrupt(bits: &BitReader<'_>) -> CodecError {
    CodecError::Corrupt { what: "JPEG-LS samples", offset: bits.offset() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golomb_parameter_is_the_least_that_covers() {
        for count in 1..70 {
            for magnitude in 0..3000u32 {
                let slow = (0..).find(|k| u64::from(count as u32) << k >= u64::from(magnitude)).unwrap();
                assert_eq!(golomb_parameter(magnitude, count), slow);
            }
        }
    }

    #[test]
    fn folding_goes_by_turns() {
        let errors: Vec<i32> = (0..5).map(unfold).collect();
        assert_eq!(errors, [0, -1, 1, -2, 2]);
    }

    #[test]
    fn the_predictor_sees_edges() {
        assert_eq!(predict(10, 20, 30), 10, "an edge above");
        assert_eq!(predict(10, 20, 5), 20, "an edge to the left");
        assert_eq!(predict(10, 20, 15), 15, "a plane");
    }
}
