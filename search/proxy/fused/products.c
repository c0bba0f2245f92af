/* Products of a decoder's matrices, in the three ways that a training step needs them, in bfloat16.
 *
 * A library's product of any shape begins anew each time, which narrow activations do not repay.
 * Here the right factor is laid out in panels of 32 columns, which stay in a core's first cache while rows
 * pass by, and a tile of 8 rows is summed in 16 registers. Each piece of the work lays out for itself what it
 * needs: doing so twice costs less than reading what another core has just written. Sums are float32, rounded
 * once, and each is one thread's and in one order, so results do not depend on the number of pieces.
 *
 * x `[rows, in]`, y `[rows, out]`, weight `[out, in]`; room is for `product_room` words.
 *
 * Processors with matrix units (AMX) are left to the library, which uses them.
 */
#include "vectors.h"

#if defined(VECTORS) && !defined(__AMX_BF16__)

#define PANEL 32
#define TILES (2 * TILE) /* rows laid out at a time */
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))

/* ---- panels `[k, PANEL]` of words, zero beyond the last column ---- */

/* Of rows `[columns, 2 k]`: a word is two numbers of a row. */
static void panel_of_rows(long columns, long k, const real *from, word *to) {
  const word *in = (const word *)from;
  for (long i = 0; i < k; i += 16)
    for (long j = 0; j < PANEL; j += 16)
      turned(columns - j, k - i, in + j * k + i, k, to + i * PANEL + j, PANEL);
}

/* Of columns of rows `[2 k, row]`: a word is two numbers of a column. */
static void panel_of_columns(long columns, long k, long row, const real *from, word *to) {
  const __mmask32 which = columns >= PANEL ? 0xffffffffu : (1u << columns) - 1;
  for (long i = 0; i < k; i++, from += 2 * row, to += PANEL) {
    const __m512i even = _mm512_maskz_loadu_epi16(which, from);
    const __m512i odd = _mm512_maskz_loadu_epi16(which, from + row);
    _mm512_storeu_si512(to, interleaved(even, odd, 0));
    _mm512_storeu_si512(to + 16, interleaved(even, odd, 1));
  }
}

/* Columns of rows `[2 k, row]` as rows of tiles `[columns / TILE, k, TILE]`, the last ones filled up with
 * zeros to 4. Rows are read in stretches of 4 lines of the caches: they may be pages apart. */
static void tiles_of_columns(long columns, long k, long row, const real *from, word *to) {
  for (long block = 0; block < columns; block += 4 * PANEL)
    for (long i = 0; i < k; i++)
      for (long n = block; n < LEAST(block + 4 * PANEL, columns); n += PANEL) {
        const __mmask32 which = columns - n >= PANEL ? 0xffffffffu : (1u << (columns - n)) - 1;
        const __m512i even = _mm512_maskz_loadu_epi16(which, from + 2 * i * row + n);
        const __m512i odd = _mm512_maskz_loadu_epi16(which, from + (2 * i + 1) * row + n);
        const __m512i words[2] = {interleaved(even, odd, 0), interleaved(even, odd, 1)};
        for (int half = 0; half < 2; half++) {
          word *at = to + (n + 2 * half * TILE) * k + i * TILE;
          _mm256_storeu_si256((__m256i *)at, _mm512_castsi512_si256(words[half]));
          _mm256_storeu_si256((__m256i *)(at + TILE * k), _mm512_extracti64x4_epi64(words[half], 1));
        }
      }
}

/* Have the memory bring a part of `[rows, columns]`, rows `row` apart, while something else is done; nothing
 * of less than one row or column. */
static void bring(long part, long parts, long rows, long columns, long row, const real *from) {
  const long line = 64 / (long)sizeof(real), lines = (columns + line - 1) / line;
  PIECE(part, parts, rows * lines);
  for (long i = first; i < last; i++) __builtin_prefetch(from + i / lines * row + i % lines * line);
}

/* ---- tiles ---- */

/* Rows of c `[rows, c_row]` from a tile's sums; added to what is there, if told so. */
INLINE void rounded_tile(const int height, const int wide, __m512 sums[TILE][2], long columns, real *c,
                         long c_row, int add) {
#pragma GCC unroll 8
  for (int r = 0; r < height; r++)
#pragma GCC unroll 2
    for (int w = 0; w < wide; w++) {
      const __mmask16 which = lanes(columns - 16 * w);
      real *to = c + r * c_row + 16 * w;
      store16(which, to, add ? _mm512_add_ps(sums[r][w], load16(which, to)) : sums[r][w]);
    }
}

