/* Causal attention of a decoder's training step in one pass per head, and its way back, by bfloat16 products.
 *
 * As separate products a layer's scores go through the memory six times, half of them for positions that no
 * query may see, and a product of 32 columns costs more to begin than to do. Here one head's queries, keys
 * and values stay in a core's own cache: 32 queries at a time meet the keys before them, scores are float32
 * and never leave the core, and the way back works them out again instead of reading them.
 *
 * Scores are held transposed, `[keys, queries]`: a vector register then holds one key and 16 queries, so that
 * maxima and sums over keys need no sums within a register. A matrix of words `[k / 2, n]` holds rows 2i and
 * 2i + 1.
 *
 * Work is divided by groups of heads in fixed pieces: a seed gives the same weights on the same machine.
 */
#include "vectors.h"

#ifdef VECTORS

#define BLOCK 32 /* queries at a time: two registers */

/* ---- products: c `[rows, columns]` = a b, or added to c ---- */

INLINE void exact_tile(const int wide, __m512 sums[TILE][2], float *c, long c_row, int add) {
#pragma GCC unroll 8
  for (int r = 0; r < TILE; r++)
#pragma GCC unroll 2
    for (int w = 0; w < wide; w++) {
      float *to = c + r * c_row + 16 * w;
      _mm512_storeu_ps(to, add ? _mm512_add_ps(sums[r][w], _mm512_loadu_ps(to)) : sums[r][w]);
    }
}

/* rows a multiple of TILE, columns of 16; k in words. */
static void product(long rows, long columns, long k, const word *a, long a_row, long a_step, const word *b,
                    long b_step, float *c, long c_row, int add) {
  for (long n = 0; n < columns; n += 32)
    for (long r = 0; r < rows; r += TILE) {
      const word *left = a + r * a_row;
      __m512 sums[TILE][2];
      if (n + 32 <= columns) {
        tile(TILE, 2, k, left, a_row, a_step, b + n, b_step, sums);
        exact_tile(2, sums, c + r * c_row + n, c_row, add);
      } else {
        tile(TILE, 1, k, left, a_row, a_step, b + n, b_step, sums);
        exact_tile(1, sums, c + r * c_row + n, c_row, add);
      }
    }
}

/* ---- layouts ---- */

/* One head's rows `[seq, dim]` out of rows `row` apart, turned by their positions and scaled. */
static void rotated_rows(long seq, long dim, long row, float by, const float *cosine, const float *sine,
                         const real *from, real *to) {
  const long half = dim / 2;
  const __m512 scale = _mm512_set1_ps(by);
  for (long t = 0; t < seq; t++, from += row, to += dim, cosine += half, sine += half)
    for (long i = 0; i < half; i += 16) {
      const __mmask16 which = lanes(half - i);
      const __m512 c = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, cosine + i), scale);
      const __m512 s = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, sine + i), scale);
      const __m512 x = load16(which, from + i), y = load16(which, from + half + i);
      store16(which, to + i, _mm512_fmsub_ps(x, c, _mm512_mul_ps(y, s)));
      store16(which, to + half + i, _mm512_fmadd_ps(y, c, _mm512_mul_ps(x, s)));
    }
}

/* The way back: gradients `[seq, from_row]` in float32 to rows `row` apart. */
static void rotated_back(long seq, long dim, long from_row, long row, float by, const float *cosine,
                         const float *sine, const float *from, real *to) {
  const long half = dim / 2;
  const __m512 scale = _mm512_set1_ps(by);
  for (long t = 0; t < seq; t++, from += from_row, to += row, cosine += half, sine += half)
    for (long i = 0; i < half; i += 16) {
      const __mmask16 which = lanes(half - i);
      const __m512 c = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, cosine + i), scale);
      const __m512 s = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, sine + i), scale);
      const __m512 x = _mm512_maskz_loadu_ps(which, from + i);
      const __m512 y = _mm512_maskz_loadu_ps(which, from + half + i);
      store16(which, to + i, _mm512_fmadd_ps(x, c, _mm512_mul_ps(y, s)));
      store16(which, to + half + i, _mm512_fmsub_ps(y, c, _mm512_mul_ps(x, s)));
    }
}

/* Rows `[seq, dim]` together out of rows `row` apart. */
static void copied_rows(long seq, long dim, long row, const real *from, real *to) {
  for (long t = 0; t < seq; t++, from += row, to += dim)
    for (long i = 0; i < dim; i += 16) store16(lanes(dim - i), to + i, load16(lanes(dim - i), from + i));
}

