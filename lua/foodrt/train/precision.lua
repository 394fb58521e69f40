--- precision: "fp32", or "bf16": large intermediate maps are stored in 16 bits and products take bf16, with sums, weights,
--- moments, statistics, softmax and losses in fp32.
local lib = require "foodrt.core.ffi"
local ffi, C = lib.ffi, lib.C
local precision = { NAMES = { "fp32", "bf16" } }

--- takes a precision for every plan from now on.
--- in   wish  "fp32", "bf16" or nil for fp32
--- out  the one in force; where it is not the wish, a line that says why
function precision.set(wish)
  if C.frt_set_precision(wish or "fp32") == 0 then return wish or "fp32" end
  local why = ffi.string(C.frt_error_last()):gsub("^precision: ", "")
  C.frt_set_precision "fp32"
  return "fp32", ("precision = %q: %s: this computes in fp32"):format(wish, why)
end

--- the same for a command that has no progress to say it with: the line goes to stderr.
function precision.announce(wish)
  local got, why = precision.set(wish)
  if why then io.stderr:write(why, "\n") end
  return got
end

return precision
