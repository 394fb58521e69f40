--- foodrt weights: files of weights: what is in one, another form of one, and fetching them from the hub.
local cli, args, text = require "foodrt.cli", require "foodrt.core.args", require "foodrt.core.text"
local weights = {}

weights.usage = [[
usage: foodrt weights get NAME [--accept-licence] | show FILE [--keys GLOB] [--json] | convert IN OUT [--dtype fp32|bf16|fp16]
  get      fetches timm's weights of a model into the cache: efficientnet_b4 (its default tag), efficientnet_b4.ra2_in1k or
           timm/efficientnet_b4.ra2_in1k; what is there already is checked. --accept-licence: of weights that are not for
           commercial use
  show     tensors and metadata of a safetensors or PyTorch file; --keys "blocks.0.*" some of them; --json for programs
  convert  a file, one in parts (its index.json) or a run as OUT.safetensors: of a checkpoint the weights that eval would use,
           without optimizer; --dtype: floats in another width; --force: replaces OUT
           --place KEY: what lies under this key of a PyTorch file (state_dict_ema), for show too
  FOODRT_HUB=URL is a mirror of the hub, FOODRT_OFFLINE=1 fetches nothing, FOODRT_HUB_TIMEOUT=S waits that long for a silent
  server (30); weights are kept in
  ${XDG_CACHE_HOME:-~/.cache}/foodrt/weights]]

-- --- show -----------------------------------------------------------------------------------------------------------
local function product(shape)
  local n = 1
  for _, v in ipairs(shape) do n = n * v end
  return n
end

-- a value of the metadata on one line
local function brief(value)
  local first = value:gsub("%s+", " ")
  return #first > 100 and ("%s … (%d bytes)"):format(first:sub(1, 80), #value) or first
end

local function size(bytes)
  if bytes < 1024 then return bytes .. " B" end
  return bytes < 2 ^ 20 and ("%.1f KiB"):format(bytes / 1024) or text.bytes(bytes)
end

local function tensors(n)
  return ("%d tensor%s"):format(n, n == 1 and "" or "s")
end

