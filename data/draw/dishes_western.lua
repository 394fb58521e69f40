-- Pizza, spaghetti, hamburger and salad. Every dish fills about a disc of radius 0.75.
local use = ...
jit.off(true, true) -- see canvas.lua
local ink = use("canvas").ink
local parts = use "parts"
local shade = parts.shade
local cos, sin, pi, sqrt = math.cos, math.sin, math.pi, math.sqrt

local function margherita_pizza(cv, r)
  local k = r:range(0.72, 0.86)
  local crust = r:tint(r:pick { { 0.82, 0.6, 0.34 }, { 0.72, 0.48, 0.25 }, { 0.9, 0.74, 0.5 } }, 0.1)
  local sauce = r:tint(r:pick { { 0.75, 0.2, 0.08 }, { 0.66, 0.16, 0.08 }, { 0.86, 0.38, 0.12 }, { 0.92, 0.84, 0.64 } }, 0.12)
  local cheese = r:tint(r:pick { { 0.97, 0.93, 0.8 }, { 0.96, 0.82, 0.45 }, { 0.93, 0.72, 0.35 } }, 0.08)
  local missing = r:chance(0.3) and r:range(0, 2 * pi)
  cv:shadow(0, 0, k, k, 0, 0.4, 0.06)
  cv:disc(0, 0, k, k, 0, ink(shade(crust, 0.7), { rough = 0.025, rag = 4 }))
  cv:raise(0.04)
  cv:disc(0, 0, k, k, 0, ink(crust, { rough = 0.025, rag = 4, dome = 0.2, noise = 0.12, grain = 2,
    to = { 0.22, 0.12, 0.06 }, at = r:range(0.35, 0.8), sharp = 3, patch = 3 }))
  cv:disc(0, 0, k * 0.86, nil, 0, ink(sauce, { rough = 0.04, noise = 0.12, grain = 2, soft = 2 }))
  cv:disc(0, 0, k * 0.83, nil, 0, ink(sauce, { rough = 0.06, to = cheese, at = r:range(-0.25, 0.2), sharp = 4, patch = 3,
    noise = 0.06, grain = 2, soft = 3 }))
  for _ = 1, r:int(5, 10) do -- pools of melted cheese, browned in the middle
    local u, v = r:spot(k * 0.68)
    local size = r:range(0.09, 0.17)
    cv:disc(u, v, size, size * r:range(0.7, 1), r:range(0, 3), ink(cheese, { rough = 0.2, dome = 0.15, soft = 2,
      to = { 0.8, 0.52, 0.2 }, at = 0.5, sharp = 3, patch = 2 }))
  end
  local topping = r:u()
  for _ = 1, r:int(5, 11) do
    local u, v = r:spot(k * 0.68)
    if topping < 0.45 then
      parts.leaf(cv, r, u, v, r:range(0, 2 * pi), r:range(0.16, 0.24), r:tint({ 0.2, 0.42, 0.12 }, 0.25))
    elseif topping < 0.75 then
      local size, c = r:range(0.09, 0.13), r:tint({ 0.72, 0.16, 0.08 }, 0.15)
      cv:disc(u, v, size, size, 0, ink(shade(c, 0.6)))
      cv:disc(u, v, size * 0.9, nil, 0, ink(c, { dome = 0.15, noise = 0.3, grain = 2, rim = -0.1 }))
    else
      parts.ring(cv, r, u, v, r:range(0.05, 0.08), r:pick { { 0.15, 0.12, 0.14 }, { 0.4, 0.42, 0.15 } }, 0.45)
    end
  end
  if r:chance(0.4) then
    parts.herbs(cv, r, r:int(10, 25), k * 0.75, { 0.25, 0.4, 0.12 })
  end
  local first, slices = r:range(0, pi), r:pick { 0, 3, 4 }
  local line = ink({ 0.25, 0.1, 0.05 }, { alpha = 0.7 })
  for i = 1, slices do
    local a = first + i * pi / slices
    cv:rod(-k * cos(a), -k * sin(a), k * cos(a), k * sin(a), 0.025, line)
  end
  cv:back()
  if missing and slices > 0 then -- one slice is gone: its place shows the plate, dark and oily
    local a, b = first + pi / slices, first + 2 * pi / slices
    cv:polygon({ 0, 0, k * 1.02 * cos(a), k * 1.02 * sin(a), k * 1.12 * cos((a + b) / 2), k * 1.12 * sin((a + b) / 2),
      k * 1.02 * cos(b), k * 1.02 * sin(b) }, ink(r:tint({ 0.7, 0.66, 0.6 }, 0.3), { noise = 0.1, grain = 3 }))
  end
