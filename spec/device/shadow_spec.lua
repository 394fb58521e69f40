-- The backend `shadow` (spec/support/shadow): memory that the host can't touch, other alignments, maps channels-last,
-- jobs that wait, addresses that are captured. What runs there doesn't lean on the CPU.
local frt = require "foodrt"
local lib = require "foodrt.core.ffi"
local O = require "spec.support.op_case"
local ffi, C = lib.ffi, lib.C

local function on(device, fn)
  lib.check(C.frt_device_use(device))
  local ok, why = xpcall(fn, debug.traceback)
  lib.check(C.frt_device_use "cpu")
  if not ok then error(why, 0) end
end

local function counter(name) return tonumber(ffi.string(C.frt_device_get(name))) end

-- losses of `steps` updates and the weights behind them, as text that shows every bit
local function train(device, model, steps)
  local out = {}
  on(device, function()
    frt.manual_seed(3)
    local m = model():build { input = { 4, 3, 16, 16 }, classes = 3, seed = 3 }
    m:train()
    local opt = frt.optim.adamw { lr = 1e-2 }
    opt:attach(m)
    local x, y = frt.rand { 4, 3, 16, 16 }, frt.tensor({ 1, 2, 3, 1 }, { dtype = "i32" })
    frt.realize(x)
    for i = 1, steps do
      local loss = frt.loss.cross_entropy {}(m(x), y)
      opt:zero_grad()
      loss:backward()
      opt:step()
      out[i] = ("%.9g"):format(loss:item())
    end
    for name, p in m:named_parameters() do out[#out + 1] = ("%s %.9g"):format(name, p:abs():sum():item()) end
    out.captures = device == "shadow" and counter "captures"
  end)
  return out
end

local function small()
  local nn = frt.nn
  return nn.Chain { nn.Conv2d { 8, 3, padding = 1 }, nn.BatchNorm2d {}, nn.SiLU {}, nn.SqueezeExcite {}, nn.Conv2d { 8, 3, groups = 8 },
    nn.BatchNorm2d {}, nn.ReLU {}, nn.AdaptiveAvgPool2d { 1 }, nn.Flatten {}, nn.Linear { 3 } }
end

describe("shadow", function()
  it("is a device by name, with a banner of its own", function()
    on("shadow", function()
      assert.equal("shadow", ffi.string(C.frt_device_name()))
      assert.equal("shadow (plain C out of the host's reach)", frt.device())
    end)
  end)

  it("computes what the reference computes: a training step with batch norm, gates and AdamW", function()
    local want, got = train("reference", small, 3), train("shadow", small, 3)
    assert.equal(#want, #got)
    for i = 1, #want do
      local name, a = want[i]:match "^(.-) ?(%S+)$"
      local b = got[i]:match "(%S+)$"
      assert.is_true(math.abs(a - b) <= 1e-4 * math.max(1, math.abs(a)), ("%s: %s, should be %s"):format(name, b, a))
    end
  end)

  it("sees the same addresses in every step of a loop", function()
    on("shadow", function()
      local w, x = frt.tensor({ 1, 2, 3 }):requires_grad_(), frt.tensor { 1, 1, 1 }
      local opt = frt.optim.sgd { lr = 0.1, momentum = 0.9 }
      opt:attach { { params = { w } } }
      local seen
      for i = 1, 6 do
        local loss = (w * x):sum()
        opt:zero_grad()
        loss:backward()
        opt:step()
        if i == 3 then seen = counter "captures" end
      end
      assert.equal(seen, counter "captures")
    end)
  end)

  it("variables and results move between devices when they are next used", function()
    local a = frt.tensor { 1, 2, 3 }
    local b = a * 2
    assert.same({ 2, 4, 6 }, b:totable())
    on("shadow", function()
      assert.same({ 3, 6, 9 }, (a + b):totable())
      a:write { 4, 5, 6 }
    end)
    assert.same({ 4, 5, 6 }, a:totable())
    assert.same({ 6, 9, 12 }, (a + b):totable())
  end)

  it("an update that is refused moves nothing", function()
    on("shadow", function()
      local w, c = frt.tensor({ 1 }):requires_grad_(), frt.tensor { 10 }
      local opt = frt.optim.sgd { lr = 0.1 }
      opt:attach { { params = { w } } }
      local loss = (w * math.huge):sum()
      opt:zero_grad()
      loss:backward()
      c:assign(c + 1)
      assert.is_false(pcall(opt.step, opt, { clip_norm = 1 }))
      assert.same({ 1 }, w:totable())
    end)
  end)

  it("an unknown device is an error that says where it was looked for", function()
    assert.not_equal(0, tonumber(C.frt_device_use "nosuch"))
    assert.match("device 'nosuch': there is no such backend here", ffi.string(C.frt_error_last()))
    assert.not_equal(0, tonumber(C.frt_device_use "../x"))
    assert.match("device: must be 'cpu', 'reference' or a backend's name", ffi.string(C.frt_error_last()))
    assert.equal("cpu", ffi.string(C.frt_device_name()))
  end)
end)

-- Every case of every op that runs on its own, beside the same ops in plain C: the same kernels, so the same numbers.
describe("ops on shadow", function()
  for _, op in ipairs(O.ops()) do
    for _, case in ipairs(op.cases) do
      if bit.band(op.flags, O.UPDATE) == 0 then
        it(op.name .. ": " .. case.why, function()
          local inputs = O.fill(case, O.F32)
          assert.same(O.run(op, inputs, case.attr, "reference", case.n_out), O.run(op, inputs, case.attr, "shadow", case.n_out))
        end)
      end
    end
  end
end)
