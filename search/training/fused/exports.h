/* Every function that Python calls, once: the C compiler checks the definitions against this file, and
 * bindings.py reads argument types from it (plain prototypes only; `real` is the type of activations).
 */
#ifndef SIZER_EXPORTS_H
#define SIZER_EXPORTS_H

#include <stdint.h>

typedef uint32_t __attribute__((may_alias)) bf16_pair; /* two neighbouring bfloat16 numbers */

/* One tensor of the optimizer: `count` weights, their gradient as real or float (the other is NULL), the two
 * moments and the working copy. `AdamwTensor` of bindings.py. */
typedef struct {
  long count;
  float *weight, *mean, *square;
  const real *grad_real;
  const float *grad_float;
  real *copy;
  float rate, decay;
} adamw_tensor;

#define ADAMW_CHUNK 16384 /* weights that an optimizer thread takes at a time */

#pragma GCC visibility push(default)

/* Value of a constant that Python uses as well, by name; -1 if it is unknown. */
long shared_constant(const char *name);

void add_norm(long rows, long width, float epsilon, const float *x, const real *y, const float *weight,
              float *stream, real *out, float *inverse);
void norm_backward(long rows, long width, long num_partitions, const float *stream, const float *inverse,
                   const float *weight, const real *dout, float *dstream, real *dreal, float *dweight,
                   float *partial, long keep);
void split_heads(long batch, long seq, long heads, long kv, long dim, float scale, const float *cosine,
                 const float *sine, const real *qkv, real *q, real *k, real *v);
void split_heads_backward(long batch, long seq, long heads, long kv, long dim, float scale,
                          const float *cosine, const float *sine, const real *dq, const real *dk,
                          const real *dv, real *dqkv);
void causal_softmax(long rows, long seq, real *scores);
void causal_softmax_backward(long rows, long seq, const real *weights, real *dweights);
void swap_heads(long batch, long heads, long seq, long dim, const real *from, real *to);
void swiglu(long rows, long width, const real *gate_up, real *out);
void swiglu_backward(long rows, long width, real *gate_up, const real *dout, real *out);
void int8_rows(long rows, long width, real *x);
void embed(long rows, long width, const int64_t *tokens, const float *table, float *stream);
void embed_backward(long rows, long width, long vocab, long num_partitions, const int64_t *tokens,
                    const float *dstream, const real *dhead, float *dtable);
void cross_entropy(long rows, long vocab, const int64_t *targets, real *logits, double *losses,
                   double *total);
double adamw(const adamw_tensor *tensors, long chunks, const int64_t *starts, double *sums, double clip,
             double rate, double beta1, double beta2, double epsilon, double correction1,
             double correction2);

#ifdef SIZER_AVX512 /* and everything below */

long attention_workspace(long seq, long dim);
void attention(long batch, long seq, long heads, long kv, long dim, float scale, const float *cosine,
               const float *sine, long num_partitions, char *workspaces, const real *qkv, real *mixed);
void attention_backward(long batch, long seq, long heads, long kv, long dim, float scale,
                        const float *cosine, const float *sine, long num_partitions, char *workspaces,
                        const real *qkv, const real *dmixed, real *dqkv);
long product_workspace(long rows, long in, long out, long num_partitions);
void linear(long rows, long in, long out, long num_partitions, const real *x, const real *weight,
            bf16_pair *workspace, real *y);
void linear_backward(long rows, long in, long out, long num_partitions, const real *dy, const real *weight,
                     bf16_pair *workspace, real *dx);
void weight_gradient(long rows, long in, long out, long num_partitions, const real *dy, const real *x,
                     bf16_pair *workspace, real *dweight, long add);

#endif
#pragma GCC visibility pop
#endif
