// The quantised products of one instruction set, and what the loops that need no set of their own share.
#pragma once
#include "matrix.h"

namespace idiolect {

// How many bytes ahead of itself a product asks for weights. Few vectors leave the processor's own prefetching behind: at
// 16 KiB an 8-bit product of one vector reads 102 GB/s instead of 55, and of eight 71 instead of 18 (2 cores of Zen 5).
constexpr int64_t kAhead = 16384;

// As multiply_strips.
using Strips = void (*)(const Matrix& matrix, const Activations& x, int64_t first, int64_t count, int64_t begin,
                        int64_t end, float* output, int64_t stride);

struct Kernels {
  const char* name;
  Strips strips[3];  // by format, from kQ8 on
};

// Null where the processor lacks the instructions.
const Kernels* kernels_avx512vnni();
const Kernels* kernels_avx2();
const Kernels* kernels_portable();

// dense.cpp: rows begin to end of an f32 or bf16 matrix times `count` vectors, into output[vector * stride + row - begin].
void multiply_rows(const Matrix& matrix, const float* x, int64_t count, int64_t begin, int64_t end, float* output,
                   int64_t stride);

}  // namespace idiolect
