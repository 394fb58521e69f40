-- Ramen, sushi, dumplings and curry rice. Every dish fills about a disc of radius 0.75.
local use = ...
jit.off(true, true) -- see canvas.lua
local ink = use("canvas").ink
local parts = use "parts"
local shade = parts.shade
local cos, sin, pi, abs, sqrt = math.cos, math.sin, math.pi, math.abs, math.sqrt

local BROTHS = { { 0.55, 0.32, 0.14 }, { 0.85, 0.74, 0.56 }, { 0.68, 0.3, 0.12 }, { 0.35, 0.2, 0.1 }, { 0.74, 0.58, 0.3 } }

-- A slice of roast pork: pale with a darker rind and marbling.
local function pork(cv, r, u, v, size)
  local a = r:range(0, pi)
  cv:shadow(u, v, size, size * 0.85, a, 0.35, 0.04)
  cv:disc(u, v, size, size * 0.85, a, ink({ 0.4, 0.22, 0.13 }, { rough = 0.08 }))
  cv:disc(u, v, size * 0.9, size * 0.75, a, ink(r:tint({ 0.78, 0.56, 0.44 }, 0.12), { rough = 0.08, noise = 0.1,
    to = { 0.93, 0.82, 0.72 }, at = 0.15, sharp = 5, patch = 3, dome = 0.1 }))
  cv:disc(u, v, size * 0.55, size * 0.42, a, ink({ 0.55, 0.3, 0.22 }, { hole = 0.86, rough = 0.1, alpha = 0.7 }))
end

local function fish_cake(cv, u, v, size)
  for i = 1, 9 do
    local a = i / 9 * 2 * pi
    cv:disc(u + size * 0.82 * cos(a), v + size * 0.82 * sin(a), size * 0.3, nil, 0, ink({ 0.95, 0.94, 0.92 }))
  end
  cv:disc(u, v, size * 0.9, nil, 0, ink({ 0.96, 0.95, 0.93 }, { dome = 0.08 }))
  local pink = ink({ 0.9, 0.35, 0.5 })
  for i = 0, 11 do
    local a, d = i * 0.75, size * 0.055 * i
    local b, e = a + 0.75, size * 0.055 * (i + 1)
    cv:rod(u + d * cos(a), v + d * sin(a), u + e * cos(b), v + e * sin(b), size * 0.16, pink)
  end
end

local function ramen(cv, r)
  local broth = r:tint(r:pick(BROTHS), 0.15)
  cv:disc(0, 0, 0.8, 0.8, 0, ink(broth, { dome = -0.1, noise = 0.06, grain = 3, soft = 2 }))
  local noodle = r:tint(r:pick { { 0.93, 0.8, 0.5 }, { 0.9, 0.84, 0.68 }, { 0.8, 0.64, 0.36 } }, 0.1)
  local thick, curl = r:range(0.045, 0.065), r:range(0.25, 0.6)
  local m, dark = ink(noodle, { rim = 0.45, dome = 0.15 }), ink(shade(noodle, 0.5), { alpha = 0.5 })
  for _ = 1, 20 do -- wavy strands: the heading swings from side to side
    local u, v = r:spot(0.5)
    local turn, phase = r:range(0, 2 * pi), r:range(0, 6)
    for i = 1, 15 do
      local t = turn + curl * 1.8 * sin(phase + i * 0.9)
      local u2, v2 = u + 0.062 * cos(t), v + 0.062 * sin(t)
      if u2 * u2 + v2 * v2 > 0.5 then
        break
      end
      if i % 3 == 1 then
        cv:rod(u, v + 0.03, u2, v2 + 0.03, thick, dark)
      end
      cv:rod(u, v, u2, v2, thick, m)
      u, v = u2, v2
    end
  end
  local soup = ink(broth, { hole = 0.84, soft = 3, rough = 0.05 }) -- the noodles sink in at the edge
  cv:disc(0, 0, 0.8, 0.8, 0, soup)
  local a = r:range(0, 2 * pi)
  if r:chance(0.75) then
    for i = 0, r:int(0, 2) do
      pork(cv, r, 0.42 * cos(a + i * 0.6), 0.42 * sin(a + i * 0.6), r:range(0.22, 0.3))
    end
  end
  if r:chance(0.7) then
    local b = a + r:range(1.8, 2.6)
    cv:place(0.5 * cos(b), 0.5 * sin(b), b + r:range(-0.3, 0.3))
    cv:shadow(0, 0, 0.2, 0.2, 0, 0.3, 0.05)
    cv:box(0.08, 0, 0.24, 0.17, 0.01, 0, ink({ 0.08, 0.12, 0.09 }, { noise = 0.5, grain = 2, dome = 0.3 }))
    cv:back()
  end
  for i = 1, r:int(0, 2) do
    local b = a - 1 - i * 0.75
    parts.egg(cv, r, 0.4 * cos(b), 0.4 * sin(b), r:range(0.18, 0.22))
  end
  if r:chance(0.45) then
    fish_cake(cv, r:range(-0.2, 0.2), r:range(-0.2, 0.2), 0.15)
  end
  local u0, v0 = r:spot(0.25)
  local green = r:tint({ 0.4, 0.62, 0.2 }, 0.25)
  for _ = 1, r:int(6, 18) do
    local u, v = r:spot(0.3)
    parts.ring(cv, r, u0 + u, v0 + v, 0.045, green, 0.5)
  end
  for _ = 1, r:int(5, 20) do -- fat swims on the broth
    local b, d = r:range(0, 2 * pi), r:range(0.66, 0.76)
    cv:disc(d * cos(b), d * sin(b), r:range(0.015, 0.04), nil, 0,
      ink(shade(broth, 1.3), { alpha = 0.6, hole = 0.6 }))
  end
