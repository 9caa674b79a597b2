// RMSNorm, and the heads of attention made ready (normalised, rotated, apart) in one visit each way.
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "glue.h"
#include "processors.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace idiolect {
namespace {

constexpr int kLanes = 16;
// Rows whose share of a weight's gradient is summed by one thread: the same bits at any number of threads.
constexpr int64_t kBlock = 64;

// The sum of a[i] * b[i], over 16 lanes in a fixed order.
INLINE float dot(const float* a, const float* b, int64_t n) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l];
  for (; i < n; ++i) lanes[i % kLanes] += a[i] * b[i];
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

INLINE float inverse_root(const float* x, int64_t n, float epsilon) {
  return 1.0f / std::sqrt(dot(x, x, n) / n + epsilon);
}

// y = x / rms(x) * w, w of ones where it is null.
INLINE void normalise(const float* x, const float* w, float* y, int64_t n, float epsilon) {
  float r = inverse_root(x, n, epsilon);
  if (w == nullptr)
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * r;
  else
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * r * w[i];
}

// From the gradient g of the above that of x, into y (which may be g); that of w is added to `of_w` where w is not null.
INLINE void normalise_gradient(const float* x, const float* w, const float* g, float* y, float* of_w, int64_t n,
                               float epsilon) {
  float r = inverse_root(x, n, epsilon);
  if (w != nullptr) {
    for (int64_t i = 0; i < n; ++i) of_w[i] += g[i] * x[i] * r;
    for (int64_t i = 0; i < n; ++i) y[i] = g[i] * w[i];
    g = y;
  }
  float along = dot(g, x, n) / n * r * r * r;
  for (int64_t i = 0; i < n; ++i) y[i] = g[i] * r - x[i] * along;
}

FOR_EACH_PROCESSOR void normalise_rows(const float* x, const float* w, float* y, int64_t rows, int64_t n, float epsilon) {
  for (int64_t row = 0; row < rows; ++row) normalise(x + row * n, w, y + row * n, n, epsilon);
}

FOR_EACH_PROCESSOR void normalise_gradient_rows(const float* x, const float* w, const float* g, float* y, float* of_w,
                                                int64_t rows, int64_t n, float epsilon) {
  for (int64_t row = 0; row < rows; ++row)
    normalise_gradient(x + row * n, w, g + row * n, y + row * n, of_w, n, epsilon);
}

// As an argument of Function::apply, and back: it takes no undefined tensors.
using Maybe = std::optional<at::Tensor>;
Maybe maybe(const at::Tensor& tensor) { return tensor.defined() ? Maybe(tensor) : std::nullopt; }
at::Tensor tensor_of(const Maybe& tensor) { return tensor.value_or(at::Tensor()); }

const float* data_of(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr; }

bool ours(const at::Tensor& x) { return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous(); }

bool ours_or_none(const at::Tensor& x) { return !x.defined() || ours(x); }

at::Tensor plain_like(const at::Tensor& x) { return at::empty_like(x, x.options().requires_grad(false)); }

int64_t blocks_of(int64_t rows) { return (rows + kBlock - 1) / kBlock; }

// Blocks that make a visit worth a second thread.
int64_t grain(int64_t numbers_a_block) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, numbers_a_block)); }

struct RmsNorm : Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const Maybe& given, double epsilon) {
    auto weight = tensor_of(given);
    context->save_for_backward({input, weight});
    context->saved_data["epsilon"] = epsilon;
    int64_t n = input.size(-1), rows = input.numel() / n;
    auto output = plain_like(input);
    const auto *x = data_of(input), *w = data_of(weight);
    auto* y = output.data_ptr<float>();
    at::parallel_for(0, rows, grain(n), [&](int64_t begin, int64_t end) {
      normalise_rows(x + begin * n, w, y + begin * n, end - begin, n, epsilon);
    });
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    only_first_order();
    auto saved = context->get_saved_variables();
    auto gradient = gradients[0].contiguous(), output = plain_like(saved[0]);
    int64_t n = output.size(-1), rows = output.numel() / n, blocks = blocks_of(rows);
    at::Tensor sums;
    if (saved[1].defined()) sums = at::zeros({blocks, n}, gradient.options());
    const auto *x = data_of(saved[0]), *w = data_of(saved[1]), *g = data_of(gradient);
    auto *y = output.data_ptr<float>(), *of_w = sums.defined() ? sums.data_ptr<float>() : nullptr;
    float epsilon = context->saved_data["epsilon"].toDouble();
    at::parallel_for(0, blocks, grain(kBlock * n), [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        int64_t first = block * kBlock, count = std::min(kBlock, rows - first), from = first * n;
        normalise_gradient_rows(x + from, w, g + from, y + from, of_w == nullptr ? nullptr : of_w + block * n, count, n,
                                epsilon);
      }
    });
    return {output, sums.defined() ? sums.sum(0) : sums, {}};
  }
};

