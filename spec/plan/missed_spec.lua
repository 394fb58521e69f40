-- Why an op was not fused: each reason where it holds, with the op that stood in the way and the lines of both; none where
-- the fusion came about.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local C = require("foodrt.core.ffi").C
local process = require "spec.support.process"
local V = require "spec.support.values"

local function variable(shape, value)
  local n = 1
  for _, d in ipairs(shape) do n = n * d end
  local data = {}
  for i = 1, n do data[i] = value or i % 7 / 7 end
  return T.var { shape = shape, data = data }
end

local function weights(...) return (variable { ... }:requires_grad_()) end

local function norm(y, training)
  local c = y.shape[2]
  return y:batch_norm(variable { c }, variable { c }, variable({ c }, 0), variable({ c }, 1), { training = training })
end

-- "op: what: why by" of everything missed in the plan of these
local function missed(...)
  local out = {}
  local p = T.plan(...)
  C.frt_forget_pending()
  for i, m in ipairs(p.missed) do out[i] = ("%s: %s: %s %s"):format(m.op, m.what, m.why, m.by) end
  return out, p.missed
end

describe("what was not fused", function()
  local x = variable { 2, 16, 12, 12 }
  after_each(T.forget)

  it("is nothing where all was", function()
    assert.same({}, (missed(x:conv2d(weights(8, 16, 3, 3)):silu())))
    assert.same({}, (missed(norm(x:conv2d(weights(8, 16, 3, 3)), false):silu())))
    assert.same({}, (missed((x * 2 + 1):exp())))
  end)

  it("is an activation whose convolution's value is also read, or asked for", function()
    local y = x:conv2d(weights(8, 16, 1, 1))
    local list, all = missed(y:relu() + y)
    assert.same({ "conv2d: activation in its pass: its value is also read add" }, list)
    assert.matches("missed_spec.lua:%d+$", all[1].line)
    assert.matches("missed_spec.lua:%d+$", all[1].by_line)
    assert.same({ "conv2d: activation in its pass: its value is an output " }, (missed(y:relu(), y)))
  end)

  it("is batch norm at evaluation, where the map before it is also read", function()
    local y = x:conv2d(weights(8, 16, 1, 1))
    assert.same({ "conv2d: batch norm in its weights: its value is also read mul" }, (missed(norm(y, false), y * 2)))
  end)

  it("is batch norm in training: where its reader can't, its map is made by no convolution, its value is wanted", function()
    local y = norm(x:conv2d(weights(16, 16, 1, 1)), true)
    assert.same({ "bn_apply: batch norm in its readers' loads: this reader computes nothing as it loads tanh" }, (missed(y:tanh())))
    local silu = y:silu()
    assert.same({ "bn_apply: batch norm in its readers' loads: the kernel of this reader can't conv2d" },
      (missed(silu:conv2d(weights(8, 16, 3, 3)))))
    assert.same({ "bn_apply: batch norm in its readers' loads: its value is an output " },
      (missed(silu:conv2d(weights(8, 16, 1, 1)), silu)))
    assert.same({ "bn_stats: statistics where the map is made: no convolution makes it exp" },
      (missed(norm(x:exp(), true):conv2d(weights(8, 16, 1, 1)))))
    assert.same({ "bn_stats: statistics where the map is made: the kernel of this convolution can't conv2d" },
      (missed(norm(x:conv2d(weights(8, 16, 3, 3)), true):conv2d(weights(8, 8, 1, 1)))))
    assert.same({ "batch_norm_train: activation in its pass: its value is also read mul",
      "bn_apply: batch norm in its readers' loads: this reader computes nothing as it loads silu" },
      (missed(y:silu(), y * 2)))
  end)

  it("is a residual of another shape, or one whose batch norm is also read", function()
    local y = norm(x:conv2d(weights(16, 16, 1, 1)), true)
    assert.same({ "bn_apply: residual in its pass: what is added has another shape add" }, (missed(y + variable { 16, 1, 1 })))
    local list = missed(y + x, y:conv2d(weights(8, 16, 1, 1)))
    assert.same("bn_apply: residual in its pass: its value is also read conv2d", list[#list])
  end)

  it("is a chain that would be too long, or whose values are needed before it could run", function()
    local y = x
    for _ = 1, 30 do y = y:exp() end
    assert.same({ "exp: one chain with what it reads: a chain has at most 24 ops " }, (missed(y)))
    local a = x:exp()
    local b = a + a:conv2d(weights(16, 16, 1, 1))
    assert.same({ "add: one chain with what it reads: that is also read before conv2d" }, (missed(b)))
  end)

  it("is printed by frt.explain(t, { fused = true })", function()
    local y = x:conv2d(weights(8, 16, 1, 1))
    local lines, real = {}, print
    _G.print = function(line) lines[#lines + 1] = line end
    local ok, p = pcall(frt.explain, y:relu() + y:exp(), { fused = true })
    _G.print = real
    assert.is_true(ok, p)
    assert.matches("^fused\n  1  elementwise  relu exp add\nnot fused\n  1  conv2d  activation in its pass  its value is also read, "
      .. "by exp  .*missed_spec.lua:%d+$", lines[1])
    assert.is_true(p.n_steps >= 2)
    assert.are.equal("explain: unknown option 'fusd', did you mean 'fused'?", V.why(frt.explain, y, { fusd = true }))
  end)

  it("keeps its lines in a profile, when the nodes of what ran are gone", function()
    local real = print
    _G.print = function() end
    local p = frt.profile(function()
      local y = x:conv2d(weights(8, 16, 1, 1))
      frt.realize(y:relu() + y)
      T.forget()
      T.collect()
    end)
    _G.print = real
    assert.equal("conv2d", p.missed[1].op)
    assert.matches("missed_spec.lua:%d+$", p.missed[1].line)
    assert.matches("missed_spec.lua:%d+$", p.missed[1].by_line)
  end)

  it("is printed for each phase by foodrt explain --fused, with the recipe's line, and listed by --json", function()
    local dir = process.temp_dir()
    process.write(dir .. "/r.lua", [[
local frt = require "foodrt"
local nn = frt.nn
return { name = "r", seed = 1,
  model = nn.Module { a = nn.Conv2d { 8, 1 }, fc = nn.Linear { "classes" }, forward = function(self, x)
    local y = self.a(x)
    return self.fc((y:relu() + y):avg_pool2d())
  end },
  loss = frt.loss.cross_entropy {}, data = frt.data.folder { "nowhere", size = 32, batch = 4 },
  phases = { frt.phase { "all", epochs = 1, optim = frt.optim.sgd { lr = 1 } } } }
]])
    local status, out = process.foodrt({ "explain", "r.lua", "--fused" }, { dir = dir })
    assert.equal(0, status)
    assert.matches("training step of phase 'all'\nfused\n", out)
    assert.matches("\n  1  conv2d +activation in its pass +its value is also read, by [%w_]+ +a +r.lua:5", out)
    local _, text = process.foodrt({ "explain", "r.lua", "--fused", "--json" }, { dir = dir })
    local missed_one = assert(require("foodrt.core.json").decode(text)).phases[1].missed[1]
    assert.same({ "conv2d", "activation in its pass", "r.lua:5", "a" },
      { missed_one.op, missed_one.what, missed_one.line, missed_one.where[1] })
    process.remove(dir)
  end)
end)
