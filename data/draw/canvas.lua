-- The canvas: a float RGB picture and the few shapes everything is drawn from, each antialiased
-- and shaded pixel by pixel. Shapes are given in plane units; the frame maps them to pixels.
local use = ...
local ffi, bit = require "ffi", require "bit"
local rng = use "rng"
local band = bit.band
local sqrt, floor, ceil, abs, min, max = math.sqrt, math.floor, math.ceil, math.abs, math.min, math.max
local cos, sin = math.cos, math.sin

local Canvas = {}
Canvas.__index = Canvas

local SIDE = 256 -- noise tiles are SIDE x SIDE and wrap around
local MAX_CORNERS = 12

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
local function ink(colour, look)
  local m = look or {}
  m[1], m[2], m[3] = colour[1], colour[2], colour[3]
  return m
end

--- A canvas for pictures of up to w x h pixels; `start` begins each picture.
local function new(w, h)
  tiles = tiles or { noise_tile(0), noise_tile(1), noise_tile(3), noise_tile(12) }
  return setmetatable({ px = ffi.new("float[?]", w * h * 3), limit = w * h, stack = {},
    edges = ffi.new("double[?]", 3 * MAX_CORNERS) }, Canvas)
end

--- Begins a picture. light: direction towards the light in the picture plane, length <= 1.
function Canvas:start(w, h, r)
  assert(w * h <= self.limit, "picture larger than its canvas")
  self.w, self.h, self.r = w, h, r
  self.stack, self.extent = {}, nil
  self.lx, self.ly = 0, -1
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

local NONE = { 0, 0, 0 }

-- A material's fields with their defaults, in one place for all shapes.
local function look(m)
  local to = m.to or NONE
  return m[1], m[2], m[3], m.alpha or 1, m.noise or 0, tiles[m.grain or 1], m.to and 1 or 0,
    to[1], to[2], to[3], m.at or 0.4, m.sharp or 6, tiles[m.patch or 3]
end

--- An ellipse with radii ru, rv turned by phi. hole: inner radius as a share of the outer one.
--- cut = { nu, nv, offset }: keeps the part where nu*U + nv*V < offset, U, V in radii.
function Canvas:disc(u, v, ru, rv, phi, m)
  local cs, sn = cos(phi or 0), sin(phi or 0)
  rv = rv or ru
  local p, q = (self.a * cs + self.c * sn) * ru, (self.c * cs - self.a * sn) * rv
  local r, s = (self.b * cs + self.d * sn) * ru, (self.d * cs - self.b * sn) * rv
  local det = p * s - q * r
  local x, y = self.a * u + self.c * v + self.x, self.b * u + self.d * v + self.y
  local ip, iq, ir, is = s / det, -q / det, -r / det, p / det
  local small = abs(det) / max(sqrt(p * p + r * r), sqrt(q * q + s * s), 0.5)
  local soft, rough, rag = m.soft or 1, m.rough or 0, tiles[m.rag or 3]
  local grow = 1 + (soft * 0.5 + 0.5) / max(small, 0.3) + rough * 1.5
  local ex, ey = sqrt(p * p + q * q), sqrt(r * r + s * s)
  touch(self, x - ex, y - ey, x + ex, y + ey)
  local x0, x1 = max(0, floor(x - ex * grow)), min(self.w - 1, ceil(x + ex * grow))
  local y0, y1 = max(0, floor(y - ey * grow)), min(self.h - 1, ceil(y + ey * grow))
  if x1 < x0 or y1 < y0 then
    return
  end
  local mr, mg, mb, alpha, noise, grain, has_to, tr, tg, tb, at, sharp, patch = look(m)
  local dome, rim, gloss, hole = m.dome or 0, m.rim or 0, m.gloss or 0, m.hole or 0
  local cut = m.cut or NONE
  local cu, cv, co = cut[1], cut[2], m.cut and cut[3] or 10
  local lx, ly, px, w, k = self.lx, self.ly, self.px, self.w, small / soft
  local ox, oy = self.r:int(0, 255), self.r:int(0, 255)
  local limit, iex, iey = grow * grow, 1 / ex, 1 / ey
  for j = y0, y1 do
    local dy, row = j - y, band(j + oy, 255) * 256
    for i = x0, x1 do
      local dx = i - x
      local U, V = ip * dx + iq * dy, ir * dx + is * dy
      local d2 = U * U + V * V
      if d2 < limit then
        local n = row + band(i + ox, 255)
        local d = sqrt(d2) + rough * rag[n]
        local cover = (1 - d) * k + 0.5
        cover = min(cover, (d - hole) * k + 0.5 + (hole > 0 and 0 or 9), (co - U * cu - V * cv) * k + 0.5)
        if cover > 0 then
          cover = min(cover, 1) * alpha
          local nx, ny = dx * iex, dy * iey
          local t = max(0, min(1, (patch[n] - at) * sharp)) * has_to
          local l = 1 + noise * grain[n] + dome * (nx * lx + ny * ly) - rim * d2 * d2
          local gx, gy = nx - lx * 0.45, ny - ly * 0.45
          local g = gloss * max(0, 1 - 14 * (gx * gx + gy * gy))
          local o = (j * w + i) * 3
          px[o] = px[o] + ((mr + (tr - mr) * t) * l + g - px[o]) * cover
          px[o + 1] = px[o + 1] + ((mg + (tg - mg) * t) * l + g - px[o + 1]) * cover
          px[o + 2] = px[o + 2] + ((mb + (tb - mb) * t) * l + g - px[o + 2]) * cover
        end
      end
    end
  end
