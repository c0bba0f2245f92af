/* What a decoder's training step does between its matrix products, each in one pass over the memory.
 *
 * torch runs these as dozens of small operations, each reading and writing every activation; in thin, deep
 * models they take more than half of a step. `real` is the type of activations and of the weights' working
 * copies: bfloat16 (as its upper 16 bits) or float. The residual stream, norms, sums and optimizer are float.
 *
 * Work is divided among threads by rows in fixed pieces and partial sums are added in the order of the pieces,
 * so that a seed gives the same weights on the same machine and number of threads.
 */
#include "kernels.h"

/* ---- residual stream and norms: x, stream `[rows, width]` ---- */

/* stream = x + y (y may be absent); out = stream / rms(stream) * weight; inverse[row] = 1 / rms. */
EXPORT void add_norm(long rows, long width, float epsilon, const float *x, const real *y, const float *weight,
                     float *stream, real *out, float *inverse) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++) {
    const float *xr = x + r * width;
    float *sr = stream + r * width;
    real *or = out + r * width;
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
    for (long i = 0; i < width; i++) or[i] = store(sr[i] * scale * weight[i]);
  }
}

/* Gradient through `add_norm`: added to dstream, which is also written as real; dweight is added to.
 * partial `[pieces, width]` is room for the sums over rows. */
EXPORT void norm_backward(long rows, long width, long pieces, const float *stream, const float *inverse,
                          const float *weight, const real *dout, float *dstream, real *dreal, float *dweight,
                          float *partial, long keep) {
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    float *sums = partial + piece * width;
    memset(sums, 0, (size_t)width * sizeof(float));
    PIECE(piece, pieces, rows);
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
  for (long piece = 0; piece < pieces; piece++)
    for (long i = 0; i < width; i++) dweight[i] += partial[piece * width + i];
}

/* ---- attention: qkv `[batch * seq, (heads + 2 kv) * dim]` ---- */

/* Rotates queries (times scale) and keys by their position and lays them out head by head:
 * q `[batch, heads, seq, dim]`, k and v `[batch, kv, seq, dim]`. cosine, sine `[seq, dim / 2]`. */
EXPORT void split_heads(long batch, long seq, long heads, long kv, long dim, float scale, const float *cosine,
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

/* The way back: gradients of q, k, v to the gradient of qkv. */
EXPORT void split_heads_backward(long batch, long seq, long heads, long kv, long dim, float scale,
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

/* Softmax over what a query may see, in place: scores `[rows, seq]`, row r is position r % seq. */
EXPORT void causal_softmax(long rows, long seq, real *scores) {
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
EXPORT void causal_softmax_backward(long rows, long seq, const real *weights, real *dweights) {
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

/* `[batch, heads, seq, dim]` to `[batch, seq, heads, dim]`; with heads and seq exchanged, the way back. */
EXPORT void swap_heads(long batch, long heads, long seq, long dim, const real *from, real *to) {
#pragma omp parallel for collapse(2) schedule(static)
  for (long b = 0; b < batch; b++)
    for (long t = 0; t < seq; t++)
      for (long h = 0; h < heads; h++)
        memcpy(to + ((b * seq + t) * heads + h) * dim, from + ((b * heads + h) * seq + t) * dim,
               (size_t)dim * sizeof(real));
}

/* ---- 8-bit activations of bitnet.cpp ---- */

/* Each row as read back from 8 bits, in place; `int8_rows` of search/proxy/straight_through.py. */
EXPORT void int8_rows(long rows, long width, real *x) {
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

EXPORT void embed(long rows, long width, const int64_t *tokens, const float *table, float *stream) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < rows; r++)
    memcpy(stream + r * width, table + tokens[r] * width, (size_t)width * sizeof(float));
}

/* Gradient of the table `[vocab, width]`: that of the head it is tied to (dhead, may be absent) and every
 * token's row. Threads take columns, so that each sum has one order. */
EXPORT void embed_backward(long rows, long width, long vocab, long pieces, const int64_t *tokens,
                           const float *dstream, const real *dhead, float *dtable) {
#pragma omp parallel for schedule(static)
  for (long r = 0; r < vocab; r++)
    for (long i = 0; i < width; i++) dtable[r * width + i] = dhead ? load(dhead[r * width + i]) : 0.0f;
#pragma omp parallel for schedule(static)
  for (long piece = 0; piece < pieces; piece++) {
    PIECE(piece, pieces, width);
    for (long r = 0; r < rows; r++) {
      float *to = dtable + tokens[r] * width;
      const float *from = dstream + r * width;
#pragma omp simd
      for (long i = first; i < last; i++) to[i] += from[i];
    }
  }
}

/* Mean cross-entropy in nats, added to *total; the logits `[rows, vocab]` become its gradient. */
EXPORT void cross_entropy(long rows, long vocab, const int64_t *targets, real *logits, double *losses,
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

#define CHUNK 16384

/* One tensor: `count` weights, their gradient as real or float, the two moments and the working copy. */
typedef struct {
  long count;
  float *weight, *mean, *square;
  const real *grad_real;
  const float *grad_float;
  real *copy;
  float rate, decay;
} tensor;


/* AdamW after clipping the gradient to a norm of at most `clip`; returns the norm before clipping.
 * `chunks` pairs of (tensor, first weight) cover every weight; sums has room for one double each. */
EXPORT double adamw(const tensor *tensors, long chunks, const int64_t *starts, double *sums, double clip,
                    double rate, double beta1, double beta2, double epsilon, double correction1,
                    double correction2) {
#pragma omp parallel for schedule(static)
  for (long c = 0; c < chunks; c++) {
    const tensor *t = tensors + starts[2 * c];
    const long from = starts[2 * c + 1], to = from + CHUNK < t->count ? from + CHUNK : t->count;
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
    const tensor *t = tensors + starts[2 * c];
    const long from = starts[2 * c + 1], to = from + CHUNK < t->count ? from + CHUNK : t->count;
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

/* Working copies of weights that were loaded or drawn. */
EXPORT void copy_weights(long count, const float *weight, real *copy) {
#pragma omp parallel for simd schedule(static)
  for (long i = 0; i < count; i++) copy[i] = store(weight[i]);
}
