// Modes and state of the process and the thread: gradient, autocast, generators, determinism, versions.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include <mutex>

#include "glue.h"

using namespace idiolect;

static at::Device device_of(int kind, int index) {
  return at::Device(static_cast<at::DeviceType>(kind), static_cast<at::DeviceIndex>(index));
}

extern "C" {

void idiolect_free(char* text) { std::free(text); }

bool idiolect_set_grad_enabled(bool enabled) {
  bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(enabled);
  return before;
}

char* idiolect_autocast_begin(int device, int dtype, bool enabled, bool* was_enabled, int* was_dtype) {
  return guarded([&] {
    auto type = static_cast<at::DeviceType>(device);
    *was_enabled = at::autocast::is_autocast_enabled(type);
    *was_dtype = static_cast<int>(at::autocast::get_autocast_dtype(type));
    at::autocast::set_autocast_enabled(type, enabled);
    if (enabled) at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(dtype));
    at::autocast::increment_nesting();
  });
}

char* idiolect_autocast_end(int device, bool was_enabled, int was_dtype) {
  return guarded([&] {
    auto type = static_cast<at::DeviceType>(device);
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type, was_enabled);
    at::autocast::set_autocast_dtype(type, static_cast<at::ScalarType>(was_dtype));
  });
}

char* idiolect_seed(int device, int index, int64_t seed) {
  return guarded([&] {
    auto generator = at::globalContext().defaultGenerator(device_of(device, index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(static_cast<uint64_t>(seed));
  });
}

char* idiolect_generator_state(int device, int index, at::Tensor** state) {
  return guarded([&] {
    auto generator = at::globalContext().defaultGenerator(device_of(device, index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    *state = new at::Tensor(generator.get_state());
  });
}

char* idiolect_set_generator_state(int device, int index, const at::Tensor* state) {
  return guarded([&] {
    auto generator = at::globalContext().defaultGenerator(device_of(device, index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(state->cpu().contiguous());
  });
}

char* idiolect_deterministic(bool deterministic) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
    // Filling fresh memory is a guard against reading it, not needed for the same bits, and costs time.
    context.setDeterministicFillUninitializedMemory(false);
    context.setBenchmarkCuDNN(!deterministic && context.benchmarkCuDNN());
    context.setDeterministicCuDNN(deterministic);
  });
}

bool idiolect_has_cuda() {
  bool has = false;
  char* error = guarded([&] { has = at::hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0; });
  std::free(error);
  return has;
}

const char* idiolect_version() { return TORCH_VERSION; }

// Peak and current bytes on a GPU since the last reset; the allocator is there only once CUDA is initialised.
char* idiolect_cuda_peak(int index, bool reset, uint64_t* peak) {
  return guarded([&] {
    *peak = 0;
    at::globalContext().lazyInitDevice(at::kCUDA);
    auto* allocator = at::getDeviceAllocator(at::kCUDA);
    if (reset) {
      allocator->resetPeakStats(static_cast<c10::DeviceIndex>(index));
    } else {
      auto stats = allocator->getDeviceStats(static_cast<c10::DeviceIndex>(index));
      *peak = static_cast<uint64_t>(stats.allocated_bytes[0].peak);
    }
  });
}

}  // extern "C"
