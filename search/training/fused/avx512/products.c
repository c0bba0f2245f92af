/* bfloat16 matrix products of a training step: a linear layer and its two gradients.
 *
 * A library packs the factors of a product at every call, which narrow activations do not repay. Here the
 * right factor is packed in panels of 32 columns, which stay in the L1 cache while rows are multiplied with
 * them, and a tile of 8 rows is summed in 16 registers. Each partition packs its own panels: packing twice
 * costs less than reading what another core has just written. Sums are float32 and rounded once; one thread
 * adds each sum in one order, so results do not depend on the number of partitions.
 *
 * x `[rows, in]`, y `[rows, out]`, weight `[out, in]`; workspace has `product_workspace` pairs.
 *
 * On processors with matrix units (AMX) torch's products are used, which use these units.
 */
#include "vectors.h"

#if defined(SIZER_AVX512) && !defined(__AMX_BF16__)

#define PANEL 32 /* columns of a packed factor */
#define TILES (2 * TILE) /* rows packed at a time */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- packing: panels `[k, PANEL]` of pairs, zero beyond the last column ---- */

/* From rows `[columns, 2 k]`: a pair is two numbers of a row. */
static void pack_panel_of_rows(long columns, long k, const real *from, bf16_pair *to) {
  const bf16_pair *in = (const bf16_pair *)from;
  for (long i = 0; i < k; i += 16)
    for (long j = 0; j < PANEL; j += 16)
      transpose16(columns - j, k - i, in + j * k + i, k, to + i * PANEL + j, PANEL);
}

/* From columns of rows `[2 k, row]`: a pair is two numbers of a column. */
static void pack_panel_of_columns(long columns, long k, long row, const real *from, bf16_pair *to) {
  const __mmask32 which = columns >= PANEL ? 0xffffffffu : (1u << columns) - 1;
  for (long i = 0; i < k; i++, from += 2 * row, to += PANEL) {
    const __m512i even = _mm512_maskz_loadu_epi16(which, from);
    const __m512i odd = _mm512_maskz_loadu_epi16(which, from + row);
    _mm512_storeu_si512(to, interleave(even, odd, 0));
    _mm512_storeu_si512(to + 16, interleave(even, odd, 1));
  }
}

/* Columns of rows `[2 k, row]` as rows of tiles `[columns / TILE, k, TILE]`, padded with zeros to 4 tiles.
 * Rows are read 4 cache lines at a time: they may be pages apart. */
static void pack_tiles_of_columns(long columns, long k, long row, const real *from, bf16_pair *to) {
  for (long block = 0; block < columns; block += 4 * PANEL)
    for (long i = 0; i < k; i++)
      for (long n = block; n < MIN(block + 4 * PANEL, columns); n += PANEL) {
        const __mmask32 which = columns - n >= PANEL ? 0xffffffffu : (1u << (columns - n)) - 1;
        const __m512i even = _mm512_maskz_loadu_epi16(which, from + 2 * i * row + n);
        const __m512i odd = _mm512_maskz_loadu_epi16(which, from + (2 * i + 1) * row + n);
        const __m512i pairs[2] = {interleave(even, odd, 0), interleave(even, odd, 1)};
        for (int half = 0; half < 2; half++) {
          bf16_pair *at = to + (n + 2 * half * TILE) * k + i * TILE;
          _mm256_storeu_si256((__m256i *)at, _mm512_castsi512_si256(pairs[half]));
          _mm256_storeu_si256((__m256i *)(at + TILE * k), _mm512_extracti64x4_epi64(pairs[half], 1));
        }
      }
}

/* Prefetches part number `part` of `[rows, columns]`, rows `row` apart; nothing where either is below 1. */
static void prefetch(long part, long parts, long rows, long columns, long row, const real *from) {
  const long line = 64 / (long)sizeof(real), lines = (columns + line - 1) / line;
  PARTITION(part, parts, rows * lines);
  for (long i = first; i < last; i++) __builtin_prefetch(from + i / lines * row + i % lines * line);
}

/* ---- tiles ---- */

/* Rounds a tile's sums to rows of c `[rows, c_row]`, or adds them to c. */
INLINE void store_tile(const int height, const int wide, __m512 sums[TILE][2], long columns, real *c,
                       long c_row, int add) {
#pragma GCC unroll 8
  for (int r = 0; r < height; r++)
#pragma GCC unroll 2
    for (int w = 0; w < wide; w++) {
      const __mmask16 which = lane_mask(columns - 16 * w);
      real *to = c + r * c_row + 16 * w;
      store16(which, to, add ? _mm512_add_ps(sums[r][w], load16(which, to)) : sums[r][w]);
    }
}

