-- own_models.lua: what models.lua asks of our side; the counterpart of peer_models.py.
--   foodrt spec/bench/own_models.lua write DIR    fills each case's model by spec/fixtures/fill.lua, saves it and what it computes
--   foodrt spec/bench/own_models.lua read DIR     reads the files that timm wrote: largest difference of any value, one line each
-- DIR/cases.json lists the cases; models.lua says what is in one.
local frt = require "foodrt"
local json = require "foodrt.core.json"
local here = arg[0]:match "^(.*/)" or "./"
local fill = dofile(here .. "../fixtures/fill.lua")

local function slurp(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local mode, dir = arg[1], arg[2]
local given = assert(json.decode(slurp(dir .. "/cases.json")))
local make = frt.models[given.model]
require("foodrt.models.pretrained").say = function() end

local function options(c, more)
  local o = {}
  for _, t in ipairs { c.options, more } do
    for key, value in pairs(t) do o[key] = value end
  end
  return o
end

local function filled(c)
  local m = make(options(c, {})):build { values = false, input = { 1, c.channels, c.size, c.size } }
  fill.model(m)
  return m
end

local function photos(name, c)
  return (fill.photos(name, c.batch, c.size, c.channels))
end

-- one training step with batch-norm momentum 1, then the same photos in evaluation with the statistics it left: other photos would
-- leave deep networks with random weights so far from these statistics that float32 itself is lost (L2: 0.4 of the largest logit)
local function step(m, c, out)
  m:train():apply(function(part)
    if part.kind == "BatchNorm2d" then part.momentum = 1 end
  end)
  local params, names, labels = {}, {}, {}
  for name, p in m:named_parameters() do
    params[#params + 1], names[#names + 1] = p, name
  end
  for i = 1, c.batch do labels[i] = 1 + (i * 3) % c.classes end
  local logits = m(photos("input", c))
  local loss = frt.loss.cross_entropy {}(logits, frt.tensor(labels, { dtype = "i32" }))
  local grads = frt.grad(loss, params)
  local norms = {}
  for i, g in ipairs(grads) do norms[i] = (g * g):sum():sqrt() end
  frt.realize(logits, loss, unpack(norms))
  out.train = logits
  for i, name in ipairs(names) do out["grad " .. name] = norms[i] end
  out.eval = m:eval()(photos("input", c))
end

local function write(c)
  local m, out = filled(c), {}
  m:save(("%s/%s.safetensors"):format(dir, c.name))
  if c.step then
    step(m, c, out)
  else
    local y = m:eval()(photos("input2", c))
    if c.options.features then
      for i, map in ipairs(y) do out["map " .. i] = map end
    else
      out.eval = y
    end
  end
  frt.save(("%s/%s.own.safetensors"):format(dir, c.name), out)
end

-- the largest difference between a model that reads timm's file and the values in `want` (a file of all values)
local function difference(m, want)
  local values, n, worst = frt.load(want), 0, 0
  local dict = m:state_dict()
  for name, theirs in pairs(values) do
    local ours = assert(dict[name], name .. " is missing")
    if theirs.dtype == "f32" then worst = math.max(worst, (ours - theirs):abs():max():item()) end
    n = n + 1
  end
  return worst, n
end

local function read(c)
  local path = ("%s/%s.timm/model.safetensors"):format(dir, c.name)
  local m = make(options(c, { pretrained = path })):build { seed = 1, input = { 1, c.channels, c.size, c.size } }
  local want = c.adapted and ("%s/%s.adapted.safetensors"):format(dir, c.name) or path
  local worst, n = difference(m, want)
  print(("read %s %d %.3g"):format(c.name, n, worst))
end

local rates = {}
for _, part in make({ drop_path_rate = 0.2 }):modules() do
  if part.kind == "DropPath" then rates[#rates + 1] = part.p end
end
require("foodrt.core.io").replace(dir .. "/drop_path.json", json.encode(json.list(rates)))

for _, c in ipairs(given.cases) do
  if mode == "read" then
    if c.reads then read(c) end
  elseif c.computes then
    write(c)
  end
end
