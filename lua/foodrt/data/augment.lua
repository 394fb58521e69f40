--- augment: what happens to a training photo. Each call checks its options and returns a description; data
--- compiles a list of them for the loader's threads, where all geometry becomes one resampling.
---
---   train = { augment.random_resized_crop { scale = { 0.8, 1 } }, augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } }
---
--- Draws are keyed by (seed, epoch, photo, place in the list). After the list a photo that is not yet
--- size x size has its shortest edge resized to size and its middle cut out.
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local augment = {}

local Augment = {}
Augment.__index = Augment

local INTERPOLATION = { "string", "bilinear", one_of = { "bilinear", "bicubic", "lanczos", "nearest" } }
local FILTERS = { bilinear = 0, bicubic = 1, lanczos = 2, nearest = 3 }
local EDGES = { shortest = 0, longest = 1, both = 2 }

-- Its parameters are made of its options, once.
function Augment:__newindex(key)
  err.user("augment.%s: '%s' can't be set afterwards, give it to the call: augment.%s { %s = … }", self.kind, tostring(key),
    self.kind, tostring(key))
end

--- whether v was made by one of the functions here.
function augment.is(v)
  return getmetatable(v) == Augment
end

local function show(v)
  if type(v) ~= "table" then return tostring(v) end
  local parts = {}
  for i, x in ipairs(v) do parts[i] = ("%.4g"):format(x) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- random_resized_crop { scale = { 0.8, 1 }, ratio = { 0.75, 1.333 } }
