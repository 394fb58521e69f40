-- models.lua: every model beside timm with the same weights: what its card says, keys and values in both directions, logits in
-- training and evaluation, the norm of each parameter's gradient, maps of stages, options. One line per model.
--   FOODRT_PEERS=DIR foodrt spec/bench/models.lua [GLOB ...] [--dir DIR] [--long]
-- Errors are against timm in float64; beside each stands that of PyTorch's own float32. --long: a line per case. --dir: where
-- files lie meanwhile (up to 15 GB for the largest models). Exit status 1 where a card, a key or a value differs.
local compare = dofile((arg[0]:match "^(.*/)" or "./") .. "compare.lua")
local frt, json = require "foodrt", require "foodrt.core.json"
local o, globs = compare.options("models", { dir = os.tmpname() .. ".models", long = false })
local peers = compare.peers "models"
if #globs == 0 then globs = { "*" } end

-- name, size, batch, options; step: with a training step; reads: we read timm's file
local function cases(name)
  local function case(c)
    c.channels, c.classes = c.options.in_chans or 3, c.options.classes or 1000
    c.step, c.reads, c.computes = c.step or false, c.reads or c.adapted ~= nil, not c.adapted
    c.options = next(c.options) and c.options or { in_chans = 3 }
    return c
  end
  local stages = frt.models[name] {}.n_stages
  local list
  if name:find "^vit" then
    local patch, native = tonumber(name:match "patch(%d+)"), tonumber(name:match "%d+$")
    local small, odd = 4 * patch, 5 * patch
    list = {
      { name = "native", size = native, batch = 1, options = {}, reads = true },
      { name = "plain", size = small, batch = 4, options = { img_size = small }, step = true, reads = true },
      { name = "options", size = odd, batch = 3, options = { img_size = odd, classes = 7, in_chans = 1 }, step = true },
      { name = "features", size = small, batch = 2, options = { img_size = small, features = { 2, stages / 2, stages } } },
      { name = "bare", size = small, batch = 2, options = { img_size = small, head = false } },
      { name = "adapted", size = small, batch = 1, options = { img_size = 6 * patch, classes = 7, in_chans = 4 }, adapted = "native" },
    }
    list[6].size = list[6].options.img_size
  else
    local all = {}
    for i = 1, stages do all[i] = i end
    list = {
      { name = "plain", size = 128, batch = 4, options = {}, step = true, reads = true },
      { name = "options", size = 111, batch = 3, options = { classes = 7, in_chans = 4 }, step = true },
      { name = "features", size = 75, batch = 2, options = { features = all } },
      { name = "bare", size = 64, batch = 2, options = { head = false } },
      { name = "adapted", size = 64, batch = 1, options = { classes = 7, in_chans = 1 }, adapted = "plain" },
    }
  end
  for i, c in ipairs(list) do list[i] = case(c) end
  return json.list(list)
end

local function card_of(name)
  local card = frt.models.card(name)
  local out = { parameters = card.parameters, gmacs = card.gmacs, tag = card.tag, license = card.license }
  for key, value in pairs(card.preprocess) do out[key] = value end
  return out
end

local function lines_of(command)
  local pipe, lines = io.popen(command .. " 2>&1; echo status $?"), {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  if table.remove(lines) ~= "status 0" then error(command .. " failed:\n" .. table.concat(lines, "\n"), 0) end
  return lines
end

local function own(mode)
  return lines_of(("%s %sown_models.lua %s %s"):format(compare.own, compare.here, mode, o.dir))
end

local KINDS = { "train", "eval", "grad", "map" }
local bad = 0

local function complain(name, line)
  bad = bad + 1
  print(("%-24s DIFFERS: %s"):format(name, line))
end

local function check(name)
  require("foodrt.core.io").make_folders(o.dir)
  require("foodrt.core.io").replace(o.dir .. "/cases.json", json.encode { model = name, card = card_of(name), cases = cases(name) })
  own "write"
  local worst, read = {}, 0
  for _, line in ipairs(lines_of(compare.python(peers, "peer_models.py ") .. o.dir)) do
    local case, kind, ours, theirs = line:match "^result (%S+) (%S+) (%S+) (%S+)$"
    if kind then
      local w = worst[kind] or { 0, 0 }
      worst[kind] = w
      w[1], w[2] = math.max(w[1], tonumber(ours)), math.max(w[2], tonumber(theirs))
      if o.long then print(("%-24s %-9s %-6s %9s %9s"):format(name, case, kind, ours, theirs)) end
    elseif line:find "^card " then
      complain(name, line)
    end
  end
  for _, line in ipairs(own "read") do
    local case, difference = line:match "^read (%S+) %d+ (%S+)$"
    read = math.max(read, tonumber(difference))
    if o.long then print(("%-24s %-9s read   %9s"):format(name, case, difference)) end
    if case ~= "adapted" and tonumber(difference) ~= 0 then complain(name, line) end
  end
  local row = { ("%-24s"):format(name) }
  for i, kind in ipairs(KINDS) do row[i + 1] = ("%9.1e %9.1e"):format(unpack(worst[kind])) end
  row[#row + 1] = ("%9.1e"):format(read)
  print(table.concat(row, " "))
  io.flush()
  os.execute("rm -r '" .. o.dir .. "'")
end

print(("%-24s %-19s %-19s %-19s %-19s %9s"):format("ours, PyTorch's float32", "train logits", "eval logits", "gradient norms",
  "maps", "adapted"))
for _, name in ipairs(frt.models.list()) do
  for _, glob in ipairs(globs) do
    if require("foodrt.nn.glob").match(glob, name) then
      check(name)
      break
    end
  end
end
os.exit(bad == 0 and 0 or 1)
