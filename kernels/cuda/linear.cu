// Products x · Wᵀ with bias, activation and addition in the epilogue; and the gated pair activation(x · Gᵀ) · (x · Uᵀ).
//
// Shapes. x is 16-bit, [rows, depth], packed by pack.cu with a factor for each row; W is [outputs, depth], 16-bit. depth is
// padded with zeros to a multiple of 64. The result is f32, [rows, outputs]. For the gated pair W holds eight rows of G, eight
// of U, and so on, so that one lane gets both values of a pair; the result has a column for each pair.
//
// Geometry. A block computes a tile of result rows × columns, warps side by side: grid (columns, rows), by shape
//   large    128 × 128, 8 warps of 64 × 32, 4 stages of depth 32: 64 KiB
//   medium    64 × 64,  4 warps of 32 × 32, 4 stages of depth 32: 32 KiB, where large tiles would not fill the device
//   skinny    16 × 32,  2 warps of 16 × 16, 8 stages of depth 64: 48 KiB, up to 16 rows: weights are read once
//
// Weights of eight or four bits (linear_int8_*, gated_int4_*, …) lie in memory as whole numbers with a scale, bf16, for each 32
// inputs: see weights_of() for what they are, and for the order of 16 inputs. They are copied as they are and become 16 bits on the
// way from shared memory to a product, so that memory moves 1.06 or 0.56 bytes a weight. A lane takes what it needs of a column in
// words; a result has the bits of the product with the 16-bit weights that the numbers stand for.
//
// Order. Every sum starts at zero and takes depth in steps of 16 from left to right, in every shape: a row has the same bits
// in a batch of any size.
//
// Work. 2 · rows · outputs · depth FLOPs; 2 · depth · outputs bytes of weights (1.06 of eight bits, 0.56 of four; once for each tile
// of rows; about five instructions more for each of eight bits and warp), 2 · depth · rows of
// activations (once for each tile of columns), 4 · rows · outputs of results. skinny is bound by the weights' bytes, large by
// arithmetic.
//
// Source: the multistage pipeline of CUTLASS 2 (efficient GEMM, "software pipelining"), mma.sync since sm_80. A path with
// wgmma and TMA for sm_90a belongs beside these shapes as one more.
#include "primitives.cuh"

struct LinearArguments {
  const u16* x;
  const float* factor;     // [rows]: what the packed row has to be multiplied by.
  const u16* weight;       // [outputs, depth], or whole numbers of the same shape.
  const u16* scales;       // Of whole numbers: [depth / 32, scale_stride] in bf16.
  const float* bias;       // [outputs] or null.
  const float* addend;     // [addend_rows, columns], repeated, or null: the residual stream, or position embeddings.
  float* out;
  u32 rows, outputs, depth, addend_rows;
  u32 columns;             // Of the result: outputs, or the pairs among them.
  u32 activation;          // What follows the bias, or is done to the gate: see activate_sums().
  u32 scale_stride;        // The outputs, and zeros up to a multiple of eight.
  u32 padding;
};

// Weights of 16 bits, as they are multiplied with.
struct Sixteen {
  static constexpr int bits = 16;
};

// Copies `width` columns of `count` rows of a matrix to a stage, step by step; rows that the matrix does not have become zeros.
// A thread copies the same chunk of every `apart`-th row: what it needs to know is worked out once.
template <int width, int count, int threads>
struct Loader {
  static constexpr int chunks = width / 8, apart = threads / chunks, copies = (count + apart - 1) / apart;
  static_assert(threads % chunks == 0 && apart % 8 == 0, "eight rows have one pattern of chunks");
  static_assert(count % apart == 0 || copies == 1, "threads share the rows evenly, or some have none");
  const u16* from;
  u64 stride;      // From one of the thread's rows to the next, in values.
  int valid;       // How many of them exist.
  int to;

  DEVICE Loader(const u16* matrix, u32 first, u32 rows, u32 depth) {
    const u32 row = threadIdx.x / chunks, chunk = threadIdx.x % chunks;
    from = matrix + (u64)(first + row) * depth + chunk * 8;
    stride = (u64)apart * depth;
    valid = first + row < rows ? (int)((rows - first - row + apart - 1) / apart) : 0;
    to = swizzled<width>(row, chunk);
  }
  DEVICE void load(u16* stage, u32 column) const {
#pragma unroll
    for (int i = 0; i < copies; i++) {
      if (count < apart && threadIdx.x >= count * chunks) return;
#ifdef MUTANT_LINEAR_DROPPED_TAIL
      copy_async(stage + to + i * apart * width, from + i * stride + column, true);
#else
      copy_async(stage + to + i * apart * width, from + i * stride + column, i < valid);
#endif
    }
  }
};

