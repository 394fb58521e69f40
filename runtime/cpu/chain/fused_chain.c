// fused_chain.c -- elementwise chains: merges dimensions, classifies operands, pairs products with
// sums, and hands the rest to the interpreter in kernels/chain.c.
#include "cpu/chain/chain_simd.h"

enum { MAX_REG = 128, MAX_OUT = 24 };

static const struct {
  const frt_op *op;
  int32_t code;
} codes[] = {
#define CODE(id) {&frt_op_##id, FRT_CHAIN_##id},
  // All but the last two are ops of their own.
  CODE(neg) CODE(exp) CODE(log) CODE(sqrt) CODE(rsqrt) CODE(abs) CODE(sign) CODE(sin) CODE(cos)
    CODE(erf) CODE(tanh) CODE(sigmoid) CODE(relu) CODE(relu6) CODE(silu) CODE(gelu) CODE(softplus)
      CODE(floor) CODE(expand) CODE(add) CODE(sub) CODE(mul) CODE(div) CODE(pow) CODE(maximum)
        CODE(minimum) CODE(eq) CODE(lt) CODE(le) CODE(silu_grad) CODE(gelu_grad) CODE(relu_grad)
          CODE(relu6_grad) CODE(where)};

static int32_t code_of(const frt_op *op)
{
  for (int32_t i = 0; i < FRT_COUNT(codes); i++) {
    if (codes[i].op == op) {
      return codes[i].code;
    }
  }
  return -1;
}

static bool can(const frt_step *s)
{
  const frt_program *p = s->program;
  if (p == NULL || p->n_reg > MAX_REG || s->n_out > MAX_OUT || s->n_out < 1) {
    return false;
  }
  for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
    const frt_value *v = k < s->n_in ? s->in[k] : s->out[k - s->n_in];
    if (v == NULL || v->shape.dtype != FRT_F32) {
      return false;
    }
  }
  for (int32_t i = 0; i < p->n_instr; i++) {
    if (code_of(p->instr[i].op) < 0) {
      return false;
    }
  }
  return true;
}

// --- dimensions ---------------------------------------------------------------------------------
// Logical dimension at each place of memory, outermost first.
static void memory_order(int32_t ndim, int32_t layout, int32_t *order)
{
  static const int32_t channels_last[4] = {0, 2, 3, 1};
  for (int32_t d = 0; d < ndim; d++) {
    order[d] = layout == FRT_CHANNELS_LAST && ndim == 4 ? channels_last[d] : d;
  }
}
// Steps of an operand for each logical dimension of the output, 0 where it is broadcast.
static void logical_steps(const frt_value *v, int32_t ndim, int64_t *step)
{
  int32_t order[FRT_MAX_DIM], lead = ndim - v->shape.ndim;
  int64_t at = 1;
  memset(step, 0, sizeof *step * FRT_MAX_DIM);
  memory_order(v->shape.ndim, v->layout, order);
  for (int32_t d = v->shape.ndim - 1; d >= 0; d--) {
    int64_t n = v->shape.dim[order[d]];
    step[lead + order[d]] = n == 1 ? 0 : at;
    at *= n;
  }
}
static void shape_of(frt_chain *c, const frt_step *s)
{
  const frt_value *y = s->out[0];
  int32_t order[FRT_MAX_DIM], ndim = y->shape.ndim;
  int64_t step[FRT_MAX_DIM];
  memory_order(ndim, y->layout, order);
  // Memory order, without dimensions of 1.
  for (int32_t d = 0; d < ndim; d++) {
    if (y->shape.dim[order[d]] == 1) {
      continue;
    }
    for (int32_t k = 0; k < c->n_in; k++) {
      logical_steps(s->in[k], ndim, step);
      c->in[k].step[c->ndim] = step[order[d]];
    }
    c->dim[c->ndim++] = y->shape.dim[order[d]];
  }
  if (c->ndim == 0) {
    c->dim[c->ndim++] = 1;
  }
  // Neighbours that every operand walks as one become one.
  for (int32_t d = c->ndim - 2; d >= 0; d--) {
    bool one = true;
    for (int32_t k = 0; k < c->n_in; k++) {
      one = one && c->in[k].step[d] == c->in[k].step[d + 1] * c->dim[d + 1];
    }
    if (one) {
      c->dim[d] *= c->dim[d + 1];
      c->ndim--;
      for (int32_t e = d + 1; e < c->ndim; e++) {
        c->dim[e] = c->dim[e + 1];
      }
      for (int32_t k = 0; k < c->n_in; k++) {
        int64_t *of = c->in[k].step;
        of[d] = of[d + 1];
        for (int32_t e = d + 1; e < c->ndim; e++) {
          of[e] = of[e + 1];
        }
      }
    }
  }
}
static void classify(frt_chain *c)
{
  for (int32_t k = 0; k < c->n_in; k++) {
    bool direct = true, scalar = true, repeat = true;
    int64_t dense = 1;
    for (int32_t d = c->ndim - 1; d >= 0; d--) {
      direct = direct && c->in[k].step[d] == dense;
      scalar = scalar && c->in[k].step[d] == 0;
      repeat = repeat && (d == c->ndim - 1 || c->in[k].step[d] == 0);
      dense *= c->dim[d];
    }
    c->in[k].kind = scalar   ? FRT_CHAIN_SCALAR
                    : direct ? FRT_CHAIN_DIRECT
                    : repeat ? FRT_CHAIN_REPEAT
                             : FRT_CHAIN_GATHER;
  }
  c->inner = c->dim[c->ndim - 1];
  c->outer = 1;
  for (int32_t d = 0; d < c->ndim - 1; d++) {
    c->outer *= c->dim[d];
  }
  c->cols = FRT_MIN(c->inner, FRT_CHAIN_TILE);
  c->rows = c->cols < c->inner ? 1 : FRT_MAX(1, FRT_CHAIN_TILE / FRT_MAX(1, c->inner));
  int64_t pieces = (c->inner + FRT_CHAIN_TILE - 1) / FRT_CHAIN_TILE;
  c->tiles = pieces * ((c->outer + c->rows - 1) / c->rows);
  int64_t work = c->outer * c->inner * (1 + c->n_instr / 4);
  c->threads = work < 32768 ? 1 : FRT_MAX(1, frt_threads());
}

