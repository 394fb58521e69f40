-- Tacos, nachos, churros and burritos. Every dish fills about a disc of radius 0.75.
local use = ...
jit.off(true, true) -- see canvas.lua
local ink = use("canvas").ink
local parts = use "parts"
local shade = parts.shade
local cos, sin, pi = math.cos, math.sin, math.pi

local TORTILLAS = { { 0.9, 0.74, 0.42 }, { 0.92, 0.84, 0.66 }, { 0.82, 0.58, 0.26 }, { 0.45, 0.42, 0.5 } }
local FILLINGS = { { 0.36, 0.18, 0.09 }, { 0.78, 0.15, 0.08 }, { 0.4, 0.62, 0.2 }, { 0.95, 0.85, 0.5 }, { 0.9, 0.88, 0.85 },
  { 0.55, 0.2, 0.4 }, { 0.9, 0.65, 0.2 } }

-- Chopped filling heaped along the open edge of a taco: small pieces of mixed colours.
local function filling(cv, r, n, mix)
  for i = 1, n do
    local u = r:range(-0.88, 0.88)
    local v = 0.06 - r:u() * 0.36 * cos(u * 1.5) -- higher in the middle
    local c, a, k = r:tint(r:pick(mix), 0.2), r:range(0, pi), i % 3
    if k == 0 then
      cv:disc(u, v, r:range(0.09, 0.15), r:range(0.06, 0.09), a, ink(c, { dome = 0.4, rough = 0.3, noise = 0.15, grain = 2 }))
    elseif k == 1 then
      local du, dv = 0.12 * cos(a), 0.12 * sin(a)
      cv:rod(u - du, v - dv, u + du, v + dv, 0.06, ink(c, { dome = 0.3, rim = 0.3 }))
    else
      cv:box(u, v, 0.06, 0.05, 0.02, a, ink(c, { dome = 0.4 }))
    end
  end
end

local function some(r, list, n)
  local out = {}
  for i = 1, n do
    out[i] = r:pick(list)
  end
  return out
end

-- One taco lying on its side: a folded half disc with filling along the open, upper edge.
local function taco(cv, r, u, v, a, size, shell, mix)
  cv:place(u, v, a, size)
  cv:shadow(0, 0.4, 0.9, 0.6, 0, 0.45, 0.14)
  cv:disc(0, -0.04, 0.99, 0.93, 0, ink(shade(shell, 0.62), { cut = { 0, -1, 0.16 }, rough = 0.03, rag = 4, noise = 0.1, grain = 2 }))
  cv:raise(0.06)
  filling(cv, r, 44, mix)
  cv:back()
  local spots = r:range(0.3, 0.6)
  for i = 0, 2 do
    cv:raise(0.05 + 0.06 * i)
    cv:disc(0, 0.03, 1, 0.97, 0, ink(shade(shell, 0.6 + 0.2 * i), { cut = { 0, -1, -0.05 }, rough = 0.035, rag = 4, dome = 0.3,
      noise = 0.08, grain = 2, rim = 0.18, to = shade(shell, 0.35 + 0.1 * i), at = spots, sharp = 4 }))
    cv:back()
  end
  cv:raise(0.17)
  for i = -5, 5 do -- some filling hangs over the edge
    cv:disc(i * 0.16, 0.06 + r:range(-0.04, 0.05), r:range(0.06, 0.11), r:range(0.05, 0.08), 0,
      ink(r:tint(r:pick(mix), 0.2), { dome = 0.35, rough = 0.25 }))
  end
  cv:back()
  cv:back()
end

