// Steps over all parameters in one call: gradient norms, fused AdamW, Muon.
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <map>

#include "glue.h"

namespace idiolect {
namespace {

at::Tensor norm_of(const Tensors& gradients) {
  if (gradients.empty()) return at::zeros({}, at::kFloat);
  auto norms = at::_foreach_norm(gradients, 2);
  for (auto& norm : norms) norm = norm.to(at::kFloat);
  return norms.size() == 1 ? norms[0] : at::linalg_vector_norm(at::stack(norms), 2);
}

// Keller Jordan's quintic Newton-Schulz iteration on matrices (.., rows, columns) with rows <= columns:
// it takes every singular value near to 1. https://kellerjordan.github.io/posts/muon/
template <typename Multiply>
at::Tensor orthogonal(at::Tensor x, int64_t steps, Multiply multiply) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  x = x / (at::linalg_vector_norm(x, 2, at::IntArrayRef{-2, -1}, /*keepdim=*/true) + 1e-7);
  for (int64_t step = 0; step < steps; ++step) {
    auto gram = multiply(x, x.mT());
    auto polynomial = multiply(gram, gram).mul_(c).add_(gram, b);
    x = multiply(polynomial, x).add_(x, a);
  }
  return x;
}

struct MuonSettings {
  double learning_rate, momentum, weight_decay;
  int64_t steps;
  bool nesterov, bf16;
};

// A matrix of its own: a section of the rows of a parameter, and what the momentum moves it by.
struct Piece {
  at::Tensor weight, update;
};

// Moves the momenta on; the pieces of each shape, in the order of the parameters.
std::map<std::pair<int64_t, int64_t>, std::vector<Piece>> pieces_of(const Tensors& parameters, const Tensors& momenta,
                                                                    const int64_t* sections, const int64_t* counts,
                                                                    const MuonSettings& settings) {
  std::map<std::pair<int64_t, int64_t>, std::vector<Piece>> groups;
  for (size_t i = 0; i < parameters.size(); sections += counts[i], ++i) {
    const auto& gradient = parameters[i].grad();
    if (!gradient.defined()) continue;
    momenta[i].lerp_(gradient, 1 - settings.momentum);
    auto update = settings.nesterov ? gradient.lerp(momenta[i], settings.momentum) : momenta[i];
    int64_t start = 0, columns = gradient.size(1);
    for (int64_t s = 0; s < counts[i]; start += sections[s], ++s)
      groups[{sections[s], columns}].push_back(
          {parameters[i].narrow(0, start, sections[s]), update.narrow(0, start, sections[s])});
  }
  return groups;
}

// The updates of one shape made orthogonal. A GPU takes them as one batch, which saves launches; on a processor each
// thread takes some of them, and where there are few the threads share each product.
void orthogonalise(Tensors& updates, const MuonSettings& settings) {
  auto kind = settings.bf16 ? at::kBFloat16 : at::kFloat;
  if (!updates[0].is_cpu()) {
    auto batch = at::stack(updates).to(kind);
    updates = orthogonal(batch, settings.steps, [](const auto& x, const auto& y) { return at::bmm(x, y); }).unbind(0);
    return;
  }
  auto some = [&](int64_t begin, int64_t end) {
    c10::NoGradGuard no_grad;  // the mode is a thread's own
    for (int64_t i = begin; i < end; ++i)
      updates[i] = orthogonal(updates[i].to(kind).contiguous(), settings.steps,
                              [](const auto& x, const auto& y) { return product(x, y); });
  };
  int64_t count = updates.size();
  count < 2 * at::get_num_threads() ? some(0, count) : at::parallel_for(0, count, 1, some);
}

// Steps the pieces of one shape.
void muon_group(std::vector<Piece>& pieces, const MuonSettings& settings) {
  int64_t rows = pieces[0].weight.size(0), columns = pieces[0].weight.size(1);
  bool tall = rows > columns;
  Tensors updates;
  for (const auto& piece : pieces) updates.push_back(tall ? piece.update.mT() : piece.update);
  orthogonalise(updates, settings);
  double scale = std::sqrt(std::max(1.0, double(rows) / double(columns)));
  for (size_t i = 0; i < pieces.size(); ++i) {
    auto& weight = pieces[i].weight;
    if (settings.weight_decay != 0) weight.mul_(1 - settings.learning_rate * settings.weight_decay);
    weight.add_(tall ? updates[i].mT() : updates[i], -settings.learning_rate * scale);
  }
}

}  // namespace
}  // namespace idiolect

using namespace idiolect;

extern "C" {

char* idiolect_grad_norm(const at::Tensor* const* parameters, int64_t count, at::Tensor** norm) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    *norm = new at::Tensor(norm_of(gradients_of(tensors_of(parameters, count))));
  });
}

char* idiolect_scale_grads(const at::Tensor* const* parameters, int64_t count, const at::Tensor* factor) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    auto gradients = gradients_of(tensors_of(parameters, count));
    if (!gradients.empty()) at::_foreach_mul_(gradients, *factor);
  });
}

// `divisor`, when given, divides the gradients on their way (they are written back divided).
char* idiolect_adamw(const at::Tensor* const* parameters, const at::Tensor* const* averages,
                     const at::Tensor* const* squares, const at::Tensor* const* steps, int64_t count,
                     double learning_rate, double beta1, double beta2, double epsilon, double weight_decay,
                     const at::Tensor* divisor) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    Tensors with_gradient, gradients, first, second, counters;
    for (int64_t i = 0; i < count; ++i) {
      if (!parameters[i]->grad().defined()) continue;
      with_gradient.push_back(*parameters[i]);
      gradients.push_back(parameters[i]->grad());
      first.push_back(*averages[i]);
      second.push_back(*squares[i]);
      counters.push_back(*steps[i]);
    }
    if (with_gradient.empty()) return;
    at::_foreach_add_(counters, 1);
    at::_fused_adamw_(with_gradient, gradients, first, second, /*max_exp_avg_sqs=*/{}, counters, learning_rate, beta1,
                      beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false, optional_of(divisor));
  });
}

// `counts` says of each parameter how many sections it has; `sections` the rows of each, one list after the other.
char* idiolect_muon(const at::Tensor* const* parameters, const at::Tensor* const* momenta, int64_t count,
                    const int64_t* sections, const int64_t* counts, double learning_rate, double momentum, double weight_decay, int64_t newton_schulz_steps,
                    bool nesterov, bool bf16) {
  return guarded([&] {
    c10::NoGradGuard no_grad;
    MuonSettings settings{learning_rate, momentum, weight_decay, newton_schulz_steps, nesterov, bf16};
    auto groups = pieces_of(tensors_of(parameters, count), tensors_of(momenta, count), sections, counts, settings);
    for (auto& group : groups) muon_group(group.second, settings);
  });
}

char* idiolect_zero_grad(const at::Tensor* const* parameters, int64_t count) {
  return guarded([&] {
    for (int64_t i = 0; i < count; ++i) parameters[i]->mutable_grad().reset();
  });
}

}  // extern "C"
