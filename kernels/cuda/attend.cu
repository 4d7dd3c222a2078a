// Attention: softmax(scale · Q Kᵀ + mask) V, for prefill, decode and the vision tower.
//
// Shapes. Q and the result are f32, [rows, heads, head_dim], strided by row. Keys and values are 16-bit and paged:
// [blocks, kv_heads, block_tokens, D] each, head_dim padded with zeros to D = 32, 64, 80, 128 or 256. A token at position p
// sees the positions in [max(0, p + 1 − window), max(p + 1, end of its image)).
//
// Geometry. A thread block computes one tile for one head of keys: 16 · row_warps rows, each a (token, query head) of the
// group that shares the head, so that keys are read once for the whole group: grid (tiles, kv_heads, splits), 32 · row_warps ·
// column_warps threads. Where column_warps > 1, the warps of a row share out the columns of the scores and of the result, and
// pass weights through shared memory: 256 columns of accumulators do not fit the registers of one warp.
//   wide     4 × 1 warps, 4 × 2 for D = 256 (2 × 2 where shared memory is 99 KiB): prefill, patches.
//   narrow   1 × 4 warps, decode: one block for every `split` positions, merged by attend_merge.
//
// Prefixes. Sequences with one token whose caches begin with the same blocks (a prompt's instructions, the images of a study that
// is asked about) share a narrow tile for the splits that lie in these blocks, 16 / group sequences to a tile: their keys and values
// are read once, and rows that were empty are filled. The tile leaves its sums where the sequences' own tiles, which skip these
// splits, would: sums of a row are computed as they are alone.
//
// Order. Positions are taken 64 at a time from multiples of 64; a new sum starts at every multiple of `split`, and these sums
// are merged from left to right. Both shapes do so, in the same arithmetic, so a row has the same bits in a batch of any
// kind: alone or among others, as the last token of a prompt or as a token that is generated.
//
// Copies. Two stages, as K and V have one tile each: V of this step is on its way while scores are computed, K of the next while
// the result is. 96 KiB at D = 256 fit every GPU since sm_80. Half a step of the two or three blocks that share a multiprocessor is
// some 1,000 cycles there, several times what the L2 cache takes: more stages would cost blocks and hide nothing.
//
// Work. 4 · D FLOPs for each row and position that it sees; 4 · D bytes for each position, kv head and tile, and 8 · D for each
// row; a shared prefix is read by one tile. Prefill is bound by arithmetic, decode by bytes.
//
// Source: FlashAttention-2, Dao 2023 (arXiv:2307.08691), algorithm 1; the split is Flash-Decoding's, at fixed positions.
#include "primitives.cuh"

// Rows of one sequence that one thread block computes, or a prefix of several.
struct AttendTile {
  u32 row;           // First row of the sequence in the batch.
  u32 tokens;        // New tokens of the sequence.
  u32 start;         // Position of the first.
  u32 block_table;   // Where the sequence's blocks begin in the table.
  u32 first;         // First (token · group + head) of the tile.
  u32 end;           // No row of the tile sees this position or a later one.
  u32 shared;        // Another tile computes the positions before this one: whole splits.
  u32 members;       // 0; or how many tiles of one token, from tile `first` on, this one computes the positions before `end` for.
};

struct AttendArguments {
  const float* q;
  const u16* keys;
  const u16* values;
  float* out;
  float* partial;            // [tiles, kv_heads, splits, rows, D + 2]: sums, their maximum and their total; narrow only.
  const AttendTile* tiles;
  const u32* block_table;
  const u32* image_end;      // [rows]; null where a row sees all positions before its tile's end.
  u64 block_stride;          // From one block to the next, in values.
  u32 head_stride;           // From one kv head to the next.
  u32 block_tokens;
  u32 block_magic;           // ⌈2³² / block_tokens⌉: position / block_tokens without a division.
  u32 q_stride;              // From one row of Q to the next.
  u32 heads, kv_heads, head_dim;
  u32 window;                // 0: none.
  u32 split;                 // A multiple of 64.
  float scale;               // Times log2(e): weights are powers of two.
  u32 full_tiles;            // So many narrow tiles leave sums of 16 rows; those after them of one token's: of a group of heads.
  u32 padding;
};

