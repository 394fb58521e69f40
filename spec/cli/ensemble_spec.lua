-- Ensembles: their numbers are the means of their members' own predictions, from the command line, a recipe and Lua.
local process = require "spec.support.process"
local predictions = require "foodrt.run.predictions"
local csv, json = require "foodrt.data.csv", require "foodrt.core.json"
local foodrt = process.foodrt

local RECIPE = [[
local frt = require "foodrt"
local nn = frt.nn
return {
  name = "NAME", seed = 3,
  model = nn.Module { fc = nn.Linear { "classes" }, forward = function(self, x) return self.fc(x:flatten(2)) end },
  loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "PHOTOS", size = SIZE, batch = 4, mean = { MEAN, 0.4, 0.4 }, eval = { mode = "MODE" } },
  phases = { frt.phase { "all", epochs = 2, optim = frt.optim.adamw { lr = 1e-2 } } },
  metrics = { "top1", "f1" },
}
]]

local function draw(root, classes)
  local sample = dofile((package.loaded["foodrt.host"] and require("foodrt.host").root .. "/share/foodrt/" or "") .. "data/sample.lua")
  sample.draw { root = root, classes = classes, per_class = { train = 6, val = 2, test = 4 } }
end

describe("an ensemble", function()
  local dir

  local function run(...)
    return foodrt({ ... }, { dir = dir })
  end

  local function write(name, values)
    process.write(("%s/%s.lua"):format(dir, name), (RECIPE:gsub("%u+", values)))
  end

  local function train(name, values)
    write(name, values)
    local status, _, err = run(name .. ".lua", "--threads", "1")
    assert.equal("", err)
    assert.equal(0, status)
  end

  -- rows of eval --out by file: { label, predicted, probabilities }
  local function table_of(...)
    local status, _, err = run("eval", "--out", "out.csv", ...)
    assert.equal("", err)
    assert.equal(0, status)
    local rows, out, n = csv.read(dir .. "/out.csv"), {}, 0
    assert.same({ "file", "true", "predicted", "ramen", "salad", "tacos" }, rows[1])
    for i = 2, #rows do
      local r = rows[i]
      out[r[1]], n = { label = r[2], predicted = r[3], tonumber(r[4]), tonumber(r[5]), tonumber(r[6]) }, n + 1
    end
    return out, n
  end

  setup(function()
    dir = process.temp_dir()
    draw(dir .. "/photos", { "ramen", "salad", "tacos" })
    train("a", { NAME = "a", PHOTOS = "photos", SIZE = "8", MEAN = "0.4", MODE = "center" })
    train("b", { NAME = "b", PHOTOS = "photos", SIZE = "12", MEAN = "0.6", MODE = "squash" })
  end)
  teardown(function() process.remove(dir) end)

  it("of probabilities, weights 2 and 1, is their weighted mean for every photo within 1e-6", function()
    local a, n = table_of "runs/a"
    local b, e = table_of "runs/b", table_of("--ensemble", "runs/a", "runs/b", "--weights", "2,1")
    assert.equal(12, n)
    for file, row in pairs(a) do
      assert.equal(row.label, e[file].label)
      assert.equal(row.label, file:match "([^/]+)/[^/]+$")
      local best = 1
      for c = 1, 3 do
        local mean = (2 * row[c] + b[file][c]) / 3
        assert.near(mean, e[file][c], 1e-6)
        if e[file][c] > e[file][best] then best = c end
      end
      assert.equal(({ "ramen", "salad", "tacos" })[best], e[file].predicted)
    end
  end)

  it("of logits is the softmax of their mean: the normalised geometric mean of probabilities", function()
    local a, b, e = table_of "runs/a", table_of "runs/b", table_of("--ensemble", "runs/a", "runs/b", "--mean", "logits")
    for file, row in pairs(a) do
      local sum, mean = 0, {}
      for c = 1, 3 do
        mean[c] = math.sqrt(row[c] * b[file][c])
        sum = sum + mean[c]
      end
      for c = 1, 3 do assert.near(mean[c] / sum, e[file][c], 1e-6) end
    end
  end)

  it("reports as eval does: each member with its own photos, then itself", function()
    local status, out = run("eval", "--ensemble", "runs/a", "runs/b", "--json")
    assert.equal(0, status)
    local f = json.decode(out)
    assert.equal("probs", f.mean)
    assert.same({ 8, 12 }, { f.members[1].preprocessing.size, f.members[2].preprocessing.size })
    assert.near(0.6, f.members[2].preprocessing.mean[1], 1e-9)
    for i, name in ipairs { "a", "b" } do
      local own = json.decode(select(2, run("eval", "runs/" .. name, "--json")))
      for _, key in ipairs { "top1", "f1", "loss" } do assert.near(own[key], f.members[i][key], 1e-6) end
    end
    local e, hits, loss = table_of("--ensemble", "runs/a", "runs/b"), 0, 0
    for _, row in pairs(e) do
      if row.label == row.predicted then hits = hits + 1 end
      loss = loss - math.log(row[({ ramen = 1, salad = 2, tacos = 3 })[row.label]]) / 12
    end
    assert.near(hits / 12, f.top1, 1e-9)
    assert.near(loss, f.loss, 1e-5)
    local text = select(2, run("eval", "--ensemble", "runs/a", "runs/b"))
    assert.truthy(text:find(("test: top1 %.3f f1 %.3f loss %.2f (12 photos) ensemble\n"):format(f.top1, f.f1, f.loss), 1, true))
    assert.truthy(text:find(" %(weight 1, 12 x 12%) runs/b\n"))
  end)

  it("leaves a photo that can't be read out once for all, names and counts it", function()
    os.execute("mkdir -p " .. dir .. "/more && cp -r " .. dir .. "/photos/test " .. dir .. "/more/test")
    process.write(dir .. "/more/test/salad/zz.jpg", "no photo")
    local status, out, err = run("eval", "--ensemble", "runs/a", "runs/b", "more", "--json")
    assert.equal(0, status)
    local f = json.decode(out)
    assert.same({ 12, 1 }, { f.photos, f.n_unreadable })
    assert.equal(1, select(2, err:gsub("\n", "")))
    assert.truthy(err:find "^more/test/salad/zz.jpg: ")
  end)

  it("predicts: the mean of what its members predict", function()
    local photo = "photos/test/ramen/0001.jpg"
    local function see(...)
      local status, out, err = run("predict", ...)
      assert.equal("", err)
      assert.equal(0, status)
      local p = {}
      for _, one in ipairs(json.decode(out).photos[1].top) do p[one.class] = one.p end
      return p
    end
    local a, b = see("runs/a", photo, "--json"), see("runs/b", photo, "--json")
    local e = see("--ensemble", "runs/a", "runs/b", photo, "--json")
    for class, p in pairs(a) do assert.near((p + b[class]) / 2, e[class], 1e-6) end
  end)

  it("as a recipe explains itself, trains members that have no run yet, and is measured", function()
    write("c", { NAME = "c", PHOTOS = "photos", SIZE = "10", MEAN = "0.5", MODE = "border" })
    process.write(dir .. "/e.lua", 'return require("foodrt").ensemble { "a.lua", "c.lua", mean = "logits", name = "two" }\n')
    local status, out, err = run("explain", "e.lua", "--json")
    assert.equal("", err)
    assert.equal(0, status)
    local f = json.decode(out)
    assert.same({ "runs/a", false }, { f.members[1].run, f.members[2].run })
    assert.same({ 3 * 64 * 3 + 3, 3 * 100 * 3 + 3 }, { f.members[1].parameters, f.members[2].parameters })
    status, out, err = run "e.lua"
    assert.equal("", err)
    assert.equal(0, status)
    assert.truthy(out:find("c.lua has no run yet: it is trained first\n", 1, true))
    assert.truthy(out:find("two: 2 runs, mean of logits; test of photos\n", 1, true))
    assert.truthy(out:find "%(12 photos%) two\n$")
    status, out, err = run("e.lua", "-o", "mean=probs")
    assert.same({ 2, "" }, { status, out })
    assert.equal("foodrt: -o mean: e.lua is an ensemble: its members have options, it has none\n", err)
  end)

  it("refuses members of other classes, other counts of weights, runs that are not there", function()
    draw(dir .. "/other", { "ramen", "salad", "sushi" })
    train("d", { NAME = "d", PHOTOS = "other", SIZE = "8", MEAN = "0.4", MODE = "center" })
    local function fails(status, why, ...)
      local got, out, err = run("eval", ...)
      assert.same({ status, "", why }, { got, out, err })
    end
    fails(1, "foodrt: ensemble: 'runs/d' has the class 'sushi', 'runs/a' has not\n", "--ensemble", "runs/a", "runs/d")
    fails(2, "foodrt: eval: --weights must be 2 numbers, one per run, got 3\n", "--ensemble", "runs/a", "runs/b", "--weights", "1,2,3")
    fails(2, "foodrt: eval: --weights must be positive numbers such as 2,1, got '1,-2'\n", "--ensemble", "runs/a", "runs/b",
      "--weights", "1,-2")
    fails(1, "foodrt: eval: 'runs/bb' is no run or checkpoint\n", "--ensemble", "runs/a", "runs/bb")
    fails(1, "foodrt: eval: --out gone/x.csv: no folder 'gone'\n", "runs/a", "--out", "gone/x.csv")
    fails(2, "foodrt: eval: --mean is for --ensemble\n", "runs/a", "--mean", "probs")
    process.write(dir .. "/bad.lua", 'local e = frt.ensemble { "runs/a", "runs/b", wieghts = { 1, 2 } }\n')
    local status, _, err = run "bad.lua"
    assert.equal(1, status)
    assert.equal("bad.lua:1: ensemble: unknown option 'wieghts', did you mean 'weights'?\n", err)
  end)
end)

