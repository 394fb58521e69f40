-- own_train.lua: times one training step (forward, backward, AdamW) of a model; the counterpart of peer_train.py.
--   foodrt spec/bench/own_train.lua MODEL SIZE BATCH THREADS STEPS [--head] [--bf16] [--checkpoint] [--memory 300M] [--plan]
-- One line per step: wall ms, CPU ms; then peak RSS in MB. FOODRT_PROFILE=1 adds the time by kind of step. --head: all but
-- the classifier is frozen. --checkpoint: the model's stages are computed again in the backward pass; --memory: what a step's
-- intermediates may take; --plan: its arena as well (spec/bench/memory.lua).
local frt = require "foodrt"
local measure = dofile((arg[0]:match "^(.*/)" or "./") .. "measure.lua")

local name = arg[1]
local size, batch, threads, steps = tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])
local flag = {}
for i = 6, #arg do flag[arg[i]] = arg[i + 1] or true end
frt.set_threads(threads)
if flag["--bf16"] then assert(require("foodrt.train.precision").set "bf16" == "bf16", "this CPU has no bf16") end
if flag["--memory"] then require("foodrt.core.ffi").C.frt_set_memory(require("foodrt.train.budget").bytes(flag["--memory"])) end
local model = frt.models[name] { classes = 101, checkpoint = flag["--checkpoint"] ~= nil }
model:build { input = { batch, 3, size, size }, classes = 101, seed = 1 }
model:train()
if flag["--head"] then
  model:freeze "*"
  model:unfreeze(model.classifier_name)
end
local opt = frt.optim.adamw { lr = 1e-3 }
opt:attach(model)
local x = measure.photos(batch, size)
local labels, params = {}, {}
for i = 1, batch do labels[i] = (i - 1) % 101 + 1 end
local y = frt.tensor(labels, { dtype = "i32" })
for _, p in model:named_parameters() do
  if p.requires_grad then params[#params + 1] = p end
end
local loss_of = frt.loss.cross_entropy {}

measure.steps(steps, function()
  local loss = loss_of(model(x), y)
  opt:update(params, frt.grad(loss, params), {})
  frt.realize(loss)
end, flag["--plan"] ~= nil)
