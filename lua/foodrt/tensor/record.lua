--- record: the Lua side of a tensor handle. Puts nodes into the graph, keeps track of which handles are
--- alive, and frees what nobody holds (the collector can't see the bytes behind a handle).
---
--- A tensor is { ref = number }: shape, dtype and value are asked from C. The fast path is one FFI call and
--- one small table per node: no closures, no varargs, arguments in arrays that are allocated once.
local lib = require "foodrt.core.ffi"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local lists = require "foodrt.core.lists"
local ffi, C, ops = lib.ffi, lib.C, lib.ops

local R = { methods = {}, props = {}, api = {} }
local methods, props = R.methods, R.props
local mt = {}
R.mt = mt

--- arguments of the op being recorded; filled by the caller just before R.record.
R.input, R.attr, R.output = ffi.new "frt_ref[8]", ffi.new "double[32]", ffi.new "frt_ref[8]"
local input, attr, output = R.input, R.attr, R.output

R.DTYPE = { f32 = 0, f64 = 1, i32 = 2, bf16 = 3, u8 = 4, i64 = 5, f16 = 6 }
R.DTYPE_NAME = { [0] = "f32", "f64", "i32", "bf16", "u8", "i64", "f16" }
R.CTYPE = { f32 = "float", f64 = "double", i32 = "int32_t", bf16 = "uint16_t", u8 = "uint8_t", i64 = "int64_t",
  f16 = "uint16_t" }
R.SIZE = { f32 = 4, f64 = 8, i32 = 4, bf16 = 2, u8 = 1, i64 = 8, f16 = 2 }

-- --- which handles are alive, and when to look -------------------------------------------------------
local ENOMEM = tonumber(ffi.new("frt_status", "FRT_ENOMEM"))
local NODE_LIMIT = 20000             -- nodes in C before a sweep; about 13 training steps of efficientnet_b0, 5 MB
local BYTE_LIMIT = 256 * 1024 * 1024 -- bytes handed out since the last collection, and no more than
local ROOM = 4                       -- 1/ROOM of what this process could have without them, looked at
local MEASURE = 8 * 1024 * 1024      -- each time that so many more were handed out
local LOOK_EVERY = 4096              -- handles between two looks while nothing is realized

local live = setmetatable({}, { __mode = "v" })  -- 1 .. n_live, holes where the collector took one
local n_live, next_look = 0, LOOK_EVERY
local node_limit = NODE_LIMIT
local roots, n_roots = ffi.new("frt_ref[?]", 1024), 1024
local memory = ffi.new "frt_memory_info"
local next_measure = MEASURE

-- the latest scalars: an operand has no handle in Lua until the node that reads it is recorded
local recent, n_recent = ffi.new "frt_ref[8]", 0

--- collects the Lua heap, then frees every node that no live handle (nor the first n_in of R.input) needs.
function R.collect(n_in)
  collectgarbage()
  local n = 0
  for i = 1, n_live do
    local t = live[i]
    if t then
      n = n + 1
      live[n] = t
    end
  end
  for i = n + 1, n_live do live[i] = nil end
  n_live, next_look = n, n + LOOK_EVERY
  if n + 16 > n_roots then
    n_roots = n * 2 + 16
    roots = ffi.new("frt_ref[?]", n_roots)
  end
  for i = 1, n do roots[i - 1] = live[i].ref end
  for i = 0, 7 do roots[n + i] = recent[i] end
  n_in = n_in or 0
  for i = 0, n_in - 1 do roots[n + 8 + i] = input[i] end
  lib.check(C.frt_sweep(n + 8 + n_in, roots))
  C.frt_memory_collected()
  next_measure = MEASURE
  node_limit = math.max(NODE_LIMIT, 2 * C.frt_nodes())
end

-- Whether `given` bytes of garbage, if they are that, take too much of the room that a container or a limit leaves.
local function crowded(given)
  next_measure = given + MEASURE
  local free = require("foodrt.core.machine").available() + math.max(0, tonumber(memory.mapped - memory.live))
  return given > (free + given) / ROOM
end

--- collects when enough has piled up in C. Cheap: called after every realize and now and then while recording.
function R.look()
  next_look = n_live + LOOK_EVERY
  if C.frt_nodes() > node_limit then return R.collect() end
  C.frt_memory(memory)
  local given = tonumber(memory.since_gc)
  if given > BYTE_LIMIT or given > next_measure and crowded(given) then R.collect() end
end

--- bytes and nodes at which the wrapper collects, for the specs; returns the old ones.
function R.limits(bytes, nodes)
  local old_bytes, old_nodes = BYTE_LIMIT, NODE_LIMIT
  BYTE_LIMIT, NODE_LIMIT = bytes or BYTE_LIMIT, nodes or NODE_LIMIT
  node_limit = NODE_LIMIT
  return old_bytes, old_nodes
end

--- the handle of a node (or variable) as a tensor.
local function wrap(ref)
  local t = setmetatable({ ref = ref }, mt)
  n_live = n_live + 1
  live[n_live] = t
  if n_live >= next_look then R.look() end
  return t
end
R.wrap = wrap

--- the handles refs[0] .. refs[n - 1] as a list of tensors; 0 becomes false. A handle that is only a number is swept
--- when the collector looks, so all are taken before it may: never call wrap in a loop over C's array.
function R.wrap_all(refs, n)
  local list = {}
  for i = 1, n do
    local t = false
    if refs[i - 1] ~= 0 then
      t = setmetatable({ ref = refs[i - 1] }, mt)
      n_live = n_live + 1
      live[n_live] = t
    end
    list[i] = t
  end
  if n_live >= next_look then R.look() end
  return list
end

--- runs fn, a C call given as a function that returns a status; on out of memory collects and tries once more.
function R.retry(fn, ...)
  local status = fn(...)
  if status == ENOMEM then
    R.collect()
    status = fn(...)
  end
  return status
end

-- --- recording -----------------------------------------------------------------------------------------
local function record_again(status, index, n_in, n_attr, n_out)
  if status == ENOMEM then
    R.collect(n_in)
    status = C.frt_record(index, n_in, input, n_attr, attr, n_out, output)
  end
  lib.check(status)
end

--- records op `index` with R.input and R.attr; the results are in R.output.
local function record(index, n_in, n_attr, n_out)
  if line.depth == 0 then line.capture() end
  local status = C.frt_record(index, n_in, input, n_attr, attr, n_out, output)
  if status ~= 0 then record_again(tonumber(status), index, n_in, n_attr, n_out) end
end
R.record = record

--- record, for ops with one output.
function R.one(index, n_in, n_attr)
  if line.depth == 0 then line.capture() end
  local status = C.frt_record(index, n_in, input, n_attr, attr, 1, output)
  if status ~= 0 then record_again(tonumber(status), index, n_in, n_attr, 1) end
  return wrap(output[0])
end

--- the number by which C knows an op.
function R.index(name)
  local op = ops[name] or error("foodrt: this library has no op '" .. name .. "'", 0)
  return op.index
end

local any_in, any_out, any_n = ffi.new "frt_ref[64]", ffi.new "frt_ref[64]", 64

--- arrays of inputs and outputs for an op that takes any number, for n of each; the same ones every time.
function R.room(n)
  if n > any_n then
    any_n = n * 2
    any_in, any_out = ffi.new("frt_ref[?]", any_n), ffi.new("frt_ref[?]", any_n)
  end
  return any_in, any_out
end

--- records op `index` with the inputs in R.room's first array; the results are in the second.
function R.record_room(index, n_in, n_attr, attrs, n_out)
  lib.check(tonumber(R.retry(C.frt_record, index, n_in, any_in, n_attr, attrs, n_out, any_out)))
end

--- T.op(name, { inputs }, { attributes, flat } [, n_out]): records any op and returns its outputs. Absent
--- optional inputs are nil or false; missing attributes take their defaults. Ops with as many outputs as
--- inputs decide (optimizer steps) need n_out, and return their outputs as one list.
function R.op(name, inputs, attrs, n_out)
  local op = ops[name] or err.user("no op '%s'%s", name, err.hint(name, ops))
  local n_in = op.n_in >= 0 and op.n_in or #inputs
  local list = op.n_out < 0
  n_out = list and n_out or op.n_out
  R.room(math.max(n_in, n_out))
  for i = 1, n_in do
    local x = inputs[i]
    if x and getmetatable(x) ~= mt then err.user("%s: input %d must be a tensor, got %s", name, i, opt.show(x)) end
    any_in[i - 1] = x and x.ref or 0
  end
  local n = 0
  for _, a in ipairs(op.attrs) do
    for _ = 1, a.n do
      attr[n] = attrs and attrs[n + 1] or a.dflt
      n = n + 1
    end
  end
  if line.depth == 0 then line.capture() end
  R.record_room(op.index, n_in, n, attr, n_out)
  if n_out == 1 and not list then return wrap(any_out[0]) end
  local outs = R.wrap_all(any_out, n_out)
  if list then return outs end
  return unpack(outs, 1, n_out)
end

-- --- what every method asks -----------------------------------------------------------------------------
local shape = ffi.new "frt_shape"

--- shape of a tensor as a frt_shape, good until the next call.
local function info(t)
  local status = C.frt_info(t.ref, shape)
  if status ~= 0 then lib.check(status) end
  return shape
end
R.info = info

function R.is(x)
  return getmetatable(x) == mt
end

local scalar_out = ffi.new "frt_ref[1]"

--- handle of a number as a plan input of dtype `code`: changing it never recompiles.
function R.scalar(value, code)
  local status = C.frt_scalar(value, code, scalar_out)
  if status ~= 0 then lib.check(tonumber(R.retry(C.frt_scalar, value, code, scalar_out))) end
  local ref = scalar_out[0]
  n_recent = (n_recent + 1) % 8
  recent[n_recent] = ref
  return ref
end

--- handle of an operand of `name`: a tensor, or a number that takes the dtype of the tensor `like`.
function R.operand(name, x, like)
  if getmetatable(x) == mt then return x.ref end
  if type(x) == "number" then return R.scalar(x, info(like).dtype) end
  err.user("%s: an operand must be a tensor or a number, got %s", name, opt.show(x))
end

--- handle of a tensor argument; nil is 0 when it may be absent.
function R.tensor_arg(name, key, x, optional)
  if getmetatable(x) == mt then return x.ref end
  if x == nil and optional then return 0 end
  err.user("%s: '%s' must be a tensor, got %s", name, key, opt.show(x))
end

function R.integer(name, key, v)
  if type(v) ~= "number" or v % 1 ~= 0 then
    err.user("%s: '%s' must be integer, got %s", name, key, opt.show(v))
  end
  return v
end

function R.number(name, key, v)
  if type(v) ~= "number" then err.user("%s: '%s' must be number, got %s", name, key, opt.show(v)) end
  return v
end

--- 1-based (negative: from the end) dimension of a tensor with n dimensions -> 0-based.
function R.dim(name, v, n, key)
  key = key or "dim"
  R.integer(name, key, v)
  local d = v < 0 and n + v or v - 1
  if d < 0 or d >= n then
    if n == 0 then err.user("%s: '%s' must be absent, the tensor has no dimensions", name, key) end
    err.user("%s: '%s' must be between 1 and %d (or -%d and -1), got %d", name, key, n, n, v)
  end
  return d
end

--- { 2, 3 } or 2, 3 -> { 2, 3 }.
function R.list(name, key, a, ...)
  if type(a) == "table" and getmetatable(a) == nil then
    lists.length(name, key, a)
    return a
  end
  if type(a) ~= "number" then err.user("%s: '%s' must be a list of integers, got %s", name, key, opt.show(a)) end
  local given = { a, ... }
  for i = 1, select("#", ...) + 1 do
    if given[i] == nil then err.user("%s: '%s' is nil at place %d (is a name misspelt?)", name, key, i) end
  end
  return given
end

--- one integer or a pair -> two integers.
function R.pair(name, key, v)
  if type(v) == "number" then
    R.integer(name, key, v)
    return v, v
  end
  if type(v) ~= "table" or lists.length(name, key, v) ~= 2 then
    err.user("%s: '%s' must be an integer or two, got %s", name, key,
      type(v) == "table" and "a list of " .. #v or opt.show(v))
  end
  return R.integer(name, key, v[1]), R.integer(name, key, v[2])
end

--- refuses options that `known` does not have.
function R.known(name, given, known)
  if type(given) ~= "table" then err.user("%s: options must be a table, got %s", name, opt.show(given)) end
  for k in next, given do
    if known[k] == nil then err.user("%s: unknown option '%s'%s", name, tostring(k), err.hint(k, known)) end
  end
end

-- --- the metatable -----------------------------------------------------------------------------------------
function mt.__index(t, k)
  local m = methods[k]
  if m ~= nil then return m end
  local p = props[k]
  if p then return p(t) end
  err.user("a tensor has no '%s'%s", tostring(k), err.hint(k, methods, props))
end

local FIXED = { shape = true, dtype = true, ref = true }
function mt.__newindex(t, k, v)
  if FIXED[k] then err.user("'%s' of a tensor can't be set", k) end
  if k == "requires_grad" then err.user "'requires_grad' is set by t:requires_grad_(true or false)" end
  rawset(t, k, v)
end

--- t.shape: a list of integers, outermost first; a scalar has none.
function props.shape(t)
  local s = info(t)
  local out = {}
  for d = 0, s.ndim - 1 do out[d + 1] = tonumber(s.dim[d]) end
  return out
end

--- t.dtype: "f32", "f64", "i32", "bf16", "u8", "i64" or "f16".
function props.dtype(t)
  return R.DTYPE_NAME[info(t).dtype]
end

--- t.grad: the gradient that backward() accumulated, or nil.
function props.grad()
  return nil
end

--- t.name: of a variable, else nil.
function props.name()
  return nil
end

function props.requires_grad(t)
  return rawget(t, "wants_grad") == true
end

--- number of dimensions.
function methods:dim()
  return info(self).ndim
end

--- number of elements.
function methods:numel()
  local s, n = info(self), 1
  for d = 0, s.ndim - 1 do n = n * tonumber(s.dim[d]) end
  return n
end

return R
