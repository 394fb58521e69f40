-- Depthwise convolution on the CPU's own kernels: forward, by input and by weights, beside the plain-C reference in
-- double, for filters, strides, dilations, paddings and channel counts that leave vectors and tiles incomplete.
local O = require "spec.support.op_case"
local isas = require "spec.support.isas"
local C = require("foodrt.core.ffi").C
local ops = O.ops()

--- { n, c, h, w, kh, kw, stride, pad top left bottom right, dilation }
local CASES = {
  { "3x3 of 16 channels", 2, 16, 9, 11, 3, 3, { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 } },
  { "3x3, one channel", 1, 1, 5, 5, 3, 3, { 1, 1 }, { 1, 1, 1, 1 }, { 1, 1 } },
  { "3x3, stride 2, even size, 17 channels", 2, 17, 8, 12, 3, 3, { 2, 2 }, { 1, 1, 1, 1 }, { 1, 1 } },
  { "3x3, stride 2, odd size, 24 channels", 1, 24, 9, 7, 3, 3, { 2, 2 }, { 1, 1, 1, 1 }, { 1, 1 } },
  { "3x3, stride 2, TensorFlow's padding", 1, 40, 8, 8, 3, 3, { 2, 2 }, { 0, 0, 1, 1 }, { 1, 1 } },
  { "5x5 of 56 channels", 2, 56, 7, 7, 5, 5, { 1, 1 }, { 2, 2, 2, 2 }, { 1, 1 } },
  { "5x5, stride 2, 144 channels", 1, 144, 10, 9, 5, 5, { 2, 2 }, { 2, 2, 2, 2 }, { 1, 1 } },
  { "5x5 over a map of 2x3", 3, 8, 2, 3, 5, 5, { 1, 1 }, { 2, 2, 2, 2 }, { 1, 1 } },
  { "7x7 of 96 channels", 1, 96, 13, 10, 7, 7, { 1, 1 }, { 3, 3, 3, 3 }, { 1, 1 } },
  { "7x7, stride 2", 1, 20, 15, 16, 7, 7, { 2, 2 }, { 3, 3, 3, 3 }, { 1, 1 } },
  { "2x2, no padding", 2, 33, 6, 7, 2, 2, { 1, 1 }, { 0, 0, 0, 0 }, { 1, 1 } },
  { "4x4, stride 4", 1, 12, 16, 12, 4, 4, { 4, 4 }, { 0, 0, 0, 0 }, { 1, 1 } },
  { "9x9", 1, 18, 12, 12, 9, 9, { 1, 1 }, { 4, 4, 4, 4 }, { 1, 1 } },
  { "3x5, uneven strides and padding", 2, 19, 11, 13, 3, 5, { 2, 3 }, { 0, 2, 1, 4 }, { 1, 1 } },
  { "3x3, dilation 2 and 3", 2, 17, 12, 14, 3, 3, { 1, 1 }, { 2, 3, 2, 3 }, { 2, 3 } },
  { "3x3, dilation 3, stride 2", 1, 17, 12, 14, 3, 3, { 2, 2 }, { 3, 3, 3, 3 }, { 3, 3 } },
  { "large enough for threads", 3, 70, 28, 28, 5, 5, { 1, 1 }, { 2, 2, 2, 2 }, { 1, 1 } },
}

local function numbers(u, dims)
  local data = {}
  for k = 1, O.numel(dims) do data[k] = math.floor((2 * u() - 1) * 1024) / 1024 end
  return { dims = dims, dtype = O.F32, data = data }
end
local function in_double(x)
  return x and { dims = x.dims, dtype = O.F64, data = x.data }
end

-- 1e-5 of the largest number: sums of up to some thousand products in float.
local function check(name, inputs, attr)
  local wide = {}
  for k, x in ipairs(inputs) do wide[k] = in_double(x) end
  local got = O.run(ops[name], inputs, attr, "cpu")[1]
  local want = O.run(ops[name], wide, attr, "reference")[1]
  assert.same(want.dims, got.dims)
  local largest, off = 1e-3, 0
  for k, v in ipairs(want.data) do
    largest = math.max(largest, math.abs(v))
    off = math.max(off, math.abs(v - got.data[k]))
  end
  assert.is_true(off <= 1e-5 * largest, ("%s is %g off, largest %g"):format(name, off, largest))
  return got
end

for _, isa in ipairs(isas) do describe("on " .. isa, function()
  before_each(function() C.frt_set_isa(isa) end)
  after_each(function()
    C.frt_set_isa "auto"
    C.frt_set_threads(0)
  end)

  for _, case in ipairs(CASES) do
    it("agrees with the reference forward and backward: " .. case[1], function()
      local n, c, h, w, kh, kw, stride, pad, dil = unpack(case, 2)
      local ho = math.floor((h + pad[1] + pad[3] - (kh - 1) * dil[1] - 1) / stride[1]) + 1
      local wo = math.floor((w + pad[2] + pad[4] - (kw - 1) * dil[2] - 1) / stride[2]) + 1
      local u = O.random(c * 31 + h)
      local x, dy = numbers(u, { n, c, h, w }), numbers(u, { n, c, ho, wo })
      local weight, bias = numbers(u, { c, 1, kh, kw }), numbers(u, { c })
      local attr = { stride[1], stride[2], pad[1], pad[2], pad[3], pad[4], dil[1], dil[2], c, 0 }
      local function with(a, b)
        local list = { unpack(attr) }
        list[#list + 1], list[#list + 2] = a, b
        return list
      end
      for threads = 1, 3, 2 do
        C.frt_set_threads(threads)
        check("conv2d", { x, weight }, attr)
        check("conv2d", { x, weight, bias }, attr)
        check("conv2d_grad_input", { dy, weight }, with(h, w))
        local got = check("conv2d_grad_weight", { x, dy }, with(kh, kw))
        local again = check("conv2d_grad_weight", { x, dy }, with(kh, kw))
        assert.same(got.data, again.data)
      end
    end)
  end
end) end
