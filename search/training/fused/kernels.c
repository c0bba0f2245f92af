/* Portable kernels of a decoder's training step, all but the matrix products, each in one pass over memory.
 *
 * torch runs these as dozens of small operations, each reading and writing every activation; in thin, deep
 * models they take more than half of a step. `real` is the type of activations and of the weights' working
 * copies: bfloat16 (as its upper 16 bits) or float. The residual stream, norms, sums and optimizer are float.
 *
 * Threads take fixed partitions of rows and partial sums are added in the order of the partitions, so that a
 * seed gives the same weights on the same machine and number of threads.
 */
#include "kernels.h"

#include <stddef.h>

long shared_constant(const char *name) {
#define FIELD(field) {"offset of " #field, offsetof(adamw_tensor, field)}
  static const struct { const char *name; long value; } constants[] = {
      {"size of adamw_tensor", sizeof(adamw_tensor)},
      FIELD(count), FIELD(weight), FIELD(mean), FIELD(square), FIELD(grad_real), FIELD(grad_float),
      FIELD(copy), FIELD(rate), FIELD(decay),
      {"size of real", sizeof(real)},
      {"size of bf16_pair", sizeof(bf16_pair)},
      {"ADAMW_CHUNK", ADAMW_CHUNK},
#ifdef _OPENMP
      {"OpenMP", 1},
#else
      {"OpenMP", 0},
#endif
  };
  for (unsigned long i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
    if (!strcmp(name, constants[i].name)) return constants[i].value;
  return -1;
}

/* ---- residual stream and norms: x, stream `[rows, width]` ---- */

/* stream = x + y (y may be NULL); out = stream / rms(stream) * weight; inverse[row] = 1 / rms. */
void add_norm(long rows, long width, float epsilon, const float *x, const real *y, const float *weight,
              float *stream, real *out, float *inverse) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    const float *xr = x + r * width;
    float *sr = stream + r * width;
    real *out_row = out + r * width;
    float sum = 0;
    if (y) {
      const real *yr = y + r * width;
#pragma omp simd reduction(+ : sum)
      for (long i = 0; i < width; i++) {
        float value = xr[i] + load(yr[i]);
        sr[i] = value;
        sum += value * value;
      }
    } else {
#pragma omp simd reduction(+ : sum)
      for (long i = 0; i < width; i++) {
        sr[i] = xr[i];
        sum += xr[i] * xr[i];
      }
    }
    float scale = 1.0f / sqrtf(sum / (float)width + epsilon);
    inverse[r] = scale;
#pragma omp simd
    for (long i = 0; i < width; i++) out_row[i] = store(sr[i] * scale * weight[i]);
  }
}

/* Gradient through `add_norm`: added to dstream, which is also written as real; dweight is added to.
 * partial `[num_partitions, width]` holds sums over rows. */
void norm_backward(long rows, long width, long num_partitions, const float *stream, const float *inverse,
                   const float *weight, const real *dout, float *dstream, real *dreal, float *dweight,
                   float *partial, long keep) {
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    float *sums = partial + partition * width;
    memset(sums, 0, (size_t)width * sizeof(float));
    PARTITION(partition, num_partitions, rows);
    for (long r = first; r < last; r++) {
      const float *sr = stream + r * width;
      const real *gr = dout + r * width;
      float *dr = dstream + r * width;
      real *qr = dreal + r * width;
      const float scale = inverse[r];
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (long i = 0; i < width; i++) {
        float g = load(gr[i]);
        dot += g * weight[i] * sr[i];
        sums[i] += g * sr[i] * scale;
      }
      const float back = dot * scale * scale * scale / (float)width;
      if (keep) {
#pragma omp simd
        for (long i = 0; i < width; i++) {
          float value = dr[i] + load(gr[i]) * weight[i] * scale - sr[i] * back;
          dr[i] = value;
          qr[i] = store(value);
        }
      } else {
#pragma omp simd
        for (long i = 0; i < width; i++) {
          float value = load(gr[i]) * weight[i] * scale - sr[i] * back;
          dr[i] = value;
          qr[i] = store(value);
        }
      }
    }
  }
  for (long partition = 0; partition < num_partitions; partition++)
    for (long i = 0; i < width; i++) dweight[i] += partial[partition * width + i];
}

/* ---- attention: qkv `[batch * seq, (heads + 2 kv) * dim]` ---- */

/* Rotates queries (times scale) and keys by their position and lays them out head by head:
 * q `[batch, heads, seq, dim]`, k and v `[batch, kv, seq, dim]`. cosine, sine `[seq, dim / 2]`. */
