// What the decoder does besides products, norms and attention.
//   embed              out[row] = table[id] · scale
//   rope_angles        cos and sin of position · frequency, [rows, 2, frequencies]
//   store_keys_values  queries and keys normed (offset + w, or not at all) and rotated, queries to q, keys and values to the paged cache
//
// Geometry. embed: a block of 128 threads a row. rope_angles: a thread a value, 128 a block. store_keys_values: a warp a head,
// four warps a block, grid rows × (heads + 2 · kv_heads) / 4; a lane has the pairs (i, i + head_dim / 2) that are 32 apart, as
// halves rotate against each other. Bytes: embed 2 in (1.06, 0.56 of whole numbers) and 4 out a value; store_keys_values 4 in and 4 out
// for a query's value, 4 in and 2 out for a key's or value's. FLOPs: embed 1 a value, store_keys_values 4 a value to norm it and 3 to
// rotate it, rope_angles some dozen a value. Bound by bytes.
//
// Source: Su et al. 2021 (RoPE), in the half-split form of GPT-NeoX; Gemma 3 norms queries and keys before it, Llama does not.
#include "primitives.cuh"

struct EmbedArguments {
  const u16* table;    // [vocabulary, depth], or whole numbers of this shape.
  const u16* scales;   // Of whole numbers: [depth / 32, scale_stride].
  const u32* ids;
  float* out;          // [ids, width]
  u32 width, depth;
  float scale;
  u32 scale_stride;
};

// From whole numbers: a thread takes a word and what it holds.
template <class T, class W>
DEVICE void embed_whole(const EmbedArguments& a) {
  constexpr u32 in_word = 32 / W::bits;
  const u32 id = a.ids[blockIdx.x], words = a.depth / in_word;
  const u32* from = (const u32*)a.table + (u64)id * words;
  float* out = a.out + (u64)blockIdx.x * a.width;
  for (u32 i = threadIdx.x; i < words; i += 128) {
    // Four words have 4 · in_word inputs.
    const u32 first = i / 4 * 4 * in_word + i % 4 * 2;
    if (first >= a.width) continue;
    const float scale = Bf16::unpack(a.scales[(u64)(first / 32) * a.scale_stride + id]);
#pragma unroll
    for (u32 part = 0; part < in_word / 4; part++) {
      const u32 word = from[i];
      const u32 pairs[2] = {weights_of<T>(W::template number<0>(word, part), W::template number<1>(word, part), scale),
                            weights_of<T>(W::template number<2>(word, part), W::template number<3>(word, part), scale)};
#pragma unroll
      for (u32 pair = 0; pair < 2; pair++)
#pragma unroll
        for (u32 half = 0; half < 2; half++) {
          out[first + part * 16 + pair * 8 + half] = multiply(T::unpack((u16)(pairs[pair] >> 16 * half)), a.scale);
        }
    }
  }
}
KERNEL(embed_int8_F16, 128, EmbedArguments) { embed_whole<F16, Int8>(a); }
KERNEL(embed_int8_Bf16, 128, EmbedArguments) { embed_whole<Bf16, Int8>(a); }
KERNEL(embed_int4_F16, 128, EmbedArguments) { embed_whole<F16, Int4>(a); }
KERNEL(embed_int4_Bf16, 128, EmbedArguments) { embed_whole<Bf16, Int4>(a); }

template <class T>
DEVICE void embed(const EmbedArguments& a) {
  const u16* from = a.table + (u64)a.ids[blockIdx.x] * a.depth;
  float* out = a.out + (u64)blockIdx.x * a.width;
  for (u32 i = threadIdx.x; i < a.width; i += 128) out[i] = multiply(T::unpack(from[i]), a.scale);
}
KERNEL(embed_F16, 128, EmbedArguments) { embed<F16>(a); }
KERNEL(embed_Bf16, 128, EmbedArguments) { embed<Bf16>(a); }

