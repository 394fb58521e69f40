-- The loops over pixels on every instruction set against the same arithmetic in Lua: no bit may differ.
local lib = require "foodrt.core.ffi"
local augment = require "foodrt.data.augment"
local isas = require "spec.support.isas"
local photos = require "spec.support.photos"
local process = require "spec.support.process"
local ffi, C = lib.ffi, lib.C

local dir, was
setup(function() dir, was = process.temp_dir(), ffi.string(C.frt_isa()) end)
teardown(function()
  process.remove(dir)
  C.frt_set_isa(was)
end)

-- The results of f() on each instruction set and on the one in use, as one string where they agree.
local function everywhere(f)
  local first
  for i = 1, #isas + 1 do
    local isa = isas[i] or was
    lib.check(C.frt_set_isa(isa))
    local got = f()
    first = first or got
    if got ~= first then return "differs on " .. isa end
  end
  return first
end

local function noise(w, h, seed)
  local rgb, v = ffi.new("uint8_t[?]", w * h * 3), seed or 1
  for i = 0, w * h * 3 - 1 do
    v = (v * 16807) % 2147483647
    rgb[i] = v % 256
  end
  return { w = w, h = h, rgb = rgb, c = ffi.new("frt_photo", { w = w, h = h, rgb = rgb }) }
end

local function see(p, size, list, sample)
  local v, out = ffi.new "frt_view", ffi.new("uint8_t[?]", size * size * 3)
  local compiled, n = augment.compile(list)
  v.size, v.n_augment, v.augment = size, n, compiled
  for c = 0, 2 do v.std[c], v.fill[c] = 1, 40 * c + 7 end
  lib.check(C.frt_view_pixels(v, p.c, 1, 2, sample or 0, out))
  return ffi.string(out, size * size * 3)
end

-- --- the resampler --------------------------------------------------------------------------------
local SHAPES = {
  bilinear = { 1, function(x) return math.max(1 - math.abs(x), 0) end },
  bicubic = { 2, function(x)
    x = math.abs(x)
    if x < 1 then return (1.5 * x - 2.5) * x * x + 1 end
    return x < 2 and (((x - 5) * x + 8) * x - 4) * -0.5 or 0
  end },
  lanczos = { 3, function(x)
    local function sinc(t) return t == 0 and 1 or math.sin(t * math.pi) / (t * math.pi) end
    return x >= -3 and x < 3 and sinc(x) * sinc(x / 3) or 0
  end },
}
local FILTERS = { bilinear = 0, bicubic = 1, lanczos = 2 }

local function trunc(x) return x < 0 and math.ceil(x) or math.floor(x) end

