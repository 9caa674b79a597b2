// The layers of a decoder, run whole: hidden states in, hidden states out, keys and values into the cache.
#pragma once
#include <vector>

#include "attention.h"
#include "matrix.h"
#include "rows.h"
#include "team.h"

namespace idiolect {

// One layer: norm, attention, residual; norm, gated MLP, residual. Null where a layer has no such vector.
struct Block {
  Matrix qkv, out, gate_up, down;
  const float *qkv_bias = nullptr, *out_bias = nullptr;
  const float *norm_attention = nullptr, *norm_mlp = nullptr;              // [width]
  const float *norm_attention_after = nullptr, *norm_mlp_after = nullptr;  // [width], of each half's output
  const float *query_norm = nullptr, *key_norm = nullptr;                  // [d]
  AttentionShape attention{};
  bool local = false;  // takes the second pair of tables of angles
};

// What all layers share; sizes in floats.
struct Sizes {
  int64_t width, n_heads, n_kv_heads, inner;
  float epsilon;
  Gate gate;
};

// One call: B sequences of T new positions each, of which sequence b begins at starts[b].
struct Call {
  int64_t n_sequences, length;
  const int64_t *starts, *capacities;  // a sequence each
  float* hidden;             // [B * T, width], in place
  const float* angles[2][2]; // cosines and sines, [B * T, d] each, for layers that see all and for local ones
  bool narrow;               // the cache is bf16
  void* const* keys;         // of layer l and sequence b at l * n_sequences + b, [K, capacity, d]
  void* const* values;

  // Where one head's keys or values of a sequence begin.
  char* cached(void* const* caches, int64_t layer, int64_t sequence, int64_t head, int64_t d) const {
    return static_cast<char*>(caches[layer * n_sequences + sequence]) + head * capacities[sequence] * d * (narrow ? 2 : 4);
  }
};

class Decoder {
 public:
  Decoder(Sizes sizes, std::vector<Block> blocks) : sizes_(sizes), blocks_(std::move(blocks)) {}

  const Sizes& sizes() const { return sizes_; }
  const std::vector<Block>& blocks() const { return blocks_; }

  // Runs all layers on `n_threads` threads. Not for two callers at once.
  void run(const Call& call, int n_threads);

 private:
  void prepare(const Call& call, int n_threads);
  void run_block(const Block& block, int64_t layer, const Call& call, const Member& me);
  void normalise(const Call& call, const float* weight, bool quantised, const Member& me);
  void project(const Matrix& matrix, const Activations& x, const float* bias, const float* norm_after, const Call& call,
               const Member& me);
  void split_heads(const Block& block, int64_t layer, const Call& call, const Member& me);
  void attend(const Block& block, int64_t layer, const Call& call, const Member& me);
  void attend_head(const Block& block, int64_t layer, const Call& call, int64_t task, float* scores);
  void attend_tile(const Block& block, int64_t layer, const Call& call, int64_t task, float* scores);
  void gated(const Block& block, const Call& call, const Member& me);

  Sizes sizes_;
  std::vector<Block> blocks_;
  Team team_;
  // Of one call: rows that enter products, what comes out of them, keys as columns, and each thread's own.
  std::vector<float> floats_;
  std::vector<int8_t> bytes_;
  std::vector<int32_t> integers_;
  Activations normed_, attended_, inner_;
  float *heads_ = nullptr, *output_ = nullptr, *columns_ = nullptr, *own_ = nullptr;
  int64_t heads_stride_ = 0, output_stride_ = 0, columns_stride_ = 0, own_size_ = 0;
};

}  // namespace idiolect
