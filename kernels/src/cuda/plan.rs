//! The layout of a batch on the device.

use std::collections::HashMap;
use std::ops::Range;
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
    /// Positions of a split.
    pub(super) split: usize,
}

/// Rows of a narrow tile.
pub(super) const NARROW: usize = 16;

/// What the thread blocks of attention compute.
pub(super) struct Tiles {
    /// Of prompts.
    pub(super) wide: List,
    /// Of sequences with a token or a few, as in decoding; after these, those of prefixes that sequences share.
    pub(super) narrow: List,
    /// How many of the narrow ones are of one sequence each.
    pub(super) single: usize,
    /// How many of those come first and may have all of their rows; the others are of one token each.
    pub(super) full: usize,
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
        let mut of_one_token = Vec::new();
        for span in &plan.spans {
            let rows = span.tokens * tiling.group;
            if span.tokens == 1 && rows <= NARROW {
                of_one_token.push((span, tile(span, block_table, 0, 0, tiling.group)));
            } else {
                // A tile that is mostly empty costs as much as a full one.
                let (tiles, height) =
                    if rows <= 2 * NARROW { (&mut narrow, NARROW) } else { (&mut wide, tiling.height) };
                tiles.extend((0..rows).step_by(height).map(|first| {
                    let last = (first + height).min(rows) - 1;
                    tile(span, block_table, first, last / tiling.group, tiling.group)
                }));
            }
            block_table += span.blocks.len();
        }
        // Sequences with the same prefix come side by side.
        of_one_token.sort_by(|(one, _), (other, _)| one.blocks.cmp(&other.blocks));
        let spans: Vec<&HostSpan> = of_one_token.iter().map(|(span, _)| *span).collect();
        let first = narrow.len();
        narrow.extend(of_one_token.iter().map(|(_, tile)| *tile));
        let single = narrow.len();
        for Prefix { members, positions } in prefixes(&spans, plan.block_tokens, tiling) {
            let mine = first + members.start..first + members.end;
            narrow[mine.clone()].iter_mut().for_each(|tile| tile.shared = narrowed(positions));
            narrow.push(Tile {
                block_table: narrow[mine.start].block_table,
                first: narrowed(mine.start),
                end: narrowed(positions),
                members: narrowed(mine.len()),
                ..Tile::default()
            });
        }
        Self { wide: List::send(device, &wide), narrow: List::send(device, &narrow), single, full: first }
    }
}

/// The first positions of sequences, which lie in the same blocks of the cache.
#[derive(Debug, PartialEq, Eq)]
struct Prefix {
    members: Range<usize>,
    /// Whole splits.
    positions: usize,
}

/// The prefixes that neighbours share, as many neighbours as a narrow tile has room for.
fn prefixes(spans: &[&HostSpan], block_tokens: usize, tiling: Tiling) -> Vec<Prefix> {
    let mut found = Vec::new();
    let mut first = 0;
    while first < spans.len() {
        let mut prefix = Prefix { members: first..first + 1, positions: 0 };
        let mut positions = usize::MAX;
        for end in first + 2..=spans.len().min(first + NARROW / tiling.group) {
            let [.., one, other] = spans[first..end] else { break };
            positions = positions.min(shared_positions(one, other, block_tokens) / tiling.split * tiling.split);
            // What need not be read again. A neighbour that has less of the prefix may cost more than it saves.
            if positions * (end - first - 1) <= prefix.positions * (prefix.members.len() - 1) {
                break;
            }
            prefix = Prefix { members: first..end, positions };
        }
        first = prefix.members.end;
        if prefix.positions > 0 {
            found.push(prefix);
        }
    }
    found
}

/// How many positions of two sequences lie in the same blocks, before the tokens that are new.
fn shared_positions(one: &HostSpan, other: &HostSpan, block_tokens: usize) -> usize {
    let blocks = one.blocks.iter().zip(&other.blocks).take_while(|(one, other)| one == other).count();
    (blocks * block_tokens).min(one.start).min(other.start)
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
        ..Tile::default()
    }
}

impl List {
    pub(super) fn send(device: &Device, tiles: &[Tile]) -> Self {
        let end = tiles.iter().map(|tile| tile.end as usize).max().unwrap_or(0);
        Self { array: send(device, tiles), count: tiles.len(), end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(blocks: &[u32], start: usize) -> HostSpan {
        HostSpan { row: 0, start, tokens: 1, blocks: blocks.to_vec(), image_end: vec![0] }
    }

    #[test]
    fn neighbours_share_what_saves_most() {
        let tiling = Tiling { group: 4, height: 64, split: 64 };
        let prefix = |members, positions| Prefix { members, positions };
        let table: &[(&str, &[HostSpan], Vec<Prefix>)] = &[
            ("nobody", &[], vec![]),
            ("one alone", &[span(&[1, 2], 40)], vec![]),
            ("less than a split", &[span(&[1, 2], 40), span(&[1, 3], 40)], vec![]),
            ("a split and a bit", &[span(&[1, 2, 3, 5], 99), span(&[1, 2, 3, 7], 110)], vec![prefix(0..2, 64)]),
            ("blocks that are written now", &[span(&[1, 2], 63), span(&[1, 2], 64)], vec![]),
            ("five where four fit", &vec![span(&[1, 2, 3], 90); 5], vec![prefix(0..4, 64)]),
            (
                "two pairs that begin alike",
                &[
                    span(&[1, 2, 3, 4, 5, 6, 7], 200),
                    span(&[1, 2, 3, 4, 5, 6, 8], 200),
                    span(&[1, 2, 9, 10, 11, 12, 13], 200),
                    span(&[1, 2, 9, 10, 11, 12, 14], 200),
                ],
                vec![prefix(0..2, 192), prefix(2..4, 192)],
            ),
        ];
        for (what, spans, wanted) in table {
            let spans: Vec<&HostSpan> = spans.iter().collect();
            assert_eq!(prefixes(&spans, 32, tiling), *wanted, "{what}");
        }
    }
}
