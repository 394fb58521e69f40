-- Batch norm between convolutions in training: what is computed where it is made or read instead of being stored, and
-- that the numbers, gradients and running statistics stay those of the reference.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"
local isas = require "spec.support.isas"
local plans = require "spec.support.plans"

-- Everything a block of c_in -> wide -> c_out channels has; `o` says what it is like.
local function block(o)
  local seed = 0
  local function var(shape, mean)
    seed = seed + 1
    local v = V.variable(shape, seed, mean)
    if mean then return v end
    return v:requires_grad_()
  end
  local p, wide, k = {}, o.wide, o.kernel or 3
  p.x = V.variable({ o.n or 2, o.c_in, o.size, o.size }, 100)
  p.expand, p.deep, p.project = var { wide, o.c_in, 1, 1 }, var { wide, o.dense and wide or 1, k, k }, var { o.c_out, wide, 1, 1 }
  p.squeeze = var { wide, wide, 1, 1 }
  p.gamma, p.beta, p.mean, p.var = {}, {}, {}, {}
  for i, c in ipairs { wide, wide, o.c_out } do
    p.gamma[i], p.beta[i], p.mean[i], p.var[i] = var { c }, var { c }, var({ c }, 0), var({ c }, 2)
  end
  return p
end

-- only: y, not what a step gives
local function run(p, o, only)
  local function norm(y, i)
    return y:batch_norm(p.gamma[i], p.beta[i], p.mean[i], p.var[i], { training = true, momentum = 0.1 })
  end
  local function act(y) return o.act and T.op(o.act, { y }) or y end
  local k, wide = o.kernel or 3, o.wide
  local y = act(norm(p.x:conv2d(p.expand), 1))
  y = act(norm(y:conv2d(p.deep, { padding = (k - 1) / 2, stride = o.stride or 1, groups = o.dense and 1 or wide }), 2))
  if o.gate then y = y * y:mean({ 3, 4 }, { keepdim = true }):conv2d(p.squeeze):sigmoid() end
  y = norm(y:conv2d(p.project), 3)
  if o.residual then y = y + p.x end
  if o.residual == "relu" then y = y:relu() end
  if only then return y end
  local loss = (y * y * y):mean()
  local wrt = { p.expand, p.deep, p.project }
  if o.gate then wrt[4] = p.squeeze end
  for i = 1, 3 do wrt[#wrt + 1], wrt[#wrt + 2] = p.gamma[i], p.beta[i] end
  local out = frt.grad(loss, wrt)
  out[#out + 1] = loss
  for i = 1, 3 do out[#out + 1], out[#out + 2] = p.mean[i], p.var[i] end
  return out
end

local function check(o)
  local function values(backend)
    C.frt_device_use(backend)
    T.forget()
    local out, list = run(block(o), o), {}
    if backend == "cpu" then plans.verify(unpack(out)) end
    frt.realize(unpack(out))
    for i, t in ipairs(out) do list[i] = t:totable() end
    return list, out
  end
  local want = values "reference"
  C.frt_poison(1)
  local _, got = values "cpu"
  C.frt_poison(0)
  for i, t in ipairs(got) do V.same(want[i], t, 2e-5) end
end

local CASES = {
  ["expand, depthwise, project"] = { c_in = 5, wide = 20, c_out = 7, size = 9, act = "silu" },
  ["with a gate and a residual"] = { c_in = 8, wide = 35, c_out = 8, size = 7, act = "silu", gate = true, residual = true },
  ["stride 2, 5x5, relu6"] = { c_in = 16, wide = 24, c_out = 5, size = 12, act = "relu6", stride = 2, kernel = 5 },
  ["in tiles"] = { c_in = 4, wide = 17, c_out = 6, size = 66, n = 1, act = "silu", gate = true },
  ["in tiles, without activation"] = { c_in = 6, wide = 4, c_out = 6, size = 66, n = 1, residual = true },
  ["a bottleneck"] = { c_in = 32, wide = 16, c_out = 32, size = 6, act = "relu", dense = true, residual = "relu" },
  ["a bottleneck in tiles, stride 2"] = { c_in = 8, wide = 18, c_out = 12, size = 30, act = "relu", dense = true, stride = 2 },
  ["an activation the kernels don't know"] = { c_in = 5, wide = 20, c_out = 7, size = 9, act = "tanh", gate = true },
  ["a gate on several photos in tiles, relu"] = { c_in = 6, wide = 24, c_out = 7, size = 20, n = 3, act = "relu", gate = true },
  ["one pixel"] = { c_in = 16, wide = 32, c_out = 16, size = 1, n = 6, act = "silu", gate = true, residual = true },
}

describe("batch norm between convolutions", function()
  after_each(function()
    C.frt_poison(0)
    C.frt_device_use "cpu"
    C.frt_set_isa "auto"
    C.frt_set_threads(0)
    T.forget()
  end)

  for _, isa in ipairs(isas) do
    for name, o in pairs(CASES) do
      it(("on %s: %s"):format(isa, name), function()
        C.frt_set_isa(isa)
        for threads = 1, 3, isa == isas[#isas] and 1 or 2 do
          C.frt_set_threads(threads)
          check(o)
        end
      end)
    end
  end

  it("is not stored: statistics where a map is made, the rest where it is read", function()
    local o = CASES["with a gate and a residual"]
    local out = run(block(o), o)
    assert.are.equal(3, plans.count("fused_conv2d", unpack(out)))
    assert.are.equal(2, plans.count("fused_conv2d_grad_weight", unpack(out)))
    assert.are.equal(1, plans.count("fused_load_sum", unpack(out)))   -- the mean
    assert.are.equal(1, plans.count("fused_gate_sums", unpack(out)))  -- its gate's gradient
    assert.are.equal(1, plans.count("fused_bn_gate_grad", unpack(out)))
    assert.are.equal(1, plans.count("fused_bn_apply", unpack(out)))  -- with the residual
    assert.are.equal(0, plans.count("fused_bn_stats", unpack(out)))
    assert.are.equal(0, plans.count("fused_mul_sum", unpack(out)))
  end)

  it("is stored for a dense 3x3, but not kept for its gradient", function()
    local o = CASES["a bottleneck"]
    local out = run(block(o), o)
    assert.are.equal(2, plans.count("fused_bn_apply", unpack(out)))
    assert.are.equal(2, plans.count("fused_conv2d_grad_weight", unpack(out)))
  end)

  it("is stored where somebody else wants it", function()
    local o = CASES["expand, depthwise, project"]
    local p = block(o)
    local function net()
      local y = p.x:conv2d(p.expand):batch_norm(p.gamma[1], p.beta[1], p.mean[1], p.var[1], { training = true }):silu()
      return { y:conv2d(p.deep, { padding = 1, groups = o.wide }), y }
    end
    assert.are.equal(1, plans.count("fused_bn_apply", unpack(net())))
    T.forget()
    C.frt_device_use "reference"
    p = block(o)
    local want, list = net(), {}
    frt.realize(unpack(want))
    for i, t in ipairs(want) do list[i] = t:totable() end
    C.frt_device_use "cpu"
    p = block(o)
    local got = net()
    frt.realize(unpack(got))
    for i, t in ipairs(got) do V.same(list[i], t, 1e-5) end
  end)

  it("the same bits every time with the same threads", function()
    local o = CASES["in tiles"]
    for threads = 1, 3 do
      C.frt_set_threads(threads)
      local first
      for _ = 1, 3 do
        local out, list = run(block(o), o), {}
        frt.realize(unpack(out))
        for i, t in ipairs(out) do list[i] = t:totable() end
        first = first or list
        assert.are.same(first, list)
        T.forget()
      end
    end
  end)
end)

describe("values computed again", function()
  it("free a third of the peak or are kept; the numbers stay", function()
    local function net(n)
      local w, y = {}, V.variable({ 256, 96 }, 1)
      for i = 1, n do
        w[i] = V.variable({ 96, 96 }, i + 1):requires_grad_()
        y = (y:matmul(w[i]) * 0.1):gelu()
      end
      local out = frt.grad((y * y):mean(), w)
      out[#out + 1] = y:sum()
      return out
    end
    local function again(out)
      local n = 0
      for _, step in ipairs(T.plan(unpack(out))) do n = n + (step.note:find("again", 1, true) and 1 or 0) end
      return n
    end
    C.frt_device_use "reference"
    local want, list = net(12), {}
    frt.realize(unpack(want))
    for i, t in ipairs(want) do list[i] = t:totable() end
    C.frt_device_use "cpu"
    T.forget()
    local got = net(12)
    plans.verify(unpack(got))
    for i, t in ipairs(got) do V.same(list[i], t, 2e-5) end
    T.forget()
    assert.is_true(again(net(12)) > 5)
    T.forget()
    assert.are.equal(0, again(net(2)))
    T.forget()
  end)

  it("within a limit: convolutions too; less memory, the same bits", function()
    local o = { c_in = 16, wide = 48, c_out = 16, size = 24, act = "silu", gate = true, residual = true }
    local function net()
      local p, y = {}, nil
      for i = 1, 6 do
        p[i] = block(o)
        if y then p[i].x = y end
        y = run(p[i], o, true)
      end
      local wrt = {}
      for i = 1, 6 do wrt[i] = p[i].expand end
      local out = frt.grad((y * y):mean(), wrt)
      for i = 1, 6 do out[#out + 1] = p[i].mean[1] end
      return out
    end
    local function values(limit)
      C.frt_set_memory(limit)
      local out, list = net(), {}
      plans.verify(unpack(out))
      local arena = tonumber(plans.info().arena)
      frt.realize(unpack(out))
      for i, t in ipairs(out) do list[i] = t:totable() end
      C.frt_set_memory(0)
      T.forget()
      return list, arena
    end
    local want, all = values(0)
    local before = all
    for _, share in ipairs { 0.9, 0.6, 0 } do
      local got, arena = values(math.floor(all * share) + 1)
      assert.are.same(want, got)
      assert.is_true(arena <= before)
      before = arena
    end
    assert.is_true(before < 0.6 * all, ("%.0f of %.0f"):format(before, all))
  end)
end)
