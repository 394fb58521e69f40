-- interpolate by hand-worked rows: PyTorch's align_corners = false, no antialiasing.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local ops, f32 = O.ops(), O.f32
local NEAREST, BILINEAR, BICUBIC = 0, 1, 2

for _, backend in ipairs(device.both) do
  describe("interpolate (" .. backend .. ")", function()
    local function row(x, mode, w)
      return O.run(ops.interpolate, { f32({ 1, 1, 1, #x }, x) }, { mode, 1, w }, backend)[1].data
    end

    it("takes the pixel at floor(i W / w): nearest", function()
      assert.same({ 1, 1, 2, 2, 3 }, row({ 1, 2, 3 }, NEAREST, 5))
      assert.same({ 1, 3 }, row({ 1, 2, 3, 4, 5 }, NEAREST, 2))
    end)

    it("weighs the two nearest centres, edges repeat: bilinear", function()
      assert.is_true(O.near({ 0, 0.25, 0.75, 1 }, row({ 0, 1 }, BILINEAR, 4), 1e-6))
      assert.is_true(O.near({ 1.25, 3.75 }, row({ 1, 1.5, 3.5, 4 }, BILINEAR, 2), 1e-6))
    end)

    -- At a quarter before and after a centre Keys' cubic (a = -3/4) weighs -0.03515625, 0.26171875, 0.87890625,
    -- -0.10546875 and the reverse.
    it("weighs four centres, edges repeat: bicubic", function()
      local a, b, c, d = -0.03515625, 0.26171875, 0.87890625, -0.10546875
      local x = { 1, 8, -2, 5 }
      assert.is_true(O.near({
        a * 1 + b * 1 + c * 1 + d * 8, d * 1 + c * 1 + b * 8 + a * -2, a * 1 + b * 1 + c * 8 + d * -2,
        d * 1 + c * 8 + b * -2 + a * 5, a * 1 + b * 8 + c * -2 + d * 5, d * 8 + c * -2 + b * 5 + a * 5,
        a * 8 + b * -2 + c * 5 + d * 5, d * -2 + c * 5 + b * 5 + a * 5,
      }, row(x, BICUBIC, 8), 1e-5))
    end)

    it("does rows and columns alike", function()
      local y = O.run(ops.interpolate, { f32({ 1, 1, 2, 2 }, { 0, 4, 8, 12 }) }, { BILINEAR, 4, 2 }, backend)[1]
      assert.same({ 1, 1, 4, 2 }, y.dims)
      assert.is_true(O.near({ 0, 4, 2, 6, 6, 10, 8, 12 }, y.data, 1e-6))
    end)
  end)
end
