/* Shared by every kernel: the type of activations, rounding to it, dividing work among threads. */
#ifndef SIZER_KERNELS_H
#define SIZER_KERNELS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Whether this compiler and processor have AVX-512 with bfloat16 products: avx512/ is compiled then. */
#if defined(REAL_BF16) && defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define SIZER_AVX512
#endif

#ifdef REAL_BF16
typedef uint16_t real;
static inline float load(real x) {
  union { uint32_t bits; float value; } u = {(uint32_t)x << 16};
  return u.value;
}
/* Round to nearest, ties to even, as torch does; NaN stays NaN. */
static inline real store(float x) {
  union { float value; uint32_t bits; } u = {x};
  uint32_t rounded = (u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16;
  return (real)(x != x ? 0x7fc0u : rounded);
}
#else
typedef float real;
static inline float load(real x) { return x; }
static inline real store(float x) { return x; }
#endif

#include "exports.h"

/* e^x to 2 units in the last place of a float, in a form that compilers vectorize (after Cephes). */
static inline float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* nearest whole number */
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  union { int32_t bits; float value; } power = {((int32_t)n + 127) << 23};
  return p * power.value;
}

/* Defines `first` and `last`: the rows [first, last) of a partition. */
#define PARTITION(partition, num_partitions, rows)              \
  const long first = (rows) * (partition) / (num_partitions),   \
             last = (rows) * ((partition) + 1) / (num_partitions)

#endif
