-- A run's folder belongs to one process: runs that begin together, the same --run twice, --resume of a living run, locks
-- where the file system has none.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local lib = require "foodrt.core.ffi"
local C, ffi = lib.C, lib.ffi

describe("a run's folder", function()
  local dir
  before_each(function() dir = tiny.make { { "epochs = 2", "epochs = 1" }, { "epochs = 3", "epochs = 1" } } end)
  after_each(function() process.remove(dir) end)

  local function shell(line)
    local status, out = process.shell((line:gsub("FOODRT", process.command {})), { dir = dir, env = { OMP_NUM_THREADS = "1" } })
    return status, out
  end

  it("is another one for each of four runs of a name that begin together, and each is whole", function()
    local status = shell [[
      for i in 1 2 3 4; do FOODRT tiny.lua -o seed=$i >out$i 2>err$i & pids="$pids $!"; done
      for p in $pids; do wait $p || exit 1; done]]
    assert.equal(0, status)
    local seeds = {}
    for i, name in ipairs { "tiny", "tiny-2", "tiny-3", "tiny-4" } do
      local run = dir .. "/runs/" .. name
      local seed = process.read(run .. "/options.json"):match '"seed"%s*,%s*"(%d)"'
      seeds[i] = tonumber(seed)
      assert.is_truthy(process.read(dir .. "/out" .. seed):find("runs/" .. name .. "\n", 1, true))
      local tests = select(2, process.read(run .. "/metrics.jsonl"):gsub('"event":"test"', ""))
      assert.equal(1, tests)
      assert.is_nil(process.read(run .. "/.lock"))
    end
    table.sort(seeds)
    assert.same({ 1, 2, 3, 4 }, seeds)
  end)

  -- A run whose first epoch waits for a file `go`
  local WAIT = [[on = { epoch_end = function()
      io.open("there", "w"):close()
      while not io.open "go" do require("foodrt.core.ffi").C.frt_sleep(10) end
    end }, seed = 3,]]

  it("that a living process has is refused to --run and --resume, which name the process", function()
    process.write(dir .. "/wait.lua", tiny.text { { "seed = 3,", WAIT } })
    local status, out = shell [[
      FOODRT wait.lua --run a >out 2>&1 & p=$!
      while [ ! -e there ]; do sleep 0.05; done
      FOODRT wait.lua --run a 2>&1; echo $?
      FOODRT wait.lua --run a --resume 2>&1; echo $?
      echo $p; : >go; wait $p]]
    assert.equal(0, status)
    local pid = out:match "(%d+)\n$"
    assert.equal(("foodrt: --run a: in use by process %s\n1\nfoodrt: --resume: a: in use by process %s\n1\n%s\n"):format(pid, pid,
      pid), out)
  end)

  it("is free again after kill -9, and while the killed process waits for its parent", function()
    process.write(dir .. "/wait.lua", tiny.text { { "seed = 3,", WAIT } })
    local status, out = shell [[
      FOODRT wait.lua --run a >out 2>&1 & p=$!
      while [ ! -e there ]; do sleep 0.05; done
      kill -9 $p; : >go
      FOODRT wait.lua --run a --resume 2>&1]]
    assert.equal(0, status, out)
  end)

  it("that nothing was written to is removed when a run ends before it begins", function()
    local status = tiny.run(dir, { "tiny.lua", "--run", "b", "-o", "data.root=nowhere" })
    assert.equal(1, status)
    assert.is_nil(require("foodrt.core.io").kind(dir .. "/b"))
  end)
end)

describe("a claim", function()
  local dir, held
  before_each(function()
    dir, held = process.temp_dir(), ffi.new "int32_t[1]"
  end)
  after_each(function() process.remove(dir) end)

  local function claim(locks) return tonumber(C.frt_claim(dir .. "/x", locks, held)) end

  it("holds without locks of the file system by what the file says", function()
    assert.equal(0, claim(0))
    local text, fd = process.read(dir .. "/x"), held[0]
    assert.is_true(claim(0) ~= 0)
    assert.is_truthy(ffi.string(C.frt_error_last()):find "^in use by this process")
    local code = ("local lib = require 'foodrt.core.ffi' print(lib.C.frt_claim(%q, 0, lib.ffi.new 'int32_t[1]') ~= 0, "
      .. "lib.ffi.string(lib.C.frt_error_last()))"):format(dir .. "/x")
    local _, out = process.foodrt { "-e", code }
    assert.equal(("true\tin use by process %s\n"):format(text:match "^%d+"), out)
    C.frt_claim_end(dir .. "/x", fd)
    assert.is_nil(process.read(dir .. "/x"))
  end)

  it("of a process that is gone, or of a copy of the file, is nobody's", function()
    assert.equal(0, claim(0))
    local text = process.read(dir .. "/x")
    C.frt_claim_end(dir .. "/x", held[0])
    process.write(dir .. "/x", (text:gsub("^%d+ %d+", "%0" .. 7)))  -- another start: its number was given anew
    assert.equal(0, claim(0))
    C.frt_claim_end(dir .. "/x", held[0])
    process.write(dir .. "/y", "")  -- takes the number of the file that was removed
    process.write(dir .. "/x", text:gsub("^(%d+ %d+) %d+", "%1 1"))
    assert.equal(0, claim(1))
    C.frt_claim_end(dir .. "/x", held[0])
  end)

  it("from another machine stands where there are no locks, and says how to end it", function()
    assert.equal(0, claim(0))
    local text = process.read(dir .. "/x")
    process.write(dir .. "/x", (text:gsub("%S+\n$", "kitchen/pid:[1]\n")))
    C.frt_claim_end(dir .. "/nothing", held[0])
    assert.is_true(claim(0) ~= 0)
    assert.is_truthy(ffi.string(C.frt_error_last()):find("of kitchen (if there is none, remove '" .. dir .. "/x')", 1, true))
    assert.equal(0, claim(1))  -- with locks, the lock says that nobody has it
    C.frt_claim_end(dir .. "/x", held[0])
  end)
end)
