-- The CPU's own dense convolutions, 3x3 of stride 1 by Winograd and products with packed weights, at sizes with ragged
-- tiles, channels and shares, on each instruction set, against the plain-C reference in double.
local O = require "spec.support.op_case"
local agree = require "spec.support.agree"
local isas = require "spec.support.isas"
local plans = require "spec.support.plans"
local V = require "spec.support.values"
local frt = require "foodrt"
local C = require("foodrt.core.ffi").C

local function dims(...)
  return { dims = { ... }, fill = "n" }
end

-- name, N, C, H, W, K, kernel, stride, padding (top, left, bottom, right), dilation
local WINOGRAD = {
  { "whole tiles", 2, 16, 16, 20, 32, 3, 1, { 1, 1, 1, 1 }, 1 },
  { "ragged tiles and channels", 3, 21, 19, 23, 45, 3, 1, { 1, 1, 1, 1 }, 1 },
  { "threads that share columns", 2, 24, 14, 14, 111, 3, 1, { 1, 1, 1, 1 }, 1 },
  { "no padding", 4, 17, 18, 15, 18, 3, 1, { 0, 0, 0, 0 }, 1 },
  { "uneven padding", 2, 16, 18, 17, 16, 3, 1, { 2, 0, 1, 2 }, 1 },
}
local DENSE = {
  { "1x1 with ragged channels", 3, 45, 11, 9, 71, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "1x1 on a 1x1 map", 8, 96, 1, 1, 52, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "1x1 of stride 2", 2, 40, 13, 10, 33, 1, 2, { 0, 0, 0, 0 }, 1 },
  { "1x1, padded", 1, 33, 5, 6, 40, 1, 1, { 1, 0, 0, 1 }, 1 },
  { "1x1, more outputs than pixels", 1, 64, 7, 7, 300, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "3x3 of stride 2", 2, 36, 13, 12, 50, 3, 2, { 1, 1, 1, 1 }, 1 },
  { "3x3 of few tiles", 1, 48, 7, 5, 96, 3, 1, { 1, 1, 1, 1 }, 1 },
  { "3x3, dilation 2, uneven padding", 1, 33, 9, 10, 34, 3, 1, { 2, 1, 2, 3 }, 2 },
  { "5x5", 1, 32, 11, 9, 40, 5, 1, { 2, 2, 2, 2 }, 1 },
  { "2x2 of stride 2", 2, 48, 12, 10, 40, 2, 2, { 0, 0, 0, 0 }, 1 },
}

local function attributes(s, ...)
  local pad = s[9]
  return { s[8], s[8], pad[1], pad[2], pad[3], pad[4], s[10], s[10], 1, 0, ... }
end

local function check(s)
  local _, n, c, h, w, k, kernel, stride, pad, dilation = unpack(s)
  local reach = dilation * (kernel - 1) + 1
  local oh, ow = math.floor((h + pad[1] + pad[3] - reach) / stride) + 1, math.floor((w + pad[2] + pad[4] - reach) / stride) + 1
  local weight = dims(k, c, kernel, kernel)
  agree("conv2d", { dims(n, c, h, w), weight }, attributes(s))
  agree("conv2d", { dims(n, c, h, w), weight, dims(k) }, attributes(s))
  agree("conv2d_grad_input", { dims(n, k, oh, ow), weight }, attributes(s, h, w))
  agree("conv2d_grad_weight", { dims(n, c, h, w), dims(n, k, oh, ow) }, attributes(s, kernel, kernel))
end