// What is done to heads. Queries and keys: over their root mean square where epsilon >= 0, times a weight where there is
// one, then turned where there are angles (`positions` rows of cosines and of signed sines). Values: nothing.
struct Heads {
  int64_t n_queries, n_keys, width, positions;
  float epsilon;
  const float *of_queries, *of_keys, *cos, *sin;

  int64_t all() const { return n_queries + 2 * n_keys; }
};

// One part of the heads, (rows, count, width); its place among all heads of a row begins at `first`.
template <typename Number>
struct Part {
  Number* data;
  int64_t first, count;
};

// y = x turned: x * cos + (x with its halves exchanged) * sin.
INLINE void turn(const float* x, const float* cos, const float* sin, float* y, int64_t n) {
  int64_t half = n / 2;
  for (int64_t i = 0; i < half; ++i) y[i] = x[i] * cos[i] + x[i + half] * sin[i];
  for (int64_t i = half; i < n; ++i) y[i] = x[i] * cos[i] + x[i - half] * sin[i];
}

// Its gradient, by the transposed matrix.
INLINE void turn_gradient(const float* g, const float* cos, const float* sin, float* y, int64_t n) {
  int64_t half = n / 2;
  for (int64_t i = 0; i < half; ++i) y[i] = g[i] * cos[i] + g[i + half] * sin[i + half];
  for (int64_t i = half; i < n; ++i) y[i] = g[i] * cos[i] + g[i - half] * sin[i - half];
}

INLINE void copy(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i];
}

// One part of the rows begin..end of x (rows, all heads, width).
FOR_EACH_PROCESSOR void forward_rows(const Heads& heads, const float* x, const Part<float>& part, const float* weight,
                                     bool is_value, int64_t begin, int64_t end, float* buffer) {
  int64_t n = heads.width;
  for (int64_t row = begin; row < end; ++row) {
    const float *cos = heads.cos + row % heads.positions * n, *sin = heads.sin + row % heads.positions * n;
    for (int64_t head = 0; head < part.count; ++head) {
      const float* from = x + (row * heads.all() + part.first + head) * n;
      float* to = part.data + (row * part.count + head) * n;
      if (!is_value && heads.epsilon >= 0) {
        normalise(from, weight, buffer, n, heads.epsilon);
        from = buffer;
      }
      if (is_value || heads.cos == nullptr)
        copy(from, to, n);
      else
        turn(from, cos, sin, to, n);
    }
  }
}

// The gradient of x from that of one part.
FOR_EACH_PROCESSOR void backward_rows(const Heads& heads, const float* x, float* y, const Part<const float>& part,
                                      const float* weight, float* of_weight, bool is_value, int64_t begin, int64_t end) {
  int64_t n = heads.width;
  for (int64_t row = begin; row < end; ++row) {
    const float *cos = heads.cos + row % heads.positions * n, *sin = heads.sin + row % heads.positions * n;
    for (int64_t head = 0; head < part.count; ++head) {
      int64_t place = (row * heads.all() + part.first + head) * n;
      const float* g = part.data + (row * part.count + head) * n;
      if (is_value || heads.cos == nullptr)
        copy(g, y + place, n);
      else
        turn_gradient(g, cos, sin, y + place, n);
      if (!is_value && heads.epsilon >= 0)
        normalise_gradient(x + place, weight, y + place, y + place, of_weight, n, heads.epsilon);
    }
  }
}

