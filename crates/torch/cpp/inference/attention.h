// Attention of queries over a cache of keys and values, for inference on the CPU.
#pragma once
#include <cstdint>

namespace idiolect {

// Keys or values of one sequence and one head, [positions, d], in f32 or bf16.
struct Cached {
  const void* data;
  bool narrow;  // bf16
};

// What all heads share.
struct AttentionShape {
  int64_t d;        // a multiple of 16
  float scale;      // of the scores
  float softcap;    // scores become softcap * tanh(scores / softcap); 0: they stay
  int64_t window;   // positions that a query sees, its own among them; 0: all
};

// One query at `position`, [d], over all keys up to it. `scores` holds position + 1 floats.
void attend_one(const AttentionShape& shape, const float* query, int64_t position, Cached keys, Cached values,
                float* scores, float* output);

constexpr int64_t kQueries = 8;  // that attend_several takes at once
constexpr int64_t kKeys = 32;    // positions are filled up to a multiple of this in transposed keys

// Keys begin to end, a multiple of 16 apart, as columns: transposed[i * stride + position], f32.
void transpose_keys(Cached keys, int64_t d, int64_t begin, int64_t end, float* transposed, int64_t stride);

// `count` (at most 8) queries, query_stride apart, at positions from `position` on, over the transposed keys (filled up
// to a multiple of 32) and the values. `scores` holds 8 * stride floats.
void attend_several(const AttentionShape& shape, const float* queries, int64_t query_stride, int64_t count,
                    int64_t position, const float* keys, int64_t stride, Cached values, float* scores, float* output,
                    int64_t output_stride);

// Writes d numbers into a cache at `place`.
void write_cached(void* data, bool narrow, int64_t place, const float* from, int64_t d);

}  // namespace idiolect