/* Multiplies TILE rows, or fewer one by one, by up to PANEL columns. */
static void multiply_tile(long rows, long columns, long k, const bf16_pair *a, long a_row, long a_step,
                          const bf16_pair *panel, real *c, long c_row, int add) {
  __m512 sums[TILE][2];
  if (rows >= TILE && columns > 16) {
    sum_tile(TILE, 2, k, a, a_row, a_step, panel, PANEL, sums);
    store_tile(TILE, 2, sums, columns, c, c_row, add);
  } else if (rows >= TILE) {
    sum_tile(TILE, 1, k, a, a_row, a_step, panel, PANEL, sums);
    store_tile(TILE, 1, sums, columns, c, c_row, add);
  } else {
    for (long r = 0; r < rows; r++) {
      sum_tile(1, 2, k, a + r * a_row, a_row, a_step, panel, PANEL, sums);
      store_tile(1, 2, sums, columns, c + r * c_row, c_row, add);
    }
  }
}

/* ---- the three products ---- */

/* Pairs of workspace that each of the three needs at most. */
long product_workspace(long rows, long in, long out, long num_partitions) {
  const long panels = MAX(in, out) / 2 * PANEL;
  const long gradient = rows / 2 * (ROUND_UP(out, PANEL) + PANEL); /* if one partition has all of out */
  return num_partitions * MAX(panels, gradient);
}

/* y = x weight^T; in is even. */
void linear(long rows, long in, long out, long num_partitions, const real *x, const real *weight,
            bf16_pair *workspace, real *y) {
  const long k = in / 2;
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    PARTITION(partition, num_partitions, (rows + TILE - 1) / TILE);
    bf16_pair *panel = workspace + partition * k * PANEL;
    for (long n = 0; n < out; n += PANEL) {
      pack_panel_of_rows(out - n, k, weight + n * in, panel);
      for (long r = first * TILE; r < MIN(last * TILE, rows); r += TILE) {
        const bf16_pair *left = (const bf16_pair *)(x + r * in);
        prefetch(r / TILE - first, last - first, MIN(out - n - PANEL, PANEL), in, in,
                 weight + (n + PANEL) * in);
        multiply_tile(rows - r, out - n, k, left, k, 1, panel, y + r * out + n, out, 0);
      }
    }
  }
}

/* dx = dy weight; out is even. */
void linear_backward(long rows, long in, long out, long num_partitions, const real *dy, const real *weight,
                     bf16_pair *workspace, real *dx) {
  const long k = out / 2;
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    PARTITION(partition, num_partitions, (rows + TILE - 1) / TILE);
    bf16_pair *panel = workspace + partition * k * PANEL;
    for (long n = 0; n < in; n += PANEL) {
      pack_panel_of_columns(in - n, k, in, weight + n, panel);
      for (long r = first * TILE; r < MIN(last * TILE, rows); r += TILE) {
        const bf16_pair *left = (const bf16_pair *)(dy + r * out);
        prefetch(r / TILE - first, last - first, out, MIN(in - n - PANEL, PANEL), in, weight + n + PANEL);
        multiply_tile(rows - r, in - n, k, left, k, 1, panel, dx + r * in + n, in, 0);
      }
    }
  }
}

/* dweight = dy^T x, or added to it; rows is even. Partitions divide the longer side of the weight. */
void weight_gradient(long rows, long in, long out, long num_partitions, const real *dy, const real *x,
                     bf16_pair *workspace, real *dweight, long add) {
  const long k = rows / 2, by_out = out >= in;
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    PARTITION(partition, num_partitions, ((by_out ? out : in) + TILES - 1) / TILES);
    const long m1 = by_out ? first * TILES : 0, m2 = by_out ? MIN(last * TILES, out) : out;
    const long n1 = by_out ? 0 : first * TILES, n2 = by_out ? in : MIN(last * TILES, in);
    bf16_pair *panel = workspace + partition * (k * (ROUND_UP(out, PANEL) + PANEL));
    bf16_pair *tiles = panel + k * PANEL;
    pack_tiles_of_columns(m2 - m1, k, out, dy + m1, tiles);
    for (long n = n1; n < n2; n += PANEL) {
      pack_panel_of_columns(n2 - n, k, in, x + n, panel);
      for (long m = m1; m < m2; m += TILE) {
        prefetch((m - m1) / TILE, (m2 - m1 + TILE - 1) / TILE, rows, MIN(n2 - n - PANEL, PANEL), in,
                 x + n + PANEL);
        multiply_tile(out - m, n2 - n, k, tiles + (m - m1) * k, 1, TILE, panel, dweight + m * in + n, in,
                      (int)add);
      }
    }
  }
}

#endif
