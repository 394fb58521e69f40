--- checkpoint: everything a run needs to go on, in one safetensors file: parameters and buffers under their
--- names, the optimizer's moments under "optim.", averages of weights under "ema.", sums of a half-finished update
--- under "accum.", and in the metadata what is not a tensor.
---   checkpoint.save("runs/b4/last.safetensors", { model = model, optimizer = opt, state = { epoch = 3, … } })
---   local c = checkpoint.load "runs/b4/last.safetensors"    -- { path, tensors, optim, averages, meta }
---
--- meta has recipe_path, recipe_text, files = { { name, path, text } }, overrides = { { path, value } }, sample (whether
--- the recipe's smaller settings were taken), name, seed, threads, isa, version, classes, preprocessing, data, phase,
--- phase_name, epoch, batch, stage, step, best, metrics. The recipe's text is plain; every other value is JSON. Beside it stand
--- the card (card.lua) and the evaluation graph as text: what predict and eval read instead of the recipe.
local err = require "foodrt.core.err"
local checkpoint = {}

local FORMAT = "1"
local PREFIX = "run."  -- of metadata keys

local function io_()
  return require "foodrt.core.io"
end

-- --- one file ----------------------------------------------------------------------------------------------
local function metadata_of(state)
  local json = require "foodrt.core.json"
  local out = { checkpoint = FORMAT }
  for key, value in pairs(state) do
    if key == "recipe_text" then
      out.recipe = value
    else
      out[PREFIX .. key] = json.encode(value)
    end
  end
  return out
end

--- writes a checkpoint in one piece: the file is the old one or the new one, never half of one.
--- in   what.model      its parameters and buffers
---      what.optimizer  nil: without moments, such as the best checkpoint
---      what.averages   of its weights (ema.lua), or nil
---      what.accumulated  sums of a half-finished update by name, or nil
---      what.losses     parameters and buffers of losses by name, or nil
---      what.card       what makes the card, the graph's text and the tensors it needs (card.make), or nil
---      what.state      table of numbers, strings, booleans and tables of them
function checkpoint.save(path, what)
  local tensors = what.model:state_dict()
  local state = {}
  for key, value in pairs(what.state) do state[key] = value end
  if what.optimizer then
    local moments, info = what.optimizer:state_dict()
    for name, t in pairs(moments) do tensors["optim." .. name] = t end
    state.optim = info
  end
  if what.averages then
    local averages, info = what.averages:state_dict(what.model)
    for name, t in pairs(averages) do tensors["ema." .. name] = t end
    state.ema = info
  end
  for name, t in pairs(what.accumulated or {}) do tensors["accum." .. name] = t end
  local losses = {}
  for name, t in pairs(what.losses or {}) do
    losses[#losses + 1], tensors[name] = name, t
  end
  table.sort(losses)
  if #losses > 0 then state.losses = losses end
  local said, graph
  if what.card then
    local extra
    said, graph, extra = what.card()
    local names = {}
    for name, t in pairs(extra or {}) do names[#names + 1], tensors[name] = name, t end
    table.sort(names)
    if #names > 0 then state.graph_tensors = names end
  end
  local metadata = metadata_of(state)
  metadata.card, metadata.graph = said and require("foodrt.core.json").encode(said), graph
  io_().save(path, tensors, metadata)
end

local function meta_of(path, metadata)
  local json = require "foodrt.core.json"
  if not metadata or not metadata.checkpoint then
    err.user("%s is no checkpoint: it holds weights but no recipe", path)
  end
  if metadata.checkpoint ~= FORMAT then
    err.user("%s was written by another foodrt (checkpoint format %s, this one reads %s)", path, metadata.checkpoint, FORMAT)
  end
  local meta = { recipe_text = metadata.recipe }
  for key, text in pairs(metadata) do
    local name = key:match("^" .. PREFIX:gsub("%.", "%%.") .. "(.*)")
    if name then
      local value, why = json.decode(text)
      if value == nil and why then err.user("%s: damaged metadata '%s': %s", path, name, why) end
      meta[name] = value
    end
  end
  return meta
end

-- A list of tensors' names in the metadata, as a set.
local function named(path, meta, key)
  local out, list = {}, meta[key]
  if list ~= nil and type(list) ~= "table" then err.user("%s: damaged metadata '%s': must be a list", path, key) end
  for _, name in ipairs(list or {}) do out[name] = true end
  return out
end

--- reads a checkpoint: { path, tensors = { name = tensor }, optim = { tensors, info }, averages = { tensors, info },
--- losses and graph (tensors by name), accumulated, meta, metadata (as the file has it) }. optim and averages are nil where the
--- file has none. Damage is an error that names the file.
function checkpoint.load(path)
  local all, metadata = io_().load(path)
  local meta = meta_of(path, metadata)
  local tensors, moments, averages, accumulated, losses, graph = {}, {}, {}, {}, {}, {}
  local of_loss, of_graph = named(path, meta, "losses"), named(path, meta, "graph_tensors")
  for name, t in pairs(all) do
    local moment, average = meta.optim and name:match "^optim%.(.*)", meta.ema and name:match "^ema%.(.*)"
    if moment then
      moments[moment] = t
    elseif average then
      averages[average] = t
    elseif of_loss[name] then
      losses[name] = t
    elseif of_graph[name] then
      graph[name] = t
    elseif meta.accumulated and name:match "^accum%." then
      accumulated[name:sub(7)] = t
    else
      tensors[name] = t
    end
  end
  return { path = path, tensors = tensors, meta = meta, accumulated = accumulated, losses = losses, graph = graph,
    metadata = metadata,
    optim = meta.optim and { tensors = moments, info = meta.optim },
    averages = meta.ema and { tensors = averages, info = meta.ema } }
end

--- the weights that a checkpoint's model is measured and used with: averages where it has them.
function checkpoint.weights(c)
  local out = {}
  for name, t in pairs(c.tensors) do out[name] = c.averages and c.averages.tensors[name] or t end
  return out
end

--- what is not a tensor, without reading the rest.
function checkpoint.peek(path)
  local _, metadata = io_().list(path)
  return meta_of(path, metadata)
end

-- --- last and the one before ---------------------------------------------------------------------------------
local function kind(path)
  return (io_().kind(path))
end

local function settle(dir)
  local last = dir .. "/last.safetensors"
  if kind(last) then io_().rename(last, dir .. "/last.previous.safetensors") end
  io_().rename(dir .. "/last.new.safetensors", last)
end

--- the run's newest checkpoint: the new one is complete before the old one becomes last.previous, so that a
--- crash at any moment leaves at least one good file.
function checkpoint.save_last(dir, what)
  checkpoint.save(dir .. "/last.new.safetensors", what)
  settle(dir)
end

--- the newest checkpoint of a run that can be read. A damaged one is passed over, and said by `say(text)`.
--- out  checkpoint; nil, message when there is none, true when there never was one
function checkpoint.load_last(dir, say)
  local reason
  for _, name in ipairs { "last.new", "last", "last.previous" } do
    local path = ("%s/%s.safetensors"):format(dir, name)
    if kind(path) then
      local ok, found = pcall(checkpoint.load, path)
      if ok then
        if reason and say then say(("%s; going on with %s"):format(reason, path)) end
        if name == "last.new" then  -- the process ended before it could take its place
          settle(dir)
          found.path = dir .. "/last.safetensors"
        end
        return found
      end
      reason = reason or tostring(found)
    end
  end
  return nil, reason or ("no checkpoint in '%s'"):format(dir), reason == nil
end

--- the file that a run's folder or a checkpoint's path stands for: the best one, else the last.
function checkpoint.find(path)
  local what = kind(path)
  if what == "file" then return path end
  if what == "folder" then
    for _, name in ipairs { "best", "last", "last.previous" } do
      local file = ("%s/%s.safetensors"):format(path, name)
      if kind(file) then return file end
    end
    err.user("no checkpoint in '%s'", path)
  end
  err.user("no such run or checkpoint: '%s'", path)
end

return checkpoint
