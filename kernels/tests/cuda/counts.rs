//! How much the kernels do: products, copies and bank conflicts, counted by the simulator.

use prelim_kernels::{Cuda, Precision, Storage, Then};

use crate::decoder::{self, Heads, Sequence};
use crate::dense::{self, Shape};
use crate::stand_in::{Counts, StandIn};

/// What a run adds to the counts.
fn counted(stand_in: &StandIn, run: impl FnOnce()) -> Counts {
    let before = stand_in.counts();
    run();
    let after = stand_in.counts();
    Counts {
        launches: after.launches - before.launches,
        mma: after.mma - before.mma,
        matrix_loads: after.matrix_loads - before.matrix_loads,
        bank_conflicts: after.bank_conflicts - before.bank_conflicts,
        copies: after.copies - before.copies,
        barriers: after.barriers - before.barriers,
        word_loads: after.word_loads - before.word_loads,
    }
}

#[test]
fn kernels_do_as_many_products_and_copies_as_their_headers_say() {
    let (_turn, stand_in) = StandIn::turn();
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
    // 128 rows by 256 outputs by a depth of 704: two large tiles of 128 x 128.
    let shape = Shape { rows: 128, inputs: 700, outputs: 256 };
    let counts = counted(stand_in, || drop(dense::linear(&cuda, shape, Storage::F32, Then::Store, false)));
    assert_eq!(counts.launches, 2, "packing and the product");
    assert_eq!(counts.mma, 128 / 16 * (256 / 8) * (704 / 16));
    assert_eq!(counts.copies, 2 * 2 * 128 * (704 / 8), "each tile reads its rows and its weights once");
    assert_eq!(counts.bank_conflicts, 0);
    // The same depth and outputs by whole numbers, in every shape of tile: rows and columns of a tile, warps, columns of a warp.
    for (rows, multiprocessors, columns, warps, of_warp) in
        [(128, 2, 128, 8, 32), (64, 100, 64, 4, 32), (16, 2, 32, 2, 16)]
    {
        stand_in.set(c"multiprocessors", multiprocessors);
        let cuda = Cuda::open(0, Precision::F16).expect("the stand-in");
        stand_in.set(c"multiprocessors", 2);
        // Inputs in 16 bytes.
        for (storage, in_chunk) in [(Storage::Int8, 16), (Storage::Int4, 32)] {
            let shape = Shape { rows, inputs: 704, outputs: 256 };
            let counts = counted(stand_in, || drop(dense::linear(&cuda, shape, storage, Then::Store, false)));
            let (what, rows, tiles) = (format!("{rows} rows in {storage:?}"), rows as u64, 256 / columns);
            assert_eq!(counts.mma, rows / 16 * (256 / 8) * (704 / 16), "{what}");
            let of_tile = rows * (704 / 8) + columns * (704 / in_chunk) + columns / 8 * (704 / 32);
            assert_eq!(counts.copies, tiles * of_tile, "{what}: rows, numbers and scales");
            assert_eq!(counts.word_loads, tiles * warps * (of_warp / 8) * (704 / in_chunk), "{what}");
            assert_eq!(counts.bank_conflicts, 0, "{what}");
        }
    }
    // 128 tokens of 2 heads that share keys: four tiles of 64 rows; a tile with tokens to t takes ⌈t / 64⌉ steps.
    let heads = Heads { heads: 2, kv_heads: 1, head_dim: 64, window: None, block_tokens: 16, normed: Some(1.0) };
    let sequence = [Sequence { number: 5, tokens: 128, images: vec![], shared: 0 }];
    let counts = counted(stand_in, || drop(decoder::run(&cuda, heads, &sequence, &decoder::whole(&sequence))));
    let steps = 1 + 1 + 2 + 2;
    assert_eq!(counts.mma, steps * 4 * 2 * (64 / 8 * (64 / 16)), "scores and results of four warps");
    assert_eq!(counts.copies, steps * 2 * 64 * (64 / 8), "keys and values once for both heads");
    assert_eq!(counts.bank_conflicts, 0);
    // Eight sequences decode a token with 128 positions in common: their tile takes two steps, and each one's own takes one.
    let cuda = Cuda::open(0, Precision::F16).expect("the stand-in").with_split(64);
    let shared = |number| Sequence { number, tokens: 140, images: vec![], shared: if number == 0 { 0 } else { 128 } };
    let sequences: Vec<Sequence> = (0..8).map(shared).collect();
    let counts = |passes: &[decoder::Pass]| counted(stand_in, || drop(decoder::run(&cuda, heads, &sequences, passes)));
    let mut passes = vec![vec![(0, 0, 139)], (1..8).map(|s| (s, 128, 139)).collect()];
    let before = counts(&passes);
    passes.push((0..8).map(|s| (s, 139, 140)).collect());
    let after = counts(&passes);
    let steps = 2 + 8;
    assert_eq!(after.mma - before.mma, steps * 2 * (64 / 8 * (64 / 16)), "sixteen rows of scores and of results");
    assert_eq!(after.copies - before.copies, steps * 2 * 64 * (64 / 8), "the prefix is read once for all");
    assert_eq!(after.bank_conflicts, 0);
}
