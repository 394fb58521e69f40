-- bf16 beside the plain-C reference: one op on numbers rounded to bf16, in double and with maps stored as bf16.
local O = require "spec.support.op_case"
local ffi = require "ffi"
require "foodrt"
local C = require("foodrt.core.ffi").C
local half = {}

half.here = tonumber(C.frt_set_precision "bf16") == 0
C.frt_set_precision "fp32"

--- `it` of a spec, or what says that this CPU has no bf16.
function half.it(it, pending)
  return half.here and it or function(name) pending(name .. " (this CPU has no bf16)") end
end

--- the nearest bf16, ties to even.
local bits = ffi.new "union { float f; uint32_t u; }"
function half.rounded(x)
  bits.f = x
  bits.u = bit.band(bits.u + 0x7fff + bit.band(bit.rshift(bits.u, 16), 1), 0xffff0000)
  return bits.f
end

--- runs fn with maps stored as bf16 on so many threads.
function half.run(threads, fn, ...)
  local before = C.frt_threads()
  C.frt_set_threads(threads)
  C.frt_set_precision "bf16"
  local ok, result = pcall(fn, ...)
  C.frt_set_precision "fp32"
  C.frt_set_threads(before)
  if not ok then error(result, 0) end
  return result
end

--- the first result of one op on normal numbers of these shapes, by the reference and as bf16 on 1, 2 and 3 threads:
--- fn(want, got, what) is called for each.
function half.each(name, dims, attr, fn)
  local case, op = { inputs = {} }, O.ops()[name]
  for k, d in ipairs(dims) do case.inputs[k] = { dims = d, fill = "n" } end
  local narrow, wide = O.fill(case, O.F32), {}
  for k, x in ipairs(narrow) do
    for i, v in ipairs(x.data) do x.data[i] = half.rounded(v) end
    wide[k] = { dims = x.dims, dtype = O.F64, data = x.data }
  end
  local want = O.run(op, wide, attr, "reference")[1].data
  for threads = 1, 3 do
    fn(want, half.run(threads, O.run, op, narrow, attr, "cpu")[1].data, ("%s on %d threads"):format(name, threads))
  end
end

return half
