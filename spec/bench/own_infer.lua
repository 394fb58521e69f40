-- own_infer.lua: times one forward pass at evaluation of a model; the counterpart of peer_infer.py.
--   foodrt spec/bench/own_infer.lua MODEL SIZE BATCH THREADS STEPS
-- One line per pass: wall ms, CPU ms; then peak RSS in MB. FOODRT_PROFILE=1 adds the time by kind of step.
local frt = require "foodrt"
local measure = dofile((arg[0]:match "^(.*/)" or "./") .. "measure.lua")

local name = arg[1]
local size, batch, threads, steps = tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])
frt.set_threads(threads)
local model = frt.models[name] {}
model:build { input = { batch, 3, size, size }, seed = 1 }
model:eval()
local x = measure.photos(batch, size)
measure.steps(steps, function() frt.realize((model(x))) end)
