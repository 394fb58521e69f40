-- hooks and the best epoch: hooks stop runs and keep a state; what decides on the best is a number, of photos that were seen.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local checkpoint = require "foodrt.train.checkpoint"
local frt = require "foodrt"
local monitor = require "foodrt.train.monitor"

describe("hooks", function()
  local dir
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  local function made(...) return (tiny.recipe(dir, ...)) end

  it("that change the model's mode leave it training, whole or in part", function()
    local modes = {}
    local r = made(nil, { { "phases.all.epochs", "1" }, { "phases.head.epochs", "1" } })
    r.on = {
      step_end = function(run)
        modes[#modes + 1] = run.model.training and run.model.backbone.training
        run.model:eval()
      end,
      epoch_end = function(run) run.model.backbone:eval() end,
    }
    frt.trainer(r):run()
    for _, m in ipairs(modes) do assert.is_true(m) end
    assert.equal(14, #modes)
  end)

  it("may measure in the middle of an epoch: the run's bits stay", function()
    local function hash(on)
      local r = made(nil, { { "phases.all.epochs", "1" } })
      r.on = on
      local t = frt.trainer(r):open()
      t:run_phase "all"
      local out = {}
      for name, v in pairs((r.model:state_dict())) do out[name] = v:totable() end
      return out
    end
    assert.same(hash(nil), hash { step_end = function(run)
      if run.step % 3 == 1 then frt.trainer.evaluate(run.model, run.data, "val", { metrics = { "top1" } }) end
    end })
  end)

  it("an evaluation leaves each module's mode as it was", function()
    local r = made()
    local t = frt.trainer(r):open()
    r.model.backbone:eval()
    t:evaluate "val"
    assert.is_true(r.model.training)
    assert.is_false(r.model.backbone.training)
  end)

  it("a user's step, forward or loss that changes the mode changes it for that batch only", function()
    local seen = {}
    local r = made(nil, { { "phases.all.epochs", "1" } })
    r.loss = function(logits, y)
      seen[#seen + 1] = r.model.training
      r.model:eval()
      return frt.loss.cross_entropy {}(logits, y)
    end
    local t = frt.trainer(r):open()
    t:run_phase "all"
    for i = 1, 7 do assert.is_true(seen[i]) end
  end)

  it("stop a run by what they return, or by run:stop; a phase alone when asked", function()
    local r, said = made(), {}
    r.on = { frt.hook { "enough", state = { n = 0 }, epoch_end = function(self)
      self.state.n = self.state.n + 1
      if self.state.n == 3 then return "stop" end
    end } }
    local t = frt.trainer(r, { watch = { note = function(_, _, text) said[#said + 1] = text end } })
    assert.is_nil(t:run())
    assert.same({ 3, "all", 1, true }, { t.epochs, t.config.name, t.epoch, t:finished() })
    assert.same({ "stopped after epoch 1 of phase 'all': hook 'enough'" }, said)

    r = made()
    r.on = { step_end = function(run)
      if run.config.name == "head" and run.step == 3 then run:stop("a plateau", "phase") end
    end }
    t = frt.trainer(r)
    t:run()
    assert.same({ "all", 3, 3 + 21 }, { t.config.name, t.epoch, t.step })
    assert.equal(11, t.metrics.n)
  end)

  it("keep their state in checkpoints; a stopped run is over when it is resumed", function()
    local text = tiny.text { { 'name = "tiny"', 'name = "tiny",\n  on = { frt.hook { "count", state = { n = 0, seen = {} },\n'
      .. '    epoch_end = function(self, run)\n      self.state.n = self.state.n + 1\n      self.state.seen[self.state.n] = run.step\n'
      .. '      if self.state.n == 4 then return "stop" end\n    end } }' } }
    process.write(dir .. "/hooked.lua", text)
    local status, out = tiny.run(dir, { "hooked.lua", "--run", "hooked" })
    assert.equal(0, status)
    assert.match("\nstopped after epoch 2 of phase 'all': hook 'count'\n", out)
    local meta = checkpoint.peek(dir .. "/hooked/last.safetensors")
    assert.same({ n = 4, seen = { 7, 14, 21, 28 } }, meta.hooks.count)
    status, out = tiny.run(dir, { "hooked.lua", "--run", "hooked", "--resume" })
    assert.equal(0, status)
    assert.match("hooked was stopped by its recipe %(hook 'count'%)", out)
    assert.match("^test: ", tiny.last(out))
    assert.same({ n = 4, seen = { 7, 14, 21, 28 } }, checkpoint.peek(dir .. "/hooked/last.safetensors").hooks.count)
    tiny.run_for(dir, { "hooked.lua", "--run", "cut", "-o", "save.every=0.01" }, "KILL", 0.35)
    if not io.open(dir .. "/cut/recipe.lua") then tiny.run(dir, { "hooked.lua", "--run", "cut" }) end
    for _ = 1, 3 do
      if tiny.run(dir, { "hooked.lua", "--run", "cut", "--resume" }) == 0 then break end
    end
    assert.same({ n = 4, seen = { 7, 14, 21, 28 } }, checkpoint.peek(dir .. "/cut/last.safetensors").hooks.count)
    assert.equal(tiny.hash(dir .. "/hooked/last.safetensors"), tiny.hash(dir .. "/cut/last.safetensors"))
  end)

  it("say what is wrong with them", function()
    local hook = require "foodrt.train.hook"
    local function why(on) return (select(2, hook.complaint(on))) end
    assert.equal("no hook 'epoch_ends', did you mean 'epoch_end'?", why { epoch_ends = print })
    assert.equal("hook 'epoch_end' must be a function, got number (1)", why { epoch_end = 1 })
    assert.equal("on[1] must be frt.hook { … }, got function", why { print })
    local h = frt.hook { "a", epoch_end = print }
    assert.equal("two hooks are called 'a'", why { h, h })
    local ok, message = pcall(frt.hook, { "a" })
    assert.is_false(ok)
    assert.match("hook 'a': needs a function for one of phase_start", message)
    h.state.f = print
    ok, message = pcall(function() return hook.list({ on = { h } }):state() end)
    assert.is_false(ok)
    assert.match("hook 'a': its state must hold numbers, texts, booleans and tables of them, got function", message)
  end)
end)

describe("the best epoch", function()
  local function decides(text, tasks)
    return monitor.of { monitor = text, tasks = tasks }
  end

  it("is the one with the higher top1, of equal ones the smaller loss", function()
    local m = decides(nil)
    assert.equal("val.top1", tostring(m))
    assert.is_true(m:better({ n = 9, top1 = 0.2, loss = 3 }, nil))
    assert.is_true(m:better({ n = 9, top1 = 0.3, loss = 3 }, { n = 9, top1 = 0.2, loss = 1 }))
    assert.is_true(m:better({ n = 9, top1 = 0.2, loss = 1 }, { n = 9, top1 = 0.2, loss = 3 }))
    assert.is_false(m:better({ n = 9, top1 = 0.2, loss = 3 }, { n = 9, top1 = 0.2, loss = 3 }))
  end)

  it("goes by the measure and direction that the recipe names", function()
    local m = decides "val.f1"
    assert.is_true(m:better({ n = 9, top1 = 0.1, f1 = 0.3 }, { n = 9, top1 = 0.9, f1 = 0.2 }))
    m = decides "train.loss"
    assert.same({ "train", "min" }, { m.split, m.direction })
    assert.is_true(m:better({ n = 9, loss = 1 }, { n = 9, loss = 2 }))
  end)

  it("never is one that is not a number, nor does one stand in the way", function()
    local nan = 0 / 0
    for _, key in ipairs { "loss", "f1" } do
      local m = decides("val." .. key)
      assert.is_false(m:better({ n = 9, [key] = nan }, nil))
      assert.is_false(m:better({ n = 9, [key] = nan }, { n = 9, [key] = 1 }))
      assert.is_true(m:better({ n = 9, [key] = 0.5 }, { n = 9, [key] = nan }))
      assert.is_true(m:better({ n = 9, [key] = 0.5 }, { n = 9 }))
      assert.is_false(m:better({ n = 9 }, { n = 9, [key] = 0.1 }))
    end
    local m = decides(nil)
    assert.is_true(m:better({ n = 9, top1 = 0.5, loss = 1 }, { n = 9, top1 = 0.5, loss = nan }))
    assert.is_false(m:better({ n = 9, top1 = 0.5, loss = nan }, { n = 9, top1 = 0.5, loss = 1 }))
  end)

  it("never is one of a validation that lost its photos, and one that did gives way", function()
    local m = decides(nil)
    assert.is_false(m:better({ n = 2, top1 = 1 }, { n = 100, top1 = 0.3 }))
    assert.is_true(m:better({ n = 100, top1 = 0.3 }, { n = 2, top1 = 1 }))
    assert.is_true(m:better({ n = 99, top1 = 0.4 }, { n = 100, top1 = 0.3 }))
    assert.is_false(m:better({ n = 100, top1 = 0.3 }, { n = 99, top1 = 0.4 }))
    assert.is_false(m:better({ n = 0, top1 = 0 }, nil))
  end)

  it("unknown measures are an error with a suggestion", function()
    local ok, why = pcall(decides, "val.top2")
    assert.is_false(ok)
    assert.match("no metric 'top2', did you mean 'top1'%?", why)
    ok, why = pcall(decides, "val.dish.top1")
    assert.is_false(ok)
    assert.match("monitor: must be \"val.top1\", \"train.loss\" and the like, got 'val.dish.top1'", why)
  end)
end)

describe("a run", function()
  local dir
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  it("keeps the best of the epochs that saw their photos; an epoch that didn't says so", function()
    process.write(dir .. "/lost.lua", tiny.text { { 'name = "tiny"', [[name = "lost",
  on = { epoch_end = function(run)
    local act = run.epochs == 1 and "for c in pizza ramen tacos; do for f in $(ls lost/val/$c/* | tail -n +2); "
      .. "do mv $f $f.keep; printf x > $f; done; done"
      or run.epochs == 2 and "for f in lost/val/*/*.keep; do mv $f ${f%.keep}; done"
    if act then os.execute(act) end
  end }]] } })
    process.shell("cp -r photos lost", { dir = dir })
    local status, out = tiny.run(dir, { "lost.lua", "-o", "data.root=lost", "-o", "phases.head.epochs=0" })
    assert.equal(0, status)
    assert.match("all 2/3: [^\n]*, 8 of 11 val photos missing", out)
    assert.match("validation saw 3 photos with a label, the best epoch's 11: it can't be the best\n", out)
    assert.no_match("all 2/3: [^\n]*best so far", out)
  end)

  it("a test of which no photo can be read is an error, not top1 0", function()
    process.shell("cp -r photos bad && for f in bad/test/*/*; do printf x > $f; done", { dir = dir })
    local status, out, err = tiny.run(dir, { "tiny.lua", "--run", "bad_test", "-o", "data.root=bad", "-o", "phases.all.epochs=1",
      "-o", "phases.head.epochs=0" })
    assert.equal(1, status)
    assert.match("none of the 13 photos can be read; the first: bad/test/pizza/", err)
    assert.no_match("top1 0%.000 top5", tiny.last(out))
  end)

  it("a test of which no photo has a label is an error too", function()
    local rows = { "path,split,class" }
    for split, classes in pairs(tiny.SPLITS) do
      for class in pairs(classes) do
        local pipe = io.popen(("ls %s/photos/%s/%s"):format(dir, split, class))
        for file in pipe:lines() do
          rows[#rows + 1] = ("photos/%s/%s/%s,%s,%s"):format(split, class, file, split, split == "test" and "" or class)
        end
        pipe:close()
      end
    end
    process.write(dir .. "/no_test.csv", table.concat(rows, "\n") .. "\n")
    process.write(dir .. "/listed.lua", (tiny.text { { 'frt.data.folder { "photos"', 'frt.data.manifest { "no_test.csv"' } }))
    local status, _, err = tiny.run(dir, { "listed.lua", "--run", "unlabelled", "-o", "phases.all.epochs=1", "-o", "phases.head.epochs=0" })
    assert.equal(1, status)
    assert.equal("test: no photo has a label, so there is nothing to measure; unlabelled is trained, "
      .. "foodrt eval measures it on other photos\n",
      err)
  end)

  it("of one class says so, and 'steps of 5 photos' of a set of 5", function()
    process.shell("mkdir -p few/train/pizza few/val/pizza && cp $(ls photos/train/pizza/* | head -5) few/train/pizza/ "
      .. "&& cp photos/val/pizza/* few/val/pizza/",
      { dir = dir })
    local status, out = tiny.run(dir, { "tiny.lua", "--run", "few", "-o", "data.root=few", "-o", "accumulate=3",
      "-o", "phases.all.epochs=1", "-o", "phases.head.epochs=1" })
    assert.equal(0, status)
    assert.match("\none class only, 'pizza': every answer is right, nothing can be learnt from it\n", out)
    assert.match("phase 'head': 17 of 1425 parameters, 1 steps of 5 photos", out)
  end)

  it("resumed with more epochs says how the rate changes, and that options of phases that are over don't count", function()
    assert.equal(0, (tiny.run(dir, { "tiny.lua", "--run", "more" })))
    local status, out = tiny.run(dir, { "tiny.lua", "--run", "more", "--resume", "-o", "phases.all.epochs=6",
      "-o", "phases.head.epochs=5" })
    assert.equal(0, status)
    assert.match("phases%.head%.epochs: phase 'head' is over, so this changes nothing\n", out)
    assert.match("phase 'all': its schedule goes over 42 updates now instead of 21: at update 22 the rate is "
      .. "[%d%.e%-]+, it was [%d%.e%-]+ at the last one\n",
      out)
    local again = select(2, tiny.run(dir, { "tiny.lua", "--run", "more", "--resume" }))
    assert.no_match("its schedule goes over", again)
  end)

  it("resumed without a file that its recipe required, or with another, goes on with its own copy and says so", function()
    process.write(dir .. "/part.lua", "return { epochs = 2 }\n")
    process.write(dir .. "/needs.lua", (tiny.text { { "epochs = 3", 'epochs = require("part").epochs' },
      { 'name = "tiny"', 'name = "needs"' } }))
    assert.equal(0, (tiny.run(dir, { "needs.lua" })))
    process.write(dir .. "/part.lua", "return { epochs = 7 }\n")
    local status, out, err = tiny.run(dir, { "needs.lua", "--resume" })
    assert.same({ 0, "" }, { status, err })
    assert.match("part%.lua has changed since this run began: it goes on with its own copy, runs/needs/files/part%.lua\n", out)
    os.remove(dir .. "/part.lua")
    status, out, err = tiny.run(dir, { "needs.lua", "--resume" })
    assert.same({ 0, "" }, { status, err })
    assert.match("resuming runs/needs: ", out)
    assert.match("part%.lua is gone: it goes on with its own copy, runs/needs/files/part%.lua\n", out)
  end)
end)
