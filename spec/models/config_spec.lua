-- What photos weights want travels with them: config.json beside model.safetensors, or the metadata of foodrt's own checkpoints.
local frt = require "foodrt"
local config, pretrained = require "foodrt.models.config", require "foodrt.models.pretrained"
local process, json = require "spec.support.process", require "foodrt.core.json"

local NEW = [[{ "architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": { "tag": "a1_in1k", "input_size": [3, 192, 192],
  "test_input_size": [3, 256, 256], "crop_pct": 0.9, "test_crop_pct": 1.0, "crop_mode": "squash", "interpolation": "lanczos",
  "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "apache-2.0" } }]]
local OLD = [[{ "architecture": "resnet18", "input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bilinear",
  "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_mode": "mosaic", "num_classes": 7 }]]

describe("config.json", function()
  it("is read as timm writes it: under pretrained_cfg, in older files at the top", function()
    local c = config.parse(NEW)
    assert.same({ "resnet18", "a1_in1k", "apache-2.0", 1000 }, { c.architecture, c.tag, c.license, c.classes })
    assert.same({ size = 192, test_size = 256, crop_pct = 0.9, test_crop_pct = 1, crop_mode = "squash", interpolation = "lanczos",
      mean = { 0.1, 0.2, 0.3 }, std = { 0.4, 0.5, 0.6 } }, c.preprocess)
    c = config.parse(OLD)
    assert.equal(7, c.classes)
    assert.same({ size = 224, test_size = 224, crop_pct = 0.875, test_crop_pct = 0.875, interpolation = "bilinear",
      mean = { 0.5, 0.5, 0.5 }, std = { 0.5, 0.5, 0.5 } }, c.preprocess)
  end)
  it("that is damaged or odd gives nothing it does not hold", function()
    assert.same({ nil, "not JSON" }, { config.parse "{" })
    assert.same({}, config.parse('{ "mean": [1, 2], "crop_pct": 3, "input_size": "big", "interpolation": 4 }').preprocess)
  end)
end)

describe("weights bring along how their photos look:", function()
  local dir, say
  setup(function()
    dir, say = process.temp_dir(), pretrained.say
    pretrained.say = function() end
    frt.models.resnet18({ classes = 3 }):build({ seed = 1 }):save(dir .. "/model.safetensors")
  end)
  teardown(function()
    pretrained.say = say
    process.remove(dir)
  end)

  local function resnet()
    local m = frt.models.resnet18 { classes = 3, pretrained = dir .. "/model.safetensors" }
    return m
  end

  it("size, crop, interpolation, mean and std of config.json are what evaluation uses, and explain says so", function()
    process.write(dir .. "/config.json", NEW)
    local m = resnet():build {}
    local d = frt.data.folder({ "nowhere" }):suit(m)
    assert.equal(192, d.size)
    assert.equal("both edges to 213, middle 192 x 192 (lanczos), mean 0.100 0.200 0.300, std 0.400 0.500 0.600", d:preprocessing())
    assert.equal("all of resnet18's weights", d:origin())
    process.write(dir .. "/r.lua", [[
      local frt = require "foodrt"
      return { model = frt.models.resnet18 { classes = "classes", pretrained = "./model.safetensors" },
        loss = frt.loss.cross_entropy {},
        data = frt.data.folder { "nowhere", batch = 8, eval = { crop_pct = 1 } },
        phases = { frt.phase { "all", epochs = 1, optim = frt.optim.sgd { lr = 0.1 } } } }
    ]])
    local status, out, err = process.foodrt({ "explain", "r.lua" }, { dir = dir })
    assert.same({ 0, "" }, { status, err })
    assert.truthy(out:find("both edges to 192, middle 192 x 192 (lanczos), mean 0.100 0.200 0.300, std 0.400 0.500 0.600\n", 1, true))
    assert.truthy(out:find("crop_pct of the recipe, the rest of resnet18's weights\n", 1, true))
  end)

  it("weights of another model are refused by what config.json says", function()
    process.write(dir .. "/config.json", (NEW:gsub("resnet18", "resnet34")))
    local ok, why = pcall(function() return resnet():build {} end)
    assert.is_false(ok)
    assert.truthy(why:find("model.safetensors' are weights of resnet34, says the config.json beside them", 1, true))
    os.remove(dir .. "/config.json")
  end)

  it("a checkpoint of foodrt's own keeps those of its run", function()
    local m = frt.models.resnet18({ classes = 3 }):build { seed = 1 }
    local path = dir .. "/best.safetensors"
    frt.save(path, m:state_dict(), { ["run.preprocessing"] = json.encode { size = 96, crop_pct = 1, mode = "border",
      mean = { 0.3, 0.3, 0.3 }, std = { 0.2, 0.2, 0.2 }, interpolation = "bicubic", fill = { 1, 2, 3 }, shrink = false } })
    local again = frt.models.resnet18({ classes = 3, pretrained = path }):build {}
    assert.equal("longest edge to 96, 96 x 96 with a border (bicubic), mean 0.300 0.300 0.300, std 0.200 0.200 0.200",
      frt.data.folder({ "nowhere" }):suit(again):preprocessing())
  end)
end)