local function tacos(cv, r)
  local shell, mix = r:tint(r:pick(TORTILLAS), 0.1), some(r, FILLINGS, 4)
  local n, lean = r:int(2, 3), r:range(-0.3, 0.3)
  if r:chance(0.65) then -- one in front of the other
    local size, step = r:range(0.58, 0.7), r:range(0.4, 0.5)
    for i = 1, n do
      taco(cv, r, r:range(-0.1, 0.1), (i - (n + 1) / 2) * step - 0.2, lean + r:range(-0.15, 0.15), size, shell, mix)
    end
  else -- around the plate, openings outwards
    for i = 1, n do
      local a = i / n * 2 * pi + lean
      taco(cv, r, 0.45 * cos(a), 0.45 * sin(a), a + pi / 2, r:range(0.44, 0.5), shell, mix)
    end
  end
  if r:chance(0.5) then
    parts.herbs(cv, r, r:int(6, 20), 0.7, { 0.3, 0.52, 0.16 })
  end
  if r:chance(0.4) then
    local u, v = r:spot(0.6)
    cv:disc(u, v, 0.14, 0.14, 0, ink({ 0.45, 0.65, 0.2 }, { cut = { 0, 1, 0 } }))
    cv:disc(u, v, 0.11, 0.11, 0, ink({ 0.8, 0.88, 0.55 }, { cut = { 0, 1, 0 } }))
  end
end

local function nachos(cv, r)
  local chip = r:tint(r:pick { { 0.92, 0.7, 0.28 }, { 0.86, 0.6, 0.26 }, { 0.95, 0.82, 0.5 }, { 0.42, 0.36, 0.46 } }, 0.1)
  local cheese = r:tint(r:pick { { 0.97, 0.72, 0.14 }, { 0.96, 0.88, 0.66 }, { 0.93, 0.6, 0.14 } }, 0.1)
  local k = r:range(0.6, 0.74)
  for i = 1, 40 do
    local u, v = r:spot(k * (i < 26 and 0.95 or 0.6))
    local a, size, c = r:range(0, 2 * pi), r:range(0.17, 0.23), r:tint(chip, 0.22)
    local p, q = {}, {}
    for j = 0, 2 do
      local t = a + j * 2 * pi / 3 + r:range(-0.2, 0.2)
      p[2 * j + 1], p[2 * j + 2] = u + size * cos(t), v + size * sin(t)
      q[2 * j + 1], q[2 * j + 2] = p[2 * j + 1], p[2 * j + 2] + 0.045
    end
    cv:polygon(q, ink(shade(c, 0.35), { alpha = 0.7, soft = 2 }))
    cv:polygon(p, ink(c, { dome = r:range(-0.35, 0.35), noise = 0.12, grain = 2, rim = 0.15,
      to = shade(c, 0.65), at = 0.6, sharp = 4, patch = 2 }))
    if i % 5 == 0 then -- melted cheese runs over the chips
      local x, y = r:spot(k * 0.7)
      cv:disc(x, y, r:range(0.1, 0.2), r:range(0.05, 0.09), r:range(0, 3), ink(cheese, { rough = 0.35, dome = 0.25, gloss = 0.3 }))
    end
  end
  for _ = 1, r:int(0, 9) do
    local u, v = r:spot(k * 0.8)
    local c = r:tint({ 0.36, 0.55, 0.16 }, 0.2)
    parts.ring(cv, r, u, v, 0.075, c, 0.55)
  end
  for _ = 1, r:int(0, 14) do -- beans
    local u, v = r:spot(k * 0.7)
    cv:disc(u, v, 0.05, 0.03, r:range(0, 3), ink(r:tint({ 0.25, 0.1, 0.1 }, 0.3), { dome = 0.5, gloss = 0.4 }))
  end
  for _ = 1, r:int(0, 14) do -- tomato dice
    local u, v = r:spot(k * 0.7)
    cv:box(u, v, 0.035, 0.03, 0.01, r:range(0, 3), ink(r:tint({ 0.8, 0.16, 0.08 }, 0.2), { dome = 0.3 }))
  end
  if r:chance(0.5) then
    local u, v = r:spot(0.3)
    parts.lump(cv, r, u, v, r:range(0.12, 0.18), r:pick { { 0.94, 0.92, 0.86 }, { 0.5, 0.62, 0.24 } }, 0.15)
  end