void split_heads(long batch, long seq, long heads, long kv, long dim, float scale, const float *cosine,
                 const float *sine, const real *qkv, real *q, real *k, real *v) {
  const long half = dim / 2, row = (heads + 2 * kv) * dim;
#pragma omp parallel for collapse(2) schedule(static)
  for (long b = 0; b < batch; b++)
    for (long t = 0; t < seq; t++) {
      const real *in = qkv + (b * seq + t) * row;
      const float *c = cosine + t * half, *s = sine + t * half;
      for (long h = 0; h < heads + kv; h++) {
        const real *from = in + h * dim;
        real *to = h < heads ? q + ((b * heads + h) * seq + t) * dim
                             : k + ((b * kv + h - heads) * seq + t) * dim;
        const float by = h < heads ? scale : 1.0f;
#pragma omp simd
        for (long i = 0; i < half; i++) {
          float x = load(from[i]) * by, y = load(from[half + i]) * by;
          to[i] = store(x * c[i] - y * s[i]);
          to[half + i] = store(y * c[i] + x * s[i]);
        }
      }
      for (long h = 0; h < kv; h++)
        memcpy(v + ((b * kv + h) * seq + t) * dim, in + (heads + kv + h) * dim, (size_t)dim * sizeof(real));
    }
}

/* Gradient of qkv from those of q, k and v. */
void split_heads_backward(long batch, long seq, long heads, long kv, long dim, float scale,
                          const float *cosine, const float *sine, const real *dq, const real *dk,
                          const real *dv, real *dqkv) {
  const long half = dim / 2, row = (heads + 2 * kv) * dim;
#pragma omp parallel for collapse(2) schedule(static)
  for (long b = 0; b < batch; b++)
    for (long t = 0; t < seq; t++) {
      real *out = dqkv + (b * seq + t) * row;
      const float *c = cosine + t * half, *s = sine + t * half;
      for (long h = 0; h < heads + kv; h++) {
        const real *from = h < heads ? dq + ((b * heads + h) * seq + t) * dim
                                     : dk + ((b * kv + h - heads) * seq + t) * dim;
        real *to = out + h * dim;
        const float by = h < heads ? scale : 1.0f;
#pragma omp simd
        for (long i = 0; i < half; i++) {
          float x = load(from[i]) * by, y = load(from[half + i]) * by;
          to[i] = store(x * c[i] + y * s[i]);
          to[half + i] = store(y * c[i] - x * s[i]);
        }
      }
      for (long h = 0; h < kv; h++)
        memcpy(out + (heads + kv + h) * dim, dv + ((b * kv + h) * seq + t) * dim, (size_t)dim * sizeof(real));
    }
}

/* Causal softmax, in place: scores `[rows, seq]`, row r is position r % seq. */
void causal_softmax(long rows, long seq, real *scores) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    real *row = scores + r * seq;
    const long seen = r % seq + 1;
    float top = -INFINITY, sum = 0;
#pragma omp simd reduction(max : top)
    for (long i = 0; i < seen; i++) top = load(row[i]) > top ? load(row[i]) : top;
    float values[seen];
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < seen; i++) {
      values[i] = fast_exp(load(row[i]) - top);
      sum += values[i];
    }
    const float scale = 1.0f / sum;
#pragma omp simd
    for (long i = 0; i < seen; i++) row[i] = store(values[i] * scale);
    memset(row + seen, 0, (size_t)(seq - seen) * sizeof(real));
  }
}

/* Gradient through the softmax, in place in dweights: weights * (dweights - sum(weights * dweights)). */
void causal_softmax_backward(long rows, long seq, const real *weights, real *dweights) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    const real *w = weights + r * seq;
    real *d = dweights + r * seq;
    const long seen = r % seq + 1;
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (long i = 0; i < seen; i++) dot += load(w[i]) * load(d[i]);
#pragma omp simd
    for (long i = 0; i < seen; i++) d[i] = store(load(w[i]) * (load(d[i]) - dot));
    memset(d + seen, 0, (size_t)(seq - seen) * sizeof(real));
  }
}

/* `[batch, heads, seq, dim]` to `[batch, seq, heads, dim]`; with heads and seq exchanged, its inverse. */
void swap_heads(long batch, long heads, long seq, long dim, const real *from, real *to) {
#pragma omp parallel for collapse(2) schedule(static)
  for (long b = 0; b < batch; b++)
    for (long t = 0; t < seq; t++)
      for (long h = 0; h < heads; h++)
        memcpy(to + ((b * seq + t) * heads + h) * dim, from + ((b * heads + h) * seq + t) * dim,
               (size_t)dim * sizeof(real));
}

#ifndef SIZER_AVX512 /* avx512/swiglu.c has it otherwise */

/* ---- SwiGLU: gate_up `[rows, 2 width]`, gate first ---- */

void swiglu(long rows, long width, const real *gate_up, real *out) {
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

/* Overwrites gate_up with its gradient; out is recomputed as `swiglu` gave it. */
void swiglu_backward(long rows, long width, real *gate_up, const real *dout, real *out) {
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

/* ---- 8-bit activations of bitnet.cpp ---- */

/* Rounds each row to 8 bits, in place; `int8_rows` of search/training/straight_through.py. */
void int8_rows(long rows, long width, real *x) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    real *row = x + r * width;
    float most = 1e-5f;
#pragma omp simd reduction(max : most)
    for (long i = 0; i < width; i++) {
      float magnitude = fabsf(load(row[i]));
      most = magnitude > most ? magnitude : most;
    }
    const float scale = 127.0f / most;
#pragma omp simd
    for (long i = 0; i < width; i++) {
      /* nearest whole number, halves to even: no magnitude is above 127 here */
      float level = (load(row[i]) * scale + 12582912.0f) - 12582912.0f;
      row[i] = store(level / scale);
    }
  }
}

