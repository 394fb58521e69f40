// place.c -- a kernel for every node, a layout for every value, conversions where two don't meet.
#include <stdio.h>

#include "plan/plan.h"

bool frt__as_recorded(void)
{
  return frt__device()->backend->lowerings == NULL;
}

frt_status frt__step_new(frt_plan *p, const frt_op *op, const frt_kernel *kernel, int32_t n_in,
                         const int32_t *in, int32_t n_out, const int32_t *out, const double *attr,
                         frt_origin origin, int32_t *step)
{
  FRT_TRY(frt__grow(&p->step, &p->cap_step, p->n_step + 1, sizeof *p->step));
  int32_t *ids = frt__plan_alloc(p, sizeof *ids * (size_t)(n_in + n_out));
  FRT_CHECK(ids, FRT_ENOMEM, "out of memory: planning %s", op->name);
  if (n_in > 0) {
    memcpy(ids, in, sizeof *ids * (size_t)n_in);
  }
  memcpy(ids + n_in, out, sizeof *ids * (size_t)n_out);
  p->step[p->n_step] = (frt_pstep){
    .s = {.op = op, .kernel = kernel, .n_in = n_in, .n_out = n_out, .attr = attr},
    .in = ids,
    .out = ids + n_in,
    .origin = origin
  };
  *step = p->n_step++;
  return FRT_OK;
}

// Whether a value stays what it is until a variable that this plan doesn't assign moves.
static bool is_stable(const frt_plan *p, int32_t value)
{
  const frt_pvalue *v = &p->value[frt__root(p, value)];
  const frt_slot *s = v->place == FRT_AT_SLOT ? &p->slot[v->index] : NULL;
  return v->place == FRT_AT_CONST || v->place == FRT_AT_DERIVED ||
         (s && s->kind == FRT_NODE_VAR && s->var_kind == FRT_VAR_STATE && !s->assigned);
}

// A conversion step from `value` into a new value like it but for `layout` and `store`.
static frt_status convert(frt_plan *p, const frt_op *op, int32_t value, int32_t layout,
                          int32_t store, bool derived, frt_origin origin, int32_t *out)
{
  const frt_kernel *k = frt__kernel(op);
  const frt_shape shape = p->value[value].v.shape;
  int32_t step;
  FRT_CHECK(k, FRT_EDEVICE, "planner: no kernel changes how a map lies");
  FRT_TRY(frt__value_new(p, &shape, out));
  p->value[*out].v.layout = (uint8_t)layout;
  p->value[*out].v.store = (uint8_t)store;
  p->value[*out].bytes = frt__value_bytes(&p->value[*out].v);
  FRT_TRY(frt__step_new(p, op, k, 1, &value, 1, out, NULL, origin, &step));
  if (derived) { // weights in another form: made once, not in every run
    p->value[*out].place = FRT_AT_DERIVED;
    p->step[step].s.setup = true;
    p->n_setup++;
  }
  return FRT_OK;
}

// The value in another layout and store; each form is made once. derived: for a derived value, so
// that it must be one too.
static frt_status in_form(frt_plan *p, int32_t value, int32_t layout, int32_t store, bool derived,
                          frt_origin origin, int32_t *out)
{
  const frt_pvalue *v = &p->value[value];
  layout = v->v.shape.ndim == 4 ? layout : v->v.layout;
  *out = value;
  if (v->v.layout == layout && v->v.store == store) {
    return FRT_OK;
  }
  const int32_t base = v->base >= 0 ? v->base : value, form = layout + FRT_LAYOUTS * store;
  if (p->value[base].v.layout == layout && p->value[base].v.store == store) {
    *out = base;
    return FRT_OK;
  }
  const int32_t known = p->value[base].form[form];
  if (known > 0 && (!derived || is_stable(p, known))) {
    *out = known;
    return FRT_OK;
  }
  if (v->v.layout != layout && v->v.store != store) {
    FRT_TRY(in_form(p, value, layout, v->v.store, derived, origin, &value));
    v = &p->value[value];
  }
  if (v->v.layout != layout && frt__same_bytes(&v->v.shape)) {
    const frt_shape shape = v->v.shape;
    FRT_TRY(frt__value_new(p, &shape, out));
    frt_pvalue *made = &p->value[*out];
    made->v = p->value[value].v;
    made->v.layout = (uint8_t)layout;
    made->bytes = p->value[value].bytes;
    made->place = FRT_AT_ALIAS;
    made->index = value;
  } else {
    const frt_op *op = v->v.layout != layout ? &frt_fused_layout : &frt_fused_store;
    FRT_TRY(convert(p, op, value, layout, store, derived, origin, out));
  }
  p->value[*out].base = base;
  p->value[base].form[form] = *out;
  return FRT_OK;
}

