--- module: what every layer and model is. Children, parameters and buffers by name in construction order,
--- the call that gives nodes their scope and line, and building (parameters get their shapes on the first call).
local lib = require "foodrt.core.ffi"
local T, rng = require "foodrt.tensor", require "foodrt.core.rng"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local catch = err.catch
local fill, lists = require "foodrt.nn.fill", require "foodrt.core.lists"
local frt_scope, frt_checkpoint = lib.C.frt_scope, lib.C.frt_checkpoint

local M = {}
local Module = {}
M.Module = Module

local classes = setmetatable({}, { __mode = "k" })  -- metatables of modules

--- whether x is a module.
function M.is(x)
  return type(x) == "table" and classes[getmetatable(x) or false] == true
end
local is = M.is

-- --- the tree ------------------------------------------------------------------------------------------
local serial = 0  -- construction order: Lua's pairs has none

local function next_serial()
  serial = serial + 1
  return serial
end

local function private(key)
  return type(key) == "string" and key:byte() == 95  -- "_"
end

--- children as a list of { name, module, key }: by construction serial, positional ones by position.
local function children(self)
  local list, before = {}, 0
  for i = 1, #self do
    local child = rawget(self, i)
    if is(child) then
      before = math.max(before + 1e-6, child._serial)
      list[#list + 1] = { tostring(i - 1), child, i, before }
    end
  end
  for key, child in next, self do
    if type(key) == "string" and not private(key) and is(child) then
      list[#list + 1] = { key, child, key, child._serial }
    end
  end
  table.sort(list, function(a, b)
    if a[4] ~= b[4] then return a[4] < b[4] end
    return a[1] < b[1]
  end)
  return list
end
M.children = children

--- visit(module, path) for the module and everything below, depth first, each module once.
local function walk(self, visit, path, seen)
  seen = seen or {}
  if seen[self] then return end
  seen[self] = true
  path = path or ""
  visit(self, path)
  local prefix = path == "" and "" or path .. "."
  for _, child in ipairs(children(self)) do walk(child[2], visit, prefix .. child[1], seen) end
end
M.walk = walk

local function join(path, name)
  return path == "" and name or path .. "." .. name
end

local function root_of(self)
  while self._parent do self = self._parent end
  return self
end

-- gives the whole tree its paths; the parent of a module is the one that holds it
local function name_tree(root)
  rawset(root, "_path", "")
  walk(root, function(module, path)
    rawset(module, "_path", path)
    for _, child in ipairs(children(module)) do
      if not (child[2]._parent and child[2]._path) then rawset(child[2], "_parent", module) end
    end
  end)
end

--- the module's path from the outermost module that holds it: "backbone.blocks.0.1".
function Module:path()
  if not self._path then name_tree(root_of(self)) end
  return self._path
end

local function adopt(self, key, value)
  if key == "checkpoint" and type(value) ~= "boolean" then
    err.user("%s: 'checkpoint' must be boolean, got %s", self.kind, opt.show(value))
  end
  if is(value) and not private(key) then
    if (Module[key] or key == "kind" or key == "training") and not M.overridable[key] then
      err.user("%s: the name '%s' is taken by every module, choose another", self.kind, key)
    end
    if type(key) == "string" and key:find("%.") then
      err.user("%s: a name can't contain a dot, got '%s'", self.kind, key)
    end
    if not value._parent then
      rawset(value, "_parent", self)
      if value._path then walk(value, function(m) rawset(m, "_path", nil) end) end
    end
  elseif type(value) == "table" and getmetatable(value) == nil and not private(key) then
    for _, v in next, value do
      if is(v) then
        err.user("%s: '%s' is a plain table of layers, write nn.List { … } or nn.Chain { … }", self.kind, key)
      end
    end
  elseif M.is_parameter(value) then
    if not self._declared then rawset(self, "_declared", {}) end
    self._declared[key] = value
    table.insert(self._params, key)
    if self._built then self:param(key, value.shape, value.init) end
    return
  elseif T.is(value) and value.requires_grad and not private(key) then
    table.insert(self._params, key)
  end
  rawset(self, key, value)
end

-- --- calling ---------------------------------------------------------------------------------------------
local current         -- the module whose forward is running
local building        -- { classes, seed, values }: while parameters are being made
local call_user, call_library = line.user, line.call

local in_stage = false

local function leave_stage(...)
  in_stage = false
  frt_checkpoint(0)
  return ...
end

local function leave_alone(ok, ...)
  leave_stage()
  if not ok then error((...), 0) end
  return ...
end

--- runs fn(…) as a stage: of the values it makes, the backward pass computes again what it needs instead of keeping it.
--- A stage inside a stage is part of the outer one.
function M.stage(fn, ...)
  if in_stage then return fn(...) end
  in_stage = true
  frt_checkpoint(1)
  if not current then return leave_alone(catch(fn, ...)) end
  return leave_stage(fn(...))
end

local function leave(before, ...)
  current = before
  frt_scope(before and before._path or "")
  return ...
end

local function enter(self, before, ...)
  current = self
  frt_scope(self._path)
  local call, again = self._user and call_user or call_library, rawget(self, "checkpoint")
  if not again or self._stages then return leave(before, call(self.forward, self, ...)) end
  if again ~= true then err.user("%s: 'checkpoint' must be boolean, got %s", tostring(self), opt.show(again)) end
  return leave(before, M.stage(call, self.forward, self, ...))
end

-- a module that holds parameters must be found from the outermost one, or they would never be saved or trained
local function check_placed(self, caller)
  walk(self, function(m)
    if #m._params > 0 then
      err.user("%s made at %s is called inside %s but is not part of it: put it into the module's table",
        tostring(m), (m._at:gsub(": $", "")), tostring(caller))
    end
  end)
end

local function prepare(self, before, caller, ...)
  if not self._path then
    if not self._parent and caller then name_tree(root_of(caller)) end
    if not self._path then
      if caller and not self._parent then check_placed(self, caller) end
      name_tree(root_of(self))
    end
  end
  if not self._built then
    if building then
      M.declare(self)
      rawset(self, "_built", true)
    else
      self:build({}, ...)
    end
  end
  return enter(self, before, ...)
end

local function dispatch(self, caller, ...)
  local before = self._parent and caller or nil
  if self._built and self._path then return enter(self, before, ...) end
  return prepare(self, before, caller, ...)
end

-- an error must not leave its module behind as the running one
local function finish(depth, ok, ...)
  if ok then return ... end
  line.reset()
  current, line.depth = nil, depth
  frt_scope ""
  leave_stage()
  error((...), 0)
end

local function invoke(self, ...)
  local caller = current
  if caller then return dispatch(self, caller, ...) end
  return finish(line.depth, catch(dispatch, self, nil, ...))
end

-- --- making modules ---------------------------------------------------------------------------------------
local function new(self, metatable, user)
  rawset(self, "_serial", next_serial())
  rawset(self, "_at", err.where())
  rawset(self, "_params", rawget(self, "_params") or {})
  rawset(self, "_user", user)
  rawset(self, "training", true)
  return setmetatable(self, metatable)
end

local function metatable_for(class)
  local mt = { __call = invoke, __newindex = adopt, __index = class }
  function mt.__tostring(self) return self:describe() end
  classes[mt] = true
  return mt
end

--- a class of layers: `spec` is the schema of its options, which become fields of the layer; `setup(self)` runs
--- once they are there. Returns the class (give it forward) and its constructor.
function M.class(spec, setup)
  local class = setmetatable({ kind = spec[1], spec = spec }, { __index = Module })
  local mt = metatable_for(class)
  local function construct(given)
    local self = new(opt.check(spec, given), mt, false)
    if setup then setup(self) end
    return self
  end
  return class, construct
end

local Free = setmetatable({ kind = "Module" }, { __index = Module })
local free_mt = metatable_for(Free)

-- a table of children made into a module; checked as if each key had been assigned
local function from_table(kind, t, forward)
  if type(t) ~= "table" or getmetatable(t) then err.user("%s: expected a table of layers", kind) end
  local keys = {}
  for key in next, t do keys[#keys + 1] = key end
  local self = new({ kind = kind, _params = {} }, free_mt, forward == nil and line.is_user(t.forward))
  table.sort(keys, function(a, b)
    local x, y = t[a], t[b]
    local m, n = M.is_parameter(x) and x.serial or 0, M.is_parameter(y) and y.serial or 0
    if m ~= n then return m < n end
    return type(a) == type(b) and a < b or type(a) == "number" and type(b) ~= "number"
  end)
  for _, key in ipairs(keys) do
    if type(key) ~= "string" and type(key) ~= "number" then err.user("%s: a name must be a string", kind) end
    if private(key) then err.user("%s: a name can't start with an underscore, got '%s'", kind, key) end
    adopt(self, key, t[key])
  end
  if forward then rawset(self, "forward", forward) end
  if rawget(self, "checkpoint") == nil then rawset(self, "checkpoint", false) end
  return self
end

--- nn.Module: a module written as a table. Its keys name its children; forward is its function.
---   nn.Module { fc = nn.Linear { 10 }, forward = function(self, x) return self.fc(x:flatten(2)) end }
--- in   t    children, nn.Parameter{…}, and forward(self, …); checkpoint = true: values made inside are not kept for the
---           backward pass but computed again there: less memory, more time, the same numbers in every bit
--- out  m    the module; children in construction order, positional ones named from 0
function M.new_module(t)
  if type(t) == "table" and type(t.forward) ~= "function" then
    err.user "nn.Module: needs forward = function(self, x) … end"
  end
  return (from_table("Module", t))
end

local CHECKPOINT = { checkpoint = true }

local function is_step(v)
  return is(v) or type(v) == "function"
end

local function chain(self, x)
  for i = 1, #self do x = self[i](x) end
  return x
end

--- nn.Chain: layers one after the other, named 0, 1, 2 …
---   nn.Chain { nn.Linear { 64 }, nn.ReLU {}, nn.Linear { "classes" } }
--- in   t    a list of modules (or functions of one tensor); checkpoint as nn.Module has it
--- out  m    the module: m(x) passes x through all of them
function M.new_chain(t)
  if type(t) == "table" and not getmetatable(t) then lists.of("nn.Chain", nil, t, "layers", is_step, CHECKPOINT) end
  return (from_table("Chain", t, chain))
end

local function not_callable(self)
  err.user("nn.List: %s has no forward, call its members", self:path())
end

--- nn.List: modules that a forward function walks itself, named 0, 1, 2 …
---   heads = nn.List { nn.Linear { 101 }, nn.Linear { 5 } }       -- self.heads[1](x)
--- in   t    a list of modules
--- out  m    holds them; calling it is an error
function M.new_list(t)
  if type(t) == "table" and rawget(t, "checkpoint") ~= nil then
    err.user "nn.List: 'checkpoint' belongs to its members: a list has no forward"
  end
  if type(t) == "table" and not getmetatable(t) then lists.of("nn.List", nil, t, "modules", is) end
  return (from_table("List", t, not_callable))
end

local parameter_mt = {}

--- whether x is what nn.Parameter returned.
function M.is_parameter(x)
  return type(x) == "table" and getmetatable(x) == parameter_mt
end

--- nn.Parameter: a parameter of a module's own.
---   nn.Module { scale = nn.Parameter { 1, 64, 1, 1, init = 1 }, forward = function(self, x) return x * self.scale end }
--- in   sizes  its shape; init: a number, or { "normal", 0, 0.02 }
--- out         stands for the parameter until the module is built
local INIT = { init = true }

function M.new_parameter(t)
  local shape = {}
  for i = 1, lists.length("nn.Parameter", nil, t, INIT) do
    local n = t[i]
    if type(n) ~= "number" or n % 1 ~= 0 or n < 1 then
      err.user("nn.Parameter: size %d must be a positive integer, got %s", i, opt.show(n))
    end
    shape[i] = n
  end
  return setmetatable({ shape = shape, init = t.init or 0, serial = next_serial() }, parameter_mt)
end

-- --- parameters and buffers ------------------------------------------------------------------------------------
--- makes what nn.Parameter declared.
function M.declare(self)
  for key, p in next, self._declared or {} do
    if not rawget(self, key) then self:param(key, p.shape, p.init) end
  end
end

--- the parameter `key`, made on first use with this shape and these initial values (see nn/fill.lua).
function Module:param(key, shape, init)
  local name = join(self:path(), key)
  local t = T.var { shape = shape, dtype = "f32", name = name, kind = "state" }
  if not building or building.values ~= false then
    fill.values(t, name, init, building and building.seed or rng.seed)
  end
  t:requires_grad_(not (self._frozen_params and self._frozen_params[key]))
  rawset(self, key, t)
  return t
end

--- the buffer `key`: state that is saved but not trained.
function Module:buffer(key, shape, value)
  local t = T.var { shape = shape, dtype = "f32", name = join(self:path(), key), kind = "state" }
  fill.constant(t, value)
  rawset(self, key, t)
  return t
end

--- refuses a size that is neither a number from 1 nor "classes".
function M.check_sized(self, key)
  local v = self[key]
  if v ~= "classes" and not (type(v) == "string" and v:match "^classes%..") and (type(v) ~= "number" or v < 1) then
    err.user("%s: '%s' must be a number from 1, or \"classes\" for as many as the data has "
      .. "(\"classes.COLUMN\": in that label column), got %s",
      self.kind, key, opt.show(v))
  end
end

--- the number of outputs when it was given by name: nn.Linear { "classes" } takes as many as the data has.
function M.sized(self, what)
  if type(what) == "number" then return what end
  local sizes, column = root_of(self)._sizes or {}, what:match "^classes%.(.*)"
  local n = building and building[what] or sizes[what]
  local columns = building and building.columns or sizes.columns
  if column and columns then
    n = columns[column]
    if not n then
      err.at(self._at:gsub(": $", ""), "nn.%s: '%s': no label column '%s'%s", self.kind, what, column, err.hint(column, columns))
    end
  end
  if type(n) ~= "number" then
    local at = self._at:gsub(": $", "")
    err.at(at, "nn.%s: how many '%s' there are is known once there is data: give a number, or build with %s = n",
      self.kind, what, what)
  end
  return n
end

--- makes every parameter by running the model once on a value that is never computed. `o`: input = its shape,
--- classes = n, seed (of the initial values; default frt.manual_seed's), values = false leaves zeros. Weights
--- named in constructors (pretrained) are read here, unless weights = false: then a checkpoint's values follow. sample = true:
--- the photos are the sample set, on which "auto" means random weights. A second build does nothing.
---   model:build { input = { 1, 3, 224, 224 }, classes = 12, seed = 17 }
function Module:build(o, ...)
  local given = opt.check(M.build_spec, o)
  if self._built and not given.input then return self end
  local args = { ... }
  if given.input then
    args = { T.api.zeros(given.input) }
  elseif #args == 0 then
    local size = self.default_input
    if not size then
      err.user("%s: parameters get their shapes on the first call: m:build { input = { n, 3, h, w } } makes them without data",
        tostring(self))
    end
    args = { T.api.zeros(size) }
  end
  local modes, root = {}, root_of(self)
  walk(self, function(m) modes[m] = m.training end)
  for m in next, modes do rawset(m, "training", false) end
  if given.classes then rawset(root, "_sizes", { classes = given.classes, columns = given.columns }) end
  local outer, before = building, current
  building = { classes = given.classes, columns = given.columns, seed = given.seed or rng.seed, values = given.values }
  local ok, why = catch(invoke, self, unpack(args))
  building, current = outer, before
  frt_scope(before and before._path or "")
  for m, mode in next, modes do rawset(m, "training", mode) end
  if not ok then
    line.reset()
    walk(self, function(m) rawset(m, "_built", nil) end)
    error(why, 0)
  end
  walk(self, function(m)
    local load = rawget(m, "_load")
    if load and given.values ~= false and given.weights then
      rawset(m, "_load", nil)
      load(m, given)
    end
  end)
  return self
end
M.build_spec = { "build", input = { "list", nil, "shape of the input", of = "integer" }, classes = { "integer", nil, min = 1 },
  columns = { "table", nil, "how many classes each label column has, by its name" }, seed = { "number", nil },
  values = { "boolean", true }, weights = { "boolean", true }, sample = { "boolean", false } }

-- a table and all below it, tensors and metatables shared
local function copied(v, done)
  if type(v) ~= "table" or T.is(v) or M.is_parameter(v) then return v end
  if done[v] then return done[v] end
  local copy = {}
  done[v] = copy
  for key, x in next, v do
    if key == "_parent" then
      copy[key] = done[x]
    elseif key ~= "_path" then
      copy[key] = copied(x, done)
    end
  end
  return setmetatable(copy, getmetatable(v))
end

--- the same layers with the same options once more; they will get parameters of their own.
---   block.attention = attention:clone()
function Module:clone()
  walk(self, function(m)
    if m._built then
      err.user("%s: a copy is made before the first call; this one has its parameters already", tostring(self))
    end
  end)
  local copy, list = copied(self, {}), {}
  walk(copy, function(m) list[#list + 1] = m end)
  table.sort(list, function(a, b) return a._serial < b._serial end)
  for _, m in ipairs(list) do rawset(m, "_serial", next_serial()) end
  return copy
end

--- methods that a model may replace.
M.overridable = { forward = true, features = true, classify = true }

--- "nn.Linear 'backbone.fc'", as messages name a module.
function Module:describe()
  local path = self._path
  local kind = type(rawget(self, "name")) == "string" and self.name or "nn." .. self.kind
  return kind .. (path and path ~= "" and " '" .. path .. "'" or "")
end

return M
