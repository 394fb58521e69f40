-- The canvas: a float RGB picture and the few shapes everything is drawn from, each antialiased
-- and shaded pixel by pixel. Shapes are given in plane units; the frame maps them to pixels.
local use = ...
local ffi, bit = require "ffi", require "bit"
local rng, fill = use "rng", use "fill"
local band = bit.band
local sqrt, floor, ceil, abs, min, max = math.sqrt, math.floor, math.ceil, math.abs, math.min, math.max
local cos, sin = math.cos, math.sin

local Canvas = {}
Canvas.__index = Canvas

local SIDE = 256 -- noise tiles are SIDE x SIDE and wrap around

-- Box blur that wraps around, along rows (step 1) or columns (step SIDE).
local function blur(from, to, radius, along, across)
  local n = 2 * radius + 1
  for i = 0, SIDE - 1 do
    local base, sum = i * across, 0
    for k = -radius, radius do
      sum = sum + from[base + band(k, SIDE - 1) * along]
    end
    for j = 0, SIDE - 1 do
      to[base + j * along] = sum / n
      sum = sum + from[base + band(j + radius + 1, SIDE - 1) * along]
        - from[base + band(j - radius, SIDE - 1) * along]
    end
  end
end

-- Smooth noise whose blobs are about 2 * radius pixels wide; mean 0, deviation 0.5.
local function noise_tile(radius)
  local n, r = SIDE * SIDE, rng.new(0, "noise", radius)
  local a, b = ffi.new("float[?]", n), ffi.new("float[?]", n)
  for i = 0, n - 1 do
    a[i] = r:u() - 0.5
  end
  for _ = 1, radius > 0 and 2 or 0 do
    blur(a, b, radius, 1, SIDE)
    blur(b, a, radius, SIDE, 1)
  end
  local sum, squares = 0, 0
  for i = 0, n - 1 do
    sum, squares = sum + a[i], squares + a[i] * a[i]
  end
  local mean = sum / n
  local gain = 0.5 / sqrt(squares / n - mean * mean)
  for i = 0, n - 1 do
    a[i] = (a[i] - mean) * gain
  end
  return a
end

local tiles -- made once: grain, crumbs, blotches, clouds

--- A material: a colour and how its surface looks. Fields, all optional:
---   alpha 1, soft 1 (width of the edge in pixels), noise 0 and grain 1 (1 finest .. 4 clouds),
---   dome 0 (how much the side towards the light is brighter), rim 0 (how much darker at the edge),
---   gloss 0 (highlight), rough 0 (how ragged the outline is) and rag 3 (its grain),
---   to = colour, at 0.4, sharp 6, patch 3: a second colour in patches where the noise exceeds `at`.
local NOTHING, NO_CUT = {}, { 0, 0, 9 }

local function ink(c, look)
  local m = look or NOTHING
  local to, cut = m.to or c, m.cut or NO_CUT
  -- one constructor, every field always there: `begin` then compiles to straight-line code
  return { r = c[1], g = c[2], b = c[3], alpha = m.alpha or 1, soft = m.soft or 1, noise = m.noise or 0,
    grain = tiles[m.grain or 1], has_to = m.to and 1 or 0, to_r = to[1], to_g = to[2], to_b = to[3],
    at = m.at or 0.4, sharp = m.sharp or 6, patch = tiles[m.patch or 3], dome = m.dome or 0, rim = m.rim or 0,
    gloss = m.gloss or 0, rough = m.rough or 0, rag = tiles[m.rag or 3], hole = m.hole or -9,
    cut_u = cut[1], cut_v = cut[2], cut_off = cut[3] }
end

--- A canvas for pictures of up to w x h pixels; `start` begins each picture.
local function new(w, h)
  tiles = tiles or { noise_tile(0), noise_tile(1), noise_tile(3), noise_tile(12) }
  local cv = { px = ffi.new("float[?]", w * h * 3), limit = w * h, stack = {}, shape = fill.new() }
  cv.shape.px = cv.px
  return setmetatable(cv, Canvas)
