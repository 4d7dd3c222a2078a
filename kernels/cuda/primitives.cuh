// The instructions that the kernels are written in: everything that is not plain C++ goes through here.
//
// On a device these are inline PTX, and no CUDA header is needed beyond what nvcc includes by itself. On the host
// (-DSIMULATOR) simulator/simulator.hpp gives each of them the meaning that the PTX manual does, one fiber a thread.
// kernels/tests/cuda/wrappers.rs checks the PTX that nvcc emits for each wrapper.
//
// Source: PTX ISA 7.0, sections 9.7.8.22 (cp.async), 9.7.13.4 (mma.sync, ldmatrix), 9.7.9.21 (cvt), 9.7.3.20 (ex2).
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef SIMULATOR
#include "simulator/simulator.hpp"
#else

#define DEVICE __device__ __forceinline__
// Dynamic shared memory: all shared memory is, so that its size is the launch's choice.
#define SHARED_MEMORY(name) extern __shared__ __align__(128) unsigned char name[]
// A kernel takes one structure by value: the same structure that the host fills in. It has threads · blocks of a multiprocessor
// to share its registers among: the compiler spills none to make room for more.
#define KERNEL_BESIDE(blocks, name, threads, arguments) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) name(const arguments a)
#define NEGATIVE_INFINITY __int_as_float(0xff800000)

// Sums are written with these wherever the compiler could fuse or not fuse a product: the same value has to come out of
// every kernel that computes it.
DEVICE float multiply(float a, float b) { return __fmul_rn(a, b); }
DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }

