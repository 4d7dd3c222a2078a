// A token for each row of scores, and what is needed to say how likely it was: the host gets some dozen bytes instead of a row of
// f32 as long as the vocabulary.
//   greedy    the allowed token with the largest score, the lower of equal ones
//   drawn     allowed tokens in falling order of score (of equal ones the lower token first), each with the weight
//             e^((score − largest) / temperature); of them the shortest beginning that has `top_p` of all weight or `top_k` tokens;
//             of that the token at which the sum of weights passes `unit` of its whole
// and in both cases the largest scores and the sums of e^(score − largest), over all tokens and over the allowed ones, which the
// host makes log-probabilities of in f64; and the most likely allowed tokens with their scores.
//
// Shapes. scores [rows, vocabulary] f32; masks [masked rows, words], a bit for each token, the lowest first. A row is cut into
// chunks of 4,096 tokens.
//
// Order. Weights are whole multiples of 2⁻⁴⁰ of the largest one, so sums are exact: the same bits in any order, and a row's result
// depends on that row alone. 2¹⁸ tokens need 58 bits; a token with less than 2⁻⁴⁰ of the likeliest one's weight has none.
//
// Geometry. Blocks of 256 threads; grid (chunks, rows), but choose_finish one block a row.
//   choose_largest   the largest scores of each chunk
//   choose_sums      sums of each chunk
//   choose_narrow    drawn rows only, once for each step: a search for the score at which the sum of weights passes a target. It
//                    settles four bits of the score at a time, from the first on: each block sums weights by the next four bits, and
//                    the next launch's blocks all add these up and go on in the one of 16 bins where the target is passed. Steps 0–7
//                    look for the nucleus' end (left out where no row has one), steps 8–15 for the token's score, step 16 counts the
//                    tokens of this very score in each chunk. Searching by bits needs no sorted copy of a row and no atomic sums.
//   choose_finish    puts chunks together, finds the token, and the most likely ones: the best of the chunks' best, then the next of
//                    that chunk, and so on
//
// Bytes. 4 · vocabulary for each row read by choose_largest, again by choose_sums (from the L2 cache where rows fit), by each step of
// a drawn row, and 16 KiB for each of the likely tokens; vocabulary / 8 for a mask each time. FLOPs: about 10 a token in choose_sums,
// 70 a token and step. Bound by bytes, and by the 3 to 20 launches.
//
// Source: radix select (Alabi et al. 2012), on sums of weights in place of counts; nucleus: Holtzman et al. 2019.
#include "primitives.cuh"

constexpr u32 CHUNK = 4096, THREADS = 256, BINS = 16, DIGITS = 8, STEPS = 2 * DIGITS + 1, NO_MASK = 0xffffffffu;
// The key of what is no finite score: above all others.
constexpr u32 NOT_FINITE = 0xffffffffu;

// What is asked of a row.
struct ChooseRow {
  u64 top_p, unit;      // In parts of 2⁶⁴; all ones for a top_p that leaves nothing out.
  u32 mask;             // Which of the masks, or NO_MASK.
  u32 top_k;            // All ones for no limit.
  u32 likely;           // How many of the most likely tokens are wanted.
  float scale;          // log₂(e) / temperature; 0 for the most likely token.
};
// Of a chunk: the largest key above the inverted token, over all and over the allowed.
struct Largest {
  u64 all, allowed;
};
// Of a chunk: sums of weights; the last at the row's temperature.
struct Sums {
  u64 all, allowed, tempered;
};
// Of a chunk and four bits of the score.
struct Bin {
  u64 sum, count;
};
// How far a search is.
struct Place {
  u64 target;           // The sum of weights that is passed at what is looked for …
  u64 limit;            // … or the number of tokens that is reached there.
  u64 sum, count;       // Of tokens with larger scores.
  u64 equal_sum, equal; // Of tokens in the bin that was taken last.
  u32 key, padding;
};
struct Chosen {
  u64 all, allowed;                       // Sums, in parts of 2⁻⁴⁰.
  float all_largest, allowed_largest;
  float score;
  u32 token;
  u32 status;                             // 0: chosen; 1: a score is not finite; 2: nothing is allowed.
  u32 likely;                             // How many of them there are.
};
struct Likely {
  u32 token;
  float score;
};
struct ChooseArguments {
  const float* scores;
  const u32* masks;
  const ChooseRow* rows;
  Largest* largest;     // [rows, chunks]
  Sums* sums;           // [rows, chunks]
  Bin* bins;            // [2, rows, chunks, 16]: a step reads what the step before it wrote.
  Place* places;        // [rows, steps]
  Chosen* chosen;       // [rows]
  Likely* likely;       // [rows, most_likely]
  u32 vocabulary, words, chunks, row_count;
  u32 excluded;         // A token that counts as if its score were −∞ and is never chosen; all ones where there is none.
  u32 most_likely;
  u32 step;
  u32 first_step;       // 0, or 8 where no row has a nucleus.
};

