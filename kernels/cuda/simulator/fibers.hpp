// The scheduler of the simulator: one fiber for each CUDA thread of a block, all on one thread of the host.
//
// It is adversarial where a GPU is merely free: warps run in a seeded order, each as far as it can get alone; barriers and
// warp collectives are the only meeting points; lanes that meet in different collectives, or never, abort the process.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#if !defined(__x86_64__)
#error "the simulator switches fibers with x86-64 assembly: add simulator_switch for this processor"
#endif
extern "C" void simulator_switch(void** from_stack, void* to_stack);

namespace simulator {

struct Dimensions {
  uint32_t x = 1, y = 1, z = 1;
};

// What a launch has done so far, for tests that assert counts.
struct Counts {
  uint64_t launches = 0, mma = 0, matrix_loads = 0, bank_conflicts = 0, copies = 0, barriers = 0, word_loads = 0;
};

enum class Collective { none, shuffle, mma, load_matrices, load_word };
enum class State : uint8_t { ready, in_collective, at_barrier, done };

// An asynchronous copy of 16 bytes that has not landed.
struct Copy {
  void* to;
  const void* from;
  bool valid;
};

struct Lane {
  void* stack = nullptr;
  State state = State::ready;
  uint32_t thread = 0;
  // What the lane brings to the collective it waits in.
  Collective collective = Collective::none;
  const void* site = nullptr;
  const void* in = nullptr;
  void* out = nullptr;
  int source = 0;
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};

struct Block {
  static constexpr size_t STACK_BYTES = 64 << 10;

  std::vector<Lane> lanes;
  std::vector<char> stacks;
  void* scheduler_stack = nullptr;
  unsigned current = 0;
  std::function<void()> body;
  uint32_t arrived[32] = {};
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  Dimensions block_index, block_size, grid_size;
  uint64_t random = 1;
};

inline Block* block = nullptr;
inline Counts counts;
inline uint64_t seed = 1;

inline Lane& current() { return block->lanes[block->current]; }

[[noreturn]] inline void fail(const char* what) {
  const Dimensions& b = block->block_index;
  fprintf(stderr, "simulator: %s (block %u,%u,%u, thread %u)\n", what, b.x, b.y, b.z, block->current);
  abort();
}

inline void pause() {
  Lane& lane = current();
  simulator_switch(&lane.stack, block->scheduler_stack);
}

inline void fiber() {
  block->body();
  Lane& lane = current();
  const bool pending = std::any_of(lane.groups.begin(), lane.groups.end(), [](auto& group) { return !group.empty(); });
  if (!lane.open.empty() || pending) fail("a thread ends with copies that it never waited for");
  lane.state = State::done;
  pause();
  abort();
}

// Waits for all 32 lanes of the warp; the last to arrive computes for all.
template <class Compute>
inline void meet(Collective collective, const void* site, const void* in, void* out, int source, Compute&& compute) {
  Lane& lane = current();
  const unsigned first = block->current & ~31u;
  lane.collective = collective;
  lane.site = site;
  lane.in = in;
  lane.out = out;
  lane.source = source;
  lane.state = State::in_collective;
  uint32_t& arrived = block->arrived[first / 32];
  arrived |= 1u << (block->current & 31);
  if (arrived != 0xffffffffu) return pause();
  arrived = 0;
  Lane* warp = &block->lanes[first];
  for (int i = 0; i < 32; i++) {
    if (warp[i].collective != collective || warp[i].site != site) fail("lanes of one warp meet in different collectives");
  }
  compute(warp);
  for (int i = 0; i < 32; i++) warp[i].state = State::ready;
}

inline uint64_t next_random() {
  uint64_t& x = block->random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

inline void prepare_fibers() {
  for (unsigned i = 0; i < block->lanes.size(); i++) {
    Lane& lane = block->lanes[i];
    lane.state = State::ready;
    lane.thread = i;
    lane.open.clear();
    lane.groups.clear();
    void** top = (void**)((uintptr_t)(block->stacks.data() + (i + 1) * Block::STACK_BYTES) & ~(uintptr_t)15);
    *--top = nullptr;
    *--top = (void*)&fiber;
    top -= 6;  // The registers that a switch restores.
    memset(top, 0, 6 * sizeof(void*));
    lane.stack = top;
  }
  memset(block->arrived, 0, sizeof block->arrived);
}

// Runs one block to its end.
inline void run_block() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(block->stacks.data(), block->stacks.size());
#endif
  // All ones is NaN as f16, bf16 and f32: whoever reads what was not written sees it.
  memset(block->shared, 0xff, block->shared_bytes);
  prepare_fibers();
  const unsigned threads = block->lanes.size(), warps = threads / 32;
  std::vector<unsigned> order(warps);
  for (unsigned i = 0; i < warps; i++) order[i] = i;
  for (;;) {
    for (unsigned i = warps; i > 1; i--) std::swap(order[i - 1], order[next_random() % i]);
    bool progress = false;
    for (unsigned w : order) {
      for (bool any = true; any;) {
        any = false;
        for (unsigned i = w * 32; i < w * 32 + 32; i++) {
          if (block->lanes[i].state != State::ready) continue;
          block->current = i;
          simulator_switch(&block->scheduler_stack, block->lanes[i].stack);
          any = progress = true;
        }
      }
    }
    unsigned done = 0, waiting = 0;
    for (const Lane& lane : block->lanes) {
      done += lane.state == State::done;
      waiting += lane.state == State::at_barrier;
    }
    if (done == threads) return;
    if (waiting + done == threads) {
      if (done > 0) fail("a barrier that some threads of the block never reach");
      counts.barriers++;
      for (Lane& lane : block->lanes) lane.state = State::ready;
    } else if (!progress) {
      fail("deadlock: lanes wait in different collectives or barriers");
    }
  }
}

// Runs all blocks of a grid, one after the other.
inline void launch(Dimensions grid, unsigned threads, size_t shared_bytes, std::function<void()> body) {
  Block run;
  block = &run;
  if (threads % 32 != 0 || threads == 0 || threads > 1024) fail("a block is 1 to 32 whole warps here");
  run.lanes.resize(threads);
  run.stacks.resize(threads * Block::STACK_BYTES);
  run.body = std::move(body);
  run.random = (seed + counts.launches) * 0x9e3779b97f4a7c15ull | 1;
  run.grid_size = grid;
  run.block_size = {threads, 1, 1};
  run.shared_bytes = shared_bytes;
  // The next multiple of the alignment, and no byte more: a sanitizer sees what lies beyond.
  if (posix_memalign((void**)&run.shared, 128, std::max<size_t>(shared_bytes, 1)) != 0) fail("no memory");
  counts.launches++;
  for (uint32_t z = 0; z < grid.z; z++)
    for (uint32_t y = 0; y < grid.y; y++)
      for (uint32_t x = 0; x < grid.x; x++) {
        run.block_index = {x, y, z};
        run_block();
      }
  free(run.shared);
  block = nullptr;
}
}  // namespace simulator
