--- create: tensors from numbers, and variables: tensors that own their bytes and outlive every graph.
local lib = require "foodrt.core.ffi"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local rng, buffer = require "foodrt.core.rng", require "foodrt.core.buffer"
local R = require "foodrt.tensor.record"
local list_length = require("foodrt.core.lists").length
local ffi, C, methods, api, mt = lib.ffi, lib.C, R.methods, R.api, R.mt

local shape = ffi.new "frt_shape"
local KINDS = { state = 0, input = 1 }

-- variables by handle, so that backward() finds the Lua side of what C names
local variables = setmetatable({}, { __mode = "v" })
R.variables = variables

local function set_shape(name, list, dtype)
  if type(list) ~= "table" or getmetatable(list) == mt then
    err.user("%s: 'shape' must be a list of integers, got %s", name, opt.show(list))
  end
  list_length(name, "shape", list)
  if #list > 6 then err.user("%s: a tensor has at most 6 dimensions, got %d", name, #list) end
  for i, d in ipairs(list) do
    if type(d) ~= "number" or d % 1 ~= 0 or d < 1 then
      err.user("%s: a size must be a positive integer, got %s", name, opt.show(d))
    end
    shape.dim[i - 1] = d
  end
  local code = R.DTYPE[dtype]
  if not code then
    err.user("%s: 'dtype' must be one of f32, f64, i32, bf16, f16, u8, i64, got %s%s", name, opt.show(dtype),
      type(dtype) == "string" and err.hint(dtype, R.DTYPE) or "")
  end
  shape.ndim, shape.dtype = #list, code
  return shape
end
R.set_shape = set_shape

-- Frees the variable when the last Lua handle is gone: the safety net. C checks the generation.
local function release(anchor)
  C.frt_var_free(anchor[0])
end

local function own(t)
  local anchor = ffi.new("frt_ref[1]", t.ref)
  rawset(t, "owner", ffi.gc(anchor, release))
  variables[t.ref] = t
  return t
end

local made = ffi.new "frt_ref[1]"

local function variable(name, list, dtype, kind, label)
  R.look()
  set_shape(name, list, dtype)
  lib.check(tonumber(R.retry(C.frt_var_new, shape, kind, label, made)))
  local t = own(R.wrap(made[0]))
  if label then rawset(t, "name", label) end
  return t
end

