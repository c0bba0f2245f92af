/* Causal attention of a training step in one call per direction, head by head, with bfloat16 products.
 *
 * As separate products a layer's scores would pass through memory six times, half of them for positions that
 * are masked, and a product of 32 columns costs more to start than to compute. Here one head's queries, keys
 * and values stay in a core's own cache: 32 queries at a time are multiplied with the keys up to them; scores
 * are float32 and never leave the core, and the gradient recomputes them instead of reading them.
 *
 * Scores are held transposed, `[keys, queries]`: a vector register then holds one key and 16 queries, so that
 * maxima and sums over keys need no sums within a register. A matrix of pairs `[k / 2, n]` holds rows 2i and
 * 2i + 1.
 *
 * Threads take fixed partitions of the groups of heads: a seed gives the same weights on the same machine.
 */
#include "vectors.h"

#ifdef SIZER_AVX512

#define BLOCK 32 /* queries at a time: two registers */

/* ---- products: c `[rows, columns]` = a b, or added to c ---- */

INLINE void store_float_tile(const int wide, __m512 sums[TILE][2], float *c, long c_row, int add) {
#pragma GCC unroll 8
  for (int r = 0; r < TILE; r++)
#pragma GCC unroll 2
    for (int w = 0; w < wide; w++) {
      float *to = c + r * c_row + 16 * w;
      _mm512_storeu_ps(to, add ? _mm512_add_ps(sums[r][w], _mm512_loadu_ps(to)) : sums[r][w]);
    }
}

/* rows a multiple of TILE, columns of 16; k in pairs. */
static void product(long rows, long columns, long k, const bf16_pair *a, long a_row, long a_step,
                    const bf16_pair *b, long b_step, float *c, long c_row, int add) {
  for (long n = 0; n < columns; n += 32)
    for (long r = 0; r < rows; r += TILE) {
      const bf16_pair *left = a + r * a_row;
      __m512 sums[TILE][2];
      if (n + 32 <= columns) {
        sum_tile(TILE, 2, k, left, a_row, a_step, b + n, b_step, sums);
        store_float_tile(2, sums, c + r * c_row + n, c_row, add);
      } else {
        sum_tile(TILE, 1, k, left, a_row, a_step, b + n, b_step, sums);
        store_float_tile(1, sums, c + r * c_row + n, c_row, add);
      }
    }
}

/* ---- layouts ---- */

/* One head's rows `[seq, dim]` out of rows `row` apart, rotated by their positions and scaled. */
static void rotate_rows(long seq, long dim, long row, float by, const float *cosine, const float *sine,
                        const real *from, real *to) {
  const long half = dim / 2;
  const __m512 scale = _mm512_set1_ps(by);
  for (long t = 0; t < seq; t++, from += row, to += dim, cosine += half, sine += half)
    for (long i = 0; i < half; i += 16) {
      const __mmask16 which = lane_mask(half - i);
      const __m512 c = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, cosine + i), scale);
      const __m512 s = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, sine + i), scale);
      const __m512 x = load16(which, from + i), y = load16(which, from + half + i);
      store16(which, to + i, _mm512_fmsub_ps(x, c, _mm512_mul_ps(y, s)));
      store16(which, to + half + i, _mm512_fmadd_ps(y, c, _mm512_mul_ps(x, s)));
    }
}

/* Inverse rotation of float32 gradients `[seq, from_row]`, to rows `row` apart. */
static void unrotate_rows(long seq, long dim, long from_row, long row, float by, const float *cosine,
                          const float *sine, const float *from, real *to) {
  const long half = dim / 2;
  const __m512 scale = _mm512_set1_ps(by);
  for (long t = 0; t < seq; t++, from += from_row, to += row, cosine += half, sine += half)
    for (long i = 0; i < half; i += 16) {
      const __mmask16 which = lane_mask(half - i);
      const __m512 c = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, cosine + i), scale);
      const __m512 s = _mm512_mul_ps(_mm512_maskz_loadu_ps(which, sine + i), scale);
      const __m512 x = _mm512_maskz_loadu_ps(which, from + i);
      const __m512 y = _mm512_maskz_loadu_ps(which, from + half + i);
      store16(which, to + i, _mm512_fmadd_ps(x, c, _mm512_mul_ps(y, s)));
      store16(which, to + half + i, _mm512_fmsub_ps(y, c, _mm512_mul_ps(x, s)));
    }
}

