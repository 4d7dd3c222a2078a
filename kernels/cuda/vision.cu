// What the vision tower does besides products, norms and attention.
//   pack_heads    keys and values of patches to 16 bits, [images, heads, patches, depth], as attend.cu reads them: an image is a
//                 block of a cache
//   average_pool  means of square neighbourhoods, [images, side / kernel, side / kernel, width]
//
// Geometry. A thread a value, 128 a block. Bytes: pack_heads 4 in and 2 out a value, average_pool 4 · kernel² in and 4 out. FLOPs:
// pack_heads none, average_pool kernel² + 1 a value, in the order of rows. Bound by bytes.
//
// Source: average_pool is the projector of Gemma 3 (Gemma Team 2025, arXiv:2503.19786).
#include "primitives.cuh"

struct HeadsArguments {
  const float* qkv;        // [images, patches, 3, heads, head_dim]
  u16* keys;
  u16* values;
  u32 images, patches, heads, head_dim, depth;
  u32 padding;
};

template <class T>
DEVICE void pack_heads(const HeadsArguments& a) {
  const u64 i = (u64)blockIdx.x * 128 + threadIdx.x;
  if (i >= (u64)a.images * a.heads * a.patches * a.depth) return;
  const u32 d = i % a.depth, patch = i / a.depth % a.patches, head = i / a.depth / a.patches % a.heads;
  const u64 image = i / a.depth / a.patches / a.heads;
  float key = 0.0f, value = 0.0f;
  if (d < a.head_dim) {
    const float* part = a.qkv + (((image * a.patches + patch) * 3 + 1) * a.heads + head) * a.head_dim + d;
    key = part[0];
    value = part[a.heads * a.head_dim];
  }
  a.keys[i] = (u16)T::pack(key, 0.0f);
  a.values[i] = (u16)T::pack(value, 0.0f);
}
KERNEL(pack_heads_F16, 128, HeadsArguments) { pack_heads<F16>(a); }
KERNEL(pack_heads_Bf16, 128, HeadsArguments) { pack_heads<Bf16>(a); }

struct PoolArguments {
  const float* x;          // [images, side, side, width]
  float* out;
  u32 images, side, kernel, width;
};

KERNEL(average_pool, 128, PoolArguments) {
  const u32 out_side = a.side / a.kernel;
  const u64 i = (u64)blockIdx.x * 128 + threadIdx.x;
  if (i >= (u64)a.images * out_side * out_side * a.width) return;
  const u32 d = i % a.width, x = i / a.width % out_side, y = i / a.width / out_side % out_side;
  const u64 image = i / a.width / out_side / out_side;
  float sum = 0.0f;
  for (u32 dy = 0; dy < a.kernel; dy++)
    for (u32 dx = 0; dx < a.kernel; dx++)
      sum = add(sum, a.x[((image * a.side + y * a.kernel + dy) * a.side + x * a.kernel + dx) * a.width + d]);
  a.out[i] = sum / (float)(a.kernel * a.kernel);
}
