-- foodrt eval and predict, and frt.run.load: what they say of a small run, other photos, unreadable ones.
local process = require "spec.support.process"
local foodrt = process.foodrt
local json = require "foodrt.core.json"

local RECIPE = [[
local frt = require "foodrt"
local nn = frt.nn
return {
  name = "tiny", seed = 3,
  model = nn.Module { fc = nn.Linear { "classes" }, forward = function(self, x) return self.fc(x:flatten(2)) end },
  loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "photos", size = 8, batch = 4, mean = { 0.4, 0.4, 0.4 } },
  phases = { frt.phase { "all", epochs = 2, optim = frt.optim.adamw { lr = 1e-2 } } },
  metrics = { "top1", "f1" },
}
]]

local function draw(root)
  local sample = dofile((package.loaded["foodrt.host"] and require("foodrt.host").root .. "/share/foodrt/" or "") .. "data/sample.lua")
  sample.draw { root = root, classes = { "ramen", "salad", "tacos" }, per_class = { train = 6, val = 2, test = 4 } }
end

describe("a finished run", function()
  local dir
  setup(function()
    dir = process.temp_dir()
    draw(dir .. "/photos")
    process.write(dir .. "/tiny.lua", RECIPE)
    local status, _, err = foodrt({ "tiny.lua", "--threads", "1" }, { dir = dir })
    assert.equal("", err)
    assert.equal(0, status)
  end)
  teardown(function() process.remove(dir) end)

  local function run(...)
    return foodrt({ ... }, { dir = dir })
  end

  local function decoded(...)
    local status, out, err = run(...)
    assert.equal("", err)
    assert.equal(0, status)
    return assert(json.decode(out))
  end

  it("evaluates to the numbers it ended with", function()
    local status, out = run("eval", "runs/tiny")
    assert.equal(0, status)
    local closing = out:match "(test: [^\n]*)\n$"
    local file = assert(io.open(dir .. "/runs/tiny/metrics.jsonl"))
    local last
    for line in file:lines() do last = line end
    file:close()
    local v = json.decode(last).values
    assert.equal(("test: top1 %.3f f1 %.3f loss %.2f (12 photos) runs/tiny"):format(v.top1, v.f1, v.loss), closing)
  end)

  it("gives every class its precision, recall, f1 and photos in --json", function()
    local f = decoded("eval", "runs/tiny", "--json")
    assert.same({ "ramen", "salad", "tacos" }, f.classes)
    assert.equal(12, f.photos)
    assert.equal(3, #f.per_class)
    local f1, hits = 0, 0
    for i, c in ipairs(f.per_class) do
      assert.equal(f.classes[i], c.class)
      assert.equal(4, c.support)
      f1, hits = f1 + c.f1 / 3, hits + c.recall * 4
    end
    assert.near(f.f1, f1, 1e-9)
    assert.near(f.top1, hits / 12, 1e-9)
    assert.same({ 0.4, 0.4, 0.4 }, f.preprocessing.mean)
    assert.equal(8, f.preprocessing.size)
  end)

  it("takes a checkpoint file, other photos, another split, and a folder of classes", function()
    assert.equal(6, decoded("eval", "runs/tiny/last.safetensors", "photos", "--split", "val", "--json").photos)
    local f = decoded("eval", "runs/tiny", "photos/train", "--json")
    assert.equal("train", f.split)
    assert.equal(18, f.photos)
  end)

  it("leaves unreadable photos out, names and counts them", function()
    os.execute("mkdir -p " .. dir .. "/more && cp -r " .. dir .. "/photos/test " .. dir .. "/more/test")
    process.write(dir .. "/more/test/salad/zz.jpg", "no photo")
    local status, out, err = run("eval", "runs/tiny", "more", "--json")
    assert.equal(0, status)
    local f = json.decode(out)
    assert.equal(12, f.photos)
    assert.equal(1, f.n_unreadable)
    assert.equal("more/test/salad/zz.jpg", f.unreadable[1].path)
    assert.truthy(err:find("^more/test/salad/zz.jpg: "))
    assert.equal(decoded("eval", "runs/tiny", "--json").top1, f.top1)
  end)

  it("refuses photos of other classes and runs that are not there", function()
    os.execute("mkdir -p " .. dir .. "/odd/test && cp -r " .. dir .. "/photos/test/salad " .. dir .. "/odd/test/soup")
    local status, out, err = run("eval", "runs/tiny", "odd")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("class 'soup' is in 'odd/test' but not in", 1, true))
    status, out, err = run("eval", "runs/tyni")
    assert.equal(1, status)
    assert.equal("", out)
    assert.truthy(err:find("no such run or checkpoint: 'runs/tyni'", 1, true))
    status, out, err = run("eval", "runs/tiny", "nowhere")
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal("foodrt: eval: no such folder or file: 'nowhere'\n", err)
    status, out, err = run("eval")
    assert.equal(2, status)
    assert.equal("", out)
    assert.equal("foodrt: eval: which run? foodrt eval runs/NAME\n", err)
  end)

  it("predicts: probabilities of the top classes that sum to 1 over all", function()
    local f = decoded("predict", "runs/tiny", "photos/test/ramen/0001.jpg", "photos/test/tacos/0002.jpg", "--json")
    assert.equal(2, f.n)
    assert.equal(0, f.failed)
    local sum = 0
    for _, one in ipairs(f.photos[2].top) do sum = sum + one.p end
    assert.near(1, sum, 1e-6)
    assert.equal(3, #f.photos[1].top)
    assert.is_true(f.photos[1].top[1].p >= f.photos[1].top[2].p)
    local status, out = run("predict", "runs/tiny", "photos/test/ramen", "--top", "1")
    assert.equal(0, status)
    assert.equal(4, select(2, out:gsub("\n", "")))
    assert.truthy(out:find "^photos/test/ramen/0001.jpg  %a+ +%d+%.%d %%\n")
  end)

  it("agrees with eval on every test photo", function()
    local hits = 0
    for _, class in ipairs { "ramen", "salad", "tacos" } do
      for _, photo in ipairs(decoded("predict", "runs/tiny", "photos/test/" .. class, "--top", "1", "--json").photos) do
        if photo.top[1].class == class then hits = hits + 1 end
      end
    end
    assert.near(decoded("eval", "runs/tiny", "--json").top1, hits / 12, 1e-9)
  end)

  it("names and counts unreadable photos and fails only when all are", function()
    process.write(dir .. "/bad.jpg", "no photo")
    local status, out, err = run("predict", "runs/tiny", "bad.jpg", "photos/test/ramen/0001.jpg", "--json")
    assert.equal(0, status)
    assert.equal(1, json.decode(out).failed)
    assert.truthy(err:find("^bad.jpg: "))
    status, out, err = run("predict", "runs/tiny", "bad.jpg", "gone.jpg")
    assert.equal(1, status)
    assert.truthy(out:find("2 of 2 photos could not be read", 1, true))
    assert.equal(2, select(2, err:gsub("\n", "")))
  end)

  it("loads again with frt.run.load: model, recipe, state", function()
    process.write(dir .. "/script.lua", [[
      local model, recipe, state = frt.run.load "runs/tiny"
      local x = recipe.data:preprocess "photos/test/ramen/0001.jpg"
      print(recipe.name, #state.classes, state.phase_name, model.training, model(x).shape[2])
    ]])
    local status, out, err = run("script.lua")
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal("tiny\t3\tall\tfalse\t3\n", out)
  end)
end)