--- copies numbers out of nested tables into `buf`, checking that rows are alike.
local function flatten(name, list, sizes, depth, buf, at)
  local size = sizes[depth]
  if type(list) ~= "table" or list_length(name, nil, list) ~= size then
    err.user("%s: rows must have %d values as the first one has, got %s", name, size,
      type(list) == "table" and #list or opt.show(list))
  end
  if depth < #sizes then
    for i = 1, size do at = flatten(name, list[i], sizes, depth + 1, buf, at) end
    return at
  end
  for i = 1, size do
    local v = list[i]
    if type(v) == "boolean" then v = v and 1 or 0 end
    if type(v) ~= "number" then err.user("%s: a value must be a number, got %s", name, opt.show(v)) end
    buf[at] = v
    at = at + 1
  end
  return at
end

local half = ffi.new "union { float f; uint32_t u; }"

--- f32 -> bf16, to nearest even.
local function to_bf16(v)
  half.f = v
  local u = half.u
  if v ~= v then return 0x7fc0 end
  return math.floor((u + 0x7fff + math.floor(u / 65536) % 2) / 65536)
end

--- a number table (nested or flat) as C bytes of `dtype`.
local function bytes_of(name, list, sizes, dtype)
  local n = 1
  for _, d in ipairs(sizes) do n = n * d end
  local buf = buffer.new(dtype == "bf16" and "float" or R.CTYPE[dtype], n)
  if #sizes == 0 then
    buf[0] = type(list) == "table" and list[1] or list
  elseif type(list) == "table" and type(list[1]) ~= "table" and #list == n then
    flatten(name, list, { n }, 1, buf, 0)
  else
    flatten(name, list, sizes, 1, buf, 0)
  end
  if dtype == "bf16" then
    local short = buffer.new("uint16_t", n)
    for i = 0, n - 1 do short[i] = to_bf16(buf[i]) end
    buf = short
  elseif dtype == "f16" then
    err.user("%s: f16 can't be written from numbers; use f32 or bf16", name)
  end
  return buf, n * R.SIZE[dtype]
end

local VAR = { "tensor", shape = { "list", nil, required = true }, dtype = { "string", "f32" }, name = { "string", nil },
  kind = { "string", "state", one_of = { "state", "input" } }, data = { "any", nil }, init = { "number", nil } }

local T = {}

--- T.wrap_data(shape, dtype, pointer, channels_last): a variable over borrowed bytes (a loader's slot); the
--- caller keeps them alive. t:rebind(pointer) moves it to other bytes of the same shape, nil says that they are gone:
--- what has been recorded from the old ones and not computed is an error from then on.
--- A nil pointer makes a planned batch: values that follow from it can be recorded and planned, not looked at.
--- t:own() gives it a copy of the bytes for itself.
function T.wrap_data(list, dtype, pointer, channels_last)
  set_shape("tensor", list, dtype)
  lib.check(tonumber(R.retry(C.frt_var_wrap, shape, ffi.cast("void *", pointer), channels_last and 1 or 0, made)))
  return own(R.wrap(made[0]))
end

function methods.rebind(t, pointer)
  lib.check(C.frt_var_rebind(t.ref, ffi.cast("void *", pointer)))
  return t
end

function methods.own(t)
  lib.check(tonumber(R.retry(C.frt_var_own, t.ref)))
  return t
end

--- whether the tensor is a variable.
function methods.is_var(t)
  return C.frt_is_var(t.ref) ~= 0
end

local function write(name, t, src, bytes)
  if type(src) == "table" or type(src) == "number" then
    src, bytes = bytes_of(name, src, t.shape, t.dtype)
  elseif type(src) ~= "cdata" then
    err.user("%s: must be given numbers or C bytes, got %s", name, opt.show(src))
  end
  local n, size = t:numel(), R.SIZE[t.dtype]
  if bytes ~= nil and bytes ~= n * size then
    err.user("%s: [%s] needs %d bytes, got %d", name, table.concat(t.shape, ", "), n * size, tonumber(bytes))
  end
  lib.check(tonumber(R.retry(C.frt_var_write, t.ref, 0, n, src)))
  return t
end

--- t:write(numbers) or t:write(pointer [, bytes]): new contents of a variable, at once, row-major.
function methods.write(t, src, bytes)
  local y = write("write", t, src, bytes)
  return y
end

--- t:fill_(v): every element of a variable becomes v, at once.
function methods.fill_(t, v)
  R.number("fill_", "v", v)
  local n, dtype = t:numel(), t.dtype
  local one, part = bytes_of("fill_", { v }, { 1 }, dtype), ffi.new(R.CTYPE[dtype] .. "[?]", math.min(n, R.RANGE))
  for i = 0, math.min(n, R.RANGE) - 1 do part[i] = one[0] end
  for at = 0, n - 1, R.RANGE do
    lib.check(tonumber(R.retry(C.frt_var_write, t.ref, at, math.min(R.RANGE, n - at), part)))
  end
  return t
end

--- T.var { shape = { 64, 3 }, dtype = "f32", name = "fc.weight", kind = "state" | "input",
---         data = numbers or C bytes, init = a number that fills it }: a variable, zeroed unless filled.
function T.var(given)
  local o = opt.check(VAR, given)
  local t = variable("tensor", o.shape, o.dtype, KINDS[o.kind], o.name)
  if o.data ~= nil then
    write("tensor", t, o.data)
  elseif o.init then
    t:fill_(o.init)
  end
  return t
end

--- t:assign(value): the variable has this value after the next realize; what is recorded from now on reads it.
function methods.assign(t, value)
  if type(value) == "number" then
    value = api.full(t.shape, value, { dtype = t.dtype })
  elseif getmetatable(value) ~= mt then
    err.user("assign: 'value' must be a tensor or a number, got %s", opt.show(value))
  end
  lib.check(C.frt_assign(t.ref, value.ref))
  return t
end

--- makes a variable of a computed tensor, in place: its value of now, without history.
local function settle(t)
  if t:is_var() then return t end
  local list, dtype = t.shape, t.dtype
  api.realize(t)  -- may fail: t is then what it was
  set_shape("tensor", list, dtype)
  lib.check(tonumber(R.retry(C.frt_var_new, shape, KINDS.state, nil, made)))
  local ref = made[0]
  local anchor = { ref = ref, owner = ffi.gc(ffi.new("frt_ref[1]", ref), release) }
  lib.check(C.frt_assign(ref, t.ref))
  rawset(t, "ref", ref)
  rawset(t, "owner", anchor.owner)
  variables[ref] = t
  api.realize(t)
  return t
end
R.settle = settle

--- t:copy_(u): u's values (broadcast to t's shape; a number or table of numbers too) become t's.
function methods.copy_(t, u)
  settle(t)
  if type(u) == "table" and getmetatable(u) ~= mt then return t:write(u) end
  if type(u) == "number" then return t:assign(u) end
  R.tensor_arg("copy_", "u", u)
  if R.info(u).dtype ~= R.info(t).dtype then u = u:to(t.dtype) end
  local a, b = t.shape, u.shape
  local alike = #a == #b
  for i = 1, #a do alike = alike and a[i] == b[i] end
  return t:assign(alike and u or u:expand(a))
end

-- --- public constructors ------------------------------------------------------------------------------
local DTYPE = { dtype = true }

local function dtype_of(name, options, dflt)
  if options == nil then return dflt end
  R.known(name, options, DTYPE)
  local dtype = options.dtype or dflt
  if not R.DTYPE[dtype] then
    err.user("%s: 'dtype' must be one of f32, f64, i32, bf16, f16, u8, i64, got %s%s", name, opt.show(dtype),
      type(dtype) == "string" and err.hint(dtype, R.DTYPE) or "")
  end
  return dtype
end

--- frt.tensor({ { 1, 2 }, { 3, 4 } } [, { dtype = "f32" }]): a tensor of these numbers. frt.tensor(7) is a scalar.
function api.tensor(values, options)
  local dtype = dtype_of("tensor", options, "f32")
  if type(values) ~= "table" and type(values) ~= "number" or getmetatable(values) == mt then
    err.user("tensor: 'values' must be a number or a table of numbers, got %s", opt.show(values))
  end
  local sizes, level = {}, values
  while type(level) == "table" do
    sizes[#sizes + 1] = list_length("tensor", nil, level)
    level = level[1]
  end
  return write("tensor", variable("tensor", sizes, dtype, KINDS.state), values)
end

local function filled(name, list, value, options)
  local dtype = dtype_of(name, options, "f32")
  R.number(name, "value", value)
  set_shape(name, list, dtype)
  local n, code = #list, R.DTYPE[dtype]
  local x = R.scalar(value, code)
  if n == 0 then return R.wrap(x) end
  R.input[0], R.attr[0] = x, n
  for i = 1, 6 do R.attr[i] = list[i] or 0 end
  return R.one(R.index "expand", 1, 7)
end

--- frt.zeros { 2, 3 }, ones, full({ 2, 3 }, 7), each with { dtype = … }: constants that take no memory.
function api.zeros(list, options)
  local y = filled("zeros", list, 0, options)
  return y
end
function api.ones(list, options)
  local y = filled("ones", list, 1, options)
  return y
end
function api.full(list, value, options)
  local y = filled("full", list, value, options)
  return y
end

--- frt.rand { 2, 3 }: uniform in [0, 1). frt.randn { 2, 3 }: standard normal.
function api.rand(list, options)
  local dtype = dtype_of("rand", options, "f32")
  set_shape("rand", list, dtype)
  return rng.uniform(list, dtype)
end
function api.randn(list, options)
  local dtype = dtype_of("randn", options, "f32")
  set_shape("randn", list, dtype)
  return rng.normal(list, dtype)
end
api.manual_seed = rng.manual_seed

--- frt.arange(n [, { dtype }]): 0 .. n - 1. frt.arange(first, last [, step]): up to and without last.
function api.arange(first, last, step, options)
  if type(last) == "table" then last, options = nil, last end
  if type(step) == "table" then step, options = nil, step end
  if last == nil then first, last = 0, first end
  step = step == nil and 1 or step
  local n = math.ceil((R.number("arange", "last", last) - R.number("arange", "first", first))
    / R.number("arange", "step", step))
  if not (n >= 1 and n < 2 ^ 31) then err.user("arange: holds %g numbers; at least 1 is needed", math.max(n, 0)) end
  local values = {}
  for i = 1, n do values[i] = first + (i - 1) * step end
  return api.tensor(values, options)
end

--- frt.eye(n): the identity matrix.
function api.eye(n, options)
  if R.integer("eye", "n", n) < 1 then err.user("eye: 'n' must be at least 1, got %d", n) end
  local rows = {}
  for i = 1, n do
    rows[i] = {}
    for j = 1, n do rows[i][j] = i == j and 1 or 0 end
  end
  return api.tensor(rows, options)
end

return T