-- tensors that the glob covers, and what they have in all
local function pick(path, keys, place)
  local list, metadata, notes = require("foodrt.core.io").list(path, place)
  local out, types = { tensors = {}, numbers = 0, bytes = 0, types = {}, all = #list, metadata = metadata,
    notes = notes }, {}
  local glob = keys and require "foodrt.nn.glob"
  for _, t in ipairs(list) do
    if not glob or glob.match(keys, t.name) then
      out.tensors[#out.tensors + 1] = t
      out.numbers, out.bytes = out.numbers + product(t.shape), out.bytes + t.bytes
      if not types[t.stored] then out.types[#out.types + 1] = t.stored end
      types[t.stored] = true
    end
  end
  if keys and #out.tensors == 0 then error(("foodrt: weights show: '%s' has no tensor '%s'"):format(path, keys), 0) end
  table.sort(out.types)
  return out
end

-- the file to look at: of a folder the one that would be used
local function one_file(path)
  if require("foodrt.core.io").kind(path) ~= "folder" then return path end
  local found, why = require("foodrt.models.files").find(path)
  if not found then error(("foodrt: weights: '%s' %s"):format(path, why), 0) end
  return found.main
end

local function show(given)
  local o = args.parse("weights show", given, { ["--keys"] = args.text, ["--json"] = true, ["--place"] = args.text })
  if not o[1] then cli.usage_error "weights show: which file? foodrt weights show FILE" end
  if o[2] then cli.usage_error("weights show: one file at a time, got '%s' and '%s'", o[1], o[2]) end
  local path = one_file(o[1])
  local found = pick(path, o.keys, o.place)
  if o.json then
    local json, list = require "foodrt.core.json", {}
    for i, t in ipairs(found.tensors) do list[i] = { name = t.name, shape = json.list(t.shape), dtype = t.stored, bytes = t.bytes } end
    print(json.encode({ file = path, tensors = json.list(list), numbers = found.numbers, bytes = found.bytes,
      metadata = found.metadata, notes = #found.notes > 0 and json.list(found.notes) or nil }, true))
    return 0
  end
  local rows = {}
  for i, t in ipairs(found.tensors) do
    rows[i] = { text.safe(t.name), "[" .. table.concat(t.shape, ", ") .. (t.n_dim and ", …]" or "]"), t.stored, size(t.bytes) }
  end
  for _, line in ipairs(text.columns(rows, { false, false, false, true })) do print(line) end
  local names = {}
  for key in pairs(found.metadata) do names[#names + 1] = key end
  table.sort(names)
  for _, key in ipairs(names) do print(text.safe(("metadata  %s: %s"):format(key, brief(found.metadata[key])))) end
  for _, note in ipairs(found.notes) do print(text.safe("note  " .. note)) end
  print(("%s: %s%s, %s numbers, %s, %s"):format(path, o.keys and ("%d of "):format(#found.tensors) or "", tensors(found.all),
    text.grouped(found.numbers), size(found.bytes), table.concat(found.types, " ")))
  return 0
end

-- --- convert --------------------------------------------------------------------------------------------------------
local WORDS = { fp32 = "f32", bf16 = "bf16", fp16 = "f16" }

local function convert(given)
  local o = args.parse("weights convert", given, { ["--dtype"] = args.one_of { "fp32", "bf16", "fp16" }, ["--force"] = true,
    ["--place"] = args.text })
  if not o[2] or o[3] then cli.usage_error "weights convert: from what to what? foodrt weights convert IN OUT.safetensors" end
  local from, to = o[1], o[2]
  if not to:match "%.safetensors$" then
    cli.usage_error("weights convert: OUT must end in .safetensors, the one kind that is written, got '%s'", to)
  end
  local io_ = require "foodrt.core.io"
  if io_.kind(to) and not o.force then error(("foodrt: weights convert: '%s' is there already; --force replaces it"):format(to), 0) end
  local files = require "foodrt.models.files"
  local source, why = files.find(from)
  if not source then error(("foodrt: weights convert: '%s' %s"):format(from, why), 0) end
  local parts, metadata = {}, nil
  for i, part in ipairs(source.parts) do
    local list, own, notes = io_.list(part.path, o.place)
    local names, more = files.choose(list, own, part.only)
    parts[i] = { path = part.path, names = names, place = o.place }
    metadata = metadata or files.metadata(own)
    for _, note in ipairs(i == 1 and more or {}) do notes[#notes + 1] = note end
    for _, note in ipairs(notes) do io.stderr:write(text.safe(("'%s': %s"):format(part.path, note)), "\n") end
  end
  io_.convert(to, parts, metadata, WORDS[o.dtype])
  local found = pick(to)
  print(("%s: %s, %s, %s"):format(to, tensors(found.all), size(found.bytes), table.concat(found.types, " ")))
  return 0
end

-- --- get ------------------------------------------------------------------------------------------------------------
-- what is in the cache must still be what was fetched; else it is fetched again
local function recheck(where)
  local hub, io_ = require "foodrt.models.hub", require "foodrt.core.io"
  local there, note = hub.cached(where)
  if not there or not note.sha256 or io_.sha256(where.path) == note.sha256 then return there end
  io.stderr:write(("%s is damaged\n"):format(where.path))
  os.remove(where.path)
  return false
end

local function get(given)
  local o = args.parse("weights get", given, { ["--accept-licence"] = true })
  if not o[1] then cli.usage_error "weights get: which? foodrt weights get efficientnet_b4.ra2_in1k" end
  if o[2] then cli.usage_error("weights get: one name at a time, got '%s' and '%s'", o[1], o[2]) end
  local hub, pretrained = require "foodrt.models.hub", require "foodrt.models.pretrained"
  local where, why = hub.find(o[1])
  if not where then error("foodrt: weights get: " .. why, 0) end
  local there = recheck(where)
  local path, cant, note = pretrained.fetch(where, o.accept_licence)
  if not path then error("foodrt: weights get: " .. cant, 0) end
  local _, bytes = require("foodrt.core.io").kind(path)
  print(("%s: %s, licence %s, %s"):format(path, size(bytes), hub.licence(where) or "not stated", not note.sha256
    and "put there by hand" or (there and "was here already, " or "") .. (note.checked and "sha256 as announced" or "size as announced")))
  return 0
end

-- --- the command ----------------------------------------------------------------------------------------------------
local COMMANDS = { get = get, show = show, convert = convert }

--- in arguments after "weights"; out exit status
function weights.run(given)
  local run = COMMANDS[given[1]]
  if not run then
    if not given[1] then cli.usage_error "weights: what? foodrt weights get NAME, show FILE or convert IN OUT" end
    cli.usage_error("weights: unknown command '%s'%s", given[1], require("foodrt.core.err").hint(given[1], COMMANDS))
  end
  return run(args.rest(given, 2))
end

return weights