// What layout an operand would have for `kernel`; `common` is what any_layout operands agree on.
static int32_t wanted(const frt_kernel *k, const frt_pvalue *v, int32_t position, uint32_t plain,
                      int32_t common)
{
  if (v->v.shape.ndim != 4) {
    return FRT_PLAIN;
  }
  if (k->channels_last) {
    return plain >> FRT_MIN(position, 31) & 1 ? FRT_PLAIN : FRT_CHANNELS_LAST;
  }
  return k->any_layout ? common : FRT_PLAIN;
}

static int32_t common_layout(const frt_plan *p, const frt_pnode *n)
{
  int32_t layout = FRT_PLAIN;
  for (int32_t i = 0; i < n->n_in; i++) {
    const frt_pvalue *v = n->in[i] >= 0 ? &p->value[n->in[i]] : NULL;
    if (v && v->v.shape.ndim == 4 && !frt__same_bytes(&v->v.shape) &&
        v->v.layout == FRT_CHANNELS_LAST) {
      layout = FRT_CHANNELS_LAST;
    }
  }
  return layout;
}

// Asks the kernel whether it can run the node with its operands in the layouts it wants, `bf16`:
// with maps stored so (results only where their readers are known).
static frt_status kernel_can(const frt_plan *p, const frt_readers *r, const frt_pnode *n,
                             const frt_kernel *k, int32_t common, bool bf16, bool *can)
{
  int32_t total = n->n_in + n->n_out;
  frt_value *values = frt__alloc((sizeof *values + sizeof(void *)) * (size_t)(total + 1));
  FRT_CHECK(values, FRT_ENOMEM, "out of memory: planning %s", n->op->name);
  const frt_value **refs = (void *)(values + total);
  for (int32_t i = 0; i < total; i++) {
    bool input = i < n->n_in;
    int32_t id = input ? n->in[i] : n->out[i - n->n_in];
    refs[i] = id >= 0 ? &values[i] : NULL;
    if (id >= 0) {
      values[i] = p->value[id].v;
      values[i].layout = (uint8_t)wanted(k, &p->value[id], input ? i : i - n->n_in,
                                         input ? k->plain_in : k->plain_out, common);
      const bool so = input && k->over ? frt__bf16(&values[i])
                      : input          ? frt__bf16_operand(k, i, &values[i])
                                       : r && frt__bf16_result(p, r, n, k, i - n->n_in);
      values[i].store = bf16 && so ? FRT_STORE_BF16 : FRT_STORE_OWN;
    }
  }
  frt_step s = {.op = n->op,
                .kernel = k,
                .n_in = n->n_in,
                .n_out = n->n_out,
                .in = refs,
                .out = refs + n->n_in,
                .attr = n->attr,
                .program = n->program};
  *can = !k->can || k->can(&s);
  frt__free(values);
  return FRT_OK;
}

frt_status frt__node_can(const frt_plan *p, const frt_pnode *n, bool *can)
{
  const frt_kernel *k = frt__kernel(n->op);
  *can = false;
  return k ? kernel_can(p, NULL, n, k, common_layout(p, n), frt__wants_bf16(p, n, k), can) : FRT_OK;
}