end

--- A rectangle with half sides hu, hv, corners rounded by `corner`, turned by phi.
function Canvas:box(u, v, hu, hv, corner, phi, m)
  local cs, sn = cos(phi or 0), sin(phi or 0)
  local p, q = self.a * cs + self.c * sn, self.c * cs - self.a * sn
  local r, s = self.b * cs + self.d * sn, self.d * cs - self.b * sn
  local det = p * s - q * r
  local x, y = self.a * u + self.c * v + self.x, self.b * u + self.d * v + self.y
  local ip, iq, ir, is = s / det, -q / det, -r / det, p / det
  local unit = abs(det) / max(sqrt(p * p + r * r), sqrt(q * q + s * s))
  local soft, rough, rag = m.soft or 1, m.rough or 0, tiles[m.rag or 3]
  local pad = (soft * 0.5 + 0.5) / unit + rough * 1.5
  local bu, bv = hu + pad, hv + pad
  local ex, ey = abs(p) * bu + abs(q) * bv, abs(r) * bu + abs(s) * bv
  touch(self, x - ex, y - ey, x + ex, y + ey)
  local x0, x1 = max(0, floor(x - ex)), min(self.w - 1, ceil(x + ex))
  local y0, y1 = max(0, floor(y - ey)), min(self.h - 1, ceil(y + ey))
  if x1 < x0 or y1 < y0 then
    return
  end
  local mr, mg, mb, alpha, noise, grain, has_to, tr, tg, tb, at, sharp, patch = look(m)
  local dome, rim = m.dome or 0, m.rim or 0
  local lx, ly, px, w, k = self.lx, self.ly, self.px, self.w, unit / soft
  local ox, oy = self.r:int(0, 255), self.r:int(0, 255)
  local cu, cv = hu - corner, hv - corner
  local iex, iey, iu, iv = 1 / ex, 1 / ey, 1 / hu, 1 / hv
  for j = y0, y1 do
    local dy, row = j - y, band(j + oy, 255) * 256
    for i = x0, x1 do
      local dx = i - x
      local U, V = abs(ip * dx + iq * dy), abs(ir * dx + is * dy)
      local du, dv = U - cu, V - cv
      local ou, ov = max(du, 0), max(dv, 0)
      local n = row + band(i + ox, 255)
      local d = sqrt(ou * ou + ov * ov) + min(max(du, dv), 0) - corner + rough * rag[n]
      local cover = 0.5 - d * k
      if cover > 0 then
        cover = min(cover, 1) * alpha
        local nx, ny = dx * iex, dy * iey
        local t = max(0, min(1, (patch[n] - at) * sharp)) * has_to
        local e = max(U * iu, V * iv)
        local l = 1 + noise * grain[n] + dome * (nx * lx + ny * ly) - rim * e * e * e * e
        local o = (j * w + i) * 3
        px[o] = px[o] + ((mr + (tr - mr) * t) * l - px[o]) * cover
        px[o + 1] = px[o + 1] + ((mg + (tg - mg) * t) * l - px[o + 1]) * cover
        px[o + 2] = px[o + 2] + ((mb + (tb - mb) * t) * l - px[o + 2]) * cover
      end
    end
  end
end