describe("predictions", function()
  local function made(classes, rows, loss)
    local task = require "foodrt.train.task"
    local p = predictions.new(task.bind(task.alone(loss, { "top1" }), { { name = "class", classes = classes } }), #rows, true)
    local one = p.rows[1]
    for i, row in ipairs(rows) do
      p.paths[i], one.labels[i - 1] = row[1], row[2]
      local best = 1
      for c = 1, #classes do
        one.scores[(i - 1) * #classes + c - 1] = row[2 + c]
        if row[2 + c] > row[2 + best] then best = c end
      end
      one.first[i - 1] = best
    end
    p.n, one.n = #rows, #rows
    return p
  end

  it("are matched photo by photo and class by class, whatever the order; what one lacks is left out", function()
    local a = made({ "x", "y" }, { { "1.jpg", 1, 3, 1 }, { "2.jpg", 2, 5, 7 }, { "3.jpg", 1, 0, 0 } })
    local b = made({ "y", "x" }, { { "3.jpg", 2, 8, 9 }, { "1.jpg", 2, 10, 20 } })
    local m = predictions.matched { a, b }
    assert.same({ 2, 2, "3.jpg" }, { m[1].n, m[2].n, m[2].paths[2] })
    assert.same({ 20, 10, 9, 8 }, { m[2].scores[0], m[2].scores[1], m[2].scores[2], m[2].scores[3] })
    assert.equal(1, m[2].labels[0])
    local mean = predictions.mean(m, { 1, 3 }, "logits")
    assert.same({ (3 + 60) / 4, (1 + 30) / 4 }, { mean.scores[0], mean.scores[1] })
  end)

  it("measure the same as metrics do: top1 2/3, cross entropy by hand", function()
    local p = made({ "x", "y" }, { { "1.jpg", 1, 3, 1 }, { "2.jpg", 2, 5, 7 }, { "3.jpg", 2, 1, 0 } },
      require("foodrt").loss.cross_entropy {})
    local v = p:measure()
    assert.near(2 / 3, v.top1, 1e-12)
    assert.near((2 * math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 3, v.loss, 1e-6)
  end)

  it("write quoted fields where names hold commas", function()
    local p = made({ "fish, chips", "y" }, { { "a\"b.jpg", 1, 0, 0 } })
    local path = os.tmpname()
    p:write(path)
    local rows = csv.read(path)
    os.remove(path)
    assert.same({ { "file", "true", "predicted", "fish, chips", "y" }, { 'a"b.jpg', "fish, chips", "fish, chips", "0.5", "0.5" } }, rows)
  end)
end)