end

--- Begins a picture. light: direction towards the light in the picture plane, length <= 1.
function Canvas:start(w, h, r)
  assert(w * h <= self.limit, "picture larger than its canvas")
  self.w, self.h, self.r = w, h, r
  self.stack, self.extent = {}, nil
  self.lx, self.ly = 0, -1
  self.ox, self.oy = r:int(0, SIDE - 1), r:int(0, SIDE - 1)
  self:frame(w / 2, h / 2, 1, 0, 1)
end

--- The frame: plane origin at pixel (x, y), one unit = s pixels, turned by `turn` and then
--- foreshortened vertically by `squash` (1 from above, towards 0 from the side).
function Canvas:frame(x, y, s, turn, squash)
  local cs, sn = cos(turn), sin(turn)
  self.a, self.c, self.x = cs * s, -sn * s, x
  self.b, self.d, self.y = sn * s * squash, cs * s * squash, y
  self.s, self.squash = s, squash
  self.up = s * sqrt(max(0, 1 - squash * squash)) -- pixels per unit of height
end

function Canvas:save()
  self.stack[#self.stack + 1] =
    { self.a, self.b, self.c, self.d, self.x, self.y, self.s, self.up, self.squash }
end

function Canvas:back()
  local f = table.remove(self.stack)
  self.a, self.b, self.c, self.d, self.x, self.y, self.s, self.up, self.squash =
    f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9]
end

--- Moves into a frame within the plane until `back`.
function Canvas:place(u, v, turn, scale)
  self:save()
  local cs, sn = cos(turn or 0) * (scale or 1), sin(turn or 0) * (scale or 1)
  local a, b, c, d = self.a, self.b, self.c, self.d
  self.x, self.y = a * u + c * v + self.x, b * u + d * v + self.y
  self.a, self.b, self.c, self.d = a * cs + c * sn, b * cs + d * sn, c * cs - a * sn, d * cs - b * sn
  self.s, self.up = self.s * (scale or 1), self.up * (scale or 1)
end

--- Moves into an upright frame (facing the camera) standing at (u, v), until `back`.
function Canvas:stand(u, v, turn, scale)
  self:save()
  local x, y = self.a * u + self.c * v + self.x, self.b * u + self.d * v + self.y
  self:frame(x, y, self.s * (scale or 1), turn or 0, 1)
end

--- Everything drawn until `back` lies `height` units above the plane.
function Canvas:raise(height)
  self:save()
  self.y = self.y - self.up * height
end

--- Where a plane point lies in the picture.
function Canvas:pixel(u, v)
  return self.a * u + self.c * v + self.x, self.b * u + self.d * v + self.y
end

--- From here on `extent` covers everything drawn (shadows excepted): { x0, y0, x1, y1 } in pixels.
function Canvas:measure()
  self.extent = { 1e9, 1e9, -1e9, -1e9 }
end

local function touch(cv, x0, y0, x1, y1)
  local e = cv.extent
  if e then
    e[1], e[2], e[3], e[4] = min(e[1], x0), min(e[2], y0), max(e[3], x1), max(e[4], y1)
  end
end

local BLACK = { 0, 0, 0 }

-- The shape being drawn: what all shapes share, from the canvas and the material.
local function begin(cv, m)
  local s = cv.shape
  cv.ox, cv.oy = band(cv.ox + 97, SIDE - 1), band(cv.oy + 61, SIDE - 1) -- elsewhere in the noise
  s.w, s.ox, s.oy, s.lx, s.ly = cv.w, cv.ox, cv.oy, cv.lx, cv.ly
  s.r, s.g, s.b, s.alpha, s.noise, s.grain = m.r, m.g, m.b, m.alpha, m.noise, m.grain
  s.has_to, s.to_r, s.to_g, s.to_b, s.at, s.sharp, s.patch = m.has_to, m.to_r, m.to_g, m.to_b, m.at, m.sharp, m.patch
  s.dome, s.rim, s.gloss, s.rough, s.rag = m.dome, m.rim, m.gloss, m.rough, m.rag
  s.hole, s.cut_u, s.cut_v, s.cut_off = m.hole, m.cut_u, m.cut_v, m.cut_off
  return s, m.soft
