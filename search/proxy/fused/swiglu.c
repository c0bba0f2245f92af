/* What a feed-forward part does between its products: gate_up `[rows, 2 width]`, gate first. */
#include "vectors.h"

#ifdef VECTORS

INLINE __m512 sigmoid(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  return _mm512_div_ps(one, _mm512_add_ps(one, exponential(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

EXPORT void swiglu(long rows, long width, const real *gate_up, real *out) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    const real *gate = gate_up + 2 * r * width, *up = gate + width;
    real *to = out + r * width;
    for (long i = 0; i < width; i += 16) {
      const __mmask16 which = lanes(width - i);
      const __m512 g = load16(which, gate + i);
      store16(which, to + i, _mm512_mul_ps(_mm512_mul_ps(g, sigmoid(g)), load16(which, up + i)));
    }
  }
}

/* The gradient takes the place of gate and up; out is what `swiglu` gave, worked out again. */
EXPORT void swiglu_backward(long rows, long width, real *gate_up, const real *dout, real *out) {
  const __m512 one = _mm512_set1_ps(1.0f);
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    real *gate = gate_up + 2 * r * width, *up = gate + width;
    const real *from = dout + r * width;
    real *to = out + r * width;
    for (long i = 0; i < width; i += 16) {
      const __mmask16 which = lanes(width - i);
      const __m512 g = load16(which, gate + i), u = load16(which, up + i), d = load16(which, from + i);
      const __m512 s = sigmoid(g), gs = _mm512_mul_ps(g, s);
      const __m512 slope = _mm512_fmadd_ps(gs, _mm512_sub_ps(one, s), s); /* s (1 + g (1 - s)) */
      store16(which, gate + i, _mm512_mul_ps(_mm512_mul_ps(d, u), slope));
      store16(which, up + i, _mm512_mul_ps(d, gs));
      store16(which, to + i, _mm512_mul_ps(gs, u));
    }
  }
}

#else

EXPORT void swiglu(long rows, long width, const real *gate_up, real *out) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    const real *gate = gate_up + 2 * r * width, *up = gate + width;
    real *to = out + r * width;
#pragma omp simd
    for (long i = 0; i < width; i++) {
      float g = load(gate[i]);
      to[i] = store(g / (1.0f + fast_exp(-g)) * load(up[i]));
    }
  }
}

/* The gradient takes the place of gate and up; out is what `swiglu` gave, worked out again. */
EXPORT void swiglu_backward(long rows, long width, real *gate_up, const real *dout, real *out) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    real *gate = gate_up + 2 * r * width, *up = gate + width;
    const real *from = dout + r * width;
    real *to = out + r * width;
#pragma omp simd
    for (long i = 0; i < width; i++) {
      float g = load(gate[i]), u = load(up[i]), d = load(from[i]);
      float s = 1.0f / (1.0f + fast_exp(-g));
      gate[i] = store(d * u * s * (1.0f + g * (1.0f - s)));
      up[i] = store(d * g * s);
      to[i] = store(g * s * u);
    }
  }
}

#endif