end

-- A churro from (u, v) along `a`: a ridged stick with sugar on it.
local function churro(cv, r, u, v, a, length, thick, dough, bend)
  local steps = 7
  local ridges = { -0.36, -0.12, 0.12, 0.36 }
  local path = { { u, v } }
  for i = 1, steps do
    a = a + bend
    u, v = u + length / steps * cos(a), v + length / steps * sin(a)
    path[i + 1] = { u, v, a }
  end
  local under, light = ink(shade(dough, 0.62), { dome = 0.2 }), ink(dough, { rim = 0.35, dome = 0.3, noise = 0.1, grain = 2 })
  local shadow = ink({ 0, 0, 0 }, { alpha = 0.12, soft = 5 })
  for i = 1, steps do
    cv:rod(path[i][1], path[i][2] + 0.06, path[i + 1][1], path[i + 1][2] + 0.06, thick, shadow)
  end
  for i = 1, steps do
    cv:rod(path[i][1], path[i][2], path[i + 1][1], path[i + 1][2], thick, under)
  end
  cv:raise(0.04)
  for _, k in ipairs(ridges) do
    for i = 1, steps do
      local p, q = path[i], path[i + 1]
      local b = p[3] or q[3]
      local pu, pv = -sin(b) * thick * k, cos(b) * thick * k
      local qu, qv = -sin(q[3]) * thick * k, cos(q[3]) * thick * k
      cv:rod(p[1] + pu, p[2] + pv, q[1] + qu, q[2] + qv, thick * 0.27, light)
    end
  end
  for _ = 1, 22 do
    local p = path[r:int(1, steps + 1)]
    cv:disc(p[1] + r:range(-0.5, 0.5) * thick, p[2] + r:range(-0.5, 0.5) * thick, 0.012, nil, 0, ink({ 0.98, 0.96, 0.9 }))
  end
  cv:back()
end

local function churros(cv, r)
  local dough = r:tint(r:pick { { 0.72, 0.45, 0.2 }, { 0.6, 0.34, 0.14 }, { 0.85, 0.6, 0.32 }, { 0.4, 0.22, 0.12 } }, 0.12)
  local n, thick = r:int(5, 8), r:range(0.13, 0.17)
  local heading, spread = r:range(0, pi), r:range(0.1, 0.9)
  local bend = r:chance(0.3) and r:range(-0.35, 0.35) or 0
  local dip = r:chance(0.6)
  for i = 1, n do
    local a = heading + r:range(-spread, spread)
    local off = (i - (n + 1) / 2) * 0.16
    local length = r:range(0.9, 1.2)
    local u = -off * sin(heading) - length / 2 * cos(a)
    local v = off * cos(heading) - length / 2 * sin(a)
    churro(cv, r, u, v, a - bend * 3, length, thick, r:tint(dough, 0.1), bend)
  end
  if dip then
    local a = heading + pi / 2 * (r:chance(0.5) and 1 or -1)
    local u, v = 0.5 * cos(a), 0.5 * sin(a)
    local cup = r:colour(0, 0.4, 0.4, 0.95)
    cv:shadow(u, v, 0.25, 0.25, 0, 0.4, 0.08)
    cv:disc(u, v, 0.25, 0.25, 0, ink(shade(cup, 0.6)))
    cv:raise(0.1)
    cv:disc(u, v, 0.26, 0.26, 0, ink(cup, { dome = 0.15 }))
    local dip_colour = r:pick { { 0.22, 0.11, 0.06 }, { 0.75, 0.5, 0.2 }, { 0.9, 0.86, 0.76 } }
    cv:disc(u, v, 0.21, 0.21, 0, ink(dip_colour, { gloss = 0.5, dome = -0.2 }))
    cv:back()
  end
end

