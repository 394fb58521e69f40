--- tensor: the tensor type. Tensors are lazy: a method records a node, values come with item, totable, print
--- or frt.realize. The parts are in this folder, by meaning; this file puts them together.
---
---   T.is(x)  T.wrap(ref)  T.op(name, { inputs }, { attributes }, n_out)  T.var{ … }  T.wrap_data(…)
---   T.collect()  T.forget()  T.plan(t, …)  T.methods  T.api (the functions of frt)
local R = require "foodrt.tensor.record"
require "foodrt.tensor.value"
local create = require "foodrt.tensor.create"
for _, part in ipairs { "math", "shape", "reduce", "index", "layer", "grad", "print", "plan", "graph" } do
  require("foodrt.tensor." .. part)
end

return {
  is = R.is, wrap = R.wrap, op = R.op, var = create.var, wrap_data = create.wrap_data, collect = R.collect,
  forget = R.forget, limits = R.limits, info = R.info, bytes = R.bytes, copy = R.copy, fill_from = R.fill_from,
  plan = R.plan, methods = R.methods, api = R.api,
}
