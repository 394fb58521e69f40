--- reduce: sums and their relatives over all dimensions, one, or a list of them; sorting and cumulating.
--- Class numbers and positions that come out are 1-based.
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local R = require "foodrt.tensor.record"
local bit = require "bit"
local methods, input, attr, output = R.methods, R.input, R.attr, R.output

local KNOWN = { keepdim = true }

-- { keepdim = true } where dimensions may stand; { nil, 2 } are dimensions, with a hole
local function is_options(dims)
  return type(dims) == "table" and type(next(dims)) == "string" and dims[1] == nil
end

-- (dim | { dims } | options, options) -> mask over 0-based dimensions, keepdim, number of reduced elements
local function over(name, x, dims, options, known)
  if is_options(dims) then dims, options = nil, dims end
  if options ~= nil then R.known(name, options, known or KNOWN) end
  local s = R.info(x)
  local n = s.ndim
  local keep = options and options.keepdim or false
  if type(keep) ~= "boolean" then err.user("%s: 'keepdim' must be boolean, got %s", name, opt.show(keep)) end
  local mask, count = 0, 1
  if dims == nil then
    mask = bit.lshift(1, n) - 1
  elseif type(dims) == "table" then
    for i = 1, lists.length(name, "dim", dims) do
      local d = dims[i]
      local b = bit.lshift(1, R.dim(name, d, n))
      if bit.band(mask, b) ~= 0 then err.user("%s: dimension %d is given twice", name, d) end
      mask = mask + b
    end
  else
    mask = bit.lshift(1, R.dim(name, dims, n))
  end
  for d = 0, n - 1 do
    if bit.band(mask, bit.lshift(1, d)) ~= 0 then count = count * tonumber(s.dim[d]) end
  end
  return mask, keep, count
end

local function reduce(name, x, mask, keep)
  input[0], attr[0], attr[1] = x.ref, mask, keep and 1 or 0
  return R.one(R.index(name), 1, 2)
end

local function reducer(method, op)
  methods[method] = function(x, dims, options)
    local mask, keep = over(method, x, dims, options)
    return reduce(op, x, mask, keep)
  end
end
--- x:sum([dim | {dims} [, { keepdim = true }]]); mean, prod, max and min (values only) alike.
reducer("sum", "sum")
reducer("mean", "mean")
reducer("prod", "prod")
reducer("max", "amax")
reducer("min", "amin")

--- square root of the sum of squares.
function methods.norm(x, dims, options)
  local mask, keep = over("norm", x, dims, options)
  return reduce("sum", x * x, mask, keep):sqrt()
end

--- 1 where any element is not 0, else 0.
function methods.any(x, dims, options)
  local mask, keep = over("any", x, dims, options)
  return reduce("amax", x:ne(0), mask, keep)
end

--- 1 where every element differs from 0, else 0.
function methods.all(x, dims, options)
  local mask, keep = over("all", x, dims, options)
  return reduce("amin", x:ne(0), mask, keep)
end

local SPREAD = { keepdim = true, unbiased = true }

local function variance(name, x, dims, options)
  if is_options(dims) then dims, options = nil, dims end
  local mask, keep, count = over(name, x, dims, options, SPREAD)
  local unbiased = true
  if options and options.unbiased ~= nil then unbiased = options.unbiased end
  if type(unbiased) ~= "boolean" then err.user("%s: 'unbiased' must be boolean, got %s", name, opt.show(unbiased)) end
  if unbiased and count < 2 then err.user("%s: needs at least 2 values when unbiased, got %d", name, count) end
  local d = x - reduce("mean", x, mask, true)
  return reduce("sum", d * d, mask, keep) * (1 / (unbiased and count - 1 or count))
end

--- mean squared deviation from the mean; { unbiased = true } divides by n - 1 and is the default.
function methods.var(x, dims, options)
  local y = variance("var", x, dims, options)
  return y
end

--- square root of var.
function methods.std(x, dims, options)
  return variance("std", x, dims, options):sqrt()
end

local function position(name, x, dim, options)
  if type(dim) == "table" then dim, options = nil, dim end
  if options ~= nil then R.known(name, options, KNOWN) end
  local keep = options and options.keepdim
  if dim == nil then
    if keep then err.user("%s: 'keepdim' needs a dimension", name) end
    x, dim = x:reshape { -1 }, 1
  end
  local d = R.dim(name, dim, R.info(x).ndim)
  input[0], attr[0], attr[1], attr[2] = x.ref, d, keep and 1 or 0, 1
  return R.one(R.index "argmax", 1, 3)
end

--- 1-based position (i32) of the largest value along `dim`, or in the flattened tensor. The first one wins.
function methods.argmax(x, dim, options)
  local y = position("argmax", x, dim, options)
  return y
end

--- 1-based position (i32) of the smallest value.
function methods.argmin(x, dim, options)
  local y = position("argmin", -x, dim, options)
  return y
end

--- running sum along `dim`.
function methods.cumsum(x, dim)
  local d = R.dim("cumsum", dim, R.info(x).ndim)
  input[0], attr[0] = x.ref, d
  return R.one(R.index "cumsum", 1, 1)
end

local function sorted(name, x, dim, descending)
  local d = R.dim(name, dim == nil and -1 or dim, R.info(x).ndim)
  input[0], attr[0], attr[1], attr[2] = x.ref, d, descending and 1 or 0, 1
  R.record(R.index "sort", 1, 3, 2)
  local both = R.wrap_all(output, 2)
  return both[1], both[2], d + 1
end

--- x:sort(dim [, { descending = true }]): values and 1-based positions (i32), stable; dim -1 unless given.
function methods.sort(x, dim, options)
  if type(dim) == "table" then dim, options = nil, dim end
  if options ~= nil then R.known("sort", options, { descending = true }) end
  local values, indices = sorted("sort", x, dim, options and options.descending)
  return values, indices
end

--- x:topk(k, dim [, { largest = false }]): the k largest values in order, and their 1-based positions (i32).
function methods.topk(x, k, dim, options)
  if type(dim) == "table" then dim, options = nil, dim end
  if options ~= nil then R.known("topk", options, { largest = true }) end
  R.integer("topk", "k", k)
  local smallest = options and options.largest == false
  local s = R.info(x)
  local d = R.dim("topk", dim == nil and -1 or dim, s.ndim)
  local size = tonumber(s.dim[d])
  if k < 1 or k > size then err.user("topk: 'k' must be between 1 and %d, got %d", size, k) end
  local values, indices, at = sorted("topk", x, dim, not smallest)
  if k == size then return values, indices end
  return values:narrow(at, 1, k), indices:narrow(at, 1, k)
end

local function along(name)
  methods[name] = function(x, dim)
    if type(dim) == "table" and getmetatable(dim) == nil then
      R.known(name, dim, { "dim", dim = true })
      dim = dim.dim or dim[1]
    end
    local d = R.dim(name, dim == nil and -1 or dim, R.info(x).ndim)
    input[0], attr[0] = x.ref, d
    return R.one(R.index(name), 1, 1)
  end
end
--- x:softmax(dim), x:log_softmax(dim): along the last dimension unless given.
along "softmax"
along "log_softmax"
