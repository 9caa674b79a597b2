// Weight matrices for inference, and how their numbers lie in memory.
//
// A quantised matrix is cut into strips of 16 rows, and each row into blocks of 32 columns with a scale (and a minimum)
// of their own, as in llama.cpp's Q4_0, Q4_1 and Q8_0: w = scale * q + minimum, where q is without sign. A strip holds
// first the quants, block after block, then the f16 scales, 16 a block, then the f16 minima. In a block of quants four
// columns of one row are neighbours and the 16 rows follow each other, so that a vector of 64 bytes times four
// broadcast activations gives one sum for each row. Two such vectors share 64 bytes where q has four bits: the low
// halves are columns 0 to 15, the high ones 16 to 31.
#pragma once
#include <cstdint>

namespace idiolect {

enum class Format : int32_t { kF32 = 0, kBf16 = 1, kQ8 = 2, kQ4 = 3, kQ4Min = 4 };

constexpr int64_t kRows = 16;   // of a strip
constexpr int64_t kBlock = 32;  // columns that share a scale

inline bool is_quantised(Format format) { return format >= Format::kQ8; }

// What is taken from q where no minimum is stored, as a power of two.
constexpr int offset_bits(Format format) { return format == Format::kQ8 ? 7 : 3; }

inline int64_t quant_bytes(Format format) { return format == Format::kQ8 ? kRows * kBlock : kRows * kBlock / 2; }

inline int64_t padded(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

inline int64_t strip_bytes(Format format, int64_t columns) {
  int64_t n_blocks = columns / kBlock, scales = format == Format::kQ4Min ? 2 : 1;
  return padded(n_blocks * (quant_bytes(format) + scales * kRows * 2), 64);
}

// Bytes of a whole matrix; rows are filled up to a multiple of 16.
inline int64_t matrix_bytes(Format format, int64_t rows, int64_t columns) {
  if (!is_quantised(format)) return rows * columns * (format == Format::kF32 ? 4 : 2);
  return padded(rows, kRows) / kRows * strip_bytes(format, columns);
}

// A matrix that someone else keeps alive. f32 and bf16 lie row by row.
struct Matrix {
  Format format = Format::kF32;
  int64_t rows = 0, columns = 0;
  const uint8_t* data = nullptr;

  int64_t n_strips() const { return padded(rows, kRows) / kRows; }
  const uint8_t* strip(int64_t i) const { return data + i * strip_bytes(format, columns); }
};

// Vectors that a matrix is multiplied with: as they are, and for a quantised matrix in blocks of 32 signed bytes with a
// scale each; and each block's sum, in f32 to be multiplied with a minimum, and of the quants alone with its sign
// changed, from which a product without minimum starts.
struct Activations {
  int64_t columns = 0;
  float* values = nullptr;     // [count, columns]
  int8_t* quants = nullptr;    // [count, columns]
  float* scales = nullptr;     // [count, columns / 32]
  float* sums = nullptr;       // [count, columns / 32]
  int32_t* negated = nullptr;  // [count, columns / 32]
};

// rows.cpp: quants, scales and sums of n values, a multiple of 32, at `place` of all; from x.values, or from elsewhere.
void quantise(const Activations& x, int64_t place, int64_t n);
void quantise_from(const float* values, const Activations& x, int64_t place, int64_t n);

// pack.cpp: a strip from up to 16 rows of f32, and one row of a matrix back as f32.
void pack_strip(Format format, const float* rows, int64_t n_rows, int64_t columns, uint8_t* strip);
void unpack_row(const Matrix& matrix, int64_t row, float* values);
// A strip from 16 rows of llama.cpp's blocks of the same format, without loss.
void pack_blocks(Format format, const uint8_t* const* rows, int64_t n_rows, int64_t columns, uint8_t* strip);
uint16_t to_half(float value);
float from_half(uint16_t half);

// multiply.cpp: strips begin to end of `matrix` times vectors first to first + count, into
// output[vector * stride + row - 16 * begin]; rows are filled up to 16.
void multiply_strips(const Matrix& matrix, const Activations& x, int64_t first, int64_t count, int64_t begin, int64_t end,
                     float* output, int64_t stride);

// The instruction sets that products use here, best first: "avx512vnni", "avx2", "portable"; and the choice of another
// one, for tests. False where the processor lacks it.
const char* products_use();
bool use_products(const char* name);

}  // namespace idiolect
