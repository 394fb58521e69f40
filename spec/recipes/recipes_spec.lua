-- Every recipe that is shipped: it loads, explains without photos, and its plans have no step by the reference.
local process = require "spec.support.process"
local foodrt = process.foodrt
local json = require "foodrt.json"

local NAMES = { "effnet_b4_focal", "b4_plain_ce", "lite0_quick", "lite0_finetune", "lite0_head" }
local ROOT = package.loaded["foodrt.host"] and require("foodrt.host").root .. "/share/foodrt/recipes" or "recipes"

local function cpu_seconds(line)
  local pipe = io.popen("bash -c 'TIMEFORMAT=\"%U %S\"; time " .. line .. " >/dev/null 2>&1' 2>&1")
  local user, system = pipe:read("*a"):match "([%d%.]+) ([%d%.]+)"
  pipe:close()
  return tonumber(user) + tonumber(system)
end

describe("shipped recipes", function()
  local dir
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  local function explained(name, ...)
    local status, out, err = foodrt({ "explain", ROOT .. "/" .. name .. ".lua", "--json", ... }, { dir = dir })
    assert.equal("", err)
    assert.equal(0, status)
    return assert(json.decode(out))
  end

  it("are all listed here", function()
    local pipe = io.popen("ls " .. ROOT)
    local found = {}
    for file in pipe:lines() do
      if file:match "%.lua$" then found[#found + 1] = file:match "^(.*)%.lua$" end
    end
    pipe:close()
    local names = { unpack(NAMES) }
    table.sort(names)
    assert.same(names, found)
  end)

  for _, name in ipairs(NAMES) do
    it(name .. " explains itself on the sample set and on other photos, 0 steps by the reference", function()
      for _, more in ipairs { {}, { "-o", "data.root=elsewhere" } } do
        local f = explained(name, unpack(more))
        assert.equal(name, f.name)
        assert.equal(#more == 0 and "sample" or "assumed", f.data.source)
        assert.equal(0, f.reference_steps)
        for _, p in ipairs(f.phases) do assert.equal(0, p.reference_steps) end
      end
    end)
  end

  it("effnet_b4_focal has 17,549,616 parameters in its backbone, its head trains first", function()
    local f = explained("effnet_b4_focal", "-o", "data.root=elsewhere")
    assert.equal(17548616 + 3584 * 101 + 101, f.parameters)
    assert.equal(3584 * 101 + 101, f.phases[1].trainable)
    assert.equal(f.parameters, f.phases[2].trainable)
    assert.equal("focal (gamma 2, alpha 1)", f.loss)
    assert.equal(380, f.preprocessing.size)
    assert.near(8.8e9, f.flops_per_photo, 0.1e9)
  end)

  it("effnet_b4_focal is explained in less than 0.5 s of one core", function()
    local least = math.huge
    for _ = 1, 2 do least = math.min(least, cpu_seconds(process.command { "explain", ROOT .. "/effnet_b4_focal.lua" })) end
    assert.is_true(least < 0.5, ("took %.2f s"):format(least))
  end)
end)
