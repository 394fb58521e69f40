--- matrix products, convolution, pooling and norms through the tensor API, against literal values.
local frt = require "foodrt"
local V = require "spec.support.values"
local same, why = V.same, V.why

describe("layer methods", function()
  local map = frt.arange(16):reshape { 1, 1, 4, 4 }

  it("matmul by matrices, batches and vectors", function()
    local a, b = frt.tensor { { 1, 2 }, { 3, 4 } }, frt.tensor { { 5, 6 }, { 7, 8 } }
    same({ { 19, 22 }, { 43, 50 } }, a:matmul(b))
    same({ 17, 39 }, a:matmul(frt.tensor { 5, 6 }))
    same({ 23, 34 }, frt.tensor({ 5, 6 }):matmul(a))
    assert.are.equal(17, frt.tensor({ 1, 2 }):matmul(frt.tensor { 5, 6 }):item())
    local batch = frt.stack { a, b }
    same({ { { 19, 22 }, { 43, 50 } }, { { 67, 78 }, { 91, 106 } } }, batch:matmul(b))
  end)

  it("linear is x w^T + b, over any leading dimensions", function()
    local x, w, b = frt.tensor { { 1, 2 } }, frt.tensor { { 1, 0 }, { 0, 1 }, { 1, 1 } }, frt.tensor { 10, 20, 30 }
    same({ { 11, 22, 33 } }, x:linear(w, b))
    same({ { 1, 2, 3 } }, x:linear(w))
    assert.are.same({ 4, 5, 3 }, frt.zeros({ 4, 5, 2 }):linear(w, b).shape)
    same({ 1, 2, 3 }, frt.tensor({ 1, 2 }):linear(w))
  end)

  it("conv2d with a box kernel, stride, padding and bias", function()
    local w = frt.ones { 1, 1, 2, 2 }
    same({ { { { 10, 14, 18 }, { 26, 30, 34 }, { 42, 46, 50 } } } }, map:conv2d(w))
    same({ { { { 10, 18 }, { 42, 50 } } } }, map:conv2d(w, { stride = 2 }))
    same({ { { { 11, 19 }, { 43, 51 } } } }, map:conv2d(w, frt.tensor { 1 }, { stride = 2 }))
    assert.are.same({ 1, 1, 5, 5 }, map:conv2d(w, { padding = 1 }).shape)
    assert.are.same({ 1, 1, 3, 7 }, map:conv2d(w, { padding = { 0, 2 } }).shape)
    assert.are.same({ 1, 1, 4, 4 }, map:conv2d(w, { padding = { 0, 0, 1, 1 } }).shape)
    assert.are.same({ 1, 1, 2, 2 }, map:conv2d(w, { dilation = 2 }).shape)
  end)

  it("padding 'same' puts the odd pixel at the bottom and right", function()
    local w = frt.ones { 1, 1, 2, 2 }
    same({ { { { 10, 14, 18, 10 }, { 26, 30, 34, 18 }, { 42, 46, 50, 26 }, { 25, 27, 29, 15 } } } },
      map:conv2d(w, { padding = "same" }))
    assert.are.same({ 1, 1, 2, 2 }, map:conv2d(frt.ones { 1, 1, 3, 3 }, { padding = "same", stride = 2 }).shape)
  end)

  it("groups split the channels", function()
    local x = frt.cat({ map, map * 2 }, 2)
    local y = x:conv2d(frt.ones { 2, 1, 1, 1 }, { groups = 2 })
    same({ { map:totable()[1][1], (map * 2):totable()[1][1] } }, y)
  end)

  it("pools over windows and over the whole map", function()
    same({ { { { 5, 7 }, { 13, 15 } } } }, map:max_pool2d(2))
    same({ { { { 2.5, 4.5 }, { 10.5, 12.5 } } } }, map:avg_pool2d { kernel_size = 2 })
    same({ { { { 5, 6, 7 }, { 9, 10, 11 }, { 13, 14, 15 } } } }, map:max_pool2d { 2, stride = 1 })
    same({ { 7.5 } }, map:avg_pool2d())
    same({ { 15 } }, map:max_pool2d())
    same({ { { { 2.5, 4.5 }, { 10.5, 12.5 } } } }, map:adaptive_avg_pool2d(2))
    same({ { { { 0, 0.5 } } } }, frt.tensor({ { { { 0, 1 } } } }):avg_pool2d { { 1, 2 }, stride = { 1, 2 }, padding = { 0, 1 } })
  end)

  it("interpolates to a size or by a factor", function()
    local x = frt.tensor { { { { 0, 4 } } } }
    same({ { { { 0, 0, 4, 4 } } } }, x:interpolate { size = { 1, 4 } })
    same({ { { { 0, 1, 3, 4 } } } }, x:interpolate { size = { 1, 4 }, mode = "bilinear" }, 1e-6)
    assert.are.same({ 1, 1, 8, 8 }, map:interpolate({ scale_factor = 2 }).shape)
  end)

  it("layer_norm and group_norm have mean 0 and deviation 1", function()
    local x = frt.tensor { { 1, 3 }, { 10, 30 } }
    same({ { -1, 1 }, { -1, 1 } }, x:layer_norm { eps = 0 }, 1e-5)
    same({ { -1, 3 }, { -1, 3 } }, x:layer_norm(frt.tensor { 2, 2 }, frt.tensor { 1, 1 }, { eps = 0 }), 1e-5)
    same({ { { -1, 1 }, { -1, 1 } } }, frt.tensor({ { { 1, 3 }, { 10, 30 } } }):group_norm(2, { eps = 0 }), 1e-5)
  end)

  it("batch_norm in evaluation uses the running statistics, in training moves them", function()
    local x = frt.tensor { { 1 }, { 3 } }
    local w, b = frt.tensor { 1 }, frt.tensor { 0 }
    local mean, var = frt.tensor { 1 }, frt.tensor { 4 }
    same({ { 0 }, { 1 } }, x:batch_norm(w, b, mean, var, { eps = 0 }), 1e-6)
    same({ { -1 }, { 1 } }, x:batch_norm(w, b, mean, var, { eps = 0, training = true, momentum = 0.5 }), 1e-5)
    same({ 1.5 }, mean, 1e-6)
    same({ 3 }, var, 1e-6)
  end)

  it("names a wrong option, with its value", function()
    local w = frt.ones { 1, 1, 2, 2 }
    local cases = {
      { "conv2d: unknown option 'strid', did you mean 'stride'?", function() return map:conv2d(w, { strid = 1 }) end },
      { "conv2d: 'stride' must be at least 1, got 0", function() return map:conv2d(w, { stride = 0 }) end },
      { "conv2d: 'stride' must be integer, got number (1.5)", function() return map:conv2d(w, { stride = 1.5 }) end },
      { "conv2d: 'stride' must be an integer or two, got string ('2')", function() return map:conv2d(w, { stride = "2" }) end },
      { "conv2d: 'w' must be a tensor, got nil", function() return map:conv2d() end },
      { "conv2d: 'groups' must be integer, got string ('a')", function() return map:conv2d(w, { groups = "a" }) end },
      { "conv2d: 'padding' must be an integer, { height, width }, { top, left, bottom, right } or 'same', got string ('sam')",
        function() return map:conv2d(w, { padding = "sam" }) end },
      { "max_pool2d: missing option 'kernel_size'", function() return map:max_pool2d {} end },
      { "avg_pool2d: x must be [N, C, H, W], got [2]", function() return frt.ones({ 2 }):avg_pool2d() end },
      { "interpolate: 'mode' must be one of nearest, bilinear, bicubic, got string ('linear'), did you mean 'bilinear'?",
        function() return map:interpolate { size = 2, mode = "linear" } end },
      { "linear: x [1, 3] and w [2, 2] do not fit; w is [outputs, features]",
        function() return frt.ones({ 1, 3 }):linear(frt.ones { 2, 2 }) end },
      { "group_norm: [1, 3] can't be cut into 2 groups of channels", function() return frt.ones({ 1, 3 }):group_norm(2) end },
    }
    for _, c in ipairs(cases) do assert.are.equal(c[1], why(c[2])) end
  end)
end)
