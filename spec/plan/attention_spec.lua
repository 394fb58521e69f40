-- Attention as one step each way: which graphs become one, that others run as their pieces and why, and what it keeps.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local lib = require "foodrt.core.ffi"
local C, V, plans, attend = lib.C, require "spec.support.values", require "spec.support.plans", require "spec.support.attend"
local nn = frt.nn

-- fn() gives a list of tensors: the same on both backends, and the CPU's plan verified. Returns its steps by name.
local function check(fn)
  C.frt_poison(1)
  C.frt_device_use "reference"
  local want, values, count = fn(), {}, {}
  frt.realize(unpack(want))
  for i, t in ipairs(want) do values[i] = t:totable() end
  C.frt_device_use "cpu"
  local got = fn()
  plans.verify(unpack(got))
  for _, op in ipairs(plans.steps(unpack(got))) do count[op] = (count[op] or 0) + 1 end
  frt.realize(unpack(got))
  C.frt_poison(0)
  for i, t in ipairs(got) do V.same(values[i], t, 1e-5) end
  return count
end

local x, u = V.variable({ 2, 11, 3 * 12 }, 1, 0, 1.5):requires_grad_(), V.variable({ 2, 11, 12 }, 2, 0, 1)

-- attention of x in 3 heads, and the gradient of a loss by x
local function both(o, more)
  local q, k, v = attend.parts(x * 1.5, 3)
  local y = attend.all(q, k, v, o)
  local loss = (y * u):sum()
  return { frt.grad(more and loss + more or loss, { x })[1], y }
end

