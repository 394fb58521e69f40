-- startup.lua: from the start of the process to `print(1)`, to an explained recipe, and to the first step of EfficientNet-B4,
-- beside Python's imports.
--   FOODRT_PEERS=DIR foodrt spec/bench/startup.lua [--rounds 5] [--data data/sample]
-- data: photos to train on; those that recipes draw on their first run will do.
local compare = dofile((arg[0]:match "^(.*/)" or "./") .. "compare.lua")
local o = compare.options("startup", { rounds = "5", data = "data/sample" })
if not require("foodrt.core.io").kind(o.data .. "/train") then
  error(("startup: no photos in %s/train: run a recipe once, or give --data DIR"):format(o.data), 0)
end
local peers = compare.peers "startup"
local C = require("foodrt.core.ffi").C

-- best wall ms of `command`; where it prints "at SECONDS" (the clock's), the ms until then
local function best(command, prints)
  local least = math.huge
  for _ = 1, tonumber(o.rounds) do
    local began = C.frt_now()
    local pipe = io.popen(command .. " 2>&1")
    local text = pipe:read "*a"
    pipe:close()
    local at = text:match "at ([%d%.]+)\n"
    if prints and not at then error(command .. " failed:\n" .. text, 0) end
    least = math.min(least, ((at and tonumber(at) or C.frt_now()) - began) * 1e3)
  end
  return least
end

local recipe = os.tmpname()
local file = assert(io.open(recipe, "w"))
file:write(("local photos = %q\n"):format(o.data), [[
local frt = require "foodrt"
local r = dofile "recipes/effnet_b4_focal.lua"
r.data = frt.data.folder { photos, size = 224, batch = 8, train = r.data.train }
r.on = { phase_start = function()
  io.stdout:write(("at %.6f\n"):format(require("foodrt.core.ffi").C.frt_now()))
  io.stdout:flush()
  os.exit(0)
end }
r.sample = nil
return r
]])
file:close()
os.rename(recipe, recipe .. ".lua")

print(("ms from the start of the process; best of %s runs"):format(o.rounds))
for _, row in ipairs {
  { "foodrt -e 'print(1)'", compare.own .. " -e 'print(1)'" },
  { "foodrt explain effnet_b4_focal", compare.own .. " explain recipes/effnet_b4_focal.lua" },
  { "foodrt, B4, to its first step", ("rm -rf %s.run && %s %s.lua --run %s.run"):format(recipe, compare.own, recipe, recipe), true },
  { "python -c 'import torch, timm'", (". %s/env.sh && %s/venv/bin/python -c 'import torch, timm'"):format(peers, peers) },
} do
  print(("%-34s %8.1f"):format(row[1], best(row[2], row[3])))
end
os.remove(recipe .. ".lua")
os.execute("rm -rf " .. recipe .. ".run*")
