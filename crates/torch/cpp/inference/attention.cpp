// Softmax attention over cached keys and values (Vaswani et al. 2017, section 3.2.1): one query, or eight in a tile.
#include "attention.h"

#include <cmath>

#include "lanes.h"

namespace idiolect {
namespace {

template <bool Narrow>
INLINE Lanes cached(const void* data, int64_t place) {
  if constexpr (!Narrow) {
    return load(static_cast<const float*>(data) + place);
  } else {
    typedef uint16_t Shorts __attribute__((vector_size(32)));
    Shorts shorts;
    std::memcpy(&shorts, static_cast<const uint16_t*>(data) + place, 32);
    return reinterpret_cast<Lanes>(__builtin_convertvector(shorts, BitLanes) << 16);
  }
}

INLINE float capped(float score, float softcap) { return softcap * std::tanh(score / softcap); }

// scores[begin..end) become e^(score - largest), over which 1 / their sum is returned; filled up to 16 with zeros.
INLINE float soften(float* scores, int64_t begin, int64_t end) {
  float most = scores[begin];
  for (int64_t i = begin; i < end; ++i) most = scores[i] > most ? scores[i] : most;
  Lanes total = {};
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    Lanes e = exponential(load(scores + i) - most);
    store(scores + i, e);
    total += e;
  }
  float sum = sum_of(total);
  if (i < end) {
    Lanes rest = {};
    std::memcpy(&rest, scores + i, (end - i) * sizeof(float));
    rest = exponential(rest - most);
    std::memcpy(scores + i, &rest, (end - i) * sizeof(float));
    for (int64_t k = i; k < end; ++k) sum += scores[k];
  }
  return 1.0f / sum;
}

// output = weights · values of keys begin to end, N times 16 numbers of d from `i` on, in two chains of additions.
template <bool Narrow, int N>
INLINE void weigh(const void* values, int64_t d, int64_t i, const float* weights, int64_t begin, int64_t end, float factor,
                  float* output) {
  Lanes sums[2][N] = {};
  int64_t j = begin;
  for (; j + 2 <= end; j += 2)
    for (int chain = 0; chain < 2; ++chain)
      for (int n = 0; n < N; ++n)
        sums[chain][n] += weights[j + chain] * cached<Narrow>(values, (j + chain) * d + i + n * kLanes);
  for (; j < end; ++j)
    for (int n = 0; n < N; ++n) sums[0][n] += weights[j] * cached<Narrow>(values, j * d + i + n * kLanes);
  for (int n = 0; n < N; ++n) store(output + i + n * kLanes, (sums[0][n] + sums[1][n]) * factor);
}

template <bool Narrow>
INLINE void one(const AttentionShape& shape, const float* query, int64_t position, const void* keys, const void* values,
                float* scores, float* output) {
  int64_t d = shape.d, end = position + 1;
  int64_t begin = shape.window > 0 && end > shape.window ? end - shape.window : 0;
  int64_t j = begin;
  for (; j + 4 <= end; j += 4) {
    Lanes sums[4] = {};
    // Each head's keys and values are short streams of their own, which the processor's prefetching hardly finds.
    constexpr int64_t size = Narrow ? 2 : 4;
    const char *coming = static_cast<const char*>(keys) + (j + 16) * d * size;
    const char *later = static_cast<const char*>(values) + j * d * size;
    for (int64_t line = 0; line < 4 * d * size; line += 64) {
      __builtin_prefetch(coming + line);
      __builtin_prefetch(later + line);
    }
    for (int64_t i = 0; i < d; i += kLanes) {
      Lanes q = load(query + i);
      for (int k = 0; k < 4; ++k) sums[k] += q * cached<Narrow>(keys, (j + k) * d + i);
    }
    for (int k = 0; k < 4; ++k) scores[j + k] = sum_of(sums[k]) * shape.scale;
  }
  for (; j < end; ++j) {
    Lanes sum = {};
    for (int64_t i = 0; i < d; i += kLanes) sum += load(query + i) * cached<Narrow>(keys, j * d + i);
    scores[j] = sum_of(sum) * shape.scale;
  }
  if (shape.softcap > 0)
    for (j = begin; j < end; ++j) scores[j] = capped(scores[j], shape.softcap);
  float factor = soften(scores, begin, end);
  int64_t i = 0;
  for (; i + 4 * kLanes <= d; i += 4 * kLanes) weigh<Narrow, 4>(values, d, i, scores, begin, end, factor, output);
  for (; i < d; i += kLanes) weigh<Narrow, 1>(values, d, i, scores, begin, end, factor, output);
}

FOR_EACH_PROCESSOR void one_f32(const AttentionShape& shape, const float* query, int64_t position, const void* keys,
                                const void* values, float* scores, float* output) {
  one<false>(shape, query, position, keys, values, scores, output);
}

FOR_EACH_PROCESSOR void one_bf16(const AttentionShape& shape, const float* query, int64_t position, const void* keys,
                                 const void* values, float* scores, float* output) {
  one<true>(shape, query, position, keys, values, scores, output);
}

// Scores of 8 queries, a row of `stride` each, for keys begin to end (multiples of 32).
INLINE void tile_scores(const AttentionShape& shape, const float* const* queries, const float* keys, int64_t stride,
                        int64_t begin, int64_t end, float* scores) {
  for (int64_t j = begin; j < end; j += kKeys) {
    Lanes sums[kQueries][2];
    for (int t = 0; t < kQueries; ++t) sums[t][0] = sums[t][1] = Lanes{};
    for (int64_t i = 0; i < shape.d; ++i) {
      Lanes a = load(keys + i * stride + j), b = load(keys + i * stride + j + kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < kQueries; ++t) {
        sums[t][0] += a * queries[t][i];
        sums[t][1] += b * queries[t][i];
      }
    }
    for (int t = 0; t < kQueries; ++t) {
      store(scores + t * stride + j, sums[t][0] * shape.scale);
      store(scores + t * stride + j + kLanes, sums[t][1] * shape.scale);
    }
  }
}

// Four queries' weights times the values of keys begin to end, 32 numbers of d at a time.
template <bool Narrow>
INLINE void tile_values(int64_t d, const float* weights, int64_t stride, const float* factors, const void* values,
                        int64_t begin, int64_t end, int64_t count, float* output, int64_t output_stride) {
  for (int64_t i = 0; i < d; i += 2 * kLanes) {
    bool two = i + kLanes < d;
    Lanes sums[4][2] = {};
    for (int64_t j = begin; j < end; ++j) {
      Lanes a = cached<Narrow>(values, j * d + i), b = two ? cached<Narrow>(values, j * d + i + kLanes) : a;
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        float weight = weights[t * stride + j];
        sums[t][0] += a * weight;
        sums[t][1] += b * weight;
      }
    }
    for (int t = 0; t < count; ++t) {
      store(output + t * output_stride + i, sums[t][0] * factors[t]);
      if (two) store(output + t * output_stride + i + kLanes, sums[t][1] * factors[t]);
    }
  }
}

