// The language-model head: logits, softmax, loss and both gradients in chunks of rows, so that the logits of all rows
// never exist at once; and the embedding whose gradient goes straight into the table's.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/graph_task.h>

#include "glue.h"
#include "rows.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace idiolect {
namespace {

constexpr int64_t kIgnored = -100;
// Rows of the weight whose gradient is made at once when it is added to: the piece stays in the processor's cache.
constexpr int64_t kVocabularyBlock = 4096;

// During backward() into a leaf the gradient may be added in place; when autograd.grad() asks, it must be handed back.
bool may_accumulate(const at::Tensor& leaf) {
  const auto* asked = torch::autograd::get_current_graph_task_exec_info();
  return leaf.is_leaf() && leaf.requires_grad() && (asked == nullptr || asked->empty());
}

struct Head {
  at::Tensor loss, of_hidden, of_weight;
};

// logits (rows, V) become their gradient in place; gives the loss of each row.
at::Tensor softmax_rows(at::Tensor& logits, const at::Tensor& labels, double softcap, bool with_gradient) {
  if (logits.is_cpu() && (logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kBFloat16)) {
    auto losses = at::empty({logits.size(0)}, at::kDouble);
    loss_rows(logits, labels, softcap, with_gradient, losses.data_ptr<double>());
    return losses;
  }
  auto x = logits.to(at::kFloat);
  at::Tensor tanh;
  if (softcap > 0) x = (tanh = at::tanh(x / softcap)) * softcap;
  auto valid = labels != kIgnored;
  auto index = labels.clamp_min(0).unsqueeze(1);
  auto logarithms = at::log_softmax(x, 1);
  auto losses = -logarithms.gather(1, index).squeeze(1) * valid;
  if (with_gradient) {
    auto gradient = logarithms.exp_();
    gradient.scatter_add_(1, index, at::full({1, 1}, -1.0, gradient.options()).expand_as(index));
    gradient.mul_(valid.unsqueeze(1));
    if (softcap > 0) gradient.mul_(1 - tanh * tanh);
    logits = gradient.to(logits.scalar_type());
  }
  return losses.to(at::kDouble);
}

void add_weight_gradient(at::Tensor& total, const at::Tensor& gradient, const at::Tensor& hidden) {
  if (!total.defined()) {
    total = product(gradient.t(), hidden).to(at::kFloat);
    return;
  }
  int64_t vocabulary = gradient.size(1);
  int64_t block = gradient.is_cpu() ? kVocabularyBlock : vocabulary;
  for (int64_t start = 0; start < vocabulary; start += block) {
    int64_t length = std::min(block, vocabulary - start);
    total.narrow(0, start, length).add_(product(gradient.narrow(1, start, length).t(), hidden));
  }
}

Head head(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& labels, double softcap, int64_t chunk,
          at::ScalarType kind, bool for_hidden, bool for_weight) {
  auto narrow_weight = weight.to(kind);
  int64_t rows = hidden.size(0);
  Head result;
  result.loss = at::zeros({}, hidden.options().dtype(at::kDouble).requires_grad(false));
  if (for_hidden) result.of_hidden = at::empty_like(hidden, hidden.options().requires_grad(false));
  for (int64_t start = 0; start < rows; start += chunk) {
    int64_t length = std::min(chunk, rows - start);
    auto part = hidden.narrow(0, start, length).to(kind);
    auto logits = product(part, narrow_weight.t());
    auto losses = softmax_rows(logits, labels.narrow(0, start, length), softcap, for_hidden || for_weight);
    result.loss.add_(losses.sum());
    if (for_hidden && length == rows && kind == hidden.scalar_type())
      result.of_hidden = product(logits, narrow_weight);
    else if (for_hidden)
      result.of_hidden.narrow(0, start, length).copy_(product(logits, narrow_weight));
    if (for_weight) add_weight_gradient(result.of_weight, logits, part);
  }
  if (for_weight && !result.of_weight.defined()) result.of_weight = at::zeros_like(weight, at::kFloat);
  if (for_weight) result.of_weight = result.of_weight.to(weight.scalar_type());
  result.loss = result.loss.to(at::kFloat);
  return result;
}

// Puts `gradient` times `factor` where it belongs: into leaf.grad during backward(), else it is given back.
at::Tensor deliver(const at::Tensor& leaf, at::Tensor gradient, const at::Tensor& factor) {
  bool one = factor.is_cpu() && factor.item<double>() == 1.0;
  if (may_accumulate(leaf)) {
    auto& total = leaf.mutable_grad();
    if (!total.defined()) {
      total = one ? gradient : gradient.mul_(factor);
    } else if (factor.is_cpu()) {
      total.add_(gradient, factor.item());
    } else {
      total.addcmul_(gradient, factor.to(total.scalar_type()));
    }
    return {};
  }
  return one ? gradient : gradient.mul_(factor);
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& labels, double softcap, int64_t chunk, int64_t kind, bool recording) {
    auto result = head(hidden, weight, labels, softcap, chunk, static_cast<at::ScalarType>(kind),
                       recording && hidden.requires_grad(), recording && weight.requires_grad());
    context->save_for_backward({weight});
    context->saved_data["of_hidden"] = result.of_hidden;
    context->saved_data["of_weight"] = result.of_weight;
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    c10::NoGradGuard no_grad;
    auto weight = context->get_saved_variables()[0];
    auto take = [&](const char* name) {
      auto found = context->saved_data.find(name);
      TORCH_CHECK(found != context->saved_data.end(), "linear_cross_entropy: backward a second time is not possible");
      auto tensor = found->second.toTensor();
      context->saved_data.erase(found);
      return tensor;
    };
    auto of_hidden = take("of_hidden"), of_weight = take("of_weight");
    auto factor = gradients[0];
    bool one = factor.is_cpu() && factor.item<double>() == 1.0;
    if (of_hidden.defined() && !one) of_hidden.mul_(factor);
    if (of_weight.defined()) of_weight = deliver(weight, std::move(of_weight), factor);
    return {of_hidden, of_weight, {}, {}, {}, {}, {}};
  }
};

