// The layers of a decoder on a team of threads: every step is shared out by rows, heads or strips of a matrix.
#include "blocks.h"

#include <omp.h>

#include <algorithm>

namespace idiolect {
namespace {

int64_t quantised_floats(int64_t count, int64_t columns) { return count * (columns + 2 * (columns / kBlock)); }

}  // namespace

void Decoder::run(const Call& call, int n_threads) {
  prepare(call, n_threads);
#pragma omp parallel num_threads(n_threads)
  {
    Member me{team_, omp_get_thread_num(), omp_get_num_threads()};
    for (size_t layer = 0; layer < blocks_.size(); ++layer)
      run_block(blocks_[layer], static_cast<int64_t>(layer), call, me);
  }
}

// Cuts the buffers to the size of this call.
void Decoder::prepare(const Call& call, int n_threads) {
  int64_t rows = call.n_sequences * call.length, d = blocks_[0].attention.d, most = 0;
  for (int64_t b = 0; b < call.n_sequences; ++b) most = std::max(most, call.starts[b] + call.length);
  int64_t attended = sizes_.n_heads * d;
  heads_stride_ = padded((sizes_.n_heads + 2 * sizes_.n_kv_heads) * d, kRows);
  output_stride_ = padded(sizes_.width, kRows);
  columns_stride_ = padded(most, kKeys);
  int64_t columns = call.length > 1 ? call.n_sequences * sizes_.n_kv_heads * d * columns_stride_ : 0;
  own_size_ = std::max(kQueries * columns_stride_, 2 * rows * kBlock);
  const int64_t widths[3] = {sizes_.width, attended, sizes_.inner};
  int64_t n_floats = rows * (heads_stride_ + output_stride_) + columns + n_threads * own_size_, n_blocks = 0, n_bytes = 0;
  for (int64_t width : widths) {
    n_floats += quantised_floats(rows, width);
    n_blocks += rows * (width / kBlock);
    n_bytes += rows * width;
  }
  floats_.resize(std::max<size_t>(floats_.size(), n_floats));
  bytes_.resize(std::max<size_t>(bytes_.size(), n_bytes));
  integers_.resize(std::max<size_t>(integers_.size(), n_blocks));
  float* place = floats_.data();
  int8_t* bytes = bytes_.data();
  int32_t* integers = integers_.data();
  auto take = [&place](int64_t n) { return place += n, place - n; };
  Activations* parts[3] = {&normed_, &attended_, &inner_};
  for (int i = 0; i < 3; ++i) {
    int64_t width = widths[i], blocks = rows * (width / kBlock);
    *parts[i] = {width, take(rows * width), bytes, take(blocks), take(blocks), integers};
    bytes += rows * width;
    integers += blocks;
  }
  heads_ = take(rows * heads_stride_);
  output_ = take(rows * output_stride_);
  columns_ = take(columns);
  own_ = take(n_threads * own_size_);
}

void Decoder::run_block(const Block& block, int64_t layer, const Call& call, const Member& me) {
  int64_t rows = call.n_sequences * call.length;
  normalise(call, block.norm_attention, is_quantised(block.qkv.format), me);
  int64_t strips = block.qkv.n_strips(), begin = me.begin(strips), end = me.end(strips);
  multiply_strips(block.qkv, normed_, 0, rows, begin, end, heads_ + begin * kRows, heads_stride_);
  me.wait();
  split_heads(block, layer, call, me);
  attend(block, layer, call, me);
  project(block.out, attended_, block.out_bias, block.norm_attention_after, call, me);
  normalise(call, block.norm_mlp, is_quantised(block.gate_up.format), me);
  gated(block, call, me);
  project(block.down, inner_, nullptr, block.norm_mlp_after, call, me);
}

void Decoder::normalise(const Call& call, const float* weight, bool quantised, const Member& me) {
  int64_t rows = call.n_sequences * call.length, width = sizes_.width;
  for (int64_t row = me.begin(rows); row < me.end(rows); ++row) {
    rms_norm_row(call.hidden + row * width, weight, sizes_.epsilon, width, normed_.values + row * width);
    if (quantised) quantise(normed_, row * width, width);
  }
  me.wait();
}

// hidden += matrix · x + bias, with a norm in between where the block has one.
void Decoder::project(const Matrix& matrix, const Activations& x, const float* bias, const float* norm_after,
                      const Call& call, const Member& me) {
  int64_t rows = call.n_sequences * call.length, width = sizes_.width, strips = matrix.n_strips();
  int64_t begin = me.begin(strips), end = me.end(strips);
  multiply_strips(matrix, x, 0, rows, begin, end, output_ + begin * kRows, output_stride_);
  int64_t first = begin * kRows, count = std::min(end * kRows, width) - first;
  for (int64_t row = 0; row < rows; ++row) {
    float* output = output_ + row * output_stride_ + first;
    if (bias != nullptr) add_row(output, bias + first, count);
    if (norm_after == nullptr) add_row(call.hidden + row * width + first, output, count);
  }
  me.wait();
  if (norm_after == nullptr) return;
  for (int64_t row = me.begin(rows); row < me.end(rows); ++row) {
    float* output = output_ + row * output_stride_;
    rms_norm_row(output, norm_after, sizes_.epsilon, width, output);
    add_row(call.hidden + row * width, output, width);
  }
  me.wait();
}

// Bias, norm and rotation of each head; keys and values go to the cache.
void Decoder::split_heads(const Block& block, int64_t layer, const Call& call, const Member& me) {
  int64_t d = block.attention.d, n_heads = sizes_.n_heads, n_kv = sizes_.n_kv_heads, all = n_heads + 2 * n_kv;
  int64_t tasks = call.n_sequences * call.length * all;
  for (int64_t task = me.begin(tasks); task < me.end(tasks); ++task) {
    int64_t row = task / all, head = task % all;
    float* x = heads_ + row * heads_stride_ + head * d;
    if (block.qkv_bias != nullptr) add_row(x, block.qkv_bias + head * d, d);
    if (head < n_heads + n_kv) {
      const float* norm = head < n_heads ? block.query_norm : block.key_norm;
      if (norm != nullptr) rms_norm_row(x, norm, sizes_.epsilon, d, x);
      const auto& angles = call.angles[block.local];
      rotate_head(x, angles[0] + row * d, angles[1] + row * d, d);
    }
    if (head < n_heads) continue;
    bool key = head < n_heads + n_kv;
    int64_t sequence = row / call.length, position = call.starts[sequence] + row % call.length;
    char* cache = call.cached(key ? call.keys : call.values, layer, sequence, (head - n_heads) % n_kv, d);
    write_cached(cache, call.narrow, position * d, x, d);
  }
  me.wait();
}

void Decoder::attend(const Block& block, int64_t layer, const Call& call, const Member& me) {
  int64_t d = block.attention.d, n_kv = sizes_.n_kv_heads;
  float* scores = own_ + me.index * own_size_;
  if (call.length == 1) {
    int64_t tasks = call.n_sequences * sizes_.n_heads;
    for (int64_t task = me.begin(tasks); task < me.end(tasks); ++task) attend_head(block, layer, call, task, scores);
    me.wait();
    return;
  }
  int64_t heads = call.n_sequences * n_kv;
  for (int64_t task = me.begin(heads * 8); task < me.end(heads * 8); ++task) {
    int64_t head = task / 8, end = call.starts[head / n_kv] + call.length, part = padded(end, 128) / 8;
    int64_t begin = std::min(end, task % 8 * part);
    const char* keys = call.cached(call.keys, layer, head / n_kv, head % n_kv, d);
    float* columns = columns_ + head * d * columns_stride_;
    transpose_keys({keys, call.narrow}, d, begin, std::min(end, begin + part), columns, columns_stride_);
  }
  if (me.index == 0) team_.renew();
  me.wait();
  // Later tiles see more keys: the largest tasks go first.
  int64_t tasks = call.n_sequences * sizes_.n_heads * ((call.length + kQueries - 1) / kQueries);
  for (int64_t task = team_.take(); task < tasks; task = team_.take())
    attend_tile(block, layer, call, tasks - 1 - task, scores);
  me.wait();
}

// One query of one head.
void Decoder::attend_head(const Block& block, int64_t layer, const Call& call, int64_t task, float* scores) {
  int64_t d = block.attention.d, n_heads = sizes_.n_heads, n_kv = sizes_.n_kv_heads;
  int64_t sequence = task / n_heads, head = task % n_heads, offset = sequence * n_heads * d + head * d;
  int64_t of = head / (n_heads / n_kv);
  const float* query = heads_ + sequence * heads_stride_ + head * d;
  Cached keys{call.cached(call.keys, layer, sequence, of, d), call.narrow};
  Cached values{call.cached(call.values, layer, sequence, of, d), call.narrow};
  attend_one(block.attention, query, call.starts[sequence], keys, values, scores, attended_.values + offset);
  if (is_quantised(block.out.format)) quantise(attended_, offset, d);
}

// Eight queries of one head.
void Decoder::attend_tile(const Block& block, int64_t layer, const Call& call, int64_t task, float* scores) {
  int64_t d = block.attention.d, n_heads = sizes_.n_heads, n_kv = sizes_.n_kv_heads;
  int64_t lanes = call.n_sequences * n_heads, tile = task / lanes, sequence = task % lanes / n_heads;
  int64_t head = task % n_heads, first = tile * kQueries, count = std::min(kQueries, call.length - first);
  int64_t row = sequence * call.length + first, of = head / (n_heads / n_kv), cached = sequence * n_kv + of;
  Cached values{call.cached(call.values, layer, sequence, of, d), call.narrow};
  int64_t stride = n_heads * d, offset = row * stride + head * d;
  attend_several(block.attention, heads_ + row * heads_stride_ + head * d, heads_stride_, count,
                 call.starts[sequence] + first, columns_ + cached * d * columns_stride_, columns_stride_, values, scores,
                 attended_.values + offset, stride);
  if (!is_quantised(block.out.format)) return;
  for (int64_t t = 0; t < count; ++t) quantise(attended_, offset + t * stride, d);
}

// The gate's and the up matrix' rows lie one after the other; 32 of each are taken together, so that their product can
// be quantised at once.
void Decoder::gated(const Block& block, const Call& call, const Member& me) {
  int64_t rows = call.n_sequences * call.length, inner = sizes_.inner, units = inner / kBlock;
  float *gate = own_ + me.index * own_size_, *up = gate + rows * kBlock;
  constexpr int64_t strips = kBlock / kRows;
  for (int64_t unit = me.begin(units); unit < me.end(units); ++unit) {
    int64_t begin = unit * strips, other = inner / kRows + begin;
    multiply_strips(block.gate_up, normed_, 0, rows, begin, begin + strips, gate, kBlock);
    multiply_strips(block.gate_up, normed_, 0, rows, other, other + strips, up, kBlock);
    gate_row(sizes_.gate, gate, up, rows * kBlock);
    for (int64_t row = 0; row < rows; ++row) {
      int64_t place = row * inner + unit * kBlock;
      if (is_quantised(block.down.format))
        quantise_from(gate + row * kBlock, inner_, place, kBlock);
      else
        std::copy_n(gate + row * kBlock, kBlock, inner_.values + place);
    }
  }
  me.wait();
}

}  // namespace idiolect
