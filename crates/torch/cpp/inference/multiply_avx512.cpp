// Quantised products with AVX-512 and its dot products of bytes (VNNI): a strip of 16 rows is one vector.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define TARGET_INLINE inline __attribute__((always_inline)) TARGET

namespace idiolect {
namespace {

TARGET_INLINE __m512i four_columns(const int8_t* quants) {
  int32_t four;
  std::memcpy(&four, quants, 4);
  return _mm512_set1_epi32(four);
}

TARGET_INLINE __m512 halves(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// The quants of one block as 8 vectors of 16 rows times four columns.
template <Format F>
TARGET_INLINE void load_block(const uint8_t* quants, __m512i* q) {
  if constexpr (F == Format::kQ8) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      _mm_prefetch(quants + 64 * j + kAhead, _MM_HINT_T0);
      q[j] = _mm512_loadu_si512(quants + 64 * j);
    }
  } else {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      _mm_prefetch(quants + 64 * j + kAhead, _MM_HINT_T0);
      __m512i both = _mm512_loadu_si512(quants + 64 * j);
      q[j] = _mm512_and_si512(both, low);
      q[j + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }
}

template <Format F, int N>
TARGET void strip(const uint8_t* data, int64_t n_blocks, const Activations& x, int64_t first, float* output,
                  int64_t stride) {
  const auto* scales = reinterpret_cast<const uint16_t*>(data + n_blocks * quant_bytes(F));
  const uint16_t* minima = scales + n_blocks * kRows;
  const int8_t* quants = x.quants + first * x.columns;
  const float *x_scales = x.scales + first * n_blocks, *x_sums = x.sums + first * n_blocks;
  const int32_t* negated = x.negated + first * n_blocks;
  __m512 totals[N];
#pragma GCC unroll 8
  for (int t = 0; t < N; ++t) totals[t] = _mm512_setzero_ps();
  for (int64_t block = 0; block < n_blocks; ++block) {
    __m512i q[8];
    load_block<F>(data + block * quant_bytes(F), q);
    __m512 scale = halves(scales + block * kRows);
    __m512 minimum;
    if constexpr (F == Format::kQ4Min) minimum = halves(minima + block * kRows);
#pragma GCC unroll 8
    for (int t = 0; t < N; ++t) {
      const int8_t* a = quants + t * x.columns + block * kBlock;
      __m512i sum = _mm512_setzero_si512();
      if constexpr (F != Format::kQ4Min)
        sum = _mm512_slli_epi32(_mm512_set1_epi32(negated[t * n_blocks + block]), offset_bits(F));
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) sum = _mm512_dpbusd_epi32(sum, q[j], four_columns(a + 4 * j));
      __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
      totals[t] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(x_scales[t * n_blocks + block]), totals[t]);
      if constexpr (F == Format::kQ4Min)
        totals[t] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(x_sums[t * n_blocks + block]), totals[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < N; ++t) _mm512_storeu_ps(output + t * stride, totals[t]);
}

template <Format F>
TARGET void strips(const Matrix& matrix, const Activations& x, int64_t first, int64_t count, int64_t begin, int64_t end,
                   float* output, int64_t stride) {
  int64_t n_blocks = matrix.columns / kBlock;
  for (int64_t i = begin; i < end; ++i) {
    const uint8_t* data = matrix.strip(i);
    float* place = output + (i - begin) * kRows;
    int64_t t = 0;
    for (; t + 8 <= count; t += 8) strip<F, 8>(data, n_blocks, x, first + t, place + t * stride, stride);
    if (count - t >= 4) strip<F, 4>(data, n_blocks, x, first + t, place + t * stride, stride), t += 4;
    if (count - t >= 2) strip<F, 2>(data, n_blocks, x, first + t, place + t * stride, stride), t += 2;
    if (count - t >= 1) strip<F, 1>(data, n_blocks, x, first + t, place + t * stride, stride);
  }
}

}  // namespace

const Kernels* kernels_avx512vnni() {
  static const Kernels kernels{"avx512vnni", {strips<Format::kQ8>, strips<Format::kQ4>, strips<Format::kQ4Min>}};
  bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  return has ? &kernels : nullptr;
}

}  // namespace idiolect
#else
namespace idiolect {
const Kernels* kernels_avx512vnni() { return nullptr; }
}  // namespace idiolect
#endif
