-- A view read from the file (only the part it needs, perhaps shrunk) against the view of the whole photo.
local lib = require "foodrt.core.ffi"
local augment = require "foodrt.data.augment"
local photos = require "spec.support.photos"
local process = require "spec.support.process"
local ffi, C = lib.ffi, lib.C

local SIZE = 32
local dir
setup(function() dir = process.temp_dir() end)
teardown(function() process.remove(dir) end)

-- A view whose floats are the 0 .. 255 of its pixels.
local function view(list, shrink)
  local v = ffi.new "frt_view"
  local compiled, n = augment.compile(list)
  v.size, v.n_augment, v.augment, v.shrink = SIZE, n, compiled, shrink and 1 or 0
  for c = 0, 2 do v.std[c], v.fill[c] = 1 / 255, 128 end
  return v, compiled
end

local function from_file(path, list, sample, shrink)
  local v, anchor = view(list, shrink)
  local x = ffi.new("float[?]", SIZE * SIZE * 3)
  lib.check(C.frt_view_load(v, path, 1, 0, sample, x))
  return x, anchor
end

local function from_photo(path, list, sample)
  local v, anchor = view(list)
  local photo, out = ffi.new "frt_photo", ffi.new("uint8_t[?]", SIZE * SIZE * 3)
  lib.check(C.frt_photo_read(path, photo))
  lib.check(C.frt_view_pixels(v, photo, 1, 0, sample, out))
  C.frt_photo_free(photo)
  return out, anchor
end

local function difference(a, b)
  local most, sum = 0, 0
  for i = 0, SIZE * SIZE * 3 - 1 do
    local d = math.abs(a[i] - b[i])
    most, sum = math.max(most, d), sum + d
  end
  return most, sum / (SIZE * SIZE * 3)
end

local function smooth(x, y)
  return math.floor(128 + 120 * math.sin(x / 30)), math.floor(128 + 120 * math.cos(y / 25)),
    math.floor(128 + 100 * math.sin((x + y) / 40))
end

local LISTS = {
  crop = { augment.random_resized_crop {}, augment.flip {} },
  turn = { augment.random_resized_crop { scale = { 0.05, 0.3 } }, augment.affine { 30, translate = { 0.3, 0.3 }, shear = 10 } },
  middle = { augment.resize { 40 }, augment.center_crop {} },
  border = { augment.resize { SIZE, edge = "longest" }, augment.center_crop {} },
}

describe("a view of a file", function()
  for name, list in pairs(LISTS) do
    it("equals the view of the whole photo in every bit (" .. name .. ", eight orientations)", function()
      for orientation = 1, 8 do
        local path = ("%s/%s%d.jpg"):format(dir, name, orientation)
        photos.save(path, 151, 97, 3, smooth, { orientation = orientation })
        for sample = 1, 4 do
          assert.is_true(difference(from_file(path, list, sample), from_photo(path, list, sample)) < 1e-3)
        end
      end
    end)
  end

  it("is alike when the JPEG is decoded at 1/2, 1/4 or 1/8: within 1.5 levels on average", function()
    for i, edge in ipairs { 130, 260, 520 } do
      local path = ("%s/big%d.jpg"):format(dir, i)
      photos.save(path, edge, edge, 3, smooth, { orientation = 2 * i })
      for sample = 1, 4 do
        for _, list in ipairs { {}, { augment.random_resized_crop { scale = { 0.5, 1 } } }, { augment.rotation { 20 } } } do
          local whole, small = from_file(path, list, sample), from_file(path, list, sample, true)
          local _, mean = difference(whole, small)
          assert.is_true(mean < 1.5)
        end
      end
    end
  end)

  it("is all fill where it looks past the photo", function()
    local path = dir .. "/past.png"
    photos.save(path, 40, 40, 3, smooth)
    local far = { augment.affine { scale = { 0.01, 0.01 } } }
    local x = from_file(path, far, 1)
    assert.equal(128, math.floor(x[0] + 0.5))
  end)
end)