--- A rod from (u1, v1) to (u2, v2), half as thick as `thick` at its start, `thick2` at its end.
--- rim darkens its long sides, dome brightens the side towards the light.
function Canvas:rod(u1, v1, u2, v2, thick, m, thick2)
  local xa, ya = self.a * u1 + self.c * v1 + self.x, self.b * u1 + self.d * v1 + self.y
  local xb, yb = self.a * u2 + self.c * v2 + self.x, self.b * u2 + self.d * v2 + self.y
  local ra = max(0.45, thick * self.s * 0.5)
  local rb = thick2 and max(0.45, thick2 * self.s * 0.5) or ra
  local soft = m.soft or 1
  local thickest = max(ra, rb)
  touch(self, min(xa, xb) - thickest, min(ya, yb) - thickest, max(xa, xb) + thickest, max(ya, yb) + thickest)
  local pad = thickest + soft * 0.5 + 0.5
  local x0, x1 = max(0, floor(min(xa, xb) - pad)), min(self.w - 1, ceil(max(xa, xb) + pad))
  local y0, y1 = max(0, floor(min(ya, yb) - pad)), min(self.h - 1, ceil(max(ya, yb) + pad))
  if x1 < x0 or y1 < y0 then
    return
  end
  local mr, mg, mb, alpha, noise, grain, has_to, tr, tg, tb, at, sharp, patch = look(m)
  local dome, rim = m.dome or 0, m.rim or 0
  local px, w, isoft = self.px, self.w, 1 / soft
  local ox, oy = self.r:int(0, 255), self.r:int(0, 255)
  local ax, ay = xb - xa, yb - ya
  local length2 = max(ax * ax + ay * ay, 1e-6)
  local il, il2 = 1 / sqrt(length2), 1 / length2
  local lean = dome * (ay * self.lx - ax * self.ly) * il
  for j = y0, y1 do
    local dy, row = j - ya, band(j + oy, 255) * 256
    for i = x0, x1 do
      local dx = i - xa
      local t = max(0, min(1, (dx * ax + dy * ay) * il2))
      local ex, ey = dx - t * ax, dy - t * ay
      local radius = ra + (rb - ra) * t
      local cover = (radius - sqrt(ex * ex + ey * ey)) * isoft + 0.5
      if cover > 0 then
        cover = min(cover, 1) * alpha
        local side = (dx * ay - dy * ax) * il / radius
        local n = row + band(i + ox, 255)
        local f = max(0, min(1, (patch[n] - at) * sharp)) * has_to
        local l = 1 + noise * grain[n] - rim * side * side + lean * side
        local o = (j * w + i) * 3
        px[o] = px[o] + ((mr + (tr - mr) * f) * l - px[o]) * cover
        px[o + 1] = px[o + 1] + ((mg + (tg - mg) * f) * l - px[o + 1]) * cover
        px[o + 2] = px[o + 2] + ((mb + (tb - mb) * f) * l - px[o + 2]) * cover
      end
    end
  end
end

--- A convex polygon; points = { u1, v1, u2, v2, ... } in either direction, at most 12 corners.
function Canvas:polygon(points, m)
  local edges, n_corners = self.edges, #points / 2
  local xs, ys, sx, sy = {}, {}, 0, 0
  local x0, y0, x1, y1 = 1e9, 1e9, -1e9, -1e9
  for i = 1, n_corners do
    local x, y = self:pixel(points[2 * i - 1], points[2 * i])
    xs[i], ys[i], sx, sy = x, y, sx + x, sy + y
    x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
  end
  touch(self, x0, y0, x1, y1)
  local x, y = sx / n_corners, sy / n_corners
  local ex, ey = max(1, (x1 - x0) / 2), max(1, (y1 - y0) / 2)
  for i = 1, n_corners do
    local k = i % n_corners + 1
    local nx, ny = ys[k] - ys[i], xs[i] - xs[k]
    local length = max(sqrt(nx * nx + ny * ny), 1e-6)
    nx, ny = nx / length, ny / length
    local off = nx * xs[i] + ny * ys[i]
    if nx * x + ny * y > off then
      nx, ny, off = -nx, -ny, -off
    end
    edges[3 * i - 3], edges[3 * i - 2], edges[3 * i - 1] = nx, ny, off
  end
  local soft, rough, rag = m.soft or 1, (m.rough or 0) * self.s, tiles[m.rag or 3]
  local pad = soft * 0.5 + 0.5 + rough * 1.5
  x0, x1 = max(0, floor(x0 - pad)), min(self.w - 1, ceil(x1 + pad))
  y0, y1 = max(0, floor(y0 - pad)), min(self.h - 1, ceil(y1 + pad))
  local mr, mg, mb, alpha, noise, grain, has_to, tr, tg, tb, at, sharp, patch = look(m)
  local dome, rim = m.dome or 0, (m.rim or 0) * 8 / min(ex, ey)
  local lx, ly, px, w, isoft = self.lx, self.ly, self.px, self.w, 1 / soft
  local ox, oy = self.r:int(0, 255), self.r:int(0, 255)
  for j = y0, y1 do
    local row = band(j + oy, 255) * 256
    for i = x0, x1 do
      local inside = 1e9
      for e = 0, 3 * n_corners - 3, 3 do
        inside = min(inside, edges[e + 2] - edges[e] * i - edges[e + 1] * j)
      end
      local n = row + band(i + ox, 255)
      local cover = (inside + rough * rag[n]) * isoft + 0.5
      if cover > 0 then
        cover = min(cover, 1) * alpha
        local t = max(0, min(1, (patch[n] - at) * sharp)) * has_to
        local l = 1 + noise * grain[n] + dome * ((i - x) / ex * lx + (j - y) / ey * ly)
          - max(0, rim * (1 - inside * 0.5))
        local o = (j * w + i) * 3
        px[o] = px[o] + ((mr + (tr - mr) * t) * l - px[o]) * cover
        px[o + 1] = px[o + 1] + ((mg + (tg - mg) * t) * l - px[o + 1]) * cover
        px[o + 2] = px[o + 2] + ((mb + (tb - mb) * t) * l - px[o + 2]) * cover
      end
    end
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
  self:disc(u, v, ru, rv, phi, { 0, 0, 0, alpha = strength or 0.35, soft = max(2, ru * self.s * 0.35) })
  self.x, self.y, self.extent = x, y, extent
end

return { new = new, ink = ink, tile = function(i) return tiles[i] end }
