-- agree: the CPU backend beside the plain-C reference in double, for one op.
local O = require "spec.support.op_case"
local ops = O.ops()

--- agree(op, inputs, attr, tolerance): every output of the CPU within `tolerance` (1e-5) of the largest number of
--- the reference's in double.
--- in  inputs  { { dims = {…}, fill = "n" }, … } as cases have them, or with `data` in place of `fill`
return function(name, inputs, attr, tolerance)
  local kind, wide = { inputs = inputs, classes = inputs.classes }, {}
  local filled = O.fill(kind, O.F32)
  for k, x in ipairs(filled) do
    wide[k] = { dims = x.dims, dtype = x.dtype == O.F32 and O.F64 or x.dtype, data = x.data }
  end
  local got, want = O.run(ops[name], filled, attr, "cpu"), O.run(ops[name], wide, attr, "reference")
  for k, w in ipairs(want) do
    local g, largest, off = got[k], 1e-30, 0
    if table.concat(w.dims, " ") ~= table.concat(g.dims, " ") then
      error(("%s, output %d: shapes differ"):format(name, k), 2)
    end
    for i, v in ipairs(w.data) do
      local d = math.abs(v - g.data[i])
      largest, off = math.max(largest, math.abs(v)), d == d and math.max(off, d) or math.huge
    end
    if off > (tolerance or 1e-5) * largest then
      error(("%s, output %d: off by %g, the largest is %g"):format(name, k, off, largest), 2)
    end
  end
  return got
end
