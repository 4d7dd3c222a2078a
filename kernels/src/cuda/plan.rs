//! The layout of a batch on the device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::DeviceRepr;

use super::array::Array;
use super::device::Device;
use super::launch::{Tile, narrowed};
use crate::args::Span;
use crate::host::{HostPlan, HostSpan};

/// A batch, row by row, for the kernels.
pub struct Plan {
    host: HostPlan,
    /// `[rows]`
    pub(super) positions: Array<u32>,
    /// `[rows, 2]`: block of the cache, place in it.
    pub(super) slots: Array<u32>,
    /// `[rows]`: the first position after a token's image, 0 where it is in none.
    pub(super) image_end: Array<u32>,
    /// The blocks of all sequences, one after the other.
    pub(super) block_table: Array<u32>,
    tiles: Mutex<HashMap<Tiling, Arc<Tiles>>>,
}

/// How attention cuts a batch into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tiling {
    /// Query heads that share a head of keys.
    pub(super) group: usize,
    /// Rows of a wide tile.
    pub(super) height: usize,
}

/// Rows of a narrow tile.
pub(super) const NARROW: usize = 16;

/// What the thread blocks of attention compute.
pub(super) struct Tiles {
    /// Of prompts.
    pub(super) wide: List,
    /// Of sequences with a token or a few, as in decoding.
    pub(super) narrow: List,
}

/// Tiles on the device.
pub(super) struct List {
    pub(super) array: Array<Tile>,
    pub(super) count: usize,
    /// No tile sees this position or a later one.
    pub(super) end: usize,
}

impl Plan {
    pub(super) fn new(device: &Device, spans: &[Span<'_>], block_tokens: usize) -> Self {
        let host = HostPlan::new(spans, block_tokens);
        device.begin_pass(host.spans.iter().all(|span| span.tokens == 1));
        let mut slots = Vec::with_capacity(2 * host.tokens);
        for span in &host.spans {
            for index in 0..span.tokens {
                let (block, place) = span.slot(span.start + index, block_tokens);
                slots.extend([narrowed(block), narrowed(place)]);
            }
        }
        let positions: Vec<u32> = host.positions().map(narrowed).collect();
        let ends = host.spans.iter().flat_map(|span| span.image_end.iter().map(|end| narrowed(*end)));
        let table = host.spans.iter().flat_map(|span| span.blocks.iter().copied());
        let mut table: Vec<u32> = table.collect();
        // So that contexts that grow a little leave a pass as it is.
        table.resize(table.len().next_power_of_two(), 0);
        Self {
            positions: send(device, &positions),
            slots: send(device, &slots),
            image_end: send(device, &ends.collect::<Vec<u32>>()),
            block_table: send(device, &table),
            tiles: Mutex::new(HashMap::new()),
            host,
        }
    }

    /// All rows.
    pub(super) fn rows(&self) -> usize {
        self.host.tokens
    }

    /// Tokens in a block of the cache.
    pub(super) fn block_tokens(&self) -> usize {
        self.host.block_tokens
    }

    /// The tiles of attention, cut when they are first asked for: all layers share them.
    pub(super) fn tiles(&self, device: &Device, tiling: Tiling) -> Arc<Tiles> {
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tiles.entry(tiling).or_insert_with(|| Arc::new(Tiles::cut(device, &self.host, tiling))))
    }
}

fn send<T: DeviceRepr>(device: &Device, values: &[T]) -> Array<T> {
    device.send("the layout of a batch", values).unwrap_or_else(|error| panic!("{error}"))
}

impl Tiles {
    fn cut(device: &Device, plan: &HostPlan, tiling: Tiling) -> Self {
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        let mut block_table = 0;
        for span in &plan.spans {
            let rows = span.tokens * tiling.group;
            // A tile that is mostly empty costs as much as a full one.
            let (tiles, height) = if rows <= 2 * NARROW { (&mut narrow, NARROW) } else { (&mut wide, tiling.height) };
            tiles.extend((0..rows).step_by(height).map(|first| {
                let last = (first + height).min(rows) - 1;
                tile(span, block_table, first, last / tiling.group, tiling.group)
            }));
            block_table += span.blocks.len();
        }
        Self { wide: List::send(device, &wide), narrow: List::send(device, &narrow) }
    }
}

/// The tile from row `first`, whose last token is `last`.
fn tile(span: &HostSpan, block_table: usize, first: usize, last: usize, group: usize) -> Tile {
    let tokens = first / group..last + 1;
    let end = tokens.map(|index| span.visible(index, None).end).max().unwrap_or(0);
    Tile {
        row: narrowed(span.row),
        tokens: narrowed(span.tokens),
        start: narrowed(span.start),
        block_table: narrowed(block_table),
        first: narrowed(first),
        end: narrowed(end),
    }
}

impl List {
    pub(super) fn send(device: &Device, tiles: &[Tile]) -> Self {
        let end = tiles.iter().map(|tile| tile.end as usize).max().unwrap_or(0);
        Self { array: send(device, tiles), count: tiles.len(), end }
    }
}
