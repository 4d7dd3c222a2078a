//! Attention and what it reads: kernels `attend_*`, `attend_merge_*`, `store_keys_values_*`.

use super::launch::{Attention, Geometry, Heads, Merge, Store, Tile, narrowed};
use super::plan::{List, NARROW, Tiles, Tiling};
use super::{Cuda, Precision};
use crate::args::{Attend, AttendPatches, StoreKeysValues};

/// Sizes of heads that there are kernels for; others are padded to the next.
const WIDTHS: [usize; 5] = [32, 64, 80, 128, 256];

/// The kernels' size for heads of `head_dim` values. None where they are larger than any.
pub(super) fn head_width(head_dim: usize) -> Option<usize> {
    WIDTHS.into_iter().find(|width| head_dim <= *width)
}

/// How many warps share out rows, and how many the columns of a row.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    row_warps: usize,
    column_warps: usize,
}

const NARROW_SHAPE: Shape = Shape { name: "narrow", row_warps: 1, column_warps: 4 };

impl Shape {
    /// The shape for prompts and pictures: the largest that fits the device.
    fn wide(width: usize, shared_max: usize) -> Self {
        if width < 256 {
            return Self { name: "wide", row_warps: 4, column_warps: 1 };
        }
        let wide = Self { name: "wide", row_warps: 4, column_warps: 2 };
        let small = Self { name: "small", row_warps: 2, column_warps: 2 };
        if wide.shared(width) <= shared_max { wide } else { small }
    }

    fn rows(self) -> usize {
        16 * self.row_warps
    }

    /// Bytes: queries, 64 keys, 64 values; and weights, maxima and sums where warps share a row.
    fn shared(self, width: usize) -> usize {
        let tiles = (self.rows() + 2 * 64) * width * 2;
        let exchange = self.rows() * (64 * 2 + 4 * self.column_warps + 16 * 4);
        if self.column_warps > 1 { tiles + exchange } else { tiles }
    }

    fn geometry(self, width: usize, grid: (usize, usize, usize)) -> Geometry {
        Geometry {
            grid: (narrowed(grid.0), narrowed(grid.1), narrowed(grid.2)),
            threads: narrowed(32 * self.row_warps * self.column_warps),
            shared: narrowed(self.shared(width)),
        }
    }

    fn kernel(self, precision: Precision, width: usize) -> String {
        format!("attend_{}_{}_{width}", self.name, precision.suffix())
    }
}

impl Precision {
    /// How kernels for it are named.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Precision::F16 => "F16",
            Precision::Bf16 => "Bf16",
        }
    }
}

/// `position / block_tokens` is the upper half of `position · magic`, as long as `position · block_tokens` fits 32 bits.
fn magic(block_tokens: usize) -> u32 {
    narrowed((1usize << 32).div_ceil(block_tokens))
}

impl Cuda {
    pub(super) fn store(&self, args: StoreKeysValues<'_, Self>) {
        let device = &self.device;
        let shape = args.cache.shape;
        assert_eq!(args.plan.block_tokens(), shape.block_tokens, "a plan for blocks of another size");
        let (keys, values) = args.cache.layer(device, args.layer);
        let heads = (args.heads + 2 * shape.kv_heads).div_ceil(4);
        let grid = (narrowed(args.plan.rows()), narrowed(heads), 1);
        let arguments = Store {
            qkv: device.address(&args.qkv.values),
            q_norm: args.norms.map_or(0, |norms| device.address(&norms.q.values)),
            k_norm: args.norms.map_or(0, |norms| device.address(&norms.k.values)),
            angles: device.address(&args.angles.values),
            slots: device.address(&args.plan.slots),
            q: device.target(args.q),
            keys,
            values,
            heads: narrowed(args.heads),
            kv_heads: narrowed(shape.kv_heads),
            head_dim: narrowed(shape.head_dim),
            depth: narrowed(args.cache.width),
            block_tokens: narrowed(shape.block_tokens),
            eps: args.norms.map_or(0.0, |norms| norms.eps),
            offset: args.norms.map_or(0.0, |norms| norms.offset),
            padding: 0,
        };
        let kernel = format!("store_keys_values_{}", self.precision.suffix());
        device.launch(&kernel, Geometry { grid, threads: 128, shared: 0 }, &arguments);
    }