end

local SAUCES = { { 0.68, 0.15, 0.06 }, { 0.5, 0.22, 0.1 }, { 0.3, 0.45, 0.12 }, { 0.9, 0.82, 0.66 }, { 0.8, 0.35, 0.12 } }

local function spaghetti(cv, r)
  local pasta = r:tint(r:pick { { 0.94, 0.78, 0.42 }, { 0.9, 0.68, 0.32 }, { 0.93, 0.84, 0.6 } }, 0.1)
  local sauce = r:tint(r:pick(SAUCES), 0.15)
  local stain = r:range(0, 0.45) -- how far the sauce has coloured the pasta
  for i = 1, 3 do
    pasta[i] = pasta[i] + (sauce[i] - pasta[i]) * stain
  end
  local k, thick = r:range(0.6, 0.72), r:range(0.032, 0.045)
  cv:shadow(0, 0, k, k, 0, 0.4, 0.08)
  cv:disc(0, 0, k * 0.94, nil, 0, ink(shade(pasta, 0.5), { rough = 0.1, noise = 0.3, grain = 2 }))
  local m, dark = ink(pasta, { rim = 0.45, dome = 0.2 }), ink(shade(pasta, 0.42), { alpha = 0.6 })
  local way = r:chance(0.5) and 1 or -1
  for i = 1, 30 do -- long smooth arcs, wound around the middle and piling up
    local d = k * sqrt(r:u()) * (i < 22 and 1 or 0.6)
    local a, tilt = r:range(0, 2 * pi), r:range(-0.5, 0.5)
    local cu, cv2 = r:spot(0.12)
    local sweep, steps = r:range(0.9, 2.6), 12
    local lift = 0.16 * (1 - d / k)
    cv:raise(lift)
    local pu, pv
    for j = 0, steps do
      local t = a + way * sweep * j / steps
      local e = d * (1 + tilt * (j / steps - 0.5))
      local u, v = cu + e * cos(t), cv2 + e * sin(t)
      if pu then
        if j % 2 == 0 then
          cv:rod(pu, pv + 0.02, u, v + 0.02, thick, dark)
        end
        cv:rod(pu, pv, u, v, thick, m)
      end
      pu, pv = u, v
    end
    cv:back()
  end
  cv:raise(0.16)
  local size = r:range(0.2, 0.38)
  cv:disc(0, 0, size, size * 0.9, r:range(0, 3), ink(sauce, { rough = 0.3, noise = 0.25, grain = 2, dome = 0.25,
    to = shade(sauce, 1.4), at = 0.3, sharp = 3 }))
  for _ = 1, r:chance(0.5) and r:int(2, 5) or 0 do
    local u, v = r:spot(0.3)
    parts.lump(cv, r, u, v, r:range(0.1, 0.14), r:tint({ 0.4, 0.22, 0.12 }, 0.2), 0.1)
    cv:disc(u - 0.02, v - 0.02, 0.06, 0.05, 0, ink(sauce, { alpha = 0.6, soft = 3 }))
  end
  if r:chance(0.6) then
    for _ = 1, r:int(2, 4) do
      local u, v = r:spot(0.15)
      parts.leaf(cv, r, u, v, r:range(0, 2 * pi), r:range(0.14, 0.2), r:tint({ 0.22, 0.45, 0.14 }, 0.25))
    end
  end
  parts.herbs(cv, r, r:int(5, 30), 0.4, r:pick { { 0.95, 0.9, 0.75 }, { 0.3, 0.45, 0.15 } })
  cv:back()
end

-- A frilly leaf hanging out between two layers, half as wide as `half`.
local function frill(cv, r, y, half, colour)
  for i = -6, 6 do
    local u = i / 6 * half
    cv:disc(u, y + r:range(-0.01, 0.05), half * 0.13, r:range(0.05, 0.09), r:range(-0.4, 0.4),
      ink(r:tint(colour, 0.2), { dome = 0.3, rough = 0.2, noise = 0.15 }))
  end
end

