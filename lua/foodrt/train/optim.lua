--- optim: sgd, adam, adamw. An optimizer keeps its state by parameter name; one step is one multi-tensor node
--- per group of parameters with the same rate, decay and age.
---   local opt = frt.optim.adamw { lr = 1e-3 }
---   opt:attach(model);  opt:zero_grad();  loss:backward();  opt:step()
---
--- lr and weight_decay are a number, or a table of globs over parameter names: lr = { backbone = 1e-5, fc = 1e-3 }.
--- Of several globs that cover a name the more particular one counts ("*" is the least).
--- no_decay = "1d" spares one-dimensional parameters (norms, biases) and ViT's cls_token and pos_embed from weight decay:
--- adamw's default for a model, as timm's; sgd and adam decay everything, as PyTorch's; so do groups given as { params = … }.
local lib = require "foodrt.core.ffi"
local T, R, rng = require "foodrt.tensor", require "foodrt.tensor.record", require "foodrt.core.rng"
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local glob, module = require "foodrt.nn.glob", require "foodrt.nn.module"
local ffi, C = lib.ffi, lib.C
local F64 = R.DTYPE.f64

local optim = {}
local Optimizer = {}
Optimizer.__index = Optimizer
Optimizer.__tostring = function(self) return self.describe end
opt.guard(Optimizer)

-- --- groups ----------------------------------------------------------------------------------------------
-- the value for `name` in a number or a table of globs
local function rate_for(self, key, value, name)
  if type(value) == "number" then return value end
  local best, weight
  for g in pairs(value) do
    local w = glob.weight(g)
    if glob.match(g, name) and (not weight or w > weight or (w == weight and g < best)) then best, weight = g, w end
  end
  if not best then err.user("%s: '%s' names no rate for '%s' (\"*\" covers the rest)", self.kind, key, name) end
  return value[best]
end

