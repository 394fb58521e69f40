-- the cut: which values of a recorded step are kept of the photos, and why sometimes none can be.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local features = require "foodrt.train.features"
local lib = require "foodrt.core.ffi"
local C = lib.C

local N = 4

local function photos(n)
  return T.var { shape = { n or N, 3, 8, 8 }, kind = "input", data = frt.rand { (n or N) * 192 }:totable() }
end

local function weight(shape, trained)
  local t = T.var { shape = shape, init = 0.1, name = "w" }
  return trained and t:requires_grad_(true) or t
end

local function cut(x, loss, logits)
  local found, why = features.cut(x, true, loss, logits and { logits } or {})
  T.forget()
  if not found then return nil, why end
  return found
end

describe("the cut", function()
  it("lies behind the mean of a frozen map, before the trained layer: 16 floats of a photo", function()
    local x, w, fc = photos(), weight { 16, 3, 3, 3 }, weight({ 16, 2 }, true)
    local map = x:conv2d(w, { padding = 1 }):relu()
    local pooled = map:avg_pool2d()
    local c = cut(x, pooled:matmul(fc):mean())
    assert.equal(1, c.n)
    assert.equal(64, c.row)
    assert.equal(pooled.ref, c.values[1].ref)
  end)

  it("is the nearest of equally small ones, and cheap growth behind it is computed again", function()
    local x, w, fc = photos(), weight { 16, 3, 3, 3 }, weight({ 16, 2 }, true)
    local pooled = x:conv2d(w, { padding = 1 }):avg_pool2d()
    local near = (pooled + 1):relu()
    local wide = near:reshape { N, 16, 1 }:expand { N, 16, 64 }
    local c = cut(x, (wide:mean(3):matmul(fc) + wide:sum() * fc:sum()):mean())
    assert.equal(64, c.row)
    assert.equal(1, c.n)
    assert.is_true(c.values[1].ref == near.ref or c.values[1].shape[3] == 1)
  end)

  it("takes two values where two are smaller than the one before them", function()
    local x, w, fc = photos(), weight { 16, 3, 3, 3 }, weight({ 16, 2 }, true)
    local map = x:conv2d(w, { padding = 1 })
    local c = cut(x, map:avg_pool2d():matmul(fc):mean() + map:max_pool2d():matmul(fc):mean())
    assert.equal(2, c.n)
    assert.equal(128, c.row)
  end)

  it("keeps a larger value rather than compute 4 million FLOPs behind a smaller one in each step", function()
    local x, small, big, fc = photos(), weight { 1, 3, 8, 8 }, weight { 1, 1000 }, weight({ 1000, 2 }, true)
    local one = x:conv2d(small):reshape { N, 1 }
    local c = cut(x, one:matmul(big):matmul(fc):mean())
    assert.equal(4, c.row)
    local wide = one:matmul(big):matmul(weight { 1000, 1000 }):matmul(weight { 1000, 1000 })
    c = cut(x, wide:matmul(weight({ 1000, 2 }, true)):mean())
    assert.equal(4000, c.row)
  end)

  it("names what stands in its way", function()
    local x, w, fc = photos(), weight { 16, 3, 3, 3 }, weight({ 16, 2 }, true)
    local function why(loss) return (select(2, cut(x, loss))) end
    assert.match("^no part of it follows from the photos alone: conv2d at .-cut_spec.lua:%d+ reads 'w', which is trained$",
      why(x:conv2d(weight({ 2, 3, 3, 3 }, true)):mean()))
    assert.match("^no part of it follows from the photos alone: uniform .* draws new numbers in each step$",
      why((x + frt.rand { N, 3, 8, 8 }):conv2d(w):avg_pool2d():matmul(fc):mean()))
    local state = weight { 1 }
    state:assign(state + 1)
    assert.match("reads w, which changes in each step$", why((x * state):conv2d(w):avg_pool2d():matmul(fc):mean()))
    assert.equal("nothing of the photos reaches the loss", why(fc:sum()))
  end)

  it("is found again in a recording with another number of photos; another weight, number or use is not the same", function()
    local w, fc = weight { 16, 3, 3, 3 }, weight({ 16, 2 }, true)
    local refs = lib.ffi.new "frt_ref[2]"
    local function record(x, factor, more)
      local loss = (x:conv2d(w, { padding = 1 }):flatten(2):reshape { x.shape[1], 16, 64 }:mean(3) * factor):matmul(fc):mean()
      return more and loss + x:mean() * fc:sum() or loss
    end
    local x, other = photos(), photos(3)
    local first = record(x, 2)
    local c = features.cut(x, true, first)
    local function again(loss, batch)
      refs[0] = loss.ref
      return tonumber(C.frt_cut_again(1, refs, batch.ref, c.c))
    end
    assert.equal(0, again(record(other, 2), other))
    assert.same({ 3, 16 }, T.api and require("foodrt.tensor.record").wrap(c.c.value[0]).shape)
    assert.equal(C.FRT_ESTATE, again(record(other, 3), other))
    assert.equal(C.FRT_ESTATE, again(record(other, 2, true), other))
    local before = c.weights
    w:fill_(0.2)
    assert.equal(C.FRT_ESTATE, again(record(other, 2), other))
    local now = features.cut(x, true, record(x, 2))
    assert.equal(c.structure, now.structure)
    assert.is_true(before ~= now.weights)
    w:fill_(0.1)
    now = features.cut(x, true, record(x, 2))
    assert.is_true(before == now.weights)
    assert.equal("what is frozen, or what is made of it, changed within an epoch", lib.ffi.string(C.frt_error_last()))
  end)

  it("a value that is given is not computed, and gradients flow to what comes behind it", function()
    local x, w, fc = photos(), weight { 16, 3, 3, 3 }, weight({ 16, 2 }, true)
    local pooled = x:conv2d(w, { padding = 1 }):avg_pool2d()
    local loss = pooled:matmul(fc):sum()
    lib.check(C.frt_give(pooled.ref, nil))
    local g = frt.grad(loss, { fc })[1]
    assert.equal(0, loss:item())
    assert.equal(0, g:sum():item())
    local ones = lib.ffi.new("float[?]", N * 16)
    for i = 0, N * 16 - 1 do ones[i] = 1 end
    loss = pooled:matmul(fc):sum()
    lib.check(C.frt_give(pooled.ref, ones))
    assert.near(N * 16 * 2 * 0.1, loss:item(), 1e-4)
    assert.same({ 4, 4 }, frt.grad(loss, { fc })[1]:totable()[1])
    assert.is_nil(lib.ffi.string(C.frt_error_last()):match "stale")
  end)
end)
