// What the instructions of primitives.cuh mean, for kernels that run on the host.
//
// Products lose what tensor cores lose. Copies land as late as the program allows: until they are waited for, their target is NaN. Shared memory starts as NaN.
// Loads of matrices and of words count bank conflicts. What this cannot see: mistakes inside the inline PTX itself, and races
// between blocks.
#pragma once
#include <cmath>

#include "fibers.hpp"

using std::max;
using std::min;

#define DEVICE inline
#define __global__
#define __device__
#define __restrict__
#define __launch_bounds__(...)
struct float2 {
  float x, y;
};

#define threadIdx (simulator::Dimensions{simulator::current().thread, 0, 0})
#define blockIdx (simulator::block->block_index)
#define blockDim (simulator::block->block_size)
#define gridDim (simulator::block->grid_size)
#define SHARED_MEMORY(name) unsigned char* name = simulator::block->shared
#define NEGATIVE_INFINITY (-INFINITY)
#define KERNEL_BESIDE(blocks, name, threads, arguments)                                                       \
  extern "C" void name(const arguments a);                                                                    \
  static const simulator::Registration registration_##name(#name, threads, sizeof(arguments),                 \
                                                           [](void* a) { name(*(const arguments*)a); });      \
  extern "C" void name(const arguments a)

namespace simulator {
// A kernel by its name, as a driver finds it in a module.
struct Kernel {
  const char* name;
  unsigned threads_max;
  size_t argument_bytes;
  void (*run)(void* arguments);
};
inline std::vector<Kernel>& kernels() {
  // Never destroyed: threads may launch kernels while the process ends.
  static std::vector<Kernel>& all = *new std::vector<Kernel>;
  return all;
}
struct Registration {
  Registration(const char* name, unsigned threads_max, size_t argument_bytes, void (*run)(void*)) {
    kernels().push_back({name, threads_max, argument_bytes, run});
  }
};
}  // namespace simulator

inline void __syncthreads() {
  simulator::current().state = simulator::State::at_barrier;
  simulator::pause();
}

// The return address tells one place of the program from another, so that lanes that meet are known to be in the same one.
template <class T>
[[gnu::noinline]] T __shfl_xor_sync(u32, T value, int mask) {
  T result;
  const int source = (int)(simulator::block->current & 31) ^ mask;
  simulator::meet(simulator::Collective::shuffle, __builtin_return_address(0), &value, &result, source,
                  [](simulator::Lane* warp) {
                    for (int i = 0; i < 32; i++) *(T*)warp[i].out = *(const T*)warp[warp[i].source].in;
                  });
  return result;
}

