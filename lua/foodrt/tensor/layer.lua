--- layer: the methods behind layers: matrix products, convolution, pooling, norms, dropout. Options have
--- PyTorch's names; a size is one integer for both directions or { height, width }.
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local R = require "foodrt.tensor.record"
local methods, input, attr, output, mt = R.methods, R.input, R.attr, R.output, R.mt
local integer, pair, tensor_arg = R.integer, R.pair, R.tensor_arg

-- --- matrix products ------------------------------------------------------------------------------------
local matmul = R.index "matmul"

local function product(a, b, transposed)
  input[0], input[1], attr[0], attr[1] = a.ref, b.ref, 0, transposed and 1 or 0
  return R.one(matmul, 2, 2)
end

--- a:matmul(b): [.., M, K] by [.., K, N]; leading dimensions broadcast. A 1-D tensor is a row on the left
--- and a column on the right, and its dimension is gone from the result.
function methods.matmul(a, b)
  tensor_arg("matmul", "other", b)
  local na, nb = R.info(a).ndim, R.info(b).ndim
  if na == 0 or nb == 0 then err.user "matmul: a tensor without dimensions has no matrix product; use *" end
  if na > 1 and nb > 1 then return product(a, b) end
  local y = product(na == 1 and a:unsqueeze(1) or a, nb == 1 and b:unsqueeze(2) or b)
  if nb == 1 then y = y:squeeze(-1) end
  if na == 1 then y = y:squeeze(nb == 1 and -1 or -2) end
  return y
end