struct AnglesArguments {
  const u32* positions;        // [rows]
  const float* frequencies;
  float* out;
  u32 rows, frequency_count;
};

KERNEL(rope_angles, 128, AnglesArguments) {
  const u64 i = (u64)blockIdx.x * 128 + threadIdx.x;
  if (i >= (u64)a.rows * a.frequency_count) return;
  const u64 row = i / a.frequency_count, place = i % a.frequency_count;
  const float angle = multiply((float)a.positions[row], a.frequencies[place]);
  a.out[row * 2 * a.frequency_count + place] = cosf(angle);
  a.out[(row * 2 + 1) * a.frequency_count + place] = sinf(angle);
}

struct StoreArguments {
  const float* qkv;        // [rows, heads + 2 · kv_heads, head_dim]
  const float* q_norm;     // [head_dim] or null.
  const float* k_norm;
  const float* angles;     // [rows, 2, head_dim / 2]
  const u32* slots;        // [rows, 2]: block of the cache, place in it.
  float* q;                // [rows, heads, head_dim]
  u16* keys;               // [blocks, kv_heads, block_tokens, depth]; depth ≥ head_dim, zeros between.
  u16* values;
  u32 heads, kv_heads, head_dim, depth, block_tokens;
  float eps;
  float offset;            // What is added to the norms' weights: 1 or 0.
  u32 padding;
};

template <class T>
DEVICE void store_keys_values(const StoreArguments& a) {
  const u32 all = a.heads + 2 * a.kv_heads, head = blockIdx.y * 4 + warp();
  if (head >= all) return;
  const u64 row = blockIdx.x;
  const float* x = a.qkv + (row * all + head) * a.head_dim;
  const u32 half = a.head_dim / 2;
  const bool is_query = head < a.heads, is_value = head >= a.heads + a.kv_heads;
  u16* cache = nullptr;
  if (!is_query) {
    const u64 kv_head = is_value ? head - a.heads - a.kv_heads : head - a.heads;
    cache = (is_value ? a.values : a.keys) + ((a.slots[row * 2] * (u64)a.kv_heads + kv_head) * a.block_tokens + a.slots[row * 2 + 1]) * a.depth;
    for (u32 i = a.head_dim + lane(); i < a.depth; i += 32) cache[i] = 0;
  }
  if (is_value) {
    for (u32 i = lane(); i < a.head_dim; i += 32) cache[i] = (u16)T::pack(x[i], 0.0f);
    return;
  }
  const float* norm = is_query ? a.q_norm : a.k_norm;
  float factor = 1.0f;
  if (norm != nullptr) {
    float sum = 0.0f;
    for (u32 i = lane(); i < a.head_dim; i += 32) sum = multiply_add(x[i], x[i], sum);
    factor = rsqrtf(warp_sum(sum) / (float)a.head_dim + a.eps);
  }
  const float* angles = a.angles + row * a.head_dim;
  for (u32 i = lane(); i < half; i += 32) {
    float first = x[i], second = x[i + half];
    if (norm != nullptr) {
      first = first * factor * (a.offset + norm[i]);
      second = second * factor * (a.offset + norm[i + half]);
    }
    const float cosine = angles[i], sine = angles[i + half];
#ifdef MUTANT_ROTATED_BACKWARDS
    const float low = multiply_add(first, cosine, multiply(second, sine));
#else
    const float low = multiply_add(first, cosine, -multiply(second, sine));
#endif
    const float high = multiply_add(second, cosine, multiply(first, sine));
    if (is_query) {
      float* q = a.q + (row * a.heads + head) * a.head_dim;
      q[i] = low;
      q[i + half] = high;
    } else {
      cache[i] = (u16)T::pack(low, 0.0f);
      cache[i + half] = (u16)T::pack(high, 0.0f);
    }
  }
}
KERNEL(store_keys_values_F16, 128, StoreArguments) { store_keys_values<F16>(a); }
KERNEL(store_keys_values_Bf16, 128, StoreArguments) { store_keys_values<Bf16>(a); }
