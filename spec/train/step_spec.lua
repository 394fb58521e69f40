-- step: gradient rules, update schedules and batch transforms compose; an update that is refused leaves nothing behind.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local frt = require "foodrt"
local rules, transforms = require "foodrt.train.rule", require "foodrt.train.transform"

-- A toy sharpness-aware rule: the gradient a small step uphill, of every batch for itself. Running statistics move once.
local Uphill = {}
Uphill.__index = Uphill

function Uphill:record(pass)
  local first = pass:forward()
  local groups = pass:gradients(first)
  for i, p in ipairs(pass.params) do p:assign(p + groups[1].grads[i] * self.rho) end
  local second = pass:forward { effects = false }
  first.groups = pass:gradients(second)
  for i, p in ipairs(pass.params) do p:assign(p - groups[1].grads[i] * self.rho) end
  self.n = self.n + 1
  return first
end

function Uphill:state() return nil, { n = self.n } end

function Uphill:load(_, info) self.n = info.n end

function Uphill:mark()
  local n = self.n
  return function() self.n = n end
end

rules.define("uphill", { "uphill", rho = { "number", 0.01 } }, function(o)
  return setmetatable({ rho = o.rho, n = 0 }, Uphill)
end)

transforms.define("flipped", { "flipped", share = { "number", 0.25 } }, function(self, batch)
  local column = next(batch.labels)
  local y = batch.labels[column]:one_hot { classes = 3 }
  return { x = batch.x * (1 - self.share) + batch.x:flip(1) * self.share,
    targets = { [column] = y * (1 - self.share) + y:flip(1) * self.share } }
end)