/* float32 rows `[seq, from_row]`, each times its factor if there are any, to rows `row` apart. */
static void rounded_rows(long seq, long dim, long from_row, long row, const float *factors, const float *from,
                         real *to) {
  for (long t = 0; t < seq; t++, from += from_row, to += row) {
    const __m512 factor = _mm512_set1_ps(factors ? factors[t] : 1.0f);
    for (long i = 0; i < dim; i += 16) {
      const __mmask16 which = lanes(dim - i);
      store16(which, to + i, _mm512_mul_ps(_mm512_maskz_loadu_ps(which, from + i), factor));
    }
  }
}

/* Rows `[padded, dim]` to words `[dim / 2, padded]`. */
static void words_across(long padded, long dim, const real *from, word *to) {
  const word *in = (const word *)from;
  const long words = dim / 2;
  for (long t = 0; t < padded; t += 16)
    for (long i = 0; i < words; i += 16)
      turned(16, words - i, in + t * words + i, words, to + i * padded + t, padded);
}

/* Rows `[padded, dim]` to words `[padded / 2, columns]`; beyond dim they are zero. */
static void words_down(long padded, long dim, long columns, const real *from, word *to) {
  for (long t = 0; t < padded; t += 2, from += 2 * dim, to += columns)
    for (long i = 0; i < dim; i += 16) {
      const __mmask32 which = lanes(dim - i);
      const __m512i even = _mm512_maskz_loadu_epi16(which, from + i);
      _mm512_storeu_si512(to + i, interleaved(even, _mm512_maskz_loadu_epi16(which, from + dim + i), 0));
    }
}

/* ---- softmax over keys: scores `[seen, BLOCK]`, for 16 queries, the first of them at key `own` ---- */

/* Queries that may see a key. */
INLINE __mmask16 seeing(long key, long own) {
  return key <= own ? 0xffff : (__mmask16)(0xffffu << (key - own));
}

/* Each query's greatest score. */
INLINE __m512 greatest(long own, const float *scores) {
  __m512 top = _mm512_loadu_ps(scores); /* every query sees the first key */
  for (long s = 1; s <= own; s++) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + s * BLOCK));
  for (long s = own + 1; s < own + 16; s++)
    top = _mm512_mask_max_ps(top, seeing(s, own), top, _mm512_loadu_ps(scores + s * BLOCK));
  return top;
}

/* e^(score - greatest) of one key, 0 where it is hidden. */
INLINE __m512 weight_of(long key, long own, const float *scores, __m512 top) {
  return _mm512_maskz_mov_ps(seeing(key, own),
                             exponential(_mm512_sub_ps(_mm512_loadu_ps(scores + key * BLOCK), top)));
}

INLINE __m512i pairs(__m512 even, __m512 odd) {
  return interleaved(_mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(even)),
                     _mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(odd)), 0);
}

/* Weights before they are divided by their sums, as pairs of keys; the inverse of the sums. */
static void softmax(long own, long seen, const float *scores, word *weights, float *inverse) {
  const __m512 top = greatest(own, scores);
  __m512 sum = _mm512_setzero_ps();
  for (long s = 0; s < own + 16; s += 2) {
    const __m512 even = weight_of(s, own, scores, top), odd = weight_of(s + 1, own, scores, top);
    _mm512_storeu_si512(weights + s / 2 * BLOCK, pairs(even, odd));
    sum = _mm512_add_ps(sum, _mm512_add_ps(even, odd));
  }
  for (long s = own + 16; s < seen; s += 2)
    _mm512_storeu_si512(weights + s / 2 * BLOCK, _mm512_setzero_si512());
  _mm512_storeu_ps(inverse, _mm512_div_ps(_mm512_set1_ps(1.0f), sum));
}

/* The way back: weights and gradients of scores as rows by key, `padded` apart, the latter as pairs as well.
 * Scores are overwritten. */