/* Contiguous rows `[seq, dim]` out of rows `row` apart. */
static void copy_rows(long seq, long dim, long row, const real *from, real *to) {
  for (long t = 0; t < seq; t++, from += row, to += dim)
    for (long i = 0; i < dim; i += 16)
      store16(lane_mask(dim - i), to + i, load16(lane_mask(dim - i), from + i));
}

/* float32 rows `[seq, from_row]`, times their factors unless NULL, rounded to rows `row` apart. */
static void round_rows(long seq, long dim, long from_row, long row, const float *factors, const float *from,
                       real *to) {
  for (long t = 0; t < seq; t++, from += from_row, to += row) {
    const __m512 factor = _mm512_set1_ps(factors ? factors[t] : 1.0f);
    for (long i = 0; i < dim; i += 16) {
      const __mmask16 which = lane_mask(dim - i);
      store16(which, to + i, _mm512_mul_ps(_mm512_maskz_loadu_ps(which, from + i), factor));
    }
  }
}

/* Rows `[padded, dim]` to pairs `[dim / 2, padded]`. */
static void pack_across(long padded, long dim, const real *from, bf16_pair *to) {
  const bf16_pair *in = (const bf16_pair *)from;
  const long pairs = dim / 2;
  for (long t = 0; t < padded; t += 16)
    for (long i = 0; i < pairs; i += 16)
      transpose16(16, pairs - i, in + t * pairs + i, pairs, to + i * padded + t, padded);
}

/* Rows `[padded, dim]` to pairs `[padded / 2, columns]`, zero beyond dim. */
static void pack_down(long padded, long dim, long columns, const real *from, bf16_pair *to) {
  for (long t = 0; t < padded; t += 2, from += 2 * dim, to += columns)
    for (long i = 0; i < dim; i += 16) {
      const __mmask32 which = lane_mask(dim - i);
      const __m512i even = _mm512_maskz_loadu_epi16(which, from + i);
      _mm512_storeu_si512(to + i, interleave(even, _mm512_maskz_loadu_epi16(which, from + dim + i), 0));
    }
}

/* ---- softmax over keys: scores `[seen, BLOCK]`, for 16 queries, the first of them at key `own` ---- */

/* Mask of the queries that see a key. */
INLINE __mmask16 visible(long key, long own) {
  return key <= own ? 0xffff : (__mmask16)(0xffffu << (key - own));
}

/* Each query's maximum score. */
INLINE __m512 max_score(long own, const float *scores) {
  __m512 top = _mm512_loadu_ps(scores); /* every query sees the first key */
  for (long s = 1; s <= own; s++) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + s * BLOCK));
  for (long s = own + 1; s < own + 16; s++)
    top = _mm512_mask_max_ps(top, visible(s, own), top, _mm512_loadu_ps(scores + s * BLOCK));
  return top;
}

/* e^(score - maximum) of one key, 0 where it is masked. */
INLINE __m512 unscaled_weight(long key, long own, const float *scores, __m512 top) {
  return _mm512_maskz_mov_ps(visible(key, own),
                             exp16(_mm512_sub_ps(_mm512_loadu_ps(scores + key * BLOCK), top)));
}

INLINE __m512i pack_pairs(__m512 even, __m512 odd) {
  return interleave(_mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(even)),
                    _mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(odd)), 0);
}

/* Weights before the division by their sums, as pairs of keys, and the inverse of the sums. */
static void softmax(long own, long seen, const float *scores, bf16_pair *weights, float *inverse) {
  const __m512 top = max_score(own, scores);
  __m512 sum = _mm512_setzero_ps();
  for (long s = 0; s < own + 16; s += 2) {
    const __m512 even = unscaled_weight(s, own, scores, top), odd = unscaled_weight(s + 1, own, scores, top);
    _mm512_storeu_si512(weights + s / 2 * BLOCK, pack_pairs(even, odd));
    sum = _mm512_add_ps(sum, _mm512_add_ps(even, odd));
  }
  for (long s = own + 16; s < seen; s += 2)
    _mm512_storeu_si512(weights + s / 2 * BLOCK, _mm512_setzero_si512());
  _mm512_storeu_ps(inverse, _mm512_div_ps(_mm512_set1_ps(1.0f), sum));
}

