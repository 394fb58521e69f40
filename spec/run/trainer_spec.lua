-- the trainer: what phases freeze, what accumulation sums, what hooks and a step of one's own see.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local frt = require "foodrt"
local trainer = require "foodrt.train.trainer"

describe("the trainer", function()
  local dir
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  local function made(...) return (tiny.recipe(dir, ...)) end

  local function values(model)
    local out = {}
    for name, t in pairs((model:state_dict())) do out[name] = t:totable() end
    return out
  end

  it("frozen parameters and the statistics of frozen batch norms keep every bit; the rest moves", function()
    local r = made()
    local t = frt.trainer(r):open()
    local before = values(r.model)
    assert.is_nil(t:run_phase "head")
    local after = values(r.model)
    for name in pairs(before) do
      if name:find "^backbone" then
        assert.same(before[name], after[name])
      elseif name:find "^fc" then
        assert.not_same(before[name], after[name])
      end
    end
    assert.is_nil(t:run_phase "all")
    after = values(r.model)
    assert.not_same(before["backbone.0.weight"], after["backbone.0.weight"])
    assert.not_same(before["backbone.1.running_mean"], after["backbone.1.running_mean"])
  end)

  it("with bn = 'train' the statistics of a frozen batch norm move", function()
    local r = made({ { 'freeze = "backbone"', 'freeze = "backbone", bn = "train"' } })
    local t = frt.trainer(r):open()
    local before = values(r.model)
    t:run_phase "head"
    local after = values(r.model)
    assert.not_same(before["backbone.1.running_var"], after["backbone.1.running_var"])
    assert.same(before["backbone.1.weight"], after["backbone.1.weight"])
  end)

  it("the head's moments go on in the next phase, the backbone's start there", function()
    local r = made()
    local t = frt.trainer(r):open()
    t:run_phase "head"
    local age = r.phases[1].optim.by_name["fc.weight"].t
    assert.equal(14, age)
    t:run_phase "all"
    assert.equal(14 + 21, r.phases[2].optim.by_name["fc.weight"].t)
    assert.equal(21, r.phases[2].optim.by_name["backbone.0.weight"].t)
  end)

  local NO_BN = { { "nn.BatchNorm2d {}, ", "" }, { ", augment.color_jitter { 0.2, 0.2, 0.2 }", "" } }

  it("3 micro-batches of 4 make the step of one batch of 12, dropout included", function()
    local function trained(batch, accumulate)
      local r = made(NO_BN, { { "data.batch", tostring(batch) }, { "accumulate", tostring(accumulate) },
        { "phases.all.epochs", "1" }, { "clip_norm", "0.1" } })
      local t = frt.trainer(r):open()
      t:run_phase "all"
      return values(r.model), t
    end
    local whole, a = trained(12, 1)
    local parts, b = trained(4, 3)
    assert.equal(a.step, b.step)
    assert.near(a.norm, b.norm, 1e-5)
    for name, rows in pairs(whole) do
      local function compare(x, y)
        if type(x) == "number" then
          assert.near(x, y, 2e-4)
        else
          for i in ipairs(x) do compare(x[i], y[i]) end
        end
      end
      compare(rows, parts[name])
    end
  end)

  it("an epoch's last update takes what is left of its micro-batches", function()
    local r = made(nil, { { "data.batch", "8" }, { "accumulate", "4" }, { "phases.head.epochs", "1" } })
    local t = frt.trainer(r):open()
    assert.same({ 8, 4, 7, 2, 2 }, { t:lengths(1).batch, t:lengths(1).accumulate, t:lengths(1).batches, t:lengths(1).updates,
      t:lengths(1).total })
    t:run_phase "head"
    assert.equal(2, t.step)
  end)

  it("a phase's own batch, loss, steps and half an epoch count", function()
    local r = made({ { 'epochs = 2, freeze', 'steps = 3, batch = 4, loss = frt.loss.cross_entropy {}, freeze' } },
      { { "phases.all.epochs", "0.5" } })
    local t = frt.trainer(r):open()
    assert.same({ 4, 15, 3 }, { t:lengths(1).batch, t:lengths(1).updates, t:lengths(1).total })
    assert.equal(4, t:lengths(2).total)
    t:run()
    assert.equal(7, t.step)
  end)

  it("hooks are called with the run, in order", function()
    local r, seen = made(nil, { { "phases.head.epochs", "1" }, { "phases.all.epochs", "1" }, { "data.batch", "30" } }), {}
    r.on = {}
    for _, name in ipairs { "phase_start", "step_end", "epoch_end", "phase_end" } do
      r.on[name] = function(run) seen[#seen + 1] = name .. " " .. run.config.name .. " " .. run.step end
    end
    frt.trainer(r):run()
    assert.same({ "phase_start head 0", "step_end head 1", "step_end head 2", "epoch_end head 2", "phase_end head 2",
      "phase_start all 2", "step_end all 3", "step_end all 4", "epoch_end all 4", "phase_end all 4" }, seen)
  end)

  it("a step of one's own gives loss and logits", function()
    local r = made(nil, { { "phases.all.steps", "2" } })
    local modes = {}
    r.step = function(run, batch)
      modes[#modes + 1] = run.model.training
      local logits = run.model(batch.x)
      return frt.loss.cross_entropy {}(logits, batch.labels.class) * 2, logits
    end
    local t = frt.trainer(r):open()
    t:run_phase "all"
    assert.same({ true, true, false, false }, modes)
    assert.equal(11, t.metrics.n)
  end)

  it("a step that returns no loss is an error", function()
    local r = made()
    r.step = function() return 1 end
    assert.has_error(function() frt.trainer(r):run() end,
      "recipe: 'step' must return loss, logits; the first value is number (1)")
  end)

  it("an evaluation is a mean over photos and leaves the model's mode", function()
    local r = made()
    local t = frt.trainer(r):open()
    local v = t:evaluate "val"
    assert.equal(11, v.n)
    assert.equal(0, v.bad)
    assert.is_true(r.model.training)
    local again = trainer.evaluate(r.model, r.data, "val", { metrics = { "top1" }, loss = r.loss, batch = 3 })
    assert.near(v.loss, again.loss, 1e-6)
    assert.equal(v.top1, again.top1)
    assert.is_nil(again.f1)
  end)

  it("a phase that is not there is an error", function()
    local t = frt.trainer(made())
    assert.has_error(function() t:run_phase "haed" end, "trainer: no phase 'haed', did you mean 'head'?")
  end)

  it("memory does not grow from epoch 2 to epoch 10", function()
    local rss = {}
    local r = made(nil, { { "phases.all.epochs", "10" } })
    r.on = { epoch_end = function(run)
      rss[run.epoch] = tonumber(io.open("/proc/self/statm"):read "*a":match "^%d+ (%d+)") * 4096
    end }
    frt.trainer(r):run_phase "all"
    assert.is_true(rss[10] <= rss[2] * 1.01 + 512 * 1024, ("%d then %d"):format(rss[2], rss[10]))
  end)
end)
