-- tasks: a model with several heads from the recipe to eval, predict and ensembles; photos whose labels are missing.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local json, csv = require "foodrt.core.json", require "foodrt.data.csv"
local checkpoint = require "foodrt.train.checkpoint"

local RECIPE = [[
local frt = require "foodrt"
local nn = frt.nn

local model = nn.Module {
  body = nn.Chain { nn.Conv2d { 8, 3, stride = 2, padding = 1 }, nn.BatchNorm2d {}, nn.ReLU {} },
  dish = nn.Linear { "classes" },
  taste = nn.Linear { "classes.taste" },
  forward = function(self, x)
    local pooled = self.body(x):avg_pool2d()
    return { dish = self.dish(pooled), taste = self.taste(pooled) }
  end,
}

return {
  name = "both", seed = 3, model = model,
  tasks = {
    frt.task { "dish", loss = frt.loss.cross_entropy {}, metrics = { "top1", "f1" } },
    frt.task { "taste", loss = frt.loss.cross_entropy { weight = { 1, 3 } }, weight = 0.5 },
  },
  monitor = "val.taste.top1",
  data = frt.data.manifest { "list.csv", size = 16, batch = 8 },
  phases = { frt.phase { "all", epochs = 3, optim = frt.optim.adamw { lr = 1e-2 } } },
}
]]