end

local FISH = { { 0.95, 0.5, 0.28 }, { 0.78, 0.16, 0.16 }, { 0.95, 0.86, 0.78 }, { 0.9, 0.62, 0.5 }, { 0.93, 0.75, 0.25 } }

local function nigiri(cv, r, u, v, a)
  local fish = r:tint(r:pick(FISH), 0.1)
  cv:shadow(u, v, 0.27, 0.15, a, 0.45, 0.08)
  cv:place(u, v, a)
  for i = 0, 2 do
    cv:raise(i * 0.05)
    cv:box(0, 0, 0.23, 0.105, 0.09, 0, ink(shade({ 0.94, 0.92, 0.87 }, 0.75 + 0.12 * i), { noise = 0.14, grain = 2 }))
    cv:back()
  end
  parts.rice(cv, r, 16, 0.22, 0.1, { 0.97, 0.96, 0.92 })
  cv:raise(0.15)
  cv:box(0, 0, 0.25, 0.105, 0.08, 0, ink(shade(fish, 0.75), {}))
  cv:raise(0.04)
  cv:box(0, 0, 0.25, 0.1, 0.08, 0, ink(fish, { dome = 0.3, noise = 0.06, rim = 0.1 }))
  local streak = ink(shade(fish, 1.3), { alpha = 0.7 })
  for i = -3, 3 do
    cv:rod(i * 0.065 - 0.03, -0.085, i * 0.065 + 0.03, 0.085, 0.02, streak)
  end
  if r:chance(0.25) then
    cv:rod(0, -0.11, 0, 0.11, 0.09, ink({ 0.1, 0.13, 0.1 }))
  end
  cv:back()
  cv:back()
  cv:back()
end

local function roll(cv, r, u, v, size, look)
  cv:shadow(u, v, size * 1.05, size * 1.05, 0, 0.45, 0.08)
  for i = 0, 3 do
    cv:raise(i * 0.05)
    cv:disc(u, v, size, size, 0, ink(shade(look.skin, 0.8), { dome = 0.5, noise = 0.2, grain = 2 }))
    cv:back()
  end
  cv:raise(0.2)
  cv:disc(u, v, size, size, 0, ink(look.skin, { dome = 0.2, noise = 0.15, grain = 2 }))
  cv:disc(u, v, size * 0.87, nil, 0, ink({ 0.95, 0.94, 0.9 }, { noise = 0.14, grain = 2, dome = 0.08 }))
  for i = 1, 9 do
    local a = i * 0.7 + look.turn
    cv:disc(u + size * 0.66 * cos(a), v + size * 0.66 * sin(a), 0.03, 0.015, a * 2, ink({ 0.8, 0.78, 0.72 }))
  end
  local k = #look.core
  for i = 1, k do
    local a = look.turn + i / k * 2 * pi
    local d = k == 1 and 0 or size * 0.22
    cv:box(u + d * cos(a), v + d * sin(a), size * 0.26, size * 0.22, 0.02, a, ink(look.core[i], { dome = 0.15, noise = 0.1 }))
  end
  if look.seeds then
    for _ = 1, 7 do
      local du, dv = r:spot(size * 0.9)
      cv:disc(u + du, v + dv, 0.016, 0.01, r:range(0, 3), ink(look.seeds))
    end
  end
  cv:back()
end

