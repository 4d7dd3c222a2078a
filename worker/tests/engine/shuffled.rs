//! The same draft, always. Verifies issue 5, promise 3: answers are equal, tokens and probabilities to the bit, whatever
//! the batch, the order and time of arrival, the chunks, the cache, the number of threads, the instructions of the
//! processor and restarts; in exact arithmetic and in products of bf16, with weights as floats and as whole numbers.

use std::collections::HashMap;

use prelim_kernels::cpu::InstructionSet;
use prelim_kernels::{Arithmetic, Backend as _, Cpu};
use prelim_worker::engine::PassLimits;
use prelim_worker::engine::request::{Completion, Cost, Request};
use prelim_worker::model::WeightType;

use crate::setup::Bench;
use crate::{WIDE, answers, requests};

const REQUESTS: usize = 8;
/// Answers of so many tokens at most.
const BUDGET: usize = 16;
/// Shuffles for each arithmetic.
const ROUNDS: usize = 24;

/// A seeded stream of numbers (SplitMix64): what failed can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn from<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Answers by engines that stop after some steps and are begun anew for what is not answered yet, while requests come in
/// over time.
fn shuffled(bench: &Bench, asked: &[Request], dice: &mut Dice) -> HashMap<usize, Completion> {
    let mut done = HashMap::new();
    while done.len() < asked.len() {
        let limits = PassLimits { requests: 1 + dice.below(9), tokens: 20 + dice.below(300) };
        let (mut engine, _) = bench.engine(limits, dice.from(&[256, 512, 4096]));
        let mut waiting: Vec<usize> = (0..asked.len()).filter(|at| !done.contains_key(at)).collect();
        let mut submitted = HashMap::new();
        // The later lives are long enough to end.
        let mut steps_left = if done.is_empty() { 5 + dice.below(60) } else { usize::MAX };
        while steps_left > 0 && (!waiting.is_empty() || !engine.is_idle()) {
            for _ in 0..dice.below(3).min(waiting.len()) {
                let at = waiting.swap_remove(dice.below(waiting.len()));
                submitted.insert(engine.submit(asked[at].clone()).expect("it fits"), at);
            }
            for (id, answer) in engine.step() {
                let answer = Completion { cost: Cost::default(), ..answer.expect("an answer") };
                done.insert(submitted[&id], answer);
            }
            steps_left -= 1;
        }
    }
    done
}

/// The processor's instruction sets that give the same bits, with those of each kind together.
fn kinds_of_sums(arithmetic: Arithmetic) -> Vec<Vec<InstructionSet>> {
    let own = |set: &InstructionSet| arithmetic == Arithmetic::Bf16 && set.has_own_order();
    let (own, common): (Vec<_>, Vec<_>) = InstructionSet::available().into_iter().partition(own);
    [own, common].into_iter().filter(|sets| !sets.is_empty()).collect()
}

#[test]
fn answers_are_the_same_whatever_is_shuffled() {
    for (arithmetic, weights) in [
        (Arithmetic::Exact, WeightType::F32),
        (Arithmetic::Bf16, WeightType::Bf16),
        (Arithmetic::Bf16, WeightType::Int8),
    ] {
        for sets in kinds_of_sums(arithmetic) {
            let cpu = |threads: usize, set: InstructionSet| {
                let cpu = Cpu::with_instructions(threads, set).expect("an available set").expect("threads");
                Bench::tiny_on(cpu.with_arithmetic(arithmetic), weights)
            };
            let plain = cpu(1, sets[0]);
            let asked = requests(&plain, REQUESTS as u64, BUDGET);
            let alone = |one: &Request| answers(&plain, std::slice::from_ref(one), WIDE, 2048).remove(0);
            let wanted: Vec<Completion> = asked.iter().map(alone).collect();
            let mut dice = Dice(arithmetic as u64 + 1);
            for round in 0..ROUNDS {
                let bench = cpu(1 + dice.below(3), dice.from(&sets));
                let name = bench.model.backend().name();
                let found = shuffled(&bench, &asked, &mut dice);
                for (at, wanted) in wanted.iter().enumerate() {
                    assert_eq!(&found[&at], wanted, "request {at}, {arithmetic:?}, round {round} on {name}");
                }
            }
        }
    }
}
