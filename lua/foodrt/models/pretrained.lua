--- pretrained: where a model's weights come from. They are read when the model is built, never in its
--- constructor; what can't be had is an error that says what to do.
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local keys, config, hub = require "foodrt.models.keys", require "foodrt.models.config", nil
local lib = require "foodrt.core.ffi"
local T = require "foodrt.tensor"
local ffi, array = lib.ffi, require("foodrt.core.buffer").new

local pretrained = { n_read = 0 }  -- n_read: files read so far

local function files()
  return require "foodrt.models.files"
end

-- a first convolution for other than 3 channels, from one for 3, as timm: one channel is the sum; n are the
-- three repeated and scaled by 3/n
local function adapt_input(src, channels)
  local shape = src.shape
  local out, window = shape[1], shape[3] * shape[4]
  local from, to = array("float", out * 3 * window), array("float", out * channels * window)
  lib.check(lib.C.frt_read(src.ref, from, ffi.sizeof(from)))
  for o = 0, out - 1 do
    for c = 0, channels - 1 do
      for i = 0, window - 1 do
        local v
        if channels == 1 then
          v = from[o * 3 * window + i] + from[(o * 3 + 1) * window + i] + from[(o * 3 + 2) * window + i]
        else
          v = from[(o * 3 + c % 3) * window + i] * (3 / channels)
        end
        to[(o * channels + c) * window + i] = v
      end
    end
  end
  local t = T.var { shape = { out, channels, shape[3], shape[4] }, dtype = "f32", kind = "state", name = "conv_stem" }
  t:write(to, ffi.sizeof(to))
  return t
end