local function sushi(cv, r)
  local inside_out, core = r:chance(0.25), {}
  for i = 1, r:int(1, 3) do
    core[i] = r:tint(r:pick { { 0.93, 0.5, 0.28 }, { 0.55, 0.72, 0.3 }, { 0.8, 0.18, 0.16 }, { 0.93, 0.8, 0.3 } }, 0.15)
  end
  local look = { core = core, turn = r:range(0, 3), skin = { 0.09, 0.13, 0.1 } }
  if inside_out then
    look.skin, look.seeds = r:pick { { 0.9, 0.88, 0.82 }, { 0.9, 0.45, 0.15 } }, { 0.2, 0.16, 0.1 }
  end
  local rows, columns = r:int(2, 3), r:int(2, 4)
  local size = r:range(0.135, 0.17)
  local kind = r:u() -- rolls, nigiri or both
  local step_u, step_v = r:range(2.25, 2.8) * size, r:range(2.3, 2.7) * size
  for j = 1, rows do
    for i = 1, columns do
      local u = (i - (columns + 1) / 2) * step_u + r:range(-0.03, 0.03)
      local v = (j - (rows + 1) / 2) * step_v + r:range(-0.03, 0.03)
      if kind < 0.55 or (kind < 0.8 and j % 2 == 1) then
        roll(cv, r, u, v, size, look)
      else
        nigiri(cv, r, u, v, pi / 2 + r:range(-0.25, 0.25))
      end
    end
  end
  if r:chance(0.6) then
    parts.lump(cv, r, 0.6, 0.42, 0.09, { 0.5, 0.68, 0.3 }, 0.2)
  end
  if r:chance(0.5) then
    for _ = 1, 5 do
      cv:disc(-0.6 + r:range(-0.08, 0.08), 0.42 + r:range(-0.06, 0.06), 0.1, 0.06, r:range(0, 3),
        ink(r:tint({ 0.93, 0.66, 0.58 }, 0.1), { dome = 0.3, rough = 0.2 }))
    end
  end
end

-- One dumpling: a half moon lying along `a`, its pleated seam on the outer side.
local function dumpling(cv, u, v, a, size, dough, brown)
  cv:shadow(u, v, size, size * 0.6, a, 0.45, 0.08)
  cv:place(u, v, a, size)
  local cut = { 0, 1, 0.25 }
  for i = 0, 2 do
    cv:raise(i * 0.11)
    cv:disc(0, 0.2, 1, 0.85, 0, ink(shade(dough, 0.66 + 0.12 * i), { cut = cut, dome = 0.2 }))
    cv:back()
  end
  cv:raise(0.28)
  local skin = ink(dough, { cut = cut, dome = 0.3, noise = 0.07, grain = 3, to = brown, at = 0.05, sharp = 2.5 })
  cv:disc(0, 0.2, 1, 0.85, 0, skin)
  cv:disc(0, 0.26, 0.8, 0.42, 0, ink(shade(dough, 1.08), { cut = cut, alpha = 0.5, soft = 3 }))
  local seam, fold = ink(shade(dough, 0.98), { dome = 0.5, rim = 0.2 }), ink(shade(dough, 0.55), { alpha = 0.75 })
  for i = 0, 8 do -- pleats
    local t = pi + 0.18 + (pi - 0.36) * i / 8
    local pu, pv = cos(t), 0.2 + 0.85 * sin(t)
    cv:disc(pu * 0.97, pv * 0.97, 0.15, 0.11, t, seam)
    cv:rod(pu * 0.98, pv * 0.98, pu * 0.66, 0.2 + (pv - 0.2) * 0.62, 0.055, fold)
  end
  cv:back()
  cv:back()
end

local function dumplings(cv, r)
  local dough = r:tint(r:pick { { 0.92, 0.86, 0.74 }, { 0.88, 0.78, 0.56 }, { 0.7, 0.78, 0.5 }, { 0.86, 0.7, 0.44 } }, 0.1)
  local brown = r:chance(0.6) and r:tint({ 0.66, 0.38, 0.14 }, 0.15) or nil
  local n, size = r:int(5, 9), r:range(0.24, 0.3)
  local k = r:u()
  if k < 0.45 then -- a wheel
    n = r:int(4, 6)
    for i = 1, n do
      local a = i / n * 2 * pi
      dumpling(cv, 0.46 * cos(a), 0.46 * sin(a), a + pi / 2 + r:range(-0.15, 0.15), size * 0.95, dough, brown)
    end
  elseif k < 0.75 then -- a row, leaning on one another
    local columns = r:int(4, 6)
    for i = 1, columns do
      local u = (i - (columns + 1) / 2) * 0.25
      dumpling(cv, u, r:range(0.1, 0.2), pi / 2 + r:range(-0.12, 0.12), size, dough, brown)
    end
  else
    for _ = 1, n do
      local u, v = r:spot(0.5)
      dumpling(cv, u, v, r:range(0, 2 * pi), size, dough, brown)
    end
  end
  if r:chance(0.5) then
    parts.herbs(cv, r, r:int(8, 25), 0.65, { 0.35, 0.55, 0.2 })
  end
  if r:chance(0.4) then
    for _ = 1, 10 do
      local u, v = r:spot(0.6)
      parts.ring(cv, r, u, v, 0.04, r:tint({ 0.75, 0.15, 0.08 }, 0.2), 0.5)
    end
  end
