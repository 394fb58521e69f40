-- What a small machine leaves: garbage, blocks that were freed, limits of the process. Nothing ends by a signal.
local process, plans, tiny = require "spec.support.process", require "spec.support.plans", require "spec.support.tiny"

local function lua(code)
  local status, out, err = process.foodrt({ "-e", code }, { env = { OMP_NUM_THREADS = "1" } })
  assert.equal(0, status, err)
  return out
end

describe("blocks that were freed", function()
  it("of growing size don't add up: at most 1/8 more than the peak is mapped", function()
    local out = lua [[
      local R = require "foodrt.tensor.record"
      for i = 1, 60 do
        frt.realize(frt.randn { i * 40000 })
        R.collect()
      end
      local m = frt.memory()
      print(m.peak, m.arena)]]
    local peak, mapped = out:match "(%d+)\t(%d+)"
    assert.is_true(tonumber(peak) > 60 * 40000 * 4)
    assert.is_true(tonumber(mapped) <= tonumber(peak) * 9 / 8, out)
  end)

  it("are taken again: a loop of one size maps nothing new", function()
    local out = lua [[
      local R = require "foodrt.tensor.record"
      local function turn()
        frt.realize(frt.randn { 500000 })
        R.collect()
        return frt.memory().arena
      end
      turn()
      local first = turn()
      for i = 1, 20 do assert(turn() == first) end
      print "equal"]]
    assert.equal("equal\n", out)
  end)
end)

describe("garbage", function()
  it("is collected at a quarter of what is there, not at 256 MB", function()
    local out = lua [[
      require("foodrt.core.machine").available = function() return 60e6 - frt.memory().live end
      for i = 1, 200 do frt.realize(frt.randn { 250000 }) end
      print(frt.memory().peak)]]
    assert.is_true(tonumber(out) < 35e6, out)  -- without: 200 MB
  end)
end)

describe("a limit of address space", function()
  it("ends a run with an error or lets it work, whatever it is", function()
    if plans.is_sanitized() then return end  -- shadow memory is address space
    local dir = tiny.make { { "epochs = 2", "epochs = 1" }, { "epochs = 3", "epochs = 1" } }
    local seen = {}
    for _, mb in ipairs { 60, 100, 140, 180, 200, 220, 240, 260, 280, 300, 330, 360, 400, 500, 800 } do
      local line = ("ulimit -v %d; rm -rf a; exec %s"):format(mb * 1000, process.command { "tiny.lua", "--run", "a" })
      local status, out, err = process.shell(line, { dir = dir, env = { OMP_NUM_THREADS = "2" } })
      assert.is_true(status == 0 or status == 1 or status == 127 and mb < 100, ("%d MB: %d %s"):format(mb, status, err))
      if status == 1 then assert.is_truthy((out .. err):find "memory", err) end
      seen[status] = true
    end
    process.remove(dir)
    assert.is_true(seen[0] and seen[1])
  end)
end)
