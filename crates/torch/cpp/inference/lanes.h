// Vectors of 16 floats in plain C++: the compiler makes of them what the processor of the surrounding function has.
#pragma once
#include <cstdint>
#include <cstring>

#include "../processors.h"

namespace idiolect {

constexpr int64_t kLanes = 16;
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
typedef uint32_t BitLanes __attribute__((vector_size(64)));

INLINE Lanes load(const float* from) {
  Lanes lanes;
  std::memcpy(&lanes, from, 64);
  return lanes;
}

INLINE void store(float* to, Lanes lanes) { std::memcpy(to, &lanes, 64); }

// Without a detour through memory, which the obvious loop would take.
INLINE float sum_of(Lanes lanes) {
  auto eight = __builtin_shufflevector(lanes, lanes, 0, 1, 2, 3, 4, 5, 6, 7) +
               __builtin_shufflevector(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15);
  auto four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
  auto two = four + __builtin_shufflevector(four, four, 2, 3, 0, 1);
  return two[0] + two[1];
}

INLINE Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

INLINE float largest_of(Lanes lanes) {
  auto a = __builtin_shufflevector(lanes, lanes, 0, 1, 2, 3, 4, 5, 6, 7);
  auto b = __builtin_shufflevector(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15);
  auto eight = a > b ? a : b;
  auto c = __builtin_shufflevector(eight, eight, 0, 1, 2, 3), d = __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
  auto four = c > d ? c : d;
  float left = four[0] > four[1] ? four[0] : four[1], right = four[2] > four[3] ? four[2] : four[3];
  return left > right ? left : right;
}

// e^x within 2 units in the last place, held to [-87, 87]; as in rows.cpp.
INLINE Lanes exponential(Lanes x) {
  const Lanes end = Lanes{} + 87.0f;
  x = x < -end ? -end : x;
  x = x > end ? end : x;
  Lanes n = x * 1.44269504f + 12582912.0f;
  IntLanes bits = reinterpret_cast<IntLanes>(n);
  n -= 12582912.0f;
  Lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Lanes p = Lanes{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * reinterpret_cast<Lanes>((bits - 0x4B400000 + 127) << 23);
}

}  // namespace idiolect