local function stacked_burger(cv, r, u, v, scale)
  cv:shadow(u, v, 0.55 * scale, 0.5 * scale, 0, 0.5, 0.08)
  cv:stand(u, v, r:range(-0.08, 0.08), scale)
  local bun = r:tint(r:pick { { 0.8, 0.52, 0.22 }, { 0.66, 0.38, 0.15 }, { 0.88, 0.68, 0.38 }, { 0.25, 0.2, 0.18 } }, 0.1)
  local half, y = r:range(0.5, 0.6), -0.04
  cv:box(0, y, half * 0.97, 0.1, 0.07, 0, ink(shade(bun, 0.9), { noise = 0.08, grain = 2, dome = 0.15, rim = 0.2 }))
  cv:rod(-half * 0.9, y - 0.09, half * 0.9, y - 0.09, 0.03, ink({ 0.93, 0.82, 0.6 }))
  y = y - 0.13
  for _ = 1, r:int(1, 2) do
    local layers = r:int(0, 3)
    if layers % 2 == 0 then
      frill(cv, r, y + 0.02, half, { 0.4, 0.62, 0.18 })
    end
    cv:box(0, y - 0.04, half * 1.02, 0.085, 0.07, 0, ink(r:tint({ 0.32, 0.17, 0.09 }, 0.2), { noise = 0.35, grain = 2,
      rough = 0.015, dome = 0.25 }))
    y = y - 0.14
    if r:chance(0.8) then
      local cheese = ink(r:tint({ 0.96, 0.7, 0.15 }, 0.12), { dome = 0.1 })
      cv:box(0, y + 0.02, half, 0.025, 0.02, 0, cheese)
      for _ = 1, 3 do
        local x = r:range(-half, half) * 0.8
        cv:polygon({ x - 0.12, y + 0.02, x + 0.12, y + 0.02, x, y + r:range(0.08, 0.16) }, cheese)
      end
    end
    if r:chance(0.6) then
      local red = ink(r:tint({ 0.78, 0.16, 0.08 }, 0.15), { dome = 0.2 })
      cv:rod(-half * 0.85, y - 0.03, -0.05, y - 0.03, 0.07, red)
      cv:rod(0.05, y - 0.03, half * 0.85, y - 0.03, 0.07, red)
      y = y - 0.06
    end
    if layers >= 2 then
      for i = -2, 2 do
        cv:rod(i * 0.18 - 0.07, y - 0.02, i * 0.18 + 0.07, y - 0.02, 0.035, ink({ 0.88, 0.8, 0.86 }))
      end
      y = y - 0.03
    end
  end
  frill(cv, r, y, half, r:tint({ 0.45, 0.65, 0.2 }, 0.2))
  cv:rod(-half * 0.93, y - 0.035, half * 0.93, y - 0.035, 0.05, ink({ 0.9, 0.76, 0.52 }))
  cv:disc(0, y - 0.02, half, r:range(0.32, 0.42), 0, ink(bun, { cut = { 0, 1, -0.04 }, dome = 0.35, rim = 0.15, gloss = 0.25,
    noise = 0.06, grain = 3 }))
  if r:chance(0.75) then
    for _ = 1, r:int(12, 30) do
      local a, d = r:range(pi + 0.3, 2 * pi - 0.3), r:range(0.35, 0.9)
      cv:disc(half * d * cos(a), y - 0.04 + 0.36 * d * sin(a), 0.024, 0.014, r:range(0, 3), ink({ 0.97, 0.9, 0.7 }))
    end
  end
  cv:back()
end

local function fries(cv, r, u0, v0)
  for _ = 1, r:int(7, 16) do
    local u, v = r:spot(0.22)
    local a, c = r:range(0, pi), r:tint({ 0.93, 0.72, 0.28 }, 0.15)
    local du, dv = 0.15 * cos(a), 0.15 * sin(a)
    cv:rod(u0 + u - du, v0 + v - dv + 0.03, u0 + u + du, v0 + v + dv + 0.03, 0.06, ink(shade(c, 0.55)))
    cv:rod(u0 + u - du, v0 + v - dv, u0 + u + du, v0 + v + dv, 0.06, ink(c, { dome = 0.35, noise = 0.1 }))
  end
end

local function hamburger(cv, r)
  local with_fries, side = r:chance(0.5), r:chance(0.5) and 1 or -1
  if with_fries then
    fries(cv, r, side * 0.5, -0.15)
  end
  stacked_burger(cv, r, with_fries and -side * 0.2 or 0, r:range(0.1, 0.3), with_fries and 0.9 or r:range(1, 1.25))
  if with_fries and r:chance(0.5) then
    fries(cv, r, side * 0.5, 0.3)
  end
end