/* TILE rows, or fewer one by one, by up to PANEL columns. */
static void tile_of(long rows, long columns, long k, const word *a, long a_row, long a_step,
                    const word *panel, real *c, long c_row, int add) {
  __m512 sums[TILE][2];
  if (rows >= TILE && columns > 16) {
    tile(TILE, 2, k, a, a_row, a_step, panel, PANEL, sums);
    rounded_tile(TILE, 2, sums, columns, c, c_row, add);
  } else if (rows >= TILE) {
    tile(TILE, 1, k, a, a_row, a_step, panel, PANEL, sums);
    rounded_tile(TILE, 1, sums, columns, c, c_row, add);
  } else {
    for (long r = 0; r < rows; r++) {
      tile(1, 2, k, a + r * a_row, a_row, a_step, panel, PANEL, sums);
      rounded_tile(1, 2, sums, columns, c + r * c_row, c_row, add);
    }
  }
}

/* ---- the three products ---- */

/* Words of room for all three. */
EXPORT long product_room(long rows, long in, long out, long pieces) {
  const long forth_and_back = MOST(in, out) / 2 * PANEL;
  const long gradient = rows / 2 * (ROUND_UP(out, PANEL) + PANEL); /* if one piece has all of out */
  return pieces * MOST(forth_and_back, gradient);
}

/* y = x weight^T; in is even. */
EXPORT void linear(long rows, long in, long out, long pieces, const real *x, const real *weight, word *room,
                   real *y) {
  const long k = in / 2;
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    PIECE(piece, pieces, (rows + TILE - 1) / TILE);
    word *panel = room + piece * k * PANEL;
    for (long n = 0; n < out; n += PANEL) {
      panel_of_rows(out - n, k, weight + n * in, panel);
      for (long r = first * TILE; r < LEAST(last * TILE, rows); r += TILE) {
        bring(r / TILE - first, last - first, LEAST(out - n - PANEL, PANEL), in, in,
              weight + (n + PANEL) * in);
        tile_of(rows - r, out - n, k, (const word *)(x + r * in), k, 1, panel, y + r * out + n, out, 0);
      }
    }
  }
}

/* dx = dy weight; out is even. */
EXPORT void linear_backward(long rows, long in, long out, long pieces, const real *dy, const real *weight,
                            word *room, real *dx) {
  const long k = out / 2;
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    PIECE(piece, pieces, (rows + TILE - 1) / TILE);
    word *panel = room + piece * k * PANEL;
    for (long n = 0; n < in; n += PANEL) {
      panel_of_columns(in - n, k, in, weight + n, panel);
      for (long r = first * TILE; r < LEAST(last * TILE, rows); r += TILE) {
        bring(r / TILE - first, last - first, out, LEAST(in - n - PANEL, PANEL), in, weight + n + PANEL);
        tile_of(rows - r, in - n, k, (const word *)(dy + r * out), k, 1, panel, dx + r * in + n, in, 0);
      }
    }
  }
}

/* dweight = dy^T x, or added to it; rows is even. Pieces share out the longer side of the weight. */
EXPORT void weight_gradient(long rows, long in, long out, long pieces, const real *dy, const real *x,
                            word *room, real *dweight, long add) {
  const long k = rows / 2, by_out = out >= in;
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    PIECE(piece, pieces, ((by_out ? out : in) + TILES - 1) / TILES);
    const long m1 = by_out ? first * TILES : 0, m2 = by_out ? LEAST(last * TILES, out) : out;
    const long n1 = by_out ? 0 : first * TILES, n2 = by_out ? in : LEAST(last * TILES, in);
    word *panel = room + piece * (k * (ROUND_UP(out, PANEL) + PANEL)), *tiles = panel + k * PANEL;
    tiles_of_columns(m2 - m1, k, out, dy + m1, tiles);
    for (long n = n1; n < n2; n += PANEL) {
      panel_of_columns(n2 - n, k, in, x + n, panel);
      for (long m = m1; m < m2; m += TILE) {
        bring((m - m1) / TILE, (m2 - m1 + TILE - 1) / TILE, rows, LEAST(n2 - n - PANEL, PANEL), in,
              x + n + PANEL);
        tile_of(out - m, n2 - n, k, tiles + (m - m1) * k, 1, TILE, panel, dweight + m * in + n, in, (int)add);
      }
    }
  }
}

#endif
