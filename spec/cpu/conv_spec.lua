-- The CPU's convolutions beyond the small cases the op declares: every way conv.c chooses (matrix product, own
-- depthwise, oneDNN) at sizes with full and ragged vectors, against the plain-C reference.
local O = require "spec.support.op_case"
local agree = require "spec.support.agree"
local frt = require "foodrt"
local C = require("foodrt.core.ffi").C

-- name, N, C, H, W, K, kernel, stride, padding, dilation, groups
local SHAPES = {
  { "1x1, a matrix product", 3, 24, 13, 11, 40, 1, 1, 0, 1, 1 },
  { "1x1, few weights and many pixels", 1, 16, 80, 60, 24, 1, 1, 0, 1, 1 },
  { "1x1, more outputs than inputs and many pixels", 2, 16, 40, 33, 40, 1, 1, 0, 1, 1 },
  { "1x1, 256 channels to fewer", 2, 256, 24, 23, 40, 1, 1, 0, 1, 1 },
  { "1x1, many tiles of pixels", 3, 24, 40, 33, 40, 1, 1, 0, 1, 1 },
  { "1x1 on a 1x1 map", 8, 96, 1, 1, 4, 1, 1, 0, 1, 1 },
  { "1x1, stride 2", 2, 24, 13, 11, 40, 1, 2, 0, 1, 1 },
  { "3x3, channels that fill no vector", 2, 17, 13, 11, 23, 3, 1, 1, 1, 1 },
  { "3x3, stride 2", 2, 16, 13, 11, 48, 3, 2, 1, 1, 1 },
  { "3x3, dilation 2", 2, 16, 13, 11, 32, 3, 1, 2, 2, 1 },
  { "3x3, 4 groups", 2, 32, 13, 11, 64, 3, 1, 1, 1, 4 },
  { "7x7 on 3 channels, stride 2", 1, 3, 33, 32, 48, 7, 2, 3, 1, 1 },
  { "5x5 depthwise, stride 2", 2, 48, 13, 11, 48, 5, 2, 2, 1, 48 },
  { "depthwise with 2 outputs a channel", 2, 16, 9, 9, 32, 3, 1, 1, 1, 16 },
}

local function dims(...)
  return { dims = { ... }, fill = "n" }
end

describe("convolution on the CPU", function()
  for _, s in ipairs(SHAPES) do
    local name, n, c, h, w, k, kernel, stride, padding, dilation, groups = unpack(s)
    local reach = dilation * (kernel - 1) + 1
    local oh, ow = math.floor((h + 2 * padding - reach) / stride) + 1, math.floor((w + 2 * padding - reach) / stride) + 1
    local attr = { stride, stride, padding, padding, padding, padding, dilation, dilation, groups, 0 }
    local weight = dims(k, c / groups, kernel, kernel)

    local function with(...)
      local list = { unpack(attr) }
      for _, v in ipairs { ... } do list[#list + 1] = v end
      return list
    end

    it("is the reference's: " .. name, function()
      agree("conv2d", { dims(n, c, h, w), weight }, attr)
      agree("conv2d", { dims(n, c, h, w), weight, dims(k) }, attr)
    end)
    it("has the reference's gradient by its input: " .. name, function()
      agree("conv2d_grad_input", { dims(n, k, oh, ow), weight }, with(h, w))
    end)
    it("has the reference's gradient by its weights: " .. name, function()
      agree("conv2d_grad_weight", { dims(n, c, h, w), dims(n, k, oh, ow) }, with(kernel, kernel))
    end)
  end
end)

-- the same on both backends, to 1e-5 of the largest number
local function both(fn)
  local function numbers(t, list)
    if type(t) == "number" then list[#list + 1] = t return list end
    for _, v in ipairs(t) do numbers(v, list) end
    return list
  end
  C.frt_device_use "reference"
  local ok, want = pcall(function() return numbers(fn():totable(), {}) end)
  C.frt_device_use "cpu"
  assert(ok, want)
  local got, largest, off = numbers(fn():totable(), {}), 0, 0
  for k, v in ipairs(want) do largest, off = math.max(largest, math.abs(v)), math.max(off, math.abs(v - got[k])) end
  assert.is_true(off <= 1e-5 * largest, ("off by %g of %g"):format(off, largest))
end

-- a variable that follows from `seed`
local function var(shape, seed)
  local n, u, data = 1, O.random(seed), {}
  for _, d in ipairs(shape) do n = n * d end
  for i = 1, n do data[i] = u() - 0.5 end
  local t = frt.tensor(data):reshape(shape):keep()
  frt.realize(t)
  return t
end

describe("convolution in a plan", function()
  local x, w, b = var({ 2, 16, 9, 7 }, 1), var({ 24, 16, 3, 3 }, 2), var({ 24 }, 3)

  for _, act in ipairs { "silu", "relu", "relu6", "sigmoid" } do
    it("takes bias and " .. act .. " into its pass", function()
      both(function()
        local y = x:conv2d(w, b, { padding = 1 })
        return (y[act](y))
      end)
    end)
  end

  local photo, point, shift = var({ 2, 16, 40, 31 }, 4), var({ 24, 16, 1, 1 }, 5), var({ 24 }, 6)
  for _, act in ipairs { "silu", "relu", "relu6", "sigmoid" } do
    it("applies bias and " .. act .. " to a matrix product's tiles", function()
      both(function()
        local y = photo:conv2d(point, shift)
        return (y[act](y))
      end)
      both(function()
        local y = photo:mean({ 3, 4 }, { keepdim = true }):conv2d(point, shift)
        return (y[act](y))
      end)
    end)
  end

  it("packs its weights again when they have changed", function()
    local function run(v)
      local y = x:conv2d(v, b, { padding = 1 })
      return y
    end
    local v = require("foodrt.tensor").var { shape = { 24, 16, 3, 3 }, dtype = "f32", name = "v" }
    for round = 1, 3 do
      v:copy_(w * round)
      both(function() return run(v) end)
    end
  end)

  -- y is channels-last inside the plan; what reads it is not told.
  local reads = {
    ["a sum over height and width"] = function(y) return y:sum { 3, 4 } end,
    ["a mean over all but channels"] = function(y) return y:mean { 1, 3, 4 } end,
    ["a sum over the batch"] = function(y) return y:sum(1) end,
    ["a maximum over channels"] = function(y) local m = y:max(2) return m end,
    ["a permutation"] = function(y) return y:permute { 2, 4, 1, 3 } end,
    ["a reshape"] = function(y) return y:reshape { 2, 24 * 63 } end,
    ["a slice of channels"] = function(y) return y:narrow(2, 3, 9) end,
    ["a flip"] = function(y) return y:flip { 4 } end,
    ["a softmax over channels"] = function(y) return y:softmax(2) end,
  }
  for what, fn in pairs(reads) do
    it("is read rightly by " .. what, function()
      both(function()
        local y = fn(x:conv2d(w, b, { padding = 1 }))
        return y
      end)
    end)
  end
end)
