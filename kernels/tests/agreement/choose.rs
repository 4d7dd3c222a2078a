//! Rows of scores with wishes, and what a backend makes of them.

use prelim_kernels::{Backend, Choice, ChoiceError, Choices, Choose, Draw, Pick};

use crate::cases::Numbers;

/// Scores, with what is wished of each row.
pub(crate) struct Case {
    pub(crate) vocabulary: usize,
    scores: Vec<f32>,
    /// Masks, draws, and how many likely tokens.
    wishes: Vec<(Option<Vec<u32>>, Option<Draw>, usize)>,
    excluded: Option<u32>,
}

impl Case {
    /// Rows of every kind: greedy and drawn, with and without a mask, nucleus and top-k.
    pub(crate) fn new(vocabulary: usize, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let draw = |temperature, top_k, top_p, unit| Some(Draw { temperature, top_k, top_p, unit });
        let draws = [
            None,
            draw(1.0, None, 1.0, 0.31),
            draw(0.7, None, 0.9, 0.999_9),
            draw(1.5, Some(3), 1.0, 0.77),
            draw(0.2, Some(40), 0.5, 0.5),
            draw(3.0, None, 0.999, 0.934_567),
            draw(1e-3, None, 1.0, 0.999),
            draw(1.0, Some(1), 0.3, 0.9),
            draw(2.0, None, 0.0, 0.9),
        ];
        let (mut scores, mut wishes) = (Vec::new(), Vec::new());
        for (index, draw) in draws.into_iter().enumerate() {
            for masked in [false, true] {
                // Steps of bf16 make many of these scores equal.
                scores.extend(numbers.vector(vocabulary, [8.0, 0.5, 20.0][index % 3]));
                let mask = masked.then(|| mask(vocabulary, seed + index as u64));
                wishes.push((mask, draw, [5, 0, 1, 9][(index + usize::from(masked)) % 4]));
            }
        }
        Self { vocabulary, scores, wishes, excluded: Some(vocabulary as u32 / 2) }
    }

    /// All scores the same: tokens come in their order, and every sum is full of ties. (No draw is at the edge of a token.)
    pub(crate) fn flat(vocabulary: usize) -> Self {
        let draw = |top_k, top_p, unit| Some(Draw { temperature: 1.0, top_k, top_p, unit });
        let draws = [
            None,
            draw(None, 1.0, 0.123_45),
            draw(None, 0.25, 0.999),
            draw(Some(7), 1.0, 0.99),
            draw(None, 1.0, 0.954_32),
        ];
        let wishes: Vec<_> = draws.into_iter().map(|draw| (None, draw, 2)).collect();
        Self { vocabulary, scores: vec![-3.25; wishes.len() * vocabulary], wishes, excluded: None }
    }

    /// Few scores, among them both zeros, equals and what cannot be; drawn at every temperature, from very cold to without end.
    pub(crate) fn edges() -> Self {
        let scores = [-0.0, -1.0, 0.0, f32::NEG_INFINITY, -0.0, 0.0, f32::NEG_INFINITY, -10.0];
        let temperatures = [1e-39, 1e-30, 0.7, 1.0, 1e30, f32::INFINITY];
        // Not at the edge of a token: six can be drawn.
        let units = [0.0, 0.11, 0.31, 0.47, 0.71, 0.93, 1.0 - f64::EPSILON / 2.0];
        let draws = temperatures.into_iter().flat_map(|temperature| units.map(|unit| (temperature, unit)));
        let draws = draws.flat_map(|(temperature, unit)| {
            [(None, 1.0), (Some(2), 1.0), (Some(1000), 0.9), (None, 1e-9)]
                .map(|(top_k, top_p)| Some(Draw { temperature, top_k, top_p, unit }))
        });
        let wishes: Vec<_> = std::iter::once(None).chain(draws).map(|draw| (None, draw, 8)).collect();
        Self { vocabulary: scores.len(), scores: scores.repeat(wishes.len()), wishes, excluded: None }
    }

    pub(crate) fn rows(&self) -> usize {
        self.wishes.len()
    }

    /// One row of it alone.
    pub(crate) fn row(&self, row: usize) -> Self {
        let scores = self.scores[row * self.vocabulary..][..self.vocabulary].to_vec();
        Self { vocabulary: self.vocabulary, scores, wishes: vec![self.wishes[row].clone()], excluded: self.excluded }
    }

    /// With one score replaced in every row.
    pub(crate) fn with_score(mut self, token: usize, score: f32) -> Self {
        self.scores.chunks_exact_mut(self.vocabulary).for_each(|row| row[token] = score);
        self
    }

    /// With no token allowed anywhere but the one that is no word.
    pub(crate) fn with_nothing_allowed(mut self) -> Self {
        let mut only = vec![0; self.vocabulary.div_ceil(32)];
        let excluded = self.excluded.unwrap_or_default();
        only[excluded as usize / 32] |= 1 << (excluded % 32);
        self.wishes.iter_mut().for_each(|wish| wish.0 = Some(only.clone()));
        self
    }

    pub(crate) fn run<B: Backend>(&self, backend: &B) -> Choices {
        let scores = backend.upload(&self.scores).expect("room");
        let picks = self.wishes.iter();
        let picks = picks.map(|(mask, draw, likely)| Pick { mask: mask.as_deref(), draw: *draw, likely: *likely });
        let rows: Vec<Pick<'_>> = picks.collect();
        let (vocabulary, excluded) = (self.vocabulary, self.excluded);
        backend.choose(Choose { scores: &scores, vocabulary, excluded, rows: &rows }).expect("room")
    }
}

/// About one token of five, and one at least.
fn mask(vocabulary: usize, seed: u64) -> Vec<u32> {
    let mut words = vec![0u32; vocabulary.div_ceil(32)];
    let chosen = Numbers::new(seed ^ 0x5eed).vector(vocabulary, 1.0);
    for (token, value) in chosen.iter().enumerate() {
        if *value > 0.6 || token == vocabulary - 1 {
            words[token / 32] |= 1 << (token % 32);
        }
    }
    words
}

/// The same tokens, and logarithms within a tolerance.
pub(crate) fn check_choices(
    what: &str,
    found: &[Result<Choice, ChoiceError>],
    wanted: &[Result<Choice, ChoiceError>],
    tolerance: f64,
) {
    assert_eq!(found.len(), wanted.len(), "{what}: rows");
    for (row, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let (found, wanted) = match (found, wanted) {
            (Ok(found), Ok(wanted)) => (found, wanted),
            (found, wanted) => {
                assert_eq!(found, wanted, "{what}: value of row {row}");
                continue;
            }
        };
        let tokens = |choice: &Choice| -> Vec<u32> {
            std::iter::once(choice.token).chain(choice.likely.iter().map(|likely| likely.token)).collect()
        };
        assert_eq!(tokens(found), tokens(wanted), "{what}: value of row {row}");
        let logs = |choice: &Choice| -> Vec<f64> {
            let of_likely = choice.likely.iter().map(|likely| likely.log_probability);
            [choice.log_probability, choice.log_unmasked].into_iter().chain(of_likely).collect()
        };
        for (found, wanted) in logs(found).into_iter().zip(logs(wanted)) {
            let error = (found - wanted).abs();
            // `!(error > tolerance)` would let NaN pass. Two infinite ones are the same.
            assert!(error <= tolerance || found == wanted, "{what}: value of row {row} is {found}, should be {wanted}");
        }
    }
}
