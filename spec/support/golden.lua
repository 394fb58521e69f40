-- golden: what the specs of whole models share: keys against timm's, logits and gradients against PyTorch in float64
-- with weights that follow from the parameters' names (spec/fixtures/fill.lua).
local frt = require "foodrt"
local assert = require "luassert"
local R = require "foodrt.tensor.record"
local device = require "spec.support.device"
local fill = dofile "spec/fixtures/fill.lua"

local gradients = dofile "spec/fixtures/gradients.lua"
for name, list in pairs(dofile "spec/fixtures/gradients_more.lua") do gradients[name] = list end

local golden = { fill = fill }

function golden.numbers(t)
  local buf, _, n = R.read(t)
  return buf, n
end

function golden.norm(t)
  local buf, n = golden.numbers(t)
  local s = 0
  for i = 0, n - 1 do s = s + buf[i] * buf[i] end
  return math.sqrt(s)
end

-- a model without its own initial values, filled by the rule
function golden.filled(name, options)
  local m = frt.models[name](options or {}):build { values = false }
  fill.model(m)
  return m
end

-- every step of the plan has a kernel of the backend; on the CPU, that is: another may lean on the reference
local function planned(...)
  if device.name ~= "cpu" then return end
  local p = R.plan(...)
  for _, s in ipairs(p) do
    assert.is_false(s.reference, ("%s %s %s is run by the reference"):format(s.op, s.shapes, s.scope))
  end
end
golden.planned = planned

-- logits: the first ones of each photo within `tolerance` of the largest, their norm within 2e-4 (or tolerance, if larger)
function golden.check_logits(y, want, l2, tolerance)
  planned(y)
  local got, n = golden.numbers(y)
  local classes, largest, worst, square = y.shape[#y.shape], 0, 0, 0
  for i, row in ipairs(want) do
    for j, v in ipairs(row) do
      largest = math.max(largest, math.abs(v))
      worst = math.max(worst, math.abs(got[(i - 1) * classes + j - 1] - v))
    end
  end
  for i = 0, n - 1 do square = square + got[i] * got[i] end
  assert.is_true(worst / largest < tolerance, ("worst %g of %g"):format(worst, largest))
  assert.near(1, math.sqrt(square) / l2, math.max(2e-4, tolerance / 4))
  return worst / largest
end

-- a training pass with batch-norm momentum 1, then evaluation of other photos with the statistics it left; without batch norm
-- evaluation alone
function golden.check_modes(name, g, tolerance, options)
  local m = golden.filled(name, options)
  if g.train then
    m:apply(function(part)
      if part.kind == "BatchNorm2d" then part.momentum = 1 end
    end)
    golden.check_logits(m(fill.photos("input", 3, g.size, g.channels)), g.train, g.train_l2, tolerance)
  end
  m:eval()
  golden.check_logits(m(fill.photos(g.train and "input2" or "input", 2, g.size, g.channels)), g.eval, g.eval_l2, tolerance)
end

-- norm and 4 signed projections of the numbers x[0 .. n-1] that belong to `name`: the rule is in spec/fixtures/gradients.lua.
-- A norm doesn't see a flipped sign, a permuted kernel or another channel's gradient; projections do.
function golden.project(name, x, n)
  local square, p = 0, { 0, 0, 0, 0 }
  local p1, p2, p3, p4 = 0, 0, 0, 0
  fill.each(name .. "#signs", n, function(i, bits)
    local v = x[i]
    square = square + v * v
    p1 = p1 + (bits < 8 and v or -v)
    p2 = p2 + (bits % 8 < 4 and v or -v)
    p3 = p3 + (bits % 4 < 2 and v or -v)
    p4 = p4 + (bits % 2 < 1 and v or -v)
  end)
  p[1], p[2], p[3], p[4] = p1, p2, p3, p4
  return math.sqrt(square), p
end

-- One gradient beside { name, norm, 4 projections }: the norm within `tolerance` of its own or 1e-4 of `total`, each
-- projection within `signed` of the norm or 2e-6 of `total`. A difference d between the two moves a projection by |d| in the
-- root of its mean square, a norm only by what lies along the gradient: so fp32 needs more room here.
function golden.check_gradient(want, x, n, total, tolerance, signed)
  local name, l2 = want[1], want[2]
  local got, p = golden.project(name, x, n)
  assert.near(l2, got, tolerance * l2 + 1e-4 * total, name)
  for k = 1, 4 do
    local off = math.abs(p[k] - want[2 + k])
    assert.is_true(off <= signed * l2 + 2e-6 * total,
      ("%s: projection %d is %.7g, should be %.7g (%.3g of the norm)"):format(name, k, p[k], want[2 + k], off / l2))
  end
  return got
end

-- one training step on four photos: loss, every gradient, their whole norm within 1e-3, and what batch norms hold afterwards.
-- tolerance { norms, projections [, loss] }
function golden.check_step(name, g, tolerance)
  local m = golden.filled(name)
  local labels = {}
  for i, v in ipairs(g.targets) do labels[i] = v + 1 end
  local loss = frt.loss.cross_entropy {}(m(fill.photos(g.photos or "input", 4, g.size)), frt.tensor(labels, { dtype = "i32" }))
  loss:backward()
  local parameters, buffers, square, want, count = {}, {}, 0, gradients[name], 0
  for k, t in m:named_parameters() do
    parameters[k], count = t, count + 1
  end
  for k, t in m:named_buffers() do buffers[k] = t end
  assert.equal(#want, count)
  local outputs = { loss }
  for _, e in ipairs(want) do outputs[#outputs + 1] = parameters[e[1]].grad end
  planned(unpack(outputs))
  assert.near(g.loss, loss:item(), tolerance[3] or 1e-5)
  for _, e in ipairs(want) do
    local x, n = golden.numbers(parameters[e[1]].grad)
    local l2 = golden.check_gradient(e, x, n, g.grad_l2_total, tolerance[1], tolerance[2])
    square = square + l2 * l2
  end
  assert.near(1, math.sqrt(square) / g.grad_l2_total, 1e-3)
  for _, e in ipairs(g.bn_after or {}) do assert.near(1, golden.norm(buffers[e[1]]) / e[2], 1e-5, e[1]) end
end

-- "key shape" of every entry of the state dict, a line each, and how many there are
function golden.key_text(model)
  local dict, order = model:state_dict()
  local lines = {}
  for i, name in ipairs(order) do lines[i] = name .. " " .. table.concat(dict[name].shape, ",") .. "\n" end
  return table.concat(lines), #order
end

-- the state dict of `name` has timm's keys and shapes, in timm's order
function golden.check_keys(name, want)
  local m = frt.models[name] {}:build { values = false }
  local text, n = golden.key_text(m)
  assert.equal(want.n, n)
  assert.equal(want.hash, ("%016x"):format(fill.fnv1a64(text)))
  return m
end

return golden
