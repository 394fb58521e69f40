--- Weights as people keep them: folders of models and of runs, files in parts, names that other tools made longer, paths that
--- look like tags.
local frt = require "foodrt"
local json, io_ = require "foodrt.core.json", require "foodrt.core.io"
local files = require "foodrt.models.files"
local process = require "spec.support.process"

local RECIPE = [[
local frt = require "foodrt"
return {
  name = "small", seed = 3,
  model = frt.models.mobilenetv2_050 { classes = "classes" },
  loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "photos", size = 32, batch = 4 },
  phases = { frt.phase { "all", epochs = 2, optim = frt.optim.adamw { lr = 1e-2 } } },
  ema = 0.5,
}
]]

describe("weights at a path", function()
  local dir, dict, said
  local pretrained = require "foodrt.models.pretrained"
  local before = pretrained.say
  setup(function()
    dir = process.temp_dir()
    local m = frt.models.mobilenetv2_050 { classes = 2 }
    m:build { seed = 9 }
    m:save(dir .. "/w.safetensors")
    dict = frt.load(dir .. "/w.safetensors")
  end)
  before_each(function()
    said = {}
    pretrained.say = function(text) said[#said + 1] = text end
  end)
  teardown(function()
    pretrained.say = before
    process.remove(dir)
  end)

  -- what a model has that starts from `what`
  local function from(what, classes)
    local m = frt.models.mobilenetv2_050 { classes = classes or 2, pretrained = what }
    m:build { seed = 1 }
    return (m:state_dict())
  end

  local function check(own, name)
    assert.same(dict[name or "blocks.1.0.conv_pw.weight"]:totable(), own[name or "blocks.1.0.conv_pw.weight"]:totable())
  end

  local function note()
    return (table.concat(said, "\n"):gsub(dir .. "/", ""))
  end

  -- the weights under other names, with other tensors
  local function save(name, rename, more)
    local out = {}
    for key, t in pairs(dict) do out[rename(key)] = t end
    for key, t in pairs(more or {}) do out[key] = t end
    frt.save(dir .. "/" .. name, out)
  end

  it("is a path by its ending, an =, a / or by being there; else a tag", function()
    for _, path in ipairs { "model.ckpt", "model_best.pth.tar", "epoch=3-val=0.81", "a/b", "w.SAFETENSORS", "model.safetensors.index.json",
      "two words", dir } do
      assert.is_true(files.is_path(path), path)
    end
    for _, tag in ipairs { "ra2_in1k", "efficientnet_b4.ra2_in1k", "timm/efficientnet_b4.ra2_in1k" } do
      assert.is_false(files.is_path(tag), tag)
    end
    os.execute(("cp %s/w.safetensors '%s/epoch=1-loss=0.5.ckpt'"):format(dir, dir))
    check(from(dir .. "/epoch=1-loss=0.5.ckpt"))
    local ok, message = pcall(from, "none.ckpt")
    assert.is_false(ok)
    assert.matches("mobilenetv2_050: no weights at 'none.ckpt'$", message)
  end)

  it("takes off what containers put in front of the names, and names what lies elsewhere", function()
    save("p.safetensors", function(name) return "net.backbone." .. name end, { ["loss.weight"] = frt.tensor { 1, 2 } })
    check(from(dir .. "/p.safetensors"))
    assert.equal("mobilenetv2_050: 'p.safetensors': names begin with 'net.backbone.', which was taken off\n"
      .. "mobilenetv2_050: 'p.safetensors': passed over what lies elsewhere: loss.weight", note())
  end)

  it("takes the weights where averages lie beside, and says so; averages alone are taken", function()
    local more = {}
    for name, t in pairs(dict) do more["ema_model." .. name] = t end
    save("e.safetensors", function(name) return name end, more)
    check(from(dir .. "/e.safetensors"))
    assert.matches("also holds 'ema_model.*', averages of the weights or another copy, which was not taken", note(), 1, true)
    said = {}
    save("only.safetensors", function(name) return "model_ema." .. name end)
    check(from(dir .. "/only.safetensors"))
    assert.matches("averages of the weights were taken ('model_ema.*'): it holds no others", note(), 1, true)
  end)

  it("passes over counters and the photos' mean, and names them; what is larger is still an error", function()
    local more = { n_averaged = frt.tensor({ 7 }, { dtype = "i64" }), ["normalize.mean"] = frt.tensor { 1, 2, 3 },
      ["conv_stem.total_ops"] = frt.tensor({ 1 }, { dtype = "f64" }) }
    save("s.safetensors", function(name) return name end, more)
    check(from(dir .. "/s.safetensors"))
    assert.matches("passed over what is no parameter: conv_stem.total_ops, n_averaged, normalize.mean", note(), 1, true)
    save("l.safetensors", function(name) return name end, { ["aux.weight"] = frt.zeros { 8, 8 } })
    local ok, message = pcall(from, dir .. "/l.safetensors")
    assert.is_false(ok)
    assert.matches("1 unexpected: aux.weight", message, 1, true)
  end)

  describe("in parts", function()
    setup(function()
      local names, parts, map = {}, { {}, {}, {} }, {}
      for name in pairs(dict) do names[#names + 1] = name end
      table.sort(names)
      os.execute(("mkdir -p %s/shards %s/plain"):format(dir, dir))
      for i, name in ipairs(names) do
        parts[i % 3 + 1][name] = dict[name]
        map[name] = ("model-%05d-of-00003.safetensors"):format(i % 3 + 1)
      end
      for i = 1, 3 do
        frt.save(("%s/shards/model-%05d-of-00003.safetensors"):format(dir, i), parts[i])
        frt.save(("%s/plain/model-%05d-of-00003.safetensors"):format(dir, i), parts[i])
      end
      process.write(dir .. "/shards/model.safetensors.index.json", json.encode { metadata = { total_size = 1 }, weight_map = map })
      process.write(dir .. "/shards/config.json", [[{"architecture":"mobilenetv2_050","pretrained_cfg":{"mean":[0.5,0.5,0.5]}}]])
    end)

    it("its index, its folder or one of them stands for all; config.json beside them counts", function()
      for _, path in ipairs { "shards/model.safetensors.index.json", "shards", "shards/model-00002-of-00003.safetensors", "plain",
        "plain/model-00001-of-00003.safetensors" } do
        local own = from(dir .. "/" .. path)
        for _, name in ipairs { "conv_stem.weight", "bn1.bias", "blocks.1.0.conv_pw.weight", "classifier.weight" } do check(own, name) end
      end
      local m = frt.models.mobilenetv2_050 { classes = 2, pretrained = dir .. "/shards" }
      m:build { seed = 1 }
      assert.same({ 0.5, 0.5, 0.5 }, m.preprocess.mean)
    end)

    it("a part that is missing, and an index that names other places, are errors", function()
      os.remove(dir .. "/plain/model-00003-of-00003.safetensors")
      local ok, message = pcall(from, dir .. "/plain/model-00001-of-00003.safetensors")
      assert.is_false(ok)
      assert.matches("is one part of 3, and '.*model%-00003%-of%-00003.safetensors' is not there$", message)
      for text, want in pairs { ['{"weight_map":{"a":"../w.safetensors"}}'] = "names a part that can't be one",
        ['{"weight_map":{"a":"none.safetensors"}}'] = "needs '.*none.safetensors', which is not there", ["{}"] = "no index of weights" } do
        process.write(dir .. "/x.index.json", text)
        ok, message = pcall(from, dir .. "/x.index.json")
        assert.is_false(ok)
        assert.matches(want, message)
      end
    end)

    it("convert makes one file of them", function()
      assert.equal(0, (process.foodrt({ "weights", "convert", "shards/model.safetensors.index.json", "one.safetensors" }, { dir = dir })))
      assert.equal(io_.hash(dir .. "/w.safetensors"), io_.hash(dir .. "/one.safetensors"))
    end)
  end)

  describe("of a run", function()
    local run
    setup(function()
      run = dir .. "/r"
      require("spec.support.photos").tree(dir .. "/photos", { train = { pizza = 8, ramen = 8 }, val = { pizza = 2, ramen = 2 } })
      process.write(dir .. "/small.lua", RECIPE)
      local status, _, err = process.foodrt({ "small.lua", "--run", "r", "--threads", "1" }, { dir = dir })
      assert.equal("", err)
      assert.equal(0, status)
    end)

    it("its folder, and last.safetensors with averages and moments, are weights to start from", function()
      local NAME = "conv_stem.weight"
      assert.same(frt.load(run .. "/best.safetensors")[NAME]:totable(), from(run)[NAME]:totable())
      local last = frt.load(run .. "/last.safetensors")
      assert.is_truthy(last["ema." .. NAME])
      assert.same(last["ema." .. NAME]:totable(), from(run .. "/last.safetensors")[NAME]:totable())
      assert.matches("averages of the weights (ema) were taken, as eval does", note(), 1, true)
    end)

    it("convert gives what eval would use, and predicts the same", function()
      local status, out, err = process.foodrt({ "weights", "convert", "r/last.safetensors", "c.safetensors" }, { dir = dir })
      assert.equal(0, status)
      assert.matches("averages of the weights (ema) were taken, as eval does", err, 1, true)
      assert.matches("what belongs to training alone was left out", err, 1, true)
      local t = frt.load(dir .. "/c.safetensors")
      for name in pairs(t) do assert.is_nil(name:match "^ema%." or name:match "^optim%.", name) end
      assert.same(frt.load(run .. "/last.safetensors")["ema.conv_stem.weight"]:totable(), t["conv_stem.weight"]:totable())
      local _, want = process.foodrt({ "predict", "r/last.safetensors", "photos/val/pizza" }, { dir = dir })
      local _, got = process.foodrt({ "predict", "c.safetensors", "photos/val/pizza" }, { dir = dir })
      assert.equal(want, got)
      assert.matches("pizza", got)
      assert.is_truthy(out)
    end)
  end)
end)