-- whether `name` is `path` or lies below it
local function below(name, path)
  return name == path or name:sub(1, #path + 1) == path .. "."
end

-- where the model differs from the file on purpose: parts it does without, attention it was given, another classifier.
-- Makes dict's names the model's; returns what to say
local function settle(model, dict, own)
  local notes, added = {}, {}
  for path, m in model:modules() do
    if rawget(m, "_added") then added[#added + 1] = path end
  end
  local n = 0
  for _, path in ipairs(added) do
    for name, t in pairs(own) do
      if not dict[name] and below(name, path) then dict[name], n = t, n + 1 end
    end
  end
  if n > 0 then notes[1] = ("has no %s: attention starts from random weights"):format(added[1]) end
  for name in pairs(dict) do
    for _, list in ipairs { added, model.absent } do
      for _, path in ipairs(list) do
        if not own[name] and below(name, path) then dict[name] = nil end
      end
    end
  end
  local weight, bias = model.classifier_name .. ".weight", model.classifier_name .. ".bias"
  local theirs, ours = dict[weight], own[weight]
  if ours and not theirs then
    notes[#notes + 1] = "has no classifier: it starts from random weights"
  elseif ours and theirs.shape[1] ~= ours.shape[1] then
    notes[#notes + 1] = ("has %d classes, this model %d: its classifier is left out and starts from random weights")
      :format(theirs.shape[1], ours.shape[1])
  else
    return notes
  end
  dict[weight], dict[bias] = ours, own[bias]
  return notes
end

-- what the photos must look like travels with the weights: as their config.json says, else as their maker is known for
local function take_preprocess(model, p)
  for key, value in pairs(p) do
    if not (model.adapt or model.own_size) or not key:find "size" then model.preprocess[key] = value end
  end
end

local function take_config(model, path, at)
  local c, why = config.beside(path)
  if why then err.at(at, "%s: %s", model.name, why) end
  c = c or config.of_run(path)
  if not c then return false end
  if c.architecture and c.architecture ~= model.name then
    err.at(at, "%s: '%s' are weights of %s, says the config.json beside them", model.name, path, c.architecture)
  end
  take_preprocess(model, c.preprocess)
  return true
end

-- the file that says what photos look like: a model in parts has it beside its index
local function main_of(found)
  return (found.main:gsub("(model%.safetensors)%.index%.json$", "%1"):gsub("(pytorch_model%.bin)%.index%.json$", "%1"))
end

-- what `path` stands for; an error at the user's line where that is nothing
local function find(model, path, at)
  local found, why = files().find(path)
  if not found and why == "is not there" then err.at(at, "%s: no weights at '%s'", model.name, path) end
  if not found then err.at(at, "%s: '%s' %s", model.name, path, why) end
  return found
end

local function read(model, path, at, place)
  local found = find(model, path, at)
  local told = take_config(model, main_of(found), at)
  local dict, notes = files().load(found, place)
  local own, some = (model:state_dict())
  dict, some = keys.unwrap(model, dict, own)
  for _, note in ipairs(notes) do pretrained.say(("%s: %s"):format(model.name, note)) end
  for _, note in ipairs(some) do pretrained.say(("%s: '%s': %s"):format(model.name, path, note)) end
  local why, preprocess
  dict, why, preprocess = keys.translate(model, dict)
  if not dict then err.at(at, "%s: the weights in '%s' %s", model.name, path, why) end
  if preprocess and not told then take_preprocess(model, preprocess) end
  local first = model.first_conv .. ".weight"
  if dict[first] and own[first] and dict[first].shape[2] == 3 and own[first].shape[2] ~= 3 then
    dict[first] = adapt_input(dict[first], own[first].shape[2])
  end
  if model.adapt then model:adapt(dict) end
  notes = settle(model, dict, own)
  local passed = keys.drop_small(dict, own)
  if passed then notes[#notes + 1] = passed end
  model:load_state_dict(dict, { from = path })
  pretrained.n_read = pretrained.n_read + 1
  for _, note in ipairs(notes) do pretrained.say(("%s: '%s' %s"):format(model.name, path, note)) end
end

--- where one-line notes go; a run replaces it.
function pretrained.say(text)
  io.stderr:write(require("foodrt.core.text").safe(text), "\n")
end

--- what shows how far fetching is (a foodrt.progress); a run sets its own.
pretrained.progress = nil

-- bytes done and in all as a line of progress
local function watcher(label)
  local began = lib.C.frt_now()
  local show = pretrained.progress or require("foodrt.run.progress").new { out = io.stderr }
  local function mib(n) return math.ceil(n / 2 ^ 20) end
  return function(done, total)
    local seconds = lib.C.frt_now() - began
    local rate = seconds > 0.5 and { ("%.1f MiB/s"):format(done / 2 ^ 20 / seconds) } or {}
    show:update { label = "fetching " .. label .. ", MiB", done = mib(done), total = mib(total or done), seconds = seconds,
      fields = rate }
    if done == total then show:clear() end
  end
end

--- fetches what hub.find named unless it is there; out as hub.get.
function pretrained.fetch(where, accept)
  hub = hub or require "foodrt.models.hub"
  local path, why, note = hub.get(where, { accept = accept, say = pretrained.say, watch = watcher(where.model .. "." .. where.tag) })
  return path, why, note
end

local SPEC = { "pretrained", "tag", tag = { "string", nil, "a tag, a file or a folder" }, accept_licence = { "boolean", false },
  place = { "string", nil, "where in a PyTorch file the weights lie, such as state_dict_ema" } }

-- what the user gave, checked: { path } or { where, why } (the hub's), auto, accept
local function understand(model, what)
  local o = type(what) == "table" and opt.check(SPEC, what) or {}
  local name = type(what) == "string" and what ~= "auto" and what or o.tag
  local out = { auto = what == "auto", accept = o.accept_licence, place = o.place }
  if name and files().is_path(name) then
    out.path = name
    return out
  end
  hub = hub or require "foodrt.models.hub"
  out.where, out.why = hub.find(name, model.name)
  if out.why and not out.auto then err.user("%s: 'pretrained': %s", model.name, out.why) end
  return out
end

-- why "auto" takes random weights, nil when it will try to get better ones
local function not_auto(w, sample)
  if not w.auto then return nil end
  if sample then return "the photos are the sample set" end
  if not w.where then return w.why end
  local offline = hub.offline()
  return offline and not hub.cached(w.where) and ("%s is set and %s is not in the cache"):format(offline, w.where.repo) or nil
end

--- which weights a model will start from, without reading or fetching anything: { random = true, why }, or
--- { name = path or repository, licence, cached }; nil where none are asked for.
--- in   sample  the photos are the sample set
function pretrained.plan(model, sample)
  local w = rawget(model, "_weights")
  if not w then return nil end
  local why = not_auto(w, sample)
  if why then return { random = true, why = why } end
  if w.path then return { name = w.path, path = true, cached = true } end
  return { name = w.where.repo, licence = hub.licence(w.where), cached = hub.cached(w.where), auto = w.auto }
end

local RANDOM = "%s: starts from random weights (%s); a head trained while they are frozen can only be a rough one"

-- reads what was asked for into the model
local function load(model, w, at, sample)
  if w.path then
    read(model, w.path, at, w.place)
    return
  end
  local path, why = nil, not_auto(w, sample)
  if not why then path, why = pretrained.fetch(w.where, w.accept) end
  if path then
    read(model, path, at)
  elseif w.auto then
    pretrained.say(RANDOM:format(model.name, why))
  else
    err.at(at, "%s: %s", model.name, why)
  end
end

-- what the photos must look like, as far as it lies beside weights that are here
local function peek(model, w, at, sample)
  if w.path then
    local found = files().find(w.path)
    if found then take_config(model, main_of(found), at) end
  elseif not not_auto(w, sample) and hub.cached(w.where) then
    take_config(model, w.where.path, at)
  end
end

--- arranges that `model` reads its weights when it is built.
--- in   what  false; true (timm's default); a tag; a path; { tag = "…", accept_licence = true }; "auto": as true on real
---            photos where it works, else random weights, said in one line
function pretrained.attach(model, what)
  if not what then return end
  local w = understand(model, what)
  local at = err.where():gsub(": $", "")
  rawset(model, "_weights", w)
  rawset(model, "_peek", function(_, sample) peek(model, w, at, sample) end)
  rawset(model, "_load", function(_, o) load(model, w, at, o and o.sample) end)
end

return pretrained
