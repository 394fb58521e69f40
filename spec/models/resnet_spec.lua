-- resnet: logits and gradient norms against PyTorch in float64 (spec/fixtures).
local frt = require "foodrt"
local golden = dofile "spec/support/golden.lua"
local numbers = dofile "spec/fixtures/resnet.lua"

describe("logits", function()
  -- measured for fp32 against float64 in PyTorch itself: 9e-5 for resnet50, 1e-3 for resnext101 (batches of three on 2x2 maps)
  for name, tolerance in pairs { resnet18 = 3e-4, resnet50 = 3e-4, resnext101_32x4d = 5e-3 } do
    local g = numbers[name]
    it(("of %s at %d: norm %.4f in training, then %.4f in evaluation"):format(name, g.size, g.train_l2, g.eval_l2), function()
      golden.check_modes(name, g, tolerance)
    end)
  end
end)

describe("gradients of one training step", function()
  -- fp32 in PyTorch itself moves single norms by 6e-3 and logits by 9e-5 here (batches of four on 2x2 maps)
  local g = numbers["resnet50/train"]
  it(("of resnet50: loss %.4f, norm %.4f, and batch statistics"):format(g.loss, g.grad_l2_total), function()
    golden.check_step("resnet50", g, { 1e-2, 0.2, 5e-5 })
  end)
end)

describe("a ResNet", function()
  it("starts its blocks as identities: the last batch norm's weight is 0, unless zero_init_last = false", function()
    local m = frt.models.resnet18 { classes = 5 }:build {}
    assert.equal(0, golden.norm(m.layer1[1].bn2.weight))
    assert.near(8, golden.norm(m.layer1[1].bn1.weight), 1e-6)
    m = frt.models.resnet50 { classes = 5, zero_init_last = false }:build {}
    assert.near(16, golden.norm(m.layer1[1].bn3.weight), 1e-6)
  end)
  it("starts convolutions as N(0, 2/fan_out) without dividing by groups, its classifier as U(-1/sqrt(F), 1/sqrt(F))", function()
    local m = frt.models.resnext50_32x4d {}:build {}
    local function deviation(t)
      return golden.norm(t) / math.sqrt(t:numel())
    end
    assert.near(math.sqrt(2 / (1024 * 9)), deviation(m.layer4[2].conv2.weight), 2e-4)
    assert.near(1 / math.sqrt(3 * 2048), deviation(m.fc.weight), 2e-4)
  end)
  it("gives maps of its five stages: 64, 256, 512, 1024, 2048 channels at 1/2 to 1/32", function()
    local m = frt.models.resnet50 {}:eval()
    local maps = m:features(frt.zeros { 1, 3, 64, 64 }, { 1, 2, 3, 4, 5 })
    local shapes = {}
    for i, map in ipairs(maps) do shapes[i] = map.shape end
    assert.same({ { 1, 64, 32, 32 }, { 1, 256, 16, 16 }, { 1, 512, 8, 8 }, { 1, 1024, 4, 4 }, { 1, 2048, 2, 2 } }, shapes)
  end)
  it("without a head gives the map, and with features = { 3 } nothing that lies behind", function()
    local m = frt.models.resnet18 { head = false }
    assert.same({ 2, 512, 2, 2 }, m(frt.zeros { 2, 3, 64, 64 }).shape)
    assert.equal(11689512 - 513000, m:count())
    local cut = frt.models.resnet18 { features = { 3 } }
    assert.same({ 2, 128, 8, 8 }, cut(frt.zeros { 2, 3, 64, 64 })[1].shape)
    assert.equal(64 * 147 + 128 + 2 * (2 * 36864 + 256) + 73728 + 3 * 147456 + 8192 + 5 * 256, cut:count())
  end)
  it("drop_path grows with depth: 0 in the first block, the rate itself in the last", function()
    local m = frt.models.resnet50 { drop_path_rate = 0.3 }
    assert.is_nil(rawget(m.layer1[1], "drop_path"))
    assert.near(0.3 / 15, m.layer1[2].drop_path.p, 1e-12)
    assert.near(0.3, m.layer4[3].drop_path.p, 1e-12)
  end)
end)
