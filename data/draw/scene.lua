-- One photo: a table, the dish on its plate or bowl with clutter around it, seen from some
-- angle in some light, and the box around the food.
local use = ...
local ffi, bit = require "ffi", require "bit"
local canvas = use "canvas"
local kit = use "kit"
local ink, tile = canvas.ink, canvas.tile
local band = bit.band
local cos, sin, pi, floor, min, max = math.cos, math.sin, math.pi, math.floor, math.min, math.max

local scene = {}

-- Fills the picture with a flat colour and cloudy or grainy noise.
local function wash(cv, r, c, amount, grain, stretch)
  local t, px = tile(grain), cv.px
  local ox, oy, k = r:int(0, 255), r:int(0, 255), 0
  local cr, cg, cb = c[1], c[2], c[3]
  for j = 0, cv.h - 1 do
    local row = band(floor(j * stretch) + oy, 255) * 256
    for i = 0, cv.w - 1 do
      local l = 1 + amount * t[row + band(i + ox, 255)]
      px[k], px[k + 1], px[k + 2] = cr * l, cg * l, cb * l
      k = k + 3
    end
  end
end

local tables = {}

function tables.wood(cv, r)
  local c = r:tint(r:pick { { 0.5, 0.32, 0.18 }, { 0.72, 0.55, 0.36 }, { 0.28, 0.18, 0.12 }, { 0.6, 0.58, 0.54 },
    { 0.85, 0.82, 0.76 }, { 0.35, 0.42, 0.45 } }, 0.15)
  wash(cv, r, c, 0.12, 4, 1)
  local plank = r:range(0.35, 0.9)
  local n = math.ceil(3.2 / plank)
  for i = -n, n do
    cv:box(0, (i + 0.5) * plank, 4, plank / 2, 0, 0,
      ink(r:tint(c, 0.12), { noise = 0.12, grain = 3, alpha = 0.9, dome = 0.02 }))
    cv:rod(-4, i * plank, 4, i * plank, 0.02, ink({ 0.06, 0.05, 0.04 }, { alpha = 0.7 }))
    for _ = 1, 3 do
      local v = (i + r:u()) * plank
      cv:rod(-4, v, 4, v + r:range(-0.06, 0.06), 0.015, ink({ 0.1, 0.06, 0.03 }, { alpha = 0.25 }))
    end
  end
end

function tables.plain(cv, r)
  wash(cv, r, r:colour(0, 0.7, 0.2, 0.95), r:range(0.02, 0.2), r:int(1, 4), 1)
end

function tables.stone(cv, r)
  local c = r:tint(r:pick { { 0.8, 0.8, 0.8 }, { 0.3, 0.31, 0.33 }, { 0.6, 0.56, 0.5 } }, 0.2)
  wash(cv, r, c, 0.2, 4, 1)
  local vein = ink(r:chance(0.5) and { 0.95, 0.95, 0.95 } or { 0.2, 0.2, 0.22 }, { alpha = 0.3, soft = 2 })
  for _ = 1, r:int(2, 6) do
    cv:strand(r:range(-2.5, 2.5), r:range(-2.5, 2.5), r:range(0, 6.3), 16, 0.22, 0, 0.35, r:range(0.01, 0.05), vein)
  end
end

function tables.cloth(cv, r)
  local c = r:colour(0, 0.7, 0.35, 0.95)
  wash(cv, r, c, 0.1, 1, 1)
  local step, stripe = r:range(0.25, 0.6), ink(r:colour(0, 0.9, 0.2, 0.95), { alpha = r:range(0.35, 0.6) })
  local wide = step * r:range(0.2, 0.55)
  local n, checks = math.ceil(3 / step), r:chance(0.6)
  for i = -n, n do
    cv:rod(i * step, -4, i * step, 4, wide, stripe)
    if checks then
      cv:rod(-4, i * step, 4, i * step, wide, stripe)
    end
  end
end

function tables.tiles(cv, r)
  local c = r:colour(0, 0.6, 0.3, 0.9)
  wash(cv, r, { c[1] * 0.6, c[2] * 0.6, c[3] * 0.6 }, 0.1, 1, 1)
  local step = r:range(0.5, 0.9)
  local n = math.ceil(2.4 / step)
  for i = -n, n do
    for k = -n, n do
      cv:box(i * step, k * step, step * 0.48, step * 0.48, 0.02, 0, ink(r:tint(c, 0.1), { dome = 0.04, noise = 0.04, grain = 3 }))
    end
  end
end

function tables.mat(cv, r) -- woven
  local c = r:tint(r:pick { { 0.7, 0.6, 0.38 }, { 0.3, 0.22, 0.15 }, { 0.55, 0.6, 0.5 } }, 0.2)
  wash(cv, r, c, 0.2, 1, 1)
  local step = r:range(0.08, 0.14)
  local line = ink({ c[1] * 0.5, c[2] * 0.5, c[3] * 0.5 }, { alpha = 0.5 })
  for i = -floor(2.6 / step), floor(2.6 / step) do
    cv:rod(-4, i * step, 4, i * step, step * 0.3, line)
  end
