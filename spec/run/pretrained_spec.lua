-- pretrained weights in recipes: by tag from the hub and its cache, what can't be had, "auto", resuming without either.
local frt = require "foodrt"
local hub, tiny, process = require "spec.support.hub", require "spec.support.tiny", require "spec.support.process"
local photos, json = require "spec.support.photos", require "foodrt.core.json"

local RECIPE = [[
local frt = require "foodrt"
return {
  name = "hub",
  model = frt.models.mobilenetv2_050 { classes = "classes", pretrained = %s },
  loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "photos", size = 32, batch = 8 },
  phases = { frt.phase { "head", epochs = 1, freeze = "*", unfreeze = "classifier", optim = frt.optim.adamw { lr = 1e-3 } } },
}
]]
local CONFIG = '{"architecture":"mobilenetv2_050","pretrained_cfg":{"license":"%s","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5]}}'
local NAME, NC = "mobilenetv2_050.lamb_in1k", "mobilenetv2_050.nc_in1k"
local DOUBT = "; a head trained while they are frozen can only be a rough one"

describe("pretrained in a recipe", function()
  local server, dir, weights
  setup(function()
    server = hub.start()
    dir = process.temp_dir()
    photos.tree(dir .. "/photos", { train = { pizza = 8, ramen = 8 }, val = { pizza = 2, ramen = 2 } })
    local m = frt.models.mobilenetv2_050 { classes = 5 }
    m:build { seed = 9 }
    m:save(dir .. "/w.safetensors")
    weights = frt.load(dir .. "/w.safetensors")
    server:put(NAME, { file = dir .. "/w.safetensors", config = CONFIG:format "apache-2.0" })
    server:put(NC, { file = dir .. "/w.safetensors", config = CONFIG:format "cc-by-nc-4.0" })
  end)
  teardown(function()
    server:stop()
    process.remove(dir)
  end)

  -- runs the recipe with this value of pretrained
  local function run(what, args, env)
    process.write(dir .. "/hub.lua", RECIPE:format(what))
    local status, out, err = server:foodrt({ "hub.lua", unpack(args) }, { dir = dir, env = env })
    return status, out, err
  end

  local function stem(path)
    return frt.load(path)["conv_stem.weight"]:totable()
  end

  it("true: fetched into the cache, read, and photos are seen as its config.json says", function()
    local status, out, err = run("true", { "--run", "a" })
    assert.equal("", err)
    assert.equal(0, status)
    assert.matches("timm/" .. NAME .. ": licence apache-2.0\n", out, 1, true)
    assert.matches("has 5 classes, this model 2: its classifier is left out and starts from random weights", out, 1, true)
    assert.not_matches("what is frozen has random weights", out)
    assert.same(weights["conv_stem.weight"]:totable(), stem(dir .. "/a/best.safetensors"))
    local meta = require("foodrt.train.checkpoint").peek(dir .. "/a/last.safetensors")
    assert.same({ 0.5, 0.5, 0.5 }, meta.preprocessing.mean)
  end)

  it("a tag, MODEL.TAG or timm/MODEL.TAG: from the cache, without a look at the network", function()
    server:log()
    for i, name in ipairs { "lamb_in1k", NAME, "timm/" .. NAME } do
      assert.equal(0, (run('"' .. name .. '"', { "--run", "cached" .. i }, { FOODRT_OFFLINE = i == 1 and "1" or "0" })))
    end
    assert.equal("", server:log())
    assert.same(weights["conv_stem.weight"]:totable(), stem(dir .. "/cached1/best.safetensors"))
  end)

  it("a run is resumed without hub and cache, to the bits of one that never stopped", function()
    assert.equal(0, (run("true", { "--run", "whole", "-o", "phases.head.epochs=2" })))
    local nothing = { XDG_CACHE_HOME = dir .. "/empty", FOODRT_OFFLINE = "1" }
    local status, out, err = run("true", { "--run", "a", "--resume", "-o", "phases.head.epochs=2" }, nothing)
    assert.equal("", err)
    assert.equal(0, status)
    assert.not_matches("random", out)
    assert.equal(tiny.hash(dir .. "/whole/last.safetensors"), tiny.hash(dir .. "/a/last.safetensors"))
    status = server:foodrt({ "predict", "a", "photos/val/pizza" }, { dir = dir, env = nothing })
    assert.equal(0, status)
  end)

  it("is an error at the recipe's line when the weights can't be had, and leaves no run", function()
    local status, _, err = run('"gone_in1k"', { "--run", "none" })
    assert.equal(1, status)
    assert.equal(("hub.lua:4: mobilenetv2_050: config.json of timm/mobilenetv2_050.gone_in1k can't be fetched: it is not there (404); "
      .. "by hand, model.safetensors and config.json go into %s\n"):format(server:path("mobilenetv2_050.gone_in1k", "")), err)
    status, _, err = run("true", { "--run", "none" }, { XDG_CACHE_HOME = dir .. "/empty", FOODRT_OFFLINE = "1" })
    assert.equal(1, status)
    assert.matches("hub.lua:4: mobilenetv2_050: model.safetensors of timm/" .. NAME .. " is not here, and FOODRT_OFFLINE is set;",
      err, 1, true)
    assert.is_nil(io.open(dir .. "/none/recipe.lua"))
  end)

  it("names that don't fit are errors before anything is looked at", function()
    local _, _, err = run('"resnet18.a1_in1k"', {})
    assert.equal("hub.lua:4: mobilenetv2_050: 'pretrained': 'resnet18.a1_in1k' are weights of resnet18\n", err)
    _, _, err = run("{ tga = 1 }", {})
    assert.equal("hub.lua:4: pretrained: unknown option 'tga', did you mean 'tag'?\n", err)
  end)

  it("wants a yes to a licence that doesn't allow every use: accept_licence, remembered", function()
    local status, _, err = run('"nc_in1k"', { "--run", "nc" })
    assert.equal(1, status)
    assert.matches("hub.lua:4: mobilenetv2_050: timm/" .. NC .. " are licensed cc-by-nc-4.0, which does not allow every use: ",
      err, 1, true)
    assert.equal(0, (run('{ tag = "nc_in1k", accept_licence = true }', { "--run", "nc" })))
    assert.equal(0, (run('"nc_in1k"', { "--run", "nc2" })))
  end)

  describe('"auto"', function()
    it("takes pretrained weights where it can get them", function()
      assert.equal(0, (run('"auto"', { "--run", "auto" })))
      assert.same(weights["conv_stem.weight"]:totable(), stem(dir .. "/auto/best.safetensors"))
    end)

    it("says in one line why it starts from random weights: offline, nobody there", function()
      local empty = dir .. "/empty"
      local line = "mobilenetv2_050: starts from random weights (%s)" .. DOUBT
      local status, out = run('"auto"', { "--run", "off" }, { XDG_CACHE_HOME = empty, FOODRT_OFFLINE = "1" })
      assert.equal(0, status)
      assert.matches(line:format("FOODRT_OFFLINE is set and timm/" .. NAME .. " is not in the cache"), out, 1, true)
      status, out = run('"auto"', { "--run", "nobody" }, { XDG_CACHE_HOME = empty, FOODRT_HUB = "http://127.0.0.1:1" })
      assert.equal(0, status)
      assert.matches("mobilenetv2_050: starts from random weights (config.json of timm/" .. NAME .. " can't be fetched: Failed to "
        .. "connect to 127.0.0.1 port 1", out, 1, true)
      assert.matches("phase 'head': what is frozen has random weights", out)
    end)

    it("means random weights on the sample set, which a tag does not", function()
      local pretrained, said = require "foodrt.models.pretrained", {}
      local say = pretrained.say
      pretrained.say = function(text) said[#said + 1] = text end
      frt.models.mobilenetv2_050({ pretrained = "auto" }):build { sample = true, seed = 1 }
      local tagged = frt.models.mobilenetv2_050 { pretrained = "no_such_tag" }
      local ok, why = pcall(tagged.build, tagged, { sample = true })
      pretrained.say = say
      assert.same({ "mobilenetv2_050: starts from random weights (the photos are the sample set)" .. DOUBT }, said)
      assert.is_false(ok)
      assert.matches("model.safetensors of timm/mobilenetv2_050.no_such_tag is not here", why, 1, true)
    end)
  end)

  it("explain says which weights, without fetching any", function()
    local function explain(what, args, env)
      process.write(dir .. "/hub.lua", RECIPE:format(what))
      local _, out = server:foodrt({ "explain", "hub.lua", unpack(args) }, { dir = dir, env = env })
      return out
    end
    server:log()
    local empty = { XDG_CACHE_HOME = dir .. "/empty" }
    assert.matches("from timm/" .. NAME .. " (apache-2.0), in the cache\n", explain("true", {}), 1, true)
    assert.matches("middle 32 x 32 (bicubic), mean 0.500 0.500 0.500, std 0.500 0.500 0.500\n", explain("true", {}), 1, true)
    assert.matches("mean 0.485 0.456 0.406, std", explain("true", {}, empty), 1, true)
    assert.matches("from timm/" .. NAME .. " (Apache-2.0), fetched when it runs\n", explain("true", {}, empty), 1, true)
    assert.matches("(Apache-2.0), fetched when it runs; else from random weights\n", explain('"auto"', {}, empty), 1, true)
    local out = json.decode(explain('"auto"', { "--json" }, { XDG_CACHE_HOME = dir .. "/empty", FOODRT_OFFLINE = "1" }))
    assert.same({ random = true, why = "FOODRT_OFFLINE is set and timm/" .. NAME .. " is not in the cache" }, out.pretrained)
    assert.equal("", server:log())
  end)
end)
