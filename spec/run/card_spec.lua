-- checkpoints are data: predict, eval, ensembles and explain read a card and a graph and run nothing from the file; what they say
-- is what the recipe's own Lua says, to the same bits; resuming asks for trust where a run is not this user's.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local io_, json = require "foodrt.core.io", require "foodrt.core.json"

local SHORT = { { "epochs = 2", "epochs = 1" }, { "epochs = 3", "epochs = 1" } }
local BEST = "runs/tiny/best.safetensors"

local function with(...)
  local out = { unpack(SHORT) }
  for _, c in ipairs { ... } do out[#out + 1] = c end
  return out
end

local function trained(changes, args)
  local dir = tiny.make(changes, { train = { pizza = 8, ramen = 8, tacos = 8 }, val = { pizza = 2, ramen = 2, tacos = 2 },
    test = { pizza = 3, ramen = 2, tacos = 4 } })
  local status, out, err = tiny.run(dir, { "tiny.lua", "--threads", "1", unpack(args or {}) })
  assert.equal("", err)
  assert.equal(0, status)
  return dir, out
end

-- the file once more, its metadata changed by fn(metadata, tensors)
local function changed(dir, to, fn)
  local tensors, metadata = io_.load(dir .. "/" .. BEST)
  fn(metadata, tensors)
  io_.save(dir .. "/" .. to, tensors, metadata)
  return to
end

local function photo(dir)
  return dir .. "/photos/test/pizza/" .. (io.popen("ls '" .. dir .. "/photos/test/pizza'"):read "*l")
end

local function check_same(dir, ...)
  local a, b = { ... }, { ... }
  b[#b + 1] = "--trust"
  local status, out, err = tiny.run(dir, a)
  assert.equal("", err)
  assert.equal(0, status)
  local _, want = tiny.run(dir, b)
  assert.equal(want, out)
  return out
end

describe("a checkpoint of a recipe's own model", function()
  local dir
  setup(function() dir = trained(SHORT) end)
  teardown(function() process.remove(dir) end)

  it("is measured and predicts to the bits that its recipe gives", function()
    check_same(dir, "eval", "runs/tiny", "--json")
    check_same(dir, "eval", "runs/tiny", "--json", "--batch", "1")
    check_same(dir, "eval", "runs/tiny", "--batch", "5", "--split", "val")
    check_same(dir, "predict", "runs/tiny", photo(dir), "--json", "--top", "3")
    check_same(dir, "eval", "--ensemble", "runs/tiny", "runs/tiny/last.safetensors", "--json")
    tiny.run(dir, { "eval", "runs/tiny", "--out", "a.csv" })
    tiny.run(dir, { "eval", "runs/tiny", "--out", "b.csv", "--trust" })
    assert.equal(process.read(dir .. "/b.csv"), process.read(dir .. "/a.csv"))
  end)

  it("runs nothing that the file holds: recipe, required files, overrides", function()
    changed(dir, "evil.safetensors", function(m)
      m.recipe = 'os.execute("touch X1") return {}'
      m["run.recipe_path"] = json.encode "evil.lua"
      m["run.files"] = json.encode { { name = "foodrt", path = "foodrt.lua", text = 'os.execute("touch X2") return {}' } }
      m["run.overrides"] = json.encode { { "data.size", '{(function() os.execute("touch X3") end)()}' } }
    end)
    local status = tiny.run(dir, { "predict", "evil.safetensors", photo(dir) })
    assert.equal(0, status)
    assert.equal(0, (tiny.run(dir, { "eval", "evil.safetensors" })))
    assert.equal(0, (tiny.run(dir, { "eval", "--ensemble", "evil.safetensors", "runs/tiny" })))
    assert.equal(0, (tiny.run(dir, { "weights", "show", "evil.safetensors" })))
    process.write(dir .. "/both.lua", 'return require("foodrt").ensemble { "evil.safetensors", "runs/tiny" }')
    assert.equal(0, (tiny.run(dir, { "explain", "both.lua" })))
    assert.equal(0, (tiny.run(dir, { "-e", 'local m, r = frt.run.load "evil.safetensors" print(m(r.data:preprocess(arg and "' .. photo(dir)
      .. '")))' })))
    for i = 1, 3 do assert.is_nil(io_.kind(dir .. "/X" .. i), "X" .. i) end
    tiny.run(dir, { "predict", "evil.safetensors", photo(dir), "--trust" })
    assert.truthy(io_.kind(dir .. "/X1"))  -- asked for
  end)

  it("says the way out where it was written before there were graphs", function()
    changed(dir, "old.safetensors", function(m) m.card, m.graph = nil, nil end)
    for _, command in ipairs { "eval", "predict" } do
      local status, _, err = tiny.run(dir, { command, "old.safetensors", command == "predict" and photo(dir) or nil })
      assert.equal(1, status)
      assert.matches("^foodrt: old.safetensors was written before checkpoints carried their evaluation graph; "
        .. "%-%-trust runs the recipe", err)
    end
    local _, want = tiny.run(dir, { "eval", "runs/tiny", "--json" })
    local status, out, err = tiny.run(dir, { "eval", "old.safetensors", "--json", "--trust" })
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal(json.decode(want).loss, json.decode(out).loss)
  end)

  it("is an error, whatever is wrong with its card or graph", function()
    local function card(fn)
      return function(m)
        local c = json.decode(m.card)
        fn(c)
        m.card = json.encode(c)
      end
    end
    local cases = {
      { "damaged card: ", function(m) m.card = "{" end },
      { "damaged card: is no object", function(m) m.card = "7" end },
      { "damaged card: ", function(m) m.card = ("["):rep(1e5) end },
      { "is of form 9, this foodrt reads form 1", card(function(c) c.format = 9 end) },
      { "has no name", card(function(c) c.name = "../../x" end) },
      { "damaged card: ", card(function(c) c.preprocessing = 3 end) },
      { "damaged card: .*size", card(function(c) c.preprocessing.size = 1e9 end) },
      { "damaged card: .*mean", card(function(c) c.preprocessing.mean = { 1, 2 } end) },
      { "damaged card: .*interpolation", card(function(c) c.preprocessing.interpolation = "os.exit" end) },
      { "must have 1 to 64 heads", card(function(c) c.heads = {} end) },
      { "head 1 must have as many classes as its width", card(function(c) c.heads[1].width = 7 end) },
      { "head 1 must have as many classes as its width", card(function(c) c.heads[1].classes[2] = 5 end) },
      { "the graph's 'logits:class' must be f32 %[N, 2%], got f32 %[N, 3%]", card(function(c)
        c.heads[1].width, c.heads[1].classes = 2, { "a", "b" }
      end) },
      { "the graph's 'logits:x' must be f32", card(function(c) c.heads[1].name = "x" end) },
      { "head 1 has a damaged loss", card(function(c) c.heads[1].loss.whole = { photos = -1 } end) },
      { "must be a folder or a manifest", card(function(c) c.data.kind = "os" end) },
      { "its data has no batch", card(function(c) c.data.batch = 1e12 end) },
      { "the evaluation graph is missing", function(m) m.graph = nil end },
      { "evaluation graph: line 1: is no graph", function(m) m.graph = "os.execute('touch X4')" end },
      { "evaluation graph: line 2: there is no op 'os'", function(m) m.graph = "foodrt graph 1\n%0 = os() : f32 []\nend\n" end },
      { "evaluation graph reads 'fc%.weight', of which the file has no values", function(_, t) t["fc.weight"] = nil end },
      { "'fc%.weight' must be f32 %[3, 16%], got f32", function(_, t) t["fc.weight"] = require("foodrt").zeros { 2, 2 } end },
      { "needs .* for one value of one photo", function(m)
        m.graph = m.graph:gsub('\noutput ', '\n%%999999 = x\noutput ', 1)
        m.graph = 'foodrt graph 1\ninput %0 "photos" f32 [N, 3, 16, 16]\n%1 = mean(%0) mask=12 : f32 [N, 3]\n'
          .. '%2 = reshape(%1) ndim=4 shape=N,3,1,1,0,0 : f32 [N, 3, 1, 1]\n'
          .. '%3 = expand(%2) ndim=4 shape=N,3,1000000,1000000,0,0 : f32 [N, 3, 1000000, 1000000]\n'
          .. '%4 = mean(%3) mask=12 : f32 [N, 3]\noutput %4 "logits:class"\nend\n'
      end },
    }
    for i, case in ipairs(cases) do
      changed(dir, "bad.safetensors", case[2])
      local status, out, err = tiny.run(dir, { "predict", "bad.safetensors", photo(dir) })
      assert.equal("", out, i)
      assert.equal(1, status, i)
      assert.matches("bad.safetensors", err)
      assert.matches(case[1], err)
      assert.falsy(err:find "stack traceback" or err:find "attempt to", i .. ": " .. err)
    end
    assert.is_nil(io_.kind(dir .. "/X4"))
  end)

  it("is resumed as one's own where it lies, also when its recipe has changed since", function()
    local own = trained(SHORT)
    process.write(own .. "/tiny.lua", tiny.text(with { "seed = 3", "seed = 4" }))
    local status, _, err = tiny.run(own, { "tiny.lua", "--resume" })
    assert.equal("", err)
    assert.equal(0, status)
    process.remove(own)
  end)

  it("is not resumed when somebody changed what would be run, but by --trust", function()
    local own = trained(SHORT)
    process.shell("cp -r runs/tiny runs/theirs", { dir = own })
    process.write(own .. "/tiny.lua", tiny.text(with { "seed = 3", "seed = 4" }))
    local function resume(...)
      return tiny.run(own, { "tiny.lua", "--resume", "--run", ... })
    end
    local function change(run, fn)
      for _, name in ipairs { "last", "last.previous", "last.new" } do
        local path = ("%s/runs/%s/%s.safetensors"):format(own, run, name)
        if io_.kind(path) then
          local tensors, metadata = io_.load(path)
          fn(metadata)
          io_.save(path, tensors, metadata)
        end
      end
    end
    assert.equal(0, (resume "runs/theirs"))  -- a copy of one's own
    local ways = {
      function(m) m.recipe = 'os.execute("touch X5")\n' .. m.recipe end,
      function(m) m["run.files"] = json.encode { { name = "foodrt.train.optim", path = "x.lua", text = 'os.execute("touch X5")' } } end,
      function(m) m["run.overrides"] = json.encode { { "seed", "7" } } end,
      function(m) m["run.recipe_path"] = json.encode "/tmp/evil/tiny.lua" end,
      function(m) m["run.files"], m["run.overrides"], m["run.recipe_path"] = '"x"', "[1,[2]]", "{}" end,
    }
    for i, way in ipairs(ways) do
      process.shell("rm -rf runs/theirs && cp -r runs/tiny runs/theirs", { dir = own })
      change("theirs", way)
      local status, _, err = resume "runs/theirs"
      assert.equal(1, status, i)
      assert.matches("^foodrt: %-%-resume: the recipe in runs/theirs's checkpoint is none that you have run, "
        .. "nor is it tiny.lua as it is now; "
        .. ".*%-%-trust does so\n$", err)
    end
    assert.is_nil(io_.kind(own .. "/X5"))
    process.shell("rm -rf runs/theirs && cp -r runs/tiny runs/theirs", { dir = own })
    change("theirs", function(m) m.recipe = "-- theirs\n" .. m.recipe end)
    assert.equal(0, (resume("runs/theirs", "--trust")))
    assert.equal(0, (resume "runs/theirs"))  -- it is one of ours now
    process.remove(own)
  end)

  it("needs no memory of it where the recipe is what the command line names", function()
    local own = trained(SHORT)
    local status, _, err = tiny.run(own, { "tiny.lua", "--resume" }, { env = { XDG_STATE_HOME = own .. "/none" } })
    assert.equal("", err)
    assert.equal(0, status)
    process.remove(own)
  end)
end)

describe("a checkpoint", function()
  local dir
  after_each(function()
    process.remove(dir)
  end)

  local MODEL = 'forward = function(self, x) return self.fc(self.drop(self.backbone(x):relu():avg_pool2d())) end,'

  it("of several tasks, class weights, averages and a loss of the recipe's own measures as its recipe does", function()
    local TASKS = [[tasks = { frt.task { "dish", label = "class", loss = frt.loss.cross_entropy { weight = { 1, 2, 0.5 }, smoothing = 0.1 },
        metrics = { "top1", "f1" } },
      frt.task { "again", label = "class", weight = 0.3, loss = function(logits, y) return (-logits:log_softmax(2):gather(2,
        y:reshape { y.shape[1], 1 })):mean() end } },]]
    dir = trained(with({ "loss = frt.loss.focal { gamma = 2 },", TASKS .. " ema = 0.5," },
      { MODEL, [[forward = function(self, x)
        local h = self.drop(self.backbone(x):relu():avg_pool2d())
        return { dish = self.fc(h), again = self.fc(h) * 0.5 }
      end,]] }))
    local out = check_same(dir, "eval", "runs/tiny", "--json")
    assert.equal(2, #json.decode(out).tasks)
    check_same(dir, "eval", "runs/tiny/last.safetensors", "--json", "--batch", "2")
    check_same(dir, "predict", "runs/tiny", photo(dir), "--json")
  end)

  it("of a model of frt.models names its constructor and options", function()
    dir = trained(with({ "model = model,", 'model = frt.models.mobilenetv2_035 { classes = "classes", drop_rate = 0.1 },' },
      { 'freeze = "backbone"', 'freeze = "*", unfreeze = "classifier"' }, { "lr = { backbone = 1e-3, fc = 1e-2 }", "lr = 1e-3" },
      { "size = 16", "size = 32" }))
    local _, metadata = io_.list(dir .. "/" .. BEST)
    local c = json.decode(metadata.card)
    assert.equal("mobilenetv2_035", c.model.constructor)
    assert.equal(0.1, c.model.options.drop_rate)
    assert.same({ "pizza", "ramen", "tacos" }, c.heads[1].classes)
    assert.equal(32, c.preprocessing.size)
    check_same(dir, "eval", "runs/tiny", "--json")
  end)

  it("of a model that looks at values says why it has no graph, once, and what to do", function()
    local out
    dir, out = trained(with { MODEL, [[forward = function(self, x)
      if not self.training and x:mean():item() > 1e9 then x = x * 2 end
      return self.fc(self.drop(self.backbone(x):relu():avg_pool2d()))
    end,]] })
    local said = select(2, out:gsub("no evaluation graph in the checkpoints", ""))
    assert.equal(1, said)
    assert.matches("predict and eval will need %-%-trust %(tiny.lua:%d+: a value can't be looked at while a graph is recorded%)", out)
    local status, _, err = tiny.run(dir, { "eval", "runs/tiny" })
    assert.equal(1, status)
    assert.matches("has no evaluation graph %(tiny.lua:%d+: a value can't be looked at", err)
    assert.equal(0, (tiny.run(dir, { "eval", "runs/tiny", "--trust" })))
  end)

  it("keeps large constants beside the graph, under names that are free", function()
    dir = trained(with({ "local model = nn.Module {",
      "local table_ = frt.arange(400)\nlocal model = nn.Module {\n  graph = nn.List { nn.Linear { 3 } }," },
      { "lr = { backbone = 1e-3, fc = 1e-2 }", "lr = 1e-3" }, { MODEL, [[forward = function(self, x)
        local h = self.drop(self.backbone(x):relu():avg_pool2d())
        return self.fc(h) + self.graph[1](h) + (h:sum(2, { keepdim = true }) + table_):sum(2, { keepdim = true }) * 1e-3
      end,]] }))
    check_same(dir, "eval", "runs/tiny", "--json")
    local status, _, err = tiny.run(dir, { "weights", "convert", BEST, "small.safetensors", "--dtype", "fp32" })
    assert.equal("", (err:gsub("[^\n]*left out[^\n]*\n", "")))
    assert.equal(0, status)
    assert.equal(0, (tiny.run(dir, { "eval", "small.safetensors" })))
  end)
end)
