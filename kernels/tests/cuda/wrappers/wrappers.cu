// Each wrapper of primitives.cuh alone, with arguments from known places and results to known places, for wrappers.rs.
#include "primitives.cuh"

struct Places {
  const float* floats;
  const u32* bits;
  float* out_floats;
  u32* out_bits;
};

template <class T>
DEVICE void multiply_once(const Places& a) {
  float d[4] = {a.floats[0], a.floats[1], a.floats[2], a.floats[3]};
  const u32 left[4] = {a.bits[0], a.bits[1], a.bits[2], a.bits[3]};
  T::multiply(d, left, a.bits[4], a.bits[5]);
  for (int i = 0; i < 4; i++) a.out_floats[i] = d[i];
}
KERNEL(multiply_F16, 32, Places) { multiply_once<F16>(a); }
KERNEL(multiply_Bf16, 32, Places) { multiply_once<Bf16>(a); }
KERNEL(pack_F16, 32, Places) { a.out_bits[0] = F16::pack(a.floats[0], a.floats[1]); }
KERNEL(pack_Bf16, 32, Places) { a.out_bits[0] = Bf16::pack(a.floats[0], a.floats[1]); }
KERNEL(unpack_F16, 32, Places) { a.out_floats[0] = F16::unpack((u16)a.bits[0]); }
KERNEL(power, 32, Places) { a.out_floats[0] = exp2_fast(a.floats[0]); }
KERNEL(load, 32, Places) {
  u32 r[4];
  load_matrices(r, (const void*)(u64)a.bits);
  for (int i = 0; i < 4; i++) a.out_bits[i] = r[i];
}
KERNEL(load_transposed, 32, Places) {
  u32 r[4];
  load_matrices_transposed(r, (const void*)(u64)a.bits);
  for (int i = 0; i < 4; i++) a.out_bits[i] = r[i];
}
KERNEL(copy_valid, 32, Places) { copy_async(a.out_bits, a.bits, true); }
KERNEL(copy_nothing, 32, Places) { copy_async(a.out_bits, a.bits, false); }
KERNEL(commit, 32, Places) { commit_copies(); }
KERNEL(wait_2, 32, Places) { wait_copies<2>(); }
// What is no assembly has one instruction besides loads and stores all the same.
KERNEL(unpack_Bf16, 32, Places) { a.out_floats[0] = Bf16::unpack((u16)a.bits[0]); }
KERNEL(product, 32, Places) { a.out_floats[0] = multiply(a.floats[0], a.floats[1]); }
KERNEL(sum, 32, Places) { a.out_floats[0] = add(a.floats[0], a.floats[1]); }
KERNEL(product_and_sum, 32, Places) { a.out_floats[0] = multiply_add(a.floats[0], a.floats[1], a.floats[2]); }
KERNEL(word, 32, Places) { a.out_bits[0] = load_word(a.bits + 3); }
KERNEL(infinity, 32, Places) { a.out_floats[0] = NEGATIVE_INFINITY; }
