-- Signals to a whole run: what batch systems, terminals and pipes send lets it save and end; --resume that is stopped early
-- never takes an older checkpoint.
local process, tiny = require "spec.support.process", require "spec.support.tiny"

describe("a run", function()
  local dir
  before_each(function()
    dir = tiny.make { { "seed = 3,", [[on = { epoch_end = function() io.open("there", "w"):close() end }, seed = 3,]] },
      { "epochs = 3", "epochs = 400" } }
  end)
  after_each(function() process.remove(dir) end)

  local function shell(line)
    return process.shell((line:gsub("FOODRT", process.command {})), { dir = dir, env = { OMP_NUM_THREADS = "1" } })
  end

  for _, signal in ipairs { "HUP", "USR1", "XCPU" } do
    it("is saved and ended by SIG" .. signal, function()
      local status, out = shell(([[
        FOODRT tiny.lua --run a 2>&1 & p=$!
        while [ ! -e there ]; do sleep 0.05; done
        kill -%s $p; wait $p; echo $?]]):format(signal))
      assert.equal(0, status)
      assert.is_truthy(out:find("; saved a/last.safetensors, --resume goes on from there\n130\n", 1, true), out)
    end)
  end

  it("whose lines nobody reads is saved and ended", function()
    shell "{ FOODRT tiny.lua --run a; echo $? >status; } 2>err | head -n 2 >out"
    assert.equal("130\n", process.read(dir .. "/status"))
    local c = require("foodrt.train.checkpoint").load(dir .. "/a/last.safetensors")
    assert.is_true(c.meta.step > 0)
  end)

  it("with standard output closed writes nothing but metrics into metrics.jsonl", function()
    process.write(dir .. "/short.lua", tiny.text { { "epochs = 3", "epochs = 1" } })
    shell "FOODRT short.lua --run a >&- 2>&-"
    local text = process.read(dir .. "/a/metrics.jsonl")
    for line in text:gmatch "[^\n]+" do assert.is_truthy(line:find '^{.*"event":".*}$') end
    assert.is_truthy(text:find('"event":"test"', 1, true))
  end)
end)

describe("--resume that is stopped while it reads the newest checkpoint", function()
  it("says so and takes no older one", function()
    local dir = tiny.make { { "epochs = 2", "epochs = 1" }, { "epochs = 3", "epochs = 1" } }
    assert.equal(0, (tiny.run(dir, { "tiny.lua", "--run", "a" })))
    -- the signal comes when the newest is opened for the first time
    process.write(dir .. "/stop.lua", [[
      local checkpoint = require "foodrt.train.checkpoint"
      local load, times = checkpoint.load, 0
      checkpoint.load = function(path)
        times = times + 1
        if times == 1 then os.execute "kill -TERM $PPID" end
        return load(path)
      end
      os.exit(require("foodrt.cli").main { [0] = "foodrt", "tiny.lua", "--run", "a", "--resume" })]])
    local status, out, err = tiny.run(dir, { "stop.lua" })
    process.remove(dir)
    assert.equal(130, status)
    assert.equal("", out)
    assert.equal("foodrt: interrupted\n", err)
  end)
end)
