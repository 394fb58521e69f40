-- own_train.lua: times one training step (forward, backward, AdamW) of a model; the counterpart of peer_train.py.
--   foodrt spec/bench/own_train.lua MODEL SIZE BATCH THREADS STEPS
-- One line per step: wall ms, CPU ms; then peak RSS in MB. FOODRT_PROFILE=1 adds the time by kind of step.
local frt = require "foodrt"
local T, lib = require "foodrt.tensor", require "foodrt.ffi"
local C, ffi = lib.C, lib.ffi
ffi.cdef "typedef struct { long s, ns; } bench_time; int clock_gettime(int, bench_time *);"
local time = ffi.new "bench_time"
local function cpu()
  ffi.C.clock_gettime(2, time)
  return tonumber(time.s) + 1e-9 * tonumber(time.ns)
end

local name = arg[1]
local size, batch, threads, steps = tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])
frt.set_threads(threads)
local model = frt.models[name] { classes = 101 }
model:build { input = { batch, 3, size, size }, classes = 101, seed = 1 }
model:train()
local opt = frt.optim.adamw { lr = 1e-3 }
opt:attach(model)
local n = batch * 3 * size * size
local bytes, labels, params = ffi.new("float[?]", n), {}, {}
C.frt_fill_normal(bytes, n, 1, "x", 0, 1)
local x = T.wrap_data({ batch, 3, size, size }, "f32", bytes, true)  -- as the loader gives it
for i = 1, batch do labels[i] = (i - 1) % 101 + 1 end
local y = frt.tensor(labels, { dtype = "i32" })
for _, p in model:named_parameters() do params[#params + 1] = p end
local loss_of = frt.loss.cross_entropy {}

local function step()
  local loss = loss_of(model(x), y)
  opt:update(params, frt.grad(loss, params), {})
  frt.realize(loss)
end

for _ = 1, steps do
  local wall, used = C.frt_now(), cpu()
  step()
  print(("%.2f %.2f"):format((C.frt_now() - wall) * 1e3, (cpu() - used) * 1e3))
  io.flush()
end
local status = io.open "/proc/self/status":read "*a"
print(("rss %.1f"):format(tonumber(status:match "VmHWM:%s+(%d+)") / 1024))

if os.getenv "FOODRT_PROFILE" then
  C.frt_profile(1)
  for _ = 1, 3 do step() end
  local info, one, kinds, list, total = ffi.new "frt_plan_info", ffi.new "frt_step_info", {}, {}, 0
  C.frt_plan_last()
  C.frt_plan_get(info)
  for i = 0, info.n_steps - 1 do
    C.frt_plan_step(i, one)
    local kind = ffi.string(one.op) .. " " .. ffi.string(one.kernel)
    if not kinds[kind] then
      kinds[kind] = { kind, 0, 0 }
      list[#list + 1] = kinds[kind]
    end
    kinds[kind][2], kinds[kind][3] = kinds[kind][2] + one.seconds, kinds[kind][3] + 1
    total = total + one.seconds
  end
  table.sort(list, function(a, b) return a[2] > b[2] end)
  print(("profile: %.1f ms, arena %.1f MB"):format(total * 1e3, tonumber(info.arena) / 1e6))
  for i = 1, math.min(20, #list) do print(("%9.2f ms %4d  %s"):format(list[i][2] * 1e3, list[i][3], list[i][1])) end
end
