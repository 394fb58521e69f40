-- The memory that explain predicts is what a run takes: drawn photos, an epoch, validation, test, checkpoints. Compared is
-- the growth of the resident set from the moment the recipe is read to its peak.
local process = require "spec.support.process"
local plans = require "spec.support.plans"
local json = require "foodrt.core.json"
local tree = debug.getinfo(1, "S").source:match "^@(.*)spec/run/" or ""

local RECIPE = [[
local frt = require "foodrt"
local function status(key)
  local f = io.open "/proc/self/status"
  local text = f:read "*a"
  f:close()
  return tonumber(text:match(key .. ":%%s+(%%d+)")) * 1024
end
local base = status "VmRSS"
return {
  name = "m", seed = 3, model = frt.models[%q] { classes = "classes", checkpoint = %s }, loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "photos", size = %d, train = { frt.augment.random_resized_crop {}, frt.augment.flip {} } },
  phases = { frt.phase { "all", epochs = 1, optim = frt.optim.adamw { lr = 1e-4 } } },
  on = { run_end = function()
    local f = io.open("used.txt", "w")
    f:write(("%%d %%d"):format(base, status "VmHWM"))
    f:close()
  end },
}
]]

describe("the memory that explain predicts", function()
  local dir
  setup(function()
    dir = process.temp_dir()
    local sample = dofile(tree .. "data/sample.lua")
    sample.draw { root = dir .. "/photos", per_class = { train = 4, val = 1, test = 1 } }
  end)
  teardown(function() process.remove(dir) end)

  for _, case in ipairs {
    { "efficientnet_b0", 96, 8 }, { "efficientnet_b0", 96, 32, "memory=270M" }, { "resnet18", 64, 8 },
    { "resnet18", 64, 8, "ema=0.99" },
    { "convnext_atto", 128, 12, checkpoint = true },
  } do
    local name, size, batch, more = unpack(case)
    it(("is what a run of %s takes, within 5 %% of the growth: %d x %d%s"):format(name, batch, size, more and ", " .. more or ""),
      function()
      if plans.is_sanitized() then return end  -- shadow memory and red zones are in no plan
      process.write(dir .. "/m.lua", RECIPE:format(name, tostring(case.checkpoint or false), size))
      local args = { "-o", "data.batch=" .. batch, more and "-o" or nil, more }
      local status, out = process.foodrt({ "explain", "m.lua", "--json", unpack(args) }, { dir = dir })
      assert.equal(0, status)
      local said = assert(json.decode(out)).phases[1].memory.total
      local _, _, why = process.foodrt({ "m.lua", unpack(args) }, { dir = dir })
      assert.equal("", why)
      local base, peak = process.read(dir .. "/used.txt"):match "(%d+) (%d+)"
      local ratio = (said - base) / (peak - base)
      assert.is_true(math.abs(ratio - 1) <= 0.05, ("%.3f of %.1f MB"):format(ratio, (peak - base) / 1e6))
    end)
  end
end)