end

local CURRIES = { { 0.48, 0.26, 0.08 }, { 0.72, 0.48, 0.1 }, { 0.6, 0.2, 0.08 }, { 0.42, 0.45, 0.15 }, { 0.3, 0.16, 0.07 } }

local function curry_rice(cv, r)
  local sauce = r:tint(r:pick(CURRIES), 0.15)
  local side = r:range(-0.15, 0.15)
  local rice = r:chance(0.75) and { 0.95, 0.93, 0.88 } or r:pick { { 0.93, 0.8, 0.45 }, { 0.7, 0.56, 0.42 } }
  cv:disc(0, 0, 0.74, 0.72, 0, ink(sauce, { rough = 0.05, dome = 0.12, noise = 0.1, grain = 3, gloss = 0.15,
    to = shade(sauce, 1.35), at = 0.25, sharp = 3 }))
  for _ = 1, r:int(7, 13) do
    local u, v = r:spot(0.55)
    if v > side - 0.05 then
      parts.lump(cv, r, u, v, r:range(0.08, 0.13), r:tint(r:pick { { 0.9, 0.45, 0.1 }, { 0.85, 0.7, 0.36 },
        { 0.42, 0.22, 0.12 }, { 0.4, 0.22, 0.14 }, { 0.35, 0.5, 0.15 } }, 0.15), 0.15)
      cv:disc(u, v + 0.05, 0.12, 0.06, 0, ink(sauce, { alpha = 0.75, soft = 3 }))
    end
  end
  local cut = { 0, 1, (side + 0.02) / 0.72 }
  cv:shadow(0, -0.1 + side, 0.68, 0.4, 0, 0.3, 0.05)
  cv:raise(0.06)
  cv:disc(0, 0, 0.72, 0.7, 0, ink(shade(rice, 0.86), { cut = cut, rough = 0.06, rag = 3, noise = 0.12, grain = 2, dome = 0.15 }))
  parts.rice(cv, r, 230, 0.7, 0.68, rice, function(u, v)
    return v < side + 0.03 * sin(u * 14) and u * u + v * v < 0.48
  end)
  cv:back()
  if r:chance(0.5) then
    parts.herbs(cv, r, r:int(5, 20), 0.4, { 0.3, 0.5, 0.15 })
  end
  if r:chance(0.3) then
    for _ = 1, 9 do
      local u, v = r:range(-0.6, -0.45), side + r:range(-0.1, 0.1)
      cv:rod(u, v, u + r:range(0, 0.12), v + r:range(-0.1, 0.1), 0.04, ink({ 0.8, 0.2, 0.12 }))
    end
  end
  if r:chance(0.2) then
    parts.egg(cv, r, r:range(-0.3, 0.3), side - 0.25 + abs(side) * 0.5, sqrt(0.04))
  end
end

return {
  { name = "ramen", cuisine = "asian", region = "japanese", main_ingredient = "noodles", cooking_method = "boiled",
    taste = "savory;salty", course = "main", vessels = { "bowl" }, draw = ramen },
  { name = "sushi", cuisine = "asian", region = "japanese", main_ingredient = "fish", cooking_method = "raw",
    taste = "savory;sour", course = "main", vessels = { "board", "board", "plate" }, draw = sushi },
  { name = "dumplings", cuisine = "asian", region = "northern", main_ingredient = "dough", cooking_method = "boiled",
    taste = "savory", course = "staple", vessels = { "plate", "plate", "board" }, draw = dumplings },
  { name = "curry_rice", cuisine = "asian", region = "japanese", main_ingredient = "rice", cooking_method = "braised",
    taste = "savory;spicy", course = "main", vessels = { "plate", "plate", "bowl" }, draw = curry_rice },
}
