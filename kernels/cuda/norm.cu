// Norms over rows of f32.
//   rms_norm      out = x / √(mean(x²) + eps) · (offset + w)
//   add_rms_norm  residual += rms_norm(branch, post); out = rms_norm(residual, next)
//   add_rows      out += x · scale, a scale for each column
//   layer_norm    out = (x − mean) / √(mean((x − mean)²) + eps) · w + b
// A norm's rows go into a product next: they are written in the 16 bits that tensor cores read as well, with the bits that
// pack_rows gives them, for which the row's largest value is known here anyway.
//
// Geometry. A block of 256 threads for each row; each thread sums the values 256 apart, then warps, then the block, always in
// this order. Bytes: 4 · width for each row read and written (add_rms_norm: three read, two written); a row's second and third
// reading come from cache. 2 · depth more for 16 bits, which spare a launch and 4 · width read. About 4 FLOPs a value: bound by
// bytes. add_rows: a thread a value, 128 a block, 8 bytes in and 4 out.
//
// Source: Zhang and Sennrich 2019 (RMSNorm), with an offset of 1 in Gemma; Ba et al. 2016 (LayerNorm); Touvron et al. 2021
// (LayerScale).
#include "primitives.cuh"

struct NormArguments {
  const float* x;         // [.., width]; add_rms_norm: the branch.
  const u32* rows;        // rms_norm: which rows of x, or null for the first ones.
  const float* weight;    // [width]
  const float* bias;      // layer_norm: [width]; add_rms_norm: the next norm's weight, or null.
  float* residual;        // add_rms_norm only.
  float* out;             // [rows, width]
  u16* packed;            // [rows, depth] and [rows]: the same in 16 bits, zeros from width on, and what they have to be multiplied
  float* factor;          // by.
  u32 width, depth;
  float eps;
  float offset;           // What is added to weights: 1 or 0.
};

// A row that this block has written, in 16 bits; each thread takes what it wrote itself. `largest` is that of its own values.
template <class T>
DEVICE void pack_row(const NormArguments& a, const float* row, float largest, float* scratch) {
  float factor = 1.0f, inverse = 1.0f;
  if (T::scaled) range_factors(block_max(largest, scratch), factor, inverse);
  u16* packed = a.packed + (u64)blockIdx.x * a.depth;
  for (u32 i = threadIdx.x; i < a.width; i += 256) packed[i] = (u16)T::pack(multiply(row[i], factor), 0.0f);
#ifndef MUTANT_NORM_WITHOUT_PADDING
  for (u32 i = a.width + threadIdx.x; i < a.depth; i += 256) packed[i] = 0;
#endif
  if (threadIdx.x == 0) a.factor[blockIdx.x] = inverse;
}

DEVICE float rms_factor(const float* x, u32 width, float eps, float* scratch) {
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < width; i += 256) sum = multiply_add(x[i], x[i], sum);
  return rsqrtf(block_sum(sum, scratch) / (float)width + eps);
}

template <class T>
DEVICE void rms_norm(const NormArguments& a) {
  SHARED_MEMORY(memory);
  const u64 from = a.rows == nullptr ? blockIdx.x : a.rows[blockIdx.x];
  const float* x = a.x + from * a.width;
  const float factor = rms_factor(x, a.width, a.eps, (float*)memory);
  float* out = a.out + (u64)blockIdx.x * a.width;
  float largest = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) {
    out[i] = x[i] * factor * (a.offset + a.weight[i]);
    largest = fmaxf(largest, fabsf(out[i]));
  }
  pack_row<T>(a, out, largest, (float*)memory);
}
KERNEL(rms_norm_F16, 256, NormArguments) { rms_norm<F16>(a); }
KERNEL(rms_norm_Bf16, 256, NormArguments) { rms_norm<Bf16>(a); }

template <class T>
DEVICE void add_rms_norm(const NormArguments& a) {
  SHARED_MEMORY(memory);
  const float* branch = a.x + (u64)blockIdx.x * a.width;
  float* residual = a.residual + (u64)blockIdx.x * a.width;
  const float factor = rms_factor(branch, a.width, a.eps, (float*)memory);
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) {
    const float value = residual[i] + branch[i] * factor * (a.offset + a.weight[i]);
    residual[i] = value;
    sum = multiply_add(value, value, sum);
  }
  if (a.bias == nullptr) return;
  // Each thread reads back what it wrote itself.
  const float next = rsqrtf(block_sum(sum, (float*)memory) / (float)a.width + a.eps);
  float* out = a.out + (u64)blockIdx.x * a.width;
  float largest = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) {
    out[i] = residual[i] * next * (a.offset + a.bias[i]);
    largest = fmaxf(largest, fabsf(out[i]));
  }
  pack_row<T>(a, out, largest, (float*)memory);
}
KERNEL(add_rms_norm_F16, 256, NormArguments) { add_rms_norm<F16>(a); }
KERNEL(add_rms_norm_Bf16, 256, NormArguments) { add_rms_norm<Bf16>(a); }

template <class T>
DEVICE void layer_norm(const NormArguments& a) {
  SHARED_MEMORY(memory);
  float* scratch = (float*)memory;
  const float* x = a.x + (u64)blockIdx.x * a.width;
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) sum = add(sum, x[i]);
  const float mean = block_sum(sum, scratch) / (float)a.width;
  sum = 0.0f;
#ifdef MUTANT_MEAN_OF_SQUARES
  for (u32 i = threadIdx.x; i < a.width; i += 256) sum = multiply_add(x[i], x[i], sum);
  const float factor = rsqrtf(fmaxf(block_sum(sum, scratch) / (float)a.width - mean * mean, 0.0f) + a.eps);
#else
  for (u32 i = threadIdx.x; i < a.width; i += 256) sum = multiply_add(x[i] - mean, x[i] - mean, sum);
  const float factor = rsqrtf(block_sum(sum, scratch) / (float)a.width + a.eps);
#endif
  float* out = a.out + (u64)blockIdx.x * a.width;
  float largest = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) {
    out[i] = multiply_add((x[i] - mean) * factor, a.weight[i], a.bias[i]);
    largest = fmaxf(largest, fabsf(out[i]));
  }
  pack_row<T>(a, out, largest, (float*)memory);
}
KERNEL(layer_norm_F16, 256, NormArguments) { layer_norm<F16>(a); }
KERNEL(layer_norm_Bf16, 256, NormArguments) { layer_norm<Bf16>(a); }

struct AddArguments {
  const float* x;       // [rows, width]
  const float* scale;   // [width] or null.
  float* out;           // [rows, width]
  u32 rows, width;
};

KERNEL(add_rows, 128, AddArguments) {
  const u64 i = (u64)blockIdx.x * 128 + threadIdx.x;
  if (i >= (u64)a.rows * a.width) return;
  const float scale = a.scale == nullptr ? 1.0f : a.scale[i % a.width];
  a.out[i] = add(a.out[i], multiply(a.x[i], scale));
}