local function check_rates(self, key, value, names)
  if type(value) ~= "table" then return end
  local globs = {}
  for g, v in pairs(value) do
    if type(g) ~= "string" or not lists.finite(v) then
      err.user("%s: '%s' must map globs to numbers, got %s = %s", self.kind, key, tostring(g), opt.show(v))
    end
    globs[#globs + 1] = g
  end
  table.sort(globs)
  if names then glob.covered(self.kind .. " " .. key, globs, names) end
end

local function add(self, name, tensor, lr, weight_decay)
  if self.by_name[name] then err.user("%s: two parameters are called '%s'", self.kind, name) end
  local entry = { name = name, tensor = tensor, lr = lr, weight_decay = weight_decay, t = 0 }
  self.entries[#self.entries + 1] = entry
  self.by_name[name], self.by_tensor[tensor] = entry, entry
end

local function spared(no_decay, name, tensor)
  if no_decay == "none" then return false end
  local leaf = name:match "[^.]*$"
  if no_decay == "1d" then return tensor:dim() <= 1 or leaf == "bias" or leaf == "cls_token" or leaf == "pos_embed" end
  for _, g in ipairs(no_decay) do
    if glob.match(g, name) then return true end
  end
  return false
end

local function check_no_decay(self, given, names)
  if given == nil or given == "1d" or given == "none" then return end
  if type(given) == "string" then given = { given } end
  glob.covered(self.kind .. " no_decay", glob.list(self.kind, given), names)
end

local function attach_model(self, model, more)
  local names, list = {}, {}
  local function take(m, prefix)
    for name, t in m:named_parameters() do
      names[#names + 1] = prefix .. name
      if t.requires_grad then list[#list + 1] = { prefix .. name, t } end
    end
  end
  take(model, "")
  for _, m in ipairs(more or {}) do take(m.module, m.name .. ".") end
  check_rates(self, "lr", self.lr, names)
  check_rates(self, "weight_decay", self.weight_decay, names)
  check_no_decay(self, self.no_decay, names)
  local no_decay = self.no_decay or (self.kind == "adamw" and "1d" or "none")
  for _, p in ipairs(list) do
    local name, t = p[1], p[2]
    local decay = spared(no_decay, name, t) and 0 or rate_for(self, "weight_decay", self.weight_decay, name)
    add(self, name, t, rate_for(self, "lr", self.lr, name), decay)
  end
  if #list == 0 then err.user("%s: nothing to train, every parameter is frozen", self.kind) end
end

local GROUP = { "group", params = "any", lr = { "number", nil, min = 0 }, weight_decay = { "number", nil, min = 0 },
  no_decay = { "string|list", "none", of = "string" } }

local function number_or(value, fallback, kind, key)
  if value ~= nil then return value end
  if type(fallback) ~= "number" then err.user("%s: a group needs '%s', the optimizer's is a table of globs", kind, key) end
  return fallback
end

local function attach_group(self, given)
  local o = opt.check(GROUP, given)
  local lr = number_or(o.lr, self.lr, self.kind, "lr")
  local decay = number_or(o.weight_decay, self.weight_decay, self.kind, "weight_decay")
  local params = o.params
  if module.is(params) then
    local list = {}
    for name, t in params:named_parameters() do
      if t.requires_grad then list[#list + 1] = { name, t } end
    end
    for _, p in ipairs(list) do add(self, p[1], p[2], lr, spared(o.no_decay, p[1], p[2]) and 0 or decay) end
    return
  end
  if T.is(params) then params = { params } end
  if type(params) ~= "table" then err.user("%s: 'params' must be a module or tensors, got %s", self.kind, opt.show(params)) end
  lists.length(self.kind, "params", params)
  for i, t in ipairs(params) do
    if not T.is(t) then err.user("%s: parameter %d must be a tensor, got %s", self.kind, i, opt.show(t)) end
    local name = t.name or ("param.%d"):format(#self.entries + 1)
    add(self, name, t, lr, spared(o.no_decay, name, t) and 0 or decay)
  end
end

--- what the optimizer trains: a module (its parameters that are not frozen), tensors, or groups.
---   opt:attach(model)   opt:attach { { params = head, lr = 1e-3 }, { params = { w, b }, lr = 1e-4 } }
--- in   more  modules beside a module: { { name, module }, … }; their parameters are called NAME.…
function Optimizer:attach(what, more)
  self.entries, self.by_name, self.by_tensor = {}, {}, setmetatable({}, { __mode = "k" })
  self.resting = {}  -- what earlier phases trained and this one does not: name -> entry
  if module.is(what) then
    attach_model(self, what, more)
  elseif T.is(what) then
    attach_group(self, { params = { what } })
  elseif type(what) ~= "table" or lists.length(self.kind, "attach", what) == 0 then
    err.user("%s: attach needs a module, a list of tensors, or groups { params = … }", self.kind)
  elseif T.is(what[1]) then
    attach_group(self, { params = what })
  else
    for _, group in ipairs(what) do attach_group(self, group) end
  end
  return self
end

local function attached(self)
  if not self.entries then err.user("%s: nothing is attached yet: opt:attach(model)", self.kind) end
  return self.entries
end

--- rates of the groups, largest first: { { lr, weight_decay, n = tensors, count = numbers }, … }.
function Optimizer:groups()
  local list, at = {}, {}
  for _, e in ipairs(attached(self)) do
    local key = e.lr .. "/" .. e.weight_decay
    if not at[key] then
      at[key] = { lr = e.lr, weight_decay = e.weight_decay, n = 0, count = 0 }
      list[#list + 1] = at[key]
    end
    at[key].n, at[key].count = at[key].n + 1, at[key].count + e.tensor:numel()
  end
  table.sort(list, function(a, b)
    if a.lr ~= b.lr then return a.lr > b.lr end
    return a.weight_decay > b.weight_decay
  end)
  return list
end

--- clears every gradient.
function Optimizer:zero_grad()
  for _, e in ipairs(attached(self)) do e.tensor.grad = nil end
end

-- --- one step ------------------------------------------------------------------------------------------------
local attrs = ffi.new "double[8]"

local function state_of(self, e)
  local state = e.state
  if not state then
    state = {}
    for i, key in ipairs(self.rule.state) do
      state[i] = T.var { shape = e.tensor.shape, dtype = e.tensor.dtype, name = e.name .. "." .. key }
    end
    e.state = state
  end
  return state
end

local MOST_OUTPUTS = 4094  -- of a node

-- one multi-tensor node for entries [from, to] of `list` ({ entry, gradient }), all with the same rate, decay and age
local function record_some(self, all, from, to, o)
  local rule, first, list = self.rule, all[from][1], {}
  for i = from, to do list[#list + 1] = all[i] end
  local n_state = #rule.state
  local scalars = {}
  for i, v in ipairs(rule.scalars(self, first, o)) do
    scalars[i] = T.is(v) and v or R.wrap(R.scalar(v, F64))
  end
  for _, p in ipairs(list) do state_of(self, p[1]) end
  local n_in, n_out = #scalars + #list * (2 + n_state), #list * (1 + n_state)
  local inputs, outputs = R.room(n_in)
  local n = 0
  for i = 1, #scalars do
    inputs[n] = scalars[i].ref
    n = n + 1
  end
  for i = 1, #list do
    local e = list[i][1]
    inputs[n], inputs[n + 1] = e.tensor.ref, list[i][2].ref
    for s = 1, n_state do inputs[n + 1 + s] = e.state[s].ref end
    n = n + 2 + n_state
  end
  for i, v in ipairs(rule.attrs(self)) do attrs[i - 1] = v end
  local n_attr = #rule.attrs(self)
  R.record_room(R.index(rule.op), n_in, n_attr, attrs, n_out)
  n = 0
  for i = 1, #list do
    local e = list[i][1]
    lib.check(C.frt_assign(e.tensor.ref, outputs[n]))
    for s = 1, n_state do lib.check(C.frt_assign(e.state[s].ref, outputs[n + s])) end
    n = n + 1 + n_state
  end
end

local function record(self, list, o)
  local most = math.floor(MOST_OUTPUTS / (1 + #self.rule.state))
  for from = 1, #list, most do record_some(self, list, from, math.min(from + most - 1, #list), o) end
end

local UPDATE = { "update", lr_scale = { "number", 1 }, gscale = { "number|tensor", 1 }, momentum = { "number", nil } }

--- records one step; nothing is computed before the next realize.
--- in   params  tensors that are attached
---      grads   their gradients, in the same order; false where there is none (the parameter stays)
---      o       lr_scale: factor on every rate (a schedule's); gscale: factor on every gradient (a number, or
---              clip's); momentum: instead of momentum or beta1
function Optimizer:update(params, grads, o)
  attached(self)
  o = opt.check(UPDATE, o)
  if T.is(o.gscale) and o.gscale.dtype ~= "f64" then o.gscale = o.gscale:to "f64" end
  local buckets, order = {}, {}
  for i = 1, #params do
    local e, g = self.by_tensor[params[i]], grads[i]
    if not e then err.user("%s: parameter %d of the update is not attached", self.kind, i) end
    if g then
      e.t = e.t + 1
      local key = e.lr .. "/" .. e.weight_decay .. "/" .. e.t
      local bucket = buckets[key]
      if not bucket then
        bucket = {}
        buckets[key], order[#order + 1] = bucket, bucket
      end
      bucket[#bucket + 1] = { e, g }
    end
  end
  for _, bucket in ipairs(order) do record(self, bucket, o) end
end

local STEP = { "step", lr_scale = { "number", 1 }, momentum = { "number", nil }, clip_norm = { "number", nil, min = 0 } }

--- one step with every parameter's .grad, computed at once; random layers draw anew afterwards.
--- out  norm of the gradients, when clip_norm is given
function Optimizer:step(o)
  o = opt.check(STEP, o)
  local params, grads, given = {}, {}, {}
  for _, e in ipairs(attached(self)) do
    local g = e.tensor.grad
    params[#params + 1], grads[#grads + 1] = e.tensor, g or false
    if g then given[#given + 1] = g end
  end
  if #given == 0 then err.user("%s: no parameter has a gradient: call loss:backward() before opt:step()", self.kind) end
  local gscale, norm
  if o.clip_norm then gscale, norm = optim.clip(given, o.clip_norm) end
  local before = {}
  for i, p in ipairs(params) do before[i] = self.by_tensor[p].t end
  local ok, why = err.catch(function()
    self:update(params, grads, { lr_scale = o.lr_scale, momentum = o.momentum, gscale = gscale })
    if norm then norm:keep() end
    T.api.realize()
  end)
  if not ok then  -- the whole step is undone, what of it was recorded too
    for i, p in ipairs(params) do self.by_tensor[p].t = before[i] end
    T.forget()
    error(why, 0)
  end
  rng.begin(rng.step + 1)
  return norm
end

--- frt.optim.clip(grads, max_norm): the factor that brings the gradients' norm down to max_norm, and the norm.
---   local gscale, norm = frt.optim.clip(grads, 1.0)
--- in   grads     tensors (false where there is none); max_norm: nil leaves them as they are
---      loss      what they are the gradients of, or nil: it must be finite too
--- out  gscale    f64 [], min(1, max_norm / (norm + 1e-6)); not a number when the norm or the loss is not finite, which
---                makes the update an error before anything is written
---      norm      f32 [], the square root of the sum of all squares
function optim.clip(grads, max_norm, loss)
  local given = {}
  for i = 1, #grads do
    if grads[i] then given[#given + 1] = grads[i] end
  end
  local norm = T.op("grad_norm", given, {})
  local guard = norm * 0
  if loss then guard = guard + loss:detach():reshape {} * 0 end
  if not max_norm then return (guard + 1):to "f64", norm end
  return ((max_norm / (norm + 1e-6)):minimum(1) + guard):to "f64", norm
end

-- --- state -----------------------------------------------------------------------------------------------------
--- the moments as name -> tensor ("fc.weight.exp_avg"), and what is not a tensor: { kind, t = { name = steps } }.
--- Those of parameters that rest in this phase are in it.
function Optimizer:state_dict()
  local tensors, info = {}, { kind = self.kind, t = {} }
  local function put(e)
    info.t[e.name] = e.t
    for i, key in ipairs(e.state and self.rule.state or {}) do tensors[e.name .. "." .. key] = e.state[i] end
  end
  for _, e in ipairs(attached(self)) do put(e) end
  for _, e in pairs(self.resting) do put(e) end
  return tensors, info
end

local function same_shape(a, b)
  return table.concat(a.shape, ",") == table.concat(b.shape, ",")
end

local function load_entry(self, e, tensors, t)
  e.t = t
  for i, key in ipairs(self.rule.state) do
    local src = tensors[e.name .. "." .. key]
    if src then
      local dst = state_of(self, e)[i]
      if not same_shape(src, dst) then
        err.user("%s: the state of '%s' has another shape", self.kind, e.name)
      end
      if src.dtype ~= dst.dtype then
        err.user("%s: the state of '%s' is %s, expected %s", self.kind, e.name, src.dtype, dst.dtype)
      end
      R.copy(dst, src)
    elseif t > 0 then
      err.user("%s: the state lacks '%s.%s'", self.kind, e.name, key)
    end
  end
end

--- the other way; the optimizer must be attached to the same parameters. What the state has beyond them rests.
function Optimizer:load_state_dict(tensors, info)
  if type(info) ~= "table" or info.kind ~= self.kind then
    err.user("%s: this state is of '%s'", self.kind, tostring(type(info) == "table" and info.kind))
  end
  for _, e in ipairs(attached(self)) do
    if info.t[e.name] == nil then err.user("%s: the state lacks '%s'", self.kind, e.name) end
    load_entry(self, e, tensors, info.t[e.name])
  end
  self.resting = {}
  for name, t in pairs(info.t) do
    local first = tensors[name .. "." .. (self.rule.state[1] or "")]
    if not self.by_name[name] and first then
      local e = { name = name, tensor = { shape = first.shape, dtype = first.dtype } }
      load_entry(self, e, tensors, t)
      e.tensor = nil  -- whichever comes to have this name
      self.resting[name] = e
    end
  end
  return self
end

--- frt.optim.carry(old, new): parameters keep their moments and their age, also over phases in which they rest; new
--- ones start afresh. Both are attached; between rules with other moments nothing is carried. Returns how many of
--- new's parameters kept theirs.
function optim.carry(old, new)
  local kept = 0
  if table.concat(old.rule.state) ~= table.concat(new.rule.state) then return 0 end
  local known = {}
  for name, e in pairs(old.resting) do known[name] = e end
  for _, e in ipairs(attached(old)) do known[e.name] = e end
  for _, e in ipairs(attached(new)) do
    local from = known[e.name]
    known[e.name] = nil
    if from and from.state and (from.tensor == e.tensor or not from.tensor and same_shape(from.state[1], e.tensor)) then
      e.state, e.t = from.state, from.t
      kept = kept + 1
    end
  end
  for name, e in pairs(known) do new.resting[name] = e.state and e or nil end
  return kept
end

-- --- the rules ---------------------------------------------------------------------------------------------------
local function make(kind, spec, rule, check)
  spec.lr = spec.lr or { "number|table", 1e-3, min = 0 }
  spec.no_decay = { "string|list", nil, of = "string" }
  optim[kind] = function(given)
    local self = opt.check(spec, given)
    self.kind, self.rule, self.spec, self.remake = kind, rule, spec, optim[kind]
    check_rates(self, "lr", self.lr)
    check_rates(self, "weight_decay", self.weight_decay)
    if check then check(self) end
    local lr = type(self.lr) == "number" and ("lr %g"):format(self.lr) or "lr by group"
    local decay = type(self.weight_decay) == "table" and ", weight decay by group"
      or self.weight_decay > 0 and (", weight decay %g"):format(self.weight_decay) or ""
    self.describe = ("%s (%s%s)"):format(kind, lr, decay)
    return setmetatable(self, Optimizer)
  end
end

local function check_betas(self)
  local b = self.betas
  if #b ~= 2 then err.user("%s: 'betas' must be two numbers, got %d", self.kind, #b) end
  for i = 1, 2 do
    if type(b[i]) ~= "number" or b[i] < 0 or b[i] >= 1 then
      err.user("%s: 'betas' must be two numbers from 0 to below 1, got %s", self.kind, opt.show(b[i]))
    end
  end
end

local function adam_rule(decoupled)
  return {
    op = "adam_step", state = { "exp_avg", "exp_avg_sq" },
    scalars = function(self, e, o)
      return { e.lr * o.lr_scale, o.momentum or self.betas[1], self.betas[2], self.eps, e.weight_decay, e.t, o.gscale }
    end,
    attrs = function() return { decoupled, 0 } end,
  }
end

local function adam_spec(kind, decay)
  return { kind, "lr", betas = { "list", { 0.9, 0.999 }, of = "number" }, eps = { "number", 1e-8, min = 0 },
    weight_decay = { "number|table", decay, min = 0 } }
end

--- frt.optim.adam: Adam; weight decay is added to the gradient.
---   frt.optim.adam { lr = 1e-3, betas = { 0.9, 0.999 }, eps = 1e-8, weight_decay = 0 }
--- from Kingma and Ba 2015 (arXiv:1412.6980), bias corrections as PyTorch
make("adam", adam_spec("adam", 0), adam_rule(0), check_betas)

--- frt.optim.adamw: Adam with decoupled weight decay.
---   frt.optim.adamw { lr = { backbone = 1e-5, fc = 1e-3 }, weight_decay = 0.01 }
--- from Loshchilov and Hutter 2019 (arXiv:1711.05101)
make("adamw", adam_spec("adamw", 0.01), adam_rule(1), check_betas)

--- frt.optim.sgd: gradient descent with momentum.
---   frt.optim.sgd { lr = 0.1, momentum = 0.9, weight_decay = 1e-4, nesterov = true }
--- from PyTorch's SGD (dampening 0; the first buffer is the gradient)
make("sgd", { "sgd", "lr", momentum = { "number", 0, min = 0, max = 1 }, dampening = { "number", 0, min = 0, max = 1 },
  weight_decay = { "number|table", 0, min = 0 }, nesterov = { "boolean", false } }, {
  op = "sgd_step", state = { "momentum_buffer" },
  scalars = function(self, e, o)
    return { e.lr * o.lr_scale, o.momentum or self.momentum, self.dampening, e.weight_decay, e.t, o.gscale }
  end,
  attrs = function(self) return { self.nesterov and 1 or 0 } end,
}, function(self)
  if self.nesterov and (self.momentum == 0 or self.dampening ~= 0) then
    err.user "sgd: nesterov needs a momentum and no dampening"
  end
end)

return setmetatable(optim, { __index = function(_, name)
  err.user("no optimizer '%s'%s", tostring(name), err.hint(name, optim))
end })
