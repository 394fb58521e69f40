-- graph_maker: random graphs for the engine's specs. The same seed makes the same graph whatever the dtype
-- and backend: every decision follows from the seed and from shapes.
--   local g = maker.new(seed, "f32");  g:grow(30);  g:train();  local outputs = g:outputs()
local frt = require "foodrt"
local T = require "foodrt.tensor"
local O = require "spec.support.op_case"

local maker = {}
maker.__index = maker

-- a number of 0 .. n - 1, and one of a list
local function below(g, n) return math.floor(g.random() * n) end
local function one_of(g, list) return list[below(g, #list) + 1] end

function maker.new(seed, dtype)
  local g = setmetatable({ seed = seed, dtype = dtype, vars = {}, moments = {}, averages = {} }, maker)
  g:again()
  return g
end

--- starts over: what is grown now is the same graph over the same variables.
function maker:again()
  local g = self
  g.random, g.values, g.n_vars = O.random(g.seed * 7919 + 13), {}, 0
  for _ = 1, 5 do g.random() end
  for _ = 1, 2 + below(g, 2) do
    g:add(g:variable { 1 + below(g, 3), one_of(g, { 1, 2, 3, 4, 8, 17 }), 3 + below(g, 6), 3 + below(g, 6) })
  end
  g:add(g:variable { 3, 5 })
  g:add(g:variable { 6 })
end

--- a new variable with numbers in (-1, 1), in (0.5, 1.5) when `positive`.
function maker:variable(shape, positive)
  local data = {}
  for i = 1, O.numel(shape) do
    data[i] = math.floor((2 * self.random() - 1) * 4096) / 4096 * (positive and 0.5 or 1) + (positive and 1 or 0)
  end
  self.n_vars = self.n_vars + 1
  local v = self.vars[self.n_vars]
  if not v then
    v = T.var { shape = shape, dtype = self.dtype, data = data, name = "v" .. self.n_vars }
    self.vars[self.n_vars] = v
  end
  v:requires_grad_()
  return v
end

function maker:add(t)
  self.values[#self.values + 1] = t
  return t
end

-- Recent values are likelier: graphs get deep.
function maker:pick(test)
  for _ = 1, 12 do
    local n = #self.values
    local t = self.values[n - math.floor(self.random() ^ 2 * n)]
    if not test or test(t.shape) then return t, t.shape end
  end
end

local function is_map(s) return #s == 4 end
local function is_matrix(s) return #s == 2 end
local function has_rows(s) return #s >= 1 end

local UNARY = { "silu", "sigmoid", "tanh", "sin", "softplus", "neg", "relu", "silu", "cos", "erf", "relu6" }
local BINARY = { "add", "mul", "sub", "maximum", "minimum", "add", "mul" }

local function broadcast_partner(g, s)  -- a variable that broadcasts to s
  local shape, lead = {}, below(g, #s + 1)
  for i = lead + 1, #s do shape[#shape + 1] = g.random() < 0.5 and 1 or s[i] end
  return g:variable(shape)
end

local function twin(g, s)  -- a value of the same shape, or something that broadcasts to it
  local text = table.concat(s, ",")
  local other = g:pick(function(o) return table.concat(o, ",") == text end)
  if other and g.random() < 0.8 then return other end
  if g.random() < 0.3 then return math.floor(g.random() * 64) / 32 - 1 end
  return broadcast_partner(g, s)
end

local MAKE = {}
function MAKE.unary(g)
  local x = g:pick()
  return T.op(one_of(g, UNARY), { x })
end
MAKE.unary2 = MAKE.unary

function MAKE.binary(g)
  local x, s = g:pick()
  local y, op = twin(g, s), one_of(g, BINARY)
  if type(y) == "number" then return op == "mul" and x * y or x + y end
  if g.random() < 0.5 then x, y = y, x end
  return T.op(op, { x, y })
end
MAKE.binary2, MAKE.binary3 = MAKE.binary, MAKE.binary

function MAKE.divide(g)
  local x, s = g:pick()
  local y = twin(g, s)
  if type(y) == "number" then y = broadcast_partner(g, s) end
  return x / (y * y + 1)
end

function MAKE.where(g)
  local x, s = g:pick()
  local y = broadcast_partner(g, s)
  return T.op("where", { T.op("lt", { x, y }), x, y * 2 })
end

function MAKE.reduce(g)
  local x, s = g:pick(has_rows)
  if not x then return end
  return T.op(one_of(g, { "sum", "mean", "amax", "mean", "amin" }), { x }, { 1 + below(g, 2 ^ #s - 1), below(g, 2) }):tanh()
end

function MAKE.gate(g)  -- squeeze and excite
  local x = g:pick(is_map)
  return x and x * T.op("mean", { x }, { 12, 1 }):sigmoid()
end

function MAKE.conv2d(g)
  local x, s = g:pick(is_map)
  if not x then return end
  local depthwise = g.random() < 0.4
  local k = math.min(one_of(g, { 1, 3, 3, 2 }), s[3], s[4])
  local groups = depthwise and s[2] or 1
  local out = depthwise and s[2] or 1 + below(g, 9)
  local w = g:variable { out, s[2] / groups, k, k }
  local bias = g.random() < 0.4 and g:variable { out } or false
  local stride, pad = 1 + below(g, 2), k > 1 and below(g, 2) or 0
  local y = T.op("conv2d", { x, w, bias }, { stride, stride, pad, pad, pad, pad, 1, 1, groups, 0 })
  return y * (1 / (1 + s[2] / groups * k))
end
MAKE.conv2d2 = MAKE.conv2d

local function norm(g, x, s, training)
  local w, b = g:variable({ s[2] }, true), g:variable { s[2] }
  local mean, var = g:variable { s[2] }, g:variable({ s[2] }, true)
  mean:requires_grad_(false)
  var:requires_grad_(false)
  return x:batch_norm(w, b, mean, var, { training = training, eps = 1e-2 })
end

function MAKE.batch_norm(g)
  local x, s = g:pick(is_map)
  if not x or s[1] * s[3] * s[4] < 8 then return end
  return norm(g, x, s, g.random() < 0.6)
end

function MAKE.block(g)  -- convolution, batch norm, activation, as models have them
  local y = MAKE.conv2d(g)
  local s = y and y.shape
  if not y or s[1] * s[3] * s[4] < 8 then return y end
  y = norm(g, y, s, g.random() < 0.7)
  return T.op(one_of(g, { "silu", "relu", "silu", "sigmoid" }), { y })
end
MAKE.block2 = MAKE.block

function MAKE.folded(g)  -- what evaluation folds: nothing between the convolution and its norm
  local x, s = g:pick(is_map)
  if not x then return end
  local y = T.op("conv2d", { x, g:variable { 4, s[2], 1, 1 }, g.random() < 0.5 and g:variable { 4 } or false },
    { 1, 1, 0, 0, 0, 0, 1, 1, 1, 0 })
  y = norm(g, y, y.shape, false)
  return g.random() < 0.5 and y:silu() or y
end

function MAKE.pool(g)
  local x, s = g:pick(is_map)
  if not x or s[3] < 2 or s[4] < 2 then return end
  if g.random() < 0.5 then return T.op("avg_pool2d", { x }, { 2, 2, 1, 2, 0, 0, 0, 0, 1 }) end
  return T.op("max_pool2d", { x }, { 2, 2, 2, 1, 0, 0, 0, 0 })
end

function MAKE.adaptive(g)
  local x, s = g:pick(is_map)
  return x and T.op("adaptive_avg_pool2d", { x }, { 1 + below(g, s[3]), 1 + below(g, s[4]) })
end

function MAKE.resize(g)
  local x = g:pick(is_map)
  return x and T.op("interpolate", { x }, { below(g, 2), 2 + below(g, 6), 2 + below(g, 6) })
end

function MAKE.reshape(g)
  local x, s = g:pick(has_rows)
  if not x then return end
  local n = O.numel(s)
  local choices = { { n }, { s[1], n / s[1] }, { 1, s[1], n / s[1], 1 } }
  if n % 2 == 0 then choices[#choices + 1] = { 2, n / 2 } end
  if n % 12 == 0 then choices[#choices + 1] = { 1, 3, 4, n / 12 } end
  return x:reshape(one_of(g, choices))
end

function MAKE.permute(g)
  local x, s = g:pick(function(o) return #o >= 2 end)
  if not x then return end
  local order, attr = {}, { 0, 1, 2, 3, 4, 5 }
  for d = 1, #s do order[d] = d - 1 end
  for d = #s, 2, -1 do
    local other = below(g, d) + 1
    order[d], order[other] = order[other], order[d]
  end
  for d = 1, #s do attr[d] = order[d] end
  return T.op("permute", { x }, attr)
end

function MAKE.cat(g)
  local x, s = g:pick(has_rows)
  if not x then return end
  local d = below(g, #s)
  local other = { unpack(s) }
  other[d + 1] = 1 + below(g, 3)
  local list = g.random() < 0.3 and { x, x } or { x, g:variable(other) }
  if O.numel(s) > 3000 then return end
  return T.op("cat", list, { d })
end

function MAKE.narrow(g)
  local x, s = g:pick(has_rows)
  if not x then return end
  local d = below(g, #s)
  local start = below(g, s[d + 1])
  return T.op("narrow", { x }, { d, start, 1 + below(g, s[d + 1] - start) })
end

function MAKE.pad(g)
  local x = g:pick(is_map)
  return x and T.op("pad", { x }, { 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0.5 })
end

function MAKE.flip(g)
  local x, s = g:pick(has_rows)
  return x and T.op("flip", { x }, { below(g, 2 ^ #s) })
end

function MAKE.matmul(g)
  local x, s = g:pick(is_matrix)
  if not x or s[2] > 300 then return end
  local n = 1 + below(g, 6)
  if g.random() < 0.5 then return T.op("matmul", { x, g:variable { s[2], n } }, { 0, 0 }):tanh() end
  return T.op("matmul", { x, g:variable { n, s[2] } }, { 0, 1 }):tanh()
end

function MAKE.softmax(g)
  local x, s = g:pick(has_rows)
  return x and T.op(one_of(g, { "softmax", "log_softmax" }), { x }, { below(g, #s) })
end

function MAKE.layer_norm(g)
  local x, s = g:pick(function(o) return #o >= 2 and o[#o] >= 4 end)
  if not x then return end
  local n = s[#s]
  local y = T.op("layer_norm", { x, g:variable({ n }, true), g:variable { n } }, { 1, 1e-2 })
  return y
end

function MAKE.detach(g)
  return g:pick():detach()
end

function MAKE.cumsum(g)
  local x, s = g:pick(has_rows)
  return x and T.op("cumsum", { x }, { below(g, #s) }):tanh()
end

-- v = f(v): what reads v from now on reads the new value.
function MAKE.assign(g)
  local v = g.vars[below(g, g.n_vars) + 1]
  v:assign(v * 0.5 + (g.random() < 0.5 and v:tanh() or 0.25))
  return v * v
end

-- two variables of one shape trade places
function MAKE.swap(g)
  local v = g.vars[below(g, g.n_vars) + 1]
  local text = table.concat(v.shape, ",")
  for i = 1, g.n_vars do
    local other = g.vars[i]
    if other ~= v and table.concat(other.shape, ",") == text then
      local old = v * 1
      v:assign(other)
      other:assign(old)
      return v + other * 0.5
    end
  end
end

local kinds = {}
for name in pairs(MAKE) do kinds[#kinds + 1] = name end
table.sort(kinds)

--- n more values
function maker:grow(n)
  local made = 0
  for _ = 1, n * 4 do
    if made == n then break end
    local name = one_of(self, kinds)
    local t = MAKE[name](self)
    if t and O.numel(t.shape) <= 20000 then
      self:add(t)
      made = made + 1
    end
  end
end

--- a loss, its gradients, and an update of what it depends on
function maker:train(kind)
  local loss
  for _ = 1, 3 do
    local x = self:pick()
    local term = (x:tanh() * x:tanh()):mean()
    loss = loss and loss + term or term
  end
  self:add(loss)
  self.loss = loss
  local params = {}
  for i = 1, self.n_vars do
    local v = self.vars[i]
    if v.requires_grad then params[#params + 1] = v end
  end
  local grads = frt.grad(loss, params)
  for _, g in ipairs(grads) do self:add(g) end
  if kind == "adam" then
    local first = { 1e-2, 0.9, 0.99, 1e-3, 0.1, 1, 1 }
    local inputs = {}
    for i, v in ipairs(first) do inputs[i] = T.wrap(require("foodrt.tensor.record").scalar(v, 1)) end
    for i, p in ipairs(params) do
      local m = self.moments[p]
      if not m then
        m = { T.var { shape = p.shape, dtype = self.dtype }, T.var { shape = p.shape, dtype = self.dtype } }
        self.moments[p], self.moments[#self.moments + 1] = m, m
      end
      for _, t in ipairs { p, grads[i], m[1], m[2] } do inputs[#inputs + 1] = t end
    end
    local out = T.op("adam_step", inputs, { 1, 0 }, 3 * #params)
    for i, p in ipairs(params) do
      p:assign(out[3 * i - 2])
      self.moments[p][1]:assign(out[3 * i - 1])
      self.moments[p][2]:assign(out[3 * i])
    end
  elseif kind == "sgd" then
    for i, p in ipairs(params) do p:assign(p - grads[i] * 0.1) end
  end
  local inputs = { T.wrap(require("foodrt.tensor.record").scalar(0.7, 1)) }
  for i, p in ipairs(params) do
    self.averages[i] = self.averages[i] or T.var { shape = p.shape, dtype = self.dtype }
    inputs[2 * i], inputs[2 * i + 1] = self.averages[i], p
  end
  for i, e in ipairs(T.op("ema_step", inputs, {}, #params)) do self.averages[i]:assign(e) end
end

--- some of the values: what the next plan is asked for
function maker:outputs(share)
  local list = {}
  for i, t in ipairs(self.values) do
    if not t:is_var() and (i == #self.values or self.random() < share) then list[#list + 1] = t end
  end
  return list
end

return maker
