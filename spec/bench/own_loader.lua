-- own_loader.lua: reads one epoch of photos as training wants them; the counterpart of peer_loader.py.
--   foodrt spec/bench/own_loader.lua ROOT SIZE THREADS EPOCHS
-- One line per epoch: ms and CPU ms per 1,000 photos; then peak RSS in MB.
local frt = require "foodrt"
local measure = dofile((arg[0]:match "^(.*/)" or "./") .. "measure.lua")
local C = require("foodrt.core.ffi").C
local augment = frt.augment

local size, threads = tonumber(arg[2]), tonumber(arg[3])
local data = frt.data.folder { arg[1], size = size, batch = 32, train = {
  augment.random_resized_crop { scale = { 0.08, 1 } }, augment.flip {}, augment.color_jitter { 0.4, 0.4, 0.4 } } }
data:open()
for epoch = 1, tonumber(arg[4]) do
  local wall, used, n = C.frt_now(), measure.cpu(), 0
  local loader = data:loader("train", { seed = 1, epoch = epoch, threads = threads, drop_last = false })
  for batch in function() return loader:next() end do n = n + batch.n end
  print(("%.2f %.2f"):format((C.frt_now() - wall) * 1e6 / n, (measure.cpu() - used) * 1e6 / n))
  io.flush()
end
print(("rss %.1f"):format((measure.rss())))
