/* 16 numbers at a time, where the processor has bfloat16 products (AVX-512). */
#ifndef SIZER_VECTORS_H
#define SIZER_VECTORS_H

#include "../kernels.h"

#ifdef SIZER_AVX512

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define ROUND_UP(x, by) (((x) + (by) - 1) / (by) * (by))

/* Mask of the first `left` of 16 lanes; no lane if `left` is below 1. */
INLINE __mmask16 lane_mask(long left) {
  return left >= 16 ? 0xffff : left <= 0 ? 0 : (__mmask16)((1u << left) - 1);
}

INLINE __m512 load16(__mmask16 which, const real *from) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(which, from)), 16));
}

/* Round to bfloat16 and store. All 16 lanes are stored without a mask: Zen 4 is slower with one. */
INLINE void store16(__mmask16 which, real *to, __m512 x) {
  if (which == 0xffff)
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x));
  else
    _mm256_mask_storeu_epi16(to, which, (__m256i)_mm512_cvtneps_pbh(x));
}

/* e^x as fast_exp, without its limits: 0 below the smallest float. */
INLINE __m512 exp16(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 8);
  const __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f),
                                    _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x));
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

/* ---- pairs of bfloat16 numbers, which _mm512_dpbf16_ps multiplies and adds at once ---- */

/* Pairs (even[i], odd[i]) of two rows of 32 numbers, for the first or the second 16 columns. */
INLINE __m512i interleave(__m512i even, __m512i odd, const int second) {
  const __m512i first_places =
      _mm512_set_epi32(0x2f000f, 0x2e000e, 0x2d000d, 0x2c000c, 0x2b000b, 0x2a000a, 0x290009, 0x280008,
                       0x270007, 0x260006, 0x250005, 0x240004, 0x230003, 0x220002, 0x210001, 0x200000);
  const __m512i places = _mm512_add_epi16(first_places, _mm512_set1_epi16((short)(second ? 16 : 0)));
  return _mm512_permutex2var_epi16(even, places, odd);
}

/* Transposes the first 16 rows and columns of pairs `[rows, columns]` to `[columns, 16]`, padded with 0. */
INLINE void transpose16(long rows, long columns, const bf16_pair *from, long row, bf16_pair *to,
                        long to_row) {
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    a[i] = i < rows ? _mm512_maskz_loadu_epi32(lane_mask(columns), from + i * row) : _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) { /* quarters 0 and 2, then 1 and 3, of columns i, 4 + i, ... */
    const __m512i even1 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x88);
    const __m512i odd1 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xdd);
    const __m512i even2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x88);
    const __m512i odd2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xdd);
    b[i] = _mm512_shuffle_i32x4(even1, even2, 0x88), b[8 + i] = _mm512_shuffle_i32x4(even1, even2, 0xdd);
    b[4 + i] = _mm512_shuffle_i32x4(odd1, odd2, 0x88), b[12 + i] = _mm512_shuffle_i32x4(odd1, odd2, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    if (i < columns) _mm512_storeu_si512(to + i * to_row, b[i]);
}

#define TILE 8 /* rows of a product at a time: with 32 columns 16 registers of sums */

/* Sums of `height` rows and 16 or 32 columns (wide 1 or 2) over k pairs: a's (row, i) is
 * a[row * a_row + i * a_step], b's (i, column) is b[i * b_step + column]. */
INLINE void sum_tile(const int height, const int wide, long k, const bf16_pair *a, long a_row, long a_step,
                     const bf16_pair *b, long b_step, __m512 sums[TILE][2]) {
#pragma GCC unroll 8
  for (int r = 0; r < height; r++)
#pragma GCC unroll 2
    for (int w = 0; w < wide; w++) sums[r][w] = _mm512_setzero_ps();
  for (long i = 0; i < k; i++) {
    __m512bh columns[2];
#pragma GCC unroll 2
    for (int w = 0; w < wide; w++) columns[w] = (__m512bh)_mm512_loadu_si512(b + i * b_step + 16 * w);
#pragma GCC unroll 8
    for (int r = 0; r < height; r++) {
      const __m512bh pair = (__m512bh)_mm512_set1_epi32((int)a[r * a_row + i * a_step]);
#pragma GCC unroll 2
      for (int w = 0; w < wide; w++) sums[r][w] = _mm512_dpbf16_ps(sums[r][w], pair, columns[w]);
    }
  }
}

#endif
#endif
