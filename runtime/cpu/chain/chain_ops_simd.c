// chain_ops.c -- the instructions of elementwise chains: each runs over one tile in the first
// cache.
#include "cpu/chain/chain_ops_simd.h"

#include "cpu/chain/vmath_simd.h"

// A loop over whole vectors and one over the lanes left.
#define CHAIN_LOOP(expr_load, tail_load, expr)                                                     \
  int64_t i = 0;                                                                                   \
  for (; i + FRT_VL <= n; i += FRT_VL) {                                                           \
    expr_load;                                                                                     \
    v_store(d + i, expr);                                                                          \
  }                                                                                                \
  if (i < n) {                                                                                     \
    tail_load;                                                                                     \
    v_store_n(d + i, expr, n - i);                                                                 \
  }
#define CHAIN_1(id, expr)                                                                          \
  static void op_##id(float *d, const float *pa, const float *pb, const float *pc, int64_t n)      \
  {                                                                                                \
    (void)pb;                                                                                      \
    (void)pc;                                                                                      \
    CHAIN_LOOP(vf x = v_load(pa + i), vf x = v_load_n(pa + i, n - i), expr)                        \
  }
#define CHAIN_2(id, expr)                                                                          \
  static void op_##id(float *d, const float *pa, const float *pb, const float *pc, int64_t n)      \
  {                                                                                                \
    (void)pc;                                                                                      \
    CHAIN_LOOP(vf a = v_load(pa + i); vf b = v_load(pb + i), vf a = v_load_n(pa + i, n - i);       \
               vf b = v_load_n(pb + i, n - i), expr)                                               \
  }
#define CHAIN_3(id, expr)                                                                          \
  static void op_##id(float *d, const float *pa, const float *pb, const float *pc, int64_t n)      \
  {                                                                                                \
    CHAIN_LOOP(vf a = v_load(pa + i); vf b = v_load(pb + i);                                       \
               vf c = v_load(pc + i), vf a = v_load_n(pa + i, n - i);                              \
               vf b = v_load_n(pb + i, n - i); vf c = v_load_n(pc + i, n - i), expr)               \
  }
#define V_ONE v_set(1.0f)

// A product and a sum are rounded each, in one instruction too: what a chain computes must not
// depend on where the planner cut it. A function, for within an expression compilers may contract.
FRT_INLINE vf rounded(vf a, vf b)
{
  return a * b;
}

CHAIN_1(neg, -x)
CHAIN_1(exp, v_exp(x))
CHAIN_1(log, v_log(x))
CHAIN_1(sqrt, v_sqrt(x))
CHAIN_1(rsqrt, 1.0f / v_sqrt(x))
CHAIN_1(abs, v_abs(x))
CHAIN_1(sign, v_select(x > 0.0f, V_ONE, v_select(x < 0.0f, -V_ONE, x)))
CHAIN_1(sin, v_lanes(x, sinf))
CHAIN_1(cos, v_lanes(x, cosf))
CHAIN_1(erf, v_erf(x))
CHAIN_1(tanh, v_tanh(x))
CHAIN_1(sigmoid, v_sigmoid(x))
CHAIN_1(relu, v_max(x, v_zero()))
CHAIN_1(relu6, v_min(v_max(x, v_zero()), v_set(6.0f)))
CHAIN_1(silu, x / (1.0f + v_exp(-x)))
CHAIN_1(gelu, x *v_phi(x))
CHAIN_1(softplus, v_softplus(x))
CHAIN_1(floor, v_floor(x))
CHAIN_1(expand, x)
CHAIN_2(add, a + b)
CHAIN_2(sub, a - b)
CHAIN_2(mul, a *b)
CHAIN_2(div, a / b)
CHAIN_2(maximum, v_select((a > b) | (a != a), a, b))
CHAIN_2(minimum, v_select((a < b) | (a != a), a, b))
CHAIN_2(eq, v_select(a == b, V_ONE, v_zero()))
CHAIN_2(lt, v_select(a < b, V_ONE, v_zero()))
CHAIN_2(le, v_select(a <= b, V_ONE, v_zero()))
CHAIN_3(where, v_select(a != 0.0f, b, c))
CHAIN_3(muladd, rounded(a, b) + c)
CHAIN_3(mulsub, rounded(a, b) - c)

FRT_INLINE vf silu_slope(vf x)
{
  vf s = v_sigmoid(x);
  return v_fma(x * s, 1.0f - s, s);
}
// The normal distribution's density.
FRT_INLINE vf density(vf x)
{
  return v_exp(x * x * -0.5f) * 0.39894228f;
}
CHAIN_2(silu_grad, b *silu_slope(a))
CHAIN_2(gelu_grad, b *v_fma(density(a), a, v_phi(a)))
CHAIN_2(relu_grad, v_select(a > 0.0f, b, v_zero()))
CHAIN_2(relu6_grad, v_select((a > 0.0f) & (a < 6.0f), b, v_zero()))

CHAIN_1(square, x *x)
CHAIN_1(cube, x *x *x)
static bool all_equal(const float *x, int64_t n)
{
  vi other = {0};
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    other |= v_load(x + i) != x[0];
  }
  int32_t any = 0;
  for (int32_t l = 0; l < FRT_VL; l++) {
    any |= other[l];
  }
  for (; i < n; i++) {
    any |= x[i] != x[0];
  }
  return any == 0;
}
// Where the exponent is one number, 1, 2 and 3 are products.
static void op_pow(float *d, const float *pa, const float *pb, const float *pc, int64_t n)
{
  bool one = all_equal(pb, n);
  if (one && pb[0] == 2) {
    op_square(d, pa, pb, pc, n);
  } else if (one && pb[0] == 3) {
    op_cube(d, pa, pb, pc, n);
  } else if (one && pb[0] == 1) {
    op_expand(d, pa, pb, pc, n);
  } else {
    for (int64_t i = 0; i < n; i++) {
      d[i] = powf(pa[i], pb[i]);
    }
  }
}

#define CHAIN_ENTRY(id) op_##id,
const frt_chain_fn FRT_K(chain_ops)[FRT_CHAIN_COUNT] = {FRT_CHAIN_CODES(CHAIN_ENTRY)};
