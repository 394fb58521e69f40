-- adam_step, sgd_step and grad_norm: PyTorch's traces of three steps, and what they refuse.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local ops, f64 = O.ops(), O.f64

-- PyTorch fixtures of six parameters over three steps. They hold parameters only: P is read off the first Adam
-- step (it moves by lr), G off the SGD trace, both snapped to the 2^-23 grid they lie on within 1e-10. So Nesterov,
-- Adam and AdamW are judged independently; plain momentum only as far as the gradients come out on that grid.
local P = {
  0.6794699430465698, -0.4706501960754395, -0.4582720994949341, -0.7357348203659058, 0.180976390838623,
  0.4466968774795532,
}
local G = {
  { 0.1573965549468994, -0.8813788890838623, -0.9950535297393799, 0.7907407283782959, -0.1050680875778198,
    0.1029990911483765 },
  { 0.9147123098373413, 0.5443339347839355, 0.8172595500946045, 0.5805392265319824, -0.08202469348907471,
    -0.7471822500228882 },
  { 0.06333470344543457, -0.5996301174163818, 0.8437954187393188, 0.1669539213180542, 0.2242879867553711,
    0.008557677268981934 },
}
local SGD = {  -- lr 0.1, momentum 0.9, weight_decay 1e-4
  { 0.6637234928524495, -0.3825076006650925, -0.3587621638000011, -0.8148015358555317, 0.1914813898324967,
    0.4363925013959408 },
  { 0.5580738194590784, -0.3576088331981671, -0.350925589062384, -0.9440073544340347, 0.209136443461992,
    0.5018324239979645 },
  { 0.4566500623223064, -0.2752333546479641, -0.4282487044165698, -1.076978543212949, 0.2025951016885661,
    0.5598675682886476 },
}
local NESTEROV = {
  { 0.6495516876777411, -0.3031792647957802, -0.2692032216745615, -0.8859615797961951, 0.2009358889269829,
    0.4271185629206896 },
  { 0.4629893826693428, -0.3352014497163158, -0.3438743734184289, -1.060291239113853, 0.2250258120930551,
    0.5607285305446168 },
  { 0.3653708715594309, -0.2010979994909696, -0.4978420692557658, -1.196648475282971, 0.1967073359775534,
    0.6120983304479707 },
}
local ADAM = {  -- lr 1e-3, weight_decay 1e-4
  { 0.6784699431100762, -0.4696501960867847, -0.4572720995049833, -0.7367348203532582, 0.1819763907434303,
    0.4456968775765994 },
  { 0.6776229683449274, -0.469471271156328, -0.4572267927340805, -0.7377153702426891, 0.1829625128560039,
    0.4463425417845996 },
  { 0.6769262232536508, -0.469031350908679, -0.4575478210771547, -0.7385698145703546, 0.1828023287162566,
    0.4468343202215808 },
}
local ADAMW = {  -- lr 1e-3, weight_decay 1e-2
  { 0.6784631484106731, -0.4696454895848246, -0.4572675167839889, -0.7367274630050558, 0.1819745809795383,
    0.4456924106078667 },
  { 0.6776094209153039, -0.4694619297376243, -0.4572176873902864, -0.7377006489009145, 0.1829588875346472,
    0.446333668950093 },
  { 0.6769059640212598, -0.4690173693429957, -0.4575341909153686, -0.7385477467530176, 0.1827969929368473,
    0.4468210620384622 },
}

local function scalars(list)
  local out = {}
  for k, v in ipairs(list) do out[k] = f64({}, { v }) end
  return out
end

