-- resuming: a run that was stopped, by a signal or by kill -9, ends with the bits of one that never stopped.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local checkpoint, json = require "foodrt.train.checkpoint", require "foodrt.core.json"

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

describe("resuming", function()
  local dir, whole
  setup(function()
    dir = tiny.make()
    assert.equal(0, (tiny.run(dir, { "tiny.lua", "--run", "whole" })))
    whole = { tiny.hash(dir .. "/whole/last.safetensors"), tiny.hash(dir .. "/whole/best.safetensors") }
  end)
  teardown(function() process.remove(dir) end)

  -- kill -9 again and again, resumed with other numbers of loader threads, until a run ends
  local function killed_until_done(name, args, waits)
    local status, out, err, kills = 1, "", "", 0
    for i = 1, 40 do
      local list = { "tiny.lua", "--run", name, "--workers", tostring(1 + i % 4), unpack(args) }
      if exists(dir .. "/" .. name .. "/recipe.lua") then list[#list + 1] = "--resume" end
      local wait = waits[i]
      if not wait then
        status, out, err = tiny.run(dir, list)
        break
      end
      status, out, err = tiny.run_for(dir, list, "KILL", wait)
      if status == 0 then break end
      kills = kills + 1
    end
    return status, out, err, kills
  end

  it("after kill -9 at six moments, with 1 to 4 loader threads: the same bits, the same closing line", function()
    local status, out, err = killed_until_done("killed", { "-o", "save.every=0.02" }, { 0.21, 0.34, 0.27, 0.4, 0.3, 0.25 })
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal(whole[1], tiny.hash(dir .. "/killed/last.safetensors"))
    assert.equal(whole[2], tiny.hash(dir .. "/killed/best.safetensors"))
    assert.match("^test: top1 .* %(13 photos%) killed$", tiny.last(out))
  end)

  it("in the middle of an update: sums of 3 micro-batches are kept", function()
    local args = { "-o", "accumulate=3", "-o", "data.batch=4", "-o", "save.every=0.001" }
    assert.equal(0, (tiny.run(dir, { "tiny.lua", "--run", "sums", unpack(args) })))
    assert.equal(0, (killed_until_done("sums_killed", args, { 0.3, 0.37, 0.33 })))
    assert.equal(tiny.hash(dir .. "/sums/last.safetensors"), tiny.hash(dir .. "/sums_killed/last.safetensors"))
  end)

  for _, signal in ipairs { "INT", "TERM" } do
    it("SIG" .. signal .. " saves within a step, says so in one line and exits with 130", function()
      local name = "by_" .. signal
      local status, out, err = tiny.run_for(dir, { "tiny.lua", "--run", name, "-o", "phases.head.epochs=2000" }, signal, 0.7)
      assert.equal(130, status)
      assert.equal("", err)
      assert.match("^interrupted in phase 'head', epoch %d+, step %d+; saved " .. name
        .. "/last.safetensors, %-%-resume goes on from there$", tiny.last(out))
      assert.equal("head", checkpoint.peek(dir .. "/" .. name .. "/last.safetensors").phase_name)
    end)
  end

  it("in bf16 too, which the run keeps; where the CPU has none, a line says so and it computes in fp32", function()
    local args = { "-o", "precision=bf16", "-o", "data.size=48", "-o", "save.every=0.02" }
    local status, out = tiny.run(dir, { "tiny.lua", "--run", "half", unpack(args) })
    assert.equal(0, status)
    if require("foodrt.train.precision").set "bf16" == "bf16" then
      require("foodrt.train.precision").set "fp32"
      assert.match("maps in bf16", out)
      assert.equal(0, (killed_until_done("half_killed", args, { 0.3, 0.37 })))
      assert.equal(tiny.hash(dir .. "/half/last.safetensors"), tiny.hash(dir .. "/half_killed/last.safetensors"))
      assert.equal("bf16", checkpoint.peek(dir .. "/half/last.safetensors").precision)
      local _, _, err = tiny.run(dir, { "tiny.lua", "--run", "half", "--resume", "-o", "precision=fp32" })
      assert.match("this run has precision = bf16 and keeps it, got fp32", err)
    end
    status, out = tiny.run(dir, { "tiny.lua", "--run", "none", unpack(args) }, { env = { FOODRT_ISA = "base" } })
    assert.equal(0, status)
    assert.match('precision = "bf16": this CPU has no instructions for bf16 %(avx512_bf16%): this computes in fp32\n', out)
    assert.equal("fp32", checkpoint.peek(dir .. "/none/last.safetensors").precision)
  end)

  it("metrics.jsonl has every line once", function()
    local function steps(name)
      local list = {}
      for text in io.lines(dir .. "/" .. name .. "/metrics.jsonl") do
        local entry = json.decode(text)
        list[#list + 1] = entry.event .. " " .. entry.step .. " " .. tostring(entry.loss)
      end
      return list
    end
    assert.same(steps "whole", steps "killed")
  end)

  it("a damaged last checkpoint is named and the one before it is taken", function()
    process.shell(("cp -r whole damaged && printf X | dd of=damaged/last.safetensors bs=1 seek=9000 conv=notrunc"), { dir = dir })
    local status, out = tiny.run(dir, { "tiny.lua", "--run", "damaged", "--resume" })
    assert.equal(0, status)
    assert.match("damaged/last%.safetensors.*; going on with damaged/last%.previous%.safetensors", out)
    assert.equal(whole[1], tiny.hash(dir .. "/damaged/last.safetensors"))
  end)

  it("a damaged checkpoint with none before it is an error that names it", function()
    process.shell("mkdir one && cp whole/recipe.lua one/ && head -c 3000 whole/last.safetensors >one/last.safetensors", { dir = dir })
    local status, _, err = tiny.run(dir, { "tiny.lua", "--run", "one", "--resume" })
    assert.equal(1, status)
    assert.match("^foodrt: %-%-resume: .*one/last%.safetensors", err)
  end)

  it("stopped before the first checkpoint, it starts from the beginning", function()
    process.shell("mkdir early && cp whole/recipe.lua early/", { dir = dir })
    local status, out = tiny.run(dir, { "tiny.lua", "--run", "early", "--resume" })
    assert.equal(0, status)
    assert.match("early has no checkpoint yet: it starts from the beginning\n", out)
    assert.equal(whole[1], tiny.hash(dir .. "/early/last.safetensors"))
  end)

  it("more epochs may be asked for; the message says what changes", function()
    process.shell("cp -r whole more", { dir = dir })
    local status, out = tiny.run(dir, { "tiny.lua", "--run", "more", "--resume", "-o", "phases.all.epochs=4" })
    assert.equal(0, status)
    assert.match("phases%.all%.epochs: 3 %-> 4 from here on\n", out)
    assert.match("all 4/4: ", out)
  end)

  it("what would make another run of it is refused", function()
    local may = "; what may: epochs, steps and cache of phases, data.root (of the same photos), data.workers, data.prefetch, "
      .. "save.every, memory, --workers, --device, --time\n"
    local function refused(args, want)
      local status, _, err = tiny.run(dir, { "tiny.lua", "--run", "whole", "--resume", unpack(args) })
      assert.equal(want .. may, err)
      assert.equal(1, status)
    end
    refused({ "-o", "seed=4" }, "foodrt: --resume: this run has seed = 3 and keeps it, got 4")
    refused({ "-o", "data.batch=4" }, "foodrt: --resume: this run has data.batch = 8 and keeps it, got 4")
    local n = checkpoint.peek(dir .. "/whole/last.safetensors").threads
    refused({ "--threads", "7" }, ("foodrt: --resume: this run computes with %d threads and keeps them, got --threads 7"):format(n))
  end)

  it("other photos are refused", function()
    process.shell("cp -r whole other && cp -r photos photos2 && rm photos2/train/pizza/01.bmp", { dir = dir })
    local status, _, err = tiny.run(dir, { "tiny.lua", "--run", "other", "--resume", "-o", "data.root=photos2" })
    assert.equal(1, status)
    assert.equal("foodrt: --resume: the train photos of 'photos2' are not those that other began with (60 then, 59 now)\n", err)
  end)

  it("a recipe that was changed since goes on as it was", function()
    process.shell("cp -r whole copy && sed 's/seed = 3/seed = 4/' tiny.lua >changed.lua", { dir = dir })
    local status, out = tiny.run(dir, { "changed.lua", "--run", "copy", "--resume" })
    assert.equal(0, status)
    assert.match("changed%.lua has changed since this run began: it goes on with its own copy, copy/recipe%.lua\n", out)
  end)

  it("no run to resume is an error", function()
    local status, _, err = tiny.run(dir, { "tiny.lua", "--resume" })
    assert.equal(1, status)
    assert.equal("foodrt: no run of the name 'tiny' in 'runs' to resume\n", err)
  end)
end)
