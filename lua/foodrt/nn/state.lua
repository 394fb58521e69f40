--- state: what a module holds, by name: parameters, buffers, saving and loading, freezing, counting, summary.
--- Adds methods to every module.
local T = require "foodrt.tensor"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local module, glob = require "foodrt.nn.module", require "foodrt.nn.glob"
local Module, walk = module.Module, module.walk

local function join(path, name)
  return path == "" and name or path .. "." .. name
end

local function show(shape)
  return "[" .. table.concat(shape, ", ") .. "]"
end

-- --- walking -----------------------------------------------------------------------------------------------
local function complete(self)
  local whole = true
  walk(self, function(m)
    for _, key in ipairs(m._params) do whole = whole and rawget(m, key) ~= nil end
  end)
  return whole
end

-- makes parameters that are not there yet, where the input's shape is known
local function materialise(self)
  if not self._built and not complete(self) then self:build {} end
end

-- { name, tensor, module, key } of what `field` lists in every module
local function entries(self, fields)
  materialise(self)
  local list, seen = {}, {}
  walk(self, function(m, path)
    for _, field in ipairs(fields) do
      for _, key in ipairs(rawget(m, field) or {}) do
        local t = rawget(m, key)
        if t and not seen[t] then
          seen[t] = true
          list[#list + 1] = { join(path, key), t, m, key }
        end
      end
    end
  end)
  return list
end

local function iterate(list)
  local i = 0
  return function()
    i = i + 1
    local e = list[i]
    if e then return e[1], e[2] end
  end
end

--- iterates over name, tensor of every parameter in construction order.
function Module:named_parameters()
  return iterate(entries(self, { "_params" }))
end

--- the parameters as a list, in construction order.
function Module:parameters()
  local out = {}
  for i, e in ipairs(entries(self, { "_params" })) do out[i] = e[2] end
  return out
end

--- iterates over name, tensor of every buffer (batch-norm statistics).
function Module:named_buffers()
  return iterate(entries(self, { "_buffers" }))
end

--- iterates over name, tensor of what a training step moves: parameters that are not frozen, and buffers of floats
--- but for those of batch norms that stand still.
function Module:named_moving()
  local list = {}
  for _, e in ipairs(entries(self, { "_params" })) do
    if e[2].requires_grad then list[#list + 1] = e end
  end
  for _, e in ipairs(entries(self, { "_buffers" })) do
    local dtype = e[2].dtype
    if not rawget(e[3], "_still") and (dtype == "f32" or dtype == "f64") then list[#list + 1] = e end
  end
  return iterate(list)
end

--- iterates over name, module, depth first; the module itself comes first, with the name "".
function Module:modules()
  local list = {}
  walk(self, function(m, path) list[#list + 1] = { path, m } end)
  return iterate(list)
end

--- calls fn(module) for every module below, then for the module itself.
function Module:apply(fn)
  for _, child in ipairs(module.children(self)) do child[2]:apply(fn) end
  fn(self)
  return self
end

local function set_mode(self, training)
  walk(self, function(m) rawset(m, "training", training) end)
  return self
end

--- training mode: dropout drops, batch norm uses and moves its statistics.
function Module:train(on)
  return set_mode(self, on ~= false)
end

--- evaluation mode.
function Module:eval()
  return set_mode(self, false)
end

--- number of parameters, of all or of those a glob covers.
---   model:count()  model:count "backbone.blocks.*"
function Module:count(globs)
  local list, n = entries(self, { "_params" }), 0
  local covered
  if globs then
    local names = {}
    for i, e in ipairs(list) do names[i] = e[1] end
    covered = glob.covered("count", glob.list("count", globs), names)
  end
  for _, e in ipairs(list) do
    if not covered or covered[e[1]] then n = n + e[2]:numel() end
  end
  return n
end

--- number of parameters that are trained.
function Module:count_trainable()
  local n = 0
  for _, e in ipairs(entries(self, { "_params" })) do
    if e[2].requires_grad then n = n + e[2]:numel() end
  end
  return n
end

-- --- freezing --------------------------------------------------------------------------------------------------
-- names that freezing globs can cover: modules, then parameters; known before anything is built
local function freezable(self)
  local names, owner = {}, {}
  walk(self, function(m, path)
    if path ~= "" then
      names[#names + 1] = path
      owner[path] = { m }
    end
    for _, key in ipairs(m._params) do
      local name = join(path, key)
      names[#names + 1] = name
      owner[name] = { m, key }
    end
  end)
  return names, owner
end

-- a batch norm stands still when all its parameters, or it as a module, are frozen
local function settle(m)
  local all = #m._params > 0
  for _, key in ipairs(m._params) do all = all and m._frozen_params ~= nil and m._frozen_params[key] ~= nil end
  rawset(m, "_still", ((m._frozen or all) and m._frozen_bn ~= "train") or nil)
  rawset(m, "_dry", m._frozen and m._frozen_drop == "eval" or nil)
end

local function set_frozen(self, who, globs, bn, drop)
  local names, owner = freezable(self)
  local covered = glob.covered(who, glob.list(who, globs), names)
  for _, name in ipairs(names) do
    if covered[name] then
      local m, key = owner[name][1], owner[name][2]
      if not key then
        rawset(m, "_frozen", bn and true or nil)
      else
        if not m._frozen_params then rawset(m, "_frozen_params", {}) end
        m._frozen_params[key] = bn and true or nil
        local t = rawget(m, key)
        if t then t:requires_grad_(not bn) end
      end
      rawset(m, "_frozen_bn", bn)
      rawset(m, "_frozen_drop", drop)
      settle(m)
    end
  end
  return self
end

--- stops training of what the globs cover. Batch norms among it run in evaluation mode, unless bn = "train";
--- dropout and drop path go on, unless drop = "eval".
---   model:freeze "backbone"   model:freeze({ "backbone.conv_stem", "backbone.blocks.[0-3]" }, { bn = "train" })
--- in   globs  one or a list, over whole dotted components; one that matches nothing is an error
function Module:freeze(globs, o)
  local given = opt.check({ "freeze", bn = { "string", "eval", one_of = { "eval", "train" } },
    drop = { "string", "train", one_of = { "eval", "train" } } }, o)
  return set_frozen(self, "freeze", globs, given.bn, given.drop)
end

--- trains again what the globs cover; without globs, everything.
function Module:unfreeze(globs)
  if globs == nil then
    walk(self, function(m)
      rawset(m, "_frozen", nil)
      rawset(m, "_frozen_bn", nil)
      rawset(m, "_frozen_params", nil)
      rawset(m, "_still", nil)
      rawset(m, "_frozen_drop", nil)
      rawset(m, "_dry", nil)
      for _, key in ipairs(m._params) do
        local t = rawget(m, key)
        if t then t:requires_grad_(true) end
      end
    end)
    return self
  end
  return set_frozen(self, "unfreeze", globs, nil)
end

-- --- saving and loading ----------------------------------------------------------------------------------------
local function counter()
  local t = T.var { shape = {}, dtype = "i64", kind = "state", name = "num_batches_tracked" }
  return t
end

-- parameters and buffers of each module together, as PyTorch lists them
local function state_entries(self)
  materialise(self)
  local list, zero = {}, nil
  walk(self, function(m, path)
    for _, field in ipairs { "_params", "_buffers" } do
      for _, key in ipairs(rawget(m, field) or {}) do
        local t = rawget(m, key)
        if t then list[#list + 1] = { join(path, key), t } end
      end
    end
    if m.kind == "BatchNorm2d" and m._buffers then
      zero = zero or counter()
      list[#list + 1] = { join(path, "num_batches_tracked"), zero }
    end
  end)
  return list
end

--- parameters and buffers by name, with the keys of timm and PyTorch; second, the names in order.
--- num_batches_tracked is written because PyTorch's strict loading wants it; it is always 0.
function Module:state_dict()
  local dict, order = {}, {}
  for i, e in ipairs(state_entries(self)) do
    dict[e[1]], order[i] = e[2], e[1]
  end
  return dict, order
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

local function copy(dst, src)
  if src.dtype ~= "f32" then src = src:to "f32" end
  T.copy(dst, src)
end

local function listed(what, names)
  if #names == 0 then return nil end
  local shown = {}
  for i = 1, math.min(#names, 4) do shown[i] = names[i] end
  local more = #names > 4 and (", … (%d more)"):format(#names - 4) or ""
  return ("%d %s: %s%s"):format(#names, what, table.concat(shown, ", "), more)
end

--- copies the values of `dict` (name -> tensor) into the module.
--- in   dict    as frt.load returns it
---      strict  true (default): missing or unexpected names are an error; shapes that differ always are
--- out          { missing = {…}, unexpected = {…} }
function Module:load_state_dict(dict, o)
  local given = opt.check({ "load_state_dict", strict = { "boolean", true }, from = { "string", "" } }, o)
  local known, plan, missing, mismatched, unexpected = {}, {}, {}, {}, {}
  for _, e in ipairs(state_entries(self)) do
    local name, t = e[1], e[2]
    known[name] = true
    local src = dict[name]
    local counts = name:find "num_batches_tracked$" ~= nil
    if not src then
      if not counts then missing[#missing + 1] = name end
    elseif not counts then
      local want, got = t.shape, src.shape
      if same(want, got) then
        plan[#plan + 1] = { t, src }
      else
        mismatched[#mismatched + 1] = ("%s is %s, expected %s"):format(name, show(got), show(want))
      end
    end
  end
  for name in next, dict do
    if not known[name] and not tostring(name):find "num_batches_tracked$" then unexpected[#unexpected + 1] = name end
  end
  table.sort(unexpected)
  local parts = { listed("with another shape", mismatched) }
  if given.strict then
    parts[#parts + 1] = listed("missing", missing)
    parts[#parts + 1] = listed("unexpected", unexpected)
  end
  if #parts > 0 then
    local from = given.from ~= "" and given.from .. " does not fit the model: " or "load_state_dict: "
    err.user("%s%s", from, table.concat(parts, "; "))
  end
  for _, p in ipairs(plan) do copy(p[1], p[2]) end
  return { missing = missing, unexpected = unexpected }
end

--- reads a safetensors file into the module: load_state_dict of its tensors.
function Module:load(path, o)
  local given = opt.check({ "load", strict = { "boolean", true } }, o)
  local dict = require "foodrt.core.io".load(path)
  return self:load_state_dict(dict, { strict = given.strict, from = path })
end

--- writes parameters and buffers as safetensors, with timm's keys; o.dtype: what floats become (f32, bf16, f16).
---   model:save("b4.safetensors", { note = "for timm" }, { dtype = "bf16" })
function Module:save(path, metadata, o)
  local dict = self:state_dict()
  require "foodrt.core.io".save(path, dict, metadata, o)
  return self
end

-- --- summary ---------------------------------------------------------------------------------------------------
--- a table of the modules down to `depth` (default 2) with their parameters, as text.
---   print(model:summary())
function Module:summary(depth)
  depth = depth or 2
  local rows = { ("%-40s %-16s %12s %12s"):format("module", "kind", "parameters", "trained") }
  materialise(self)
  walk(self, function(m, path)
    local _, dots = path:gsub("%.", "")
    if path ~= "" and dots >= depth then return end
    local n, trained = m:count(), m:count_trainable()
    if n > 0 or path == "" then
      rows[#rows + 1] = ("%-40s %-16s %12d %12d"):format(path == "" and "(all)" or path, m.kind, n, trained)
    end
  end)
  return table.concat(rows, "\n")
end

return Module
