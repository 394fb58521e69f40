-- Batch norm on the CPU's own kernels: statistics that a large mean does not spoil, any number of channels, and the
-- fused forms beside the separate ones.
local O = require "spec.support.op_case"
local isas = require "spec.support.isas"
local frt = require "foodrt"
local C = require("foodrt.core.ffi").C
local ops = O.ops()

local function numbers(u, dims, mean, spread)
  local data = {}
  for k = 1, O.numel(dims) do data[k] = mean + spread * (2 * u() - 1) end
  return { dims = dims, dtype = O.F32, data = data }
end
local round = require("foodrt.core.ffi").ffi.new "float[1]"
local function in_double(x)
  local data = {}
  for k, v in ipairs(x.data) do
    round[0] = v
    data[k] = round[0]
  end
  return { dims = x.dims, dtype = O.F64, data = data }
end
-- Beside the largest number, or 1: sums over a channel may cancel.
local function worst(got, want)
  local off, largest = 0, 1
  for k, v in ipairs(want.data) do
    off, largest = math.max(off, math.abs(v - got.data[k])), math.max(largest, math.abs(v))
  end
  return off / largest
end

for _, isa in ipairs(isas) do describe("on " .. isa, function()
  before_each(function() C.frt_set_isa(isa) end)
  after_each(function()
    C.frt_set_isa "auto"
    C.frt_set_threads(0)
  end)

  it("finds a variance of 0.0033 at mean 100 to 1e-4, whatever the number of threads", function()
    for threads = 1, 3 do
      C.frt_set_threads(threads)
      local x = numbers(O.random(3), { 8, 17, 20, 20 }, 100, 0.1)
      local one, zero = numbers(O.random(1), { 17 }, 1, 0), numbers(O.random(1), { 17 }, 0, 0)
      local attr = { 0, 1 }
      local got = O.run(ops.batch_norm_train, { x, one, zero, zero, one }, attr, "cpu")
      local wide = { in_double(x), in_double(one), in_double(zero), in_double(zero), in_double(one) }
      local want = O.run(ops.batch_norm_train, wide, attr, "reference")
      for c = 1, 17 do
        local v = want[5].data[c]
        assert.is_true(v > 0.003 and v < 0.0037)
        assert.is_true(math.abs(got[5].data[c] - v) <= 1e-5 * v)
        assert.is_true(math.abs(got[4].data[c] - want[4].data[c]) <= 1e-5)
      end
      -- 100 itself is only known to 7.6e-6, which is 1.3e-4 of the deviation.
      assert.is_true(worst(got[1], want[1]) < 2e-4)
    end
  end)

  for _, c in ipairs { 1, 3, 16, 24, 40, 100, 144 } do
    it(("agrees with the reference forward and backward: %d channels"):format(c), function()
      for _, map in ipairs { { 2, 1, 1 }, { 1, 1, 3 }, { 3, 5, 7 }, { 2, 17, 19 } } do
        local u, dims = O.random(c), { map[1], c, map[2], map[3] }
        local x, dy = numbers(u, dims, 0.3, 1), numbers(u, dims, 0, 1)
        local w, b = numbers(u, { c }, 1, 0.5), numbers(u, { c }, 0, 1)
        local mean, var = numbers(u, { c }, 0.2, 0.1), numbers(u, { c }, 1, 0.5)
        local function both(name, inputs, attr, tolerance)
          local wide = {}
          for k, t in ipairs(inputs) do wide[k] = in_double(t) end
          local got, want = O.run(ops[name], inputs, attr, "cpu"), O.run(ops[name], wide, attr, "reference")
          for k = 1, #want do
            local off = worst(got[k], want[k])
            assert.is_true(off <= tolerance, ("%s, output %d: %g off"):format(name, k, off))
          end
        end
        both("batch_norm", { x, w, b, mean, var }, { 1e-3 }, 2e-6)
        both("batch_norm_train", { x, w, b, mean, var }, { 1e-3, 0.1 }, 1e-5)
        both("batch_norm_grad", { x, dy, w, mean, var }, nil, 1e-5)
      end
    end)
  end

  -- The fused step appears in the plan of a loss: the same graph on the reference backend is unfused.
  for _, act in ipairs { "silu", "relu", "relu6" } do
    it("fused with " .. act .. ", gives the loss, gradients and statistics of the separate ops", function()
      local function step(backend)
        C.frt_device_use(backend)
        frt.manual_seed(5)
        local c = 24
        local x, w, b = frt.randn { 3, c, 9, 7 }, frt.rand { c } + 0.5, frt.randn { c }
        frt.realize(x, w, b)
        local function var(t)
          return frt.tensor(t:totable()):requires_grad_()
        end
        x, w, b = var(x), var(w), var(b)
        local mean, variance = frt.tensor(frt.zeros({ c }):totable()), frt.tensor(frt.ones({ c }):totable())
        local y = x:batch_norm(w, b, mean, variance, { training = true })
        y = y[act](y)
        local loss = (y * y * 0.5 + y):mean()
        local grads = frt.grad(loss, { x, w, b })
        frt.realize(loss, grads[1], grads[2], grads[3])
        local all = { loss:item() }
        for _, t in ipairs { grads[1]:reshape(3 * c * 63), grads[2], grads[3], mean, variance } do
          for _, v in ipairs(t:totable()) do all[#all + 1] = v end
        end
        C.frt_device_use "cpu"
        return all
      end
      local want, got = step "reference", step "cpu"
      assert.equal(#want, #got)
      for k, v in ipairs(want) do
        assert.is_true(math.abs(v - got[k]) <= 1e-5 * math.max(1, math.abs(v)), ("number %d: %g, %g"):format(k, got[k], v))
      end
    end)
  end
end) end
