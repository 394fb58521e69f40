-- optim: three steps against PyTorch's traces (spec/fixtures/optim.lua), groups, clipping, state.
local frt = require "foodrt"
local golden = dofile "spec/fixtures/optim.lua"
local nn, optim = frt.nn, frt.optim

local function parameter()
  return frt.tensor(golden.start.p):requires_grad_()
end

-- a loss whose gradient by p is g
local function with_gradient(p, g)
  return (p * frt.tensor(g)):sum()
end

local function trace(opt, want)
  local p = parameter()
  opt:attach { { params = { p } } }
  for step = 1, 3 do
    opt:zero_grad()
    with_gradient(p, golden.start.g[step]):backward()
    opt:step()
    local got = p:totable()
    for i, v in ipairs(want[step]) do assert.near(v, got[i], 1e-6) end
  end
end

local function model()
  local m = nn.Module {
    backbone = nn.Chain { nn.Linear { 4 }, nn.Linear { 3 } }, fc = nn.Linear { 2 },
    forward = function(self, x) return self.fc(self.backbone(x)) end,
  }
  return m:build { input = { 1, 5 }, seed = 3 }
end

describe("optim", function()
  it("sgd with momentum and weight decay follows PyTorch for 3 steps", function()
    trace(optim.sgd { lr = 0.1, momentum = 0.9, weight_decay = 1e-4 }, golden["opt_sgd_lr.1_m.9_wd1e-4"])
  end)
  it("sgd with nesterov", function()
    trace(optim.sgd { lr = 0.1, momentum = 0.9, weight_decay = 1e-4, nesterov = true }, golden.opt_sgd_nesterov)
  end)
  it("adam adds weight decay to the gradient", function()
    trace(optim.adam { lr = 1e-3, weight_decay = 1e-4 }, golden["opt_adam_lr1e-3_wd1e-4"])
  end)
  it("adamw decouples it", function()
    trace(optim.adamw { lr = 1e-3, weight_decay = 1e-2 }, golden["opt_adamw_lr1e-3_wd1e-2"])
  end)

  it("update with gradients of frt.grad, half the rate and half the gradient, is sgd's step at a quarter", function()
    local p = parameter()
    local opt = optim.sgd { lr = 0.1 }:attach { p }
    local grads = frt.grad(with_gradient(p, golden.start.g[1]), { p })
    opt:update({ p }, grads, { lr_scale = 0.5, gscale = 0.5 })
    frt.realize()
    for i, v in ipairs(p:totable()) do
      assert.near(golden.start.p[i] - 0.025 * golden.start.g[1][i], v, 1e-6)
    end
  end)
  it("a parameter without a gradient stays and does not age", function()
    local p, q = parameter(), parameter()
    local opt = optim.adamw { lr = 0.1 }:attach { p, q }
    with_gradient(p, golden.start.g[1]):backward()
    opt:step()
    assert.near(golden.start.p[1], q:totable()[1], 1e-7)
    local _, info = opt:state_dict()
    assert.same({ ["param.1"] = 1, ["param.2"] = 0 }, info.t)
  end)

  it("clip scales gradients of norm 1.4154 down to 1", function()
    local total, grads, want = golden.clip_norm1.total, {}, golden.clip_norm1.g
    for i, g in ipairs(want) do
      local raw = {}
      for j, v in ipairs(g) do raw[j] = v * (total + 1e-6) end
      grads[i] = frt.tensor(raw)
    end
    local gscale, norm = optim.clip(grads, 1)
    assert.near(total, norm:item(), 1e-6)
    assert.near(1 / (total + 1e-6), gscale:item(), 1e-6)
    assert.near(1, (optim.clip(grads, 100)):item(), 1e-7)
  end)
  it("a gradient that is not finite is an error before anything is written", function()
    local p = parameter()
    local opt = optim.adamw { lr = 1 }:attach { p }
    local grads = frt.grad(with_gradient(p, { 1, 0 / 0, 1, 1, 1, 1 }), { p })
    opt:update({ p }, grads, { gscale = (optim.clip(grads, 1)) })
    local ok, why = pcall(frt.realize)
    assert.is_false(ok)
    assert.truthy(why:find("gradient norm is not finite", 1, true), why)
    require "foodrt.tensor".forget()
    local values = p:totable()
    for i, v in ipairs(golden.start.p) do assert.near(v, values[i], 1e-7) end
  end)

  it("more tensors than one node has outputs for are updated as few are", function()
    for kind, settings in pairs { adamw = { lr = 0.1 }, sgd = { lr = 0.1, momentum = 0.9 } } do
      local few, many, n = {}, {}, kind == "sgd" and 2050 or 1370
      for i = 1, n do
        many[i] = frt.tensor { i }:requires_grad_()
        if i % 500 == 1 then few[#few + 1] = frt.tensor { i }:requires_grad_() end
      end
      for _, list in ipairs { few, many } do
        local opt, grads = optim[kind](settings):attach(list), {}
        for _ = 1, 2 do
          for i, p in ipairs(list) do grads[i] = p * 0.5 end
          opt:update(list, grads, {})
          frt.realize()
        end
      end
      for k, p in ipairs(few) do assert.equal(p:item(), many[1 + 500 * (k - 1)]:item()) end
      assert.is_true(many[n]:item() < n)
    end
  end)

  it("rates by glob: the more particular one counts", function()
    local opt = optim.adamw { lr = { backbone = 1e-5, ["backbone.1"] = 1e-4, ["*"] = 1e-3 }, weight_decay = 0.1 }
    opt:attach(model())
    local seen = {}
    for _, g in ipairs(opt:groups()) do seen[#seen + 1] = ("%g/%g:%d"):format(g.lr, g.weight_decay, g.n) end
    assert.same({ "0.001/0.1:1", "0.001/0:1", "0.0001/0.1:1", "0.0001/0:1", "1e-05/0.1:1", "1e-05/0:1" }, seen)
  end)
  it("adamw spares biases of a model, sgd and given groups do not", function()
    local function decays(opt)
      local list = {}
      for _, g in ipairs(opt:groups()) do list[#list + 1] = g.weight_decay end
      return list
    end
    assert.same({ 0.01, 0 }, decays(optim.adamw {}:attach(model())))
    assert.same({ 0.01 }, decays(optim.adamw { no_decay = "none" }:attach(model())))
    assert.same({ 0.01 }, decays(optim.sgd { weight_decay = 0.01 }:attach(model())))
    assert.same({ 0.01 }, decays(optim.adamw {}:attach { { params = model() } }))
  end)
  it("names a glob that matches nothing and a parameter without a rate", function()
    local function message(fn)
      local _, why = pcall(fn)
      return (why:gsub("^.*optim_spec.lua:%d+: ", ""))
    end
    assert.equal("adamw lr: 'backbon' matches nothing in the model, did you mean 'backbone'?", message(function()
      optim.adamw { lr = { backbon = 1, fc = 1 } }:attach(model())
    end))
    assert.equal("adamw: 'lr' names no rate for 'backbone.0.weight' (\"*\" covers the rest)", message(function()
      optim.adamw { lr = { fc = 1 } }:attach(model())
    end))
    assert.equal("adamw: unknown option 'lrr', did you mean 'lr'?", message(function()
      local o = optim.adamw { lrr = 1 }
      return o
    end))
  end)

  local function train(m, opt, steps)
    local x = frt.tensor { { 1, 2, 3, 4, 5 }, { 5, 4, 3, 2, 1 } }
    for _ = 1, steps do
      opt:zero_grad()
      frt.loss.cross_entropy {}(m(x), frt.tensor({ 1, 2 }, { dtype = "i32" })):backward()
      opt:step()
    end
    return m.fc.weight:totable()
  end

  it("2 steps, saved and loaded, and 2 more are 4 steps", function()
    local a, oa = model(), optim.adamw {}
    local whole = train(a, oa:attach(a), 4)
    local b, ob = model(), optim.adamw {}
    train(b, ob:attach(b), 2)
    local c, oc = model(), optim.adamw {}
    c:load_state_dict((b:state_dict()))
    local tensors, info = ob:state_dict()
    oc:attach(c):load_state_dict(tensors, info)
    assert.same(whole, train(c, oc, 2))
  end)
  it("carry keeps the moments of parameters that stay", function()
    local m = model()
    m:freeze "backbone"
    local head = optim.adamw {}:attach(m)
    train(m, head, 2)
    m:unfreeze()
    local all = optim.adamw {}:attach(m)
    assert.equal(2, optim.carry(head, all))
    train(m, all, 1)
    local _, info = all:state_dict()
    assert.equal(3, info.t["fc.weight"])
    assert.equal(1, info.t["backbone.0.weight"])
  end)
  it("moments outlast a phase in which their parameters rest, saved and loaded too", function()
    local m = model()
    local first = optim.adamw {}:attach(m)
    train(m, first, 3)
    local kept = first:state_dict()["backbone.0.weight.exp_avg"]:totable()
    m:freeze "backbone"
    local head = optim.adamw {}:attach(m)
    optim.carry(first, head)
    train(m, head, 2)
    local tensors, info = head:state_dict()
    assert.equal(3, info.t["backbone.0.weight"])
    local again = optim.adamw {}:attach(m):load_state_dict(tensors, info)
    for _, middle in ipairs { head, again } do
      m:unfreeze()
      local last = optim.adamw {}:attach(m)
      assert.equal(6, optim.carry(middle, last))
      local own, ages = last:state_dict()
      assert.same({ 3, 5 }, { ages.t["backbone.0.weight"], ages.t["fc.weight"] })
      assert.same(kept, own["backbone.0.weight.exp_avg"]:totable())
    end
  end)
end)
