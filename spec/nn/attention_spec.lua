-- attention: layers beside PyTorch in float64, with parameters and inputs by the rule of spec/fixtures/fill.lua.
local frt = require "foodrt"
local golden = dofile "spec/support/golden.lua"
local gradients = dofile "spec/fixtures/gradients_more.lua"
local T, ffi = require "foodrt.tensor", require "ffi"
local nn = frt.nn

-- numbers of a name in [-1, 1)
local function unif(name, shape)
  local n = 1
  for _, d in ipairs(shape) do n = n * d end
  local values = ffi.new("float[?]", n)
  golden.fill.write(values, n, name, 0.5, 2)
  local t = T.var { shape = shape, dtype = "f32", kind = "input" }
  t:write(values, n * 4)
  return t
end

local function filled(m, shape)
  m:build { input = shape, values = false }
  golden.fill.model(m)
  return m
end

local function check(y, l2, first)
  golden.planned(y)
  local got = golden.numbers(y)
  for i, v in ipairs(first) do assert.near(v, got[i - 1], 2e-6) end
  assert.near(1, golden.norm(y) / l2, 2e-6)
end

-- all gradients of sum(y * w): norms within 1e-5, projections within 2e-5 of them (golden.check_gradient)
local function check_gradients(m, x, y, key)
  local outputs, by_name, want = {}, { x = x }, gradients[key]
  y = (y * unif("input2", y.shape)):sum()
  y:backward()
  for name, t in m:named_parameters() do
    outputs[#outputs + 1] = t.grad
    by_name[name] = t
  end
  golden.planned(x.grad, unpack(outputs))
  assert.equal(#want, 1 + #outputs)
  for _, e in ipairs(want) do
    local g, n = golden.numbers(by_name[e[1]].grad)
    golden.check_gradient(e, g, n, 0, 1e-5, 2e-5)
  end
end

describe("nn.MultiheadAttention", function()
  it("of 5 tokens, 12 features and 3 heads: norm 3.05634, its gradients' norms", function()
    local m, x = filled(nn.MultiheadAttention { 3 }, { 2, 5, 12 }), unif("input", { 2, 5, 12 }):requires_grad_()
    check(m(x), 3.056337782273326, { 0.07294534776, 0.1141775121, -0.2140092115 })
    check_gradients(m, x, m(x), "MultiheadAttention")
  end)
  it("refuses heads that don't divide the features", function()
    local m = nn.MultiheadAttention { 5 }
    local ok, why = pcall(function() local y = m(frt.zeros { 1, 2, 12 }); return y end)
    assert.is_false(ok)
    assert.truthy(why:find("5 heads must divide 12 features", 1, true))
  end)
end)

describe("nn.CBAM", function()
  it("of 32 channels: norm 7.29980 in training with its statistics, then 5.67947 in evaluation; gradients", function()
    local m, x = filled(nn.CBAM {}, { 2, 32, 6, 5 }), unif("input", { 2, 32, 6, 5 }):requires_grad_()
    check(m(x), 7.299804051811637, { -0.2244524527, 0.03892482215, -0.1783069117 })
    assert.near(0.05858016074, golden.norm(m.spatial.bn.running_mean), 1e-7)
    assert.near(1.091500660, golden.norm(m.spatial.bn.running_var), 1e-6)
    check_gradients(m, x, m(x), "CBAM")
    golden.fill.model(m)
    check(m:eval()(x), 5.679465466102125, { -0.2044455095, 0.06594729696, -0.1535220056 })
  end)
  it("keeps one channel where there are fewer than the reduction", function()
    assert.same({ 1, 6 }, nn.CBAM {}:build({ input = { 1, 6, 4, 4 } }).channel.fc1.weight.shape)
  end)
end)

describe("nn.SpatialAttention", function()
  it("of a 7x7 map in training: norm 13.42608 and gradients; of a 3x3 in evaluation: 16.65230", function()
    local m, x = filled(nn.SpatialAttention {}, { 2, 32, 6, 5 }), unif("input", { 2, 32, 6, 5 }):requires_grad_()
    check(m(x), 13.4260823804508, { -0.313321363, 0.05503387461, -0.3315637721 })
    check_gradients(m, x, m(x), "SpatialAttention")
    m = filled(nn.SpatialAttention { 3 }, { 2, 32, 6, 5 }):eval()
    check(m(x), 16.6522985640606, { -0.5101489751, 0.1986077875, -0.3897651229 })
  end)
end)

-- both forms beside each other: the seed's with Linear layers (as in its text), timm's with 1x1 convolutions
describe("nn.SqueezeExcite", function()
  local shape = { 2, 32, 6, 5 }
  it("in the seed's form, of 32 channels: norm 12.72605, its gradients' norms", function()
    local m, x = filled(nn.SqueezeExcite { form = "seed" }, shape), unif("input", shape):requires_grad_()
    check(m(x), 12.726050060559727, { -0.4049305797, 0.1534017564, -0.2984014672 })
    check_gradients(m, x, m(x), "SqueezeExcite_seed")
  end)
  it("in timm's form, of 32 channels, a sixteenth of them: norm 12.71185, its gradients' norms", function()
    local m, x = filled(nn.SqueezeExcite {}, shape), unif("input", shape):requires_grad_()
    assert.same({ 2, 32, 1, 1 }, m.conv_reduce.weight.shape)
    check(m(x), 12.7118495070779, { -0.3979553806, 0.1507593089, -0.293261303 })
    check_gradients(m, x, m(x), "SqueezeExcite_timm")
  end)
  it("in timm's form with SiLU, 6 of 24 channels: norm 10.97219, its gradients' norms", function()
    shape = { 2, 24, 6, 5 }
    local m, x = filled(nn.SqueezeExcite { rd_channels = 6, act = "silu" }, shape), unif("input", shape):requires_grad_()
    check(m(x), 10.9721919293878, { -0.3908797965, 0.1480788321, -0.2880471632 })
    check_gradients(m, x, m(x), "SqueezeExcite_silu")
  end)
  it("keeps one channel where a sixteenth is none", function()
    for _, form in ipairs { "seed", "timm" } do
      local m = nn.SqueezeExcite { form = form }:build { input = { 1, 6, 4, 4 } }
      assert.equal(1, (form == "seed" and m.fc[1].weight or m.conv_reduce.weight).shape[1])
    end
  end)
end)

describe("nn.MultiScaleNeck", function()
  local function neck(to)
    local m = nn.MultiScaleNeck { 6, levels = 2, to = to }
    local whole = nn.Module { neck = m, forward = function(self, a, b) return (self.neck { a, b }) end }
    local a, b = unif("input", { 2, 8, 8, 8 }), unif("input2", { 2, 12, 4, 4 })
    whole:build({}, a, b)
    golden.fill.model(m)
    for name, t in whole:named_parameters() do
      local values, n = golden.fill.values(name:gsub("^neck%.", ""), t.shape)
      t:write(values, n * 4)
    end
    return whole:eval()(a, b)
  end
  it("to the smallest map: norm 3.92015; to the largest: 10.00720", function()
    local small, large = neck "smallest", neck "largest"
    assert.same({ 2, 6, 4, 4 }, small.shape)
    assert.same({ 2, 6, 8, 8 }, large.shape)
    assert.near(1, golden.norm(small) / 3.92014880072967, 2e-6)
    assert.near(1, golden.norm(large) / 10.007197929044866, 2e-6)
  end)
end)

describe("nn.MultiScalePool", function()
  it("puts means first, then maxima", function()
    local x = unif("input", { 2, 32, 6, 5 }):requires_grad_()
    local m = nn.MultiScalePool {}
    check(m(x), 7.53793163776761, { 0.09318883419, -0.2122983575, -0.2082650224 })
    check_gradients(m, x, m(x), "MultiScalePool")
    assert.same({ { 2.5, -1, 4, 0 } }, nn.MultiScalePool {}(frt.tensor { { { { 1, 2 }, { 3, 4 } }, { { -1, -2 }, { -1, 0 } } } }):totable())
  end)
end)

describe("clone", function()
  it("is the same layers without shared parameters, in the same order", function()
    local a = nn.Chain { nn.Linear { 3 }, nn.ReLU {}, nn.Linear { 2 } }
    local b = a:clone()
    a:build { input = { 1, 4 } }
    b:build { input = { 1, 4 } }
    local names = {}
    for name in b:named_parameters() do names[#names + 1] = name end
    assert.same({ "0.weight", "0.bias", "2.weight", "2.bias" }, names)
    assert.is_true(a[1].weight ~= b[1].weight)
    local ok, why = pcall(a.clone, a)
    assert.is_false(ok)
    assert.truthy(why:find("a copy is made before the first call", 1, true))
  end)
end)