constexpr int POSITIONS = 64;

// A row of a tile.
struct AttendRow {
  u32 row;       // In the batch.
  u32 position;
  u32 head;      // Of the group.
  u32 tile;      // Whose sum it is part of,
  u32 place;     // and where there.
  bool exists;
};
template <bool narrow>
DEVICE AttendRow find_row(const AttendArguments& a, const AttendTile& tile, u32 group, u32 index) {
  if (narrow && tile.members > 0) {
    const bool exists = index < tile.members * group;
#ifdef MUTANT_PREFIX_OF_NEIGHBOUR
    const u32 member = exists && index / group > 0 ? tile.first + index / group - 1 : tile.first;
#else
    const u32 member = exists ? tile.first + index / group : tile.first;
#endif
    return {a.tiles[member].row, a.tiles[member].start, index % group, member, index % group, exists};
  }
  const u32 packed = tile.first + index, token = packed / group;
  return {tile.row + token, tile.start + token, packed % group, blockIdx.x, index, packed < tile.tokens * group};
}

// Adds a sum over later positions (scaled maximum m, total l) to one over earlier ones: the two factors of the terms.
struct Merge {
  bool keep, take;   // Only the earlier, only the later sum counts.
  float earlier, later;
};
DEVICE Merge merge(float& m_all, float& l_all, float m, float l) {
  Merge result{m == NEGATIVE_INFINITY, m_all == NEGATIVE_INFINITY, 1.0f, 1.0f};
  if (result.keep) return result;
  if (result.take) {
    m_all = m;
    l_all = l;
    return result;
  }
  const float largest = fmaxf(m_all, m);
  result.earlier = exp2_fast(m_all - largest);
  result.later = exp2_fast(m - largest);
  l_all = multiply_add(l, result.later, multiply(l_all, result.earlier));
  m_all = largest;
  return result;
}
DEVICE float merged(const Merge& by, float earlier, float later) {
  if (by.keep) return earlier;
  if (by.take) return later;
  return multiply_add(later, by.later, multiply(earlier, by.earlier));
}

// 64 positions of keys or values, from a paged cache. Positions outside [from, to) become zeros: what lies there may be
// anything, and 0 · NaN is NaN. Sixteen positions lie side by side in one block, since blocks have a multiple of sixteen (an
// image has one block), so a warp finds their place once and copies them in one piece.
template <int D, int threads>
DEVICE void load_positions(u16* tile, const u16* cache, const AttendArguments& a, const u32* table, u32 first, u32 from, u32 to) {
  constexpr int chunks = D / 8, warps_of_sixteen = threads / 128;
  const int sixteen = warp() % 4 * 16;
  const u32 start = first + sixteen;
  const u16* source = cache;
  if (start < to) {
    const u32 block = __umulhi(start, a.block_magic);
    source += table[block] * a.block_stride + (u64)(start - block * a.block_tokens) * D;
  }
#pragma unroll
  for (int i = lane() + warp() / 4 * 32; i < 16 * chunks; i += 32 * warps_of_sixteen) {
    const int row = i / chunks, chunk = i % chunks;
    const u32 position = start + row;
#ifdef MUTANT_DROPPED_TAIL
    const bool valid = position < ((to + 15) & ~15u);
#else
    const bool valid = position >= from && position < to;
#endif
    copy_async(tile + sixteen * D + swizzled<D>(row, chunk), source + i * 8, valid);
  }
}

// Rows of a narrow tile that leave sums.
DEVICE u32 partial_rows(const AttendArguments& a, u32 tile) {
  return tile < a.full_tiles ? 16 : a.heads / a.kv_heads;
}

// The sum that one split leaves of one row: D values, their maximum and their total.
template <int D>
DEVICE float* partial_of(const AttendArguments& a, u32 tile, u32 kv_head, u32 splits, u32 split, u32 place) {
  const u32 rows = partial_rows(a, tile), full = min(tile, a.full_tiles);
  const u64 before = (u64)full * 16 + (u64)(tile - full) * rows;
  return a.partial + (before * a.kv_heads * splits + ((u64)kv_head * splits + split) * rows + place) * (D + 2);
}

