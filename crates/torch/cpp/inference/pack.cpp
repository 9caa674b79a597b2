// Rows of f32, or llama.cpp's blocks, to strips of a quantised matrix, and back.
#include "matrix.h"

#include <cmath>
#include <cstring>

namespace idiolect {

uint16_t to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude >= 0x7F800000) return sign | (magnitude > 0x7F800000 ? 0x7E00 : 0x7C00);
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // rounds past 65,504
  if (magnitude < 0x38800000) {                         // a subnormal half: in units of 2^-24
    float scaled = std::nearbyint(std::fabs(value) * 16777216.0f);
    return sign | static_cast<uint16_t>(scaled);
  }
  uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded - 0x38000000) >> 13);
}

float from_half(uint16_t half) {
  uint32_t exponent = half >> 10 & 31, fraction = half & 1023, bits;
  if (exponent == 0) {
    float value = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return half & 0x8000 ? -value : value;
  }
  bits = static_cast<uint32_t>(half & 0x8000) << 16 | (exponent == 31 ? 0xFFu : exponent + 112) << 23 | fraction << 13;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

namespace {

// Where things of a strip lie.
struct Strip {
  uint8_t* quants;
  uint16_t *scales, *minima;
  Format format;

  Strip(Format format, int64_t columns, uint8_t* strip) : format(format) {
    int64_t n_blocks = columns / kBlock;
    quants = strip;
    scales = reinterpret_cast<uint16_t*>(strip + n_blocks * quant_bytes(format));
    minima = format == Format::kQ4Min ? scales + n_blocks * kRows : nullptr;
  }

  // The byte of a column, and whether it is in the high half.
  uint8_t& place(int64_t block, int64_t row, int64_t column, bool* high) const {
    *high = format != Format::kQ8 && column >= 16;
    if (*high) column -= 16;
    return quants[block * quant_bytes(format) + column / 4 * 64 + row * 4 + column % 4];
  }

  void set(int64_t block, int64_t row, int64_t column, uint8_t quant) const {
    bool high;
    uint8_t& byte = place(block, row, column, &high);
    if (format == Format::kQ8)
      byte = quant;
    else
      byte = high ? (byte & 0x0F) | quant << 4 : (byte & 0xF0) | quant;
  }

  int get(int64_t block, int64_t row, int64_t column) const {
    bool high;
    uint8_t byte = place(block, row, column, &high);
    return format == Format::kQ8 ? byte : high ? byte >> 4 : byte & 15;
  }
};

// Rounded, and held to what there is room for.
uint8_t held(float value, float top) {
  value = value + 0.5f < 0 ? 0 : value + 0.5f;
  return static_cast<uint8_t>(value > top ? top : value);
}

// One block of 32 numbers, to the nearest of 16 or 256 steps: between least and largest where a minimum is stored, else
// as llama.cpp spreads them: the largest magnitude is a whole -8 or 127.
void pack_block(const Strip& strip, const float* values, int64_t block, int64_t row) {
  float least = values[0], most = values[0], extreme = 0;
  for (int64_t i = 0; i < kBlock; ++i) {
    least = values[i] < least ? values[i] : least;
    most = values[i] > most ? values[i] : most;
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  float scale, minimum, top = strip.format == Format::kQ8 ? 255.0f : 15.0f;
  if (strip.format == Format::kQ4Min) {
    scale = from_half(to_half((most - least) / 15.0f));
    minimum = from_half(to_half(least));
    strip.minima[block * kRows + row] = to_half(minimum);
  } else {
    scale = from_half(to_half(strip.format == Format::kQ4 ? extreme / -8.0f : std::fabs(extreme) / 127.0f));
    minimum = -scale * static_cast<float>(1 << offset_bits(strip.format));
  }
  strip.scales[block * kRows + row] = to_half(scale);
  float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  for (int64_t i = 0; i < kBlock; ++i) strip.set(block, row, i, held((values[i] - minimum) * inverse, top));
}

// Bytes of llama.cpp's block: scale, minimum where there is one, quants.
int64_t block_bytes(Format format) { return format == Format::kQ8 ? 34 : format == Format::kQ4 ? 18 : 20; }

}  // namespace

void pack_strip(Format format, const float* rows, int64_t n_rows, int64_t columns, uint8_t* strip) {
  std::memset(strip, 0, strip_bytes(format, columns));
  Strip parts(format, columns, strip);
  for (int64_t row = 0; row < n_rows; ++row)
    for (int64_t block = 0; block < columns / kBlock; ++block)
      pack_block(parts, rows + row * columns + block * kBlock, block, row);
}

void pack_blocks(Format format, const uint8_t* const* rows, int64_t n_rows, int64_t columns, uint8_t* strip) {
  std::memset(strip, 0, strip_bytes(format, columns));
  Strip parts(format, columns, strip);
  for (int64_t row = 0; row < n_rows; ++row) {
    for (int64_t block = 0; block < columns / kBlock; ++block) {
      const uint8_t* from = rows[row] + block * block_bytes(format);
      std::memcpy(parts.scales + block * kRows + row, from, 2);
      if (parts.minima != nullptr) std::memcpy(parts.minima + block * kRows + row, from + 2, 2);
      const uint8_t* quants = from + (parts.minima != nullptr ? 4 : 2);
      // Low halves are columns 0 to 15 there as here, so that whole groups of four bytes move.
      for (int64_t i = 0; i < quant_bytes(format) / kRows; i += 4) {
        uint32_t four;
        std::memcpy(&four, quants + i, 4);
        if (format == Format::kQ8) four ^= 0x80808080;
        std::memcpy(parts.quants + block * quant_bytes(format) + i / 4 * 64 + row * 4, &four, 4);
      }
    }
  }
}

void unpack_row(const Matrix& matrix, int64_t row, float* values) {
  if (matrix.format == Format::kF32) {
    std::memcpy(values, matrix.data + row * matrix.columns * 4, matrix.columns * 4);
    return;
  }
  if (matrix.format == Format::kBf16) {
    const auto* from = reinterpret_cast<const uint16_t*>(matrix.data) + row * matrix.columns;
    for (int64_t i = 0; i < matrix.columns; ++i) {
      uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
      std::memcpy(values + i, &bits, 4);
    }
    return;
  }
  Strip strip(matrix.format, matrix.columns, const_cast<uint8_t*>(matrix.strip(row / kRows)));
  for (int64_t block = 0; block < matrix.columns / kBlock; ++block) {
    int64_t place = block * kRows + row % kRows;
    float scale = from_half(strip.scales[place]);
    float minimum = strip.minima != nullptr ? from_half(strip.minima[place]) : 0.0f;
    int offset = strip.minima != nullptr ? 0 : 1 << offset_bits(matrix.format);
    for (int64_t i = 0; i < kBlock; ++i)
      values[block * kBlock + i] = scale * static_cast<float>(strip.get(block, row % kRows, i) - offset) + minimum;
  }
}

}  // namespace idiolect
