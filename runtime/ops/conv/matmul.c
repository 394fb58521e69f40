/// matmul -- matrix products; leading dimensions broadcast.
///
///     y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]
///
/// in    a    f32 or f64 [.., M, K], or [.., K, M] when ta
/// in    b    dtype of a [.., K, N], or [.., N, K] when tb
/// out   y    [.., M, N]
/// attr  ta   1: a is stored transposed
/// attr  tb   1: b is stored transposed
/// grad  da   dy b^T
/// grad  db   a^T dy, both summed over what was broadcast
/// errs  FRT_ESHAPE when dtypes, inner sizes or leading dimensions do not fit
/// cost  2 M N K
#include "ops/conv/conv.h"

static const frt_attr attrs[] = {
  {"ta", 1, 0, 0, 1, "1: a is stored transposed"},
  {"tb", 1, 0, 0, 1, "1: b is stored transposed"},
};

static const frt_case cases[] = {
  {"large, odd sizes",              2, {{37, 65}, {65, 43}},      NULL, 0, {0, 0}},
  {"matrices, odd sizes",           2, {{3, 7}, {7, 5}},          NULL, 0, {0, 0}},
  {"linear layer",                  2, {{5, 9}, {4, 9}},          NULL, 0, {0, 1}},
  {"both transposed",               2, {{7, 3}, {5, 7}},          NULL, 0, {1, 1}},
  {"batches that broadcast",        2, {{2, 1, 3, 4}, {5, 4, 2}}, NULL, 0, {0, 0}},
  {"tokens through a linear layer", 2, {{2, 5, 6}, {3, 6}},       NULL, 0, {0, 1}},
};

// Rows and columns as the product sees them.
static int64_t rows(const frt_shape *s, bool t)
{
  return s->dim[s->ndim - (t ? 1 : 2)];
}
static int64_t cols(const frt_shape *s, bool t)
{
  return s->dim[s->ndim - (t ? 2 : 1)];
}
// What comes before the matrix.
static frt_shape batch(const frt_shape *s)
{
  frt_shape b = *s;
  b.ndim -= 2;
  return b;
}

static frt_status infer(const frt_infer *c)
{
  const frt_shape *a = c->x[0], *b = c->x[1];
  bool ta = c->attr[FRT_MATMUL_TA] != 0, tb = c->attr[FRT_MATMUL_TB] != 0;
  FRT_TRY(frt__check_float("matmul", "a", a));
  FRT_CHECK(b->dtype == a->dtype, FRT_ESHAPE, "matmul: b must be %s like a, got %s",
            frt__dtype_name(a->dtype), frt__dtype_name(b->dtype));
  FRT_CHECK(a->ndim >= 2 && b->ndim >= 2, FRT_ESHAPE,
            "matmul: %s must be [.., rows, columns], got %s", a->ndim < 2 ? "a" : "b",
            frt__shape_text(a->ndim < 2 ? a : b));
  FRT_CHECK(cols(a, ta) == rows(b, tb), FRT_ESHAPE,
            "matmul: b must be %s%lld%s (a is %s%s), got %s", tb ? "[.., *, " : "[.., ",
            (long long)cols(a, ta), tb ? "] stored transposed" : ", *]", frt__shape_text(a),
            ta ? " stored transposed" : "", frt__shape_text(b));
  frt_shape lead[2] = {batch(a), batch(b)};
  frt_infer leading = {
    2, 1, (const frt_shape *const[]){&lead[0], &lead[1]},
        c->y, NULL
  };
  FRT_TRY(frt__infer_broadcast("matmul", &leading));
  c->y[0].dim[c->y[0].ndim++] = rows(a, ta);
  c->y[0].dim[c->y[0].ndim++] = cols(b, tb);
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const frt_shape *a = c->xs[0], *b = c->xs[1];
  bool ta = c->attr[FRT_MATMUL_TA] != 0, tb = c->attr[FRT_MATMUL_TB] != 0;
  int64_t m = rows(a, ta), n = cols(b, tb), depth = cols(a, ta);
  int64_t a_row = ta ? 1 : depth, a_col = ta ? m : 1, b_row = tb ? 1 : n, b_col = tb ? depth : 1;
  frt_shape lead[3] = {batch(a), batch(b), batch(c->ys[0])};
  frt_call leading = {
    .n_in = 2,
    .xs = (const frt_shape *const[]){&lead[0], &lead[1]},
    .ys = (const frt_shape *const[]){&lead[2]       }
  };
  frt_walk w;
  frt__walk_start(&w, &leading);
  for (int64_t i = 0; i < w.n; i++) {
    const real *pa = FRT_IN(real, 0) + frt__walk_at(&w, 0, i) * m * depth;
    const real *pb = FRT_IN(real, 1) + frt__walk_at(&w, 1, i) * depth * n;
    real *y = FRT_OUT(real, 0) + i * m * n;
    for (int64_t r = 0; r < m; r++) {
      for (int64_t s = 0; s < n; s++) {
        double sum = 0;
        for (int64_t k = 0; k < depth; k++) {
          sum += (double)pa[r * a_row + k * a_col] * (double)pb[k * b_row + s * b_col];
        }
        y[r * n + s] = (real)sum;
      }
    }
  }
  return FRT_OK;
}

static frt_status product(frt_ref a, bool ta, frt_ref b, bool tb, frt_ref *out)
{
  frt_ref in[2] = {a, b};
  double attr[FRT_MATMUL_ATTRS] = {ta, tb};
  return frt__node(&frt_op_matmul, 2, in, attr, 1, out);
}

// All leading dimensions and the rows as one: [.., M, K] -> [.. * M, K].
static frt_status flat(frt_ref t, const frt_shape *s, frt_ref *out)
{
  frt_shape two = {.ndim = 2, .dtype = s->dtype};
  two.dim[1] = s->dim[s->ndim - 1];
  two.dim[0] = two.dim[1] > 0 ? frt__numel(s) / two.dim[1] : 0;
  return frt__g_reshape(t, &two, out);
}

static frt_status grad(const frt_grad_call *c)
{
  bool ta = c->attr[FRT_MATMUL_TA] != 0, tb = c->attr[FRT_MATMUL_TB] != 0;
  frt_ref a = c->x[0], b = c->x[1], dy = c->dy[0], t;
  if (c->need[0]) {
    FRT_TRY(ta ? product(b, tb, dy, true, &t) : product(dy, false, b, !tb, &t));
    FRT_TRY(frt__g_unbroadcast(t, c->xs[0], &c->dx[0]));
  }
  if (c->need[1]) {
    // One matrix for many rows of a (a layer's weight): one product instead of a sum of products.
    if (c->xs[1]->ndim == 2 && c->xs[0]->ndim > 2 && !ta) {
      FRT_TRY(flat(a, c->xs[0], &a));
      FRT_TRY(flat(dy, c->ys[0], &dy));
    }
    FRT_TRY(tb ? product(dy, true, a, ta, &t) : product(a, !ta, dy, false, &t));
    FRT_TRY(frt__g_unbroadcast(t, c->xs[1], &c->dx[1]));
  }
  return FRT_OK;
}

static double flops(const frt_infer *c)
{
  const frt_shape *a = c->x[0];
  return 2.0 * (double)frt__numel(&c->y[0]) * (double)cols(a, c->attr[FRT_MATMUL_TA] != 0);
}

FRT_OP(matmul) = {
  .name = "matmul",
  .doc = "matrix products; leading dimensions broadcast",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
  .flops = flops,
};
