--- value: computing what was recorded, and getting numbers out: realize, item, totable.
local lib = require "foodrt.core.ffi"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local R, buffer = require "foodrt.tensor.record", require "foodrt.core.buffer"
local ffi, C, methods, api, mt = lib.ffi, lib.C, R.methods, R.api, R.mt

local refs, room = ffi.new("frt_ref[?]", 64), 64
local kept, n_kept = {}, 0  -- outputs of the next plan, by t:keep()

--- t:keep(): computes t with the next realize, whoever asks for it.
function methods.keep(t)
  if t:is_var() then return t end
  for i = 1, n_kept do
    if kept[i] == t then return t end
  end
  n_kept = n_kept + 1
  kept[n_kept] = t
  return t
end

--- forgets what keep() asked for and pending assignments: a step that failed half-way.
function R.forget()
  kept, n_kept = {}, 0
  C.frt_forget_pending()
end

local function put(n, ref)
  if n >= room then
    local bigger = ffi.new("frt_ref[?]", room * 2)
    ffi.copy(bigger, refs, room * 8)
    refs, room = bigger, room * 2
  end
  refs[n] = ref
  return n + 1
end

--- the handles of `...` (tensors, or one list of them) and of everything kept, as (n, array).
local function outputs(name, ...)
  local n, list, count = 0, { ... }, select("#", ...)
  if count == 1 and type(list[1]) == "table" and not getmetatable(list[1]) then
    list, count = list[1], #list[1]
  end
  for i = 1, count do
    local t = list[i]
    if getmetatable(t) ~= mt then err.user("%s: argument %d must be a tensor, got %s", name, i, opt.show(t)) end
    n = put(n, t.ref)
  end
  for i = 1, n_kept do n = put(n, kept[i].ref) end
  return n, refs
end
R.outputs = outputs

local looked = false  -- whether there are as many compute threads as there should be

-- While a graph is recorded nothing is computed: what a value decided would not be part of it.
local function check_recording()
  if R.recording then err.user("a value can't be looked at while %s", R.recording) end
end

local function realize(n)
  check_recording()
  if not looked then
    looked = true
    lib.tell_machine()
  end
  local status = R.retry(C.frt_realize, n, refs)
  if status ~= 0 then lib.check_late(tonumber(status)) end
  if n_kept > 0 then kept, n_kept = {}, 0 end
  R.look()
end

--- frt.realize(t, …), frt.realize { t, … }: computes these, what keep() asked for, and every pending assignment, in one plan.
function api.realize(...)
  realize((outputs("realize", ...)))
  return ...
end

--- makes sure t's value can be read.
local function ready(t)
  check_recording()
  local ref = t.ref
  local is_var = C.frt_is_var(ref) ~= 0
  if is_var and C.frt_pending() == 0 or not is_var and C.frt_has_value(ref) ~= 0 then return end
  if is_var then
    realize((outputs "realize"))
  else
    realize((outputs("realize", t)))
  end
end

local number = ffi.new "double[1]"

local word = ffi.new "union { float f; uint32_t u; }"

local READ = {
  bf16 = function(p, i)
    if p[i] % 32768 > 32640 then return 0 / 0 end  -- no number: see plain_nan in C
    word.u = p[i] * 65536
    return word.f
  end,
  f16 = function(p, i)
    local bits = p[i]
    local sign, e, m = bits >= 32768 and -1 or 1, math.floor(bits / 1024) % 32, bits % 1024
    if e == 31 then return m == 0 and sign * math.huge or 0 / 0 end
    if e == 0 then return sign * m * 2 ^ -24 end
    return sign * (1 + m / 1024) * 2 ^ (e - 15)
  end,
  i64 = function(p, i)
    return tonumber(p[i])
  end,
}

local function plain(p, i)
  return p[i]
end

--- the values as C array (row-major), how to read element i (from 0), and how many there are.
function R.read(t)
  ready(t)
  local dtype, n = t.dtype, t:numel()
  local buf = buffer.new(R.CTYPE[dtype], n)
  lib.check_late(tonumber(R.retry(C.frt_read, t.ref, buf, n * R.SIZE[dtype])))
  return buf, READ[dtype] or plain, n
end

--- t:item(): the value of a tensor with one element, as a number.
function methods.item(t)
  if READ[t.dtype] and t:numel() == 1 then  -- what C does not turn into a number
    local buf, get = R.read(t)
    return get(buf, 0)
  end
  ready(t)
  lib.check_late(tonumber(C.frt_item(t.ref, number)))
  return number[0]
end

--- t:totable(): nested tables of numbers; a number for a scalar.
function methods.totable(t)
  local buf, get = R.read(t)
  local s, at = t.shape, 0
  local function build(depth)
    if depth > #s then
      at = at + 1
      return get(buf, at - 1)
    end
    local list = {}
    for i = 1, s[depth] do list[i] = build(depth + 1) end
    return list
  end
  return build(1)
end

R.RANGE = 2 ^ 20  -- elements that are read or written at once

--- dst's values become src's: variables, or src a computed tensor, of one shape and dtype. At once, by ranges.
function R.copy(dst, src)
  ready(src)
  local n, dtype = dst:numel(), dst.dtype
  if C.frt_is_var(src.ref) == 0 then
    local buf = R.read(src)
    lib.check(tonumber(R.retry(C.frt_var_write, dst.ref, 0, n, buf)))
    return
  end
  local part = ffi.new(R.CTYPE[dtype] .. "[?]", math.min(n, R.RANGE))
  for at = 0, n - 1, R.RANGE do
    local m = math.min(R.RANGE, n - at)
    lib.check_late(tonumber(C.frt_var_read(src.ref, at, m, part)))
    lib.check(tonumber(R.retry(C.frt_var_write, dst.ref, at, m, part)))
  end
end

--- the values as C bytes (row-major), kept alive by what is returned and by t: a variable's own, else a copy.
function R.bytes(t)
  ready(t)
  local p = C.frt_is_var(t.ref) ~= 0 and C.frt_var_data(t.ref) or nil
  if p ~= nil then return p end
  return (R.read(t))
end

--- fills a variable by fn(pointer, bytes), which returns a status; gives that back.
function R.fill_from(t, fn)
  local n, bytes = t:numel(), t:numel() * R.SIZE[t.dtype]
  local p = buffer.new("char", bytes)
  local status = fn(p, bytes)
  if status ~= 0 then return status end
  return C.frt_var_write(t.ref, 0, n, p)
end
