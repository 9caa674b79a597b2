// Rows of activations: norms, gates, rotations, and quantising for the products.
#include "rows.h"

#include <cmath>

#include "lanes.h"

namespace idiolect {

FOR_EACH_PROCESSOR void rms_norm_row(const float* x, const float* weight, float epsilon, int64_t n, float* output) {
  Lanes squares[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    Lanes a = load(x + i), b = load(x + i + kLanes);
    squares[0] += a * a;
    squares[1] += b * b;
  }
  float total = sum_of(squares[0] + squares[1]);
  for (int64_t k = i; k < n; ++k) total += x[k] * x[k];
  float factor = 1.0f / std::sqrt(total / static_cast<float>(n) + epsilon);
  for (int64_t k = 0; k < n; ++k) output[k] = x[k] * factor * weight[k];
}

namespace {

FOR_EACH_PROCESSOR void silu(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Lanes v = load(x + i);
    store(x + i, v / (1.0f + exponential(-v)) * load(y + i));
  }
}

FOR_EACH_PROCESSOR void gelu_tanh(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Lanes v = load(x + i);
    Lanes u = 1.59576912f * (v + 0.044715f * v * v * v);
    store(x + i, v / (1.0f + exponential(-u)) * load(y + i));
  }
}

// Per block of 32: scale = the largest magnitude over 127, quants rounded to the nearest even.
FOR_EACH_PROCESSOR void quantise_blocks(const float* values, int64_t n_blocks, int8_t* quants, float* scales, float* sums,
                                        int32_t* negated) {
  typedef int8_t Bytes __attribute__((vector_size(16)));
  for (int64_t block = 0; block < n_blocks; ++block) {
    Lanes a = load(values + block * kBlock), b = load(values + block * kBlock + kLanes);
    float most = largest_of(larger(larger(a, -a), larger(b, -b)));
    float scale = most / 127.0f, inverse = most > 0 ? 127.0f / most : 0.0f;
    Lanes shifted[2] = {a * inverse + 12582912.0f, b * inverse + 12582912.0f};  // rounds, in the low bits
    for (int half = 0; half < 2; ++half) {
      Bytes bytes = __builtin_convertvector(reinterpret_cast<IntLanes>(shifted[half]) - 0x4B400000, Bytes);
      std::memcpy(quants + block * kBlock + half * kLanes, &bytes, 16);
    }
    // Whole numbers below 2^24, so that their sum in f32 is exact.
    auto total = static_cast<int32_t>(sum_of((shifted[0] - 12582912.0f) + (shifted[1] - 12582912.0f)));
    scales[block] = scale;
    sums[block] = scale * static_cast<float>(total);
    negated[block] = -total;
  }
}

}  // namespace

void quantise(const Activations& x, int64_t place, int64_t n) { quantise_from(x.values + place, x, place, n); }

void quantise_from(const float* values, const Activations& x, int64_t place, int64_t n) {
  int64_t block = place / kBlock;
  quantise_blocks(values, n / kBlock, x.quants + place, x.scales + block, x.sums + block, x.negated + block);
}

void gate_row(Gate gate, float* x, const float* y, int64_t n) { (gate == Gate::kSilu ? silu : gelu_tanh)(x, y, n); }

FOR_EACH_PROCESSOR void add_row(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

FOR_EACH_PROCESSOR void rotate_head(float* x, const float* cos, const float* sin, int64_t d) {
  int64_t half = d / 2;
  for (int64_t i = 0; i < half; ++i) {
    float a = x[i], b = x[i + half];
    x[i] = a * cos[i] + b * sin[i];
    x[i + half] = b * cos[i + half] + a * sin[i + half];
  }
}

FOR_EACH_PROCESSOR Peak peak_of(const float* x, int64_t n) {
  Lanes most = Lanes{} + x[0];
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) most = larger(load(x + i), most);
  float top = largest_of(most);
  for (; i < n; ++i) top = x[i] > top ? x[i] : top;
  double total = 0;
  constexpr int64_t piece = 4096;  // summed in f32
  for (int64_t begin = 0; begin < n; begin += piece) {
    int64_t end = begin + piece < n ? begin + piece : n;
    Lanes sums = {};
    for (i = begin; i + kLanes <= end; i += kLanes) sums += exponential(load(x + i) - top);
    total += static_cast<double>(sum_of(sums));
    for (; i < end; ++i) total += std::exp(static_cast<double>(x[i] - top));
  }
  int64_t index = 0;
  while (index < n - 1 && !(x[index] >= top)) ++index;
  return {index, static_cast<double>(top) + std::log(total)};
}

}  // namespace idiolect
