/* SwiGLU and its gradient: gate_up `[rows, 2 width]`, gate first. */
#include "vectors.h"

#ifdef SIZER_AVX512

INLINE __m512 sigmoid(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  return _mm512_div_ps(one, _mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

void swiglu(long rows, long width, const real *gate_up, real *out) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    const real *gate = gate_up + 2 * r * width, *up = gate + width;
    real *to = out + r * width;
    for (long i = 0; i < width; i += 16) {
      const __mmask16 which = lane_mask(width - i);
      const __m512 g = load16(which, gate + i);
      store16(which, to + i, _mm512_mul_ps(_mm512_mul_ps(g, sigmoid(g)), load16(which, up + i)));
    }
  }
}

/* Overwrites gate_up with its gradient; out is recomputed as `swiglu` gave it. */
void swiglu_backward(long rows, long width, real *gate_up, const real *dout, real *out) {
  const __m512 one = _mm512_set1_ps(1.0f);
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    real *gate = gate_up + 2 * r * width, *up = gate + width;
    const real *from = dout + r * width;
    real *to = out + r * width;
    for (long i = 0; i < width; i += 16) {
      const __mmask16 which = lane_mask(width - i);
      const __m512 g = load16(which, gate + i), u = load16(which, up + i), d = load16(which, from + i);
      const __m512 s = sigmoid(g), gs = _mm512_mul_ps(g, s);
      const __m512 slope = _mm512_fmadd_ps(gs, _mm512_sub_ps(one, s), s); /* s (1 + g (1 - s)) */
      store16(which, gate + i, _mm512_mul_ps(_mm512_mul_ps(d, u), slope));
      store16(which, up + i, _mm512_mul_ps(d, gs));
      store16(which, to + i, _mm512_mul_ps(gs, u));
    }
  }
}

#endif