/* ---- ends: tokens to the stream, logits to the loss ---- */

void embed(long rows, long width, const int64_t *tokens, const float *table, float *stream) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++)
    memcpy(stream + r * width, table + tokens[r] * width, (size_t)width * sizeof(float));
}

/* Gradient of the table `[vocab, width]`: that of the tied head (dhead, may be NULL) plus every token's row.
 * Threads take columns, so that each sum has one order. */
void embed_backward(long rows, long width, long vocab, long num_partitions, const int64_t *tokens,
                    const float *dstream, const real *dhead, float *dtable) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < vocab; r++)
    for (long i = 0; i < width; i++) dtable[r * width + i] = dhead ? load(dhead[r * width + i]) : 0.0f;
#pragma omp parallel for schedule(static)
  for (long partition = 0; partition < num_partitions; partition++) {
    PARTITION(partition, num_partitions, width);
    for (long r = 0; r < rows; r++) {
      float *to = dtable + tokens[r] * width;
      const float *from = dstream + r * width;
#pragma omp simd
      for (long i = first; i < last; i++) to[i] += from[i];
    }
  }
}

/* Mean cross-entropy in nats, added to *total; the logits `[rows, vocab]` become its gradient. */
void cross_entropy(long rows, long vocab, const int64_t *targets, real *logits, double *losses,
                   double *total) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    real *row = logits + r * vocab;
    float top = -INFINITY, sum = 0;
#pragma omp simd reduction(max : top)
    for (long i = 0; i < vocab; i++) top = load(row[i]) > top ? load(row[i]) : top;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < vocab; i++) sum += fast_exp(load(row[i]) - top);
    losses[r] = (double)top + log((double)sum) - (double)load(row[targets[r]]);
    const float scale = 1.0f / sum, share = 1.0f / (float)rows;
    const float target = load(row[targets[r]]);
#pragma omp simd
    for (long i = 0; i < vocab; i++) row[i] = store(fast_exp(load(row[i]) - top) * scale * share);
    row[targets[r]] = store((fast_exp(target - top) * scale - 1.0f) * share);
  }
  double sum = 0;
  for (long r = 0; r < rows; r++) sum += losses[r];
  *total += sum / (double)rows;
}

/* ---- optimizer ---- */

/* AdamW after clipping the gradient to a norm of at most `clip`; returns the norm before clipping.
 * `chunks` pairs of (tensor, first weight) cover every weight; sums holds a double for each. */
double adamw(const adamw_tensor *tensors, long chunks, const int64_t *starts, double *sums, double clip,
             double rate, double beta1, double beta2, double epsilon, double correction1,
             double correction2) {
#pragma omp parallel for schedule(static)
  for (long c = 0; c < chunks; c++) {
    const adamw_tensor *t = tensors + starts[2 * c];
    const long from = starts[2 * c + 1], to = from + ADAMW_CHUNK < t->count ? from + ADAMW_CHUNK : t->count;
    float sum = 0;
    if (t->grad_real) {
#pragma omp simd reduction(+ : sum)
      for (long i = from; i < to; i++) sum += load(t->grad_real[i]) * load(t->grad_real[i]);
    } else {
#pragma omp simd reduction(+ : sum)
      for (long i = from; i < to; i++) sum += t->grad_float[i] * t->grad_float[i];
    }
    sums[c] = sum;
  }
  double total = 0;
  for (long c = 0; c < chunks; c++) total += sums[c];
  const double norm = sqrt(total);
  const float scale = norm > clip ? (float)(clip / norm) : 1.0f;
  const float b1 = (float)beta1, b2 = (float)beta2, eps = (float)epsilon;
  const float root = (float)(1.0 / sqrt(correction2));
#pragma omp parallel for schedule(static)
  for (long c = 0; c < chunks; c++) {
    const adamw_tensor *t = tensors + starts[2 * c];
    const long from = starts[2 * c + 1], to = from + ADAMW_CHUNK < t->count ? from + ADAMW_CHUNK : t->count;
    const float lr = (float)(rate * t->rate), step = (float)(rate * t->rate / correction1);
    const float kept = 1.0f - lr * t->decay;
#define UPDATE(GRADIENT)                                            \
  for (long i = from; i < to; i++) {                                \
    float g = (GRADIENT) * scale;                                   \
    float m = t->mean[i] + (g - t->mean[i]) * (1.0f - b1);          \
    float v = t->square[i] * b2 + g * g * (1.0f - b2);              \
    float w = t->weight[i] * kept - step * m / (sqrtf(v) * root + eps); \
    t->mean[i] = m;                                                 \
    t->square[i] = v;                                               \
    t->weight[i] = w;                                               \
    t->copy[i] = store(w);                                          \
  }
    if (t->grad_real) {
#pragma omp simd
      UPDATE(load(t->grad_real[i]))
    } else {
#pragma omp simd
      UPDATE(t->grad_float[i])
    }
  }
  return norm;
}