Heads heads_of(int64_t n_queries, int64_t n_keys, double epsilon, const at::Tensor& x, const variable_list& extras) {
  int64_t width = x.size(-1) / (n_queries + 2 * n_keys);
  int64_t positions = extras[2].defined() ? extras[2].numel() / width : 1;
  return {n_queries,         n_keys,          width, positions, static_cast<float>(epsilon), data_of(extras[0]),
          data_of(extras[1]), data_of(extras[2]), data_of(extras[3])};
}

// x (B, T, (H + 2K) d) to queries (B, T, H, d), keys and values (B, T, K, d).
struct SplitHeads : Function<SplitHeads> {
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const Maybe& of_queries,
                               const Maybe& of_keys, const Maybe& cos, const Maybe& sin, int64_t n_queries,
                               int64_t n_keys, double epsilon) {
    variable_list extras{tensor_of(of_queries), tensor_of(of_keys), tensor_of(cos), tensor_of(sin)};
    context->save_for_backward({x, extras[0], extras[1], extras[2], extras[3]});
    context->saved_data["n_queries"] = n_queries;
    context->saved_data["n_keys"] = n_keys;
    context->saved_data["epsilon"] = epsilon;
    auto heads = heads_of(n_queries, n_keys, epsilon, x, extras);
    auto make = [&](int64_t count) {
      return at::empty({x.size(0), x.size(1), count, heads.width}, x.options().requires_grad(false));
    };
    variable_list parts{make(n_queries), make(n_keys), make(n_keys)};
    Part<float> q{parts[0].data_ptr<float>(), 0, n_queries}, k{parts[1].data_ptr<float>(), n_queries, n_keys},
        v{parts[2].data_ptr<float>(), n_queries + n_keys, n_keys};
    const auto* data = data_of(x);
    at::parallel_for(0, x.size(0) * x.size(1), grain(x.size(2)), [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(heads.width);
      forward_rows(heads, data, q, heads.of_queries, false, begin, end, buffer.data());
      forward_rows(heads, data, k, heads.of_keys, false, begin, end, buffer.data());
      forward_rows(heads, data, v, nullptr, true, begin, end, buffer.data());
    });
    return parts;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    only_first_order();
    auto saved = context->get_saved_variables();
    const auto& x = saved[0];
    int64_t n_queries = context->saved_data["n_queries"].toInt(), n_keys = context->saved_data["n_keys"].toInt();
    auto heads = heads_of(n_queries, n_keys, context->saved_data["epsilon"].toDouble(), x,
                          {saved[1], saved[2], saved[3], saved[4]});
    for (size_t i = 0; i < 3; ++i) {
      int64_t count = i == 0 ? n_queries : n_keys;
      gradients[i] = gradients[i].defined() ? gradients[i].contiguous()
                                            : at::zeros({x.size(0), x.size(1), count, heads.width}, x.options());
    }
    int64_t rows = x.size(0) * x.size(1), blocks = blocks_of(rows), n = heads.width;
    at::Tensor sums;  // (blocks, 2, d): the shares of the weights' gradients
    if (saved[1].defined()) sums = at::zeros({blocks, 2, n}, x.options().requires_grad(false));
    auto output = plain_like(x);
    Part<const float> q{data_of(gradients[0]), 0, n_queries}, k{data_of(gradients[1]), n_queries, n_keys},
        v{data_of(gradients[2]), n_queries + n_keys, n_keys};
    const auto* from = data_of(x);
    auto *to = output.data_ptr<float>(), *of_weights = sums.defined() ? sums.data_ptr<float>() : nullptr;
    at::parallel_for(0, blocks, grain(kBlock * x.size(2)), [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        int64_t begin = block * kBlock, end = std::min(rows, begin + kBlock);
        auto* of_weight = of_weights == nullptr ? nullptr : of_weights + 2 * n * block;
        backward_rows(heads, from, to, q, heads.of_queries, of_weight, false, begin, end);
        backward_rows(heads, from, to, k, heads.of_keys, of_weight == nullptr ? nullptr : of_weight + n, false, begin, end);
        backward_rows(heads, from, to, v, nullptr, nullptr, true, begin, end);
      }
    });
    at::Tensor of_queries, of_keys;
    if (sums.defined()) {
      sums = sums.sum(0);
      of_queries = sums[0];
      of_keys = sums[1];
    }
    return {output, of_queries, of_keys, {}, {}, {}, {}, {}};
  }
};

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (ours(x) && ours_or_none(weight) && x.numel() > 0) return RmsNorm::apply(x, maybe(weight), epsilon);
  return at::rms_norm(x, {x.size(-1)}, maybe(weight), epsilon);
}