describe("several tasks", function()
  local dir, out, err, status
  setup(function()
    dir = tiny.make()
    process.write(dir .. "/both.lua", RECIPE)
    local rows, n = { "path,split,dish,taste" }, 0
    for split, classes in pairs(tiny.SPLITS) do
      for class, count in pairs(classes) do
        local pipe = io.popen(("ls %s/photos/%s/%s"):format(dir, split, class))
        for file in pipe:lines() do
          n = n + 1
          rows[#rows + 1] = ("photos/%s/%s/%s,%s,%s,%s"):format(split, class, file, split, class,
            file:find "[37]" and "" or class == "ramen" and "salty" or "mild")
        end
        pipe:close()
        assert.is_true(count > 0)
      end
    end
    table.sort(rows, function(a, b)
      if (a == rows[1]) ~= (b == rows[1]) then return a == rows[1] end
      return a < b
    end)
    process.write(dir .. "/list.csv", table.concat(rows, "\n") .. "\n")
    status, out, err = tiny.run(dir, { "both.lua" })
  end)
  teardown(function() process.remove(dir) end)

  local function decoded(...)
    local rc, text, why = tiny.run(dir, { ... })
    assert.same({ 0, "" }, { rc, why })
    return assert(json.decode(text))
  end

  it("train, and end with a line that names each", function()
    assert.same({ 0, "" }, { status, err })
    assert.match("train loss %d%.%d%d%d dish%.top1 %d%.%d+, val dish top1 %d%.%d+ f1 %d%.%d+, taste top1 %d%.%d+, loss %d%.%d%d", out)
    assert.match("^test: dish top1 %d%.%d+ f1 %d%.%d+, taste top1 %d%.%d+, loss %d%.%d%d %(13 photos%) runs/both$", tiny.last(out))
  end)

  it("save what they are: columns with their classes, the best epoch by the recipe's monitor", function()
    local meta = checkpoint.peek(dir .. "/runs/both/last.safetensors")
    assert.same({ { name = "dish", classes = { "pizza", "ramen", "tacos" } }, { name = "taste", classes = { "mild", "salty" } } },
      meta.columns)
    local best, most = nil, -1
    for row in io.lines(dir .. "/runs/both/metrics.jsonl") do
      local e = json.decode(row)
      if e.event == "epoch" and e.val["taste.top1"] > most then best, most = e.epoch, e.val["taste.top1"] end
    end
    assert.is_true(meta.best.epoch >= best)
    assert.equal(most, tonumber(("%.6g"):format(meta.best["taste.top1"])))
  end)

  it("eval gives each its classes and numbers, photos without a label left out of that one", function()
    local f = decoded("eval", "runs/both", "--json")
    assert.same({ 13, 2, "dish", "taste" }, { f.photos, #f.tasks, f.tasks[1].name, f.tasks[2].name })
    assert.same({ "mild", "salty" }, f.tasks[2].classes)
    assert.same(f.per_class, f.tasks[1].per_class)
    local with = f.tasks[2].per_class[1].support + f.tasks[2].per_class[2].support
    assert.is_true(with > 0 and with < 13)
    assert.equal(with, f["taste.n"])
    assert.near(f["dish.loss"] + 0.5 * f["taste.loss"], f.loss, 1e-9)
    local closing = select(2, tiny.run(dir, { "eval", "runs/both" }))
    assert.match("\ntaste: top1 %d%.%d+ %(%d+ photos%)\n", closing)
    assert.equal(tiny.last(out):gsub(" runs/both$", ""), (tiny.last(closing):gsub(" runs/both$", "")))
  end)

  it("its loss does not depend on the batch", function()
    local a = decoded("eval", "runs/both", "--json")
    for _, n in ipairs { "1", "3", "13" } do
      local b = decoded("eval", "runs/both", "--json", "--batch", n)
      assert.near(a.loss, b.loss, 1e-6)
      assert.equal(a["taste.top1"], b["taste.top1"])
    end
  end)

  it("--out has columns for each", function()
    assert.equal(0, (tiny.run(dir, { "eval", "runs/both", "--out", "p.csv" })))
    local rows = csv.read(dir .. "/p.csv")
    assert.same({ "file", "dish.true", "dish.predicted", "dish.pizza", "dish.ramen", "dish.tacos", "taste.true", "taste.predicted",
      "taste.mild", "taste.salty" }, rows[1])
    assert.equal(14, #rows)
    local empty = 0
    for i = 2, #rows do
      if rows[i][7] == "" then empty = empty + 1 end
    end
    assert.is_true(empty > 0)
  end)

  it("predict says both of each photo", function()
    local photo = csv.read(dir .. "/list.csv")[2][1]
    local f = decoded("predict", "runs/both", photo, "--json")
    assert.same({ "dish", "taste" }, { f.photos[1].tasks[1].name, f.photos[1].tasks[2].name })
    assert.same({ 3, 2 }, { #f.photos[1].tasks[1].top, #f.photos[1].tasks[2].top })
    local sum = 0
    for _, one in ipairs(f.photos[1].tasks[2].top) do sum = sum + one.p end
    assert.near(1, sum, 1e-6)
    local _, text = tiny.run(dir, { "predict", "runs/both", photo })
    assert.equal(2, select(2, text:gsub("\n", "")))
    assert.match("  taste  %a+ +%d", text)
  end)

  it("ensembles match tasks and classes by name", function()
    assert.equal(0, (tiny.run(dir, { "both.lua", "--run", "runs/two", "-o", "seed=4" })))
    local f = decoded("eval", "--ensemble", "runs/both", "runs/two", "--json")
    local one = decoded("eval", "runs/both", "--json")
    assert.equal(one["taste.top1"], f.members[1]["taste.top1"])
    assert.near(one.loss, f.members[1].loss, 1e-6)
    assert.is_true(f["dish.top1"] >= 0 and f.tasks[2].per_class[1].support > 0)
  end)

  it("accumulate and resume to the same bits: each has its own divisor", function()
    local args = { "both.lua", "-o", "data.batch=4", "-o", "accumulate=3", "-o", "save.every=0.001" }
    assert.equal(0, (tiny.run(dir, { args[1], "--run", "whole", unpack(args, 2) })))
    tiny.run_for(dir, { args[1], "--run", "cut", unpack(args, 2) }, "TERM", 0.4)
    local rc = 1
    for _ = 1, 3 do
      rc = tiny.run(dir, { args[1], "--run", "cut", "--resume", unpack(args, 2) })
      if rc == 0 then break end
    end
    assert.equal(0, rc)
    assert.equal(tiny.hash(dir .. "/whole/last.safetensors"), tiny.hash(dir .. "/cut/last.safetensors"))
  end)

  it("explain lists them", function()
    local _, text = tiny.run(dir, { "explain", "both.lua" })
    assert.match("tasks +dish: cross_entropy, weight 1, of the column 'dish'\n"
      .. " +taste: cross_entropy %(class weights%), weight 0%.5, of the column 'taste'\n",
      text)
  end)

  it("what does not fit is said: heads, columns, names, losses", function()
    local function fails(from, to, want)
      local text = RECIPE
      local a, b = text:find(from, 1, true)
      process.write(dir .. "/bad.lua", text:sub(1, a - 1) .. to .. text:sub(b + 1))
      local rc, _, why = tiny.run(dir, { "bad.lua", "--run", "bad" })
      assert.equal(1, rc)
      assert.match(want, why)
    end
    fails("taste = self.taste(pooled)", "tast = self.taste(pooled)",
      "the model returns no 'taste' for task 'taste', did you mean 'tast'%?\n$")
    fails('"classes.taste"', '"classes.tast"', "no label column 'tast', did you mean 'taste'%?\n$")
    fails('"classes.taste"', "5", "logits %[8, 2%] for task 'taste' for 8 photos of 2 classes, got %[8, 5%]\n$")
    fails('{ "dish", loss', '{ "dishs", loss', "task 'dishs': no label column 'dishs' in 'list.csv', did you mean 'dish'%?\n$")
    fails('{ "taste", loss', '{ "dish", loss', "bad%.lua:%d+: recipe: two tasks are called 'dish'\n$")
    fails("val.taste.top1", "val.tast.top1", "monitor: no task 'tast', did you mean 'taste'%?\n$")
    fails('  monitor = "val.taste.top1"', "  loss = frt.loss.focal {}", "'loss' and 'tasks': each task has its own loss\n$")
  end)
end)