template <class T, int D, int row_warps, int column_warps>
DEVICE void attend(const AttendArguments& a) {
  constexpr int threads = 32 * row_warps * column_warps;
  constexpr int rows = 16 * row_warps;
  constexpr bool narrow = row_warps == 1;
  // Per warp: 8-column parts of the scores, and 16-column pairs of the result.
  constexpr int parts = POSITIONS / 8 / column_warps;
  constexpr int pairs = (D / 16 + column_warps - 1) / column_warps;
  // Unrolled further, D = 256 spills: the compiler keeps the addresses of all steps in registers.
  constexpr int depth_at_once = D == 256 ? 4 : D / 16;
  SHARED_MEMORY(memory);
  u16* shared_q = (u16*)memory;
  u16* shared_k = shared_q + rows * D;
  u16* shared_v = shared_k + POSITIONS * D;
  u16* shared_p = shared_v + POSITIONS * D;                             // [rows, 64], only where warps share a row.
  float* shared_max = (float*)(shared_p + rows * POSITIONS);            // [column_warps, rows]
  float* shared_sum = shared_max + column_warps * rows;                 // [rows, 4 lanes, 4 parts of 16 columns]

  const AttendTile tile = a.tiles[blockIdx.x];
  const u32 kv_head = blockIdx.y, group = a.heads / a.kv_heads;
  const bool of_several = narrow && tile.members > 0;
  // Splits that another tile computes.
#ifdef MUTANT_PREFIX_BEYOND_ITS_END
  if (narrow && blockIdx.z * a.split < tile.shared) return;
#else
  if (narrow && (blockIdx.z * a.split < tile.shared || (of_several && blockIdx.z * a.split >= tile.end))) return;
#endif
  const u32* table = a.block_table + tile.block_table;
  const u16* keys = a.keys + (u64)kv_head * a.head_stride;
  const u16* values = a.values + (u64)kv_head * a.head_stride;
  const int row_warp = warp() % row_warps, column_warp = warp() / row_warps;

  // Positions that any row of the tile sees, and the part of them that this block takes.
  u32 first_position = tile.start + tile.first / group;
  if (of_several) {
    first_position = a.tiles[tile.first].start;
    for (u32 i = 1; i < tile.members; i++) first_position = min(first_position, a.tiles[tile.first + i].start);
  }
  u32 from = a.window > 0 && first_position + 1 > a.window ? first_position + 1 - a.window : 0;
  u32 to = tile.end;
  if (narrow) {
    from = max(from, blockIdx.z * a.split);
    to = min(to, (blockIdx.z + 1) * a.split);
  }
  // Whether this block has all that its rows see, and so writes results; else it leaves a partial sum.
  const bool whole = !narrow || gridDim.z == 1;
  // What the two rows of this lane see.
  u32 low[2], high[2];
  bool exists[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const AttendRow row = find_row<narrow>(a, tile, group, row_warp * 16 + lane() / 4 + 8 * i);
    exists[i] = row.exists;
    const u32 position = row.position;
    low[i] = a.window > 0 && position + 1 > a.window ? position + 1 - a.window : 0;
#ifdef MUTANT_WINDOW_OFF_BY_ONE
    if (low[i] > 0) low[i]--;
#endif
    high[i] = 0;
    if (exists[i]) high[i] = a.image_end == nullptr ? tile.end : max(position + 1, a.image_end[row.row]);
  }

  // Queries to 16 bits. Rows that do not exist are zeros: they see nothing.
  for (int i = threadIdx.x; i < rows * (D / 2); i += threads) {
    const int row = i / (D / 2), column = i % (D / 2) * 2;
    const AttendRow of = find_row<narrow>(a, tile, group, row);
    float pair[2] = {0.0f, 0.0f};
    if (of.exists) {
      const float* q = a.q + (u64)of.row * a.q_stride + (kv_head * group + of.head) * a.head_dim;
      if (column < (int)a.head_dim) pair[0] = q[column];
      if (column + 1 < (int)a.head_dim) pair[1] = q[column + 1];
    }
    *(u32*)(shared_q + swizzled<D>(row, column / 8) + column % 8) = T::pack(pair[0], pair[1]);
  }

  float o[pairs][2][4];
  float m[2], l[2], m_all[2], l_all[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    m[i] = m_all[i] = NEGATIVE_INFINITY;
    l[i] = l_all[i] = 0.0f;
  }
#pragma unroll
  for (int j = 0; j < pairs; j++)
#pragma unroll
    for (int e = 0; e < 8; e++) o[j][e / 4][e % 4] = 0.0f;

  const u32 first_step = from / POSITIONS, end_step = from < to ? (to + POSITIONS - 1) / POSITIONS : first_step;
  if (first_step < end_step) {
    load_positions<D, threads>(shared_k, keys, a, table, first_step * POSITIONS, from, to);
    commit_copies();
  }
  // Split by split, and 64 positions at a time within one.
  const u32 steps_of_split = a.split / POSITIONS;
  for (u32 begin = first_step; begin < end_step;) {
    const u32 end = min(end_step, (begin / steps_of_split + 1) * steps_of_split);
    for (u32 step = begin; step < end; step++) {
      const u32 base = step * POSITIONS;
#ifndef MUTANT_MISSING_WAIT
      wait_copies<0>();
#endif
#ifndef MUTANT_MISSING_BARRIER
      __syncthreads();   // K has landed for all; all are done with the V before.
#endif
      load_positions<D, threads>(shared_v, values, a, table, base, from, to);
      commit_copies();

      float s[parts][4];
#pragma unroll
      for (int j = 0; j < parts; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = 0.0f;
#pragma unroll(depth_at_once)
      for (int k = 0; k < D / 16; k++) {
        u32 q[4];
        load_matrices(q, shared_q + row_warp * 16 * D + swizzled<D>(lane() % 16, k * 2 + lane() / 16));
        // Sixteen rows on, chunks lie in the same places of their rows.
        const u16* of_k = shared_k + column_warp * parts / 2 * 16 * D + swizzled<D>(lane() % 8 + lane() / 16 * 8, k * 2 + lane() / 8 % 2);
#pragma unroll
        for (int j = 0; j < parts / 2; j++) {
          u32 b[4];
          load_matrices(b, of_k + j * 16 * D);
#ifdef MUTANT_SWAPPED_OPERANDS
          T::multiply(s[2 * j], q, b[1], b[0]);
#else
          T::multiply(s[2 * j], q, b[0], b[1]);
#endif
          T::multiply(s[2 * j + 1], q, b[2], b[3]);
        }
      }

      // Mask, where a row does not see all 64 positions, and the largest score of each row.
      if (base < low[0] || base < low[1] || base + POSITIONS > high[0] || base + POSITIONS > high[1]) {
        const u32 column = base + column_warp * parts * 8 + lane() % 4 * 2;
#pragma unroll
        for (int j = 0; j < parts; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) {
            const u32 position = column + j * 8 + e % 2;
            if (position < low[e / 2] || position >= high[e / 2]) s[j][e] = NEGATIVE_INFINITY;
          }
      }
      float largest[2] = {m[0], m[1]};
#pragma unroll
      for (int j = 0; j < parts; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) largest[e / 2] = fmaxf(largest[e / 2], s[j][e]);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        largest[i] = quad_max(largest[i]);
        if (column_warps > 1 && lane() % 4 == 0) shared_max[column_warp * rows + row_warp * 16 + lane() / 4 + 8 * i] = largest[i];
      }
      __syncthreads();   // All are done with K; maxima are there.
      if (step + 1 < end_step) load_positions<D, threads>(shared_k, keys, a, table, base + POSITIONS, from, to);
      commit_copies();
      float shrink[2], safe[2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        if (column_warps > 1)
          for (int w = 0; w < column_warps; w++)
            largest[i] = fmaxf(largest[i], shared_max[w * rows + row_warp * 16 + lane() / 4 + 8 * i]);
        // A row that has seen nothing yet has no maximum to subtract. Scores are scaled on their way into the exponent.
        safe[i] = largest[i] == NEGATIVE_INFINITY ? 0.0f : multiply(largest[i], a.scale);
        // What was subtracted before, rounded as it was then: where the maximum stays, the factor is 1 and no bit changes. So a
        // step of which a row sees nothing, because its tile has other rows that do, leaves it as it is.
        shrink[i] = exp2_fast(multiply(m[i], a.scale) - safe[i]);
#ifdef MUTANT_STALE_MAXIMUM
        shrink[i] = 1.0f;
#endif
#ifdef MUTANT_INEXACT_SHRINK
        shrink[i] = exp2_fast(multiply_add(m[i], a.scale, -safe[i]));
#endif
        m[i] = largest[i];
      }

      // Weights, and their sum: 16 columns first, then these from left to right, lane by lane.
      float sums[2][parts / 2];
#pragma unroll
      for (int j = 0; j < parts; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = exp2_fast(multiply_add(s[j][e], a.scale, -safe[e / 2]));
#pragma unroll
      for (int j = 0; j < parts / 2; j++)
#pragma unroll
        for (int i = 0; i < 2; i++)
          sums[i][j] = add(add(s[2 * j][2 * i], s[2 * j][2 * i + 1]), add(s[2 * j + 1][2 * i], s[2 * j + 1][2 * i + 1]));
      if (column_warps > 1) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const int row = row_warp * 16 + lane() / 4 + 8 * i;
#pragma unroll
          for (int j = 0; j < parts; j++)
            *(u32*)(shared_p + swizzled<POSITIONS>(row, column_warp * parts + j) + lane() % 4 * 2) =
                T::pack(s[j][2 * i], s[j][2 * i + 1]);
#pragma unroll
          for (int j = 0; j < parts / 2; j++) shared_sum[(row * 4 + lane() % 4) * 4 + column_warp * parts / 2 + j] = sums[i][j];
        }
      }
      wait_copies<1>();
#ifndef MUTANT_MISSING_SECOND_BARRIER
      __syncthreads();   // V has landed; weights of the other warps are there.
#endif
#pragma unroll
      for (int i = 0; i < 2; i++) {
        l[i] = multiply(l[i], shrink[i]);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int row = row_warp * 16 + lane() / 4 + 8 * i;
          const float sum = column_warps > 1 ? shared_sum[(row * 4 + lane() % 4) * 4 + j] : sums[i][j % (parts / 2)];
          l[i] = add(l[i], sum);
        }
      }
#pragma unroll
      for (int j = 0; j < pairs; j++)
#pragma unroll
        for (int e = 0; e < 8; e++) o[j][e / 4][e % 4] = multiply(o[j][e / 4][e % 4], shrink[e % 4 / 2]);
#pragma unroll
      for (int k = 0; k < POSITIONS / 16; k++) {
        u32 p[4];
        if (column_warps > 1) {
          load_matrices(p, shared_p + swizzled<POSITIONS>(row_warp * 16 + lane() % 16, k * 2 + lane() / 16));
        } else {
          // The layout of a result is that of the left operand, two parts at a time.
          p[0] = T::pack(s[2 * k % parts][0], s[2 * k % parts][1]);
          p[1] = T::pack(s[2 * k % parts][2], s[2 * k % parts][3]);
          p[2] = T::pack(s[(2 * k + 1) % parts][0], s[(2 * k + 1) % parts][1]);
          p[3] = T::pack(s[(2 * k + 1) % parts][2], s[(2 * k + 1) % parts][3]);
        }
#pragma unroll
        for (int j = 0; j < pairs; j++) {
          const int pair = j * column_warps + column_warp;
          if (D / 16 % column_warps != 0 && pair >= D / 16) continue;
          u32 b[4];
          load_matrices_transposed(b, shared_v + k * 16 * D + swizzled<D>(lane() % 16, pair * 2 + lane() / 16));
          T::multiply(o[j][0], p, b[0], b[1]);
          T::multiply(o[j][1], p, b[2], b[3]);
        }
      }

    }

    // The end of a split: its sum joins those before, which wait where the result will be.
    const bool last = end == end_step;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      l[i] = quad_sum(l[i]);
      const Merge by = merge(m_all[i], l_all[i], multiply(m[i], a.scale), l[i]);
      const AttendRow row = find_row<narrow>(a, tile, group, row_warp * 16 + lane() / 4 + 8 * i);
      float* out = whole ? a.out + ((u64)row.row * a.heads + kv_head * group + row.head) * a.head_dim
                         : partial_of<D>(a, row.tile, kv_head, gridDim.z, blockIdx.z, row.place);
      const float by_total = 1.0f / l_all[i];
