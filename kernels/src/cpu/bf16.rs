//! Products of bf16 numbers, by the instructions that processors have for them: tiles (AMX) or sums of pairs (AVX-512 BF16).
//!
//! - [`tiles`], [`pairs`]: both kinds of instructions, behind one trait for attention
//! - [`left`], [`quantised`]: weights in rows, as a checkpoint has them: floats where they are, or whole numbers that are
//!   unpacked on the way to tiles
//! - [`product`]: activations times weights, by tiles; [`strips`]: without them, of floats ([`dots`]) and of whole numbers
//!   ([`whole`])
//! - [`pack`]: activations as both want them; [`attention`]: caches and attention
//!
//! A product of tiles is `[outputs, terms] · [terms, rows]`, so that a result has outputs in its rows.

mod attention;
mod check;
mod dots;
mod left;
mod pack;
mod pairs;
mod product;
mod quantised;
mod strips;
mod tiles;
mod whole;

pub(super) use attention::{Cache, attend, attend_patches};
pub(super) use left::{Gates, Left};
pub(super) use pack::Tile;
pub(super) use product::{Product, Weight};

// Rows of a tile, and columns of its sums; terms of a tile.
use super::rows::{SIDE, TERMS};

/// What multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// AMX. Sums have the order of [`crate::Arithmetic::Bf16`].
    Tiles,
    /// AVX-512 BF16, and VNNI for whole numbers. Sums have an order of their own: see [`dots`], [`pairs`] and [`whole`].
    Pairs,
}

impl Unit {
    /// Whether this processor has it, and it computes what is expected of it.
    pub(super) fn is_available(self) -> bool {
        match self {
            Unit::Tiles => tiles::is_available(),
            Unit::Pairs => pairs::is_available(),
        }
    }
}

/// Sums `[16 outputs, 16 rows]` of two strips of outputs with two groups of rows: strip `s` and group `g` at `2 · s + g`.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Four([[f32; SIDE * SIDE]; 4]);

impl Four {
    const ZERO: Self = Self([[0.0; SIDE * SIDE]; 4]);
}

/// Multiplies two strips of sixteen rows with packed rows.
trait Multiply: Sized {
    /// For this thread, until it is dropped.
    ///
    /// # Safety
    /// The processor has the instructions, or is asked whether it has.
    unsafe fn new() -> Self;

    /// Adds `[32 outputs, 32 rows]` products over `steps` groups to sums, or begins them; four tiles after each other:
    /// outputs 0..16 with rows 0..16 and 16..32, then outputs 16..32.
    ///
    /// # Safety
    /// Each of `left` has 16 rows, `stride` bytes apart, of `steps` · 64 bytes; each of `right` has `steps` tiles. The caller
    /// is compiled for AVX-512 with BF16.
    unsafe fn two_by_two(
        &self,
        left: [*const u8; 2],
        stride: usize,
        right: [*const Tile; 2],
        steps: usize,
        sums: &mut Four,
        begin: bool,
    );

    /// Adds `[32 outputs, 16 rows]` products over `steps` groups to sums, or begins them: the first and the third of four
    /// tiles.
    ///
    /// # Safety
    /// As [`Multiply::two_by_two`].
    unsafe fn two_by_one(
        &self,
        left: [*const u8; 2],
        stride: usize,
        right: *const Tile,
        steps: usize,
        sums: &mut Four,
        begin: bool,
    );
}
