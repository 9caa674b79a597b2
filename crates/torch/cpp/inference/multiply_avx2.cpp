// Quantised products with AVX2: a strip of 16 rows is two vectors.
//
// maddubs adds two products in 16 bits, which hold 2 * 255 * 127 only in part: bytes are taken four bits at a time.
#include "kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define TARGET_INLINE inline __attribute__((always_inline)) TARGET

namespace idiolect {
namespace {

TARGET_INLINE __m256i four_columns(const int8_t* quants) {
  int32_t four;
  std::memcpy(&four, quants, 4);
  return _mm256_set1_epi32(four);
}

// sum + factor * q · a, of four columns each; q below 16.
TARGET_INLINE __m256i add_products(__m256i sum, __m256i q, __m256i a, __m256i factor) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(q, a), factor));
}

// Eight rows of one block times one vector.
template <Format F>
TARGET_INLINE __m256 block_sum(const uint8_t* quants, const int8_t* a, int32_t negated) {
  const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1), sixteen = _mm256_set1_epi16(16);
  __m256i sum = _mm256_setzero_si256();
  if (F != Format::kQ4Min) sum = _mm256_slli_epi32(_mm256_set1_epi32(negated), offset_bits(F));
  constexpr int n_vectors = F == Format::kQ8 ? 8 : 4;
  for (int j = 0; j < n_vectors; ++j) {
    _mm_prefetch(reinterpret_cast<const char*>(quants) + 64 * j + kAhead, _MM_HINT_T0);
    __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(quants + 64 * j));
    __m256i first = _mm256_and_si256(both, low), second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    __m256i x = four_columns(a + 4 * j);
    sum = add_products(sum, first, x, one);
    sum = F == Format::kQ8 ? add_products(sum, second, x, sixteen)
                           : add_products(sum, second, four_columns(a + 16 + 4 * j), one);
  }
  return _mm256_cvtepi32_ps(sum);
}

TARGET_INLINE __m256 halves(const uint16_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

// Eight rows from `half` on, 0 or 8, times N vectors.
template <Format F, int N>
TARGET void half_strip(const uint8_t* data, int64_t n_blocks, int64_t half, const Activations& x, int64_t first,
                       float* output, int64_t stride) {
  const auto* scales = reinterpret_cast<const uint16_t*>(data + n_blocks * quant_bytes(F)) + half;
  const uint16_t* minima = scales + n_blocks * kRows;
  __m256 totals[N];
  for (int t = 0; t < N; ++t) totals[t] = _mm256_setzero_ps();
  for (int64_t block = 0; block < n_blocks; ++block) {
    __m256 scale = halves(scales + block * kRows);
    __m256 minimum = F == Format::kQ4Min ? halves(minima + block * kRows) : _mm256_setzero_ps();
    for (int t = 0; t < N; ++t) {
      int64_t place = (first + t) * n_blocks + block;
      __m256 sum = block_sum<F>(data + block * quant_bytes(F) + 4 * half, x.quants + place * kBlock, x.negated[place]);
      totals[t] = _mm256_fmadd_ps(_mm256_mul_ps(sum, scale), _mm256_set1_ps(x.scales[place]), totals[t]);
      if (F == Format::kQ4Min)
        totals[t] = _mm256_fmadd_ps(minimum, _mm256_set1_ps(x.sums[place]), totals[t]);
    }
  }
  for (int t = 0; t < N; ++t) _mm256_storeu_ps(output + t * stride + half, totals[t]);
}

template <Format F>
TARGET void strips(const Matrix& matrix, const Activations& x, int64_t first, int64_t count, int64_t begin, int64_t end,
                   float* output, int64_t stride) {
  int64_t n_blocks = matrix.columns / kBlock;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t half = 0; half < kRows; half += 8) {
      float* place = output + (i - begin) * kRows;
      int64_t t = 0;
      for (; t + 4 <= count; t += 4)
        half_strip<F, 4>(matrix.strip(i), n_blocks, half, x, first + t, place + t * stride, stride);
      for (; t < count; ++t)
        half_strip<F, 1>(matrix.strip(i), n_blocks, half, x, first + t, place + t * stride, stride);
    }
  }
}

}  // namespace

const Kernels* kernels_avx2() {
  static const Kernels kernels{"avx2", {strips<Format::kQ8>, strips<Format::kQ4>, strips<Format::kQ4Min>}};
  bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return has ? &kernels : nullptr;
}

}  // namespace idiolect
#else
namespace idiolect {
const Kernels* kernels_avx2() { return nullptr; }
}  // namespace idiolect
#endif
