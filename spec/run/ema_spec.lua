-- ema in runs: what is measured and kept as best, phases, accumulation, refused steps, resuming, memory.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local frt = require "foodrt"
local trainer, checkpoint = require "foodrt.train.trainer", require "foodrt.train.checkpoint"
local json, io_ = require "foodrt.core.json", require "foodrt.core.io"

describe("a run with ema", function()
  local dir
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  local function made(...) return (tiny.recipe(dir, ...)) end

  local function numbers(tensors)
    local out = {}
    for name, t in pairs(tensors) do
      if t.dtype == "f32" then out[name] = t:totable() end
    end
    return out
  end

  local function run(name, ...)
    local status, out, err = tiny.run(dir, { "tiny.lua", "--run", name, ... })
    assert.equal("", err)
    assert.equal(0, status)
    return out
  end

  local function at(name, which)
    return checkpoint.load(("%s/%s/%s.safetensors"):format(dir, name, which or "last"))
  end

  it("measures the averages and keeps them as the best; training goes on as without", function()
    local said = run("on", "-o", "ema=0.9")
    run("off")
    assert.equal(1, select(2, said:gsub("validation and the best checkpoint take averages of the weights %(ema, decay 0%.9%)", "")))
    local on, off, best = at "on", at "off", at("on", "best")
    assert.same(numbers(off.tensors), numbers(on.tensors))
    assert.same(numbers(off.optim.tensors), numbers(on.optim.tensors))
    assert.is_nil(off.averages)
    assert.same({ t = 35 }, on.averages.info)
    assert.is_nil(best.averages)
    assert.is_nil(best.tensors["ema.fc.weight"])
    assert.not_same(numbers(off.tensors), numbers(best.tensors))
    assert.not_equal(off.meta.metrics.loss, on.meta.metrics.loss)

    -- the last validation once more, with the averages as a model's weights: by hand, by eval of last and of best
    local r = made()
    frt.trainer(r):open()
    r.model:load_state_dict(checkpoint.weights(on))
    local v = trainer.evaluate(r.model, r.data, "val", { metrics = { "top1" }, loss = r.loss })
    assert.near(on.meta.metrics.loss, v.loss, 1e-6)
    local function eval(what, split)
      local status, out, err = tiny.run(dir, { "eval", what, "--split", split, "--json" })
      assert.equal("", err)
      assert.equal(0, status)
      return json.decode(out).loss
    end
    assert.near(on.meta.metrics.loss, eval("on/last.safetensors", "val"), 1e-6)
    assert.near(best.meta.metrics.loss, eval("on", "val"), 1e-6)
    local test
    for text in io.lines(dir .. "/on/metrics.jsonl") do test = json.decode(text) end
    assert.near(test.values.loss, eval("on", "test"), 1e-5)
  end)

  it("updates once per update, not per micro-batch, with statistics too; counters are copied", function()
    local t = frt.trainer(made(nil, { { "accumulate", "3" }, { "ema", "0.9" } }))
    t:run_phase "all"
    assert.equal(9, t.step)
    local averages, info = t.averages:state_dict(t.model)
    assert.equal(9, info.t)
    local raw = numbers((t.model:state_dict()))
    for name, v in pairs(numbers(averages)) do assert.not_same(raw[name], v) end
    assert.is_not_nil(averages["backbone.1.running_var"])
    t:with_averages(function()
      assert.same(numbers(averages)["fc.weight"], raw["fc.weight"])  -- trade places
      assert.equal("i64", t.model:state_dict()["backbone.1.num_batches_tracked"].dtype)
    end)
  end)

  it("a refused step changes no average", function()
    local r = made(nil, { { "ema", "0.9" } })
    local t, n, broken = frt.trainer(r), 0, false
    r.step = function(run_, batch)
      local logits = run_.model(batch.x)
      return frt.loss.cross_entropy {}(logits, batch.y) * (broken and 1 / 0 or 1), logits
    end
    local before
    r.on = { step_end = function()
      n = n + 1
      broken = n == 3
      before = numbers((t.averages:state_dict(t.model)))
    end }
    assert.match("the loss is", select(2, pcall(t.run_phase, t, "all")))
    local after, info = t.averages:state_dict(t.model)
    assert.same({ 3, 3, before }, { n, info.t, numbers(after) })
  end)

  it("goes on over phases that have it, ends and begins anew where one has none", function()
    local t = frt.trainer(made(nil, { { "ema", "0.9" } })):open()
    t:run_phase "head"
    assert.same({ 14, 2 }, { t.averages.t, #t.averages.entries })  -- fc alone is trained
    t:run_phase "all"
    assert.same({ 14 + 21, 10 }, { t.averages.t, #t.averages.entries })
    t = frt.trainer(made(nil, { { "phases.head.ema", "0.9" } })):open()
    t:run_phase "head"
    t:run_phase "all"
    assert.is_nil(t.averages)
    t = frt.trainer(made(nil, { { "ema", "true" }, { "phases.head.ema", "false" }, { "phases.all.ema", "0.5" } })):open()
    t:run_phase "head"
    assert.is_nil(t.averages)
    t:run_phase "all"
    assert.same({ 21, 0.5 }, { t.averages.t, t.averages.settings.decay })
  end)

  it("killed and resumed ends with the same bits, in the middle of an update and of a phase too", function()
    local args = { "-o", "ema=0.99", "-o", "accumulate=2", "-o", "data.batch=6", "-o", "save.every=0.001" }
    run("whole", unpack(args))
    local name = "killed"
    local function resume() return io_.kind(dir .. "/killed/recipe.lua") and "--resume" or nil end
    for i, wait in ipairs { 0.15, 0.14, 0.16, 0.2 } do
      local list = { "tiny.lua", "--run", name, "--workers", tostring(i), unpack(args) }
      list[#list + 1] = resume()
      tiny.run_for(dir, list, "KILL", wait)
    end
    args[#args + 1] = resume()
    run(name, unpack(args))
    for _, which in ipairs { "last", "best" } do
      assert.equal(tiny.hash(("%s/whole/%s.safetensors"):format(dir, which)), tiny.hash(("%s/killed/%s.safetensors"):format(dir, which)))
    end
    local a, b = at "whole", at "killed"
    assert.same({ a.averages.info, numbers(a.averages.tensors) }, { b.averages.info, numbers(b.averages.tensors) })
  end)

  it("is kept by a run that is resumed; a checkpoint of the other kind is named", function()
    run("kept", "-o", "ema=0.9", "-o", "phases.all.epochs=1")
    for given, want in pairs { ["ema=0.99"] = "ema = 0.9 and keeps it, got 0.99", ["ema=false"] = "ema = 0.9 and keeps it, got false",
      ["phases.all.ema=false"] = "phases.all.ema = nil and keeps it, got false" } do
      local status, _, err = tiny.run(dir, { "tiny.lua", "--run", "kept", "--resume", "-o", given })
      assert.equal(1, status)
      assert.match("^foodrt: %-%-resume: this run has " .. want:gsub("%p", "%%%0") .. "; what may: [^\n]*\n$", err)
    end
    local with, without = at "kept", at "kept"
    without.averages = nil
    assert.has_error(function() frt.trainer(made(nil, { { "ema", "0.9" } })):open():restore(without) end,
      dir .. "/kept/last.safetensors has no averages of weights, phase 'all' makes them (ema)")
    assert.has_error(function() frt.trainer(made()):open():restore(with) end,
      dir .. "/kept/last.safetensors has averages of weights, phase 'all' makes none (ema)")
    with.averages.tensors["fc.bias"] = nil
    assert.has_error(function() frt.trainer(made(nil, { { "ema", "0.9" } })):open():restore(with) end,
      dir .. "/kept/last.safetensors: the average of 'fc.bias' is missing")
  end)

  it("of parts that are frozen later: averages go on, are saved and resumed; nothing of validation is kept then", function()
    process.write(dir .. "/later.lua", tiny.text { { 'train = { augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } }', 'train = {}' },
      { '{ "head", epochs = 2, freeze = "backbone",', '{ "first", epochs = 1,' },
      { '{ "all", epochs = 3,', '{ "head", epochs = 3, freeze = "backbone", cache = true,' },
      { 'lr = { backbone = 1e-3, fc = 1e-2 }', 'lr = 1e-2' }, { "one_cycle", "constant" } })
    local function later(name, ...)
      local status, out, err = tiny.run(dir, { "later.lua", "--run", name, "-o", "ema=0.9", ... })
      assert.equal("", err)
      assert.equal(0, status)
      return { tiny.hash(dir .. "/" .. name .. "/last.safetensors"), tiny.hash(dir .. "/" .. name .. "/best.safetensors") }, out
    end
    local plain = later("later_plain", "-o", "phases.head.cache=false")
    local kept, said = later "later_kept"
    assert.same(plain, kept)
    assert.truthy(said:find("phase 'head': cache = true: averages of what is frozen still move (ema), so nothing of validation photos "
      .. "is kept", 1, true))
    later("later_short", "-o", "phases.head.epochs=1")
    assert.same(plain, (later("later_short", "--resume", "-o", "phases.head.epochs=3")))
  end)

  it("with features that are kept of training and validation: the same bits as without", function()
    process.write(dir .. "/head.lua", tiny.text { { 'train = { augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } }', 'train = {}' },
      { 'freeze = "backbone",', 'freeze = "backbone", cache = true,' } })
    local hashes = {}
    for i, cache in ipairs { "true", "false" } do
      local status, out = tiny.run(dir, { "head.lua", "--run", "cache_" .. cache, "-o", "ema=0.9", "-o", "phases.head.cache=" .. cache,
        "-o", "phases.head.epochs=3", "-o", "phases.all.epochs=1" })
      assert.equal(0, status)
      assert.is_nil(out:find("begun anew", 1, true))
      local path = dir .. "/cache_" .. cache
      hashes[i] = { tiny.hash(path .. "/last.safetensors"), tiny.hash(path .. "/best.safetensors") }
    end
    assert.same(hashes[1], hashes[2])
  end)

  it("takes 4 bytes for each number that is averaged, and explain says so", function()
    local function explained(...)
      local status, out, err = process.foodrt({ "explain", "tiny.lua", "--json", ... }, { dir = dir })
      assert.equal("", err)
      assert.equal(0, status)
      return json.decode(out)
    end
    local f = explained("-o", "ema=0.99")
    assert.same({ 51 * 4, (1459 + 16) * 4 }, { f.phases[1].memory.averages, f.phases[2].memory.averages })
    assert.equal(0.99, f.phases[2].ema.decay)
    f = explained("-o", "phases.head.ema=0.99")
    assert.same({ 51 * 4, 0 }, { f.phases[1].memory.averages, f.phases[2].memory.averages })
    local _, out = process.foodrt({ "explain", "tiny.lua", "-o", "ema={ decay = 0.999, warmup = false }" }, { dir = dir })
    assert.truthy(out:find("; ema 0.999\n", 1, true))
    assert.truthy((out:gsub("%s+", " ")):find("phase 'all': ema 0.999 without warm-up over 35 steps: 97 % of the averages are still "
      .. "the first weights", 1, true))
  end)

  it("wrong values are one line; options inside a table can be changed from outside", function()
    local function refused(status, given, want)
      local got, _, err = tiny.run(dir, { "tiny.lua", "-o", given })
      assert.equal(want .. "\n", err)
      assert.equal(status, got)
    end
    refused(1, "ema=1.5", "tiny.lua: recipe: ema: 'decay' must be below 1, got 1.5")
    refused(1, "phases.all.ema=2", "tiny.lua: recipe: phase 'all': ema: 'decay' must be below 1, got 2")
    refused(1, "ema={ dekay = 0.9 }", "tiny.lua: recipe: ema: unknown option 'dekay', did you mean 'decay'?")
    refused(2, "ema=on", "foodrt: -o ema=on: recipe: 'ema' must be number or boolean or table, got string ('on')")
    refused(2, "emma=0.9", "foodrt: -o emma=0.9: unknown option 'emma', did you mean 'ema'?")
    refused(2, "phases.all.emma=0.9", "foodrt: -o phases.all.emma=0.9: unknown option 'emma' in phases.all, did you mean 'ema'?")
    local table_ = { { "seed = 3", "seed = 3, ema = { decay = 0.9 }" } }
    assert.same({ decay = 0.9, warmup = false, power = 1 }, (function()
      local e = made(table_, { { "ema.warmup", "false" }, { "ema.power", "1" } }).ema
      return { decay = e.decay, warmup = e.warmup, power = e.power }
    end)())
    local ok, why = pcall(made, table_, { { "ema.warmpu", "false" } })
    assert.is_false(ok)
    assert.equal("-o ema.warmpu=false: unknown option 'warmpu' in ema, did you mean 'warmup'?", why.usage)
    ok, why = pcall(made, { { "seed = 3", "seed = 3,\n  ema = 1" } })
    assert.is_false(ok)
    assert.equal("tiny.lua:15: recipe: ema: 'decay' must be below 1, got 1", why)
  end)

  it("an exported best checkpoint is plain weights", function()
    local names = {}
    for name in pairs((io_.load(dir .. "/on/best.safetensors"))) do names[#names + 1] = name:match "^ema%." end
    assert.equal(0, #names)
  end)
end)