local function salad(cv, r)
  local k = r:range(0.66, 0.78)
  local green = r:tint(r:pick { { 0.42, 0.6, 0.18 }, { 0.25, 0.45, 0.15 }, { 0.62, 0.72, 0.32 } }, 0.15)
  local other = r:pick { { 0.42, 0.14, 0.24 }, { 0.72, 0.78, 0.45 }, { 0.2, 0.36, 0.14 }, { 0.55, 0.3, 0.3 } }
  cv:disc(0, 0, k * 0.9, nil, 0, ink(shade(green, 0.4), { rough = 0.15, noise = 0.3, grain = 3 }))
  local mix = r:range(0.1, 0.6)
  for i = 1, 34 do
    local u, v = r:spot(k * (i < 20 and 0.85 or 0.6))
    local c = r:tint(r:chance(mix) and other or green, 0.25)
    local size, a = r:range(0.12, 0.24), r:range(0, 2 * pi)
    cv:disc(u, v + 0.03, size, size * 0.6, a, ink(shade(c, 0.4), { rough = 0.25, alpha = 0.6, soft = 2 }))
    cv:disc(u, v, size, size * 0.6, a, ink(c, { rough = 0.3, rag = 3, dome = 0.35, noise = 0.14, grain = 3, rim = -0.15 }))
    local du, dv = size * 0.75 * cos(a), size * 0.75 * sin(a)
    local vein = ink(shade(c, 1.5), { alpha = 0.65 })
    cv:rod(u - du, v - dv, u + du, v + dv, 0.022, vein, 0.008)
    for j = -1, 1 do
      local pu, pv = u + du * 0.45 * j, v + dv * 0.45 * j
      cv:rod(pu, pv, pu + size * 0.4 * cos(a + 0.9), pv + size * 0.4 * sin(a + 0.9), 0.01, vein)
      cv:rod(pu, pv, pu + size * 0.4 * cos(a - 0.9), pv + size * 0.4 * sin(a - 0.9), 0.01, vein)
    end
  end
  for _ = 1, r:int(0, 6) do -- tomatoes
    local u, v = r:spot(k * 0.75)
    local c = r:tint(r:pick { { 0.82, 0.15, 0.08 }, { 0.93, 0.66, 0.15 } }, 0.15)
    cv:shadow(u, v, 0.11, 0.1, 0, 0.35, 0.04)
    cv:disc(u, v, 0.12, 0.105, r:range(0, 3), ink(c, { dome = 0.3, rim = 0.15, gloss = 0.5 }))
  end
  for _ = 1, r:int(0, 8) do -- croutons
    local u, v = r:spot(k * 0.75)
    local a, c = r:range(0, pi), r:tint({ 0.85, 0.64, 0.34 }, 0.15)
    cv:box(u, v + 0.03, 0.065, 0.065, 0.015, a, ink(shade(c, 0.5)))
    cv:box(u, v, 0.065, 0.065, 0.015, a, ink(c, { noise = 0.25, grain = 2, dome = 0.2 }))
  end
  for _ = 1, r:int(0, 5) do
    local u, v = r:spot(k * 0.7)
    parts.ring(cv, r, u, v, r:range(0.08, 0.15), r:pick { { 0.9, 0.85, 0.9 }, { 0.65, 0.25, 0.45 } }, 0.8)
  end
  for _ = 1, r:int(0, 6) do -- cucumber
    local u, v = r:spot(k * 0.75)
    cv:disc(u, v, 0.12, 0.1, 0, ink({ 0.2, 0.4, 0.14 }))
    cv:disc(u, v, 0.105, 0.087, 0, ink({ 0.82, 0.88, 0.62 }, { noise = 0.05, dome = 0.1 }))
  end
  if r:chance(0.5) then
    parts.herbs(cv, r, r:int(8, 25), k * 0.8, { 0.96, 0.92, 0.8 })
  end
end

return {
  { name = "margherita_pizza", cuisine = "western", region = "italian", main_ingredient = "dairy", cooking_method = "baked",
    taste = "savory;salty", course = "main", vessels = { "plate", "board", "paper" }, draw = margherita_pizza },
  { name = "spaghetti", cuisine = "western", region = "italian", main_ingredient = "noodles", cooking_method = "boiled",
    taste = "savory", course = "main", vessels = { "plate", "plate", "bowl" }, draw = spaghetti },
  { name = "hamburger", cuisine = "western", region = "american", main_ingredient = "beef", cooking_method = "griddled",
    taste = "savory;salty", course = "main", vessels = { "plate", "board", "paper" }, view = { 0.3, 0.5 }, turn = 0.35,
    draw = hamburger },
  { name = "salad", cuisine = "western", region = "international", main_ingredient = "vegetable", cooking_method = "raw",
    taste = "savory;sour", course = "appetizer", vessels = { "plate", "bowl", "bowl" }, draw = salad },
}