    pub(super) fn attend_cache(&self, args: Attend<'_, Self>) {
        let device = &self.device;
        let (shape, width) = (args.cache.shape, args.cache.width);
        let group = args.heads / shape.kv_heads;
        let wide = Shape::wide(width, device.shared_max);
        let tiles = args.plan.tiles(device, Tiling { group, height: wide.rows(), split: self.split });
        let end = tiles.wide.end.max(tiles.narrow.end);
        assert!(
            (end * shape.block_tokens) < 1 << 32,
            "{end} positions are too many for blocks of {}",
            shape.block_tokens
        );
        let (keys, values) = args.cache.layer(device, args.layer);
        let arguments = Attention {
            q: device.address(&args.q.values),
            keys,
            values,
            out: device.target(args.out),
            block_table: device.address(&args.plan.block_table),
            image_end: device.address(&args.plan.image_end),
            block_stride: args.cache.block_stride() as u64,
            head_stride: narrowed(shape.block_tokens * width),
            block_tokens: narrowed(shape.block_tokens),
            block_magic: magic(shape.block_tokens),
            q_stride: narrowed(args.heads * shape.head_dim),
            heads: narrowed(args.heads),
            kv_heads: narrowed(shape.kv_heads),
            head_dim: narrowed(shape.head_dim),
            window: args.window.map_or(0, narrowed),
            split: narrowed(self.split),
            scale: args.scale * std::f32::consts::LOG2_E,
            ..Attention::default()
        };
        if tiles.wide.count > 0 {
            self.launch_wide(&tiles.wide, wide, width, arguments);
        }
        if tiles.narrow.count > 0 {
            self.launch_narrow(&tiles, width, arguments);
        }
    }

    fn launch_wide(&self, tiles: &List, shape: Shape, width: usize, arguments: Attention) {
        let geometry = shape.geometry(width, (tiles.count, arguments.kv_heads as usize, 1));
        let arguments = Attention { tiles: self.device.address(&tiles.array), ..arguments };
        self.device.launch(&shape.kernel(self.precision, width), geometry, &arguments);
    }

    /// One block for every split, and a merge where there are several.
    fn launch_narrow(&self, tiles: &Tiles, width: usize, arguments: Attention) {
        let Tiles { narrow, single, full, .. } = tiles;
        let kv_heads = arguments.kv_heads as usize;
        let splits = narrow.end.div_ceil(self.split);
        // A tile of one token has a row for each head of a group.
        let group = arguments.heads as usize / kv_heads;
        let rows = full * NARROW + (single - full) * group;
        let partial_len = if splits > 1 { rows * kv_heads * splits * (width + 2) } else { 0 };
        let partial = self.device.scratch::<f32>("partial sums of attention", partial_len);
        let arguments = Attention {
            tiles: self.device.address(&narrow.array),
            partial: self.device.address(&partial),
            full_tiles: narrowed(*full),
            ..arguments
        };
        let geometry = NARROW_SHAPE.geometry(width, (narrow.count, kv_heads, splits));
        self.device.launch(&NARROW_SHAPE.kernel(self.precision, width), geometry, &arguments);
        if splits > 1 {
            let most_rows = if *full > 0 { NARROW } else { group };
            let grid = (narrowed(*single), narrowed(kv_heads), narrowed(most_rows));
            let merge = Merge { attention: arguments, splits: narrowed(splits), padding: 0 };
            self.device.launch(&format!("attend_merge_{width}"), Geometry { grid, threads: 128, shared: 0 }, &merge);
        }
    }

    /// An image is a block of a cache, and each of its patches sees all of them.
    pub(super) fn attend_pictures(&self, args: AttendPatches<'_, Self>) {
        let AttendPatches { qkv, images, patches, heads, head_dim, scale, out } = args;
        let device = &self.device;
        let width = head_width(head_dim).unwrap_or_else(|| panic!("no kernel for heads of {head_dim} values"));
        let values = images * heads * patches * width;
        let keys = device.scratch::<u16>("keys of patches", values);
        let of_values = device.scratch::<u16>("values of patches", values);
        let packed = Heads {
            qkv: device.address(&qkv.values),
            keys: device.address(&keys),
            values: device.address(&of_values),
            images: narrowed(images),
            patches: narrowed(patches),
            heads: narrowed(heads),
            head_dim: narrowed(head_dim),
            depth: narrowed(width),
            padding: 0,
        };
        device.launch(&format!("pack_heads_{}", self.precision.suffix()), Geometry::values(values), &packed);
        let shape = Shape::wide(width, device.shared_max);
        let tiles: Vec<Tile> = (0..images)
            .flat_map(|image| (0..patches).step_by(shape.rows()).map(move |first| (image, first)))
            .map(|(image, first)| Tile {
                row: narrowed(image * patches),
                tokens: narrowed(patches),
                start: 0,
                block_table: narrowed(image),
                first: narrowed(first),
                end: narrowed(patches),
                ..Tile::default()
            })
            .collect();
        let tiles = List::send(device, &tiles);
        let table: Vec<u32> = (0..narrowed(images)).collect();
        let table = device.send("images", &table).unwrap_or_else(|error| panic!("{error}"));
        let arguments = Attention {
            q: device.address(&qkv.values),
            keys: device.address(&keys),
            values: device.address(&of_values),
            out: device.target(out),
            block_table: device.address(&table),
            block_stride: (heads * patches * width) as u64,
            head_stride: narrowed(patches * width),
            block_tokens: narrowed(patches),
            block_magic: magic(patches),
            q_stride: narrowed(3 * heads * head_dim),
            heads: narrowed(heads),
            kv_heads: narrowed(heads),
            head_dim: narrowed(head_dim),
            split: narrowed(patches.next_multiple_of(64)),
            scale: scale * std::f32::consts::LOG2_E,
            ..Attention::default()
        };
        self.launch_wide(&tiles, shape, width, arguments);
    }
}
