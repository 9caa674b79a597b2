// Matrix products and the linear layer, by whichever of libtorch's two libraries is faster on this processor.
//
// In f32 libtorch multiplies with MKL, which on AMD processors takes its AVX2 code; the oneDNN that libtorch brings
// along as well generates AVX-512 code there and is about twice as fast. Which is taken depends on the processor and
// the shapes alone, so that the same run gives the same bits.
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/variable.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "glue.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace idiolect {
namespace {

using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                             c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

bool amd_with_avx512() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  bool amd = b == signature_AMD_ebx && c == signature_AMD_ecx && d == signature_AMD_edx;
  return amd && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#else
  return false;
#endif
}

const c10::TypedOperatorHandle<Pointwise>* onednn_linear() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<Pointwise>> {
    if (!amd_with_avx512()) return std::nullopt;
    auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!found) return std::nullopt;
    return found->typed<Pointwise>();
  }();
  return handle ? &*handle : nullptr;
}

}  // namespace

namespace {

bool is_plain(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat && tensor.is_cpu() && tensor.layout() == at::kStrided;
}

// (rows, inner) times (inner, columns). Below a size the primitive's set-up costs more than it saves; and a vector is
// not a product.
bool is_large(int64_t rows, int64_t inner, int64_t columns) {
  return rows > 1 && columns > 1 && rows * inner * columns >= (1 << 18);
}

}  // namespace

at::Tensor product(const at::Tensor& a, const at::Tensor& b, const std::optional<at::Tensor>& bias) {
  at::AutoDispatchBelowADInplaceOrView guard;
  bool fits = is_plain(a) && is_plain(b) && a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0);
  if (fits && is_large(a.size(0), a.size(1), b.size(1)) && onednn_linear() != nullptr)
    return onednn_linear()->call(a, b.t(), bias, "none", c10::List<std::optional<at::Scalar>>(), "");
  return bias ? at::addmm(*bias, a, b) : at::mm(a, b);
}

namespace {

// input (.., in) times weight (out, in), plus bias (out).
struct Linear : Function<Linear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    auto shape = input.sizes().vec();
    shape.back() = weight.size(0);
    return product(input.reshape({-1, weight.size(1)}), weight.t(), bias).view(shape);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto saved = context->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1];
    auto gradient = gradients[0].reshape({-1, weight.size(0)});
    at::Tensor of_input, of_weight, of_bias;
    if (context->needs_input_grad(0)) of_input = product(gradient, weight).view(input.sizes());
    if (context->needs_input_grad(1)) of_weight = product(gradient.t(), input.reshape({-1, weight.size(1)}));
    if (context->saved_data["bias"].toBool()) of_bias = gradient.sum(0);
    return {of_input, of_weight, of_bias};
  }
};

// Few vectors without a gradient, as when ids are generated one by one: what counts is the stream of weights.
bool is_streamed(const at::Tensor& input, const at::Tensor& weight) {
  constexpr int64_t most = 16;
  bool recorded = c10::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad());
  bool known = weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16;
  return !recorded && known && input.scalar_type() == weight.scalar_type() && weight.is_cpu() && input.is_cpu() &&
         weight.is_contiguous() && weight.numel() >= (1 << 16) && input.numel() <= most * weight.size(1) &&
         input.numel() > 0 && !at::autocast::is_autocast_enabled(at::kCPU);
}

at::Tensor streamed(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  auto shape = input.sizes().vec();
  shape.back() = weight.size(0);
  auto x = input.detach().to(at::kFloat).reshape({-1, weight.size(1)}).contiguous();
  auto result = linear_of_few(x, weight.detach());
  if (bias) result = result + bias->detach().to(at::kFloat);
  return result.to(input.scalar_type()).view(shape);
}

}  // namespace
}  // namespace idiolect

using namespace idiolect;

extern "C" {

char* idiolect_linear(const at::Tensor* input, const at::Tensor* weight, const at::Tensor* bias, at::Tensor** output) {
  return guarded([&] {
    auto offset = optional_of(bias);
    bool fits = input->dim() >= 1 && weight->dim() == 2 && input->size(-1) == weight->size(1) &&
                (!offset || (offset->dim() == 1 && offset->size(0) == weight->size(0)));
    TORCH_CHECK(fits, "linear: input ", input->sizes(), " and weight ", weight->sizes(), " do not fit");
    if (is_streamed(*input, *weight)) {
      *output = new at::Tensor(streamed(*input, *weight, offset));
      return;
    }
    bool autocast = at::autocast::is_autocast_enabled(input->device().type());
    int64_t inner = weight->size(1), rows = inner == 0 ? 0 : input->numel() / inner;
    bool ours = !autocast && is_plain(*input) && is_plain(*weight) && (!offset || is_plain(*offset)) &&
                is_large(rows, inner, weight->size(0)) && onednn_linear() != nullptr;
    *output = new at::Tensor(ours ? Linear::apply(*input, *weight, offset) : at::linear(*input, *weight, offset));
  });
}

char* idiolect_product(const at::Tensor* a, const at::Tensor* b, at::Tensor** output) {
  return guarded([&] { *output = new at::Tensor(product(*a, *b)); });
}

bool idiolect_onednn_is_preferred() { return onednn_linear() != nullptr; }

}  // extern "C"
