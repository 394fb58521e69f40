-- What the network sees of a photo: the resampler and colour against Pillow, geometry against hand values.
local lib = require "foodrt.core.ffi"
local augment = require "foodrt.data.augment"
local pillow = require "spec.image.pillow"
local ffi, C = lib.ffi, lib.C

local function picture(name)
  local p = pillow[name]
  local rgb = ffi.new("uint8_t[?]", p.w * p.h * 3)
  for i = 0, p.w * p.h * 3 - 1 do rgb[i] = tonumber(p.rgb:sub(2 * i + 1, 2 * i + 2), 16) end
  return { w = p.w, h = p.h, rgb = rgb, c = ffi.new("frt_photo", { w = p.w, h = p.h, rgb = rgb }) }
end

local function photo(w, h, at)
  local rgb = ffi.new("uint8_t[?]", w * h * 3)
  for y = 0, h - 1 do
    for x = 0, w - 1 do
      local i = (y * w + x) * 3
      rgb[i], rgb[i + 1], rgb[i + 2] = at(x, y)
    end
  end
  return { w = w, h = h, rgb = rgb, c = ffi.new("frt_photo", { w = w, h = h, rgb = rgb }) }
end

-- The view of a photo: size x size x 3 bytes. o: seed, epoch, sample, fill.
local function see(p, size, list, o)
  o = o or {}
  local v = ffi.new "frt_view"
  local compiled, n = augment.compile(list)
  v.size, v.n_augment, v.augment = size, n, compiled
  for c = 0, 2 do v.std[c], v.fill[c] = 1, o.fill or 0 end
  local out = ffi.new("uint8_t[?]", size * size * 3)
  lib.check(C.frt_view_pixels(v, p.c, o.seed or 0, o.epoch or 0, o.sample or 0, out))
  return out
end

local function differences(a, b, n)
  local most, count = 0, 0
  for i = 0, n - 1 do
    local d = math.abs(a[i] - b[i])
    if d > 0 then count = count + 1 end
    most = math.max(most, d)
  end
  return most, count
end

-- The middle 11 x 11 of a 13 x 11 picture.
local function middle(p)
  local out = ffi.new("uint8_t[?]", 11 * 11 * 3)
  for y = 0, 10 do ffi.copy(out + y * 33, p.rgb + (y * 13 + 1) * 3, 33) end
  return out
end

local noise = function(x, y) return (x * 71 + y * 31) % 256, (x * 13 + y * 97) % 256, (x * y * 7 + 3) % 256 end

describe("the resampler", function()
  local filters = { bilinear = 0, bicubic = 1, lanczos = 2, nearest = 3 }
  for _, name in ipairs { "resize7x5_bilinear", "resize7x5_bicubic", "resize20x18_bilinear", "resize20x18_bicubic",
    "resize7x5_lanczos", "resize20x18_lanczos", "resize7x5_nearest", "resize20x18_nearest" } do
    it("equals Pillow's " .. name .. " in every bit", function()
      local src, want = picture "src", picture(name)
      local out = ffi.new("uint8_t[?]", want.w * want.h * 3)
      lib.check(C.frt_photo_resize(src.c, want.w, want.h, filters[name:match "_(%a+)$"], out))
      assert.equal(0, (differences(out, want.rgb, want.w * want.h * 3)))
    end)
  end

  it("cuts the middle 11 x 11 of a photo without changing a pixel", function()
    local src = picture "src"
    assert.equal(0, (differences(see(src, 11, { augment.center_crop {} }), middle(src), 363)))
  end)

  it("leaves a photo of the view's own size as it is when there are no augments", function()
    local p = photo(16, 16, noise)
    assert.equal(0, (differences(see(p, 16, {}), p.rgb, 768)))
  end)

  it("resizes the shortest edge and cuts the middle as two steps of Pillow do", function()
    local p = photo(37, 23, noise)
    local small = ffi.new("uint8_t[?]", 19 * 12 * 3)  -- floor(12 * 37 / 23) = 19
    lib.check(C.frt_photo_resize(p.c, 19, 12, 0, small))
    local got = see(p, 9, { augment.resize { 12 }, augment.center_crop {} })
    for y = 0, 8 do  -- offsets: round((19 - 9) / 2) = 5, round half even((12 - 9) / 2) = 2
      assert.equal(0, (differences(got + y * 27, small + ((y + 2) * 19 + 5) * 3, 27)))
    end
  end)
end)