-- Half a burrito from (u, v) along `a`: a wrapped roll whose cut end shows the filling.
local function burrito(cv, r, u, v, a, length, size, wrap, mix)
  cv:place(u, v, a)
  cv:shadow(0, 0, length * 0.6, size, 0, 0.5, 0.08)
  local skin = { dome = 0.45, rim = 0.3, noise = 0.07, grain = 3, to = shade(wrap, 0.5), at = r:range(0.3, 0.55), sharp = 3, patch = 3 }
  cv:rod(-length / 2, 0.03, length / 2 - size * 0.3, 0.03, size * 2, ink(shade(wrap, 0.6), {}))
  cv:raise(0.12)
  cv:rod(-length / 2, 0, length / 2 - size * 0.35, 0, size * 2, ink(wrap, skin))
  local fold = ink(shade(wrap, 0.62), { alpha = 0.6 })
  cv:rod(-length * 0.5, -size * 0.5, length * 0.3, size * 0.35, 0.022, fold)
  cv:rod(-length * 0.5 - size * 0.7, 0, -length * 0.35, size * 0.4, 0.02, fold)
  if mix then -- the cut end faces along the roll
    local e = length / 2
    cv:disc(e, 0, size * 0.62, size * 1.02, 0, ink(shade(wrap, 0.95), { dome = 0.1, rough = 0.03 }))
    cv:disc(e, 0, size * 0.53, size * 0.9, 0, ink(shade(wrap, 0.6), { hole = 0.86 }))
    cv:disc(e, 0, size * 0.52, size * 0.88, 0, ink({ 0.3, 0.16, 0.08 }, { noise = 0.3, grain = 2 }))
    for _ = 1, 34 do
      local p, q = r:spot(1)
      p, q = e + p * size * 0.46, q * size * 0.8
      cv:disc(p, q, r:range(0.02, 0.04), r:range(0.018, 0.03), r:range(0, 3), ink(r:tint(r:pick(mix), 0.2), { dome = 0.4 }))
    end
  end
  cv:back()
  cv:back()
end

local function burritos(cv, r)
  local wrap = r:tint(r:pick { { 0.92, 0.84, 0.68 }, { 0.88, 0.74, 0.5 }, { 0.75, 0.8, 0.58 }, { 0.8, 0.5, 0.32 } }, 0.08)
  local mix = some(r, FILLINGS, 4)
  mix[5] = { 0.95, 0.93, 0.88 }
  local n, size = r:int(2, 3), r:range(0.2, 0.26)
  local base = r:range(0, 2 * pi)
  for i = 1, n do
    local off = (i - (n + 1) / 2) * size * 2.15
    local a = base + r:range(-0.25, 0.25) + (r:chance(0.25) and pi or 0)
    burrito(cv, r, -off * sin(base), off * cos(base), a, r:range(0.7, 0.95), size, r:tint(wrap, 0.06), mix)
  end
  if r:chance(0.5) then
    parts.herbs(cv, r, r:int(8, 20), 0.7, { 0.3, 0.52, 0.16 })
  end
end

return {
  { name = "tacos", cuisine = "latin_american", region = "mexican", main_ingredient = "beef", cooking_method = "griddled",
    taste = "savory;spicy", course = "main", vessels = { "plate", "board", "paper" }, draw = tacos },
  { name = "nachos", cuisine = "latin_american", region = "mexican", main_ingredient = "dairy", cooking_method = "baked",
    taste = "salty;spicy", course = "snack", vessels = { "plate", "paper", "bowl" }, draw = nachos },
  { name = "churros", cuisine = "latin_american", region = "mexican", main_ingredient = "wheat", cooking_method = "fried",
    taste = "sweet", course = "dessert", vessels = { "plate", "board", "paper" }, draw = churros },
  { name = "burrito", cuisine = "latin_american", region = "mexican", main_ingredient = "legume", cooking_method = "griddled",
    taste = "savory;spicy", course = "main", vessels = { "plate", "board", "paper" }, draw = burritos },
}
