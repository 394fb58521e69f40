-- class weights by name and by position: what a loss makes of them once it knows its classes.
local frt = require "foodrt"
local task = require "foodrt.train.task"
local why = require("spec.support.values").why
local loss = frt.loss

local logits = frt.tensor { { 2, 0, 1 }, { 0, 1, 0 }, { 0, 0, 3 } }
local labels = frt.tensor({ 1, 3, 2 }, { dtype = "i32" })

local function bound(l, classes)
  task.bind(task.alone(l, { "top1" }), { { name = "class", classes = classes } })
  return l
end

describe("class weights by name", function()
  it("are those by position in the order of the data's classes", function()
    local classes = { "1", "10", "2" }
    local named = bound(loss.cross_entropy { weight = { ["1"] = 1, ["2"] = 2, ["10"] = 10 } }, classes)
    assert.equal(loss.cross_entropy({ weight = { 1, 10, 2 } })(logits, labels):item(), named(logits, labels):item())
    local alpha = bound(loss.focal { gamma = 1, alpha = { ["10"] = 0.5, ["*"] = 0.25 } }, classes)
    assert.equal(loss.focal({ gamma = 1, alpha = { 0.25, 0.5, 0.25 } })(logits, labels):item(), alpha(logits, labels):item())
  end)

  it("follow when the classes change", function()
    local l = bound(loss.cross_entropy { weight = { a = 1, b = 5, c = 2 } }, { "a", "b", "c" })
    local first = l(logits, labels):item()
    assert.is_false(first == bound(l, { "c", "b", "a" })(logits, labels):item())
    assert.equal(first, bound(l, { "a", "b", "c" })(logits, labels):item())
  end)

  it("name every class, and nothing else", function()
    local classes = { "pizza", "ramen" }
    assert.equal("cross_entropy: 'weight' has no number for class 'ramen' ([\"*\"] covers the rest)",
      why(bound, loss.cross_entropy { weight = { pizza = 2 } }, classes))
    assert.equal("cross_entropy: 'weight' has a number for 'piza', which is no class, did you mean 'pizza'?",
      why(bound, loss.cross_entropy { weight = { piza = 2, ["*"] = 1 } }, classes))
    assert.equal("focal: 'alpha' goes by name: loss:name_classes { \"pizza\", … } says their order",
      why(loss.focal { alpha = { pizza = 2, ["*"] = 1 } }, logits, labels))
    assert.equal("cross_entropy: 'weight' must hold numbers from 0, got number (-2) at pizza",
      why(loss.cross_entropy, { weight = { pizza = -2 } }))
  end)
end)

describe("class weights by position", function()
  it("are noted where classes don't come in the order people count in", function()
    local l = loss.cross_entropy { weight = { 1, 2, 3 } }
    assert.equal("'weight' is by position, and class 2 is '10', class 3 '2' (names are sorted as text): weight = { [\"2\"] = … } "
      .. "goes by name", l:order_note { "1", "10", "2" })
    assert.is_nil(l:order_note { "1", "2", "10" })
    assert.is_nil(l:order_note { "ant", "bee", "cat" })
    assert.is_nil(loss.cross_entropy({ weight = { ["*"] = 1 } }):order_note { "1", "10", "2" })
    assert.is_nil(loss.focal({}):order_note { "1", "10", "2" })
  end)
end)