end

-- Limits the shape to x -+ ex, y -+ ey within the picture; false where nothing is left.
local function within(cv, s, x, y, ex, ey)
  s.x0, s.x1 = max(0, floor(x - ex)), min(cv.w - 1, ceil(x + ex))
  s.y0, s.y1 = max(0, floor(y - ey)), min(cv.h - 1, ceil(y + ey))
  return s.x1 >= s.x0 and s.y1 >= s.y0
end

-- Sets the map from pixels back to the shape's units, whose axes are (p, r) and (q, t) in pixels.
-- out: the pixels per unit where the shape is narrowest
local function invert(s, p, q, r, t)
  local det = p * t - q * r
  s.ip, s.iq, s.ir, s.is = t / det, -q / det, -r / det, p / det
  return abs(det) / max(sqrt(p * p + r * r), sqrt(q * q + t * t), 0.5)
end

--- An ellipse with radii ru, rv turned by phi. hole: inner radius as a share of the outer one.
--- cut = { nu, nv, offset }: keeps the part where nu*U + nv*V < offset, U, V in radii.
function Canvas:disc(u, v, ru, rv, phi, m)
  local s, soft = begin(self, m)
  local cs, sn = cos(phi or 0), sin(phi or 0)
  rv = rv or ru
  local p, q = (self.a * cs + self.c * sn) * ru, (self.c * cs - self.a * sn) * rv
  local r, t = (self.b * cs + self.d * sn) * ru, (self.d * cs - self.b * sn) * rv
  local x, y = self:pixel(u, v)
  local ex, ey = sqrt(p * p + q * q), sqrt(r * r + t * t)
  touch(self, x - ex, y - ey, x + ex, y + ey)
  local narrow = invert(s, p, q, r, t)
  s.pad = 1 + (soft * 0.5 + 0.5) / max(narrow, 0.3) + s.rough * 1.5
  s.x, s.y, s.iex, s.iey, s.k = x, y, 1 / ex, 1 / ey, narrow / soft
  if within(self, s, x, y, ex * s.pad, ey * s.pad) then
    fill.disc(s)
  end
end

--- A rectangle with half sides hu, hv, corners rounded by `corner`, turned by phi.
function Canvas:box(u, v, hu, hv, corner, phi, m)
  local s, soft = begin(self, m)
  local cs, sn = cos(phi or 0), sin(phi or 0)
  local p, q = self.a * cs + self.c * sn, self.c * cs - self.a * sn
  local r, t = self.b * cs + self.d * sn, self.d * cs - self.b * sn
  local x, y = self:pixel(u, v)
  local unit = invert(s, p, q, r, t)
  s.pad = (soft * 0.5 + 0.5) / unit + s.rough * 1.5
  local bu, bv = hu + s.pad, hv + s.pad
  local ex, ey = abs(p) * bu + abs(q) * bv, abs(r) * bu + abs(t) * bv
  touch(self, x - ex, y - ey, x + ex, y + ey)
  s.x, s.y, s.iex, s.iey, s.k = x, y, 1 / ex, 1 / ey, unit / soft
  s.hu, s.hv, s.corner = hu, hv, corner
  if within(self, s, x, y, ex, ey) then
    fill.box(s)
  end
end