local function some(dtype, data) return { dims = { #data }, dtype = dtype, data = data } end

-- Three steps of `op`: settings(t) -> scalars; `states` of zeros beside the parameter.
local function trace(op, settings, states, attr, dtype, backend, gscale)
  local kept, path = { P }, {}
  for k = 1, states do kept[1 + k] = { 0, 0, 0, 0, 0, 0 } end
  for t = 1, 3 do
    local g = {}
    for k, v in ipairs(G[t]) do g[k] = v / (gscale or 1) end
    local inputs = scalars(settings(t))
    inputs[#inputs + 1] = some(dtype, kept[1])
    inputs[#inputs + 1] = some(dtype, g)
    for k = 1, states do inputs[#inputs + 1] = some(dtype, kept[1 + k]) end
    local out = O.run(op, inputs, attr, backend, 1 + states)
    for k = 1, 1 + states do kept[k] = out[k].data end
    path[t] = kept[1]
  end
  return path
end

local function follows(want, got, tolerance)
  for t = 1, 3 do O.near(want[t], got[t], tolerance) end
  return true
end

local function adam(decay, gscale)
  return function(t) return { 1e-3, 0.9, 0.999, 1e-8, decay, t, gscale or 1 } end
end
local function sgd(t) return { 0.1, 0.9, 0, 1e-4, t, 1 } end

describe("adam_step", function()
  it("follows PyTorch's Adam for three steps to 1e-14 in double", function()
    assert.is_true(follows(ADAM, trace(ops.adam_step, adam(1e-4), 2, { 0, 0 }, O.F64), 1e-14))
  end)
  it("follows PyTorch's AdamW for three steps to 1e-14 in double", function()
    assert.is_true(follows(ADAMW, trace(ops.adam_step, adam(1e-2), 2, { 1, 0 }, O.F64), 1e-14))
  end)
  for _, backend in ipairs(device.both) do
    it("follows both to 2e-7 in float: " .. backend, function()
      assert.is_true(follows(ADAM, trace(ops.adam_step, adam(1e-4), 2, { 0, 0 }, O.F32, backend), 2e-7))
      assert.is_true(follows(ADAMW, trace(ops.adam_step, adam(1e-2), 2, { 1, 0 }, O.F32, backend), 2e-7))
    end)
  end
  it("multiplies gradients by gscale first", function()
    assert.is_true(follows(ADAM, trace(ops.adam_step, adam(1e-4, 0.25), 2, { 0, 0 }, O.F64, "reference", 0.25), 1e-14))
  end)
  it("updates several parameters in one step", function()
    local inputs = scalars(adam(1e-4)(1))
    for _ = 1, 2 do
      for _, data in ipairs { P, G[1], { 0, 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, 0 } } do
        inputs[#inputs + 1] = some(O.F64, data)
      end
    end
    local out = O.run(ops.adam_step, inputs, { 0, 0 }, "reference", 6)
    assert.is_true(O.near(ADAM[1], out[1].data, 1e-15))
    assert.is_true(O.near(ADAM[1], out[4].data, 1e-15))
  end)
  it("refuses a gradient whose norm is not finite", function()
    for _, bad in ipairs { 0 / 0, math.huge } do
      assert.has_error(function() trace(ops.adam_step, adam(0, bad), 2, { 0, 0 }, O.F32) end,
        "adam_step: gradient norm is not finite")
    end
  end)
  it("refuses a gradient of another shape", function()
    local inputs = scalars(adam(0)(1))
    for k, n in ipairs { 6, 5, 6, 6 } do inputs[7 + k] = { dims = { n } } end
    assert.equal("adam_step: g of parameter 1 must be f32 [6], got f32 [5]", O.refusal(ops.adam_step, inputs, { 0, 0 }, 3))
  end)
end)

describe("sgd_step", function()
  it("follows PyTorch's SGD with momentum for three steps to 1e-15 in double", function()
    assert.is_true(follows(SGD, trace(ops.sgd_step, sgd, 1, { 0 }, O.F64), 1e-15))
  end)
  it("follows it with nesterov", function()
    assert.is_true(follows(NESTEROV, trace(ops.sgd_step, sgd, 1, { 1 }, O.F64), 1e-15))
  end)
  for _, backend in ipairs(device.both) do
    it("follows both to 3e-7 in float: " .. backend, function()
      assert.is_true(follows(SGD, trace(ops.sgd_step, sgd, 1, { 0 }, O.F32, backend), 3e-7))
      assert.is_true(follows(NESTEROV, trace(ops.sgd_step, sgd, 1, { 1 }, O.F32, backend), 3e-7))
    end)
  end
  it("is plain descent without momentum, whatever dampening says", function()
    local function plain(t) return { 0.5, 0, 0.7, 0, t, 1 } end
    local path = trace(ops.sgd_step, plain, 1, { 0 }, O.F64)
    assert.is_true(O.near({ P[1] - 0.5 * (G[1][1] + G[2][1]) }, { path[2][1] }, 1e-15))
  end)
  it("refuses a gradient whose norm is not finite", function()
    assert.has_error(function() trace(ops.sgd_step, function(t) return { 0.1, 0.9, 0, 0, t, 0 / 0 } end, 1, { 0 }, O.F32) end,
      "sgd_step: gradient norm is not finite")
  end)
end)

describe("ema_step", function()
  it("is decay * e + (1 - decay) * x of each tensor: 3 and 5 at decay 0.75 are 3.5, at 0.25 are 4.5, at 0 are 5", function()
    for decay, want in pairs { [0.75] = 3.5, [0.25] = 4.5, [0] = 5 } do
      for _, backend in ipairs(device.both) do
        local out = O.run(ops.ema_step, { f64({}, { decay }), O.f32({ 2 }, { 3, -3 }), O.f32({ 2 }, { 5, -5 }), O.f32({}, { 1 }),
          O.f32({}, { 1 }) }, {}, backend, 2)
        assert.same({ { want, -want }, { 1 } }, { out[1].data, out[2].data })
      end
    end
  end)
  it("refuses a decay outside of [0, 1) and another shape", function()
    for _, decay in ipairs { -0.1, 1, math.huge } do
      for _, backend in ipairs(device.both) do
        assert.has_error(function() O.run(ops.ema_step, { f64({}, { decay }), O.f32({}, { 1 }), O.f32({}, { 1 }) }, {}, backend, 1) end,
          ("ema_step: decay must be from 0 to below 1, got %g"):format(decay))
      end
    end
    assert.equal("ema_step: x of parameter 1 must be f32 [6], got f32 [5]",
      O.refusal(ops.ema_step, { f64({}, { 0 }), { dims = { 6 } }, { dims = { 5 } } }, {}, 1))
  end)
end)

describe("grad_norm", function()
  it("is the length of all tensors together: 3, 4 and 12 make 13", function()
    for _, backend in ipairs(device.both) do
      local out = O.run(ops.grad_norm, { O.f32({ 2, 1 }, { 3, 4 }), O.f32({}, { -12 }) }, {}, backend)
      assert.same({ 13 }, out[1].data)
    end
  end)
  it("is infinite when a gradient is", function()
    local out = O.run(ops.grad_norm, { O.f32({ 2 }, { 1, math.huge }) }, {}, "reference")
    assert.equal(math.huge, out[1].data[1])
  end)
end)
