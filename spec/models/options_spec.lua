-- options: what every family takes: classes, channels, sizes, heads, stages, attention, weights that fit in part.
local frt = require "foodrt"
local pretrained = require "foodrt.models.pretrained"
local R = require "foodrt.tensor.record"
local nn = frt.nn

local SMALL = { "efficientnet_lite0", "mobilenetv2_035", "resnet18", "convnext_atto", "vit_tiny_patch16_224" }

local function message(fn)
  local ok, why = pcall(fn)
  assert.is_false(ok)
  return (why:gsub("^.*options_spec.lua:%d+: ", "HERE "))
end

-- runs fn(path) with a file that is gone afterwards; returns what pretrained said meanwhile
local function with_file(fn)
  local path, say, said = os.tmpname() .. ".safetensors", pretrained.say, {}
  pretrained.say = function(text) said[#said + 1] = (text:gsub(" '.-'", " FILE", 1)) end
  local ok, why = pcall(fn, path)
  pretrained.say = say
  os.remove(path)
  if not ok then error(why, 0) end
  return said
end

local function first(t)
  local buf = R.read(t)
  return buf[0]
end

for _, name in ipairs(SMALL) do
  local edge = name:find "vit" and 224 or 32
  describe(name, function()
    it("takes classes, in_chans, drop_rate, drop_path_rate, img_size", function()
      local m = frt.models[name] { classes = 7, in_chans = 4, drop_rate = 0.5, drop_path_rate = 0.1, img_size = 64 }
      assert.same({ 2, 7 }, m(frt.rand { 2, 4, 64, 64 }).shape)
      assert.equal(64, m.preprocess.size)
      assert.equal(0.5, m.drop.p)
      local paths = 0
      for _, part in m:modules() do
        if part.kind == "DropPath" then paths = paths + 1 end
      end
      assert.is_true(paths >= 7)
    end)
    it("takes classes by name, as many as the data has", function()
      local m = frt.models[name] { classes = "classes" }:build { classes = 5, values = false }
      assert.same({ 2, 5 }, m(frt.zeros { 2, 3, edge, edge }).shape)
    end)
    it("takes attention: CBAM in every block that has room, each with its own parameters", function()
      local plain = frt.models[name] { head = false }
      local m = frt.models[name] { head = false, attention = nn.CBAM { reduction = 8 } }
      local blocks = {}
      for _, part in m:modules() do
        if part.kind == "CBAM" then blocks[#blocks + 1] = part end
      end
      plain:build { values = false }
      m:build { values = false }
      assert.is_true(m:count() > plain:count())
      assert.is_true(#blocks >= 8)
      assert.is_true(blocks[1].channel.fc1.weight ~= blocks[2].channel.fc1.weight)
    end)
    it("reads weights without its head, its last stages, and with attention, which says that it is new", function()
      local said = with_file(function(path)
        local whole = frt.models[name] { classes = 3 }:build { seed = 1 }
        whole:save(path)
        local bare = frt.models[name] { head = false, pretrained = path }:build { seed = 2 }
        local tap = frt.models[name] { features = { 2 }, pretrained = path }:build { seed = 2 }
        local new = frt.models[name] { classes = 3, attention = function() return (nn.SpatialAttention { 3 }) end, pretrained = path }
        new:build { seed = 2 }
        local key = whole.first_conv .. ".weight"
        for _, m in ipairs { bare, tap, new } do
          assert.equal(first(whole:state_dict()[key]), first(m:state_dict()[key]))
        end
      end)
      assert.equal(1, #said)
      assert.truthy(said[1]:find("^" .. name .. ": FILE has no .*: attention starts from random weights$"), said[1])
    end)
  end)
end

describe("features", function()
  it("must name stages that there are", function()
    assert.equal("HERE resnet18: 'features' must list stages from 1 to 5, got number (6)",
      message(function() local m = frt.models.resnet18 { features = { 6 } }; return m end))
    assert.equal("HERE vit_tiny_patch16_224: 'features' must list stages from 1 to 12",
      message(function() local m = frt.models.vit_tiny_patch16_224 { features = {} }; return m end))
  end)
  it("go into a neck: three maps of resnet18 become one of 64 channels, and a head of twice as many", function()
    local m = nn.Module {
      backbone = frt.models.resnet18 { features = { 3, 4, 5 } }, neck = nn.MultiScaleNeck { 64 }, pool = nn.MultiScalePool {},
      fc = nn.Linear { 5 },
      forward = function(self, x) return (self.fc(self.pool(self.neck(self.backbone(x))))) end,
    }
    assert.same({ 2, 5 }, m(frt.zeros { 2, 3, 64, 64 }).shape)
    assert.same({ 5, 128 }, m.fc.weight.shape)
    assert.same({ 64, 128, 1, 1 }, m.neck.lateral[1][1].weight.shape)
  end)
end)

describe("a ViT", function()
  it("resizes the position embedding of other photos: 14x14 to 6x6, the class token's stays", function()
    with_file(function(path)
      local whole = frt.models.vit_tiny_patch16_224 { classes = 3 }:build { seed = 1 }
      whole:save(path)
      local m = frt.models.vit_tiny_patch16_224 { classes = 3, img_size = 96, pretrained = path }:build { seed = 2 }
      assert.same({ 1, 37, 192 }, m.pos_embed.shape)
      assert.equal(first(whole.pos_embed), first(m.pos_embed))
    end)
  end)
  it("refuses photos of another size, and sizes that its patches don't divide", function()
    local m = frt.models.vit_tiny_patch16_224 {}
    assert.equal("HERE vit_tiny_patch16_224: expected photos [N, C, 224, 224], got [1, 3, 192, 192]: img_size makes a model for others",
      message(function() local y = m(frt.zeros { 1, 3, 192, 192 }); return y end))
    assert.equal("HERE vit_tiny_patch16_224: 'img_size' must be a multiple of 16, got 100",
      message(function() local y = frt.models.vit_tiny_patch16_224 { img_size = 100 }; return y end))
  end)
  it("starts as timm's: weights N(0, 0.02), biases 0, the class token N(0, 1e-6)", function()
    local golden = dofile "spec/support/golden.lua"
    local m = frt.models.vit_tiny_patch16_224 {}:build { seed = 1 }
    local function deviation(t)
      return golden.norm(t) / math.sqrt(t:numel())
    end
    assert.near(0.02, deviation(m.blocks[1].attn.qkv.weight), 2e-4)
    assert.near(0.02, deviation(m.pos_embed), 3e-4)
    assert.near(1e-6, deviation(m.cls_token), 3e-7)
    assert.equal(0, deviation(m.blocks[1].attn.qkv.bias))
    assert.near(1 / math.sqrt(3 * 768), deviation(m.patch_embed.proj.weight), 3e-4)
  end)
end)

describe("frt.models.list", function()
  it("prints a line per model: parameters, operations, weights, licence, photos, paper", function()
    local line = "resnext101_32x8d            88.8 M   16.41 GMAC  tv_in1k (BSD-3-Clause)             "
      .. "224 px, crop 0.875, bilinear, mean 0.485          Xie et al. 2016, arXiv:1611.05431"
    assert.equal(line, tostring(frt.models.list "resnext101_32x8d"))
    assert.matches("  224 px, test 288, crop 0.95, bicubic, mean 0.485  ", tostring(frt.models.list "resnet50"), 1, true)
  end)
  it("knows a card per model", function()
    for _, name in ipairs(frt.models.list()) do
      local card = frt.models.card(name)
      assert.is_true(card.paper ~= nil and card.gmacs > 0 and card.preprocess.size >= 224, name)
    end
    assert.is_nil(frt.models.card "efficientnet_b6".tag)
    assert.equal("HERE no model 'resnet5', did you mean 'resnet50'?",
      message(function() local c = frt.models.card "resnet5"; return c end))
  end)
end)