-- What output i of n is made of: the first input and whole weights of 22 digits.
local function taps(filter, n_in, n, i)
  local support, shape = SHAPES[filter][1], SHAPES[filter][2]
  local scale = n_in / n
  local wide = math.max(scale, 1)
  local center, sum, weights = (i + 0.5) * scale, 0, {}
  local lo = math.max(trunc(center - support * wide + 0.5), 0)
  local hi = math.min(trunc(center + support * wide + 0.5), n_in)
  for k = lo, hi - 1 do
    weights[#weights + 1] = shape((k - center + 0.5) * (1 / wide))
    sum = sum + weights[#weights]
  end
  for k, w in ipairs(weights) do
    w = w / sum * 2 ^ 22
    weights[k] = trunc(w < 0 and w - 0.5 or w + 0.5)
  end
  return lo, weights
end

-- One pass over rows of `step` bytes a pixel: n outputs of n_in inputs.
local function pass(src, dst, filter, n_in, n, step, rows, row_in, row_out)
  for i = 0, n - 1 do
    local lo, weights = taps(filter, n_in, n, i)
    for row = 0, rows - 1 do
      for c = 0, step - 1 do
        local sum = 2 ^ 21
        for k, w in ipairs(weights) do sum = sum + w * src[row * row_in + (lo + k - 1) * step + c] end
        dst[row * row_out + i * step + c] = math.max(0, math.min(255, math.floor(sum / 2 ^ 22)))
      end
    end
  end
end

local function resized(p, w, h, filter)
  local half, out = ffi.new("uint8_t[?]", w * p.h * 3), ffi.new("uint8_t[?]", w * h * 3)
  pass(p.rgb, half, filter, p.w, w, 3, p.h, p.w * 3, w * 3)
  pass(half, out, filter, p.h, h, w * 3, 1, 0, 0)
  return ffi.string(out, w * h * 3)
end

describe("on every instruction set the resampler equals the formula in every bit", function()
  for _, size in ipairs { { 1, 1, 3, 2 }, { 37, 23, 19, 50 }, { 131, 66, 64, 16 }, { 200, 17, 65, 31 }, { 5, 300, 33, 7 },
    { 48, 33, 48, 33 }, { 90, 90, 15, 100 }, { 16, 16, 129, 3 } } do
    it(("from %d x %d to %d x %d"):format(unpack(size)), function()
      local p = noise(size[1], size[2])
      local w, h = size[3], size[4]
      for filter, number in pairs(FILTERS) do
        local want = resized(p, w, h, filter)
        assert.is_true(want == everywhere(function()
          local out = ffi.new("uint8_t[?]", w * h * 3)
          lib.check(C.frt_photo_resize(p.c, w, h, number, out))
          return ffi.string(out, w * h * 3)
        end))
      end
    end)
  end

  it("as views of 1, 15, 33, 64 and 130 pixels, flipped or not", function()
    local p = noise(75, 41)
    for _, size in ipairs { 1, 15, 33, 64, 130 } do
      local list = { augment.resize { size, edge = "both", interpolation = "bicubic" } }
      local want = resized(p, size, size, "bicubic")
      assert.is_true(want == everywhere(function() return see(p, size, list) end))
      local rows = {}
      for y = 0, size - 1 do
        for x = size - 1, 0, -1 do rows[#rows + 1] = want:sub((y * size + x) * 3 + 1, (y * size + x) * 3 + 3) end
      end
      list[2] = augment.flip { 1 }
      assert.is_true(table.concat(rows) == everywhere(function() return see(p, size, list) end))
    end
  end)
end)

-- --- colour ---------------------------------------------------------------------------------------
local box = ffi.new "float[1]"
local function F(x)
  box[0] = x
  return box[0]
end

local function blend(from, to, factor)
  return math.floor(math.max(0, math.min(255, F(from + F(factor * (to - from))))))
end

local function grey(r, g, b)
  return math.floor((r * 19595 + g * 38470 + b * 7471 + 32768) / 65536)
end

local ops = {}
function ops.brightness(px, n, factor)
  for i = 0, 3 * n - 1 do px[i] = blend(0, px[i], factor) end
end
function ops.contrast(px, n, factor)
  local sum = 0
  for i = 0, n - 1 do sum = sum + grey(px[3 * i], px[3 * i + 1], px[3 * i + 2]) end
  local mean = math.floor(sum / n + 0.5)
  for i = 0, 3 * n - 1 do px[i] = blend(mean, px[i], factor) end
end
function ops.saturation(px, n, factor)
  for i = 0, n - 1 do
    local l = grey(px[3 * i], px[3 * i + 1], px[3 * i + 2])
    for c = 0, 2 do px[3 * i + c] = blend(l, px[3 * i + c], factor) end
  end
end
function ops.hue(px, n, shift)
  local turn = F(shift * 6)
  for i = 0, n - 1 do
    local r, g, b = px[3 * i], px[3 * i + 1], px[3 * i + 2]
    local hi, lo = math.max(r, g, b), math.min(r, g, b)
    local range = hi - lo
    local inv = F(1 / (range > 0 and range or 1))
    local of = hi == r and F((g - b) * inv) or hi == g and F(2 + F((b - r) * inv)) or F(4 + F((r - g) * inv))
    local h = F(F(turn + of) + 12)
    for c = 0, 2 do
      local k = F(5 - 2 * c + h)
      k = F(k - 6 * math.floor(F(k * F(1 / 6))))
      local part = math.max(0, math.min(1, k, F(4 - k)))
      px[3 * i + c] = math.floor(F(F(hi - F(range * part)) + 0.5))
    end
  end
end

-- What all orders of the operations named make of a photo: result -> order.
local function orders(p, names, factors)
  local out, n = {}, p.w * p.h
  local function go(order, left)
    if #left == 0 then
      local px = ffi.new("uint8_t[?]", n * 3)
      ffi.copy(px, p.rgb, n * 3)
      for _, name in ipairs(order) do ops[name](px, n, name == "hue" and factors.hue or F(factors[name])) end
      out[ffi.string(px, n * 3)] = table.concat(order, " ")
      return
    end
    for i, name in ipairs(left) do
      local rest, longer = { unpack(left) }, { unpack(order) }
      table.remove(rest, i)
      longer[#longer + 1] = name
      go(longer, rest)
    end
  end
  go({}, names)
  return out
end

describe("on every instruction set color_jitter equals the formula in every bit", function()
  local factors = { brightness = 1.17, contrast = 0.71, saturation = 1.43, hue = -0.13 }
  for _, case in ipairs {
    { 1, { "brightness", "contrast", "saturation" } }, { 11, { "contrast" } }, { 16, { "brightness", "saturation" } },
    { 21, { "brightness", "contrast", "saturation" }, 6 }, { 37, { "brightness", "contrast", "saturation", "hue" }, 24 } } do
    local size, names, count = case[1], case[2], case[3]
    it(("in all orders of %s, %d x %d"):format(table.concat(names, ", "), size, size), function()
      local p, ranges, seen, n_seen = noise(size, size, 77), {}, {}, 0
      for _, name in ipairs(names) do ranges[name] = { factors[name], factors[name] } end
      local want, list = orders(p, names, factors), { augment.color_jitter(ranges) }
      for sample = 1, count == 24 and 200 or 60 do
        local order = want[everywhere(function() return see(p, size, list, sample) end)]
        assert.is_truthy(order)
        if not seen[order] then seen[order], n_seen = true, n_seen + 1 end
      end
      if count then assert.equal(count, n_seen) end
    end)
  end

  it("with factors 0, 5 and 100, where nothing is left or everything is clipped", function()
    local p = noise(20, 20, 5)
    for _, factor in ipairs { 0, 5, 100 } do
      for _, name in ipairs { "brightness", "contrast", "saturation" } do
        local want = orders(p, { name }, { [name] = factor })
        local list = { augment.color_jitter { [name] = { factor, factor } } }
        assert.equal(name, want[everywhere(function() return see(p, 20, list) end)])
      end
    end
  end)
end)

describe("on every instruction set", function()
  it("normalising gives ((v / 255) - mean) / std of all 256 values, for 5 kinds of mean and std", function()
    local path = dir .. "/ramp.bmp"
    photos.bmp(path, 16, 16, function(x, y) return y * 16 + x, 255 - y * 16 - x, (y * 16 + x) * 7 % 256 end)
    for _, o in ipairs { { { 0.485, 0.456, 0.406 }, { 0.229, 0.224, 0.225 } }, { { 0.5, 0.5, 0.5 }, { 0.5, 0.5, 0.5 } },
      { { 0, 0, 0 }, { 1, 1 / 255, 255 } }, { { 1 / 3, 1, -3 }, { 0.99999994, 1.9999999, 1e-30 } },
      { { 0.1, 0.2, 0.3 }, { 3e38, 1e-38, 0.7 } } } do
      local v = ffi.new "frt_view"
      v.size = 16
      for c = 0, 2 do v.mean[c], v.std[c] = o[1][c + 1], o[2][c + 1] end
      local want = ffi.new "float[768]"
      for i = 0, 255 do
        for c, value in ipairs { i, 255 - i, i * 7 % 256 } do
          want[3 * i + c - 1] = F(F(F(value / 255) - v.mean[c - 1]) / v.std[c - 1])
        end
      end
      assert.is_true(ffi.string(want, 3072) == everywhere(function()
        local x = ffi.new "float[768]"
        lib.check(C.frt_view_load(v, path, 1, 0, 0, x))
        return ffi.string(x, 3072)
      end))
    end
  end)

  it("views of colour, grey and CMYK photos of odd sizes are the same in every bit", function()
    local function at(x, y) return (x * 5 + y) % 256, (y * 7) % 256, (x * 3 + y * 2) % 256, (x + y) % 90 end
    local lists = {
      { augment.random_resized_crop {}, augment.flip {}, augment.color_jitter { 0.4, 0.4, 0.4, 0.1 } },
      { augment.random_resized_crop { interpolation = "lanczos" }, augment.grayscale { 0.5 }, augment.color_jitter { contrast = 0.5 } },
      { augment.affine { 30, translate = { 0.2, 0.2 }, shear = 10 }, augment.color_jitter { 0.4, 0.4, 0.4 } },
      { augment.resize { 20, edge = "longest" }, augment.center_crop {}, augment.rotation { 180 } } }
    for bands, space in pairs { [1] = 1, [3] = 22, [4] = 15 } do
      local path = ("%s/%d.jpg"):format(dir, bands)
      photos.save(path, 203, 151, bands, at, { interpretation = space })
      for i, size in ipairs { 31, 64, 17, 97 } do
        for sample = 1, 6 do
          local v, x = ffi.new "frt_view", ffi.new("float[?]", size * size * 3)
          local compiled, n = augment.compile(lists[i])
          v.size, v.n_augment, v.augment, v.shrink = size, n, compiled, sample % 2
          for c = 0, 2 do v.mean[c], v.std[c], v.fill[c] = 0.4, 0.2, 100 end
          local got = everywhere(function()
            lib.check(C.frt_view_load(v, path, 3, 1, sample, x))
            return ffi.string(x, size * size * 12)
          end)
          assert.equal(size * size * 12, #got)
        end
      end
    end
  end)
end)