--- x:linear(w [, b]): x [.., F] by w [K, F], plus b [K] -> [.., K].
function methods.linear(x, w, b)
  tensor_arg("linear", "w", w)
  tensor_arg("linear", "b", b, true)
  local ws, s = w.shape, x.shape
  if #ws ~= 2 or #s == 0 or s[#s] ~= ws[2] then
    err.user("linear: x [%s] and w [%s] do not fit; w is [outputs, features]", table.concat(s, ", "),
      table.concat(ws, ", "))
  end
  local rows = x
  if #s ~= 2 then rows = x:reshape { -1, s[#s] } end
  local y = product(rows, w, true)
  if b then y = y + b end
  if #s ~= 2 then
    s[#s] = ws[1]
    y = y:reshape(s)
  end
  return y
end

-- --- windows: stride, padding, dilation -------------------------------------------------------------------
-- The attributes of a window go straight into R.attr: conv2d is recorded a hundred times per step.
local function at_least(name, key, low, a, b)
  if a < low or b < low then err.user("%s: '%s' must be at least %d, got %d", name, key, low, math.min(a, b)) end
  return a, b
end

local function two(name, key, v, low)
  if type(v) == "number" and v % 1 == 0 and v >= low then return v, v end
  return at_least(name, key, low, pair(name, key, v))
end

-- top, left, bottom, right. `size`, `kernel`, `stride`, `dilation` (pairs) are asked only for "same".
local function same(size, kernel, stride, dilation)
  local out = math.ceil(size / stride)
  local total = math.max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
  local before = math.floor(total / 2)
  return before, total - before
end

local function padding(name, v, x, kh, kw, sh, sw, dh, dw)
  if v == nil then return 0, 0, 0, 0 end
  if type(v) == "number" then
    if v % 1 ~= 0 or v < 0 then err.user("%s: 'padding' must be an integer from 0, got %g", name, v) end
    return v, v, v, v
  end
  if v == "same" then
    local s = R.info(x)
    if s.ndim ~= 4 then err.user("%s: x must be [N, C, H, W], got [%s]", name, table.concat(x.shape, ", ")) end
    local h, w = tonumber(s.dim[2]), tonumber(s.dim[3])
    local top, bottom = same(h, kh, sh, dh)
    local left, right = same(w, kw, sw, dw)
    return top, left, bottom, right
  end
  local n = type(v) == "table" and lists.length(name, "padding", v)
  if n == 2 or n == 4 then
    for i = 1, n do
      if integer(name, "padding", v[i]) < 0 then
        err.user("%s: 'padding' must be at least 0, got %d", name, v[i])
      end
    end
    if n == 2 then return v[1], v[2], v[1], v[2] end
    return v[1], v[2], v[3], v[4]
  end
  err.user("%s: 'padding' must be an integer, { height, width }, { top, left, bottom, right } or 'same', got %s", name,
    opt.show(v))
end

local conv2d = R.index "conv2d"
local CONV = { stride = true, padding = true, dilation = true, groups = true }
local NONE = {}

--- x:conv2d(w [, b], { stride = 1, padding = 0, dilation = 1, groups = 1 }): x [N, C, H, W], w
--- [K, C / groups, kh, kw], b [K] -> [N, K, H', W']. padding: n, { h, w }, { top, left, bottom, right }, or
--- "same": H' = ceil(H / stride), the odd pixel at the bottom and right.
function methods.conv2d(x, w, b, o)
  if o == nil and b ~= nil and getmetatable(b) ~= mt then b, o = nil, b end
  if getmetatable(w) ~= mt then tensor_arg("conv2d", "w", w) end
  if b and getmetatable(b) ~= mt then tensor_arg("conv2d", "b", b) end
  if o then R.known("conv2d", o, CONV) else o = NONE end
  local stride, dilation, groups = o.stride, o.dilation, o.groups
  local sh, sw, dh, dw = 1, 1, 1, 1
  if stride then sh, sw = two("conv2d", "stride", stride, 1) end
  if dilation then dh, dw = two("conv2d", "dilation", dilation, 1) end
  if not groups then
    groups = 1
  elseif integer("conv2d", "groups", groups) < 1 then
    err.user("conv2d: 'groups' must be at least 1, got %d", groups)
  end
  local kh, kw = 1, 1
  if o.padding == "same" then
    local s = R.info(w)
    if s.ndim == 4 then kh, kw = tonumber(s.dim[2]), tonumber(s.dim[3]) end
  end
  attr[2], attr[3], attr[4], attr[5] = padding("conv2d", o.padding, x, kh, kw, sh, sw, dh, dw)
  attr[0], attr[1], attr[6], attr[7], attr[8], attr[9] = sh, sw, dh, dw, groups, 0
  input[0], input[1], input[2] = x.ref, w.ref, b and b.ref or 0
  return R.one(conv2d, 3, 10)
end

local function pool(name, given, known)
  if type(given) == "number" or (type(given) == "table" and given[1] ~= nil and given[2] ~= nil) then
    given = { kernel_size = given }
  end
  R.known(name, given, known)
  local kernel = given.kernel_size or given[1]
  if kernel == nil then err.user("%s: missing option 'kernel_size'", name) end
  return given, kernel
end

local POOL = { true, kernel_size = true, stride = true, padding = true }
local AVG_POOL = { true, kernel_size = true, stride = true, padding = true, count_include_pad = true }
local MAP = { 3, 4 }

local function window(name, x, given, known)
  local o, kernel = pool(name, given, known)
  local kh, kw = two(name, "kernel_size", kernel, 1)
  local sh, sw = kh, kw
  if o.stride ~= nil then sh, sw = two(name, "stride", o.stride, 1) end
  input[0] = x.ref
  attr[4], attr[5], attr[6], attr[7] = padding(name, o.padding, x, kh, kw, sh, sw, 1, 1)
  attr[0], attr[1], attr[2], attr[3] = kh, kw, sh, sw
  return o
end

local function whole_map(name, x)
  if R.info(x).ndim ~= 4 then
    err.user("%s: x must be [N, C, H, W], got [%s]", name, table.concat(x.shape, ", "))
  end
end

--- x:avg_pool2d { kernel_size = 2, stride = kernel_size, padding = 0, count_include_pad = true }; without
--- options the mean over the whole map: [N, C, H, W] -> [N, C].
function methods.avg_pool2d(x, options)
  if options == nil then
    whole_map("avg_pool2d", x)
    return x:mean(MAP)
  end
  local o = window("avg_pool2d", x, options, AVG_POOL)
  attr[8] = o.count_include_pad == false and 0 or 1
  return R.one(R.index "avg_pool2d", 1, 9)
end

--- x:max_pool2d { kernel_size = 2, stride = kernel_size, padding = 0 }; without options over the whole map.
function methods.max_pool2d(x, options)
  if options == nil then
    whole_map("max_pool2d", x)
    return x:max(MAP)
  end
  window("max_pool2d", x, options, POOL)
  return R.one(R.index "max_pool2d", 1, 8)
end

--- x:adaptive_avg_pool2d(size): to a map of that size, whatever x has.
function methods.adaptive_avg_pool2d(x, size)
  local h, w = two("adaptive_avg_pool2d", "size", size, 1)
  input[0], attr[0], attr[1] = x.ref, h, w
  return R.one(R.index "adaptive_avg_pool2d", 1, 2)
end

local INTERPOLATE = { true, size = true, scale_factor = true, mode = true }
local MODES = { nearest = 0, bilinear = 1, bicubic = 2 }

--- x:interpolate { size = 64, mode = "bilinear" } (nearest unless given), or scale_factor = 2.
function methods.interpolate(x, o)
  R.known("interpolate", o, INTERPOLATE)
  local mode = o.mode == nil and "nearest" or o.mode
  if not MODES[mode] then
    err.user("interpolate: 'mode' must be one of nearest, bilinear, bicubic, got %s%s", opt.show(mode),
      type(mode) == "string" and err.hint(mode, MODES) or "")
  end
  local size = o.size or o[1]
  if (size == nil) == (o.scale_factor == nil) then err.user "interpolate: needs either 'size' or 'scale_factor'" end
  local h, w
  if size ~= nil then
    h, w = two("interpolate", "size", size, 1)
  else
    whole_map("interpolate", x)
    local f, s = R.number("interpolate", "scale_factor", o.scale_factor), R.info(x)
    h, w = math.floor(tonumber(s.dim[2]) * f), math.floor(tonumber(s.dim[3]) * f)
    if h < 1 or w < 1 then err.user("interpolate: 'scale_factor' %g leaves nothing", f) end
  end
  input[0], attr[0], attr[1], attr[2] = x.ref, MODES[mode], h, w
  return R.one(R.index "interpolate", 1, 3)
end

-- --- norms ------------------------------------------------------------------------------------------------
local function option(name, o, key, dflt)
  local v = o and o[key]
  if v == nil then return dflt end
  return R.number(name, key, v)
end

local LAYER_NORM = { eps = true, n_dims = true }

--- x:layer_norm([w, b,] { eps = 1e-5, n_dims = as many as w has, else 1 }): over the last dimensions.
function methods.layer_norm(x, w, b, o)
  if w ~= nil and getmetatable(w) ~= mt and b == nil then w, o = nil, w end
  if o then R.known("layer_norm", o, LAYER_NORM) end
  local rw, rb = tensor_arg("layer_norm", "w", w, true), tensor_arg("layer_norm", "b", b, true)
  local n = option("layer_norm", o, "n_dims", w and R.info(w).ndim or 1)
  input[0], input[1], input[2] = x.ref, rw, rb
  attr[0], attr[1] = integer("layer_norm", "n_dims", n), option("layer_norm", o, "eps", 1e-5)
  R.record(R.index "layer_norm", 3, 2, 3)
  return R.wrap(output[0])
end

local BATCH_NORM = { eps = true, momentum = true, training = true }

--- x:batch_norm(w, b, mean, var, { eps = 1e-5, momentum = 0.1, training = false }): in training by the
--- batch's own statistics, which also move the variables mean and var (the unbiased one).
function methods.batch_norm(x, w, b, mean, var, o)
  if o then R.known("batch_norm", o, BATCH_NORM) end
  local name = "batch_norm"
  local rw, rb = tensor_arg(name, "w", w), tensor_arg(name, "b", b)
  local rm, rv = tensor_arg(name, "mean", mean), tensor_arg(name, "var", var)
  input[0], input[1], input[2], input[3], input[4] = x.ref, rw, rb, rm, rv
  attr[0] = option(name, o, "eps", 1e-5)
  if not (o and o.training) then return R.one(R.index "batch_norm", 5, 1) end
  attr[1] = option(name, o, "momentum", 0.1)
  R.record(R.index "batch_norm_train", 5, 2, 5)
  local outs = R.wrap_all(output, 5)
  mean:assign(outs[4])
  var:assign(outs[5])
  return outs[1]
end

local GROUP_NORM = { eps = true }

--- x:group_norm(groups [, w, b] [, { eps = 1e-5 }]): x [N, C, ..], over each of `groups` runs of channels.
function methods.group_norm(x, groups, w, b, o)
  if w ~= nil and getmetatable(w) ~= mt and b == nil then w, o = nil, w end
  if o then R.known("group_norm", o, GROUP_NORM) end
  local s = x.shape
  integer("group_norm", "groups", groups)
  if #s < 2 or groups < 1 or s[2] % groups ~= 0 then
    err.user("group_norm: [%s] can't be cut into %d groups of channels", table.concat(s, ", "), groups)
  end
  local y = x:reshape({ s[1], groups, -1 }):layer_norm({ eps = option("group_norm", o, "eps", 1e-5) }):reshape(s)
  local per_channel = {}
  for i = 1, #s - 1 do per_channel[i] = i == 1 and s[2] or 1 end
  if w then y = y * w:reshape(per_channel) end
  if b then y = y + b:reshape(per_channel) end
  return y
end

--- x:dropout(p): each element 0 with probability p, else x / (1 - p). Only for training: it always drops.
function methods.dropout(x, p)
  if type(p) == "table" then
    R.known("dropout", p, { true, p = true })
    p = p.p or p[1]
  end
  R.number("dropout", "p", p)
  if not (p >= 0 and p < 1) then err.user("dropout: 'p' must be from 0 to below 1, got %g", p) end
  if p == 0 then return x end
  local keep = require("foodrt.core.rng").uniform(x.shape, x.dtype):ge(p)
  return x * keep * (1 / (1 - p))
end
