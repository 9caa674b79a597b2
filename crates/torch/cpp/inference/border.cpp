// The border to Rust: packed matrices, the layers of a decoder, and the choice of the next id.
#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>

#include "../glue.h"
#include "blocks.h"
#include "kernels.h"

using namespace idiolect;

namespace {

// As Rust lays it out.
struct MatrixParts {
  int32_t format;
  int64_t rows, columns;
  const uint8_t* data;

  Matrix matrix() const { return {static_cast<Format>(format), rows, columns, data}; }
};

struct BlockParts {
  MatrixParts qkv, out, gate_up, down;
  // qkv bias, out bias, norms: attention, MLP, after attention, after the MLP, of queries, of keys
  const float* vectors[8];
  double scale, softcap;
  int64_t window;
  bool local;
};

struct SizesParts {
  int64_t width, n_heads, n_kv_heads, head_dim, inner;
  double epsilon;
  int32_t gate;
};

struct CallParts {
  int64_t n_sequences, length;
  const int64_t *starts, *capacities;
  float* hidden;
  const float* angles[4];
  bool narrow;
  void* const* keys;
  void* const* values;
};

int n_threads() {
  at::internal::lazy_init_num_threads();
  return at::in_parallel_region() ? 1 : at::get_num_threads();
}

// body(begin, end) for this thread's share of `count` things.
template <typename Body>
void share(int64_t count, const Body& body) {
#pragma omp parallel num_threads(n_threads())
  {
    int64_t index = omp_get_thread_num(), size = omp_get_num_threads();
    body(count * index / size, count * (index + 1) / size);
  }
}

Block block_of(const BlockParts& parts, int64_t d) {
  Block block;
  block.qkv = parts.qkv.matrix(), block.out = parts.out.matrix();
  block.gate_up = parts.gate_up.matrix(), block.down = parts.down.matrix();
  block.qkv_bias = parts.vectors[0], block.out_bias = parts.vectors[1];
  block.norm_attention = parts.vectors[2], block.norm_mlp = parts.vectors[3];
  block.norm_attention_after = parts.vectors[4], block.norm_mlp_after = parts.vectors[5];
  block.query_norm = parts.vectors[6], block.key_norm = parts.vectors[7];
  block.attention = {d, static_cast<float>(parts.scale), static_cast<float>(parts.softcap), parts.window};
  block.local = parts.local;
  return block;
}

// Rows of f32 made ready for products.
struct OwnActivations : Activations {
  at::Tensor quant_store, scale_store, sum_store, negated_store;

  OwnActivations(const at::Tensor& x, bool quantised) {
    columns = x.size(1), values = x.data_ptr<float>();
    if (!quantised) return;
    int64_t n_blocks = x.numel() / kBlock;
    quant_store = at::empty({x.numel()}, at::kChar), negated_store = at::empty({n_blocks}, at::kInt);
    scale_store = at::empty({n_blocks}, at::kFloat), sum_store = at::empty({n_blocks}, at::kFloat);
    quants = quant_store.data_ptr<int8_t>(), negated = negated_store.data_ptr<int32_t>();
    scales = scale_store.data_ptr<float>(), sums = sum_store.data_ptr<float>();
    if (x.size(0) < 16)
      quantise(*this, 0, x.numel());
    else
      share(x.size(0), [&](int64_t begin, int64_t end) { quantise(*this, begin * columns, (end - begin) * columns); });
  }
};

at::Tensor linear_of(const Matrix& matrix, const at::Tensor& input) {
  OwnActivations x(input, is_quantised(matrix.format));
  int64_t count = input.size(0), strips = matrix.n_strips(), stride = padded(matrix.rows, kRows);
  auto wide = at::empty({count, stride}, input.options());
  auto* to = wide.data_ptr<float>();
  share(strips, [&](int64_t begin, int64_t end) {
    multiply_strips(matrix, x, 0, count, begin, end, to + begin * kRows, stride);
  });
  return wide.narrow(1, 0, matrix.rows);
}

}  // namespace

