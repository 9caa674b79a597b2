// Quantised products without special instructions, and the choice between instruction sets.
#include <atomic>
#include <cstring>
#include <initializer_list>

#include "kernels.h"

namespace idiolect {
namespace {

// Sixteen rows of one block times one vector, as whole numbers.
template <Format F>
inline void block_sums(const uint8_t* quants, const int8_t* a, int32_t* sums) {
  for (int j = 0; j < (F == Format::kQ8 ? 8 : 4); ++j) {
    for (int row = 0; row < kRows; ++row) {
      for (int c = 0; c < 4; ++c) {
        uint8_t byte = quants[64 * j + 4 * row + c];
        if (F == Format::kQ8)
          sums[row] += byte * a[4 * j + c];
        else
          sums[row] += (byte & 15) * a[4 * j + c] + (byte >> 4) * a[16 + 4 * j + c];
      }
    }
  }
}

template <Format F>
void strips(const Matrix& matrix, const Activations& x, int64_t first, int64_t count, int64_t begin, int64_t end,
            float* output, int64_t stride) {
  int64_t n_blocks = matrix.columns / kBlock;
  for (int64_t i = begin; i < end; ++i) {
    const uint8_t* data = matrix.strip(i);
    const auto* scales = reinterpret_cast<const uint16_t*>(data + n_blocks * quant_bytes(F));
    for (int64_t t = 0; t < count; ++t) {
      float* totals = output + t * stride + (i - begin) * kRows;
      for (int row = 0; row < kRows; ++row) totals[row] = 0;
      for (int64_t block = 0; block < n_blocks; ++block) {
        int64_t place = (first + t) * n_blocks + block;
        int32_t sums[kRows];
        for (int32_t& sum : sums) sum = F == Format::kQ4Min ? 0 : x.negated[place] * (1 << offset_bits(F));
        block_sums<F>(data + block * quant_bytes(F), x.quants + place * kBlock, sums);
        for (int row = 0; row < kRows; ++row) {
          float scale = from_half(scales[block * kRows + row]);
          totals[row] += static_cast<float>(sums[row]) * scale * x.scales[place];
          if (F == Format::kQ4Min) totals[row] += from_half(scales[(n_blocks + block) * kRows + row]) * x.sums[place];
        }
      }
    }
  }
}

const Kernels* best() {
  for (const Kernels* kernels : {kernels_avx512vnni(), kernels_avx2()})
    if (kernels != nullptr) return kernels;
  return kernels_portable();
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> kernels{best()};
  return kernels;
}

}  // namespace

const Kernels* kernels_portable() {
  static const Kernels kernels{"portable", {strips<Format::kQ8>, strips<Format::kQ4>, strips<Format::kQ4Min>}};
  return &kernels;
}

const char* products_use() { return chosen().load()->name; }

bool use_products(const char* name) {
  for (const Kernels* kernels : {kernels_avx512vnni(), kernels_avx2(), kernels_portable()}) {
    if (kernels == nullptr || std::strcmp(kernels->name, name) != 0) continue;
    chosen() = kernels;
    return true;
  }
  return false;
}

void multiply_strips(const Matrix& matrix, const Activations& x, int64_t first, int64_t count, int64_t begin, int64_t end,
                     float* output, int64_t stride) {
  if (!is_quantised(matrix.format)) {
    int64_t last = end * kRows < matrix.rows ? end * kRows : matrix.rows;
    multiply_rows(matrix, x.values + first * x.columns, count, begin * kRows, last, output, stride);
    return;
  }
  auto index = static_cast<int32_t>(matrix.format) - static_cast<int32_t>(Format::kQ8);
  chosen().load(std::memory_order_relaxed)->strips[index](matrix, x, first, count, begin, end, output, stride);
}

}  // namespace idiolect
