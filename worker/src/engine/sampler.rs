//! How the next token is chosen, and where its randomness is from. The choice itself is the device's.

use prelim_kernels::{Draw, Pick};

use super::grammar::Mask;
use super::request::Sampling;

/// What is wished of the scores after a request's last token.
pub(super) struct Wish {
    /// What the grammar allows; all where none.
    pub(super) mask: Option<Mask>,
    pub(super) draw: Option<Draw>,
    /// How many of the most likely tokens are reported.
    pub(super) alternatives: usize,
}

impl Wish {
    /// As a device takes it.
    pub(super) fn pick(&self) -> Pick<'_> {
        Pick { mask: self.mask.as_ref().map(Mask::words), draw: self.draw, likely: self.alternatives }
    }
}

/// The draw of the token in place `place` of an answer; none where the most likely one is taken. The random number belongs to
/// seed and place alone, so that neither the batch nor a preemption changes it.
pub(super) fn draw(sampling: &Sampling, place: u64) -> Option<Draw> {
    let Sampling { temperature, top_k, top_p, seed } = *sampling;
    (temperature > 0.0).then(|| Draw { temperature, top_k, top_p, unit: unit(seed, place) })
}

/// A number in 0..1 from a seed and a place: SplitMix64 (Steele, Lea and Flood 2014), which needs no state.
fn unit(seed: u64, place: u64) -> f64 {
    let mut z = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use prelim_kernels::{Backend, Choose, Cpu};

    use super::*;

    /// What the processor chooses in each of so many places.
    fn chosen(scores: &[f32], sampling: Sampling, places: u64) -> Vec<u32> {
        let rows: Vec<Pick<'_>> =
            (0..places).map(|place| Pick { draw: draw(&sampling, place), ..Pick::default() }).collect();
        let all: Vec<f32> = rows.iter().flat_map(|_| scores.iter().copied()).collect();
        let cpu = Cpu::with_threads(1).unwrap();
        let args = Choose { scores: &all, vocabulary: scores.len(), excluded: None, rows: &rows };
        cpu.choose(args).unwrap().into_iter().map(|choice| choice.unwrap().token).collect()
    }

    #[test]
    fn a_draw_depends_on_seed_and_place_alone_and_follows_the_probabilities() {
        let scores = [1.0f32.ln(), 3.0f32.ln(), f32::NEG_INFINITY];
        let sampling = Sampling { temperature: 1.0, seed: 7, ..Sampling::default() };
        let draws = chosen(&scores, sampling, 4000);
        assert_eq!(draws[..50], chosen(&scores, sampling, 50));
        let ones = draws.iter().filter(|token| **token == 1).count();
        assert!((2900..3100).contains(&ones), "{ones}");
        assert!(!draws.contains(&2));
        assert_ne!(draws[..50], chosen(&scores, Sampling { seed: 8, ..sampling }, 50));
    }

    #[test]
    fn a_temperature_of_zero_takes_the_best() {
        assert_eq!(draw(&Sampling::default(), 3), None);
        assert_eq!(chosen(&[0.0, 2.0, 1.0, 2.0], Sampling::default(), 3), [1; 3]);
    }
}