end

local table_names = { "wood", "wood", "plain", "stone", "cloth", "cloth", "tiles", "mat" }

-- The camera's part: light from one side, shadows across, vignette, white balance, exposure,
-- contrast and sensor noise, into bytes.
local function develop(cv, r, bytes)
  local w, h, px = cv.w, cv.h, cv.px
  local warm = r:range(-0.28, 0.3)
  local green = r:range(-0.1, 0.1)
  local vivid = r:range(0.5, 1.15)
  local exposure = r:range(0.72, 1.4)
  local gr, gg, gb = exposure * (1 + warm), exposure * (1 + green), exposure * (1 - warm)
  local slope = r:range(0, 0.3) / max(w, h)
  local vignette = r:chance(0.6) and r:range(0.1, 0.5) or 0
  local contrast = r:range(0.8, 1.2)
  local haze = r:range(0, 0.06)
  local fog = r:range(0.01, 0.05) -- sensor noise
  local grain = tile(r:chance(0.5) and 1 or 2)
  -- One soft-edged shadow across the table: darker where nx * x + ny * y > off.
  local a, dark = r:range(0, 2 * pi), r:chance(0.45) and r:range(0.2, 0.5) or 0
  local nx, ny = cos(a), sin(a)
  local off, soft = r:range(0.05, 0.4) * w + nx * w / 2 + ny * h / 2, 1 / r:range(4, 30)
  local lx, ly = cv.lx * slope, cv.ly * slope
  local ox, oy = r:int(0, 255), r:int(0, 255)
  local cx, cy, k = w / 2, h / 2, 0
  local far = 1 / (cx * cx + cy * cy)
  for j = 0, h - 1 do
    local row = band(j + oy, 255) * 256
    for i = 0, w - 1 do
      local x, y = i - cx, j - cy
      local l = 1 + x * lx + y * ly - vignette * (x * x + y * y) * far
      l = l * (1 - dark * max(0, min(1, (i * nx + j * ny - off) * soft + 0.5)))
      local n = fog * grain[row + band(i + ox, 255)] + haze
      local pr, pg, pb = px[k], px[k + 1], px[k + 2]
      local grey = (0.3 * pr + 0.59 * pg + 0.11 * pb) * (1 - vivid)
      local vr = (((grey + pr * vivid) * gr * l + n) - 0.45) * contrast + 0.45
      local vg = (((grey + pg * vivid) * gg * l + n) - 0.45) * contrast + 0.45
      local vb = (((grey + pb * vivid) * gb * l + n) - 0.45) * contrast + 0.45
      bytes[k] = max(0, min(255, vr * 255))
      bytes[k + 1] = max(0, min(255, vg * 255))
      bytes[k + 2] = max(0, min(255, vb * 255))
      k = k + 3
    end
  end
end

--- Draws one photo of `dish` into cv and `bytes` (RGB).
--- out: { x, y, w, h } of the food in whole pixels, inside the picture.
function scene.draw(cv, r, dish, w, h, bytes)
  cv:start(w, h, r)
  local a = r:range(0, 2 * pi)
  cv.lx, cv.ly = 0.9 * cos(a), 0.9 * sin(a)
  local squash = dish.view and r:range(dish.view[1], dish.view[2]) or r:range(0.58, 1)
  local s = min(w, h / (0.55 + 0.45 * squash)) * r:range(0.42, 0.6)
  local x, y = w / 2 + r:range(-0.1, 0.1) * w, h / 2 + r:range(-0.1, 0.1) * h
  cv:frame(x, y, s, r:range(0, 2 * pi), squash)
  tables[r:pick(table_names)](cv, r)
  cv:frame(x, y, s, r:range(0, 2 * pi), squash)
  local things = {}
  for i = 1, r:int(2, 6) do
    local angle, d = r:range(0, 2 * pi), r:range(1.3, 1.9)
    local u, v = d * cos(angle), d * sin(angle)
    local _, py = cv:pixel(u, v)
    things[i] = { u, v, py }
  end
  table.sort(things, function(p, q)
    return p[3] < q[3]
  end)
  for _, t in ipairs(things) do
    kit.clutter(cv, r, t[1], t[2])
  end
  local turn = dish.turn and r:range(-dish.turn, dish.turn) or r:range(0, 2 * pi)
  cv:frame(x, y, s, turn, squash)
  local vessel = r:pick(dish.vessels)
  kit[vessel](cv, r)
  cv:measure()
  cv:raise(vessel == "bowl" and -0.08 or 0.06)
  cv:place(0, 0, 0, vessel == "bowl" and 1.12 or 1)
  dish.draw(cv, r, vessel)
  cv:back()
  cv:back()
  local e = cv.extent
  develop(cv, r, bytes)
  local x0, y0 = max(0, floor(e[1])), max(0, floor(e[2]))
  local x1, y1 = min(w, math.ceil(e[3])), min(h, math.ceil(e[4]))
  return { x0, y0, x1 - x0, y1 - y0 }
end

--- Room for a picture of n bytes.
function scene.bytes(n)
  return ffi.new("uint8_t[?]", n)
end

return scene
