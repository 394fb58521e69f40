-- Optimizer steps, gradient norm and random numbers on the CPU's own kernels, beside the plain-C reference.
local O = require "spec.support.op_case"
local isas = require "spec.support.isas"
local lib = require "foodrt.core.ffi"
local C = lib.C
local ops = O.ops()

local round = lib.ffi.new "float[1]"
local function tensor(u, n, low, high)
  local data = {}
  for k = 1, n do
    round[0] = low + (high - low) * u()
    data[k] = round[0]
  end
  return { dims = { n }, dtype = O.F32, data = data }
end
local function scalar(v, dtype)
  return { dims = {}, dtype = dtype or O.F32, data = { v } }
end

local SIZES = { 1, 7, 16, 33, 40000, 5, 1024 }

-- 2e-6 of the largest number: float arithmetic in another order.
local function check(name, inputs, attr, n_out)
  local got = O.run(ops[name], inputs, attr, "cpu", n_out)
  local want = O.run(ops[name], inputs, attr, "reference", n_out)
  for k = 1, n_out do
    local largest, off = 1e-3, 0
    for i, v in ipairs(want[k].data) do
      largest, off = math.max(largest, math.abs(v)), math.max(off, math.abs(v - got[k].data[i]))
    end
    assert.is_true(off <= 2e-6 * largest, ("%s, output %d: %g off"):format(name, k, off))
  end
end

for _, isa in ipairs(isas) do describe("on " .. isa, function()
  before_each(function() C.frt_set_isa(isa) end)
  after_each(function()
    C.frt_set_isa "auto"
    C.frt_set_threads(0)
  end)

  for _, decoupled in ipairs { 0, 1 } do
    it(("adam_step moves 7 tensors as the reference does, decoupled = %d"):format(decoupled), function()
      for _, t in ipairs { 1, 10, 1000 } do
        local u = O.random(t)
        local inputs = { scalar(1e-3), scalar(0.9), scalar(0.999), scalar(1e-8), scalar(0.05), scalar(t), scalar(0.5) }
        for _, n in ipairs(SIZES) do
          inputs[#inputs + 1] = tensor(u, n, -1, 1)
          inputs[#inputs + 1] = tensor(u, n, -1, 1)
          inputs[#inputs + 1] = tensor(u, n, -0.1, 0.1)
          inputs[#inputs + 1] = tensor(u, n, 0.01, 1)
        end
        check("adam_step", inputs, { decoupled, 0 }, 3 * #SIZES)
      end
    end)
  end

  for _, nesterov in ipairs { 0, 1 } do
    it(("sgd_step moves 7 tensors as the reference does, nesterov = %d"):format(nesterov), function()
      for _, momentum in ipairs { 0, 0.9 } do
        for t = 1, 2 do
          local u = O.random(t)
          local inputs = { scalar(0.1), scalar(momentum), scalar(0), scalar(1e-4), scalar(t), scalar(2) }
          for _, n in ipairs(SIZES) do
            for _ = 1, 3 do inputs[#inputs + 1] = tensor(u, n, -1, 1) end
          end
          check("sgd_step", inputs, { nesterov }, 2 * #SIZES)
        end
      end
    end)
  end

  it("ema_step moves 7 averages as the reference does, with decays on both sides of 1/2, in the same bits by 1 to 3 threads", function()
    for _, decay in ipairs { 0, 0.3, 0.5, 0.9, 0.9998 } do
      local u, inputs, first = O.random(3), { scalar(decay, O.F64) }, nil
      for _, n in ipairs(SIZES) do
        for _ = 1, 2 do inputs[#inputs + 1] = tensor(u, n, -1, 1) end
      end
      check("ema_step", inputs, nil, #SIZES)
      for threads = 1, 3 do
        C.frt_set_threads(threads)
        local got = O.run(ops.ema_step, inputs, nil, "cpu", #SIZES)
        first = first or got
        for k = 1, #SIZES do assert.same(first[k].data, got[k].data) end
      end
    end
  end)

  it("ema_step copies every bit at decay 0, and keeps every bit of what stands still", function()
    local u = O.random(4)
    local e, x = tensor(u, 1000, -1, 1), tensor(u, 1000, -1, 1)
    assert.same(x.data, O.run(ops.ema_step, { scalar(0), e, x }, nil, "cpu", 1)[1].data)
    for _, decay in ipairs { 0.3, 0.9998 } do
      assert.same(x.data, O.run(ops.ema_step, { scalar(decay), x, x }, nil, "cpu", 1)[1].data)
    end
  end)

  it("refuses a gradient norm that is not finite", function()
    local u = O.random(1)
    local inputs = { scalar(0.1), scalar(0), scalar(0), scalar(0), scalar(1), scalar(0 / 0) }
    for _ = 1, 3 do inputs[#inputs + 1] = tensor(u, 5, -1, 1) end
    assert.has_error(function() O.run(ops.sgd_step, inputs, { 0 }, "cpu", 2) end,
      "sgd_step: gradient norm is not finite")
  end)

  it("grad_norm gives the same bits with 1, 2 and 3 threads", function()
    local u, inputs, first = O.random(9), {}, nil
    for _, n in ipairs(SIZES) do inputs[#inputs + 1] = tensor(u, n, -1, 1) end
    for threads = 1, 3 do
      C.frt_set_threads(threads)
      local got = O.run(ops.grad_norm, inputs, nil, "cpu")[1].data[1]
      first = first or got
      assert.equal(first, got)
    end
    local want = O.run(ops.grad_norm, inputs, nil, "reference")[1].data[1]
    assert.is_true(math.abs(first - want) <= 1e-7 * want)
  end)

  it("uniform draws the reference's numbers, bit for bit", function()
    for _, dims in ipairs { { 3 }, { 2, 5 }, { 5, 129 }, { 2, 4100 }, { 3, 7, 33, 65 } } do
      local attr = { #dims }
      for d = 1, 6 do attr[1 + d] = dims[d] or 0 end
      attr[8], attr[9], attr[10] = 3000000000, 77, 0
      local inputs = { scalar(2 ^ 40 + 5, O.F64), scalar(2 ^ 33 + 1, O.F64), scalar(2 ^ 32 - 2, O.F64) }
      assert.same(O.run(ops.uniform, inputs, attr, "reference")[1].data, O.run(ops.uniform, inputs, attr, "cpu")[1].data)
    end
  end)
end) end
