// What happens to rows of activations between products.
#pragma once
#include "matrix.h"

namespace idiolect {

// output = x / root of the mean square of x and epsilon, times weight.
void rms_norm_row(const float* x, const float* weight, float epsilon, int64_t n, float* output);

// x = gate activation(x) * y, of n numbers, a multiple of 16.
enum class Gate : int32_t { kSilu = 0, kGeluTanh = 1 };
void gate_row(Gate gate, float* x, const float* y, int64_t n);

// x += y.
void add_row(float* x, const float* y, int64_t n);

// Turns one head of d numbers: x * cos + roll(x, d / 2) * sin, the first half of the sines with its sign changed.
void rotate_head(float* x, const float* cos, const float* sin, int64_t d);

// The index of the largest number, the first of equals, and the logarithm of the sum of all exponentials.
struct Peak {
  int64_t index;
  double log_sum;
};
Peak peak_of(const float* x, int64_t n);

}  // namespace idiolect
