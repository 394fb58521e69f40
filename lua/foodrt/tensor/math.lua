--- math: elementwise methods and operators, with broadcasting; a number may stand on either side and takes
--- the dtype of its partner. Composite functions are written in terms of the ops of runtime/ops.
local lib = require "foodrt.core.ffi"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local R = require "foodrt.tensor.record"
local C, methods, mt = lib.C, R.methods, R.mt
local input, attr, output, wrap, record, operand = R.input, R.attr, R.output, R.wrap, R.record, R.operand

-- One function per op, so that the compiler sees constants.
local function unary(name)
  local index = R.index(name)
  return function(x)
    if line.depth == 0 then line.capture() end
    input[0] = x.ref
    if C.frt_record(index, 1, input, 0, attr, 1, output) ~= 0 then record(index, 1, 0, 1) end
    return wrap(output[0])
  end
end

local function binary(name)
  local index = R.index(name)
  return function(a, b)
    if line.depth == 0 then line.capture() end
    if getmetatable(b) == mt and getmetatable(a) == mt then
      input[0], input[1] = a.ref, b.ref
    else
      local ra = operand(name, a, b)
      input[0], input[1] = ra, operand(name, b, a)
    end
    if C.frt_record(index, 2, input, 0, attr, 1, output) ~= 0 then record(index, 2, 0, 1) end
    return wrap(output[0])
  end
end

for _, name in ipairs { "neg", "exp", "log", "sqrt", "rsqrt", "abs", "sign", "sin", "cos", "erf", "tanh", "sigmoid",
  "relu", "relu6", "silu", "gelu", "softplus", "floor" } do
  methods[name] = unary(name)
end
for _, name in ipairs { "add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "lt", "le" } do
  methods[name] = binary(name)
end
local add, sub, mul, div = methods.add, methods.sub, methods.mul, methods.div

mt.__add, mt.__sub, mt.__mul, mt.__div = add, sub, mul, div
mt.__pow, mt.__unm = methods.pow, methods.neg

--- a:gt(b) ge ne: 1 where it holds, else 0, as f32.
function methods.gt(a, b)
  local y = methods.lt(b, a)
  return y
end
function methods.ge(a, b)
  local y = methods.le(b, a)
  return y
end
function methods.ne(a, b)
  return 1 - methods.eq(a, b)
end

local where = R.index "where"

local function select_where(name, cond, a, b)
  if getmetatable(cond) ~= mt then err.user("%s: 'cond' must be a tensor, got %s", name, opt.show(cond)) end
  local like = getmetatable(a) == mt and a or getmetatable(b) == mt and b or cond
  local ra, rb = operand(name, a, like), operand(name, b, like)
  input[0], input[1], input[2] = cond.ref, ra, rb
  return R.one(where, 3, 0)
end

--- frt.where(cond, a, b): a where cond is not 0, else b; either may be a number.
function R.api.where(cond, a, b)
  local y = select_where("where", cond, a, b)
  return y
end
--- x:where(cond, other): x where cond is not 0, else other.
function methods.where(x, cond, other)
  local y = select_where("where", cond, x, other)
  return y
end

local cast = R.index "cast"

--- x:to("bf16"): the same values in another dtype.
function methods.to(x, dtype)
  local code = R.DTYPE[dtype]
  if not code then
    err.user("to: 'dtype' must be one of f32, f64, i32, bf16, f16, u8, i64, got %s%s", opt.show(dtype),
      type(dtype) == "string" and err.hint(dtype, R.DTYPE) or "")
  end
  if R.info(x).dtype == code then return x end
  input[0], attr[0] = x.ref, code
  return R.one(cast, 1, 1)
end

--- x:clamp { min = 0, max = 6 } or x:clamp(0, 6); either end may be left open.
function methods.clamp(x, low, high)
  if type(low) == "table" and getmetatable(low) ~= mt then
    R.known("clamp", low, { min = true, max = true })
    low, high = low.min, low.max
  end
  if low == nil and high == nil then err.user "clamp: needs min, max or both" end
  if low ~= nil then x = methods.maximum(x, low) end
  if high ~= nil then x = methods.minimum(x, high) end
  return x
end

--- the tanh approximation of gelu.
function methods.gelu_tanh(x)
  return x * 0.5 * (((x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)):tanh() + 1)
end

--- relu6(x + 3) / 6
function methods.hardsigmoid(x)
  return (x + 3):relu6() * (1 / 6)
end

--- x * relu6(x + 3) / 6
function methods.hardswish(x)
  return x * (x + 3):relu6() * (1 / 6)
end

--- x * tanh(softplus(x))
function methods.mish(x)
  return x * x:softplus():tanh()
end

--- x where x > 0, else alpha (exp(x) - 1); alpha 1 unless given.
function methods.elu(x, alpha)
  if type(alpha) == "table" then
    R.known("elu", alpha, { alpha = true })
    alpha = alpha.alpha
  end
  alpha = alpha == nil and 1 or R.number("elu", "alpha", alpha)
  return x:relu() + (methods.minimum(x, 0):exp() - 1) * alpha
end

--- x where x > 0, else slope * x; slope 0.01 unless given.
function methods.leaky_relu(x, slope)
  if type(slope) == "table" then
    R.known("leaky_relu", slope, { negative_slope = true })
    slope = slope.negative_slope
  end
  slope = slope == nil and 0.01 or R.number("leaky_relu", "negative_slope", slope)
  return x:relu() + methods.minimum(x, 0) * slope
end
