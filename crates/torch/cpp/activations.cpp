// GELU in its tanh form, forward and backward in one visit each: x * sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3).
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

struct Gelu : Function<Gelu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input) {
    context->save_for_backward({input});
    auto output = at::empty_like(input);
    const auto* x = input.const_data_ptr<float>();
    auto* y = output.data_ptr<float>();
    at::parallel_for(0, input.numel(), kGrain, [&](int64_t begin, int64_t end) {
      gelu_row(x + begin, y + begin, end - begin);
    });
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto input = context->get_saved_variables()[0];
    auto gradient = gradients[0].contiguous();
    auto output = at::empty_like(input, input.options().requires_grad(false));
    const auto *x = input.const_data_ptr<float>(), *g = gradient.const_data_ptr<float>();
    auto* y = output.data_ptr<float>();
    at::parallel_for(0, input.numel(), kGrain, [&](int64_t begin, int64_t end) {
      gelu_gradient_row(x + begin, g + begin, y + begin, end - begin);
    });
    return {output};
  }
};

}  // namespace
}  // namespace idiolect

using namespace idiolect;

extern "C" {

char* idiolect_gelu(const at::Tensor* input, at::Tensor** output) {
  return guarded([&] {
    *output = new at::Tensor(ours(*input) ? Gelu::apply(*input) : at::gelu(*input, "tanh"));
  });
}

}  // extern "C"