#pragma unroll
      for (int j = 0; j < pairs; j++) {
        const int pair = j * column_warps + column_warp;
        if (D / 16 % column_warps != 0 && pair >= D / 16) continue;
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const u32 d = pair * 16 + e / 2 * 8 + lane() % 4 * 2 + e % 2;
          float& sum = o[j][e / 2][2 * i + e % 2];
          if (exists[i] && d < (whole ? a.head_dim : (u32)D)) {
            const float value = by.take ? sum : merged(by, out[d], sum);
            out[d] = last && whole ? multiply(value, by_total) : value;
          }
          sum = 0.0f;
        }
      }
      m[i] = NEGATIVE_INFINITY;
      l[i] = 0.0f;
    }
    begin = end;
  }
  if (narrow && !whole && column_warp == 0 && lane() % 4 == 0) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (!exists[i]) continue;
      const AttendRow row = find_row<narrow>(a, tile, group, lane() / 4 + 8 * i);
      float* out = partial_of<D>(a, row.tile, kv_head, gridDim.z, blockIdx.z, row.place);
      out[D] = m_all[i];
      out[D + 1] = l_all[i];
    }
  }
}

#define ATTEND(type, D, shape, row_warps, column_warps)                                                   \
  KERNEL(attend_##shape##_##type##_##D, 32 * row_warps * column_warps, AttendArguments) {                 \
    attend<type, D, row_warps, column_warps>(a);                                                          \
  }
