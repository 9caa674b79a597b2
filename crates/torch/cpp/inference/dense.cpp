// Products of f32 and bf16 matrices with few vectors: a stream through the weights, four rows at a time.
#include "kernels.h"
#include "lanes.h"

namespace idiolect {
namespace {

// Sixteen weights from a column on.
template <Format F>
INLINE Lanes weights(const uint8_t* row, int64_t column) {
  if constexpr (F == Format::kF32) return load(reinterpret_cast<const float*>(row) + column);
  typedef uint16_t Shorts __attribute__((vector_size(32)));
  Shorts shorts;
  std::memcpy(&shorts, row + 2 * column, 32);
  return reinterpret_cast<Lanes>(__builtin_convertvector(shorts, BitLanes) << 16);
}

// R rows times N vectors.
template <Format F, int R, int N>
INLINE void tile(const uint8_t* rows, int64_t columns, const float* x, float* output, int64_t stride) {
  constexpr int64_t size = F == Format::kF32 ? 4 : 2;
  Lanes sums[R][N];
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < N; ++t) sums[r][t] = Lanes{};
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    Lanes w[R];
    for (int r = 0; r < R; ++r) {
      __builtin_prefetch(rows + r * columns * size + c * size + kAhead);
      w[r] = weights<F>(rows + r * columns * size, c);
    }
    for (int t = 0; t < N; ++t) {
      Lanes a = load(x + t * columns + c);
      for (int r = 0; r < R; ++r) sums[r][t] += w[r] * a;
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < N; ++t) {
      float sum = sum_of(sums[r][t]);
      for (int64_t i = c; i < columns; ++i) {
        float w;
        if constexpr (F == Format::kF32) {
          std::memcpy(&w, rows + (r * columns + i) * 4, 4);
        } else {
          uint16_t half;
          std::memcpy(&half, rows + (r * columns + i) * 2, 2);
          uint32_t bits = static_cast<uint32_t>(half) << 16;
          std::memcpy(&w, &bits, 4);
        }
        sum += w * x[t * columns + i];
      }
      output[t * stride + r] = sum;
    }
  }
}

template <Format F, int N>
INLINE void rows_times(const Matrix& matrix, const float* x, int64_t begin, int64_t end, float* output, int64_t stride) {
  int64_t row_bytes = matrix.columns * (F == Format::kF32 ? 4 : 2), row = begin;
  for (; row + 4 <= end; row += 4)
    tile<F, 4, N>(matrix.data + row * row_bytes, matrix.columns, x, output + row - begin, stride);
  for (; row < end; ++row)
    tile<F, 1, N>(matrix.data + row * row_bytes, matrix.columns, x, output + row - begin, stride);
}

template <Format F>
INLINE void all_rows(const Matrix& matrix, const float* x, int64_t count, int64_t begin, int64_t end, float* output,
                     int64_t stride) {
  // Sixteen rows stay in the cache while all vectors pass.
  for (int64_t row = begin; row < end; row += kRows) {
    int64_t last = row + kRows < end ? row + kRows : end, t = 0;
    float* place = output + row - begin;
    for (; t + 4 <= count; t += 4)
      rows_times<F, 4>(matrix, x + t * matrix.columns, row, last, place + t * stride, stride);
    for (; t < count; ++t)
      rows_times<F, 1>(matrix, x + t * matrix.columns, row, last, place + t * stride, stride);
  }
}

FOR_EACH_PROCESSOR void rows_f32(const Matrix& matrix, const float* x, int64_t count, int64_t begin, int64_t end,
                                 float* output, int64_t stride) {
  all_rows<Format::kF32>(matrix, x, count, begin, end, output, stride);
}

FOR_EACH_PROCESSOR void rows_bf16(const Matrix& matrix, const float* x, int64_t count, int64_t begin, int64_t end,
                                  float* output, int64_t stride) {
  all_rows<Format::kBf16>(matrix, x, count, begin, end, output, stride);
}

}  // namespace

void multiply_rows(const Matrix& matrix, const float* x, int64_t count, int64_t begin, int64_t end, float* output,
                   int64_t stride) {
  auto rows = matrix.format == Format::kF32 ? rows_f32 : rows_bf16;
  rows(matrix, x, count, begin, end, output, stride);
}

}  // namespace idiolect