/* Weights and gradients of scores as rows by key, `padded` apart, the latter as pairs as well. Overwrites
 * scores. */
static void softmax_backward(long own, long seen, long padded, float *scores, const float *dweights,
                             real *weights, real *dscores, bf16_pair *paired) {
  const __m512 top = max_score(own, scores);
  __m512 sum = _mm512_setzero_ps(), dot = _mm512_setzero_ps();
  for (long s = 0; s < own + 16; s++) {
    const __m512 weight = unscaled_weight(s, own, scores, top);
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
    _mm512_storeu_si512(paired + s / 2 * BLOCK, pack_pairs(back[0], back[1]));
  }
}

/* ---- a partition's workspace ---- */

typedef struct {
  real *q, *k, *v;                            /* rows `[padded, dim]`; zero beyond seq */
  bf16_pair *q_across, *dout_across;               /* `[dim / 2, padded]` */
  bf16_pair *q_down, *k_down, *v_down, *dout_down; /* `[padded / 2, columns]` */
  bf16_pair *weights;                              /* `[padded / 2, BLOCK]`, of one block of queries */
  real *all_weights, *all_dscores;            /* `[padded, padded]`, keys by queries */
  float *scores, *dweights;                   /* `[padded, BLOCK]` */
  float *out;                                 /* `[BLOCK, columns]` */
  float *dk, *dv;                             /* `[padded, columns]` */
} workspace;

static long lay_out(long seq, long dim, uintptr_t at, workspace *r) {
  const long padded = ROUND_UP(seq, BLOCK), columns = ROUND_UP(dim, 16);
  const long rows = padded * dim * (long)sizeof(real), down = padded / 2 * columns * (long)sizeof(bf16_pair);
  const long square = padded * padded * (long)sizeof(real), block = padded * BLOCK * (long)sizeof(float);
  const long sums = padded * columns * (long)sizeof(float);
  const uintptr_t start = at;
#define TAKE(name, bytes) (r->name = (void *)at, at += (uintptr_t)ROUND_UP(bytes, 64))
  TAKE(q, rows), TAKE(k, rows), TAKE(v, rows), TAKE(q_across, rows), TAKE(dout_across, rows);
  TAKE(q_down, down), TAKE(k_down, down), TAKE(v_down, down), TAKE(dout_down, down);
  TAKE(weights, block / 2), TAKE(all_weights, square), TAKE(all_dscores, square);
  TAKE(scores, block), TAKE(dweights, block), TAKE(out, BLOCK * columns * (long)sizeof(float));
  TAKE(dk, sums), TAKE(dv, sums);
#undef TAKE
  return (long)(at - start);
}

/* Bytes of workspace of a partition; they must be zero before the first call. */
long attention_workspace(long seq, long dim) {
  workspace r;
  return lay_out(seq, dim, 0, &r);
}

/* ---- exported: qkv `[batch * seq, (heads + 2 kv) * dim]`, mixed `[batch * seq, heads * dim]` ---- */

void attention(long batch, long seq, long heads, long kv, long dim, float scale, const float *cosine,
               const float *sine, long num_partitions, char *workspaces, const real *qkv, real *mixed) {
  const long row = (heads + 2 * kv) * dim, group = heads / kv;
  const long padded = ROUND_UP(seq, BLOCK), columns = ROUND_UP(dim, 16);
  const long bytes = attention_workspace(seq, dim);
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    workspace r;
    lay_out(seq, dim, (uintptr_t)workspaces + (uintptr_t)(partition * bytes), &r);
    PARTITION(partition, num_partitions, batch * kv);
    for (long task = first; task < last; task++) {
      const long b = task / kv, g = task % kv;
      const real *in = qkv + b * seq * row;
      rotate_rows(seq, dim, row, 1.0f, cosine, sine, in + (heads + g) * dim, r.k);
      copy_rows(seq, dim, row, in + (heads + kv + g) * dim, r.v);
      pack_down(padded, dim, columns, r.v, r.v_down);
      for (long h = g * group; h < (g + 1) * group; h++) {
        rotate_rows(seq, dim, row, scale, cosine, sine, in + h * dim, r.q);
        pack_across(padded, dim, r.q, r.q_across);
        for (long t = 0; t < seq; t += BLOCK) {
          const long seen = t + BLOCK, rows = seq - t < BLOCK ? seq - t : BLOCK;
          const bf16_pair *k = (bf16_pair *)r.k;
          product(seen, BLOCK, dim / 2, k, dim / 2, 1, r.q_across + t, padded, r.scores, BLOCK, 0);
          float inverse[BLOCK];
          for (long w = 0; w < BLOCK; w += 16) softmax(t + w, seen, r.scores + w, r.weights + w, inverse + w);
          product(BLOCK, columns, seen / 2, r.weights, 1, BLOCK, r.v_down, columns, r.out, columns, 0);
          round_rows(rows, dim, columns, heads * dim, inverse, r.out,
                       mixed + ((b * seq + t) * heads + h) * dim);
        }
      }
    }
  }
}

