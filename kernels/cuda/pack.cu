// Activations and pictures to the 16-bit rows that tensor cores read.
//
// f16 ends at 65,504, and Gemma 3's activations do not. So a row of f16 is multiplied by the power of two that brings its
// largest value to [2¹⁴, 2¹⁵), and the product's rows are multiplied by the inverse: both are exact, and depend on that row
// alone. bf16 has the range of f32; its factor is 1.
//
// Geometry. A block of 128 threads for each row. Bytes: 4 read (twice for f16, the second time from cache) and 2 written for
// each value. No FLOPs to speak of.
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
  float* largest_of_warp = (float*)memory;
  const u64 row = blockIdx.x;
  float factor = 1.0f, inverse = 1.0f;
  if (T::scaled) {
    float largest = 0.0f;
    for (u32 i = threadIdx.x; i < a.width; i += 128) largest = fmaxf(largest, fabsf(packed_value<patches>(a, row, i)));
    largest = warp_max(largest);
    if (lane() == 0) largest_of_warp[warp()] = largest;
    __syncthreads();
    for (int i = 0; i < 4; i++) largest = fmaxf(largest, largest_of_warp[i]);
    // 2^e ≤ largest < 2^(e+1). Rows of zeros, and rows that are too small or not finite, stay as they are.
    const int e = (int)(__float_as_uint(largest) >> 23) - 127;
#ifdef MUTANT_OVERFLOW
    if (false) {
#else
    if (e > -100 && e < 128) {
#endif
      factor = __uint_as_float((u32)(14 - e + 127) << 23);
#ifdef MUTANT_WRONG_SCALE
      inverse = __uint_as_float((u32)(e - 13 + 127) << 23);
#else
      inverse = __uint_as_float((u32)(e - 14 + 127) << 23);
#endif
    }
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
