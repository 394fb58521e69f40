// readers.c -- which nodes read each value of a plan, as the passes that look for patterns want it.
#include "plan/plan.h"

frt_status frt__readers_new(frt_plan *p, frt_readers *r)
{
  frt__count_uses(p);
  int32_t total = 0;
  for (int32_t v = 0; v < p->n_value; v++) {
    total += p->value[v].uses;
  }
  r->first = frt__alloc(sizeof *r->first * (size_t)(p->n_value + 2));
  r->list = frt__alloc(sizeof *r->list * (size_t)(total + 1));
  int32_t *fill = frt__alloc(sizeof *fill * (size_t)(p->n_value + 1));
  if (!r->first || !r->list || !fill) {
    frt__free(fill);
    frt__readers_free(r);
    return frt_error_set(FRT_ENOMEM, "out of memory: a plan");
  }
  int32_t at = 0;
  for (int32_t v = 0; v < p->n_value; v++) {
    r->first[v] = fill[v] = at;
    at += p->value[v].uses;
  }
  r->first[p->n_value] = at;
  for (int32_t i = 0; i < p->n_node; i++) {
    for (int32_t k = 0; !p->node[i].dead && k < p->node[i].n_in; k++) {
      int32_t v = p->node[i].in[k];
      if (v >= 0) {
        r->list[fill[v]++] = i;
      }
    }
  }
  frt__free(fill);
  return FRT_OK;
}

void frt__readers_free(frt_readers *r)
{
  frt__free(r->first);
  frt__free(r->list);
  *r = (frt_readers){0};
}

int32_t frt__only_reader(const frt_plan *p, const frt_readers *r, int32_t v)
{
  return p->value[v].uses == 1 && !p->value[v].pinned ? r->list[r->first[v]] : -1;
}

void frt__redirect(frt_pnode *n, int32_t from, int32_t to)
{
  for (int32_t k = 0; k < n->n_in; k++) {
    n->in[k] = n->in[k] == from ? to : n->in[k];
  }
}

void frt__drop_unread(frt_plan *p)
{
  frt__count_uses(p);
  for (int32_t i = p->n_node - 1; i >= 0; i--) {
    frt_pnode *n = &p->node[i];
    bool read = n->dead || (n->op->flags & FRT_UPDATE);
    for (int32_t k = 0; k < n->n_out && !read; k++) {
      read = n->out[k] >= 0 && (p->value[n->out[k]].uses > 0 || p->value[n->out[k]].pinned);
    }
    for (int32_t k = 0; k < n->n_in && !read; k++) {
      if (n->in[k] >= 0) {
        p->value[n->in[k]].uses--;
      }
    }
    n->dead = n->dead || !read;
  }
  frt__sort_nodes(p);
}