describe("own dense convolutions", function()
  after_each(function()
    C.frt_device_use "cpu"
    C.frt_set_isa "auto"
    C.frt_set_threads(0)
  end)

  for _, isa in ipairs(isas) do
    for way, shapes in pairs { winograd = WINOGRAD, dense = DENSE } do
      for _, s in ipairs(shapes) do
        it(("are the reference's, with their gradients, on %s by %s: %s"):format(isa, way, s[1]), function()
          C.frt_set_isa(isa)
          for threads = 1, 3, 2 do
            C.frt_set_threads(threads)
            check(s)
          end
        end)
      end
    end
  end

  for way, shapes in pairs { winograd = WINOGRAD, dense = DENSE } do
    it("are computed by " .. way .. " where its cases say so", function()
      for _, s in ipairs(shapes) do
        local _, n, c, h, w, k, kernel, stride, pad, dilation = unpack(s)
        local y = V.variable({ n, c, h, w }, 1):conv2d(V.variable({ k, c, kernel, kernel }, 2), V.variable({ k }, 3),
          { stride = stride, padding = pad, dilation = dilation })
        assert.are.equal("own " .. way, plans.kernel("conv2d", y), s[1])
      end
    end)
  end

  -- Winograd's points cost precision: bounds measured at 512 channels, 1.2e-5 and 1.9e-6, and rounded up.
  it("are off by at most 2e-5, and by 3e-6 in the root mean square, of the results' at 512 channels", function()
    local kind = { inputs = { dims(1, 512, 15, 18), dims(16, 512, 3, 3) } }
    local narrow, wide = O.fill(kind, O.F32), {}
    for i, x in ipairs(narrow) do wide[i] = { dims = x.dims, dtype = O.F64, data = x.data } end
    local attr = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 0 }
    local got = O.run(O.ops().conv2d, narrow, attr, "cpu")[1].data
    local want = O.run(O.ops().conv2d, wide, attr, "reference")[1].data
    local sum, square, largest = 0, 0, 0
    for i, v in ipairs(want) do
      local off = got[i] - v
      sum, square, largest = sum + v * v, square + off * off, math.max(largest, math.abs(off))
    end
    local rms = math.sqrt(sum / #want)
    assert.is_true(largest <= 2e-5 * rms, ("off by %g of %g"):format(largest, rms))
    assert.is_true(math.sqrt(square / #want) <= 3e-6 * rms)
  end)

  it("add up gradients by the weights over chunks of tiles", function()
    agree("conv2d_grad_weight", { dims(1, 16, 196, 193), dims(1, 16, 196, 193) }, { 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 3, 3 })
  end)

  describe("at a block's end", function()
    local T = require "foodrt.tensor"
    local x, r = V.variable({ 2, 32, 21, 18 }, 1), V.variable({ 2, 40, 21, 18 }, 2)
    local three, one, shift = V.variable({ 40, 32, 3, 3 }, 3, 0, 0.1), V.variable({ 40, 32, 1, 1 }, 4, 0, 0.1), V.variable({ 40 }, 5)
    local function wide() return x:conv2d(three, shift, { padding = 1 }) end
    local function narrow() return x:conv2d(one, shift) end

    -- what is recorded, steps that take the sum, chains that are left
    local CASES = {
      ["a 3x3, the other map and relu"] = { function() return (wide() + r):relu() end, 1, 0 },
      ["the other map and a 1x1"] = { function() return r + narrow() end, 1, 0 },
      ["two convolutions and silu"] = { function() return (wide() + narrow()):silu() end, 1, 0 },
      ["a convolution somebody else reads"] = { function()
        local y = narrow()
        return (y + r):relu(), y * 2
      end, 0, 2 },
      ["a sum somebody else reads"] = { function()
        local y = narrow() + r
        return y:relu(), y
      end, 1, 1 },
      ["a convolution twice"] = { function()
        local y = narrow()
        return y + y
      end, 0, 1 },
      ["a shift per channel"] = { function() return narrow() + r:mean({ 1, 3, 4 }, { keepdim = true }) end, 0, 1 },
    }
    for name, c in pairs(CASES) do
      it("take the sum where nobody else reads them: " .. name, function()
        local fn, fused, chains = unpack(c)
        local function values(backend)
          C.frt_device_use(backend)
          T.forget()
          local out, list = { fn() }, {}
          if backend == "cpu" then
            assert.are.equal(fused, plans.count("fused_conv2d", unpack(out)))
            assert.are.equal(chains, plans.count("fused_chain", unpack(out)))
            plans.verify(unpack(out))
          end
          frt.realize(unpack(out))
          for i, t in ipairs(out) do list[i] = t:totable() end
          return list, out
        end
        local want = values "reference"
        local _, got = values "cpu"
        for i, t in ipairs(got) do V.same(want[i], t, 1e-5) end
      end)
    end
  end)

  it("give the same bits every time with the same threads", function()
    local x, w = V.variable({ 2, 24, 30, 26 }, 1), V.variable({ 40, 24, 3, 3 }, 2):requires_grad_()
    local v = V.variable({ 48, 40, 1, 1 }, 3):requires_grad_()
    for threads = 1, 3 do
      C.frt_set_threads(threads)
      local first
      for _ = 1, 3 do
        local y = x:conv2d(w, { padding = 1 }):conv2d(v)
        local list = {}
        for i, g in ipairs(frt.grad((y * y):mean(), { w, v })) do list[i] = g:totable() end
        first = first or list
        assert.are.same(first, list)
      end
    end
  end)
end)
