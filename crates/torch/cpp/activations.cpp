// Activations, forward and backward in one visit each: GELU in its tanh form, which is x * sigmoid(2u) with
// u = sqrt(2/pi) (x + 0.044715 x^3), and the square of ReLU.
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "glue.h"
#include "rows.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace idiolect {
namespace {

constexpr int64_t kGrain = 16384;

bool ours(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous(); }

using Row = void (*)(const float* x, float* y, int64_t n);
using GradientRow = void (*)(const float* x, const float* gradient, float* y, int64_t n);

// An activation of one visit each way.
template <Row row, GradientRow gradient_row>
struct Activation : Function<Activation<row, gradient_row>> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input) {
    context->save_for_backward({input});
    auto output = at::empty_like(input);
    const auto* x = input.const_data_ptr<float>();
    auto* y = output.data_ptr<float>();
    at::parallel_for(0, input.numel(), kGrain,
                     [&](int64_t begin, int64_t end) { row(x + begin, y + begin, end - begin); });
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    only_first_order();
    auto input = context->get_saved_variables()[0];
    auto gradient = gradients[0].contiguous();
    auto output = at::empty_like(input, input.options().requires_grad(false));
    const auto *x = input.const_data_ptr<float>(), *g = gradient.const_data_ptr<float>();
    auto* y = output.data_ptr<float>();
    at::parallel_for(0, input.numel(), kGrain, [&](int64_t begin, int64_t end) {
      gradient_row(x + begin, g + begin, y + begin, end - begin);
    });
    return {output};
  }
};

using Gelu = Activation<gelu_row, gelu_gradient_row>;
using SquaredRelu = Activation<squared_relu_row, squared_relu_gradient_row>;

}  // namespace
}  // namespace idiolect

using namespace idiolect;

extern "C" {

char* idiolect_gelu(const at::Tensor* input, at::Tensor** output) {
  return guarded([&] {
    *output = new at::Tensor(ours(*input) ? Gelu::apply(*input) : at::gelu(*input, "tanh"));
  });
}

char* idiolect_squared_relu(const at::Tensor* input, at::Tensor** output) {
  return guarded([&] {
    *output = new at::Tensor(ours(*input) ? SquaredRelu::apply(*input) : at::relu(*input).square());
  });
}

}  // extern "C"