// The same by plain operators, for all devices and number types.
variable_list split_heads_plainly(const at::Tensor& x, const variable_list& extras, int64_t n_queries, int64_t n_keys,
                                  double epsilon) {
  auto parts = x.unflatten(-1, {n_queries + 2 * n_keys, -1}).split_with_sizes({n_queries, n_keys, n_keys}, 2);
  for (int i = 0; i < 2; ++i) {
    auto& part = parts[i];
    if (epsilon >= 0) part = at::rms_norm(part, {part.size(-1)}, std::nullopt, epsilon);
    if (extras[i].defined()) part = part * extras[i].to(part.scalar_type());
    if (!extras[2].defined()) continue;
    auto cos = extras[2].to(part.scalar_type()), sin = extras[3].to(part.scalar_type());
    part = (part * cos).addcmul(part.roll({part.size(-1) / 2}, {-1}), sin);
  }
  return {parts[0], parts[1], parts[2]};
}

at::Tensor tensor_or_none(const at::Tensor* pointer) { return pointer == nullptr ? at::Tensor() : *pointer; }

}  // namespace
}  // namespace idiolect

using namespace idiolect;

extern "C" {

char* idiolect_rms_norm(const at::Tensor* input, const at::Tensor* weight, double epsilon, at::Tensor** output) {
  return guarded([&] {
    TORCH_CHECK(input->dim() >= 1 && (weight == nullptr || (weight->dim() == 1 && weight->size(0) == input->size(-1))),
                "rms_norm: the input ", input->sizes(), " and the weight do not fit");
    *output = new at::Tensor(rms_norm(*input, tensor_or_none(weight), epsilon));
  });
}

// `extras`: weight of queries and of keys, cosines, sines; each may be null. `outputs`: queries, keys, values.
char* idiolect_split_heads(const at::Tensor* input, const at::Tensor* const* extras, int64_t n_queries, int64_t n_keys,
                           double epsilon, at::Tensor** outputs) {
  return guarded([&] {
    variable_list more;
    for (int i = 0; i < 4; ++i) more.push_back(tensor_or_none(extras[i]));
    int64_t all = n_queries + 2 * n_keys;
    TORCH_CHECK(input->dim() == 3 && n_queries > 0 && n_keys > 0 && input->size(2) % all == 0, "split_heads: ",
                input->sizes(), " are not ", all, " heads");
    int64_t width = input->size(2) / all, length = input->size(1);
    for (int i = 0; i < 4; ++i) {
      bool one_a_head = i < 2, fits = !more[i].defined() || more[i].size(-1) == width;
      if (fits && more[i].defined()) {
        int64_t rows = more[i].numel() / std::max<int64_t>(1, width);
        fits = one_a_head ? rows == 1 : rows == length || rows == length * input->size(0);
      }
      TORCH_CHECK(fits && more[i].defined() == more[i ^ 1].defined(), "split_heads: weights or angles do not fit ",
                  input->sizes());
    }
    TORCH_CHECK(!more[2].defined() || (width % 2 == 0 && more[2].numel() == more[3].numel()),
                "split_heads: only heads of an even width can turn");
    bool fused = ours(*input) && input->numel() > 0;
    for (const auto& tensor : more) fused = fused && ours_or_none(tensor);
    auto parts = fused ? SplitHeads::apply(*input, maybe(more[0]), maybe(more[1]), maybe(more[2]), maybe(more[3]), n_queries, n_keys,
                                           epsilon)
                       : split_heads_plainly(*input, more, n_queries, n_keys, epsilon);
    for (int i = 0; i < 3; ++i) outputs[i] = new at::Tensor(parts[i]);
  });
}

}  // extern "C"