/* Gradient of qkv from that of mixed. */
void attention_backward(long batch, long seq, long heads, long kv, long dim, float scale,
                        const float *cosine, const float *sine, long num_partitions, char *workspaces,
                        const real *qkv, const real *dmixed, real *dqkv) {
  const long row = (heads + 2 * kv) * dim, group = heads / kv, pairs = dim / 2;
  const long padded = ROUND_UP(seq, BLOCK), columns = ROUND_UP(dim, 16);
  const long bytes = attention_workspace(seq, dim);
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    workspace r;
    lay_out(seq, dim, (uintptr_t)workspaces + (uintptr_t)(partition * bytes), &r);
    PARTITION(partition, num_partitions, batch * kv);
    for (long task = first; task < last; task++) {
      const long b = task / kv, g = task % kv;
      const real *in = qkv + b * seq * row;
      real *back = dqkv + b * seq * row;
      rotate_rows(seq, dim, row, 1.0f, cosine, sine, in + (heads + g) * dim, r.k);
      pack_down(padded, dim, columns, r.k, r.k_down);
      copy_rows(seq, dim, row, in + (heads + kv + g) * dim, r.v);
      for (long h = g * group; h < (g + 1) * group; h++) {
        const int add = h > g * group;
        copy_rows(seq, dim, heads * dim, dmixed + (b * seq * heads + h) * dim, r.q);
        pack_across(padded, dim, r.q, r.dout_across);
        pack_down(padded, dim, columns, r.q, r.dout_down);
        rotate_rows(seq, dim, row, scale, cosine, sine, in + h * dim, r.q);
        pack_across(padded, dim, r.q, r.q_across);
        pack_down(padded, dim, columns, r.q, r.q_down);
        for (long t = 0; t < seq; t += BLOCK) {
          const long seen = t + BLOCK, rows = seq - t < BLOCK ? seq - t : BLOCK;
          const bf16_pair *k = (bf16_pair *)r.k, *v = (bf16_pair *)r.v;
          product(seen, BLOCK, pairs, k, pairs, 1, r.q_across + t, padded, r.scores, BLOCK, 0);
          product(seen, BLOCK, pairs, v, pairs, 1, r.dout_across + t, padded, r.dweights, BLOCK, 0);
          for (long w = 0; w < BLOCK; w += 16)
            softmax_backward(t + w, seen, padded, r.scores + w, r.dweights + w, r.all_weights + t + w,
                             r.all_dscores + t + w, r.weights + w);
          product(BLOCK, columns, seen / 2, r.weights, 1, BLOCK, r.k_down, columns, r.out, columns, 0);
          const long place = t * (dim / 2);
          unrotate_rows(rows, dim, columns, row, scale, cosine + place, sine + place, r.out,
                       back + t * row + h * dim);
        }
        for (long s = 0; s < seq; s += BLOCK) {
          const long at = s * padded + s, from = s / 2 * columns, k = (padded - s) / 2;
          const bf16_pair *weights = (bf16_pair *)(r.all_weights + at);
          const bf16_pair *dscores = (bf16_pair *)(r.all_dscores + at);
          product(BLOCK, columns, k, weights, padded / 2, 1, r.dout_down + from, columns, r.dv + s * columns,
                  columns, add);
          product(BLOCK, columns, k, dscores, padded / 2, 1, r.q_down + from, columns, r.dk + s * columns,
                  columns, add);
        }
      }
      unrotate_rows(seq, dim, columns, row, 1.0f, cosine, sine, r.dk, back + (heads + g) * dim);
      round_rows(seq, dim, columns, row, NULL, r.dv, back + (heads + kv + g) * dim);
    }
  }
}

#endif