static bool is_derived(const frt_plan *p, const frt_pnode *n)
{
  for (int32_t i = 0; n->derived && i < n->n_in; i++) {
    if (!is_stable(p, n->in[i])) {
      return false;
    }
  }
  return n->derived;
}

static frt_status place_view(frt_plan *p, const frt_pnode *n)
{
  int32_t from;
  FRT_TRY(in_form(p, n->in[0], FRT_PLAIN, p->value[n->in[0]].v.store, is_derived(p, n), n->origin,
                  &from));
  frt_pvalue *v = &p->value[n->out[0]];
  v->v.store = p->value[from].v.store;
  v->bytes = p->value[from].bytes;
  v->place = FRT_AT_ALIAS;
  v->index = from;
  v->v.is_var = p->value[from].v.is_var;
  return FRT_OK;
}

// A permutation between N C H W and N H W C is none where the bytes lie so already: the result's
// layout, or -1.
static int32_t turned(const frt_plan *p, const frt_pnode *n)
{
  static const double to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};
  const frt_value *x = &p->value[n->in[0]].v;
  if (n->op != &frt_op_permute || x->shape.ndim != 4 || frt__as_recorded()) {
    return -1;
  }
  if (x->layout == FRT_CHANNELS_LAST) {
    return memcmp(n->attr, to_last, sizeof to_last) == 0 ? FRT_PLAIN : -1;
  }
  return memcmp(n->attr, to_first, sizeof to_first) == 0 ? FRT_CHANNELS_LAST : -1;
}

static void place_turned(frt_plan *p, const frt_pnode *n, int32_t layout)
{
  frt_pvalue *v = &p->value[n->out[0]];
  const frt_pvalue *x = &p->value[n->in[0]];
  v->place = FRT_AT_ALIAS;
  v->index = n->in[0];
  v->v.layout = (uint8_t)layout;
  v->v.store = x->v.store;
  v->v.is_var = x->v.is_var;
  v->bytes = x->bytes;
}

static frt_status place_node(frt_plan *p, const frt_readers *r, int32_t at)
{
  frt_pnode *n = &p->node[at];
  if (n->op->flags & FRT_VIEW) {
    return place_view(p, n);
  }
  const int32_t layout_of_turned = turned(p, n);
  if (layout_of_turned >= 0) {
    place_turned(p, n, layout_of_turned);
    return FRT_OK;
  }
  int32_t common = common_layout(p, n);
  const frt_kernel *k = frt__kernel(n->op);
  bool can = false, bf16 = k && frt__wants_bf16(p, n, k);
  if (bf16) {
    FRT_TRY(kernel_can(p, r, n, k, common, true, &can));
    bf16 = can;
  }
  if (k && !can) {
    FRT_TRY(kernel_can(p, r, n, k, common, false, &can));
  }
  if (!can) {
    const frt_device *d = frt__device();
    if (!n->op->forward || !(d->backend->flags & FRT_HOST_MEMORY)) {
      frt__blame(n->origin);
      return frt_error_set(FRT_EDEVICE, "%s: device '%s' has no kernel for this", n->op->name,
                           d->name);
    }
    k = &frt__reference;
  }
  const bool chain = k->over, derived = is_derived(p, n);
  int32_t few[16], *in = few;
  if (n->n_in > 16) {
    in = frt__plan_alloc(p, sizeof *in * (size_t)n->n_in);
    FRT_CHECK(in, FRT_ENOMEM, "out of memory: planning %s", n->op->name);
  }
  for (int32_t i = 0; i < n->n_in; i++) {
    in[i] = n->in[i];
    if (in[i] >= 0 && !chain) {
      int32_t layout = wanted(k, &p->value[in[i]], i, k->plain_in, common);
      const bool so = bf16 && frt__bf16_operand(k, i, &p->value[in[i]].v);
      const int32_t store = so ? FRT_STORE_BF16 : FRT_STORE_OWN;
      FRT_TRY(in_form(p, in[i], layout, store, derived, n->origin, &in[i]));
    }
  }
  for (int32_t i = 0; i < n->n_out; i++) {
    frt_pvalue *v = &p->value[n->out[i]];
    v->v.layout =
      (uint8_t)(chain && v->v.shape.ndim == 4 ? common : wanted(k, v, i, k->plain_out, common));
    v->place = derived ? FRT_AT_DERIVED : FRT_AT_ARENA;
    v->v.store = bf16 && frt__bf16_result(p, r, n, k, i) ? FRT_STORE_BF16 : FRT_STORE_OWN;
    v->bytes = frt__value_bytes(&v->v);
  }
  int32_t step;
  FRT_TRY(frt__step_new(p, n->op, k, n->n_in, in, n->n_out, n->out, n->attr, n->origin, &step));
  frt_pstep *s = &p->step[step];
  s->s.program = n->program;
  s->s.note = n->note;
  s->s.setup = derived;
  s->s.writes = (n->op->flags & FRT_UPDATE) != 0;
  p->n_setup += derived;
  return FRT_OK;
}