// One row, as the threads of a block see it.
struct Row {
  const float* scores;
  const u32* mask;      // Or null.
  u32 vocabulary, excluded;

  DEVICE Row(const ChooseArguments& a, u32 row) {
    scores = a.scores + (u64)row * a.vocabulary;
    const u32 masked = a.rows[row].mask;
    mask = masked == NO_MASK ? nullptr : a.masks + (u64)masked * a.words;
    vocabulary = a.vocabulary;
    excluded = a.excluded;
  }
#ifdef MUTANT_CHOOSE_DROPPED_TAIL
  DEVICE bool has(u32 token) const { return token != excluded; }
#else
  DEVICE bool has(u32 token) const { return token < vocabulary && token != excluded; }
#endif
  DEVICE bool allows(u32 token) const {
#ifdef MUTANT_CHOOSE_UNMASKED
    return true;
#else
    return mask == nullptr || (mask[token / 32] >> token % 32 & 1) != 0;
#endif
  }
};

// A number that rises with the score, from −0 to 0 too; 0 belongs to no score.
DEVICE u32 key_of(float score) {
  if (!(score < -NEGATIVE_INFINITY)) return NOT_FINITE;
  const u32 bits = __float_as_uint(score);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
DEVICE float score_of(u32 key) { return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key); }
// Rises with the score, and of equal ones falls with the token.
DEVICE u64 rank_of(u32 key, u32 token) {
#ifdef MUTANT_CHOOSE_LATER_OF_EQUALS
  return (u64)key << 32 | token;
#else
  return (u64)key << 32 | (u32)~token;
#endif
}
DEVICE u32 key_in(u64 rank) { return (u32)(rank >> 32); }
DEVICE u32 token_in(u64 rank) {
#ifdef MUTANT_CHOOSE_LATER_OF_EQUALS
  return (u32)rank;
#else
  return ~(u32)rank;
#endif
}

// e^(…) in parts of 2⁻⁴⁰ of the largest one.
DEVICE u64 weight_of(float score, float largest, float scale) {
  // The largest one has the whole, also at a temperature so low that the scale is infinite.
  if (score == largest) return 1ull << 40;
  return (u64)multiply(exp2_fast(multiply(score - largest, scale)), 1099511627776.0f);
}
constexpr float LOG2_E = 1.4426950408889634f;

DEVICE u64 largest_of(u64 a, u64 b) { return a > b ? a : b; }

DEVICE u64 block_sum(u64 x, u64* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(ALL_LANES, x, step);
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  u64 sum = 0;
  for (u32 i = 0; i < THREADS / 32; i++) sum += scratch[i];
  __syncthreads();
  return sum;
}
DEVICE u64 block_max(u64 x, u64* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) x = largest_of(x, __shfl_xor_sync(ALL_LANES, x, step));
  if (lane() == 0) scratch[warp()] = x;
  __syncthreads();
  u64 largest = 0;
  for (u32 i = 0; i < THREADS / 32; i++) largest = largest_of(largest, scratch[i]);
  __syncthreads();
  return largest;
}

KERNEL(choose_largest, 256, ChooseArguments) {
  SHARED_MEMORY(memory);
  const Row row(a, blockIdx.y);
  u64 all = 0, allowed = 0;
#pragma unroll
  for (u32 i = 0; i < CHUNK; i += THREADS) {
    const u32 token = blockIdx.x * CHUNK + i + threadIdx.x;
    if (!row.has(token)) continue;
    const u64 rank = rank_of(key_of(row.scores[token]), token);
    all = largest_of(all, rank);
    if (row.allows(token)) allowed = largest_of(allowed, rank);
  }
  all = block_max(all, (u64*)memory);
  allowed = block_max(allowed, (u64*)memory);
  if (threadIdx.x == 0) a.largest[(u64)blockIdx.y * a.chunks + blockIdx.x] = {all, allowed};
}

