-- a run as a command: what it says, what it leaves behind, and how it fails.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local checkpoint, json = require "foodrt.train.checkpoint", require "foodrt.core.json"
local ffi = require "ffi"

local function lines(text)
  local list = {}
  for row in text:gmatch "[^\n]+" do list[#list + 1] = row end
  return list
end

local read = process.read

local function list(dir)
  local _, out = process.shell("ls " .. dir)
  return (out:gsub("\n", " "))
end

describe("a run", function()
  local dir, status, out, err
  setup(function()
    dir = tiny.make()
    process.write(dir .. "/other.lua", 'local r = require "tiny"\nr.name = "other"\nr.phases[2].epochs = 1\nreturn r\n')
    status, out, err = tiny.run(dir, { "tiny.lua", "-o", "phases.head.epochs=1" })
  end)
  teardown(function() process.remove(dir) end)

  it("ends with one closing line and status 0", function()
    assert.equal("", err)
    assert.equal(0, status)
    local value = "%d%.%d%d%d"
    assert.match(("^test: top1 %s top5 %s f1 %s loss %%d%%.%%d%%d %%(13 photos%%) runs/tiny$"):format(value, value, value),
      tiny.last(out))
  end)

  it("says what it trains, each phase, and each epoch", function()
    local said = lines(out)
    assert.match("^tiny: 1459 parameters, 3 classes, 60 train, 11 val, 13 test photos of 16 x 16, seed 3, cpu %(.*%), into runs/tiny$",
      said[1])
    assert.equal("evaluation sees: shortest edge to 18, middle 16 x 16 (bilinear), mean 0.485 0.456 0.406, std 0.229 0.224 0.225; "
      .. "as the recipe says, else as is usual for ImageNet", said[2])
    assert.equal("phase 'head': 51 of 1459 parameters, 7 steps of 8 photos, adamw (lr 0.01, weight decay 0.01)", said[3])
    assert.equal("phase 'head': what is frozen has random weights, so only a rough first head can be learnt", said[4])
    assert.match("^head 1/1: train loss %d%.%d%d%d top1 %d%.%d%d%d, val top1 .* loss %d%.%d%d, 00:%d%d.*, best so far$", said[5])
    assert.match("^phase 'all': 1459 of 1459 parameters, 21 steps of 8 photos, adamw .*, one_cycle$", said[6])
    assert.match("^all 3/3: ", said[9])
    assert.equal(10, #said)
  end)

  it("leaves recipe, options, metrics and checkpoints", function()
    assert.equal("best.safetensors last.previous.safetensors last.safetensors metrics.jsonl options.json recipe.lua ",
      list(dir .. "/runs/tiny"))
    assert.equal(tiny.text(), read(dir .. "/runs/tiny/recipe.lua"))
    assert.same({ { "phases.head.epochs", "1" } }, json.decode(read(dir .. "/runs/tiny/options.json")).overrides)
  end)

  it("metrics.jsonl has a line per tenth of an epoch, per epoch and for the test", function()
    local count = {}
    for row in io.lines(dir .. "/runs/tiny/metrics.jsonl") do
      local entry = json.decode(row)
      count[entry.event] = (count[entry.event] or 0) + 1
      if entry.event == "epoch" then assert.equal(11, entry.val.n) end
      if entry.event == "test" then assert.equal(13, entry.values.n) end
    end
    assert.same({ step = 28, epoch = 4, test = 1 }, count)
  end)

  it("the checkpoint holds what a resumed run and a prediction need", function()
    local meta = checkpoint.peek(dir .. "/runs/tiny/last.safetensors")
    assert.same({ "pizza", "ramen", "tacos" }, meta.classes)
    assert.same({ 3, 2, "all", 3, 0, "train", 28, 4, 16 }, { meta.seed, meta.phase, meta.phase_name, meta.epoch, meta.batch, meta.stage,
      meta.step, meta.epochs, meta.size })
    assert.same({ { "phases.head.epochs", "1" } }, meta.overrides)
    assert.equal(tiny.text(), meta.recipe_text)
    assert.equal(60, meta.data.train.n)
    assert.equal("center", meta.preprocessing.mode)
    assert.equal(11, meta.best.n)
    assert.equal(ffi.string(require("foodrt.core.ffi").C.frt_version()), meta.version)
    local best = checkpoint.load(dir .. "/runs/tiny/best.safetensors")
    assert.is_nil(best.optim)
    assert.same({ 16, 8, 3, 3 }, best.tensors["backbone.3.weight"].shape)
  end)

  it("a second run of the name gets -2, and what it required is kept", function()
    process.shell("cp tiny.lua same.lua", { dir = dir })
    local _, said = tiny.run(dir, { "same.lua", "-o", "phases.head.epochs=0", "-o", "phases.all.steps=1" })
    assert.match("%(13 photos%) runs/tiny%-2$", tiny.last(said))
    tiny.run(dir, { "other.lua", "-o", "phases.head.epochs=0" })
    assert.equal(tiny.text(), read(dir .. "/runs/other/files/tiny.lua"))
  end)

  it("two runs of one seed are equal bit for bit; of another seed they are not", function()
    local args = { "-o", "phases.head.epochs=0", "-o", "phases.all.epochs=1" }
    for name, seed in pairs { a = "3", b = "3", c = "4" } do
      tiny.run(dir, { "tiny.lua", "--run", name, "-o", "seed=" .. seed, "--workers", name == "b" and "3" or "1", unpack(args) })
    end
    local function hash(name) return tiny.hash(dir .. "/" .. name .. "/last.safetensors") end
    assert.equal(hash "a", hash "b")
    assert.not_equal(hash "a", hash "c")
  end)

  it("a folder with a run in it is not written over", function()
    local got, _, why = tiny.run(dir, { "tiny.lua", "--run", "runs/tiny" })
    assert.equal("foodrt: --run runs/tiny: holds a run already; --resume goes on with it\n", why)
    assert.equal(1, got)
  end)

  it("--time ends schedule and test in time, in both phases", function()
    local clock = require("foodrt.core.ffi").C
    local began = clock.frt_now()
    local got, said = tiny.run(dir, { "tiny.lua", "--run", "timed", "--time", "3s", "-o", "phases.head.epochs=1000",
      "-o", "phases.all.epochs=4000" })
    local took = clock.frt_now() - began
    assert.equal(0, got)
    assert.is_true(took > 1 and took < 3.6, ("%.1f s"):format(took))
    assert.match("all %d+: ", said)
    assert.match("^test: .* timed$", tiny.last(said))
    local meta = checkpoint.peek(dir .. "/timed/last.safetensors")
    assert.equal("all", meta.phase_name)
    assert.near(1, meta.progress, 1e-9)
  end)

  it("a loss that is not a number names phase, epoch, step and photos; the checkpoints stay", function()
    local got, _, why = tiny.run(dir, { "tiny.lua", "--run", "nan", "-o", "phases.all.optim.lr={ backbone = 1e30, fc = 1e30 }" })
    assert.equal(1, got)
    assert.match("^phase 'all', epoch 1, step %d+: the loss is not a number; photos photos/train/.*%.bmp, .*; "
      .. "nothing was updated, nan/last%.safetensors is as it was\n$", why)
    assert.equal("head", checkpoint.peek(dir .. "/nan/last.safetensors").phase_name)
  end)

  it("a full disk while saving is one line and status 1; the checkpoint before it stays good", function()
    local got, _, why = process.shell("ulimit -f 40; exec " .. process.command { "tiny.lua", "--run", "full" },
      { dir = dir, env = { OMP_NUM_THREADS = "1" } })
    assert.equal("'full/last.new.safetensors': can't be written: File too large\n", why)
    assert.equal(1, got)
    assert.equal("best.safetensors last.previous.safetensors last.safetensors metrics.jsonl options.json recipe.lua ",
      list(dir .. "/full"))
    assert.equal(0, (tiny.run(dir, { "tiny.lua", "--run", "full", "--resume" })))
  end)

  it("without test photos the best checkpoint is measured on val, and that is said", function()
    process.shell("mkdir photos3 && cp -r photos/train photos/val photos3", { dir = dir })
    local got, said = tiny.run(dir, { "tiny.lua", "--run", "no_test", "-o", "data.root=photos3", "-o", "phases.head.epochs=1",
      "-o", "phases.all.epochs=0" })
    assert.equal(0, got)
    assert.match("no test photos: the best checkpoint is measured on val, which chose it\nval: top1 .* %(11 photos%) no_test\n$", said)
  end)

  it("without val photos the newest epoch is tested", function()
    process.shell("mkdir photos4 && cp -r photos/train photos/test photos4", { dir = dir })
    local got, said = tiny.run(dir, { "tiny.lua", "--run", "no_val", "-o", "data.root=photos4", "-o", "phases.head.epochs=1",
      "-o", "phases.all.epochs=1" })
    assert.equal(0, got)
    assert.match("^test: .* %(13 photos%) no_val$", tiny.last(said))
    assert.equal(tiny.hash(dir .. "/no_val/best.safetensors"), tiny.hash(dir .. "/no_val/best.safetensors"))
  end)

  it("a photo that can't be read is named once, replaced in training and left out in the test", function()
    process.shell("cp -r photos photos5 && printf 'GIF89a' >photos5/train/pizza/00.jpg && printf 'BM' >photos5/test/tacos/99.bmp",
      { dir = dir })
    local got, said = tiny.run(dir, { "tiny.lua", "--run", "bad", "-o", "data.root=photos5", "-o", "phases.head.epochs=2",
      "-o", "phases.all.epochs=0" })
    assert.equal(0, got)
    assert.equal(1, select(2, said:gsub("photos5/train/pizza/00%.jpg", "")))
    assert.match("test: 1 photo could not be read and is left out\ntest: .* %(13 photos%) bad\n$", said)
  end)

  it("--backend reference trains too", function()
    local got, said = tiny.run(dir, { "tiny.lua", "--run", "ref", "--backend", "reference", "-o", "phases.head.epochs=1",
      "-o", "phases.all.epochs=1" })
    assert.equal(0, got)
    assert.match("^test: .* ref$", tiny.last(said))
    assert.equal("reference", checkpoint.peek(dir .. "/ref/last.safetensors").backend)
  end)
end)
