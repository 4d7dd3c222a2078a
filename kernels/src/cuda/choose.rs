//! Choosing tokens: kernels `choose_*`.

use super::Cuda;
use super::launch::{Choosing, ChosenRow, ChunkSums, Geometry, LikelyToken, PickRow, Place, narrowed};
use crate::choice::{Choice, ChoiceError, Choices, Choose, Draw, Likely, Pick};

/// Tokens of a row that a block reads.
const CHUNK: usize = 4096;
const THREADS: u32 = 256;
/// Steps of a search, of which the second half looks for the token itself, and the last counts tokens of one score.
const STEPS: u32 = 17;
const DIGITS: u32 = 8;
/// Of a search's step and chunk: sums of weights and counts.
const BIN_BYTES: usize = 16 * 16;
/// Largest ranks of a chunk, over all tokens and the allowed.
const LARGEST_WORDS: usize = 2;
/// Sums of so many weights fit 64 bits.
const VOCABULARY_MAX: usize = 1 << 22;
/// Nothing, where a number is expected.
const NONE: u32 = u32::MAX;
/// Sums of weights are in parts of the largest weight.
const PARTS: f64 = (1u64 << 40) as f64;

impl Pick<'_> {
    /// As the kernels take it.
    fn row(&self, mask: u32) -> PickRow {
        let nothing = Draw { temperature: 0.0, top_k: None, top_p: 1.0, unit: 0.0 };
        let draw = self.draw.unwrap_or(nothing);
        // A conversion that would be 2⁶⁴ gives the largest number there is.
        let parts = |share: f64| (share * 2f64.powi(64)) as u64;
        PickRow {
            top_p: parts(f64::from(draw.top_p)),
            unit: parts(draw.unit),
            mask,
            top_k: draw.top_k.map_or(NONE, |most| u32::try_from(most.max(1)).unwrap_or(NONE)),
            likely: narrowed(self.likely),
            // 0 says that nothing is drawn.
            scale: self.draw.map_or(0.0, |draw| (std::f32::consts::LOG2_E / draw.temperature).max(f32::MIN_POSITIVE)),
        }
    }
}

impl PickRow {
    fn has_nucleus(&self) -> bool {
        self.scale != 0.0 && (self.top_p != u64::MAX || self.top_k != NONE)
    }
}

impl Cuda {
    pub(super) fn choose_tokens(&self, args: Choose<'_, Self>) -> Choices {
        let (device, rows) = (&self.device, args.rows.len());
        // What is asked differs from pass to pass: it is no part of one that repeats.
        device.flush();
        if rows == 0 {
            return Vec::new();
        }
        assert!(args.vocabulary <= VOCABULARY_MAX, "a vocabulary of {} tokens", args.vocabulary);
        let (chunks, words) = (args.vocabulary.div_ceil(CHUNK), args.vocabulary.div_ceil(32));
        let mut masks: Vec<u32> = Vec::new();
        let mut masked = 0;
        let picks = args.rows.iter().map(|pick| {
            let Some(mask) = pick.mask else { return pick.row(NONE) };
            let end = masks.len() + words;
            masks.extend(mask.iter().take(words));
            masks.resize(end, 0);
            masked += 1;
            pick.row(masked - 1)
        });
        let picks: Vec<PickRow> = picks.collect();
        let most_likely = args.rows.iter().map(|pick| pick.likely.min(args.vocabulary)).max().unwrap_or(0);
        let (is_drawn, has_nucleus) =
            (picks.iter().any(|pick| pick.scale != 0.0), picks.iter().any(PickRow::has_nucleus));

        let asked = device.send("choices", &picks).unwrap_or_else(|error| panic!("{error}"));
        let masks = device.send("masks", &masks).unwrap_or_else(|error| panic!("{error}"));
        let largest = device.scratch::<u64>("choices", rows * chunks * LARGEST_WORDS);
        let sums = device.scratch::<ChunkSums>("choices", rows * chunks);
        let searched = if is_drawn { rows } else { 0 };
        let bins = device.scratch::<u8>("choices", 2 * searched * chunks * BIN_BYTES);
        let places = device.scratch::<Place>("choices", searched * STEPS as usize);
        let chosen = device.scratch::<ChosenRow>("choices", rows);
        let likely = device.scratch::<LikelyToken>("choices", rows * most_likely);
        let first_step = if has_nucleus { 0 } else { DIGITS };
        let arguments = Choosing {
            scores: device.address(&args.scores.values),
            masks: device.address(&masks),
            rows: device.address(&asked),
            largest: device.address(&largest),
            sums: device.address(&sums),
            bins: device.address(&bins),
            places: device.address(&places),
            chosen: device.address(&chosen),
            likely: device.address(&likely),
            vocabulary: narrowed(args.vocabulary),
            words: narrowed(words),
            chunks: narrowed(chunks),
            row_count: narrowed(rows),
            excluded: args.excluded.unwrap_or(NONE),
            most_likely: narrowed(most_likely),
            step: 0,
            first_step,
        };
        let each = |shared: usize| Geometry {
            grid: (narrowed(chunks), narrowed(rows), 1),
            threads: THREADS,
            shared: narrowed(shared),
        };
        // A word for each warp.
        let scratch = THREADS as usize / 32 * size_of::<u64>();
        device.launch("choose_largest", each(scratch), &arguments);
        device.launch("choose_sums", each(scratch), &arguments);
        if is_drawn {
            let narrow = each(BIN_BYTES * 16 + size_of::<Place>());
            (first_step..STEPS)
                .for_each(|step| device.launch("choose_narrow", narrow, &Choosing { step, ..arguments }));
        }
        // Twice the scratch, a count for each thread and two more, and what is left of each chunk.
        let finish = 2 * scratch + (THREADS as usize + 2) * size_of::<u32>() + chunks * size_of::<u64>();
        device.launch("choose_finish", Geometry::blocks(rows, THREADS, narrowed(finish)), &arguments);

        let (chosen, likely) = device.receive_both((&chosen, rows), (&likely, rows * most_likely));
        (0..rows).map(|row| choice(&chosen[row], &likely[row * most_likely..])).collect()
    }
}

/// What a row's numbers say. Logarithms are taken here, in f64.
fn choice(chosen: &ChosenRow, likely: &[LikelyToken]) -> Result<Choice, ChoiceError> {
    match chosen.status {
        0 => {}
        2 => return Err(ChoiceError::NothingAllowed),
        _ => return Err(ChoiceError::NotFinite),
    }
    let log = |score: f32, largest: f32, sum: u64| f64::from(score) - f64::from(largest) - (sum as f64 / PARTS).ln();
    let among_allowed = |score: f32| log(score, chosen.allowed_largest, chosen.allowed);
    let likely = likely[..chosen.likely as usize].iter();
    Ok(Choice {
        token: chosen.token,
        log_probability: among_allowed(chosen.score),
        log_unmasked: log(chosen.score, chosen.all_largest, chosen.all),
        likely: likely
            .map(|likely| Likely { token: likely.token, log_probability: among_allowed(likely.score) })
            .collect(),
    })
}
