-- golden: what the specs of whole models share: keys against timm's, logits and gradient norms against PyTorch in float64
-- with weights that follow from the parameters' names (spec/fixtures/fill.lua).
local frt = require "foodrt"
local assert = require "luassert"
local R = require "foodrt.tensor.record"
local device = require "spec.support.device"
local fill = dofile "spec/fixtures/fill.lua"

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

-- one training step on four photos: loss, each gradient's norm within `tolerance` of its own or 1e-4 of the whole (a bias
-- before a batch norm has gradient 0), the whole within 1e-3, and what batch norms hold afterwards
function golden.check_step(name, g, tolerance, loss_tolerance)
  local m = golden.filled(name)
  local labels = {}
  for i, v in ipairs(g.targets) do labels[i] = v + 1 end
  local loss = frt.loss.cross_entropy {}(m(fill.photos(g.photos or "input", 4, g.size)), frt.tensor(labels, { dtype = "i32" }))
  loss:backward()
  local parameters, buffers, square = {}, {}, 0
  for k, t in m:named_parameters() do parameters[k] = t end
  for k, t in m:named_buffers() do buffers[k] = t end
  local outputs = { loss }
  for _, e in ipairs(g.grad_l2) do outputs[#outputs + 1] = parameters[e[1]].grad end
  planned(unpack(outputs))
  assert.near(g.loss, loss:item(), loss_tolerance or 1e-5)
  for _, e in ipairs(g.grad_l2) do
    local l2 = golden.norm(parameters[e[1]].grad)
    square = square + l2 * l2
    assert.near(e[2], l2, tolerance * e[2] + 1e-4 * g.grad_l2_total, e[1])
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
