-- 3x3 convolutions of stride 1 of maps stored as bf16, by Winograd with products of bf16, beside the plain-C reference in
-- double on the same numbers: ragged tiles, channels and shares of threads, gradients, batch norm as they are read.
local half = require "spec.support.half"
local plans = require "spec.support.plans"
local V = require "spec.support.values"
local T = require "foodrt.tensor"
local frt = require "foodrt"

local it = half.it(it, pending) -- luacheck: ignore

-- what is special, N, C, H, W, K, padding (top, left, bottom, right)
local SHAPES = {
  { "whole tiles", 2, 32, 16, 20, 48, { 1, 1, 1, 1 } },
  { "ragged tiles, channels and panels", 3, 21, 19, 23, 65, { 1, 1, 1, 1 } },
  { "odd channels, one panel", 4, 33, 17, 14, 19, { 1, 1, 1, 1 } },
  { "three threads that share columns", 1, 80, 16, 16, 200, { 1, 1, 1, 1 } },
  { "no padding", 4, 17, 18, 15, 18, { 0, 0, 0, 0 } },
  { "uneven padding", 2, 16, 18, 17, 112, { 2, 0, 1, 2 } },
  { "few tiles", 2, 120, 9, 11, 70, { 1, 1, 1, 1 } },
  { "many tiles", 1, 20, 180, 171, 24, { 1, 1, 1, 1 } },
}

-- What is lost is the transforms' rounding to bf16, 0.0038 of the results in the root mean square whatever the shape (rounding
-- the weights alone, as direct products do, 0.0016); single results lie up to 0.026 off.
local function near(want, got, what)
  local sum, square, largest = 0, 0, 0
  for i, v in ipairs(want) do
    local off = got[i] - v
    sum, square, largest = sum + v * v, square + off * off, math.max(largest, off == off and math.abs(off) or math.huge)
  end
  local rms = math.sqrt(sum / #want)
  if #got ~= #want or math.sqrt(square / #want) > 0.0045 * rms or largest > 0.035 * rms then
    error(("%s: off by %g, by %g in the root mean square, of %g"):format(what, largest, math.sqrt(square / #want), rms), 0)
  end
end

describe("Winograd on maps stored as bf16", function()
  after_each(T.forget)
  for _, s in ipairs(SHAPES) do
    local name, n, c, h, w, k, pad = unpack(s)
    local function attr(...)
      return { 1, 1, pad[1], pad[2], pad[3], pad[4], 1, 1, 1, ... }
    end
    local x, weight, y = { n, c, h, w }, { k, c, 3, 3 }, { n, k, h + pad[1] + pad[3] - 2, w + pad[2] + pad[4] - 2 }
    it("is near the reference: " .. name, function()
      half.each("conv2d", { x, weight }, attr(0), near)
      half.each("conv2d", { x, weight, { k } }, attr(0), near)
    end)
    it("is near the reference's gradient by its input: " .. name, function()
      half.each("conv2d_grad_input", { y, weight }, attr(0, h, w), near)
    end)
    it("is near the reference's gradient by its weights: " .. name, function()
      half.each("conv2d_grad_weight", { x, y }, attr(0, 3, 3), near)
    end)
  end

  local function flat(t, out)
    if type(t) == "number" then out[#out + 1] = t return out end
    for _, v in ipairs(t) do flat(v, out) end
    return out
  end

  -- Direct products of bf16 are as far from fp32: 0.004, 0.037 and 0.013 for the three, Winograd 0.004, 0.037 and 0.014.
  it("takes batch norm and its activation as it reads, counts what it makes, and so do its gradients", function()
    local function norm(y, seed)
      local m = y.shape[2]
      return y:batch_norm(V.variable({ m }, seed), V.variable({ m }, seed + 1), V.variable({ m }, seed + 2),
        V.variable({ m }, seed + 3, 1, 0.1), { training = true })
    end
    local function run()
      local x = V.variable({ 4, 24, 22, 19 }, 1)
      local a, b = V.variable({ 40, 24, 1, 1 }, 2):requires_grad_(), V.variable({ 56, 40, 3, 3 }, 3):requires_grad_()
      local y = norm(norm(x:conv2d(a), 4):relu():conv2d(b, { padding = 1 }), 8):relu()
      local loss = (y * y):mean()
      local grads = frt.grad(loss, { a, b })
      local plan = tostring(T.plan(y, unpack(grads)))
      frt.realize(y, unpack(grads))
      local out = { flat(y:totable(), {}), flat(grads[1]:totable(), {}), flat(grads[2]:totable(), {}), plan }
      T.forget()
      return out
    end
    local want, got = run(), half.run(2, run)
    local _, count = got[4]:gsub("own winograd bf16", "")
    assert.equal(3, count, got[4])
    assert.matches("winograd bf16[^\n]+batch norm relu on load, statistics", got[4])
    for i = 1, 3 do
      local square, sum = 0, 0
      for k, v in ipairs(want[i]) do square, sum = square + (v - got[i][k]) ^ 2, sum + v * v end
      assert.is_true(math.sqrt(square / sum) < 0.05, ("result %d: %g"):format(i, math.sqrt(square / sum)))
    end
  end)

  it("gives the same bits on each run of as many threads", function()
    local x, w = V.variable({ 3, 32, 21, 18 }, 1), V.variable({ 40, 32, 3, 3 }, 2)
    local function run()
      local y = (x * 2):conv2d(w, { padding = 1 })
      assert.equal("own winograd bf16", plans.kernel("conv2d", y))
      return flat(y:totable(), {})
    end
    assert.same(half.run(2, run), half.run(2, run))
  end)
end)
