// Activations and pictures to the 16-bit rows that tensor cores read: out[row][i] = x[row][i] · 2^k, with 2^-k in factor[row].
//
// Shapes. pack_rows: x is f32, [rows, width]. pack_patches: x is [images, channels, side, side], and a row is one patch of it,
// [channels, patch, patch]. out is 16-bit, [rows, depth], zeros from width on.
//
// Rows of f16 are scaled to its range: see range_factors(). bf16 has the range of f32; its factor is 1. Rows that a norm writes are
// packed by the norm itself (norm.cu).
//
// Geometry. A block of 128 threads for each row. Bytes: 4 read (twice for f16, the second time from cache) and 2 written for
// each value. FLOPs: a comparison and a product for each value of f16, none in bf16. Bound by bytes.
//
// Source: patches as rows of a product, Dosovitskiy et al. 2020 (ViT); a factor for each row, Dettmers et al. 2022 (LLM.int8), here a
// power of two, so that it rounds nothing.
#include "primitives.cuh"

struct PackArguments {
  const float* x;        // pack_rows: [rows, width]; pack_patches: pictures [images, channels, side, side].
  u16* out;              // [rows, depth]: zeros from width on.
  float* factor;         // [rows]
  u32 width, depth;
  u32 side, patch;       // pack_patches only: a row is a patch [channels, patch, patch].
};

// The value in place `i` of a row.
template <bool patches>
DEVICE float packed_value(const PackArguments& a, u64 row, u32 i) {
  if (i >= a.width) return 0.0f;
  if (!patches) return a.x[row * a.width + i];
  const u32 grid = a.side / a.patch, area = a.patch * a.patch, channels = a.width / area;
  const u32 image = row / (grid * grid), place = row % (grid * grid), channel = i / area;
  const u32 y = place / grid * a.patch + i / a.patch % a.patch, x = place % grid * a.patch + i % a.patch;
  return a.x[(((u64)image * channels + channel) * a.side + y) * a.side + x];
}

template <class T, bool patches>
DEVICE void pack(const PackArguments& a) {
  SHARED_MEMORY(memory);
  const u64 row = blockIdx.x;
  float factor = 1.0f, inverse = 1.0f;
  if (T::scaled) {
    float largest = 0.0f;
    for (u32 i = threadIdx.x; i < a.width; i += 128) largest = fmaxf(largest, fabsf(packed_value<patches>(a, row, i)));
    range_factors(block_max(largest, (float*)memory), factor, inverse);
  }
  for (u32 i = threadIdx.x * 2; i < a.depth; i += 256) {
    const float low = packed_value<patches>(a, row, i), high = packed_value<patches>(a, row, i + 1);
    *(u32*)(a.out + row * a.depth + i) = T::pack(multiply(low, factor), multiply(high, factor));
  }
  if (threadIdx.x == 0) a.factor[row] = inverse;
}

KERNEL(pack_rows_F16, 128, PackArguments) { pack<F16, false>(a); }
KERNEL(pack_rows_Bf16, 128, PackArguments) { pack<Bf16, false>(a); }
KERNEL(pack_patches_F16, 128, PackArguments) { pack<F16, true>(a); }
KERNEL(pack_patches_Bf16, 128, PackArguments) { pack<Bf16, true>(a); }