describe("a step", function()
  local dir
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  local PLAIN = { { "nn.BatchNorm2d {}, ", "" }, { ", augment.color_jitter { 0.2, 0.2, 0.2 }", "" } }

  local function made(changes, overrides, edit)
    local r = tiny.recipe(dir, changes, overrides)
    if edit then edit(r) end
    return r
  end

  local function values(model)
    local out = {}
    for name, t in pairs((model:state_dict())) do
      if not name:find "num_batches" then out[name] = t:reshape({ t:numel() }):totable() end
    end
    return out
  end

  local function trained(changes, overrides, edit)
    local r = made(changes, overrides, edit)
    local t = frt.trainer(r):open()
    t:run_phase "all"
    return values(r.model), t, r
  end

  local function close(a, b, tolerance)
    for name, list in pairs(a) do
      for i, v in ipairs(list) do assert.near(v, b[name][i], tolerance) end
    end
  end

  local function alike(a, b)
    for name, list in pairs(a) do
      for i, v in ipairs(list) do
        if v ~= b[name][i] then return false end
      end
    end
    return true
  end

  -- SGD, so that a difference of gradients isn't hidden by what adam divides by
  local SGD = { PLAIN[1], PLAIN[2], { "optim = frt.optim.adamw { lr = { backbone = 1e-3, fc = 1e-2 } },\n      sched",
    "optim = frt.optim.sgd { lr = 0.05 },\n      sched" } }

  for name, loss in pairs { ["class weights"] = function() return frt.loss.cross_entropy { weight = { 0.2, 1, 6 } } end,
    focal = function() return frt.loss.focal {} end } do
    it("of 6 micro-batches of 2, 3 of 4 or 4 of 3 is that of one batch of 12 with " .. name, function()
      local function run(batch, accumulate)
        return (trained(SGD, { { "data.batch", tostring(batch) }, { "accumulate", tostring(accumulate) },
          { "phases.all.epochs", "1" } }, function(r) r.loss = loss() end))
      end
      local whole = run(12, 1)
      for _, k in ipairs { 6, 3, 4 } do close(whole, run(12 / k, k), 2e-6) end
    end)
  end

  it("the last update of an epoch takes what is left, is guarded and counted", function()
    local events, norms = 0, {}
    local _, t = trained(SGD, { { "data.batch", "8" }, { "accumulate", "4" }, { "phases.all.epochs", "1" } }, function(r)
      r.on = { step_end = function(run) events, norms[#norms + 1] = events + 1, run.norm end }
    end)
    assert.equal(2, events)
    assert.equal(2, t.step)
    assert.not_equal(norms[1], norms[2])
  end)

  it("a gradient rule composes with both schedules: three micro-batches of 4 give its step of 12 when it doesn't climb", function()
    local function run(batch, accumulate, rho)
      return trained(SGD, { { "data.batch", tostring(batch) }, { "accumulate", tostring(accumulate) }, { "phases.all.epochs", "1" } },
        function(r) r.rule = frt.rule.uphill { rho = rho } end)
    end
    local still, t = run(12, 1, 0)
    assert.equal(5, t.stepper.rule.n)
    close(still, (trained(SGD, { { "data.batch", "12" }, { "phases.all.epochs", "1" } })), 1e-7)
    close(still, (run(4, 3, 0)), 2e-6)
    assert.is_false(alike(still, (run(12, 1, 0.1))))
    assert.is_false(alike((run(12, 1, 0.1)), (run(4, 3, 0.1))))  -- it climbs by micro-batch
  end)

  it("a second forward pass leaves the running statistics as the first one moved them", function()
    local before = trained(nil, { { "phases.all.steps", "1" } })
    local after = trained(nil, { { "phases.all.steps", "1" } }, function(r) r.rule = frt.rule.uphill { rho = 0 } end)
    assert.same(before["backbone.1.running_mean"], after["backbone.1.running_mean"])
    assert.same(before["backbone.1.running_var"], after["backbone.1.running_var"])
  end)

  it("explain and the budget plan what is trained: the rule's two passes, the sums of accumulation", function()
    local dry = require "foodrt.train.dry"
    local function flops(edit, accumulate)
      local r = made(nil, { { "accumulate", tostring(accumulate or 1) } }, edit)
      r.data:open()
      dry.build(r, 3)
      return dry.phase(r, r.phases[2])
    end
    local plain, two = flops(), flops(function(r) r.rule = frt.rule.uphill {} end)
    assert.is_true(two.step.flops > 1.9 * plain.step.flops)
    assert.is_nil(two.update)
    assert.is_truthy(flops(function(r) r.rule = frt.rule.uphill {} end, 4).update)
  end)

  it("plans what the trainer runs: no plan is made twice", function()
    local r = made(nil, { { "phases.all.steps", "2" } })
    local dry = require "foodrt.train.dry"
    local t = frt.trainer(r):open()
    local planned = dry.phase(r, r.phases[2]).step
    t:run_phase "all"
    assert.is_true(dry.phase(r, r.phases[2]).step.cached)
    assert.equal(planned.n_steps, dry.phase(r, r.phases[2]).step.n_steps)
  end)

  it("batch transforms change photos and targets in training; measures go on with the labels", function()
    local function run(share)
      local r = made(SGD, { { "phases.all.epochs", "1" } }, function(r)
        r.transforms = { frt.transform.flipped { share = share } }
      end)
      local t = frt.trainer(r):open()
      t:run_phase "all"
      return values(r.model), t
    end
    local plain = trained(SGD, { { "phases.all.epochs", "1" } })
    close(plain, (run(0)), 1e-6)
    local mixed, t = run(0.4)
    assert.is_false(alike(plain, mixed))
    assert.equal(11, t.metrics.n)
  end)

  it("transforms and rules that are none are refused at the recipe's line", function()
    assert.has_error(function()
      local r = made(nil, nil, function(r) r.transforms = { 1 } end)
      require("foodrt.train.recipe").check(r, r.source)
    end, "tiny.lua: recipe: transforms[1] must be a batch transform, got number (1)")
    assert.has_error(function()
      local r = made(nil, nil, function(r) r.rule = {} end)
      require("foodrt.train.recipe").check(r, r.source)
    end, "tiny.lua: recipe: 'rule' must be a gradient rule, such as frt.rule.plain {}, got table")
    local ok, why = pcall(function() return frt.transform.mixup end)
    assert.is_false(ok)
    assert.match("no transform 'mixup'", why)
  end)

  it("an infinite loss with finite gradients updates nothing, one batch or accumulated, and is said so", function()
    for _, accumulate in ipairs { "1", "3" } do
      local r = made(nil, { { "data.batch", "4" }, { "accumulate", accumulate } }, function(r)
        local focal = frt.loss.focal {}
        r.loss = function(logits, y) return focal(logits, y) + (frt.zeros { 1 } + 1):sum() * math.huge end
      end)
      local t = frt.trainer(r):open()
      local before = values(r.model)
      local ok, why = pcall(t.run_phase, t, "all")
      assert.is_false(ok)
      assert.match("^phase 'all', epoch 1, step 1: the loss is infinite; photos .*%.bmp, .*; nothing was updated$", why)
      for name, list in pairs(before) do
        if not name:find "running" then assert.same(list, values(r.model)[name]) end
      end
      for _, e in ipairs(t.optimizer.entries) do assert.equal(0, e.t) end
    end
  end)

  it("a mistake of the recipe is passed on as it is", function()
    local r = made()
    r.loss = function() error "no such thing" end
    local ok, why = pcall(function() frt.trainer(r):run() end)
    assert.is_false(ok)
    assert.match("no such thing", tostring(why))
    assert.no_match("finite", tostring(why))
  end)

  it("in the middle of an update is kept whole: 5 of 7 micro-batches, class weights, a rule with a state", function()
    local function build()
      local r = made(nil, { { "data.batch", "4" }, { "accumulate", "7" } }, function(r)
        r.loss, r.rule = frt.loss.cross_entropy { weight = { 1, 2, 3 } }, frt.rule.uphill {}
      end)
      local t = frt.trainer(r):open()
      return t, r
    end
    local io_ = require "foodrt.core.io"
    local checkpoint = require "foodrt.train.checkpoint"
    local whole = build()
    whole:run_phase "all"
    local t, r = build()
    local path, n = dir .. "/middle.safetensors", 0
    t.watch = { step = function()
      n = n + 1
      if n == 12 then
        checkpoint.save(path, { model = r.model, optimizer = t.optimizer, accumulated = t:accumulated(), state = t:state() })
        error("enough", 0)
      end
    end }
    assert.has_error(function() t:run_phase "all" end, "enough")
    assert.equal(5, checkpoint.peek(path).accumulated.schedule.count)
    local again, r2 = build()
    again:restore(checkpoint.load(path))
    again:run_phase(again.phase)
    assert.is_true(alike(values(whole.model), values(r2.model)))
    assert.is_truthy(io_)
  end)
end)