DEVICE u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// Starts a copy of 16 bytes from global to shared memory; writes zeros and reads nothing where `valid` is false.
DEVICE void copy_async(void* shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}
// Ends a group of copies.
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` of this thread's groups are under way.
template <int pending>
DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Four 8×8 matrices of 16-bit values; lane l of the warp points to row l % 8 of matrix l / 8, and gets of each matrix the
// two values at row l / 4, columns 2 (l % 4) and the next.
DEVICE void load_matrices(u32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
// The same, transposed: each lane gets rows 2 (l % 4) and the next of column l / 4.
DEVICE void load_matrices_transposed(u32 (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// A word of shared memory. Lanes of a warp load at the same time: the simulator counts what meets in a bank.
DEVICE u32 load_word(const void* shared) { return *(const u32*)shared; }

DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// IEEE half precision: 10 bits after the point, up to 65,504.
struct F16 {
  // Rows that are read into it are scaled by a power of two (pack.cu), since activations go beyond its range.
  static constexpr bool scaled = true;
  // Two values in one register, the first in the lower half.
  static DEVICE u32 pack(float low, float high) {
    u32 packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }
  static DEVICE float unpack(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
  }
  // d += a · b: a is 16×16, b 16×8, d 16×8 in f32.
  static DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

// The upper half of a single: 7 bits after the point, the range of f32.
struct Bf16 {
  static constexpr bool scaled = false;
  static DEVICE u32 pack(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }
  static DEVICE float unpack(u16 bits) { return __uint_as_float((u32)bits << 16); }
  static DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};
#endif  // SIMULATOR

#define KERNEL(name, threads, arguments) KERNEL_BESIDE(1, name, threads, arguments)

constexpr u32 ALL_LANES = 0xffffffffu;

DEVICE u32 lane() { return threadIdx.x & 31; }
DEVICE u32 warp() { return threadIdx.x >> 5; }

// Sums and maxima over a warp: every lane gets the same bits, since each step adds the same two numbers on both sides.
DEVICE float warp_sum(float x) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x = add(x, __shfl_xor_sync(ALL_LANES, x, step));
  return x;
}
DEVICE float warp_max(float x) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
  return x;
}
// Over the four lanes that share a row of an mma result.
DEVICE float quad_sum(float x) {
  x = add(x, __shfl_xor_sync(ALL_LANES, x, 1));
  return add(x, __shfl_xor_sync(ALL_LANES, x, 2));
}
DEVICE float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
  return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

// Over a block: warps first, then warps in order. `scratch` holds a float for each warp; a barrier separates two uses.
DEVICE float block_sum(float x, float* scratch) {
  x = warp_sum(x);
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  float sum = scratch[0];
  for (u32 i = 1; i < blockDim.x / 32; i++) sum = add(sum, scratch[i]);
  __syncthreads();
  return sum;
}

DEVICE float block_max(float x, float* scratch) {
  x = warp_max(x);
#ifdef MUTANT_MAXIMUM_OF_WARP
  return x;
#endif
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  float largest = scratch[0];
  for (u32 i = 1; i < blockDim.x / 32; i++) largest = fmaxf(largest, scratch[i]);
  __syncthreads();
  return largest;
}

// f16 ends at 65,504, and Gemma 3's activations do not. So a row of f16 is multiplied by the power of two that brings its
// largest value to [2¹⁴, 2¹⁵), and the product's rows are multiplied by the inverse: both are exact, and depend on that row
// alone. Rows of zeros, and rows that are too small or not finite, stay as they are.
DEVICE void range_factors(float largest, float& factor, float& inverse) {
  // 2^e ≤ largest < 2^(e+1).
  const int e = (int)(__float_as_uint(largest) >> 23) - 127;
  factor = inverse = 1.0f;
#ifdef MUTANT_OVERFLOW
  return;
#endif
  if (e <= -100 || e >= 128) return;
  factor = __uint_as_float((u32)(14 - e + 127) << 23);
#ifdef MUTANT_WRONG_SCALE
  inverse = __uint_as_float((u32)(e - 13 + 127) << 23);
#else
  inverse = __uint_as_float((u32)(e - 14 + 127) << 23);
#endif
}

// x · Φ(x). With z = |x| / √2 and t = 1 / (1 + z/2), erfc(z) = t · e^(P(t) − z²): the polynomial of cpu/math.rs, right to 8.3e-8
// of erfc.
DEVICE float gelu_erf(float x) {
  const float z = 0.70710678118654752f * fabsf(x), t = 1.0f / multiply_add(0.5f, z, 1.0f);
  float p = 0.14493021f;
  p = multiply_add(p, t, -0.6808272f);
  p = multiply_add(p, t, 1.1567338f);
  p = multiply_add(p, t, -0.6962519f);
  p = multiply_add(p, t, -0.08028043f);
  p = multiply_add(p, t, 0.0012675854f);
  p = multiply_add(p, t, 0.0346028f);
  p = multiply_add(p, t, 0.3866404f);
  p = multiply_add(p, t, 0.9986328f);
  p = multiply_add(p, t, -1.265448f);
  const float half = 0.5f * x * t, power = exp2_fast(1.4426950408889634f * multiply_add(-z, z, p));
  return x < 0.0f ? multiply(half, power) : multiply_add(-half, power, x);
}

// GELU in its tanh form: x/2 · (1 + tanh(u)) = x / (1 + e^(−2u)) with u = √(2/π) · (x + 0.044715 x³).
DEVICE float gelu_tanh(float x) {
  const float u = 0.7978845608028654f * multiply_add(multiply(0.044715f * x, x), x, x);
  return x / (1.0f + exp2_fast(-2.8853900817779268f * u));
}

DEVICE float silu(float x) { return x / (1.0f + exp2_fast(-1.4426950408889634f * x)); }

// Weights as whole numbers, four or two to a word: kernels/src/quantised.rs. A weight is bf16(number · scale), and is computed with
// as that, or as the f16 next to it. The numbers of 16 inputs (two times 16, for four bits) lie in memory as lanes take them: lane
// l % 4 = t gets inputs 2t, 2t + 1, 2t + 8 and 2t + 9, which is what it has of the right operand of a product.
//
// A number is put into the lower bits of 2²³, which a subtraction takes away again with what was added before it was stored.
struct Int8 {
  static constexpr int bits = 8;
  // Number `i` of 0 to 3.
  template <int i>
  static DEVICE float number(u32 word, u32) {
    return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440 + i)) - (8388608.0f + 128.0f);
  }
};
struct Int4 {
  static constexpr int bits = 4;
  // Of the first or second 16 inputs.
  template <int i>
  static DEVICE float number(u32 word, u32 second) {
#ifdef MUTANT_SECOND_SIXTEEN_FIRST
    second ^= 1;
#endif
    return __uint_as_float((word >> (16 * second + 4 * i) & 15u) | 0x4b000000u) - (8388608.0f + 8.0f);
  }
};
// Two weights as a product takes them.
template <class T>
DEVICE u32 weights_of(float low, float high, float scale) {
  const u32 rounded = Bf16::pack(multiply(low, scale), multiply(high, scale));
  if (!T::scaled) return rounded;
  return T::pack(__uint_as_float(rounded << 16), __uint_as_float(rounded & 0xffff0000u));
}

// Where the 16-byte chunk `chunk` of row `row` lies in a tile of rows of `width` 16-bit values, in values. Eight rows that
// ldmatrix reads at once lie in different banks: chunks are exchanged within a row by an XOR with the row's number.
template <int width>
DEVICE int swizzled(int row, int chunk) {
  static_assert(width % 64 == 0 || width == 8 || width == 16 || width == 32 || width == 80, "a layout for this width");
#ifdef MUTANT_NO_SWIZZLE
  return row * width + chunk * 8;
#endif
  if (width == 8) {}                                                       // Eight rows share the 128 bytes of all banks,
  else if (width == 16) chunk ^= (row >> 2) & 1;                           // or four,
  else if (width == 32) chunk ^= (row >> 1) & 3;                           // or two.
  else if (width == 80) chunk = chunk < 8 ? chunk ^ (row & 7) : 8 + ((chunk - 8) ^ ((row >> 2) & 1));
  else chunk ^= row & 7;
  return row * width + chunk * 8;
}