// --- instructions -------------------------------------------------------------------------------
static bool reads(const frt_chain_instr *i, int32_t reg)
{
  return i->a == reg || i->b == reg || i->c == reg;
}
static bool read_later(const frt_chain_instr *list, int32_t from, int32_t n, int32_t reg)
{
  for (int32_t i = from; i < n; i++) {
    if (reads(&list[i], reg)) {
      return true;
    }
    if (list[i].dst == reg) {
      return false;
    }
  }
  return false;
}
// mul whose result only the next add or sub reads: one instruction.
static bool pairs_with(const frt_chain *c, const frt_chain_instr *mul, int32_t at)
{
  const frt_chain_instr *now = &c->instr[at];
  bool sum = now->code == FRT_CHAIN_add && (now->a == mul->dst) != (now->b == mul->dst);
  bool difference = now->code == FRT_CHAIN_sub && now->a == mul->dst && now->b != mul->dst;
  return mul->code == FRT_CHAIN_mul && mul->store < 0 && (sum || difference) &&
         (now->dst == mul->dst || !read_later(c->instr, at + 1, c->n_instr, mul->dst));
}
static void pair_products(frt_chain *c)
{
  int32_t n = 0;
  for (int32_t i = 0; i < c->n_instr; i++) {
    frt_chain_instr now = c->instr[i];
    if (n > 0 && pairs_with(c, &c->instr[n - 1], i)) {
      const frt_chain_instr *mul = &c->instr[--n];
      int16_t code = now.code == FRT_CHAIN_add ? FRT_CHAIN_muladd : FRT_CHAIN_mulsub;
      int16_t other = now.a == mul->dst ? now.b : now.a;
      now = (frt_chain_instr){code, mul->a, mul->b, other, now.dst, now.store};
    }
    c->instr[n++] = now;
  }
  c->n_instr = n;
}

static frt_status plan(frt_step *s)
{
  const frt_program *p = s->program;
  size_t in = (size_t)s->n_in * sizeof(frt_chain_in);
  size_t instr = (size_t)p->n_instr * sizeof(frt_chain_instr);
  frt_chain *c = frt__zalloc(sizeof *c + in + instr);
  FRT_CHECK(c != NULL, FRT_ENOMEM, "out of memory: %s", s->note ? s->note : s->op->name);
  s->state = c;
  c->in = (frt_chain_in *)(c + 1);
  c->instr = (frt_chain_instr *)(c->in + s->n_in);
  c->n_in = s->n_in;
  c->n_out = s->n_out;
  c->n_reg = p->n_reg;
  c->n_instr = p->n_instr;
  for (int32_t i = 0; i < p->n_instr; i++) {
    const frt_instr *from = &p->instr[i];
    c->instr[i] = (frt_chain_instr){
      (int16_t)code_of(from->op), from->a, from->b, from->c, from->dst, from->store};
  }
  for (int32_t k = 0; k < s->n_in; k++) {
    c->in[k].bf16 = frt__bf16(s->in[k]);
  }
  for (int32_t k = 0; k < s->n_out; k++) {
    c->bf16_out[k] = frt__bf16(s->out[k]);
  }
  pair_products(c);
  for (int32_t i = 0; i < c->n_instr; i++) {
    for (int32_t k = 0; k < c->n_in; k++) {
      if (reads(&c->instr[i], k)) {
        c->in[k].last_read = i;
      }
    }
    if (c->instr[i].store >= 0) {
      c->stored_by[c->instr[i].store] = i;
    }
  }
  shape_of(c, s);
  classify(c);
  s->scratch = frt__chain_scratch(c);
  return FRT_OK;
}
static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__kernels()->chain(s->state, in, out, scratch);
  return FRT_OK;
}
static void drop(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}

FRT_KERNEL(fused_chain) = {
  .name = "tiles",
  .any_layout = true,
  .over = true,
  .bf16_in = ~0u,
  .bf16_out = ~0u,
  .can = can,
  .plan = plan,
  .run = run,
  .free = drop,
};