function Augment:__tostring()
  local keys, parts = {}, {}
  for key in pairs(self.options) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do parts[i] = key .. " = " .. show(self.options[key]) end
  return self.kind .. " { " .. table.concat(parts, ", ") .. (#parts > 0 and " }" or "}")
end

local function made(kind, options, code, params)
  return setmetatable({ kind = kind, options = options, line = err.where():gsub(": $", ""), code = code,
    filter = FILTERS[options.interpolation or "bilinear"], params = params }, Augment)
end

--- lo, hi of a list of two numbers with least <= lo <= hi <= most.
local function range(name, key, v, least, most)
  local lo, hi = v[1], v[2]
  if #v ~= 2 or type(lo) ~= "number" or type(hi) ~= "number" then
    err.user("%s: '%s' must be two numbers", name, key)
  end
  if not (lo >= least and lo <= hi and hi <= most) then
    err.user("%s: '%s' must be two numbers %g <= low <= high <= %g, got %s", name, key, least, most, show(v))
  end
  return lo, hi
end

--- a number x means -x .. x (around `middle`, not below `floor`); a list is the range itself.
local function around(name, key, v, middle, floor, least, most)
  if type(v) == "table" then return range(name, key, v, least, most) end
  if not (v >= 0 and middle + v <= most) then
    err.user("%s: '%s' must be 0 to %g, got %g", name, key, most - middle, v)
  end
  return math.max(middle - v, floor), middle + v
end

local P = { "number", 0.5, min = 0, max = 1 }

--- A part of random area (fraction of the photo) and aspect ratio, resized to size x size.
function augment.random_resized_crop(given)
  local name = "augment.random_resized_crop"
  local o = opt.check({ name, "scale", "ratio", scale = { "list", { 0.08, 1 } },
    ratio = { "list", { 3 / 4, 4 / 3 } }, interpolation = INTERPOLATION }, given)
  local s0, s1 = range(name, "scale", o.scale, 1e-6, 1)
  local r0, r1 = range(name, "ratio", o.ratio, 0.01, 100)
  local a = made("random_resized_crop", o, "FRT_AUG_CROP", { s0, s1, r0, r1 })
  return a
end

--- The shortest (or longest, or both) edge becomes `size` (the data's size when left out).
function augment.resize(given)
  local o = opt.check({ "augment.resize", "size", size = { "integer", nil, min = 1, max = 8192 },
    edge = { "string", "shortest", one_of = { "shortest", "longest", "both" } }, interpolation = INTERPOLATION }, given)
  local a = made("resize", o, "FRT_AUG_RESIZE", { o.size or 0, EDGES[o.edge] })
  return a
end

--- The middle size x size; what lies outside of the photo is filled.
function augment.center_crop(given)
  local o = opt.check({ "augment.center_crop", "size", size = { "integer", nil, min = 1, max = 8192 } }, given)
  local a = made("center_crop", o, "FRT_AUG_CENTER_CROP", { o.size or 0 })
  return a
end

--- Left to right with probability p.
function augment.flip(given)
  local o = opt.check({ "augment.flip", "p", p = P }, given)
  local a = made("flip", o, "FRT_AUG_FLIP", { o.p })
  return a
end

--- Upside down with probability p.
function augment.vflip(given)
  local o = opt.check({ "augment.vflip", "p", p = P }, given)
  local a = made("vflip", o, "FRT_AUG_VFLIP", { o.p })
  return a
end

--- Turned about the middle by up to `degrees` either way, or by { low, high }.
function augment.rotation(given)
  local name = "augment.rotation"
  local o = opt.check({ name, "degrees", degrees = "number|list" }, given)
  local lo, hi = around(name, "degrees", o.degrees, 0, -360, -360, 360)
  local a = made("rotation", o, "FRT_AUG_AFFINE", { lo, hi, 0, 0, 1, 1, 0, 0, 0, 0 })
  return a
end

--- Rotation, shift by up to translate = { x, y } (fractions of the size), scale = { low, high } and shear in
--- degrees: x either way, { low, high } of x, or { low x, high x, low y, high y }.
function augment.affine(given)
  local name = "augment.affine"
  local o = opt.check({ name, "degrees", degrees = { "number|list", 0 }, translate = { "list", nil },
    scale = { "list", nil }, shear = { "number|list", nil } }, given)
  local d0, d1 = around(name, "degrees", o.degrees, 0, -360, -360, 360)
  local t = o.translate or { 0, 0 }
  for i = 1, 2 do
    if #t ~= 2 or type(t[i]) ~= "number" or not (t[i] >= 0 and t[i] <= 1) then
      err.user("%s: 'translate' must be two numbers 0 to 1, got %s", name, show(t))
    end
  end
  local s0, s1 = 1, 1
  if o.scale then s0, s1 = range(name, "scale", o.scale, 0.01, 100) end
  local x0, x1, y0, y1 = 0, 0, 0, 0
  if type(o.shear) == "table" and #o.shear == 4 then
    x0, x1 = range(name, "shear", { o.shear[1], o.shear[2] }, -80, 80)
    y0, y1 = range(name, "shear", { o.shear[3], o.shear[4] }, -80, 80)
  elseif o.shear then
    x0, x1 = around(name, "shear", o.shear, 0, -80, -80, 80)
  end
  local a = made("affine", o, "FRT_AUG_AFFINE", { d0, d1, t[1], t[2], s0, s1, x0, x1, y0, y1 })
  return a
end

--- Brightness, contrast, saturation by a factor in max(0, 1 - x) .. 1 + x, hue by up to x of a turn (at most
--- 0.5), or { low, high } each; in random order, as torchvision's ColorJitter.
function augment.color_jitter(given)
  local name = "augment.color_jitter"
  local o = opt.check({ name, "brightness", "contrast", "saturation", "hue", brightness = { "number|list", 0 },
    contrast = { "number|list", 0 }, saturation = { "number|list", 0 }, hue = { "number|list", 0 } }, given)
  local p = {}
  for i, key in ipairs { "brightness", "contrast", "saturation" } do
    p[2 * i - 1], p[2 * i] = around(name, key, o[key], 1, 0, 0, 100)
  end
  p[7], p[8] = around(name, "hue", o.hue, 0, -0.5, -0.5, 0.5)
  local a = made("color_jitter", o, "FRT_AUG_JITTER", p)
  return a
end

--- Without colour with probability p.
function augment.grayscale(given)
  local o = opt.check({ "augment.grayscale", "p", p = { "number", 0.1, min = 0, max = 1 } }, given)
  local a = made("grayscale", o, "FRT_AUG_GRAYSCALE", { o.p })
  return a
end

--- the list as the C struct array that the loader reads, and its length.
function augment.compile(list)
  local lib = require "foodrt.core.ffi"
  local out = lib.ffi.new("frt_augment[?]", math.max(#list, 1))
  for i, a in ipairs(list) do
    out[i - 1].kind, out[i - 1].interpolation = lib.C[a.code], a.filter
    for k, v in ipairs(a.params) do out[i - 1].param[k - 1] = v end
  end
  return out, #list
end

return augment
