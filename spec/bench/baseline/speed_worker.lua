-- speed_worker.lua: one side of speed.lua: makes ready what a case times, then answers each number k on its input with the
-- seconds of one: the median of k. Scripts' API only, so that any tree can run it.
--   foodrt speed_worker.lua CASE PHOTOS
local frt, ffi = require "foodrt", require "ffi"
local here = arg[0]:match "^(.*/)" or "./"
local photos = dofile(here .. "photos.lua")
local case, root = arg[1], arg[2]

ffi.cdef "typedef struct { long s, ns; } baseline_time; int clock_gettime(int, baseline_time *);"
local time = ffi.new "baseline_time"
local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.s) + 1e-9 * tonumber(time.ns)
end

local CLASSES, SIZE, WARM = 101, 224, 2

local function built(name, n)
  local model = frt.models[name] { classes = CLASSES }
  model:build { input = { 1, 3, SIZE, SIZE }, classes = CLASSES, seed = 1 }
  return model, photos.batch(root, SIZE, n, CLASSES)
end

local makers = {}

function makers.train(name, precision)
  frt.set_precision(precision)
  local model, batch = built(name, 8)
  model:train()
  local opt, params = frt.optim.adamw { lr = 1e-3 }:attach(model), {}
  for _, p in model:named_parameters() do params[#params + 1] = p end
  local loss_of = frt.loss.cross_entropy {}
  return function()
    local loss = loss_of(model(batch.x), batch.y)
    opt:update(params, frt.grad(loss, params), {})
    frt.realize(loss)
    loss:item()
  end
end

function makers.infer(name, n)
  local model, batch = built(name, tonumber(n))
  model:eval()
  return function() frt.realize((model(batch.x))) end
end

function makers.loader()
  local augment = frt.augment
  local data = frt.data.folder { root, size = SIZE, batch = 32, train = {
    augment.random_resized_crop {}, augment.flip {}, augment.color_jitter { 0.4, 0.4, 0.4 } } }
  data:open()
  local epoch = 0
  return function()
    epoch = epoch + 1
    local loader = data:loader("train", { seed = 1, epoch = epoch, threads = 1, drop_last = false })
    local n = 0
    for batch in function() return (loader:next()) end do n = n + batch.n end
    assert(n == data:count "train")
  end
end

-- 1,000 nodes: a constant, and 333 convolutions, sums and activations
local function chain(size)
  local w, o = frt.randn { 8, 8, 3, 3 }, { padding = 1 }
  local x = frt.randn { 1, 8, size, size }
  frt.realize(w, x)
  return function()
    local y = x * 1
    for _ = 1, 333 do y = (y:conv2d(w, o) + x):relu() end
    return y
  end
end

function makers.record()
  local net = chain(16)
  return function() net() end
end

function makers.replay()
  local net = chain(4)
  return function() frt.realize(net()) end
end

local words = {}
for word in case:gmatch "%S+" do words[#words + 1] = word end
frt.set_threads(2)
local run = makers[words[1]](words[2], words[3])
for _ = 1, WARM do run() end
io.stdout:setvbuf "line"
print "ready"

local function one()
  collectgarbage()
  local began = now()
  run()
  return now() - began
end

for line in io.lines() do
  local k, took = tonumber(line), {}
  if not k then break end
  if k > 1 then one() end  -- the other side's data lie in the caches
  for i = 1, k do took[i] = one() end
  table.sort(took)
  print(("%.9f"):format(took[math.floor((k + 1) / 2)]))
end