// The largest ranks of a row.
DEVICE Largest largest_of_row(const ChooseArguments& a, u32 row, u64* scratch) {
  u64 all = 0, allowed = 0;
  for (u32 chunk = threadIdx.x; chunk < a.chunks; chunk += THREADS) {
    const Largest largest = a.largest[(u64)row * a.chunks + chunk];
    all = largest_of(all, largest.all);
    allowed = largest_of(allowed, largest.allowed);
  }
  all = block_max(all, scratch);
  return {all, block_max(allowed, scratch)};
}

KERNEL(choose_sums, 256, ChooseArguments) {
  SHARED_MEMORY(memory);
  const Row row(a, blockIdx.y);
  const Largest largest = largest_of_row(a, blockIdx.y, (u64*)memory);
  const float all_largest = score_of(key_in(largest.all)), allowed_largest = score_of(key_in(largest.allowed));
  const float scale = a.rows[blockIdx.y].scale;
  u64 all = 0, allowed = 0, tempered = 0;
  // Of scores that are not finite nothing is kept.
  if (key_in(largest.all) != NOT_FINITE) {
#pragma unroll 4
    for (u32 i = 0; i < CHUNK; i += THREADS) {
      const u32 token = blockIdx.x * CHUNK + i + threadIdx.x;
      if (!row.has(token)) continue;
      const float score = row.scores[token];
      all += weight_of(score, all_largest, LOG2_E);
      if (!row.allows(token)) continue;
      allowed += weight_of(score, allowed_largest, LOG2_E);
      if (scale != 0.0f) tempered += weight_of(score, allowed_largest, scale);
    }
  }
  all = block_sum(all, (u64*)memory);
  allowed = block_sum(allowed, (u64*)memory);
  tempered = block_sum(tempered, (u64*)memory);
  if (threadIdx.x == 0) a.sums[(u64)blockIdx.y * a.chunks + blockIdx.x] = {all, allowed, tempered};
}

// The bins that a step writes.
DEVICE Bin* bins_of(const ChooseArguments& a, u32 step, u32 row, u32 chunk) {
#ifdef MUTANT_CHOOSE_ONE_BUFFER
  const u64 buffer = 0;
#else
  const u64 buffer = step & 1;
#endif
  return a.bins + ((buffer * a.row_count + row) * a.chunks + chunk) * BINS;
}

