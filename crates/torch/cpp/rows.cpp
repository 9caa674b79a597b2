// Softmax, loss and gradient of rows of logits in one visit each, computed in f32.
//
// Sums run over 16 lanes in a fixed order: the same bits at any number of threads.
#include "rows.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <vector>

#include "processors.h"

namespace idiolect {
namespace {

constexpr int kLanes = 16;

// e^x, 0 < e^x < infinity whatever x is (the ends are held), within 2 units in the last place: range reduction and the polynomial of Cephes' expf.
INLINE float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 87.0f ? 87.0f : x;
  float n = x * 1.44269504f + 12582912.0f;  // rounds to the nearest integer, in the low bits
  int32_t bits;
  __builtin_memcpy(&bits, &n, 4);
  n -= 12582912.0f;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  int32_t power = (bits - 0x4B400000 + 127) << 23;
  float scale;
  __builtin_memcpy(&scale, &power, 4);
  return p * scale;
}

FOR_EACH_PROCESSOR float largest(const float* x, int64_t n) {
  float lanes[kLanes];
  for (int l = 0; l < kLanes; ++l) lanes[l] = -INFINITY;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  for (; i < n; ++i) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  float best = lanes[0];
  for (int l = 1; l < kLanes; ++l) best = lanes[l] > best ? lanes[l] : best;
  return best;
}

// y = e^(x - top), and its sum.
FOR_EACH_PROCESSOR double exponentials(const float* x, float* y, int64_t n, float top) {
  float lanes[kLanes] = {};
  double total = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      float e = exponential(x[i + l] - top);
      y[i + l] = e;
      lanes[l] += e;
    }
  }
  for (; i < n; ++i) total += y[i] = exponential(x[i] - top);
  for (int l = 0; l < kLanes; ++l) total += lanes[l];
  return total;
}

FOR_EACH_PROCESSOR void scale(float* x, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

FOR_EACH_PROCESSOR void widen(const uint16_t* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
    __builtin_memcpy(&y[i], &bits, 4);
  }
}

// To bf16, rounding to the nearest even; y are finite probabilities here.
FOR_EACH_PROCESSOR void narrow(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x[i], 4);
    y[i] = static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
  }
}

// x = softcap * tanh(x / softcap); the tanh is kept for the gradient.
FOR_EACH_PROCESSOR void cap(float* x, float* tanhs, int64_t n, float softcap) {
  float factor = 2.0f / softcap;
  for (int64_t i = 0; i < n; ++i) {
    tanhs[i] = 1.0f - 2.0f / (1.0f + exponential(x[i] * factor));
    x[i] = tanhs[i] * softcap;
  }
}

FOR_EACH_PROCESSOR void cap_gradient(float* g, const float* tanhs, int64_t n) {
  for (int64_t i = 0; i < n; ++i) g[i] *= 1.0f - tanhs[i] * tanhs[i];
}

// One row of f32: the loss, and with_gradient the gradient in its place. `tanhs` holds V floats when softcap > 0.
double loss_row(float* x, int64_t n, int64_t label, float softcap, bool with_gradient, float* tanhs) {
  if (softcap > 0) cap(x, tanhs, n, softcap);
  float top = largest(x, n), of_label = x[label];
  double sum = exponentials(x, x, n, top);
  if (with_gradient) {
    scale(x, n, static_cast<float>(1.0 / sum));
    x[label] -= 1.0f;
    if (softcap > 0) cap_gradient(x, tanhs, n);
  }
  return std::log(sum) + static_cast<double>(top) - static_cast<double>(of_label);
}

constexpr float kBeta = 0.79788456f, kKappa = 0.044715f;  // sqrt(2/pi), and the cubic's factor

}  // namespace

FOR_EACH_PROCESSOR void gelu_row(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float v = x[i];
    float u = kBeta * (v + kKappa * v * v * v);
    y[i] = v / (1.0f + exponential(-2.0f * u));
  }
}

FOR_EACH_PROCESSOR void gelu_gradient_row(const float* x, const float* g, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float v = x[i];
    float u = kBeta * (v + kKappa * v * v * v);
    float sigmoid = 1.0f / (1.0f + exponential(-2.0f * u));
    float slope = 2.0f * kBeta * (1.0f + 3.0f * kKappa * v * v);
    y[i] = g[i] * (sigmoid + v * sigmoid * (1.0f - sigmoid) * slope);
  }
}

FOR_EACH_PROCESSOR void squared_relu_row(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    float v = x[i] < 0.0f ? 0.0f : x[i];  // so that NaN stays NaN
    y[i] = v * v;
  }
}

FOR_EACH_PROCESSOR void squared_relu_gradient_row(const float* x, const float* g, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] < 0.0f ? 0.0f : 2.0f * x[i] * g[i];
}

void loss_rows(at::Tensor& logits, const at::Tensor& labels, double softcap, bool with_gradient, double* losses) {
  TORCH_INTERNAL_ASSERT(logits.is_contiguous() && labels.is_contiguous());
  int64_t n = logits.size(1);
  bool is_narrow = logits.scalar_type() == at::kBFloat16;
  auto* data = static_cast<char*>(logits.data_ptr());
  const auto* targets = labels.const_data_ptr<int64_t>();
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> wide(is_narrow ? n : 0), tanhs(softcap > 0 ? n : 0);
    for (int64_t row = begin; row < end; ++row) {
      void* place = data + row * n * (is_narrow ? 2 : 4);
      if (targets[row] < 0) {
        losses[row] = 0;
        if (with_gradient) std::memset(place, 0, n * (is_narrow ? 2 : 4));
        continue;
      }
      float* x = is_narrow ? wide.data() : static_cast<float*>(place);
      if (is_narrow) widen(static_cast<const uint16_t*>(place), x, n);
      losses[row] = loss_row(x, n, targets[row], static_cast<float>(softcap), with_gradient, tanhs.data());
      if (is_narrow && with_gradient) narrow(x, static_cast<uint16_t*>(place), n);
    }
  });
}

}  // namespace idiolect
