--- files: what a path of weights means: one file, a folder of a run or of a model, a file in several parts (shards), a
--- checkpoint of a run with its averages and moments.
---   local found = files.find "runs/b4"             -- { path, main, parts = { { path, only } } }; nil, why
---   local dict, notes = files.load(found)            -- tensors as evaluation would use them, and what is to be said
local io_, json = require "foodrt.core.io", require "foodrt.core.json"
local text = require "foodrt.core.text"
local files = {}

local ENDINGS = { safetensors = true, pth = true, pt = true, bin = true, npz = true, ckpt = true, tar = true, pkl = true, pickle = true,
  th = true, t7 = true, h5 = true, weights = true, json = true }

--- whether a text names a file or a folder rather than weights of the hub.
function files.is_path(s)
  if s:find "/" and not s:find "^timm/" or s:find "[=%s~\\]" then return true end
  return ENDINGS[(s:match "%.(%w+)$" or ""):lower()] == true or not s:find "%z" and io_.kind(s) ~= nil
end

local MAX_INDEX = 2 ^ 26

local function base(path)
  return path:match "^(.*/)" or "", path:match "([^/]*)$"
end

-- --- parts ----------------------------------------------------------------------------------------------------------
-- the parts that an index names: { { path, only = { name = true } } }
local function by_index(path)
  local why
  local found = require("foodrt.core.file").read(path)
  if not found or #found > MAX_INDEX then return nil, "can't be read" end
  found, why = json.decode(found)
  local map = type(found) == "table" and found.weight_map
  if type(map) ~= "table" then return nil, why and "is no JSON: " .. why or "is JSON, but no index of weights (no weight_map)" end
  local folder, parts, by_file = base(path), {}, {}
  for name, file in pairs(map) do
    if type(name) ~= "string" or type(file) ~= "string" or file:find "%z" or file:find "^/" or ("/" .. file .. "/"):find "/%.%./" then
      return nil, "names a part that can't be one"
    end
    if not by_file[file] then
      by_file[file] = { path = folder .. file, only = {} }
      parts[#parts + 1] = by_file[file]
    end
    by_file[file].only[name] = true
  end
  if #parts == 0 then return nil, "names no parts" end
  table.sort(parts, function(a, b) return a.path < b.path end)
  for _, part in ipairs(parts) do
    if io_.kind(part.path) ~= "file" then return nil, ("needs '%s', which is not there"):format(part.path) end
  end
  return parts
end

-- the parts beside one of them: model-00002-of-00003.safetensors
local function by_number(path)
  local folder, name = base(path)
  local head, total, ending = name:match "^(.-)%-?%d+%-of%-(%d+)(%.%w+)$"
  local n = tonumber(total or "")
  if not n or n < 1 or n > 10000 then return nil end
  local dash = name:find(head .. "-", 1, true) == 1 and "-" or ""
  local index = folder .. head .. ending .. ".index.json"
  if io_.kind(index) == "file" then return by_index(index) end
  local parts = {}
  for i = 1, n do
    local part = ("%s%s%s%0" .. #total .. "d-of-%s%s"):format(folder, head, dash, i, total, ending)
    if io_.kind(part) ~= "file" then return nil, ("is one part of %d, and '%s' is not there"):format(n, part) end
    parts[i] = { path = part }
  end
  return parts
end

-- --- folders --------------------------------------------------------------------------------------------------------
local OF_RUN = { "best.safetensors", "last.safetensors", "last.new.safetensors", "last.previous.safetensors" }
local OF_MODEL = { "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
  "open_clip_model.safetensors", "diffusion_pytorch_model.safetensors" }
local WEIGHTS = { safetensors = true, pth = true, pt = true, bin = true, npz = true, ckpt = true, tar = true }

local function in_folder(dir)
  for _, list in ipairs { OF_RUN, OF_MODEL } do
    for _, name in ipairs(list) do
      if io_.kind(dir .. "/" .. name) == "file" then return dir .. "/" .. name end
    end
  end
  local host, some = package.loaded["foodrt.host"], {}
  for _, name in ipairs(host and host.list(dir) or {}) do
    if WEIGHTS[name:match "%.(%w+)$" or ""] and io_.kind(dir .. "/" .. name) == "file" then some[#some + 1] = name end
  end
  table.sort(some)
  if #some == 0 then return nil, "is a folder without weights" end
  if #some > 1 and not some[1]:find "%d+%-of%-%d+" then
    return nil, ("is a folder with several files: %s; name one"):format(text.some(some, 4))
  end
  return dir .. "/" .. some[1]
end

--- what a path stands for: { path, main = the file that was found, parts = { { path, only = { name = true } or nil } } };
--- nil, why (a sentence without its subject).
function files.find(path)
  local kind, main, why = io_.kind(path), path
  if not kind then return nil, "is not there" end
  if kind == "folder" then
    main, why = in_folder(#path > 1 and path:gsub("/+$", "") or path)
    if not main then return nil, why end
  elseif kind ~= "file" then
    return nil, "is no regular file"
  end
  local parts
  if main:find "%.json$" then
    parts, why = by_index(main)
  else
    parts, why = by_number(main)
  end
  if why then return nil, why end
  return { path = path, main = main, parts = parts or { { path = main } } }
end

-- --- checkpoints ------------------------------------------------------------------------------------------------------
-- names of a checkpoint's tensors as evaluation uses them: { [name in the file] = name }, and what is to be said
local function of_checkpoint(names, metadata)
  local has, out, n_left, averaged = {}, {}, 0, false
  for _, name in ipairs(names) do has[name] = true end
  local prefixes = { { "run.optim", "optim." }, { "run.accumulated", "accum." }, { "run.ema", "ema." } }
  local function beside(name)
    for _, p in ipairs(prefixes) do
      if metadata[p[1]] and name:sub(1, #p[2]) == p[2] then return true end
    end
  end
  for _, name in ipairs(names) do
    if beside(name) then
      n_left = n_left + 1
    elseif metadata["run.ema"] and has["ema." .. name] then
      out["ema." .. name], averaged = name, true
    else
      out[name] = name
    end
  end
  local notes = {}
  if averaged then notes[1] = "averages of the weights (ema) were taken, as eval does" end
  if n_left > 0 then notes[#notes + 1] = "what belongs to training alone was left out (optimizer, averages beside their weights)" end
  return out, notes
end

-- what only a checkpoint's losses and its evaluation graph read: no part of a model
local function beside_model(metadata)
  local out = {}
  for _, key in ipairs { "run.losses", "run.graph_tensors" } do
    local list = metadata.checkpoint and metadata[key] and json.decode(metadata[key])
    for _, name in ipairs(type(list) == "table" and list or {}) do out[name] = true end
  end
  return out
end

--- which tensors of a file count, under which names: { [name in the file] = name }, and what is to be said.
--- in   list, metadata  as io.list gives them
---      only            names that count, or nil
function files.choose(list, metadata, only)
  local names = {}
  for _, e in ipairs(list) do
    if not only or only[e.name] then names[#names + 1] = e.name end
  end
  if metadata.checkpoint then
    local out, notes = of_checkpoint(names, metadata)
    return out, notes
  end
  local out = {}
  for _, name in ipairs(names) do out[name] = name end
  return out, {}
end

--- metadata of a checkpoint without what is said of tensors that are left out.
function files.metadata(metadata)
  local out = {}
  for key, v in pairs(metadata) do
    if not (metadata.checkpoint and (key == "run.optim" or key == "run.ema" or key == "run.accumulated")) then out[key] = v end
  end
  return out
end

--- the tensors of what was found, those of a checkpoint as evaluation would use them; and what is to be said, in lines.
--- in   place  where in a PyTorch file the weights lie, nil: the usual places
function files.load(found, place)
  local dict, notes = {}, {}
  for i, part in ipairs(found.parts) do
    local own, metadata = io_.load(part.path, { place = place, say = function(line) notes[#notes + 1] = line end })
    local list = {}
    for name in pairs(own) do list[#list + 1] = { name = name } end
    local names, more = files.choose(list, metadata, part.only)
    for _, note in ipairs(i == 1 and more or {}) do notes[#notes + 1] = ("'%s': %s"):format(part.path, note) end
    local beside = beside_model(metadata)
    for name, new in pairs(names) do
      if not beside[new] then dict[new] = own[name] end
    end
    if part.only then
      for name in pairs(part.only) do
        if not own[name] then require("foodrt.core.err").user("'%s' lacks the tensor '%s' that its index names", part.path, name) end
      end
    end
  end
  return dict, notes
end

return files