-- why attention is not one step: "why by"
local function missed(...)
  local list = {}
  for _, m in ipairs(T.plan(...).missed) do
    if m.what == "attention in one pass" then list[#list + 1] = m.op .. ": " .. m.why .. (m.by ~= "" and " " .. m.by or "") end
  end
  return list
end

describe("attention in one pass", function()
  after_each(function()
    C.frt_poison(0)
    C.frt_device_use "cpu"
    C.frt_set_memory(0)
    T.forget()
  end)

  it("reads queries, keys and values where they lie and writes where its readers want it", function()
    local count = check(function() return both() end)
    assert.same({ 1, 1 }, { count.fused_attention, count.fused_attention_grad })
    for _, op in ipairs { "matmul", "softmax", "softmax_grad", "permute", "narrow", "cat", "pad" } do assert.is_nil(count[op], op) end
    assert.same({}, missed(unpack(both())))
    assert.equal("scale, q k', softmax, v", T.plan(both()[2])[2].note)
  end)

  it("without a gradient, without a scale, with a tensor as scale", function()
    assert.equal(1, check(function() return { both()[2] } end).fused_attention)
    assert.equal(1, check(function() return both { scale = false } end).fused_attention_grad)
    assert.equal(1, check(function() return both { scale = V.variable({ 1 }, 3, 0.5, 0) } end).fused_attention_grad)
  end)

  it("of three maps, with fewer queries than keys, of stacks of matrices", function()
    local a, b, c = V.variable({ 2, 5, 12 }, 3, 0, 1), V.variable({ 2, 9, 12 }, 4, 0, 1), V.variable({ 2, 9, 12 }, 5, 0, 1)
    for _, t in ipairs { a, b, c } do t:requires_grad_() end
    local count = check(function()
      local y = attend.all(attend.split(a * 2, 3), attend.split(b * 2, 3), attend.split(c * 2, 3))
      local out = frt.grad((y * y):sum(), { a, b, c })
      out[4] = y
      return out
    end)
    assert.same({ 1, 1 }, { count.fused_attention, count.fused_attention_grad })
    assert.is_nil(count.permute)
    count = check(function()
      local w = attend.times_transposed(a:tanh(), b:tanh()):softmax(3)
      local y = w:matmul(c:tanh())
      return frt.grad((y * y):sum(), { a, b, c })
    end)
    assert.equal(1, count.fused_attention_grad)
  end)

  it("of keys that are values, of queries that are keys, of layers that share keys", function()
    local q, k = V.variable({ 2, 3, 5, 4 }, 3, 0, 1):requires_grad_(), V.variable({ 2, 3, 7, 4 }, 4, 0, 1):requires_grad_()
    for _, pair in ipairs { { q, k, k }, { k, k, k }, { k, k, k, { scale = false } } } do
      check(function()
        local y = attend.all(pair[1]:tanh(), pair[2]:tanh(), pair[3]:tanh(), pair[4])
        return frt.grad((y * y):sum(), { q, k })
      end)
    end
    local count = check(function()
      local keys, again = k:tanh(), k:sin()
      local y = attend.all(q, keys, again) + attend.all(q * 3, keys, again * 2)
      return frt.grad((y * y):sum(), { q, k })
    end)
    assert.same({ 2, 2 }, { count.fused_attention, count.fused_attention_grad })
  end)

  it("however it is written: with transposed keys, in a layout of one's own", function()
    local q, k = V.variable({ 2, 3, 5, 4 }, 3, 0, 1):requires_grad_(), V.variable({ 2, 3, 7, 4 }, 4, 0, 1):requires_grad_()
    local count = check(function()
      local y = ((q:tanh() * 0.5):matmul(k:sin():transpose(3, 4))):softmax(4):matmul(k:cos())
      return frt.grad((y * y):sum(), { q, k })
    end)
    assert.same({ 1, 1 }, { count.fused_attention, count.fused_attention_grad })
    assert.is_nil(count.permute)
    local function own(columns)
      local parts = (x * 0.7):reshape({ 2, 11, 3, 4, 3 })  -- heads within parts, and numbers before heads
      local function part(i, ...) return parts:select(3, i):permute(...) end
      local keys = columns and part(2, 1, 4, 3, 2) or part(2, 1, 4, 2, 3):transpose(3, 4)
      local y = part(1, 1, 4, 2, 3):matmul(keys):softmax(-1):matmul(part(3, 1, 4, 2, 3))
      return { frt.grad((y * y):sum(), { x })[1], y }
    end
    count = check(own)
    assert.same({ 1, 1 }, { count.fused_attention, count.fused_attention_grad })
    assert.is_nil(check(function() return own(true) end).fused_attention)
    assert.same({ "softmax: its keys lie column by column matmul" }, missed(unpack(own(true))))
  end)

  it("of maps that are not rows of numbers", function()
    local map = V.variable({ 2, 12, 3, 5 }, 3, 0, 1):requires_grad_()
    local w = V.variable({ 12, 12, 1, 1 }, 4, 0, 1)
    local count = check(function()
      local tokens = map:conv2d(w):reshape({ 2, 12, 15 }):transpose(2, 3)
      local y = attend.all(attend.split(tokens, 2), attend.split(tokens, 2), attend.split(tokens * 2, 2))
      return { frt.grad((y * y):sum(), { map })[1], y }
    end)
    assert.equal(1, count.fused_attention_grad)
  end)

  it("is not one where something stands in between, and says what", function()
    local mask, seen = V.variable({ 11, 11 }, 5, 0, 1), nil
    for _, case in ipairs {
      { { weights = function(w) return w * mask end }, "softmax: its value is also read mul" },  -- dropout
      { { scores = function(s) return s + mask end }, "softmax: its scores are changed add" },
      { { scores = function(s) return s * 0.5 end }, "softmax: its scores are changed mul" },
      { { weights = function(w) seen = w; return w end, tap = true }, "softmax: its weights are also read sum" },
      { { scores = function(s) seen = s; return s end, tap = true }, "softmax: its value is also read sum" },
    } do
      local o, why = case[1], case[2]
      local function run()
        local out = both(o)
        if o.tap then out[3] = seen:sum { 4 } end
        return out
      end
      assert.is_nil(check(run).fused_attention, why)
      assert.same({ why }, missed(unpack(run())))
    end
    -- the weights themselves asked for; a gradient that needs them; one of the three gradients alone
    local out = both { weights = function(w) seen = w; return w end }
    assert.same({ "softmax: its weights are an output" }, missed(out[1], out[2], seen))
    local trained = V.variable({ 1 }, 3, 0.5, 0):requires_grad_()
    local q, k, v = attend.parts(x * 1.5, 3)
    local y = attend.all(q, k, v, { scale = trained })
    assert.equal(1, plans.count("fused_attention", y))
    local out3 = frt.grad((y * u):sum(), { trained, x })
    assert.same({ "softmax: its gradient is not the usual one softmax_grad" }, missed(out3[1], out3[2], y))
  end)

  it("is not one where its scores are no product of as many matrices, and says nothing of other softmaxes", function()
    local logits = u:linear(V.variable({ 7, 12 }, 4, 0, 1)):softmax(-1)
    assert.same({}, missed(logits))
    assert.same({}, missed(logits:matmul(V.variable({ 2, 7, 4 }, 5, 0, 1))))
  end)

  it("keeps two numbers less than it keeps weights: the arena of a layer's step", function()
    local function arena(o)
      local layer = nn.MultiheadAttention { 4 }
      layer:build { input = { 4, 100, 64 }, seed = 1 }
      layer.forward = o and function(self, t)
        local q, k, v = attend.parts(self.qkv(t), 4)
        return (self.proj(attend.all(q, k, v, o)))
      end or layer.forward
      local t = V.variable({ 4, 100, 64 }, 1, 0, 1)
      local y = layer(layer(t))
      return T.plan(unpack(frt.grad((y * y):sum(), { layer.qkv.weight, layer.proj.weight }))).arena
    end
    local weights = 4 * 4 * 4 * 100 * 100
    assert.is_true(arena() < arena { weights = function(w) return w:relu() end } - 2 * weights)
  end)

  it("is computed again to fit a limit, and in stages, with the same bits", function()
    local function plain(self, t)
      local q = self.q(t)
      local y = attend.times_transposed(q, t):softmax(3):matmul(t)
      return t + y * y
    end
    local function whole(self, t) return t + self.attn(t) end
    local function step(make, limit, checkpoint)
      C.frt_set_memory(limit or 0)
      local body = {}
      for i = 1, 4 do
        body[i] = make()
      end
      local m = nn.Chain { nn.Chain(body), checkpoint = checkpoint }
      m:build { input = { 4, 65, 64 }, seed = 1 }
      m:train()
      local y, list = m(V.variable({ 4, 65, 64 }, 1, 0, 1)), {}
      for _, p in m:named_parameters() do list[#list + 1] = p end
      local out = frt.grad((y * y):mean(), list)
      plans.verify(unpack(out))
      local p, values = T.plan(unpack(out)), {}
      frt.realize(unpack(out))
      for i, t in ipairs(out) do values[i] = t:totable() end
      C.frt_set_memory(0)
      return values, p
    end
    local function again(p)
      for _, s in ipairs(p) do
        if s.op == "fused_attention" and s.note:find "again" then return true end
      end
    end
    local function simple() return nn.Module { q = nn.Linear { 64 }, forward = plain } end
    local want, plan = step(simple)
    local limited, less = step(simple, math.floor(plan.arena * 0.3))
    assert.is_true(less.arena < plan.arena and again(less))
    assert.same(want, limited)
    local function heads() return nn.Module { attn = nn.MultiheadAttention { 2 }, forward = whole } end
    want = step(heads)
    local staged, stages = step(heads, nil, true)
    assert.is_true(again(stages))
    assert.same(want, staged)
  end)

  it("counts its products", function()
    local p = T.plan(unpack(both()))
    local flops = {}
    for _, s in ipairs(p) do flops[s.op] = s.flops end
    local one = 2 * 2 * 3 * 11 * 11 * 4
    assert.same({ 2 * one, 5 * one }, { flops.fused_attention, flops.fused_attention_grad })
  end)
end)
