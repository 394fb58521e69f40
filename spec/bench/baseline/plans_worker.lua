-- plans_worker.lua: prints the plans of one model of models.lua; nothing is computed.
--   foodrt plans_worker.lua NAME plain|checkpoint PHOTOS
-- "== NAME, mode" before each plan, then a line per step: what runs, on which shapes (* has channels last), what it costs,
-- what was fused into it, whose it is.
local frt = require "foodrt"
local here = arg[0]:match "^(.*/)" or "./"
local models = dofile(here .. "models.lua")
local photos = dofile(here .. "photos.lua")

local name, kind, root = arg[1], arg[2], arg[3]
local BATCH, LEAST = 8, 1e6

-- the one thing that scripts have no name for: what a plan's intermediates may take
local function set_memory(bytes)
  for _, path in ipairs { "foodrt.core.ffi", "foodrt.ffi" } do
    local ok, lib = pcall(require, path)
    if ok then return lib.C.frt_set_memory(bytes) end
  end
  error "no way to limit memory in this tree"
end

local function quiet(fn, ...)
  local print = _G.print
  _G.print = function() end
  local ok, value = pcall(fn, ...)
  _G.print = print
  if not ok then error(value, 0) end
  return value
end

local TOTALS = { "n_steps", "n_reference", "flops", "bytes", "arena", "unshared", "bound", "scratch", "derived", "outputs",
  "variables" }

local function show(mode, ...)
  local ok, plan = pcall(quiet, frt.explain, ...)
  if not ok then  -- as good as a plan: the other tree must say the same
    print(("== %s, %s\nerror: %s"):format(name, mode, tostring(plan):match "[^/]*$"))
    return { arena = LEAST }
  end
  local out = { ("== %s, %s"):format(name, mode) }
  for i = 1, plan.n_steps do
    local s = plan[i]
    out[#out + 1] = ("%s | %s%s | %s | %.0f | %.0f | %s | %s | %s"):format(s.op, s.kernel, s.reference and " (reference)" or "",
      s.shapes, s.flops, s.bytes, s.note, s.scope, s.line:match "[^/]*$")
  end
  for _, key in ipairs(TOTALS) do out[#out + 1] = ("%s %.0f"):format(key, plan[key]) end
  for _, m in ipairs(plan.missed) do
    out[#out + 1] = ("not fused: %s | %s | %s | %s | %s | %s"):format(m.op, m.what, m.why, m.by, m.scope, m.by_scope)
  end
  print(table.concat(out, "\n"))
  return plan
end

local one
for _, m in ipairs(models.list) do
  if m.name == name then one = m end
end

-- a training step, as a script records it
local function training(model, batch)
  local params = {}
  for _, p in model:named_parameters() do
    if p.requires_grad then params[#params + 1] = p end
  end
  local opt = (one.optim or frt.optim.adamw { lr = 1e-3 }):attach(model)
  local loss = (one.loss or frt.loss.cross_entropy {})(model(batch.x), batch.y)
  local grads = frt.grad(loss, params)
  local gscale, norm = frt.optim.clip(grads, one.clip)
  opt:update(params, grads, { gscale = gscale })
  return loss, norm
end

frt.set_threads(2)
local has_bf16 = pcall(frt.set_precision, "bf16")
frt.set_precision "fp32"
local checkpoint = kind == "checkpoint"
local model = one.make(checkpoint)
model:build { input = { 2, 3, one.size, one.size }, classes = models.classes, seed = 1, values = false }
local batch = photos.batch(root, one.size, BATCH, models.classes)

-- fn under each precision there is
local function each_precision(mode, fn)
  fn(mode .. ", fp32")
  if not has_bf16 then return end
  frt.set_precision "bf16"
  fn(mode .. ", bf16")
  frt.set_precision "fp32"
end

if not checkpoint then
  model:eval()
  local few = photos.batch(root, one.size, 1, models.classes)
  for _, b in ipairs { few, batch } do
    local logits = model(b.x)
    each_precision(("evaluation of %d"):format(b.n), function(mode) show(mode, logits) end)
  end
  few.loader:stop()
end
model:train()
if one.freeze then
  model:freeze "*"
  model:unfreeze(one.freeze)
end
local loss, norm = training(model, batch)
each_precision(checkpoint and "training with checkpoints" or "training", function(mode)
  local arena = show(mode, loss, norm).arena
  for _, limit in ipairs(checkpoint and { LEAST } or { LEAST, math.floor(arena * 0.7) }) do
    set_memory(limit)
    show(mode .. (limit == LEAST and ", least memory" or ", 0.7 of the memory"), loss, norm)
    set_memory(0)
  end
end)
batch.loader:stop()