// A fresh plain value holding a copy of `value`.
static frt_status copied(frt_plan *p, int32_t value, frt_origin origin, int32_t *out)
{
  int32_t step;
  FRT_TRY(in_form(p, value, p->value[value].v.layout, FRT_STORE_OWN, false, origin, &value));
  frt_shape shape = p->value[value].v.shape;
  bool turn = p->value[value].v.layout != FRT_PLAIN && !frt__same_bytes(&shape);
  const frt_op *op = turn ? &frt_fused_layout : &frt_fused_copy;
  const frt_kernel *k = frt__kernel(op);
  FRT_CHECK(k, FRT_EDEVICE, "planner: no kernel copies");
  FRT_TRY(frt__value_new(p, &shape, out));
  return frt__step_new(p, op, k, 1, &value, 1, out, NULL, origin, &step);
}

// Outputs are handed out: each is a plain value of its own that a step of this plan has made.
static frt_status place_outputs(frt_plan *p)
{
  for (int32_t i = 0; i < p->n_output; i++) {
    int32_t v = p->output[i];
    const frt_pvalue *x = &p->value[v];
    bool turn = x->v.layout != FRT_PLAIN && !frt__same_bytes(&x->v.shape);
    bool taken = x->place != FRT_AT_ARENA || turn || x->v.store;
    for (int32_t k = 0; k < i && !taken; k++) {
      taken = p->output[k] == v;
    }
    if (taken) {
      FRT_TRY(copied(p, v, (frt_origin){0}, &p->output[i]));
    }
    frt_pvalue *o = &p->value[p->output[i]];
    o->place = FRT_AT_OUTPUT;
    o->index = i;
    p->output_bytes += o->bytes;
  }
  return FRT_OK;
}

// An assigned value that is itself a variable assigned here is set aside before the writing begins.
static frt_status place_assigned(frt_plan *p)
{
  for (int32_t i = 0; i < p->n_assign; i++) {
    const frt_pvalue *root = &p->value[frt__root(p, p->assign[i].value)];
    const frt_pvalue *v = &p->value[p->assign[i].value];
    bool turn = v->v.layout != FRT_PLAIN && !frt__same_bytes(&v->v.shape);
    if (turn || v->v.store || (root->place == FRT_AT_SLOT && p->slot[root->index].assigned)) {
      FRT_TRY(copied(p, p->assign[i].value, (frt_origin){0}, &p->assign[i].value));
    }
  }
  return FRT_OK;
}

static frt_status flops_of(frt_plan *p, frt_pstep *s)
{
  const frt_shape **xs = frt__plan_alloc(p, sizeof *xs * (size_t)(s->s.n_in + 1));
  frt_shape *ys = frt__plan_alloc(p, sizeof *ys * (size_t)(s->s.n_out + 1));
  FRT_CHECK(xs && ys, FRT_ENOMEM, "out of memory: planning %s", s->s.op->name);
  for (int32_t k = 0; k < s->s.n_in; k++) {
    xs[k] = s->s.in[k] ? &s->s.in[k]->shape : NULL;
  }
  for (int32_t k = 0; k < s->s.n_out; k++) {
    if (s->s.out[k]) {
      ys[k] = s->s.out[k]->shape;
    }
  }
  s->flops = s->s.op->flops(
    &(frt_infer){.n_in = s->s.n_in, .n_out = s->s.n_out, .x = xs, .y = ys, .attr = s->s.attr});
  return FRT_OK;
}

