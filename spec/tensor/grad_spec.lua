--- gradients from Lua: backward, accumulation, frt.grad, detach and no_grad.
local frt = require "foodrt"
local V = require "spec.support.values"
local same, why = V.same, V.why

describe("gradients", function()
  it("backward fills grad of what requires it", function()
    local w = frt.tensor({ { 1, 2 }, { 3, 4 } }):requires_grad_()
    local x = frt.tensor { { 1, 1 } }
    local loss = (x:matmul(w) ^ 2):sum()
    loss:backward()
    same({ { 8, 12 }, { 8, 12 } }, w.grad)
    assert.are.equal(52, loss:item())
    assert.is_nil(x.grad)
    assert.is_true(w.requires_grad)
    assert.is_false(x.requires_grad)
  end)

  it("accumulates until it is cleared, in the same variable", function()
    local w = frt.tensor({ 1, 2 }):requires_grad_()
    for _ = 1, 3 do (w * w):sum():backward() end
    same({ 6, 12 }, w.grad)
    local first = w.grad
    w.grad = nil
    assert.is_nil(w.grad);
    (w * 3):sum():backward()
    same({ 3, 3 }, w.grad)
    assert.is_true(w.grad == first)
  end)

  it("frt.grad gives a list and zeros where there is no dependence", function()
    local a, b = frt.tensor { 2, 3 }, frt.tensor { 1, 1 }
    local g = frt.grad((a ^ 3):sum(), { a, b })
    same({ 12, 27 }, g[1], 1e-6)
    same({ 0, 0 }, g[2])
  end)

  it("second derivatives", function()
    local a = frt.tensor { 2 }
    local g = frt.grad((a * a * a):sum(), { a })[1]
    same({ 12 }, frt.grad(g:sum(), { a })[1])
  end)

  it("detach and no_grad stop the gradient", function()
    local a = frt.tensor({ 3 }):requires_grad_();
    (a * a:detach()):sum():backward()
    same({ 3 }, a.grad)
    a.grad = nil
    local y = frt.no_grad(function() return a * 2 end);
    (a * y):sum():backward()
    same({ 6 }, a.grad)
    local p, q = frt.no_grad(function() return 1, { a * 2 } end)
    assert.are.equal(1, p)
    same({ 6 }, q[1])
  end)

  it("requires_grad_ makes a variable of a computed tensor", function()
    local w = frt.zeros({ 2 }):requires_grad_();
    (w + 1):sum():backward()
    same({ 1, 1 }, w.grad)
    w:requires_grad_(false)
    assert.are.equal("backward: the loss depends on no tensor that requires a gradient",
      why(function() (w + 1):sum():backward() end))
  end)

  it("a step of gradient descent by assign", function()
    local w, x, y = frt.tensor({ 0 }):requires_grad_(), frt.tensor { 1, 2, 3 }, frt.tensor { 2, 4, 6 }
    for _ = 1, 50 do
      local loss = ((x * w - y) ^ 2):mean()
      w.grad = nil
      loss:backward()
      w:assign(w - w.grad * 0.1)
      loss:item()
    end
    same({ 2 }, w, 1e-5)
  end)

  it("where a value is chosen, the gradient goes there", function()
    local a = frt.tensor({ 1, 5, 3 }):requires_grad_()
    a:clamp(2, 4):sum():backward()
    same({ 0, 0, 1 }, a.grad)
    a.grad = nil
    a:max():backward()
    same({ 0, 1, 0 }, a.grad)
  end)

  it("says what can't be differentiated", function()
    local w = frt.tensor({ 1, 2 }):requires_grad_()
    assert.are.equal("backward: the loss must be one number, got [2]", why(function() (w * 2):backward() end))
    assert.are.equal("requires_grad: needs a float tensor, got i32",
      why(function() frt.tensor({ 1 }, { dtype = "i32" }):requires_grad_() end))
    assert.are.equal("grad: needs a list of tensors, got nil", why(function() frt.grad(w:sum()) end))
    assert.are.equal("'requires_grad' is set by t:requires_grad_(true or false)", why(function() w.requires_grad = true end))
  end)
end)