describe("geometry", function()
  it("flips left to right exactly, and twice is nothing", function()
    local p = photo(16, 16, noise)
    local once = see(p, 16, { augment.flip { 1 } })
    for y = 0, 15 do
      for x = 0, 15 do
        assert.equal(0, (differences(once + (y * 16 + x) * 3, p.rgb + (y * 16 + 15 - x) * 3, 3)))
      end
    end
    assert.equal(0, (differences(see(p, 16, { augment.flip { 1 }, augment.flip { 1 } }), p.rgb, 768)))
  end)

  it("flips a resized view as flipping the photo first would", function()
    local p, q = photo(31, 31, noise), photo(31, 31, function(x, y) return noise(30 - x, y) end)
    assert.equal(0, (differences(see(p, 12, { augment.flip { 1 } }), see(q, 12, {}), 432)))
  end)

  it("turns upside down with vflip", function()
    local p = photo(8, 8, noise)
    local q = see(p, 8, { augment.vflip { 1 } })
    for y = 0, 7 do assert.equal(0, (differences(q + y * 24, p.rgb + (7 - y) * 24, 24))) end
  end)

  it("turns by 90 degrees exactly", function()
    local p = photo(8, 8, noise)
    local q = see(p, 8, { augment.rotation { { 90, 90 } } })
    for y = 0, 7 do
      for x = 0, 7 do  -- clockwise: the left edge becomes the top
        local most = differences(q + (y * 8 + x) * 3, p.rgb + ((7 - x) * 8 + y) * 3, 3)
        assert.is_true(most <= 1)
      end
    end
  end)

  it("equals Pillow's bilinear rotation by 15 degrees within one level", function()
    local src, want = picture "src", middle(picture "rotate15_bilinear")
    local got = see(src, 11, { augment.rotation { { -15, -15 } }, augment.center_crop {} }, { fill = 128 })
    assert.is_true(differences(got, want, 363) <= 1)
  end)

  it("moves by whole pixels and fills what is beyond the photo", function()
    local p = photo(10, 10, noise)
    -- translate 0.2 of 10 pixels: with this seed the shift is read off the view and must be a whole one
    local q = see(p, 10, { augment.affine { translate = { 0.2, 0 } } }, { seed = 5, fill = 99 })
    local shift
    for dx = -2, 2 do
      local same = true
      for x = math.max(0, dx), math.min(9, 9 + dx) do
        same = same and differences(q + x * 3, p.rgb + (x - dx) * 3, 3) == 0
      end
      if same then shift = dx end
    end
    assert.is_truthy(shift)
    if shift > 0 then assert.equal(99, q[0]) elseif shift < 0 then assert.equal(99, q[27]) end
  end)

  it("shows the photo's own pixels, not fill, where a turn looks past the crop", function()
    local p = photo(64, 64, function() return 200, 100, 50 end)
    local q = see(p, 16, { augment.random_resized_crop { scale = { 0.1, 0.1 } }, augment.rotation { 10 } },
      { sample = 3 })
    local filled = 0
    for i = 0, 255 do if q[3 * i] ~= 200 then filled = filled + 1 end end
    assert.is_true(filled < 40)
  end)

  it("puts a wide photo between two bars with edge = longest", function()
    local p = photo(40, 20, function() return 10, 20, 30 end)
    local q = see(p, 20, { augment.resize { 20, edge = "longest" }, augment.center_crop {} }, { fill = 77 })
    assert.equal(77, q[(4 * 20 + 3) * 3])
    assert.equal(10, q[(5 * 20 + 3) * 3])
    assert.equal(10, q[(14 * 20 + 3) * 3])
    assert.equal(77, q[(15 * 20 + 3) * 3])
  end)

  it("keeps a checkerboard's mean when it is reduced and turned: reductions are antialiased", function()
    local p = photo(128, 128, function(x, y) local v = (x + y) % 2 * 255; return v, v, v end)
    for _, list in ipairs { {}, { augment.rotation { { 30, 30 } } } } do
      local q = see(p, 16, list)
      for y = 5, 10 do
        for x = 5, 10 do
          assert.is_true(math.abs(q[(y * 16 + x) * 3] - 127) <= 3)
        end
      end
    end
  end)
end)

describe("random_resized_crop", function()
  -- A photo whose colours are its coordinates tells where each crop lies.
  local p = photo(200, 100, function(x, y) return x, y * 2, 0 end)

  it("draws areas evenly over 0.1 .. 0.5 and ratios over 3/4 .. 4/3, from 400 samples", function()
    local square = photo(128, 128, function(x, y) return x * 2, y * 2, 0 end)
    local least, most, sum, narrow, wide = 1, 0, 0, 9, 0
    for sample = 1, 400 do
      local q = see(square, 8, { augment.random_resized_crop { scale = { 0.1, 0.5 } } }, { sample = sample })
      local w, h = (q[6 * 3] - q[3]) / 2 / 5 * 8, (q[48 * 3 + 1] - q[8 * 3 + 1]) / 2 / 5 * 8
      local area = w * h / 16384
      least, most, sum = math.min(least, area), math.max(most, area), sum + area
      narrow, wide = math.min(narrow, w / h), math.max(wide, w / h)
    end
    assert.is_true(least > 0.09 and least < 0.12)
    assert.is_true(most > 0.47 and most < 0.52)
    assert.is_true(math.abs(sum / 400 - 0.3) < 0.02)
    assert.is_true(narrow > 0.72 and narrow < 0.79 and wide > 1.27 and wide < 1.38)
  end)

  it("is the same for the same seed, epoch and sample and differs when one of them does", function()
    local list = { augment.random_resized_crop {}, augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } }
    local a = see(p, 16, list, { seed = 1, epoch = 2, sample = 3 })
    assert.equal(0, (differences(a, see(p, 16, list, { seed = 1, epoch = 2, sample = 3 }), 768)))
    for _, o in ipairs { { seed = 2, epoch = 2, sample = 3 }, { seed = 1, epoch = 3, sample = 3 },
      { seed = 1, epoch = 2, sample = 4 } } do
      assert.is_true(differences(a, see(p, 16, list, o), 768) > 0)
    end
  end)

  it("falls back to the largest middle part of a permitted ratio on a 200 x 1 photo", function()
    local line = photo(200, 1, function(x) return x, 0, 0 end)
    local q = see(line, 4, { augment.random_resized_crop { scale = { 1, 1 } } })
    assert.is_true(q[0] >= 98 and q[9] <= 101)
  end)

  it("draws numbers for one augment that do not depend on the augments after it", function()
    local crop = augment.random_resized_crop { scale = { 0.2, 0.9 } }
    local a = see(p, 16, { crop }, { sample = 9 })
    local b = see(p, 16, { crop, augment.grayscale { 0 }, augment.flip { 0 } }, { sample = 9 })
    assert.equal(0, (differences(a, b, 768)))
  end)
