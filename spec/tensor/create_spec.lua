--- making tensors, variables, and reading values back.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local ffi = require "ffi"
local V = require "spec.support.values"
local same, why = V.same, V.why

describe("making tensors", function()
  it("from nested tables and numbers", function()
    same({ { 1, 2 }, { 3, 4 } }, frt.tensor { { 1, 2 }, { 3, 4 } })
    assert.are.equal(7, frt.tensor(7):item())
    assert.are.same({ 1, 2, 1, 2 }, frt.tensor({ { { { 1, 2 } }, { { 3, 4 } } } }).shape)
    same({ 1, 0 }, frt.tensor { true, false })
  end)

  it("in every dtype, read back exactly", function()
    for _, dtype in ipairs { "f32", "f64", "i32", "u8", "i64", "bf16" } do
      local t = frt.tensor({ 0, 1, 2, 96 }, { dtype = dtype })
      assert.are.equal(dtype, t.dtype)
      assert.are.same({ 0, 1, 2, 96 }, t:totable())
      assert.are.equal(96, frt.tensor({ 96 }, { dtype = dtype }):item())
    end
    assert.are.equal(0.1, frt.tensor({ 0.1 }, { dtype = "f64" }):totable()[1])
  end)

  it("bf16 rounds to nearest even", function()
    local t = frt.tensor({ 1 + 2 ^ -8, 1 + 3 * 2 ^ -8, -1.00390625 }, { dtype = "bf16" })
    assert.are.same({ 1, 1 + 4 * 2 ^ -8, -1 }, t:totable())
  end)

  it("zeros, ones, full, arange, eye", function()
    same({ { 0, 0, 0 }, { 0, 0, 0 } }, frt.zeros { 2, 3 })
    same({ 1, 1 }, frt.ones { 2 })
    same({ { 7 }, { 7 } }, frt.full({ 2, 1 }, 7))
    same({ 0, 1, 2, 3 }, frt.arange(4))
    same({ 2, 2.5, 3, 3.5 }, frt.arange(2, 4, 0.5))
    same({ { 1, 0 }, { 0, 1 } }, frt.eye(2))
    assert.are.equal("i32", frt.arange(3, { dtype = "i32" }).dtype)
  end)

  it("T.var is zeroed, filled, or given numbers or C bytes", function()
    same({ 0, 0 }, T.var { shape = { 2 } })
    same({ 3, 3 }, T.var { shape = { 2 }, init = 3 })
    same({ { 1, 2 }, { 3, 4 } }, T.var { shape = { 2, 2 }, data = { 1, 2, 3, 4 } })
    same({ 5, 6 }, T.var { shape = { 2 }, data = ffi.new("float[2]", { 5, 6 }) })
    assert.are.equal("fc.weight", T.var({ shape = { 2 }, name = "fc.weight" }).name)
  end)

  it("are read and written by ranges of elements, row-major however they lie", function()
    local lib = require "foodrt.core.ffi"
    local C = lib.C
    local v, p = T.var { shape = { 2, 3 }, data = { 1, 2, 3, 4, 5, 6 }, name = "v" }, ffi.new("float[6]")
    assert.are.equal(0, tonumber(C.frt_var_read(v.ref, 2, 3, p)))
    assert.are.same({ 3, 4, 5 }, { p[0], p[1], p[2] })
    local y = v * 1
    assert.are.equal(0, tonumber(C.frt_var_write(v.ref, 4, 2, ffi.new("float[2]", 8, 9))))
    same({ { 1, 2, 3 }, { 4, 8, 9 } }, v)
    assert.is_false((pcall(y.totable, y)))  -- writing moves the version
    for _, range in ipairs { { 5, 2 }, { -1, 2 }, { 0, 7 }, { 2, -1 } } do
      assert.are.equal(-1, tonumber(C.frt_var_read(v.ref, range[1], range[2], p)))
      assert.are.equal(-1, tonumber(C.frt_var_write(v.ref, range[1], range[2], p)))
    end
    v:assign(v + 1)
    assert.are.equal(-6, tonumber(C.frt_var_read(v.ref, 0, 1, p)))
    T.forget()
    local photo = T.wrap_data({ 1, 3, 1, 2 }, "f32", ffi.new("float[6]", 1, 2, 3, 4, 5, 6), true):own()
    same({ { { { 1, 4 } }, { { 2, 5 } }, { { 3, 6 } } } }, photo)
    photo:write { 1, 2, 3, 4, 5, 6 }
    same({ { { { 1, 2 } }, { { 3, 4 } }, { { 5, 6 } } } }, photo)
    same({ { { { 2, 4 } }, { { 6, 8 } }, { { 10, 12 } } } }, photo * 2)
    local message = V.message(function() v:write(p, 8) end)
    assert.is_truthy(message:find("write: [2, 3] needs 24 bytes, got 8", 1, true), message)
  end)

  it("long ones are filled and copied whole", function()
    local n = 2 ^ 20 + 3
    local a, b = T.var { shape = { n } }, T.var { shape = { n } }
    a:fill_(2)
    T.copy(b, a)
    assert.are.equal(2 * n, b:sum():item())
    T.copy(a, b * 2)
    assert.are.equal(4 * n, a:sum():item())
  end)

  it("buffers of 2 GB and more can be had", function()
    local buffer = require "foodrt.core.buffer"
    local p = buffer.new("float", 600 * 2 ^ 20)  -- pages that nobody touches cost nothing
    p[600 * 2 ^ 20 - 1] = 7
    assert.are.equal(7, p[600 * 2 ^ 20 - 1])
    assert.are.equal(0, p[0])
  end)

  it("wrapped bytes are read where they lie, channels-last too", function()
    local bytes = ffi.new("float[4]", { 1, 2, 3, 4 })
    same({ { { { 1 }, { 2 } }, { { 3 }, { 4 } } } }, T.wrap_data({ 1, 2, 2, 1 }, "f32", bytes))
    local t = T.wrap_data({ 1, 2, 2, 1 }, "f32", bytes, true)
    same({ { { { 1 }, { 3 } }, { { 2 }, { 4 } } } }, t)
    local other = ffi.new("float[4]", { 5, 6, 7, 8 })
    t:rebind(other)
    same({ { { { 5 }, { 7 } }, { { 6 }, { 8 } } } }, t + 0)
  end)

  it("assign is seen by what is recorded after it", function()
    local v = frt.tensor { 1, 2 }
    local before = v * 10
    v:assign(v + 1)
    local after = v * 10
    frt.realize(before, after)
    same({ 10, 20 }, before)
    same({ 20, 30 }, after)
    same({ 2, 3 }, v)
  end)

  it("copy_ broadcasts, and takes numbers and tables", function()
    local v = frt.zeros { 2, 2 }
    same({ { 1, 2 }, { 1, 2 } }, v:copy_(frt.tensor { 1, 2 }))
    same({ { 5, 5 }, { 5, 5 } }, v:copy_(5))
    same({ { 1, 2 }, { 3, 4 } }, v:copy_ { { 1, 2 }, { 3, 4 } })
  end)

  it("clone keeps the value of now", function()
    local v = frt.tensor { 1, 2 }
    local c = v:clone()
    frt.realize(c)
    v:assign(v * 2)
    same({ 2, 4 }, v)
    same({ 1, 2 }, c)
  end)

  it("keep computes with the next realize", function()
    local C = require("foodrt.core.ffi").C
    local a = frt.tensor({ 1, 2 }) * 2
    a:keep()
    frt.realize(frt.tensor { 1 } + 1)
    assert.are.equal(1, C.frt_has_value(a.ref))
  end)

  it("random numbers repeat with the seed and differ between calls", function()
    frt.manual_seed(7)
    local a, b = frt.rand({ 4 }):totable(), frt.rand({ 4 }):totable()
    frt.manual_seed(7)
    assert.are.same(a, frt.rand({ 4 }):totable())
    assert.are_not.same(a, b)
    frt.manual_seed(8)
    assert.are_not.same(a, frt.rand({ 4 }):totable())
  end)

  it("10,000 rand lie in [0, 1) with mean 0.5 and randn has mean 0, deviation 1, within 5 standard errors", function()
    frt.manual_seed(1)
    local u, z = frt.rand { 100, 100 }, frt.randn { 100, 100 }
    assert.is_true(u:min():item() >= 0 and u:max():item() < 1)
    assert.is_true(math.abs(u:mean():item() - 0.5) < 5 * 0.2887 / 100)
    assert.is_true(math.abs(z:mean():item()) < 5 / 100)
    assert.is_true(math.abs(z:std():item() - 1) < 5 / 141)
  end)

  it("dropout keeps the mean and drops the share it is told", function()
    frt.manual_seed(3)
    local y = frt.ones({ 100, 100 }):dropout(0.25)
    local kept = y:gt(0):mean():item()
    assert.is_true(math.abs(kept - 0.75) < 5 * 0.0043)
    assert.is_true(math.abs(y:max():item() - 4 / 3) < 1e-6)
    assert.is_true(frt.ones({ 2 }):dropout(0):eq(1):all():item() == 1)
  end)

  it("says what is wrong with the numbers", function()
    local cases = {
      { "tensor: rows must have 2 values as the first one has, got 1", function() return frt.tensor { { 1, 2 }, { 3 } } end },
      { "tensor: a value must be a number, got string ('x')", function() return frt.tensor { 1, "x" } end },
      { "tensor: 'values' must be a number or a table of numbers, got string ('a')", function() return frt.tensor "a" end },
      { "zeros: a size must be a positive integer, got number (0)", function() return frt.zeros { 2, 0 } end },
      { "zeros: 'shape' must be a list of integers, got number (3)", function() return frt.zeros(3) end },
      { "tensor: unknown option 'dtpe', did you mean 'dtype'?", function() return frt.tensor({ 1 }, { dtpe = "f32" }) end },
      { "tensor: 'kind' must be one of state, input, got 'stat', did you mean 'state'?",
        function() return T.var { shape = { 1 }, kind = "stat" } end },
      { "item: the tensor must hold one number, got [2, 3]", function() return frt.zeros({ 2, 3 }):item() end },
      { "manual_seed: 'n' must be an integer from 0 to 4294967295, got number (-1)", function() frt.manual_seed(-1) end },
      { "dropout: 'p' must be from 0 to below 1, got 1", function() return frt.ones({ 1 }):dropout(1) end },
      { "frt has no 'tensro', did you mean 'tensor'?", function() return frt.tensro end },
    }
    for _, c in ipairs(cases) do assert.are.equal(c[1], why(c[2])) end
  end)
end)