static void softmax_backward(long own, long seen, long padded, float *scores, const float *dweights,
                             real *weights, real *dscores, word *paired) {
  const __m512 top = greatest(own, scores);
  __m512 sum = _mm512_setzero_ps(), dot = _mm512_setzero_ps();
  for (long s = 0; s < own + 16; s++) {
    const __m512 weight = weight_of(s, own, scores, top);
    _mm512_storeu_ps(scores + s * BLOCK, weight);
    sum = _mm512_add_ps(sum, weight);
    dot = _mm512_fmadd_ps(weight, _mm512_loadu_ps(dweights + s * BLOCK), dot);
  }
  const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), sum);
  dot = _mm512_mul_ps(dot, inverse);
  for (long s = 0; s < seen; s += 2) {
    __m512 back[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int odd = 0; odd < 2; odd++) {
      __m512 weight = _mm512_setzero_ps();
      if (s < own + 16) {
        const long at = (s + odd) * BLOCK;
        weight = _mm512_mul_ps(_mm512_loadu_ps(scores + at), inverse);
        back[odd] = _mm512_mul_ps(weight, _mm512_sub_ps(_mm512_loadu_ps(dweights + at), dot));
      }
      store16(0xffff, weights + (s + odd) * padded, weight);
      store16(0xffff, dscores + (s + odd) * padded, back[odd]);
    }
    _mm512_storeu_si512(paired + s / 2 * BLOCK, pairs(back[0], back[1]));
  }
}

/* ---- a thread's room ---- */

typedef struct {
  real *q, *k, *v;                            /* rows `[padded, dim]`; zero beyond seq */
  word *q_across, *dout_across;               /* `[dim / 2, padded]` */
  word *q_down, *k_down, *v_down, *dout_down; /* `[padded / 2, columns]` */
  word *weights;                              /* `[padded / 2, BLOCK]`: of the queries at hand */
  real *all_weights, *all_dscores;            /* `[padded, padded]`, keys by queries */
  float *scores, *dweights;                   /* `[padded, BLOCK]` */
  float *out;                                 /* `[BLOCK, columns]` */
  float *dk, *dv;                             /* `[padded, columns]` */
} room;

static long lay_out(long seq, long dim, uintptr_t at, room *r) {
  const long padded = ROUND_UP(seq, BLOCK), columns = ROUND_UP(dim, 16);
  const long rows = padded * dim * (long)sizeof(real), down = padded / 2 * columns * (long)sizeof(word);
  const long square = padded * padded * (long)sizeof(real), block = padded * BLOCK * (long)sizeof(float);
  const long sums = padded * columns * (long)sizeof(float);
  const uintptr_t begin = at;
#define TAKE(name, bytes) (r->name = (void *)at, at += (uintptr_t)ROUND_UP(bytes, 64))
  TAKE(q, rows), TAKE(k, rows), TAKE(v, rows), TAKE(q_across, rows), TAKE(dout_across, rows);
  TAKE(q_down, down), TAKE(k_down, down), TAKE(v_down, down), TAKE(dout_down, down);
  TAKE(weights, block / 2), TAKE(all_weights, square), TAKE(all_dscores, square);
  TAKE(scores, block), TAKE(dweights, block), TAKE(out, BLOCK * columns * (long)sizeof(float));
  TAKE(dk, sums), TAKE(dv, sums);
#undef TAKE
  return (long)(at - begin);
}

/* Bytes of room a thread needs; they are to be zero before the first pass. */
EXPORT long attention_room(long seq, long dim) {
  room r;
  return lay_out(seq, dim, 0, &r);
}

/* ---- the passes: qkv `[batch * seq, (heads + 2 kv) * dim]`, mixed `[batch * seq, heads * dim]` ---- */

EXPORT void attention(long batch, long seq, long heads, long kv, long dim, float scale, const float *cosine,
                      const float *sine, long pieces, char *rooms, const real *qkv, real *mixed) {
  const long row = (heads + 2 * kv) * dim, group = heads / kv;
  const long padded = ROUND_UP(seq, BLOCK), columns = ROUND_UP(dim, 16), bytes = attention_room(seq, dim);
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    room r;
    lay_out(seq, dim, (uintptr_t)rooms + (uintptr_t)(piece * bytes), &r);
    PIECE(piece, pieces, batch * kv);
    for (long task = first; task < last; task++) {
      const long b = task / kv, g = task % kv;
      const real *in = qkv + b * seq * row;
      rotated_rows(seq, dim, row, 1.0f, cosine, sine, in + (heads + g) * dim, r.k);
      copied_rows(seq, dim, row, in + (heads + kv + g) * dim, r.v);
      words_down(padded, dim, columns, r.v, r.v_down);
      for (long h = g * group; h < (g + 1) * group; h++) {
        rotated_rows(seq, dim, row, scale, cosine, sine, in + h * dim, r.q);
        words_across(padded, dim, r.q, r.q_across);
        for (long t = 0; t < seq; t += BLOCK) {
          const long seen = t + BLOCK, rows = seq - t < BLOCK ? seq - t : BLOCK;
          product(seen, BLOCK, dim / 2, (word *)r.k, dim / 2, 1, r.q_across + t, padded, r.scores, BLOCK, 0);
          float inverse[BLOCK];
          for (long w = 0; w < BLOCK; w += 16) softmax(t + w, seen, r.scores + w, r.weights + w, inverse + w);
          product(BLOCK, columns, seen / 2, r.weights, 1, BLOCK, r.v_down, columns, r.out, columns, 0);
          rounded_rows(rows, dim, columns, heads * dim, inverse, r.out,
                       mixed + ((b * seq + t) * heads + h) * dim);
        }
      }
    }
  }
}