// What a lane's sums become after the bias, by number; 0 is themselves. The choice is the same for a whole grid and is made outside
// of the loops, which are unrolled so that sums stay in registers. Of a gated pair the gate alone is changed.
template <int parts, int pairs, bool gated>
DEVICE void activate_sums(u32 activation, float (&sums)[parts][pairs][2][4]) {
#ifdef MUTANT_GATE_AND_UP_SWAPPED
  constexpr int from = gated ? 4 : 0, to = 8;
#else
  constexpr int from = 0, to = gated ? 4 : 8;
#endif
#define EACH(function)                     \
  _Pragma("unroll") for (int i = 0; i < parts; i++) \
  _Pragma("unroll") for (int j = 0; j < pairs; j++) \
  _Pragma("unroll") for (int e = from; e < to; e++) sums[i][j][e / 4][e % 4] = function(sums[i][j][e / 4][e % 4]);
  if (activation == 1) {
    EACH(gelu_tanh)
  } else if (activation == 2) {
    EACH(gelu_erf)
  } else if (activation == 3) {
    EACH(silu)
  }
#undef EACH
}

// The end of one value.
DEVICE void store(const LinearArguments& a, u32 row, u32 column, float value) {
  if (column >= a.columns) return;
  if (a.addend != nullptr) value = add(value, a.addend[(u64)(row % a.addend_rows) * a.columns + column]);
  a.out[(u64)row * a.columns + column] = value;
}

template <class T, class W, int tile_rows, int tile_columns, int row_warps, int column_warps, int width, int stages, bool gated>
DEVICE void linear(const LinearArguments& a) {
  constexpr int threads = 32 * row_warps * column_warps;
  constexpr int row_parts = tile_rows / row_warps / 16, pairs = tile_columns / column_warps / 16;
  // Of weights: values of 16 bits that a column's step takes; scales of a step.
  constexpr int packed = width * W::bits / 16, scales = W::bits < 16 ? width / 32 * tile_columns : 0;
  constexpr int weights_at = tile_rows * width, scales_at = weights_at + tile_columns * packed, stage_values = scales_at + scales;
  SHARED_MEMORY(memory);
  u16* shared = (u16*)memory;
  const u32 first_row = blockIdx.y * tile_rows, first_column = blockIdx.x * tile_columns;
  const int row_warp = warp() % row_warps, column_warp = warp() / row_warps;
  const u32 steps = a.depth / width;

  float sums[row_parts][pairs][2][4];
#pragma unroll
  for (int i = 0; i < row_parts; i++)
#pragma unroll
    for (int j = 0; j < pairs; j++)
#pragma unroll
      for (int e = 0; e < 8; e++) sums[i][j][e / 4][e % 4] = 0.0f;

  const Loader<width, tile_rows, threads> load_x(a.x, first_row, a.rows, a.depth);
  const Loader<packed, tile_columns, threads> load_w(a.weight, first_column, a.outputs, a.depth * W::bits / 16);
  const auto load = [&](u32 step, u32 slot) {
    if (step < steps) {
      load_x.load(shared + slot * stage_values, step * width);
      load_w.load(shared + slot * stage_values + weights_at, step * packed);
      if constexpr (scales > 0) {
        const u32 part = threadIdx.x * 8 / tile_columns, column = threadIdx.x * 8 % tile_columns;
        const u16* from = a.scales + (u64)(step * (width / 32) + part) * a.scale_stride + first_column + column;
        u16* to = shared + slot * stage_values + scales_at + threadIdx.x * 8;
        if (threadIdx.x * 8 < scales) copy_async(to, from, first_column + column < a.scale_stride);
      }
    }
    commit_copies();   // Empty ones too: waiting counts groups.
  };
  // Where this lane's rows of 16 columns lie in a stage. The chunks of the k-th are these with a bit exchanged: 2k + c and
  // row ^ … are joined by XOR, and a row is a multiple of the width.
  const int lane_x = row_warp * row_parts * 16 * width + swizzled<width>(lane() % 16, lane() / 16);
  const int lane_w = weights_at + column_warp * pairs * 16 * width + swizzled<width>(lane() % 8 + lane() / 16 * 8, lane() / 8 % 2);
  // The same of whole numbers: lane l has a word of column l / 4, and of the eighth after it.
  const int lane_column = column_warp * pairs * 16 + lane() / 4;
  const int lane_word = swizzled<packed>(lane_column, 0) + lane() % 4 * 2;
#pragma unroll
  for (int i = 0; i < stages - 1; i++) load(i, i);
  u32 slot = 0;
  for (u32 step = 0; step < steps; step++) {
#ifdef MUTANT_LINEAR_MISSING_WAIT
    wait_copies<stages - 1>();
#else
    wait_copies<stages - 2>();
#endif
#ifndef MUTANT_LINEAR_MISSING_BARRIER
    __syncthreads();   // The stage has landed for all, and all are done with the one that is loaded next.
#endif
    load(step + stages - 1, slot == 0 ? stages - 1 : slot - 1);
    const u16* stage = shared + slot * stage_values;
    u32 words[pairs][2];
    float factors[pairs][2];
#pragma unroll
    for (int k = 0; k < width / 16; k++) {
      u32 left[row_parts][4];
#pragma unroll
      for (int i = 0; i < row_parts; i++) load_matrices(left[i], stage + (lane_x ^ k * 16) + i * 16 * width);
#pragma unroll
      for (int j = 0; j < pairs; j++) {
        u32 right[4];
        if constexpr (W::bits == 16) {
          load_matrices(right, stage + (lane_w ^ k * 16) + j * 16 * width);
        } else {
#pragma unroll
          for (int eight = 0; eight < 2; eight++) {
            constexpr int in_chunk = 8 / W::bits;
            const int column = j * 16 + eight * 8;
            u32& word = words[j][eight];
            if (k % in_chunk == 0) word = load_word(stage + weights_at + (lane_word ^ k / in_chunk * 8) + column * packed);
#ifdef MUTANT_LINEAR_SCALE_OF_NEIGHBOUR
            if (k % 2 == 0) factors[j][eight] = Bf16::unpack(stage[scales_at + k / 2 * tile_columns + (lane_column ^ 1) + column]);
#else
            if (k % 2 == 0) factors[j][eight] = Bf16::unpack(stage[scales_at + k / 2 * tile_columns + lane_column + column]);
#endif
            const float factor = factors[j][eight];
            right[eight * 2] = weights_of<T>(W::template number<0>(word, k % in_chunk), W::template number<1>(word, k % in_chunk), factor);
            right[eight * 2 + 1] = weights_of<T>(W::template number<2>(word, k % in_chunk), W::template number<3>(word, k % in_chunk), factor);
          }
        }
#pragma unroll
        for (int i = 0; i < row_parts; i++) {
          T::multiply(sums[i][j][0], left[i], right[0], right[1]);
          T::multiply(sums[i][j][1], left[i], right[2], right[3]);
        }
      }
    }
    slot = slot + 1 == stages ? 0 : slot + 1;
  }

  // Back from the scale that rows were packed with, and the bias.
#pragma unroll
  for (int i = 0; i < row_parts; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const u32 row = first_row + (row_warp * row_parts + i) * 16 + half * 8 + lane() / 4;
      const float factor = row < a.rows ? a.factor[row] : 0.0f;
#pragma unroll
      for (int j = 0; j < pairs; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float& value = sums[i][j][e / 2][half * 2 + e % 2];
          const u32 column = first_column + (column_warp * pairs + j) * 16 + e / 2 * 8 + lane() % 4 * 2 + e % 2;
          value = multiply(value, factor);
          if (!gated && a.bias != nullptr && column < a.columns) value = add(value, a.bias[column]);
        }
    }
  activate_sums<row_parts, pairs, gated>(a.activation, sums);
#pragma unroll
  for (int i = 0; i < row_parts; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const u32 row = first_row + (row_warp * row_parts + i) * 16 + half * 8 + lane() / 4;
      if (row >= a.rows) continue;
#pragma unroll
      for (int j = 0; j < pairs; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const u32 first = first_column + (column_warp * pairs + j) * 16, place = lane() % 4 * 2 + e;
          const float low = sums[i][j][0][half * 2 + e], high = sums[i][j][1][half * 2 + e];
          if (gated) {
            // Gate and up of a result lie eight columns apart: half as many results, without gaps.
            const u32 column = first / 2 + place;
            if (column < a.columns) a.out[(u64)row * a.columns + column] = multiply(low, high);
          } else {
            store(a, row, first + place, low);
            store(a, row, first + place + 8, high);
          }
        }
    }
}

