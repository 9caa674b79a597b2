// What every function of the glue shares: exceptions become text, tensors cross as pointers.
#pragma once
#include <ATen/ATen.h>

#include <c10/core/GradMode.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <vector>

namespace idiolect {

using Tensors = std::vector<at::Tensor>;

inline char* text_of(const char* message) noexcept {
  char* copy = static_cast<char*>(std::malloc(std::strlen(message) + 1));
  if (copy == nullptr) std::abort();  // not a hundred bytes are left: nothing can be reported
  return std::strcpy(copy, message);
}

// Runs `body`; null when it went well, else the message, which the caller frees with idiolect_free.
template <typename Body>
char* guarded(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    return text_of(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return text_of("out of memory: std::bad_alloc");
  } catch (const std::exception& error) {
    return text_of(error.what());
  } catch (...) {
    return text_of("unknown C++ exception");
  }
}

inline Tensors tensors_of(const at::Tensor* const* pointers, int64_t count) {
  Tensors tensors;
  tensors.reserve(count);
  for (int64_t i = 0; i < count; ++i) tensors.push_back(*pointers[i]);
  return tensors;
}

inline std::optional<at::Tensor> optional_of(const at::Tensor* pointer) {
  return pointer == nullptr ? std::nullopt : std::make_optional(*pointer);
}

// The gradients of those parameters that have one.
inline Tensors gradients_of(const Tensors& parameters) {
  Tensors gradients;
  for (const auto& parameter : parameters)
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  return gradients;
}

// Gradient mode is on in a backward pass only when its own gradient is wanted, which our fused functions do not have.
inline void only_first_order() {
  TORCH_CHECK(!c10::GradMode::is_enabled(), "a fused function has no gradient of its gradient");
}

// products.cpp: a (m,k) times b (k,n), by the library that is faster on this processor; never records a gradient.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, const std::optional<at::Tensor>& bias = std::nullopt);

// inference/border.cpp: x (n,k) of contiguous f32 times weight (m,k) of contiguous f32 or bf16: (n,m).
at::Tensor linear_of_few(const at::Tensor& x, const at::Tensor& weight);

}  // namespace idiolect