inline float multiply(float a, float b) { return a * b; }
inline float add(float a, float b) { return a + b; }
inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline u32 __umulhi(u32 a, u32 b) { return (u64)a * b >> 32; }
inline u64 __umul64hi(u64 a, u64 b) { return (unsigned __int128)a * b >> 64; }
inline float __uint_as_float(u32 bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline u32 __float_as_uint(float value) {
  u32 bits;
  memcpy(&bits, &value, 4);
  return bits;
}
inline u32 __byte_perm(u32 low, u32 high, u32 selector) {
  const u64 bytes = (u64)high << 32 | low;
  u32 result = 0;
  for (int i = 0; i < 4; i++) result |= (u32)(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}
inline float exp2_fast(float x) { return exp2f(x); }

inline void copy_async(void* shared, const void* global, bool valid) {
  if (((uintptr_t)shared | (valid ? (uintptr_t)global : 0)) % 16 != 0) simulator::fail("a copy of 16 bytes is not aligned");
  simulator::counts.copies++;
  memset(shared, 0xff, 16);
  simulator::current().open.push_back({shared, global, valid});
}
inline void commit_copies() {
  simulator::Lane& lane = simulator::current();
  lane.groups.push_back(std::move(lane.open));
  lane.open.clear();
}
template <int pending>
inline void wait_copies() {
  simulator::Lane& lane = simulator::current();
  while ((int)lane.groups.size() > pending) {
    for (const simulator::Copy& copy : lane.groups.front()) {
      if (copy.valid) memcpy(copy.to, copy.from, 16);
      else memset(copy.to, 0, 16);
    }
    lane.groups.erase(lane.groups.begin());
  }
}

namespace simulator {
template <bool transposed>
inline void load(u32 (&r)[4], const void* row, const void* site) {
  if ((uintptr_t)row % 16 != 0) fail("a row of ldmatrix is not aligned");
  meet(Collective::load_matrices, site, row, r, 0, [](Lane* warp) {
    counts.matrix_loads++;
    for (int m = 0; m < 4; m++) {
      uint16_t matrix[8][8];
      int banks[8] = {}, worst = 1;
      for (int i = 0; i < 8; i++) {
        const void* from = warp[m * 8 + i].in;
        memcpy(matrix[i], from, 16);
        worst = std::max(worst, ++banks[(uintptr_t)from / 16 % 8]);
      }
      counts.bank_conflicts += worst - 1;
      for (int l = 0; l < 32; l++) {
        const int row = l / 4, column = l % 4 * 2;
        const u32 low = transposed ? matrix[column][row] : matrix[row][column];
        const u32 high = transposed ? matrix[column + 1][row] : matrix[row][column + 1];
        ((u32*)warp[l].out)[m] = low | high << 16;
      }
    }
  });
}

struct Operands {
  const u32* a;
  u32 b[2];
};

// How a tensor core adds up, as measured by Fasi, Higham, Mikaitis and Pranesh (2021): products are exact; so many of them and the
// sum so far are brought to the largest exponent among them, where each keeps the bits of an f32 and a few more and loses the rest
// toward zero; and so does their sum. Eight at a time on an A100, sixteen on an H100. Nothing is rounded to the nearest, so that
// errors of long sums do not cancel.
struct TensorCore {
  int terms = 8;
  int more_bits = 1;
};
inline TensorCore tensor_core;

// c += a · b for eight columns, with so many terms as are added at once.
inline void add_products(float (&c)[8], const float* a, const float (*b)[8]) {
  double terms[17][8], largest[8], sum[8] = {};
  const int count = tensor_core.terms;
  for (int j = 0; j < 8; j++) largest[j] = fabs(terms[0][j] = c[j]);
  for (int k = 0; k < count; k++)
    for (int j = 0; j < 8; j++) {
      terms[k + 1][j] = (double)a[k] * b[k][j];
      largest[j] = max(largest[j], fabs(terms[k + 1][j]));
    }
  for (int k = 0; k <= count; k++)
    for (int j = 0; j < 8; j++) sum[j] += terms[k][j];
  // A power of two for each column: the largest term has 24 bits from it on, and those more.
  double unit[8], units[8], total[8] = {};
  for (int j = 0; j < 8; j++) {
    u64 bits;
    memcpy(&bits, &largest[j], 8);
    bits = (bits & 0x7ffull << 52) - ((u64)(23 + tensor_core.more_bits) << 52);
    memcpy(&unit[j], &bits, 8);
    // Where there is nothing, and where something is no number, there is nothing to cut off.
    if (!(largest[j] > 0) || !std::isfinite(sum[j])) unit[j] = 1;
    units[j] = 1 / unit[j];
  }
  for (int k = 0; k <= count; k++)
    for (int j = 0; j < 8; j++) total[j] += trunc(terms[k][j] * units[j]);
  for (int j = 0; j < 8; j++) {
    total[j] *= unit[j];
    u64 bits;
    memcpy(&bits, &total[j], 8);
    bits &= ~((1ull << 29) - 1);
    memcpy(&total[j], &bits, 8);
    c[j] = std::isfinite(sum[j]) ? (float)total[j] : (float)sum[j];
  }
}

// d += a · b over a warp, with the layout of fragments of PTX ISA figure "m16n8k16".
template <class T>
inline void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, const void* site) {
  const Operands operands{a, {b0, b1}};
  meet(Collective::mma, site, &operands, d, 0, [](Lane* warp) {
    counts.mma++;
    float a[16][16], b[16][8], c[16][8] = {};
    for (int l = 0; l < 32; l++) {
      const Operands* o = (const Operands*)warp[l].in;
      const int group = l / 4, two = l % 4 * 2;
      for (int half = 0; half < 2; half++) {
        const auto value = [half](u32 packed) { return T::unpack((u16)(packed >> 16 * half)); };
        a[group][two + half] = value(o->a[0]);
        a[group + 8][two + half] = value(o->a[1]);
        a[group][two + 8 + half] = value(o->a[2]);
        a[group + 8][two + 8 + half] = value(o->a[3]);
        b[two + half][group] = value(o->b[0]);
        b[two + 8 + half][group] = value(o->b[1]);
      }
    }
    for (int l = 0; l < 32; l++) {
      const float* d = (const float*)warp[l].out;
      const int group = l / 4, two = l % 4 * 2;
      for (int half = 0; half < 2; half++) {
        c[group][two + half] = d[half];
        c[group + 8][two + half] = d[2 + half];
      }
    }
    for (int i = 0; i < 16; i++)
      for (int k = 0; k < 16; k += tensor_core.terms) add_products(c[i], a[i] + k, b + k);
    for (int l = 0; l < 32; l++) {
      float* d = (float*)warp[l].out;
      const int group = l / 4, two = l % 4 * 2;
      for (int half = 0; half < 2; half++) {
        d[half] = c[group][two + half];
        d[2 + half] = c[group + 8][two + half];
      }
    }
  });
}
}  // namespace simulator

[[gnu::noinline]] inline void load_matrices(u32 (&r)[4], const void* row) {
  simulator::load<false>(r, row, __builtin_return_address(0));
}
[[gnu::noinline]] inline void load_matrices_transposed(u32 (&r)[4], const void* row) {
  simulator::load<true>(r, row, __builtin_return_address(0));
}

[[gnu::noinline]] inline u32 load_word(const void* from) {
  u32 result;
  simulator::meet(simulator::Collective::load_word, __builtin_return_address(0), from, &result, 0, [](simulator::Lane* warp) {
    simulator::counts.word_loads++;
    int worst = 1;
    for (int bank = 0; bank < 32; bank++) {
      // Lanes that load the same word share it.
      const void* words[32];
      int count = 0;
      for (int l = 0; l < 32; l++) {
        const void* word = warp[l].in;
        if ((int)((uintptr_t)word / 4 % 32) == bank && std::find(words, words + count, word) == words + count) words[count++] = word;
      }
      worst = std::max(worst, count);
    }
    simulator::counts.bank_conflicts += worst - 1;
    for (int l = 0; l < 32; l++) *(u32*)warp[l].out = *(const u32*)warp[l].in;
  });
  return result;
}

struct F16 {
  static constexpr bool scaled = true;
  static u16 round(float value) {
    const _Float16 half = (_Float16)value;
    u16 bits;
    memcpy(&bits, &half, 2);
    return bits;
  }
  static u32 pack(float low, float high) { return round(low) | (u32)round(high) << 16; }
  static float unpack(u16 bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return (float)half;
  }
  [[gnu::noinline]] static void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    simulator::multiply<F16>(d, a, b0, b1, __builtin_return_address(0));
  }
};

struct Bf16 {
  static constexpr bool scaled = false;
  // To the nearest, ties to even.
  static u16 round(float value) {
    const u32 bits = __float_as_uint(value);
    if (value != value) return (u16)(bits >> 16 | 0x40);
    return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  static u32 pack(float low, float high) { return round(low) | (u32)round(high) << 16; }
  static float unpack(u16 bits) { return __uint_as_float((u32)bits << 16); }
  [[gnu::noinline]] static void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    simulator::multiply<Bf16>(d, a, b0, b1, __builtin_return_address(0));
  }
};