// How far the search of a row is at the beginning of a step; every block of the row finds the same.
DEVICE Place place_at(const ChooseArguments& a, u32 row, u64 total, unsigned char* memory) {
  Bin* shared = (Bin*)memory;   // [16, 16]: parts of the chunks, bins.
  Place* found = (Place*)(shared + THREADS);
  const ChooseRow asked = a.rows[row];
  if (a.step > a.first_step) {
    Bin part = {0, 0};
#ifdef MUTANT_CHOOSE_FIRST_CHUNKS
    for (u32 chunk = threadIdx.x / BINS; chunk < a.chunks; chunk += a.chunks) {
#else
    for (u32 chunk = threadIdx.x / BINS; chunk < a.chunks; chunk += THREADS / BINS) {
#endif
      const Bin bin = bins_of(a, a.step - 1, row, chunk)[threadIdx.x % BINS];
      part.sum += bin.sum;
      part.count += bin.count;
    }
    shared[threadIdx.x] = part;
    __syncthreads();
    if (threadIdx.x < BINS) {
      for (u32 i = threadIdx.x + BINS; i < THREADS; i += BINS) {
        part.sum += shared[i].sum;
        part.count += shared[i].count;
      }
      shared[threadIdx.x] = part;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    Place place = {};
    u64 whole = total;
    if (a.step > a.first_step) {
      place = a.places[(u64)row * STEPS + a.step - 1];
      u32 taken = BINS - 1;
      for (; taken > 0; taken--) {
        const Bin bin = shared[taken];
        if (place.sum + bin.sum > place.target || place.count + bin.count >= place.limit) break;
        place.sum += bin.sum;
        place.count += bin.count;
      }
      place.key |= taken << (28 - (a.step - 1) % DIGITS * 4);
      place.equal_sum = shared[taken].sum;
      place.equal = shared[taken].count;
    }
    const bool is_whole = asked.top_p == ~0ull && asked.top_k == NO_MASK;
    if (a.step == DIGITS && a.first_step == 0 && !is_whole) {
      // The nucleus ends with so many of the tokens that have this score.
      const u64 each = place.equal == 0 ? 0 : place.equal_sum / place.equal;
      u64 ties = each == 0 ? place.equal : (place.target - place.sum) / each + 1;
      if (ties > place.limit - place.count) ties = place.limit - place.count;
      whole = place.sum + ties * each;
    }
    if (a.step == 0) {
      const u64 part = __umul64hi(total, asked.top_p);
      place = {};
      place.target = part == 0 ? 0 : part - 1;
      place.limit = asked.top_k == NO_MASK ? ~0ull : asked.top_k;
    } else if (a.step == DIGITS) {
      place = {};
      place.target = __umul64hi(whole, asked.unit);
      place.limit = ~0ull;
    }
    *found = place;
    if (blockIdx.x == 0) a.places[(u64)row * STEPS + a.step] = place;
  }
  __syncthreads();
  return *found;
}

KERNEL(choose_narrow, 256, ChooseArguments) {
  SHARED_MEMORY(memory);
  const u32 row_index = blockIdx.y;
  const float scale = a.rows[row_index].scale;
  if (scale == 0.0f) return;
  u64* scratch = (u64*)memory;
  const Row row(a, row_index);
  const Largest largest = largest_of_row(a, row_index, scratch);
  // Nothing is drawn where choose_finish reports that nothing can be.
  if (key_in(largest.all) == NOT_FINITE || largest.allowed == 0) return;
  u64 total = 0;
  for (u32 chunk = threadIdx.x; chunk < a.chunks; chunk += THREADS) total += a.sums[(u64)row_index * a.chunks + chunk].tempered;
  total = block_sum(total, scratch);
  const Place place = place_at(a, row_index, total, memory);
  __syncthreads();
  const float allowed_largest = score_of(key_in(largest.allowed));
  Bin* bins = bins_of(a, a.step, row_index, blockIdx.x);

  if (a.step == STEPS - 1) {
    // Tokens of the very score that was found.
    u64 count = 0;
    for (u32 i = threadIdx.x; i < CHUNK; i += THREADS) {
      const u32 token = blockIdx.x * CHUNK + i;
      if (row.has(token) && row.allows(token)) count += key_of(row.scores[token]) == place.key;
    }
    count = block_sum(count, scratch);
    if (threadIdx.x == 0) bins[0] = {0, count};
    return;
  }

  const u32 shift = 28 - a.step % DIGITS * 4;
  u64 sums[BINS];
  u32 counts[BINS];
#pragma unroll
  for (u32 bin = 0; bin < BINS; bin++) sums[bin] = counts[bin] = 0;
  for (u32 i = threadIdx.x; i < CHUNK; i += THREADS) {
    const u32 token = blockIdx.x * CHUNK + i;
    if (!row.has(token) || !row.allows(token)) continue;
    const float score = row.scores[token];
    const u32 key = key_of(score);
    // Settled digits agree; what has no chance at all is in no bin.
    if ((u64)(key ^ place.key) >> (shift + 4) != 0 || score == NEGATIVE_INFINITY) continue;
    const u32 digit = key >> shift & 15;
    const u64 weight = weight_of(score, allowed_largest, scale);
#pragma unroll
    for (u32 bin = 0; bin < BINS; bin++) {
      sums[bin] += bin == digit ? weight : 0;
      counts[bin] += bin == digit;
    }
  }
  Bin* of_warps = (Bin*)memory;   // [8 warps, 16]
#pragma unroll
  for (u32 bin = 0; bin < BINS; bin++) {
    u64 sum = sums[bin], count = counts[bin];
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) {
      sum += __shfl_xor_sync(ALL_LANES, sum, step);
      count += __shfl_xor_sync(ALL_LANES, count, step);
    }
    if (lane() == 0) of_warps[warp() * BINS + bin] = {sum, count};
  }
  __syncthreads();
  if (threadIdx.x < BINS) {
    Bin bin = {0, 0};
    for (u32 i = 0; i < THREADS / 32; i++) {
      bin.sum += of_warps[i * BINS + threadIdx.x].sum;
      bin.count += of_warps[i * BINS + threadIdx.x].count;
    }
    bins[threadIdx.x] = bin;
  }
}

// The token that a search has found: of those with its score, the one that the target is passed at.
DEVICE u32 drawn_token(const ChooseArguments& a, const Row& row, u64* scratch) {
  const Place place = a.places[(u64)blockIdx.x * STEPS + STEPS - 1];
  u32* counts = (u32*)(scratch + 16);   // [256]
  u32* found = counts + THREADS;        // The chunk or thread, and how many there are before in it.
  if (threadIdx.x == 0) {
    u64 skip = (place.target - place.sum) / (place.equal_sum / place.equal);
    u32 chunk = 0;
    for (; chunk + 1 < a.chunks; chunk++) {
      const u64 here = bins_of(a, STEPS - 1, blockIdx.x, chunk)->count;
      if (skip < here) break;
      skip -= here;
    }
    found[0] = chunk;
    found[1] = (u32)skip;
  }
  __syncthreads();
  const u32 first = found[0] * CHUNK + threadIdx.x * (CHUNK / THREADS), skip = found[1];
  const auto matches = [&](u32 token) {
    return row.has(token) && row.allows(token) && key_of(row.scores[token]) == place.key;
  };
  u32 count = 0;
  for (u32 i = 0; i < CHUNK / THREADS; i++) count += matches(first + i);
  counts[threadIdx.x] = count;
  __syncthreads();
  if (threadIdx.x == 0) {
    u32 thread = 0, left = skip;
    for (; thread + 1 < THREADS && left >= counts[thread]; thread++) left -= counts[thread];
    found[0] = thread;
    found[1] = left;
  }
  __syncthreads();
  if (threadIdx.x == found[0]) {
    u32 left = found[1];
    for (u32 i = 0; i < CHUNK / THREADS; i++) {
      if (matches(first + i) && left-- == 0) counts[0] = first + i;
    }
  }
  __syncthreads();
  return counts[0];
}

KERNEL(choose_finish, 256, ChooseArguments) {
  SHARED_MEMORY(memory);
  u64* scratch = (u64*)memory;
  u64* best = scratch + 16 + (THREADS + 2) / 2;   // [chunks]: what is left of each.
  const Row row(a, blockIdx.x);
  const ChooseRow asked = a.rows[blockIdx.x];
  const Largest largest = largest_of_row(a, blockIdx.x, scratch);
  u64 all = 0, allowed = 0;
  for (u32 chunk = threadIdx.x; chunk < a.chunks; chunk += THREADS) {
    const u64 at = (u64)blockIdx.x * a.chunks + chunk;
    best[chunk] = a.largest[at].allowed;
    all += a.sums[at].all;
    allowed += a.sums[at].allowed;
  }
  all = block_sum(all, scratch);
  allowed = block_sum(allowed, scratch);
  const u32 key = key_in(largest.allowed);
  const u32 status = key_in(largest.all) == NOT_FINITE ? 1 : largest.allowed == 0 ? 2 : score_of(key) == NEGATIVE_INFINITY ? 1 : 0;
  u32 token = token_in(largest.allowed);
  if (status == 0 && asked.scale != 0.0f) token = drawn_token(a, row, scratch);
  u32 likely = 0;
  while (status == 0 && likely < asked.likely) {
    u64 next = 0;
    for (u32 chunk = threadIdx.x; chunk < a.chunks; chunk += THREADS) next = largest_of(next, best[chunk]);
    next = block_max(next, scratch);
    if (next == 0) break;
    const u32 chunk = token_in(next) / CHUNK;
    if (threadIdx.x == 0) a.likely[(u64)blockIdx.x * a.most_likely + likely] = {token_in(next), score_of(key_in(next))};
    likely++;
    u64 left = 0;
    for (u32 i = threadIdx.x; i < CHUNK; i += THREADS) {
      const u32 other = chunk * CHUNK + i;
      if (!row.has(other) || !row.allows(other)) continue;
      const u64 rank = rank_of(key_of(row.scores[other]), other);
      if (rank < next) left = largest_of(left, rank);
    }
    left = block_max(left, scratch);
    if (threadIdx.x == 0) best[chunk] = left;
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    Chosen chosen = {};
    chosen.all = all;
    chosen.allowed = allowed;
    chosen.all_largest = score_of(key_in(largest.all));
    chosen.allowed_largest = score_of(key);
    chosen.score = status == 0 ? row.scores[token] : 0.0f;
    chosen.token = token;
    chosen.status = status;
    chosen.likely = likely;
    a.chosen[blockIdx.x] = chosen;
  }
}