at::Tensor idiolect::linear_of_few(const at::Tensor& x, const at::Tensor& weight) {
  auto format = weight.scalar_type() == at::kFloat ? Format::kF32 : Format::kBf16;
  return linear_of({format, weight.size(0), weight.size(1), static_cast<const uint8_t*>(weight.const_data_ptr())}, x)
      .contiguous();
}

extern "C" {

int64_t idiolect_matrix_bytes(int32_t format, int64_t rows, int64_t columns) {
  return matrix_bytes(static_cast<Format>(format), rows, columns);
}

// `first` is a multiple of 16: where in the matrix the `count` rows of f32 begin.
void idiolect_matrix_pack(int32_t format, int64_t columns, const float* rows, int64_t first, int64_t count, uint8_t* data) {
  auto kind = static_cast<Format>(format);
  int64_t strips = padded(count, kRows) / kRows, size = strip_bytes(kind, columns);
  share(strips, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      pack_strip(kind, rows + i * kRows * columns, std::min(kRows, count - i * kRows), columns,
                 data + (first / kRows + i) * size);
  });
}

// The same from llama.cpp's blocks, `row_bytes` a row.
void idiolect_matrix_pack_blocks(int32_t format, int64_t columns, const uint8_t* blocks, int64_t row_bytes, int64_t first,
                                 int64_t count, uint8_t* data) {
  auto kind = static_cast<Format>(format);
  int64_t strips = padded(count, kRows) / kRows, size = strip_bytes(kind, columns);
  share(strips, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* rows[kRows];
      int64_t n_rows = std::min(kRows, count - i * kRows);
      for (int64_t row = 0; row < n_rows; ++row) rows[row] = blocks + (i * kRows + row) * row_bytes;
      pack_blocks(kind, rows, n_rows, columns, data + (first / kRows + i) * size);
    }
  });
}

// Rows of a matrix, one for each of `ids`, as f32; the ids are checked by the caller.
void idiolect_matrix_rows(const MatrixParts* parts, const int64_t* ids, int64_t count, float* output) {
  Matrix matrix = parts->matrix();
  share(count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) unpack_row(matrix, ids[i], output + i * matrix.columns);
  });
}

// input (n, columns) of contiguous f32 times the matrix, plus bias (rows): (n, rows).
char* idiolect_matrix_linear(const MatrixParts* parts, const at::Tensor* input, const at::Tensor* bias,
                             at::Tensor** output) {
  return guarded([&] {
    auto result = linear_of(parts->matrix(), *input);
    *output = new at::Tensor(bias != nullptr ? at::add(result, *bias) : result);
  });
}

char* idiolect_decoder_new(const SizesParts* sizes, const BlockParts* blocks, int64_t count, Decoder** decoder) {
  return guarded([&] {
    std::vector<Block> all;
    for (int64_t i = 0; i < count; ++i) all.push_back(block_of(blocks[i], sizes->head_dim));
    auto epsilon = static_cast<float>(sizes->epsilon);
    Sizes own{sizes->width, sizes->n_heads, sizes->n_kv_heads, sizes->inner, epsilon, static_cast<Gate>(sizes->gate)};
    *decoder = new Decoder(own, std::move(all));
  });
}

void idiolect_decoder_free(Decoder* decoder) { delete decoder; }

char* idiolect_decoder_run(Decoder* decoder, const CallParts* parts) {
  return guarded([&] {
    const auto& p = *parts;
    Call call{p.n_sequences, p.length, p.starts, p.capacities, p.hidden, {{p.angles[0], p.angles[1]}, {p.angles[2], p.angles[3]}},
              p.narrow, p.keys, p.values};
    decoder->run(call, n_threads());
  });
}

const char* idiolect_products_use() { return products_use(); }
bool idiolect_use_products(const char* name) { return use_products(name); }

// Of each of `count` rows of n logits the largest, the first of equals, and the logarithm of the sum of all exponentials.
void idiolect_largest(const float* logits, int64_t count, int64_t n, int64_t* indices, double* log_sums) {
  auto rows = [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      Peak peak = peak_of(logits + row * n, n);
      indices[row] = peak.index, log_sums[row] = peak.log_sum;
    }
  };
  if (count == 1)
    rows(0, 1);
  else
    share(count, rows);
}

}  // extern "C"
