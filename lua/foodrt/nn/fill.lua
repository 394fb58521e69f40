--- fill: initial values of parameters, drawn by (seed, parameter name): independent of construction order.
---   fill.values(t, "fc.weight", { "uniform", -0.1, 0.1 }, 17)
local lib = require "foodrt.core.ffi"
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local C, buffer = lib.C, require "foodrt.core.buffer"

local fill = {}

--- every element is `value`.
function fill.constant(t, value)
  if value == 0 then return end  -- a variable starts as zeros
  t:fill_(value)
end

local draw = {
  uniform = function(p, n, seed, name, lo, hi) C.frt_fill_uniform(p, n, seed, name, lo, hi) end,
  normal = function(p, n, seed, name, mean, std) C.frt_fill_normal(p, n, seed, name, mean, std) end,
  trunc_normal = function(p, n, seed, name, mean, std, lo, hi)
    C.frt_fill_trunc_normal(p, n, seed, name, mean, std, lo or -2, hi or 2)
  end,
}

--- `init`: a number, or { "uniform", lo, hi }, { "normal", mean, std }, { "trunc_normal", mean, std [, lo, hi] }.
function fill.values(t, name, init, seed)
  if type(init) == "number" then
    fill.constant(t, init)
    return
  end
  local fn = type(init) == "table" and draw[init[1]]
  if not fn then
    err.user("%s: 'init' must be a number or { kind, … }, got %s%s", name, tostring(type(init) == "table" and init[1] or init),
      err.hint(type(init) == "table" and init[1] or "", draw))
  end
  for i = 2, math.max(3, lists.length(name, "init", init)) do
    if not lists.finite(init[i]) then
      err.user("%s: 'init' must be { \"%s\", number, number }, got %s at [%d]", name, init[1], opt.show(init[i]), i)
    end
  end
  local n = t:numel()
  local floats = buffer.new("float", n)
  fn(floats, n, seed, name, init[2], init[3], init[4], init[5])
  t:write(floats)
end

--- elements per output (fan_in) and outputs times kernel (fan_out) of a weight [out, in, kh, kw].
function fill.fans(shape)
  local window = 1
  for d = 3, #shape do window = window * shape[d] end
  return shape[2] * window, shape[1] * window
end

--- PyTorch's default for Linear and Conv2d weights: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
function fill.kaiming_uniform(shape)
  local bound = 1 / math.sqrt((fill.fans(shape)))
  return { "uniform", -bound, bound }
end

-- initial values that papers and timm give a name: shape, groups -> of the weight, of the bias
local NAMED = {
  goog = function(shape, groups)  -- EfficientNet's
    if #shape == 2 then return { "uniform", -1 / math.sqrt(shape[1]), 1 / math.sqrt(shape[1]) } end
    local _, fan_out = fill.fans(shape)
    return { "normal", 0, math.sqrt(2 / (fan_out / groups)) }
  end,
  trunc = function() return { "trunc_normal", 0, 0.02, -2, 2 } end,  -- ViT's and ConvNeXt's
}

--- initial values of a weight [out, in, ...] and its bias, from what an option `init` says: nil (PyTorch's), a name ("goog",
--- "trunc": their bias is 0), a number or { kind, ... }.
function fill.layer(init, shape, groups)
  local bound = 1 / math.sqrt((fill.fans(shape)))
  if type(init) ~= "string" then return init or fill.kaiming_uniform(shape), { "uniform", -bound, bound } end
  if not NAMED[init] then err.user("no initial values are called '%s'%s", init, err.hint(init, NAMED)) end
  return NAMED[init](shape, groups or 1), 0
end

return fill