template <bool Narrow>
INLINE void several(const AttentionShape& shape, const float* queries, int64_t query_stride, int64_t count,
                    int64_t position, const float* keys, int64_t stride, const void* values, float* scores, float* output,
                    int64_t output_stride) {
  const float* rows[kQueries];  // a tile that is not full repeats its last query
  for (int64_t t = 0; t < kQueries; ++t) rows[t] = queries + (t < count ? t : count - 1) * query_stride;
  int64_t last = position + count;  // one past the last key that any of them sees
  auto first_of = [&](int64_t t) {
    int64_t end = position + t + 1;
    return shape.window > 0 && end > shape.window ? end - shape.window : 0;
  };
  int64_t begin = first_of(0);
  tile_scores(shape, rows, keys, stride, begin / kKeys * kKeys, (last + kKeys - 1) / kKeys * kKeys, scores);
  float factors[kQueries];
  for (int64_t t = 0; t < kQueries; ++t) {
    int64_t seen = t < count ? t : count - 1, from = first_of(seen), to = position + seen + 1;
    float* row = scores + t * stride;
    if (shape.softcap > 0)
      for (int64_t j = from; j < to; ++j) row[j] = capped(row[j], shape.softcap);
    factors[t] = soften(row, from, to);
    for (int64_t j = begin; j < from; ++j) row[j] = 0;
    for (int64_t j = to; j < last; ++j) row[j] = 0;
  }
  for (int64_t t = 0; t < count; t += 4) {
    int64_t n = count - t < 4 ? count - t : 4;
    tile_values<Narrow>(shape.d, scores + t * stride, stride, factors + t, values, begin, last, n,
                        output + t * output_stride, output_stride);
  }
}

FOR_EACH_PROCESSOR void several_f32(const AttentionShape& shape, const float* queries, int64_t query_stride,
                                    int64_t count, int64_t position, const float* keys, int64_t stride,
                                    const void* values, float* scores, float* output, int64_t output_stride) {
  several<false>(shape, queries, query_stride, count, position, keys, stride, values, scores, output, output_stride);
}

FOR_EACH_PROCESSOR void several_bf16(const AttentionShape& shape, const float* queries, int64_t query_stride,
                                     int64_t count, int64_t position, const float* keys, int64_t stride,
                                     const void* values, float* scores, float* output, int64_t output_stride) {
  several<true>(shape, queries, query_stride, count, position, keys, stride, values, scores, output, output_stride);
}

}  // namespace

void attend_one(const AttentionShape& shape, const float* query, int64_t position, Cached keys, Cached values,
                float* scores, float* output) {
  (keys.narrow ? one_bf16 : one_f32)(shape, query, position, keys.data, values.data, scores, output);
}

void attend_several(const AttentionShape& shape, const float* queries, int64_t query_stride, int64_t count,
                    int64_t position, const float* keys, int64_t stride, Cached values, float* scores, float* output,
                    int64_t output_stride) {
  auto run = values.narrow ? several_bf16 : several_f32;
  run(shape, queries, query_stride, count, position, keys, stride, values.data, scores, output, output_stride);
}

FOR_EACH_PROCESSOR void transpose_keys(Cached keys, int64_t d, int64_t begin, int64_t end, float* transposed,
                                       int64_t stride) {
  for (int64_t j = begin; j < end; ++j) {
    for (int64_t i = 0; i < d; ++i) {
      float value;
      if (keys.narrow) {
        uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(keys.data)[j * d + i]) << 16;
        std::memcpy(&value, &bits, 4);
      } else {
        value = static_cast<const float*>(keys.data)[j * d + i];
      }
      transposed[i * stride + j] = value;
    }
  }
}

FOR_EACH_PROCESSOR void write_cached(void* data, bool narrow, int64_t place, const float* from, int64_t d) {
  if (!narrow) {
    std::memcpy(static_cast<float*>(data) + place, from, d * sizeof(float));
    return;
  }
  auto* to = static_cast<uint16_t*>(data) + place;
  for (int64_t i = 0; i < d; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i, 4);
    bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
    to[i] = nan ? 0x7FC0 : static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
  }
}

}  // namespace idiolect