// Steps get their operands' descriptions; kernels say what scratch they want.
static frt_status describe(frt_plan *p)
{
  int32_t total = 0;
  for (int32_t i = 0; i < p->n_step; i++) {
    p->step[i].args = total;
    total += p->step[i].s.n_in + p->step[i].s.n_out;
  }
  p->n_args = total;
  size_t words = (size_t)total + 1;
  p->args = frt__plan_alloc(p, sizeof *p->args * words);
  p->arg_value = frt__plan_alloc(p, sizeof *p->arg_value * words);
  p->arg_version = frt__plan_alloc(p, sizeof *p->arg_version * words);
  const frt_value **refs = frt__plan_alloc(p, sizeof *refs * words);
  p->setup = frt__plan_alloc(p, sizeof *p->setup * (size_t)(p->n_step + 1));
  p->main = frt__plan_alloc(p, sizeof *p->main * (size_t)(p->n_step + 1));
  p->seconds = frt__plan_alloc(p, sizeof *p->seconds * (size_t)(p->n_step + 1));
  p->number = frt__plan_alloc(p, sizeof *p->number * (size_t)(p->n_value + 1));
  p->at = frt__plan_alloc(p, sizeof *p->at * (size_t)(p->n_value + 1));
  p->own = frt__plan_alloc(p, sizeof *p->own * (size_t)(p->n_value + 1));
  FRT_CHECK(p->args && p->arg_value && p->arg_version && refs && p->number && p->at && p->own &&
              p->setup && p->main && p->seconds,
            FRT_ENOMEM, "out of memory: a plan");
  for (int32_t i = 0; i < p->n_step; i++) {
    frt_pstep *s = &p->step[i];
    for (int32_t k = 0; k < s->s.n_in + s->s.n_out; k++) {
      int32_t v = k < s->s.n_in ? s->in[k] : s->out[k - s->s.n_in];
      p->arg_value[s->args + k] = v;
      refs[s->args + k] = v >= 0 ? &p->value[v].v : NULL;
    }
    s->s.in = refs + s->args;
    s->s.out = refs + s->args + s->s.n_in;
    s->s.in_version = p->arg_version + s->args;
    s->s.args = p->args + s->args;
    if (s->s.kernel->plan) {
      frt_status status = s->s.kernel->plan(&s->s);
      if (status != FRT_OK) {
        frt__blame(s->origin);
        return status;
      }
    }
    p->scratch = FRT_MAX(p->scratch, s->s.scratch);
    p->packed_bytes += s->s.packed;
    if (s->s.op->flops) {
      FRT_TRY(flops_of(p, s));
    } else {
      int32_t each = s->s.program ? ((const frt_program *)s->s.program)->n_instr : 1;
      s->flops = s->s.n_out > 0 ? (double)frt__numel(&s->s.out[0]->shape) * each : 0;
    }
    p->flops += s->flops;
  }
  for (int32_t i = 0, n_setup = 0, n_main = 0; i < p->n_step; i++) {
    frt_pstep *s = &p->step[i];
    s->job = s->s.setup ? n_setup : p->n_setup + n_main;
    *(s->s.setup ? &p->setup[n_setup++] : &p->main[n_main++]) = &s->s;
  }
  return FRT_OK;
}

frt_status frt__pass_place(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < p->n_node && status == FRT_OK; i++) {
    status = place_node(p, &r, i);
  }
  frt__readers_free(&r);
  FRT_TRY(status);
  frt__count_uses(p);
  FRT_TRY(place_outputs(p));
  FRT_TRY(place_assigned(p));
  FRT_TRY(frt__pass_commit(p));
  return describe(p);
}
