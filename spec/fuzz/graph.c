// graph.c -- the text of a graph. What is read is also walked, and written again: the text of a
// graph must read back as the same text.
#include <stdlib.h>

#include "ir/ir.h"

static void check(int holds)
{
  if (!holds) {
    abort();
  }
}

static void walk(frt_ir *ir)
{
  for (int32_t i = 0; i < frt_ir_n_values(ir); i++) {
    frt_ir_value_info v;
    check(frt_ir_value(ir, i, &v) == FRT_OK && v.node < frt_ir_n_nodes(ir));
    check(!v.name[0] || frt_ir_find(ir, v.name) >= 0);
  }
  for (int32_t i = 0; i < frt_ir_n_nodes(ir); i++) {
    frt_ir_node_info n;
    frt_ir_attr a;
    check(frt_ir_node(ir, i, &n) == FRT_OK);
    for (int32_t k = 0; k < n.n_in; k++) {
      check(n.in[k] < n.out[0]); // inputs before users
    }
    for (int32_t k = 0; k < n.n_attr; k++) {
      check(frt_ir_attr_at(ir, i, k, &a) == FRT_OK);
      check(frt_ir_attr_of(ir, i, a.name, &a) == FRT_OK);
    }
  }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  frt_ir *ir, *again;
  const char *text, *second;
  uint64_t bytes, more;
  if (frt_ir_parse((const char *)data, n, "input", &ir) != FRT_OK) {
    check(strstr(frt_error_last(), "input: line ") == frt_error_last());
    return 0;
  }
  walk(ir);
  check(frt_ir_text(ir, &text, &bytes) == FRT_OK);
  check(frt_ir_parse(text, bytes, "own text", &again) == FRT_OK);
  check(frt_ir_text(again, &second, &more) == FRT_OK);
  check(bytes == more && memcmp(text, second, bytes) == 0);
  frt_ir_free(ir);
  frt_ir_free(again);
  return 0;
}
