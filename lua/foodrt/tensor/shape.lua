--- shape: methods that move, cut and join without computing; dimensions and positions are 1-based, negative
--- dimensions count from the end.
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local R = require "foodrt.tensor.record"
local methods, api, input, attr, mt = R.methods, R.api, R.input, R.attr, R.mt
local list_length = require("foodrt.core.lists").length
local MAX_DIM = 6

local function text(list)
  return "[" .. table.concat(list, ", ") .. "]"
end

local function to_shape(x, op, list)  -- ops with attributes ndim, shape[6]
  local n = #list
  input[0], attr[0] = x.ref, n
  for i = 1, MAX_DIM do attr[i] = list[i] or 0 end
  return R.one(R.index(op), 1, 1 + MAX_DIM)
end

local function check_rank(name, n)
  if n > MAX_DIM then err.user("%s: a tensor has at most %d dimensions, got %d", name, MAX_DIM, n) end
end

--- x:reshape { 2, -1 } or x:reshape(2, -1): one size may be -1, what is left over.
function methods.reshape(x, a, ...)
  local given = R.list("reshape", "shape", a, ...)
  check_rank("reshape", #given)
  local numel, known, free = x:numel(), 1, nil
  local list = {}
  for i, d in ipairs(given) do
    R.integer("reshape", "shape", d)
    list[i] = d
    if d == -1 then
      if free then err.user("reshape: only one size may be -1, got %s", text(given)) end
      free = i
    elseif d < 0 then
      err.user("reshape: a size must be positive or -1, got %d", d)
    else
      known = known * d
    end
  end
  if free and known > 0 and numel % known == 0 then
    list[free] = numel / known
    known = numel
  end
  if known ~= numel or (free and list[free] < 0) then
    err.user("reshape: %s does not hold the %d elements of %s", text(given), numel, text(x.shape))
  end
  return to_shape(x, "reshape", list)
end
methods.view = methods.reshape

--- x:flatten(from): dimensions `from` (1) to the last become one.
function methods.flatten(x, from)
  local s = x.shape
  local d = R.dim("flatten", from == nil and 1 or from, math.max(#s, 1))
  local list, rest = {}, 1
  for i = 1, #s do
    if i <= d then list[i] = s[i] else rest = rest * s[i] end
  end
  list[d + 1] = rest
  return to_shape(x, "reshape", list)
end

--- x:unsqueeze(dim): a new dimension of size 1 at `dim`.
function methods.unsqueeze(x, dim)
  local list = x.shape
  check_rank("unsqueeze", #list + 1)
  table.insert(list, R.dim("unsqueeze", dim, #list + 1) + 1, 1)
  return to_shape(x, "reshape", list)
end

--- x:squeeze([dim]): without dimensions of size 1 (all of them, or that one when its size is 1).
function methods.squeeze(x, dim)
  local s, list = x.shape, {}
  local only = dim ~= nil and R.dim("squeeze", dim, #s) + 1
  for i, d in ipairs(s) do
    if d ~= 1 or (only and i ~= only) then list[#list + 1] = d end
  end
  return to_shape(x, "reshape", list)
end

--- x:expand { 4, -1, 3 }: sizes of 1 repeated without copying; -1 keeps a size, new dimensions come first.
function methods.expand(x, a, ...)
  local given, s = R.list("expand", "shape", a, ...), x.shape
  check_rank("expand", #given)
  local lead, list = #given - #s, {}
  for i, d in ipairs(given) do
    R.integer("expand", "shape", d)
    local old = s[i - lead]
    if d == -1 and old then d = old end
    if d < 0 or (old and old ~= 1 and old ~= d) then
      err.user("expand: %s does not broadcast to %s", text(s), text(given))
    end
    list[i] = d
  end
  if lead < 0 then err.user("expand: %s does not broadcast to %s", text(s), text(given)) end
  return to_shape(x, "expand", list)
end

local function permuted(x, perm)  -- 0-based
  input[0] = x.ref
  for i = 0, MAX_DIM - 1 do attr[i] = perm[i + 1] or i end
  return R.one(R.index "permute", 1, MAX_DIM)
end

--- x:permute { 1, 3, 4, 2 }: dimension i of the result is dimension dims[i] of x.
function methods.permute(x, a, ...)
  local given, n = R.list("permute", "dims", a, ...), x:dim()
  if #given ~= n then err.user("permute: 'dims' must name all %d dimensions, got %s", n, text(given)) end
  local perm, seen = {}, {}
  for i, v in ipairs(given) do
    local d = R.dim("permute", v, n, "dims")
    if seen[d] then err.user("permute: dimension %d is given twice", v) end
    perm[i], seen[d] = d, true
  end
  return permuted(x, perm)
end

--- x:transpose(a, b): dimensions a and b change places.
function methods.transpose(x, a, b)
  local n, perm = x:dim(), {}
  a, b = R.dim("transpose", a, n), R.dim("transpose", b, n)
  for i = 1, n do perm[i] = i - 1 end
  perm[a + 1], perm[b + 1] = b, a
  return permuted(x, perm)
end

--- x:narrow(dim, start, length): positions start .. start + length - 1 of `dim`.
function methods.narrow(x, dim, start, length)
  local s = R.info(x)
  local d = R.dim("narrow", dim, s.ndim)
  local size = tonumber(s.dim[d])
  R.integer("narrow", "start", start)
  R.integer("narrow", "length", length)
  if start < 0 then start = size + start + 1 end
  if start < 1 or length < 1 or start + length - 1 > size then
    err.user("narrow: %d positions from %d do not lie in a dimension of size %d", length, start, size)
  end
  input[0], attr[0], attr[1], attr[2] = x.ref, d, start - 1, length
  return R.one(R.index "narrow", 1, 3)
end

--- x:select(dim, i): position i of `dim`, without that dimension; i may count from the end.
function methods.select(x, dim, i)
  local s = R.info(x)
  local d = R.dim("select", dim, s.ndim)
  local size = tonumber(s.dim[d])
  R.integer("select", "i", i)
  local at = i < 0 and size + i + 1 or i
  if at < 1 or at > size then err.user("select: 'i' must be between 1 and %d, got %d", size, i) end
  return x:narrow(d + 1, at, 1):squeeze(d + 1)
end

--- x:pad({ left, right, top, bottom, … } [, { value = 0 }]): pairs from the last dimension backwards;
--- negative amounts crop.
function methods.pad(x, amounts, options)
  if type(amounts) ~= "table" or getmetatable(amounts) == mt then
    err.user("pad: 'pad' must be a list of integers, got %s", opt.show(amounts))
  end
  list_length("pad", "pad", amounts)
  if options ~= nil then R.known("pad", options, { value = true }) end
  local value = options and options.value or 0
  R.number("pad", "value", value)
  local s = x.shape
  local n = #s
  if #amounts % 2 ~= 0 or #amounts > 2 * n then
    err.user("pad: 'pad' must be up to %d pairs, got %d numbers", n, #amounts)
  end
  local before, after, crop = {}, {}, false
  for i = 1, #amounts / 2 do
    local d = n - i + 1
    before[d] = R.integer("pad", "pad", amounts[2 * i - 1])
    after[d] = R.integer("pad", "pad", amounts[2 * i])
    crop = crop or before[d] < 0 or after[d] < 0
  end
  if crop then
    for d = 1, n do
      local b, a = math.min(before[d] or 0, 0), math.min(after[d] or 0, 0)
      if b < 0 or a < 0 then x = x:narrow(d, 1 - b, s[d] + a + b) end
    end
  end
  input[0] = x.ref
  for d = 1, MAX_DIM do
    attr[d - 1], attr[MAX_DIM + d - 1] = math.max(before[d] or 0, 0), math.max(after[d] or 0, 0)
  end
  attr[2 * MAX_DIM] = value
  return R.one(R.index "pad", 1, 2 * MAX_DIM + 1)
end

--- x:flip(dim) or x:flip { dims }: back to front.
function methods.flip(x, dims)
  local n, mask = x:dim(), 0
  if type(dims) ~= "table" then dims = { dims } end
  for i = 1, list_length("flip", "dims", dims) do
    local v = dims[i]
    local d = R.dim("flip", v, n)
    if math.floor(mask / 2 ^ d) % 2 == 1 then err.user("flip: dimension %d is given twice", v) end
    mask = mask + 2 ^ d
  end
  if mask == 0 then err.user "flip: needs a dimension" end
  input[0], attr[0] = x.ref, mask
  return R.one(R.index "flip", 1, 1)
end

--- x:roll(shift, dim): element i goes to i + shift, around the end. Lists of both work one after the other.
function methods.roll(x, shift, dim)
  if type(shift) == "table" then
    if type(dim) ~= "table" or list_length("roll", "dim", dim) ~= list_length("roll", "shift", shift) then
      err.user "roll: as many dimensions as shifts must be given"
    end
    for i = 1, #shift do x = x:roll(shift[i], dim[i]) end
    return x
  end
  R.integer("roll", "shift", shift)
  local s = x.shape
  local d = R.dim("roll", dim, #s) + 1
  local k = shift % s[d]
  if k == 0 then return x end
  return api.cat({ x:narrow(d, s[d] - k + 1, k), x:narrow(d, 1, s[d] - k) }, d)
end

local function tensors(name, list, known)
  if type(list) ~= "table" or getmetatable(list) == mt or list_length(name, nil, list, known) == 0 then
    err.user("%s: needs a list of tensors, got %s", name, opt.show(list))
  end
  for i, t in ipairs(list) do
    if getmetatable(t) ~= mt then err.user("%s: element %d must be a tensor, got %s", name, i, opt.show(t)) end
  end
  return list
end

--- frt.cat({ a, b, … } [, dim]): one after the other along `dim` (1).
function api.cat(list, dim, known)
  tensors("cat", list, known)
  local d = R.dim("cat", dim == nil and 1 or dim, list[1]:dim())
  if #list == 1 then return list[1] end
  local y = R.op("cat", list, { d })
  return y
end

--- frt.stack({ a, b, … } [, dim]): along a new dimension `dim` (1).
function api.stack(list, dim)
  tensors("stack", list)
  local d = R.dim("stack", dim == nil and 1 or dim, list[1]:dim() + 1) + 1
  local each = {}
  for i, t in ipairs(list) do each[i] = t:unsqueeze(d) end
  return api.cat(each, d)
end

--- the same tensor: how values lie in memory is the plan's business.
function methods.contiguous(x)
  return x
end
