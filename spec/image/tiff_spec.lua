-- TIFF in every kind of number: right, or refused in words; never another picture.
local lib = require "foodrt.core.ffi"
local process, tiff = require "spec.support.process", require "spec.support.tiff"
local ffi, C = lib.ffi, lib.C

local dir, path
setup(function()
  dir = process.temp_dir()
  path = dir .. "/a.tif"
end)
teardown(function() process.remove(dir) end)

-- levels of the photo's first row, and its bits; nil and why
local function read(o)
  o.w, o.h = 4, 3
  tiff.write(path, o)
  local p = ffi.new "frt_photo"
  if C.frt_photo_read(path, p) ~= 0 then return nil, (ffi.string(C.frt_error_last()):gsub("^.*/", ""):gsub(" %(%d+ bytes%)$", "")) end
  assert.same({ 4, 3 }, { p.w, p.h })
  local row, bits = {}, p.bits
  for i = 0, 11 do row[i + 1] = p.rgb[i] end
  C.frt_photo_free(p)
  return row, bits
end

local function ramp(step) return function(x) return x * step, (x + 1) * step, (x + 2) * step end end
local function grey(step) return function(x) return x * step end end
local RAMP = { 0, 40, 80, 40, 80, 120, 80, 120, 160, 120, 160, 200 }
local GREY = { 0, 0, 0, 40, 40, 40, 80, 80, 80, 120, 120, 120 }

describe("a TIFF", function()
  for _, kind in ipairs { { "II" }, { "MM" }, { "II", true }, { "MM", true } } do
    local name = (kind[2] and "BigTIFF, " or "") .. kind[1]
    it("of 8 and 16 bits is what it is (" .. name .. ")", function()
      local function with(o)
        o.order, o.big = kind[1], kind[2]
        local row, bits = assert(read(o))
        return { row, bits }
      end
      assert.same({ RAMP, 8 }, with { bands = 3, bits = 8, at = ramp(40) })
      assert.same({ GREY, 8 }, with { bands = 1, bits = 8, at = grey(40) })
      assert.same({ RAMP, 16 }, with { bands = 3, bits = 16, at = ramp(40 * 257) })
      assert.same({ GREY, 16 }, with { bands = 1, bits = 16, at = grey(40 * 257) })
    end)
  end

  it("of numbers without a known black and white is refused, whatever their range", function()
    local function why(o)
      local row, what = read(o)
      assert.is_nil(row)
      return what
    end
    local rest = ", whose black and white are not known; save it with 8 or 16 bits a channel"
    for _, bands in ipairs { 1, 3 } do
      for _, step in ipairs { 0.15, 40 } do
        local at = bands == 1 and grey(step) or ramp(step)
        assert.equal("a.tif: this TIFF holds floating-point numbers" .. rest, why { bands = bands, bits = 32, format = "float", at = at })
        assert.match("^a.tif: cannot decode this TIFF: ", why { bands = bands, bits = 64, format = "float", at = at })
      end
      local at = bands == 1 and grey(40) or ramp(40)
      assert.equal("a.tif: this TIFF holds 32-bit whole numbers" .. rest, why { bands = bands, bits = 32, at = at })
      assert.equal("a.tif: this TIFF holds 32-bit whole numbers" .. rest, why { bands = bands, bits = 32, format = "signed", at = at })
      assert.equal("a.tif: this TIFF holds signed whole numbers" .. rest, why { bands = bands, bits = 16, format = "signed", at = at })
      assert.equal("a.tif: this TIFF holds signed whole numbers" .. rest,
        why { bands = bands, bits = 8, format = "signed", at = bands == 1 and grey(9) or ramp(9) })
    end
    assert.equal("a.tif: this BigTIFF holds floating-point numbers" .. rest,
      why { bands = 3, bits = 32, format = "float", big = true, at = ramp(0.1) })
  end)
end)
