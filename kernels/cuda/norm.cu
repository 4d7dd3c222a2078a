// Norms over rows of f32.
//   rms_norm      out = x / √(mean(x²) + eps) · (offset + w)
//   add_rms_norm  residual += rms_norm(branch, post); out = rms_norm(residual, next)
//   add_rows      out += x · scale, a scale for each column
//   layer_norm    out = (x − mean) / √(mean((x − mean)²) + eps) · w + b
//
// Geometry. A block of 256 threads for each row; each thread sums the values 256 apart, then warps, then the block, always in
// this order. Bytes: 4 · width for each row read and written (add_rms_norm: three read, two written); a row's second and third
// reading come from cache. About 4 FLOPs a value: bound by bytes. add_rows: a thread a value, 128 a block, 8 bytes in and 4 out.
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
  u32 width;
  float eps;
  float offset;           // What is added to weights: 1 or 0.
  u32 padding;
};

DEVICE float rms_factor(const float* x, u32 width, float eps, float* scratch) {
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < width; i += 256) sum = multiply_add(x[i], x[i], sum);
  return rsqrtf(block_sum(sum, scratch) / (float)width + eps);
}

KERNEL(rms_norm, 256, NormArguments) {
  SHARED_MEMORY(memory);
  const u64 from = a.rows == nullptr ? blockIdx.x : a.rows[blockIdx.x];
  const float* x = a.x + from * a.width;
  const float factor = rms_factor(x, a.width, a.eps, (float*)memory);
  float* out = a.out + (u64)blockIdx.x * a.width;
  for (u32 i = threadIdx.x; i < a.width; i += 256) out[i] = x[i] * factor * (a.offset + a.weight[i]);
}

KERNEL(add_rms_norm, 256, NormArguments) {
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
  for (u32 i = threadIdx.x; i < a.width; i += 256) out[i] = residual[i] * next * (a.offset + a.bias[i]);
}

KERNEL(layer_norm, 256, NormArguments) {
  SHARED_MEMORY(memory);
  float* scratch = (float*)memory;
  const float* x = a.x + (u64)blockIdx.x * a.width;
  float sum = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) sum = add(sum, x[i]);
  const float mean = block_sum(sum, scratch) / (float)a.width;
  sum = 0.0f;
  for (u32 i = threadIdx.x; i < a.width; i += 256) sum = multiply_add(x[i] - mean, x[i] - mean, sum);
  const float factor = rsqrtf(block_sum(sum, scratch) / (float)a.width + a.eps);
  float* out = a.out + (u64)blockIdx.x * a.width;
  for (u32 i = threadIdx.x; i < a.width; i += 256) out[i] = multiply_add((x[i] - mean) * factor, a.weight[i], a.bias[i]);
}

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
