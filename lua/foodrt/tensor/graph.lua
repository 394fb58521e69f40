--- graph: a recorded graph as a value: to walk, to keep as text, to record again with other inputs.
---
---   local x = frt.zeros { 2, 3, 224, 224 }
---   local g = frt.graph({ logits = model(x) }, { x = x })   -- outputs and inputs by name
---   for node in g:nodes() do print(node.op, node.scope, node.attrs.stride) end
---   local logits = g:record({ x = batch.x }).logits          -- the same nodes once more
---
---   local g = frt.graph.trace(function(i) return { logits = model(i.x) } end, { x = { "N", 3, 224, 224 } })
---   local text = g:text()                                    -- any batch: N is a symbol
---   local h = frt.graph.parse(text, "model.txt"):bind(model:state_dict())
---
--- A graph holds no code: reading a text of somebody else's runs nothing and is checked line by line. Its form is described in
--- runtime/ir/README.md.
local lib = require "foodrt.core.ffi"
local err, opt, line = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.line"
local R, rng = require "foodrt.tensor.record", require "foodrt.core.rng"
local create = require "foodrt.tensor.create"
local ffi, C, api, mt = lib.ffi, lib.C, R.api, R.mt

local graph = {}
local Graph = {}
Graph.__index = Graph

local KIND = { [0] = "made", "input", "variable", "scalar", "constant" }
local value_info, node_info = ffi.new "frt_ir_value_info", ffi.new "frt_ir_node_info"
local attr_info, index, name_out = ffi.new "frt_ir_attr", ffi.new "int32_t[1]", ffi.new "const char *[1]"

local function own(made)
  return setmetatable({ c = ffi.gc(made[0], C.frt_ir_free), bound = {}, runs = {} }, Graph)
end

