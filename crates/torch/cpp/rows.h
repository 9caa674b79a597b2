// Loops over rows of numbers, compiled for several instruction sets where the compiler can; see rows.cpp.
#pragma once
#include <ATen/ATen.h>

namespace idiolect {

// For each row of logits (rows, V), f32 or bf16: the loss against its label in nats (0 where the label is negative);
// with_gradient, the row becomes the gradient of its loss. A softcap above 0 applies softcap * tanh(x / softcap).
void loss_rows(at::Tensor& logits, const at::Tensor& labels, double softcap, bool with_gradient, double* losses);

// y = gelu(x), and y = g * gelu'(x), of n numbers.
void gelu_row(const float* x, float* y, int64_t n);
void gelu_gradient_row(const float* x, const float* g, float* y, int64_t n);


// The same for relu(x)^2.
void squared_relu_row(const float* x, float* y, int64_t n);
void squared_relu_gradient_row(const float* x, const float* g, float* y, int64_t n);

}  // namespace idiolect