#define ATTEND_TYPES(D, shape, row_warps, column_warps) \
  ATTEND(F16, D, shape, row_warps, column_warps)        \
  ATTEND(Bf16, D, shape, row_warps, column_warps)

ATTEND_TYPES(32, wide, 4, 1)
ATTEND_TYPES(64, wide, 4, 1)
ATTEND_TYPES(80, wide, 4, 1)
ATTEND_TYPES(128, wide, 4, 1)
ATTEND_TYPES(256, wide, 4, 2)
ATTEND_TYPES(256, small, 2, 2)
ATTEND_TYPES(32, narrow, 1, 4)
ATTEND_TYPES(64, narrow, 1, 4)
ATTEND_TYPES(80, narrow, 1, 4)
ATTEND_TYPES(128, narrow, 1, 4)
ATTEND_TYPES(256, narrow, 1, 4)

// Merges the sums of the splits of narrow tiles, from left to right. Grid (tiles, kv_heads, rows at most), 128 threads, each with
// the result's columns 128 apart. Bytes: 4 · (D + 2) for each split and row.
template <int D>
DEVICE void attend_merge(const AttendArguments& a, u32 splits) {
  const AttendTile tile = a.tiles[blockIdx.x];
  const u32 kv_head = blockIdx.y, group = a.heads / a.kv_heads, packed = tile.first + blockIdx.z;
  if (packed >= tile.tokens * group) return;
  const float* partial = partial_of<D>(a, blockIdx.x, kv_head, splits, 0, blockIdx.z);
  const u32 rows = partial_rows(a, blockIdx.x);
  const u64 row = tile.row + packed / group;
  for (u32 d = threadIdx.x; d < a.head_dim; d += 128) {
    float m = NEGATIVE_INFINITY, l = 0.0f, o = 0.0f;
    for (u32 i = 0; i < splits; i++) {
      const float* next = partial + (u64)i * rows * (D + 2);
#ifdef MUTANT_UNMERGED
      const Merge by = merge(m, l, next[D], next[D + 1]);
      o = by.keep ? o : next[d];
#else
      const Merge by = merge(m, l, next[D], next[D + 1]);
      o = by.keep ? o : merged(by, o, next[d]);
#endif
    }
    a.out[(row * a.heads + kv_head * group + packed % group) * a.head_dim + d] = multiply(o, 1.0f / l);
  }
}

struct MergeArguments {
  AttendArguments attend;
  u32 splits;
  u32 padding;
};
#define ATTEND_MERGE(D) \
  KERNEL(attend_merge_##D, 128, MergeArguments) { attend_merge<D>(a.attend, a.splits); }
ATTEND_MERGE(32)
ATTEND_MERGE(64)
ATTEND_MERGE(80)
ATTEND_MERGE(128)
ATTEND_MERGE(256)
