-- a run on the device that the specs are for: killed and resumed it has the bits of one that never stopped.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local device = require "spec.support.device"

-- the recipe's process ends in the middle of step 4 of 4
local CUT = [[
local n = 0
local function cut()
  n = n + 1
  if n == 4 and os.getenv "CUT" then os.exit(9) end
end

]]

describe("a run on " .. device.name, function()
  local dir
  setup(function()
    dir = tiny.make({ { "epochs = 3", "epochs = 2" },
      { "seed = 3,", "seed = 3, on = { step_end = cut }," }, { "return {", CUT .. "return {" } },
      { train = { pizza = 6, ramen = 6 }, val = { pizza = 2, ramen = 2 }, test = { pizza = 1, ramen = 1 } })
  end)
  teardown(function() process.remove(dir) end)

  local function run(name, ...)
    return tiny.run(dir, { "tiny.lua", "--run", name, "--device", device.name, ... })
  end

  it("goes through its phases; ended by its recipe half-way and resumed it ends with the same bits", function()
    local status, out, err = run "whole"
    assert.same({ 0, "" }, { status, err })
    assert.match("^test: top1 .* %(2 photos%) whole$", tiny.last(out))
    assert.match(", " .. device.name .. " %(", out)
    assert.equal(9, (tiny.run(dir, { "tiny.lua", "--run", "parts", "--device", device.name, "-o", "save.every=0.0001" },
      { env = { CUT = "1" } })))
    assert.equal(0, (run("parts", "--resume")))
    assert.equal(tiny.hash(dir .. "/whole/last.safetensors"), tiny.hash(dir .. "/parts/last.safetensors"))
  end)

  it("has a checkpoint that eval on the same device reads", function()
    local status, out, err = tiny.run(dir, { "eval", "whole", "--device", device.name })
    assert.same({ 0, "" }, { status, err })
    assert.match("top1", out)
  end)
end)