// The epilogue of a product that something was added to before: out = activation(out), times what there is. A thread a value, 128 a
// block; 8 or 12 bytes a value, bound by them.
struct ActivateArguments {
  const float* times;     // [count], or null.
  float* out;             // [count]
  u64 count;
  u32 activation;
  u32 padding;
};

KERNEL(activate, 128, ActivateArguments) {
  const u64 i = (u64)blockIdx.x * 128 + threadIdx.x;
  if (i >= a.count) return;
  const float x = a.out[i];
  const float value = a.activation == 1 ? gelu_tanh(x) : a.activation == 2 ? gelu_erf(x) : silu(x);
  a.out[i] = a.times == nullptr ? value : multiply(value, a.times[i]);
}

#define LINEAR(type, weights, name, shape, threads, ...)                                                                     \
  KERNEL_BESIDE(2, linear_##name##shape##_##type, threads, LinearArguments) { linear<type, weights, __VA_ARGS__, false>(a); } \
  KERNEL_BESIDE(2, gated_##name##shape##_##type, threads, LinearArguments) { linear<type, weights, __VA_ARGS__, true>(a); }
#define LINEAR_SHAPES(type, weights, name)                           \
  LINEAR(type, weights, name, large, 256, 128, 128, 2, 4, 32, 4)     \
  LINEAR(type, weights, name, medium, 128, 64, 64, 2, 2, 32, 4)      \
  LINEAR(type, weights, name, skinny, 64, 16, 32, 1, 2, 64, 8)
#define LINEAR_WEIGHTS(type)              \
  LINEAR_SHAPES(type, Sixteen, )          \
  LINEAR_SHAPES(type, Int8, int8_)        \
  LINEAR_SHAPES(type, Int4, int4_)

LINEAR_WEIGHTS(F16)
LINEAR_WEIGHTS(Bf16)
