-- recipes: wrong input gives one line that names file or recipe line, overrides reach what they name.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local recipe = require "foodrt.train.recipe"

describe("a recipe", function()
  local dir
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  local function load(overrides)
    return recipe.load(dir .. "/tiny.lua", overrides)
  end

  local function wrong(changes, want)
    local ok, why = pcall(recipe.from_text, "tiny.lua", tiny.text(changes))
    assert.is_false(ok)
    assert.equal(want, why)
  end

  it("overrides change options by path, position and name", function()
    local r = load { { "data.size", "24" }, { "phases.head.epochs", "1" }, { "phases.2.optim.lr.fc", "0.5" },
      { "loss.gamma", "1" }, { "model.drop.p", "0.5" }, { "seed", "9" }, { "name", "12" }, { "metrics", "{'top1'}" },
      { "save.every", "2m" } }
    assert.same({ 24, 1, 0.5, 1, 0.5, 9, "12", { "top1" }, "2m" }, { r.data.size, r.phases[1].epochs, r.phases[2].optim.lr.fc,
      r.loss.gamma, r.model.drop.p, r.seed, r.name, r.metrics, r.save.every })
  end)

  it("what follows from an option follows from an override", function()
    local r = load { { "phases.head.optim.lr", "0.5" }, { "loss.gamma", "1" }, { "phases.all.sched.warmup", "2 epochs" } }
    assert.same({ "adamw (lr 0.5, weight decay 0.01)", "focal (gamma 1, alpha 1)", 2 }, { tostring(r.phases[1].optim),
      tostring(r.loss), r.phases[2].sched.warmup_epochs })
  end)

  it("steps replace epochs", function()
    local r = load { { "phases.head.steps", "7" } }
    assert.equal(7, r.phases[1].steps)
    assert.is_nil(r.phases[1].epochs)
  end)

  it("an override that fits nothing is wrong usage, with a suggestion", function()
    local function usage(path, value, want)
      local ok, why = pcall(load, { { path, value } })
      assert.is_false(ok)
      assert.equal(want, why.usage)
    end
    usage("data.siez", "24", "-o data.siez=24: unknown option 'siez' in data, did you mean 'size'?")
    usage("phases.haed.epochs", "1", "-o phases.haed.epochs=1: nothing is called 'haed' in phases, did you mean 'head'?")
    usage("sede", "1", "-o sede=1: unknown option 'sede', did you mean 'seed'?")
    usage("data.size", "big", "-o data.size=big: data.folder: 'size' must be integer, got string ('big')")
    usage("seed", "-1", "-o seed=-1: recipe: 'seed' must be at least 0, got -1")
    usage("phases.all.optim.lr.bakbone", "1", "-o phases.all.optim.lr.bakbone=1: unknown option 'bakbone' in phases.all.optim.lr, "
      .. "did you mean 'backbone'?")
    usage("name.x", "1", "-o name.x=1: 'name' is string ('tiny') and has no options")
  end)

  it("an undefined variable, an assigned global and a misspelt layer name their line", function()
    wrong({ { "loss = frt.loss", "loss = frtt.loss" } }, "tiny.lua:16: undefined variable 'frtt'")
    wrong({ { "return {", "foo = 1\nreturn {" } }, "tiny.lua:12: assignment to the global 'foo': write local foo = …")
    wrong({ { "nn.Dropout", "nn.Dropuot" } }, "tiny.lua:7: nn has no layer 'Dropuot', did you mean 'Dropout'?")
  end)

  it("an unknown or wrong entry of the table names its line too", function()
    wrong({ { "seed = 3", "sede = 3" } }, "tiny.lua:14: recipe: unknown option 'sede', did you mean 'seed'?")
    wrong({ { "seed = 3", "seed = 'x'" } }, "tiny.lua:14: recipe: 'seed' must be integer, got string ('x')")
    wrong({ { "  model = model,\n", "" } }, "tiny.lua: recipe: missing option 'model'")
    wrong({ { "model = model", "model = 3" } }, "tiny.lua:15: recipe: 'model' must be table, got number (3)")
    wrong({ { 'frt.phase { "all"', 'frt.phase { "head"' } }, "tiny.lua:18: recipe: two phases are called 'head'")
    wrong({ { "seed = 3", "on = { epoch_edn = print }" } }, "tiny.lua:14: recipe: no hook 'epoch_edn', did you mean 'epoch_end'?")
    wrong({ { "seed = 3", "metrics = { 'top2' }" } }, "tiny.lua:14: recipe: no metric 'top2', did you mean 'top1'?")
    wrong({ { "seed = 3", "save = { every = 'often' }" } },
      "tiny.lua:14: recipe: save.every must be a time such as \"5m\", got string ('often')")
  end)

  it("a misspelt option of a call names the call's line", function()
    wrong({ { "batch = 8", "bacth = 8" } }, "tiny.lua:17: data.folder: unknown option 'bacth', did you mean 'batch'?")
    wrong({ { "epochs = 2, freeze", "epochs = 2, freez" } }, "tiny.lua:19: phase: unknown option 'freez', did you mean 'freeze'?")
  end)

  it("an ablation requires another recipe and changes a field; what it required is remembered", function()
    process.write(dir .. "/ablation.lua", 'local r = require "tiny"\nr.name = "ablation"\nr.seed = 5\nreturn r\n')
    local r = recipe.load(dir .. "/ablation.lua")
    assert.same({ "ablation", 5 }, { r.name, r.seed })
    assert.equal("tiny", r.source.files[1].name)
    assert.equal(tiny.text(), r.source.files[1].text)
    assert.equal(3, load().seed)  -- the other recipe is not changed
    process.write(dir .. "/tiny2.lua", "error 'not read'")
    local again = recipe.from_text("ablation.lua", r.source.text, { files = r.source.files })
    assert.equal("ablation", again.name)
  end)

  it("a hook may require too, when the recipe is long read", function()
    process.write(dir .. "/later.lua", "return { word = 'late', ffi = require 'foodrt.core.ffi' }")
    process.write(dir .. "/hooked.lua", 'local r = require "tiny"\n'
      .. 'r.on = { step_end = function() return require("foodrt.core.json").decode "1", require("later").word end }\nreturn r\n')
    local r = recipe.load(dir .. "/hooked.lua")
    local one, word = r.on.step_end()
    assert.same({ 1, "late" }, { one, word })
    assert.equal(1, #r.source.files)
    assert.is_nil(r.source.files.values)
  end)

  it("what returns nothing is a script, wherever 'return' stands", function()
    assert.is_false(recipe.is_recipe "local x = 1\nprint(x)")
    assert.is_false(recipe.is_recipe "local function f() return 1 end f()")
    assert.is_false(recipe.is_recipe "if x then return end")
    assert.is_true(recipe.is_recipe "return { 1 }")
    assert.is_true(recipe.is_recipe "local r = {}\n return setmetatable(r, {})")
    assert.is_true(recipe.is_recipe "#!/usr/bin/foodrt\nreturn ...")
  end)

  it("a script gets its arguments, and frt is at hand", function()
    process.write(dir .. "/script.lua", "x = { ... }\nprint(#x, x[1], arg[2], frt.zeros{2}:numel())\n")
    local status, out, err = tiny.run(dir, { "script.lua", "--resume", "b" })
    assert.equal("", err)
    assert.equal("2\t--resume\tb\t2\n", out)
    assert.equal(0, status)
  end)

  it("times are read in hours, minutes and seconds", function()
    assert.same({ 900, 90, 5400, 0.5, 12 }, { recipe.seconds "15m", recipe.seconds "90s", recipe.seconds "1h30m",
      recipe.seconds "0.5s", recipe.seconds(12) })
    for _, bad in ipairs { "x", "5x", "m", "", "0", "1m2", "-5s" } do assert.is_nil(recipe.seconds(bad)) end
  end)

  local function command(args, status, want)
    local got, _, err = tiny.run(dir, { "tiny.lua", unpack(args) })
    assert.equal(want .. "\n", err)
    assert.equal(status, got)
  end

  it("the command line: misspelt options are wrong usage, status 2", function()
    command({ "--resmue" }, 2, "foodrt: unknown option '--resmue', did you mean '--resume'?")
    command({ "--time", "soon" }, 2, "foodrt: --time must be a time such as 15m, 90s or 1h30m, got 'soon'")
    command({ "--threads", "0" }, 2, "foodrt: --threads must be a number from 1 to 1024, got '0'")
    command({ "-o", "seed" }, 2, "foodrt: -o seed: must be key.path=value")
    command({ "-o" }, 2, "foodrt: -o needs a value")
    command({ "--device", "gpu" }, 2, "foodrt: --device must be one of auto, cpu, cuda, reference, got 'gpu', did you mean 'cpu'?")
    command({ "more" }, 2, "foodrt: unexpected argument 'more' (an option of the recipe is -o key.path=value)")
    command({ "-o", "data.siez=1" }, 2, "foodrt: -o data.siez=1: unknown option 'siez' in data, did you mean 'size'?")
  end)

  it("a root that somebody named and that is not there is an error, status 1", function()
    command({ "-o", "data.root=nowhere" }, 1, "tiny.lua:17: data: no folder 'nowhere' (photos are expected in nowhere/train/CLASS/)")
    command({ "-o", "data.root=data" }, 1, "tiny.lua:17: data: no folder 'data' (photos are expected in data/train/CLASS/)")
  end)

  it("a glob that matches nothing and logits of another width are errors of the run", function()
    command({ "-o", "phases.head.freeze=bakbone" }, 1,
      "tiny.lua:19: freeze: 'bakbone' matches nothing in the model, did you mean 'backbone'?")
    command({ "-o", "model.fc.out_features=5" }, 1,
      "tiny.lua:4: recipe: the model must give logits [8, 3] for 8 photos of 3 classes, got [8, 5]")
  end)
end)