/* The way back: the gradient of mixed to that of qkv. */
EXPORT void attention_backward(long batch, long seq, long heads, long kv, long dim, float scale,
                               const float *cosine, const float *sine, long pieces, char *rooms,
                               const real *qkv, const real *dmixed, real *dqkv) {
  const long row = (heads + 2 * kv) * dim, group = heads / kv, words = dim / 2;
  const long padded = ROUND_UP(seq, BLOCK), columns = ROUND_UP(dim, 16), bytes = attention_room(seq, dim);
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    room r;
    lay_out(seq, dim, (uintptr_t)rooms + (uintptr_t)(piece * bytes), &r);
    PIECE(piece, pieces, batch * kv);
    for (long task = first; task < last; task++) {
      const long b = task / kv, g = task % kv;
      const real *in = qkv + b * seq * row;
      real *back = dqkv + b * seq * row;
      rotated_rows(seq, dim, row, 1.0f, cosine, sine, in + (heads + g) * dim, r.k);
      words_down(padded, dim, columns, r.k, r.k_down);
      copied_rows(seq, dim, row, in + (heads + kv + g) * dim, r.v);
      for (long h = g * group; h < (g + 1) * group; h++) {
        const int add = h > g * group;
        copied_rows(seq, dim, heads * dim, dmixed + (b * seq * heads + h) * dim, r.q);
        words_across(padded, dim, r.q, r.dout_across);
        words_down(padded, dim, columns, r.q, r.dout_down);
        rotated_rows(seq, dim, row, scale, cosine, sine, in + h * dim, r.q);
        words_across(padded, dim, r.q, r.q_across);
        words_down(padded, dim, columns, r.q, r.q_down);
        for (long t = 0; t < seq; t += BLOCK) {
          const long seen = t + BLOCK, rows = seq - t < BLOCK ? seq - t : BLOCK;
          product(seen, BLOCK, words, (word *)r.k, words, 1, r.q_across + t, padded, r.scores, BLOCK, 0);
          product(seen, BLOCK, words, (word *)r.v, words, 1, r.dout_across + t, padded, r.dweights, BLOCK, 0);
          for (long w = 0; w < BLOCK; w += 16)
            softmax_backward(t + w, seen, padded, r.scores + w, r.dweights + w, r.all_weights + t + w,
                             r.all_dscores + t + w, r.weights + w);
          product(BLOCK, columns, seen / 2, r.weights, 1, BLOCK, r.k_down, columns, r.out, columns, 0);
          const long place = t * (dim / 2);
          rotated_back(rows, dim, columns, row, scale, cosine + place, sine + place, r.out,
                       back + t * row + h * dim);
        }
        for (long s = 0; s < seq; s += BLOCK) {
          const long at = s * padded + s, from = s / 2 * columns, k = (padded - s) / 2;
          product(BLOCK, columns, k, (word *)(r.all_weights + at), padded / 2, 1, r.dout_down + from, columns,
                  r.dv + s * columns, columns, add);
          product(BLOCK, columns, k, (word *)(r.all_dscores + at), padded / 2, 1, r.q_down + from, columns,
                  r.dk + s * columns, columns, add);
        }
      }
      rotated_back(seq, dim, columns, row, 1.0f, cosine, sine, r.dk, back + (heads + g) * dim);
      rounded_rows(seq, dim, columns, row, NULL, r.dv, back + (heads + kv + g) * dim);
    }
  }
}

#endif