end)

describe("colour", function()
  local function jitter(key, factor)
    return { augment.center_crop {}, augment.color_jitter { [key] = { factor, factor } } }
  end

  it("equals Pillow's brightness 1.3 in every bit", function()
    local got = see(picture "src", 11, jitter("brightness", 1.3))
    assert.equal(0, (differences(got, middle(picture "brightness1.3"), 363)))
  end)

  it("equals Pillow's color (saturation) 1.5 in every bit", function()
    local got = see(picture "src", 11, jitter("saturation", 1.5))
    assert.equal(0, (differences(got, middle(picture "color1.5"), 363)))
  end)

  it("equals Pillow's grey in every bit", function()
    local got = see(picture "src", 11, { augment.center_crop {}, augment.grayscale { 1 } })
    assert.equal(0, (differences(got, middle(picture "gray_L"), 363)))
  end)

  it("blends contrast 1.5 with the rounded mean of grey", function()
    local src = middle(picture "src")
    local sum = 0
    for i = 0, 120 do
      local r, g, b = src[3 * i], src[3 * i + 1], src[3 * i + 2]
      sum = sum + math.floor((r * 19595 + g * 38470 + b * 7471 + 0x8000) / 65536)
    end
    local mean = math.floor(sum / 121 + 0.5)
    local got = see(picture "src", 11, jitter("contrast", 1.5))
    for i = 0, 362 do
      local want = math.max(0, math.min(255, math.floor(mean + 1.5 * (src[i] - mean))))
      assert.equal(want, got[i])
    end
  end)

  it("turns red into green and blue by a third of the hue circle, and leaves grey alone", function()
    local p = photo(4, 4, function(x) if x < 2 then return 255, 0, 0 end return 90, 90, 90 end)
    local green = see(p, 4, { augment.color_jitter { hue = { 1 / 3, 1 / 3 } } })
    local blue = see(p, 4, { augment.color_jitter { hue = { -1 / 3, -1 / 3 } } })
    assert.same({ 0, 255, 0 }, { green[0], green[1], green[2] })
    assert.same({ 0, 0, 255 }, { blue[0], blue[1], blue[2] })
    assert.same({ 90, 90, 90 }, { blue[9], blue[10], blue[11] })
  end)

  it("keeps the largest and the smallest channel when it turns the hue", function()
    local p = photo(16, 16, noise)
    local q = see(p, 16, { augment.color_jitter { hue = { 0.2, 0.2 } } })
    for i = 0, 255 do
      local a, b = p.rgb + 3 * i, q + 3 * i
      assert.equal(math.max(a[0], a[1], a[2]), math.max(b[0], b[1], b[2]))
      assert.equal(math.min(a[0], a[1], a[2]), math.min(b[0], b[1], b[2]))
    end
  end)

  it("draws brightness factors over 0.6 .. 1.4 from 300 samples, 1 on average", function()
    local p = photo(4, 4, function() return 100, 100, 100 end)
    local least, most, sum = 1000, 0, 0
    for sample = 1, 300 do
      local v = see(p, 4, { augment.color_jitter { 0.4 } }, { sample = sample })[0]
      least, most, sum = math.min(least, v), math.max(most, v), sum + v
    end
    assert.is_true(least >= 60 and least < 64 and most > 136 and most <= 140)
    assert.is_true(math.abs(sum / 300 - 100) < 4)
  end)

  it("flips 500 of 1000 samples, give or take 50", function()
    local p = photo(2, 2, function(x) return x * 255, 0, 0 end)
    local n = 0
    for sample = 1, 1000 do
      if see(p, 2, { augment.flip {} }, { sample = sample })[0] == 255 then n = n + 1 end
    end
    assert.is_true(math.abs(n - 500) < 50)
  end)
end)