// rows of weight (V, D) by ids (..).
struct Embedding : Function<Embedding> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& weight, const at::Tensor& ids) {
    context->save_for_backward({weight, ids});
    return at::embedding(weight, ids);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    c10::NoGradGuard no_grad;
    auto saved = context->get_saved_variables();
    const auto &weight = saved[0], &ids = saved[1];
    auto rows = gradients[0].reshape({-1, weight.size(1)}).to(weight.scalar_type());
    bool in_place = may_accumulate(weight);
    at::Tensor total = in_place ? weight.grad() : at::Tensor();
    if (!total.defined()) total = at::zeros_like(weight, weight.options().requires_grad(false));
    total.index_add_(0, ids.reshape({-1}), rows);
    if (!in_place) return {total, {}};
    if (!weight.grad().defined()) weight.mutable_grad() = total;
    return {{}, {}};
  }
};

void check_head(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& labels) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && labels.dim() == 1 && hidden.size(1) == weight.size(1) &&
                  hidden.size(0) == labels.size(0),
              "linear_cross_entropy: hidden ", hidden.sizes(), ", weight ", weight.sizes(), " and labels ",
              labels.sizes(), " do not fit");
  TORCH_CHECK(labels.scalar_type() == at::kLong, "linear_cross_entropy: labels are i64, not ", labels.scalar_type());
  TORCH_CHECK(at::isFloatingType(hidden.scalar_type()) && at::isFloatingType(weight.scalar_type()),
              "linear_cross_entropy: hidden and weight are floating point numbers");
  if (!labels.is_cpu()) return;  // a check would wait for the device; its kernels assert
  auto contiguous = labels.contiguous();
  const auto* data = contiguous.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < contiguous.numel(); ++i)
    TORCH_CHECK(data[i] == kIgnored || (data[i] >= 0 && data[i] < weight.size(0)), "label ", data[i],
                " is outside the vocabulary of ", weight.size(0));
}

at::ScalarType product_kind(const at::Tensor& hidden, const at::Tensor& weight) {
  auto device = hidden.device().type();
  if (at::autocast::is_autocast_enabled(device)) return at::autocast::get_autocast_dtype(device);
  return at::promote_types(hidden.scalar_type(), weight.scalar_type());
}

}  // namespace
}  // namespace idiolect

using namespace idiolect;

extern "C" {

char* idiolect_linear_cross_entropy(const at::Tensor* hidden, const at::Tensor* weight, const at::Tensor* labels,
                                    double softcap, int64_t chunk, at::Tensor** loss) {
  return guarded([&] {
    check_head(*hidden, *weight, *labels);
    bool recording = at::GradMode::is_enabled();
    auto kind = static_cast<int64_t>(product_kind(*hidden, *weight));
    auto places = labels->contiguous();
    auto apply = [&] {
      return LinearCrossEntropy::apply(*hidden, *weight, places, softcap, chunk, kind, recording);
    };
    auto device = hidden->device().type();
    // The types are chosen above: autocast must not choose again inside.
    bool autocast = at::autocast::is_autocast_enabled(device);
    if (autocast) at::autocast::set_autocast_enabled(device, false);
    try {
      *loss = new at::Tensor(apply());
    } catch (...) {
      if (autocast) at::autocast::set_autocast_enabled(device, true);
      throw;
    }
    if (autocast) at::autocast::set_autocast_enabled(device, true);
  });
}

char* idiolect_embedding(const at::Tensor* weight, const at::Tensor* ids, at::Tensor** output) {
  return guarded([&] {
    TORCH_CHECK(weight->dim() == 2, "embedding: the table ", weight->sizes(), " is not a matrix");
    *output = new at::Tensor(Embedding::apply(*weight, *ids));
  });
}

}  // extern "C"