--- A rod from (u1, v1) to (u2, v2), `thick` at its start and `thick2` at its end.
--- rim darkens its long sides, dome brightens the side towards the light.
function Canvas:rod(u1, v1, u2, v2, thick, m, thick2)
  local s, soft = begin(self, m)
  local xa, ya = self:pixel(u1, v1)
  local xb, yb = self:pixel(u2, v2)
  s.ra = max(0.45, thick * self.s * 0.5)
  s.rb = max(0.45, (thick2 or thick) * self.s * 0.5)
  local thickest = max(s.ra, s.rb)
  touch(self, min(xa, xb) - thickest, min(ya, yb) - thickest, max(xa, xb) + thickest, max(ya, yb) + thickest)
  s.pad, s.k = thickest + soft * 0.5 + 0.5, 1 / soft
  s.x, s.y, s.ax, s.ay = xa, ya, xb - xa, yb - ya
  if within(self, s, (xa + xb) / 2, (ya + yb) / 2, abs(xb - xa) / 2 + s.pad, abs(yb - ya) / 2 + s.pad) then
    fill.rod(s)
  end
end

--- A convex polygon; points = { u1, v1, u2, v2, ... } in either direction, at most 12 corners.
function Canvas:polygon(points, m)
  local s, soft = begin(self, m)
  local n = #points / 2
  local xs, ys, x, y = {}, {}, 0, 0
  local x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
  for i = 1, n do
    local px, py = self:pixel(points[2 * i - 1], points[2 * i])
    xs[i], ys[i], x, y = px, py, x + px / n, y + py / n
    x0, y0, x1, y1 = min(x0, px), min(y0, py), max(x1, px), max(y1, py)
  end
  touch(self, x0, y0, x1, y1)
  for i = 1, n do
    local k = i % n + 1
    local nx, ny = ys[k] - ys[i], xs[i] - xs[k]
    local length = max(sqrt(nx * nx + ny * ny), 1e-6)
    nx, ny = nx / length, ny / length
    local off = nx * xs[i] + ny * ys[i]
    if nx * x + ny * y > off then
      nx, ny, off = -nx, -ny, -off
    end
    s.edges[3 * i - 3], s.edges[3 * i - 2], s.edges[3 * i - 1] = nx, ny, off
  end
  local ex, ey = max(1, (x1 - x0) / 2), max(1, (y1 - y0) / 2)
  s.n_corners, s.x, s.y, s.iex, s.iey = n, x, y, 1 / ex, 1 / ey
  s.rough, s.rim = s.rough * self.s, s.rim * 8 / min(ex, ey)
  s.pad, s.k = soft * 0.5 + 0.5 + s.rough * 1.5, 1 / soft
  if within(self, s, (x0 + x1) / 2, (y0 + y1) / 2, ex + s.pad, ey + s.pad) then
    fill.polygon(s)
  end
end

--- A bent strand: starts at (u, v) heading `turn`, `steps` rods of `step` units whose heading
--- drifts by `curl` (a constant) plus `wander` (random, smooth).
function Canvas:strand(u, v, turn, steps, step, curl, wander, thick, m)
  local r, drift = self.r, 0
  for _ = 1, steps do
    drift = drift * 0.7 + r:range(-wander, wander)
    turn = turn + curl + drift
    local u2, v2 = u + step * cos(turn), v + step * sin(turn)
    self:rod(u, v, u2, v2, thick, m)
    u, v = u2, v2
  end
  return u, v
end

--- A soft shadow on the plane under something of about radii ru, rv, away from the light.
function Canvas:shadow(u, v, ru, rv, phi, strength, height)
  local x, y, h, extent = self.x, self.y, (height or 0.06) * self.s, self.extent
  self.x, self.y, self.extent = x - self.lx * h, y - self.ly * h, nil
  self:disc(u, v, ru, rv, phi, ink(BLACK, { alpha = strength or 0.35, soft = max(2, ru * self.s * 0.35) }))
  self.x, self.y, self.extent = x, y, extent
end

-- Only the loops that touch pixels are worth compiling; the branchy code around them would
-- flood the compiler with traces.
for _, method in pairs(Canvas) do
  if type(method) == "function" then
    jit.off(method)
  end
end
jit.off(ink)
jit.off(within)
jit.off(touch)

return { new = new, ink = ink, tile = function(i) return tiles[i] end }
