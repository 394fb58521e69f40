-- Every recipe that is shipped: it loads, explains without photos, its plans have no step by the reference, and it trains.
local process = require "spec.support.process"
local foodrt = process.foodrt
local json = require "foodrt.core.json"
local photos = require "spec.support.photos"

-- name -> parameters with 101 classes: backbones without their 1000 classes, plus the head (by hand from timm's counts)
local COUNTS = {
  effnet_b4_focal = 17548616 + 3584 * 101 + 101, b4_plain_ce = 17548616 + 3584 * 101 + 101,
  lite0_quick = 4652008 - 1281000 + 1281 * 101, lite0_finetune = 4652008 - 1281000 + 1281 * 101,
  lite0_head = 4652008 - 1281000 + 1281 * 101,
  resnet50 = 25557032 - 2049000 + 2049 * 101, resnext50 = 25028904 - 2049000 + 2049 * 101,
  efficientnet_b0 = 5288548 - 1281000 + 1281 * 101, mobilenetv2 = 3504872 - 1281000 + 1281 * 101, vit_small = 22050664 - 385000 + 385 * 101,
  convnext_tiny = 28589128 - 769000 + 769 * 101,
  -- laterals of 56, 160 and 448 channels and the 3x3 fusion, with batch norms; B4 without its last convolution and classifier
  multiscale_b4 = 17548616 - (448 * 1792 + 2 * 1792) + 256 * (56 + 160 + 448) + 256 * 256 * 9 + 4 * 512 + 513 * 101,
  -- per block of C channels: C/16 x C twice with biases, 7 x 7 x 2 and a batch norm of one channel
  cbam_resnet = 25557032 - 2049000 + 2049 * 101 + 16 * 100
    + 3 * (2 * 256 * 16 + 16 + 256) + 4 * (2 * 512 * 32 + 32 + 512) + 6 * (2 * 1024 * 64 + 64 + 1024) + 3 * (2 * 2048 * 128 + 128 + 2048),
}
local NAMES = {}
for name in pairs(COUNTS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)
local ROOT = package.loaded["foodrt.host"] and require("foodrt.host").root .. "/share/foodrt/recipes" or "recipes"

local function cpu_seconds(line)
  local pipe = io.popen("bash -c 'TIMEFORMAT=\"%U %S\"; time " .. line .. " >/dev/null 2>&1' 2>&1")
  local user, system = pipe:read("*a"):match "([%d%.]+) ([%d%.]+)"
  pipe:close()
  return tonumber(user) + tonumber(system)
end

describe("shipped recipes", function()
  local dir
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  local function explained(name, ...)
    local status, out, err = foodrt({ "explain", ROOT .. "/" .. name .. ".lua", "--json", ... }, { dir = dir })
    assert.equal("", err)
    assert.equal(0, status)
    return assert(json.decode(out))
  end

  it("are all listed here", function()
    local pipe = io.popen("ls " .. ROOT)
    local found = {}
    for file in pipe:lines() do
      if file:match "%.lua$" then found[#found + 1] = file:match "^(.*)%.lua$" end
    end
    pipe:close()
    local names = { "ensemble", unpack(NAMES) }
    table.sort(names)
    assert.same(names, found)
  end)

  for _, name in ipairs(NAMES) do
    it(name .. " explains itself on the sample set and on other photos, 0 steps by the reference", function()
      for _, more in ipairs { {}, { "-o", "data.root=elsewhere" } } do
        local f = explained(name, unpack(more))
        assert.equal(name, f.name)
        assert.equal(#more == 0 and "sample" or "assumed", f.data.source)
        assert.equal(0, f.reference_steps)
        if #more > 0 then assert.equal(COUNTS[name], f.parameters) end
        for _, p in ipairs(f.phases) do assert.equal(0, p.reference_steps) end
      end
    end)
  end

  it("effnet_b4_focal has 17,549,616 parameters in its backbone, its head trains first", function()
    local f = explained("effnet_b4_focal", "-o", "data.root=elsewhere")
    assert.equal(17548616 + 3584 * 101 + 101, f.parameters)
    assert.equal(3584 * 101 + 101, f.phases[1].trainable)
    assert.equal(f.parameters, f.phases[2].trainable)
    assert.equal("focal (gamma 2, alpha 1)", f.loss)
    assert.equal(380, f.preprocessing.size)
    assert.near(8.8e9, f.flops_per_photo, 0.1e9)
  end)

  it("ensemble explains its members, which are recipes beside it", function()
    local status, out, err = foodrt({ "explain", ROOT .. "/ensemble.lua", "--json" }, { dir = dir })
    assert.same({ 0, "" }, { status, err })
    local f = json.decode(out)
    assert.same({ "probs", 2, "lite0_quick", "mobilenetv2" }, { f.mean, #f.members, f.members[1].name, f.members[2].name })
  end)

  it("fit on a screen: 45 lines of at most 140 columns", function()
    for _, name in ipairs { "ensemble", unpack(NAMES) } do
      local n = 0
      for line in io.lines(ROOT .. "/" .. name .. ".lua") do
        n = n + 1
        assert.is_true(#line <= 140, name .. ": " .. line)
      end
      assert.is_true(n <= 45, name)
    end
  end)

  -- lite0_finetune and lite0_head need their weights; b4_plain_ce is effnet_b4_focal and resnext50 is resnet50 but for one field,
  -- which is in cbam_resnet
  for _, name in ipairs { "effnet_b4_focal", "lite0_quick", "mobilenetv2", "convnext_tiny", "multiscale_b4",
    "cbam_resnet", "vit_small" } do
    it(name .. " trains: its last phase takes 2 steps and its loss stays finite", function()
      local recipe, trainer, pretrained = require "foodrt.train.recipe", require "foodrt.train.trainer", require "foodrt.models.pretrained"
      local root, say = dir .. "/few", pretrained.say
      photos.tree(root, { train = { pizza = 4, ramen = 4 } })
      pretrained.say = function() end
      local ok, why = pcall(function()
        local r = recipe.load(ROOT .. "/" .. name .. ".lua", { { "data.root", root }, { "data.batch", name == "vit_small" and "1" or "2" },
          { "accumulate", "1" }, { "phases.all.steps", "2" }, name ~= "vit_small" and { "data.size", "32" } or nil })  -- a ViT has one size
        local losses, t = {}, trainer(r, { workers = 1 })
        r.on = { step_end = function(run) losses[#losses + 1] = run.loss_value end }
        assert.is_nil(t:run_phase "all")
        assert.equal(2, #losses)
        assert.is_true(losses[1] > 0 and losses[2] < 100, name)
      end)
      pretrained.say = say
      assert.is_true(ok, tostring(why))
    end)
  end

  it("effnet_b4_focal is explained in less than 0.5 s of one core", function()
    local least = math.huge
    for _ = 1, 2 do least = math.min(least, cpu_seconds(process.command { "explain", ROOT .. "/effnet_b4_focal.lua" })) end
    assert.is_true(least < 0.5, ("took %.2f s"):format(least))
  end)
end)