-- names of a table in order, and its tensors' handles under them, as C arrays
local function arrays(what, list)
  local names = {}
  for name, t in pairs(list) do
    if type(name) ~= "string" then err.user("graph: %s need names: { x = tensor }, got the key %s", what, opt.show(name)) end
    if getmetatable(t) ~= mt then err.user("graph: '%s' must be a tensor, got %s", name, opt.show(t)) end
    names[#names + 1] = name
  end
  table.sort(names)
  local n = #names
  local refs, texts = ffi.new("frt_ref[?]", math.max(n, 1)), ffi.new("const char *[?]", math.max(n, 1))
  for i, name in ipairs(names) do refs[i - 1], texts[i - 1] = list[name].ref, name end
  return n, refs, texts, names
end

-- --- making -----------------------------------------------------------------------------------------------
--- whether v is a graph.
function graph.is(v)
  return getmetatable(v) == Graph
end

--- frt.graph(outputs, inputs): the graph of recorded tensors.
--- in   outputs  { name = tensor }, or one tensor, which is called "output"
---      inputs   { name = tensor }: variables or recorded values; what they are made from is left out
--- out  the graph; parameters are its variables, under their names
function graph.of(outputs, inputs)
  if getmetatable(outputs) == mt then outputs = { output = outputs } end
  if type(outputs) ~= "table" then err.user("graph: 'outputs' must be { name = tensor }, got %s", opt.show(outputs)) end
  local n_out, outs, out_names = arrays("outputs", outputs)
  local n_in, ins, in_names = arrays("inputs", inputs or {})
  local made = ffi.new "frt_ir *[1]"
  lib.check_late(tonumber(C.frt_ir_of(n_out, outs, out_names, n_in, ins, in_names, made)))
  return own(made)
end

local SIZES = { 2, 3 }  -- two batches that no usual dimension is a multiple of in both

local function shape_at(name, given, n)
  local out = {}
  for d, v in ipairs(given) do
    out[d] = v == "N" and n or v
    if type(out[d]) ~= "number" then err.user("graph: a dimension of '%s' must be a number or \"N\", got %s", name, opt.show(v)) end
  end
  return out
end

local function traced(fn, inputs, n)
  local given = {}
  for name, spec in pairs(inputs) do
    if type(name) ~= "string" or type(spec) ~= "table" then err.user "graph: inputs are { x = { \"N\", 3, 224, 224 } }" end
    given[name] = create.var { shape = shape_at(name, spec, n), dtype = spec.dtype or "f32", kind = "input", name = name }
  end
  rng.begin(rng.step, rng.sample)
  local outputs = fn(given)
  if C.frt_pending() > 0 then
    C.frt_forget_pending()
    err.user "graph: it assigns to a variable, which a graph does not hold"
  end
  local g = graph.of(outputs, given)
  return g
end

local function unwound(ok, ...)
  R.recording = nil
  rng.begin(rng.step, rng.sample)
  if ok then return ... end
  C.frt_forget_pending()
  line.reset()
  error((...), 0)
end

--- frt.graph.trace(fn, inputs): what fn computes, for any batch. fn is run twice, on batches of 2 and of 3 zeros; numbers
--- that differ between the two must be multiples of the batch.
--- in   fn      fn({ name = tensor }) -> { name = tensor }; it may not look at values
---      inputs  { name = shape }, in which "N" is the batch: { x = { "N", 3, 224, 224 }, y = { "N", dtype = "i32" } }
function graph.trace(fn, inputs)
  if C.frt_pending() > 0 then api.realize() end
  return unwound(err.catch(function()
    R.recording = "a graph is recorded"
    local a, b = traced(fn, inputs, SIZES[1]), traced(fn, inputs, SIZES[2])
    local made = ffi.new "frt_ir *[1]"
    lib.check(tonumber(C.frt_ir_merge(a.c, SIZES[1], b.c, SIZES[2], made)))
    return own(made)
  end))
end

--- frt.graph.parse(text, where): the graph that g:text() wrote. A text that is none is an error with its line; `where` names
--- it there. Its variables have no values until g:bind.
function graph.parse(text, where)
  if type(text) ~= "string" then err.user("graph: 'text' must be a string, got %s", opt.show(text)) end
  local made = ffi.new "frt_ir *[1]"
  lib.check(tonumber(C.frt_ir_parse(text, #text, where or "graph", made)))
  return own(made)
end

-- --- walking ----------------------------------------------------------------------------------------------
-- 3, "N" or "3N"
local function symbol(v, times)
  v = tonumber(v)
  if not times then return v end
  return v == 1 and "N" or ("%gN"):format(v)
end

local function value_at(self, i)
  lib.check(tonumber(C.frt_ir_value(self.c, i, value_info)))
  local v = value_info
  local out = { index = i, kind = KIND[v.kind], name = v.name[0] ~= 0 and ffi.string(v.name) or nil, shape = {},
    dtype = R.DTYPE_NAME[v.shape.dtype], number = v.kind == C.FRT_IR_SCALAR and v.number or nil,
    node = v.node >= 0 and v.node + 1 or nil }
  for d = 0, v.shape.ndim - 1 do
    out.shape[d + 1] = symbol(v.shape.dim[d], math.floor(v.batch / 2 ^ d) % 2 == 1)
  end
  return out
end

--- the value of a number as nodes give it: { index, kind ("made", "input", "variable", "scalar", "constant"), name, shape
--- ({ "N", 3, 224, 224 }), dtype, number (of a scalar), node (which makes it, from 1) }.
function Graph:value(i)
  local v = value_at(self, i)
  return v
end

local function values_of(self, kind)
  local out = {}
  for i = 0, C.frt_ir_n_values(self.c) - 1 do
    local v = value_at(self, i)
    if not kind or v.kind == kind then out[#out + 1] = v end
  end
  return out
end

--- lists of values as g:value gives them: all, or those of a kind.
function Graph:values(kind)
  local list = values_of(self, kind)
  return list
end

--- the outputs: { { name, value (its number) }, … }.
function Graph:outputs()
  local out = {}
  for i = 0, C.frt_ir_n_outputs(self.c) - 1 do
    lib.check(tonumber(C.frt_ir_output_at(self.c, i, index, name_out)))
    out[i + 1] = { name = ffi.string(name_out[0]), value = index[0] }
  end
  return out
end

local function attrs_of(self, node, n)
  local out = {}
  for i = 0, n - 1 do
    lib.check(tonumber(C.frt_ir_attr_at(self.c, node, i, attr_info)))
    local a, list = attr_info, {}
    for k = 0, a.n - 1 do list[k + 1] = symbol(a.number[k], a.form[k] ~= 0) end
    out[ffi.string(a.name)] = a.n == 1 and list[1] or list
  end
  return out
end

--- iterates over the nodes, inputs before users: { op, scope, line ("recipe.lua:17"), inputs and outputs (numbers of values;
--- false: absent), attrs = { stride = { 2, 2 }, groups = 1, … } }.
function Graph:nodes()
  local at, n = -1, C.frt_ir_n_nodes(self.c)
  return function()
    at = at + 1
    if at >= n then return nil end
    lib.check(tonumber(C.frt_ir_node(self.c, at, node_info)))
    local i = node_info
    local out = { op = ffi.string(i.op), scope = ffi.string(i.scope), inputs = {}, outputs = {},
      line = i.source[0] ~= 0 and ("%s:%d"):format(ffi.string(i.source), i.line) or "" }
    for k = 0, i.n_in - 1 do out.inputs[k + 1] = i["in"][k] >= 0 and i["in"][k] end
    for k = 0, i.n_out - 1 do out.outputs[k + 1] = i.out[k] end
    out.attrs = attrs_of(self, at, i.n_attr)
    return out
  end
end

--- how many nodes there are.
function Graph:count()
  return C.frt_ir_n_nodes(self.c)
end

--- makes a value (its number) an output of this name: what an observer or a feature map is read from.
function Graph:output(i, name)
  if type(name) ~= "string" then err.user("graph: an output's name must be a string, got %s", opt.show(name)) end
  lib.check(tonumber(C.frt_ir_output(self.c, R.integer("graph", "value", i), name)))
  return self
end

-- --- variables --------------------------------------------------------------------------------------------
--- gives variables and constants their values. Names that the graph has not are passed over.
--- in   tensors  { name = variable }
function Graph:bind(tensors)
  for name, t in pairs(tensors) do
    local i = C.frt_ir_find(self.c, name)
    if i >= 0 then
      lib.check(tonumber(C.frt_ir_value(self.c, i, value_info)))
      if value_info.kind == C.FRT_IR_VARIABLE or value_info.kind == C.FRT_IR_CONSTANT then
        lib.check(tonumber(C.frt_ir_set(self.c, i, t.ref)))
        self.bound[name] = t
      end
    end
  end
  return self
end

--- gives variables and constants other names, those under which somebody keeps their values.
--- in   fn  fn(name, ref, kind) -> another name, or nil to leave it; ref: the variable's handle, 0 of constants
function Graph:rename(fn)
  for i = 0, C.frt_ir_n_values(self.c) - 1 do
    lib.check(tonumber(C.frt_ir_value(self.c, i, value_info)))
    local v = value_info
    if v.kind == C.FRT_IR_VARIABLE or v.kind == C.FRT_IR_CONSTANT then
      local was = ffi.string(v.name)
      local name = fn(was, v.ref, KIND[v.kind])
      if name and name ~= was then lib.check(tonumber(C.frt_ir_rename(self.c, i, name))) end
    end
  end
  return self
end

--- bytes of the largest value at a batch of one.
function Graph:largest()
  local most = 0
  for i = 0, C.frt_ir_n_values(self.c) - 1 do
    lib.check(tonumber(C.frt_ir_value(self.c, i, value_info)))
    local s, n = value_info.shape, 1
    for d = 0, s.ndim - 1 do n = n * tonumber(s.dim[d]) end
    most = math.max(most, n * R.SIZE[R.DTYPE_NAME[s.dtype]])
  end
  return most
end

--- names of the variables and constants that have no value yet, sorted.
function Graph:missing()
  local out = {}
  for i = 0, C.frt_ir_n_values(self.c) - 1 do
    lib.check(tonumber(C.frt_ir_value(self.c, i, value_info)))
    local v = value_info
    local kept = v.kind == C.FRT_IR_VARIABLE or v.kind == C.FRT_IR_CONSTANT
    if kept and v.ref == 0 and v.data == nil then out[#out + 1] = ffi.string(v.name) end
  end
  table.sort(out)
  return out
end

--- constants as tensors by name: `large` only those that the text leaves out.
function Graph:constants(large)
  local out = {}
  for _, v in ipairs(values_of(self, "constant")) do
    lib.check(tonumber(C.frt_ir_value(self.c, v.index, value_info)))
    local n = 1
    for _, d in ipairs(v.shape) do n = n * d end
    local inside = n <= graph.INLINE and (v.dtype == "f32" or v.dtype == "f64" or v.dtype == "i32" or v.dtype == "u8")
    if value_info.data ~= nil and not (large and inside) then
      local t = create.var { shape = v.shape, dtype = v.dtype, name = v.name }
      t:write(value_info.data, tonumber(value_info.bytes))
      out[v.name] = t
    end
  end
  return out
end
graph.INLINE = 256  -- numbers of a constant that its text holds (ir_text.c)

-- --- recording --------------------------------------------------------------------------------------------
local function find(self, name)
  local i = C.frt_ir_find(self.c, name)
  if i >= 0 then return i end
  local known = {}
  for _, v in ipairs(values_of(self)) do
    if v.name then known[v.name] = true end
  end
  for _, o in ipairs(self:outputs()) do known[o.name] = true end
  err.user("graph: no value '%s'%s", tostring(name), err.hint(name, known))
end

local function wanted_of(self, names)
  if names == nil then
    names = {}
    for i, o in ipairs(self:outputs()) do names[i] = o.name end
  end
  local list = ffi.new("int32_t[?]", math.max(#names, 1))
  for i, name in ipairs(names) do list[i - 1] = find(self, name) end
  return list, names
end

local function record(self, inputs, names)
  local wanted
  wanted, names = wanted_of(self, names)
  local n, refs, _, given = arrays("inputs", inputs)
  local values, outs = ffi.new("int32_t[?]", math.max(n, 1)), ffi.new("frt_ref[?]", math.max(#names, 1))
  for i, name in ipairs(given) do values[i - 1] = find(self, name) end
  if line.depth == 0 then line.capture() end
  lib.check_late(tonumber(R.retry(C.frt_ir_record, self.c, n, values, refs, #names, wanted, outs)))
  return outs, names
end

--- g:record(inputs [, names]): what the graph computes of these inputs, recorded: it can be trained, combined and realized
--- like anything else. The batch follows from the inputs.
--- in   inputs  { name = tensor }: inputs, or any output or variable, in whose place it then stands
---      names   of the outputs that are wanted; all when left out
--- out  { name = tensor }
function Graph:record(inputs, names)
  local outs, list = record(self, inputs, names)
  local out = R.wrap_all(outs, #list)
  local by_name = {}
  for i, name in ipairs(list) do by_name[name] = out[i] end
  return by_name
end

local function bound_for(self, given, names)
  local key = table.concat(given, "\0") .. "\1" .. table.concat(names, "\0")
  local b = self.runs[key]
  if not b then
    local ins, outs = ffi.new("int32_t[?]", math.max(#given, 1)), ffi.new("int32_t[?]", math.max(#names, 1))
    for i, name in ipairs(given) do ins[i - 1] = find(self, name) end
    for i, name in ipairs(names) do outs[i - 1] = find(self, name) end
    local made = ffi.new "frt_bound *[1]"
    lib.check(tonumber(C.frt_ir_bind(self.c, #given, ins, #names, outs, made)))
    b = ffi.gc(made[0], C.frt_bound_free)
    self.runs[key] = b
  end
  return b
end

--- g:run(inputs [, names]): the same, computed at once: { name = tensor with its value }.
function Graph:run(inputs, names)
  local _
  _, names = wanted_of(self, names)
  local _, refs, _, given = arrays("inputs", inputs)
  local outs = ffi.new("frt_ref[?]", math.max(#names, 1))
  if line.depth == 0 then line.capture() end
  lib.check_late(tonumber(R.retry(C.frt_bound_run, bound_for(self, given, names), refs, outs)))
  local list, by_name = R.wrap_all(outs, #names), {}
  for i, name in ipairs(names) do by_name[name] = list[i] end
  return by_name
end

--- the graph as text: a line per value and node, whatever process and machine reads it.
function Graph:text()
  local text, bytes = ffi.new "const char *[1]", ffi.new "uint64_t[1]"
  lib.check(tonumber(C.frt_ir_text(self.c, text, bytes)))
  return ffi.string(text[0], bytes[0])
end

function Graph:__tostring()
  return ("graph of %d nodes"):format(C.frt_ir_n_nodes(self.c))
end

--- frt.graph: see the top of this file.
api.graph = setmetatable(graph, { __call = function(_, outputs, inputs)
  local g = graph.of(outputs, inputs)
  return g
end })

return graph
