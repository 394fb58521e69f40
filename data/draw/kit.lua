-- What stands on the table: plates, bowls and boards, and the clutter around the dish
-- (cutlery, glasses, napkins, sauces, loose ingredients).
local use = ...
jit.off(true, true) -- see canvas.lua
local ink = use("canvas").ink
local cos, sin, pi = math.cos, math.sin, math.pi

local kit = {}

-- A plain or tinted glaze: mostly light, sometimes any colour or dark.
local function glaze(r)
  local k = r:u()
  if k < 0.4 then
    return r:tint({ 0.88, 0.87, 0.84 }, 0.1)
  elseif k < 0.8 then
    return r:colour(0.15, 0.75, 0.3, 0.9)
  end
  return r:tint({ 0.2, 0.21, 0.23 }, 0.35)
end

local function shade(c, k)
  return { c[1] * k, c[2] * k, c[3] * k }
end

--- A flat round plate of radius 1.
function kit.plate(cv, r)
  local c, e = glaze(r), r:range(0.66, 0.8)
  cv:shadow(0, 0, 1.02, 1.02, 0, 0.5, 0.1)
  cv:disc(0, 0, 1, 1, 0, ink(shade(c, 0.7), {}))
  cv:raise(0.05)
  cv:disc(0, 0, 1, 1, 0, ink(c, { dome = 0.12, noise = 0.02, grain = 3 }))
  if r:chance(0.4) then
    local band = r:range(0.9, 0.97)
    cv:disc(0, 0, band, band, 0, ink(r:colour(0.4, 0.9, 0.2, 0.8), { hole = 1 - r:range(0.03, 0.1) }))
  end
  if r:chance(0.2) then -- painted dots along the rim
    local n, dot = r:int(10, 24), r:colour(0.4, 0.9, 0.2, 0.8)
    for i = 1, n do
      cv:disc(0.88 * cos(i / n * 2 * pi), 0.88 * sin(i / n * 2 * pi), 0.04, 0.04, 0, ink(dot))
    end
  end
  cv:disc(0, 0.01, e + 0.03, e + 0.03, 0, ink(shade(c, 0.86), { soft = 3 }))
  cv:disc(0, 0, e, e, 0, ink(c, { dome = -0.08, soft = 2, noise = 0.02, grain = 3 }))
  cv:back()
end

--- A bowl whose opening has radius 1; what is in it lies at its own level, see `inside`.
function kit.bowl(cv, r)
  local c = glaze(r)
  local inner = r:chance(0.5) and c or glaze(r)
  cv:shadow(0, 0.05, 0.95, 0.95, 0, 0.55, 0.16)
  for i = 0, 5 do
    local k = 0.62 + 0.38 * math.sqrt(i / 5)
    cv:raise(-0.3 + i * 0.06)
    cv:disc(0, 0, k, k, 0, ink(shade(c, 0.62 + 0.05 * i), { dome = 0.35 }))
    cv:back()
  end
  cv:disc(0, 0, 1, 1, 0, ink(c, { dome = 0.1 }))
  if r:chance(0.4) then
    cv:disc(0, 0, 0.995, 0.995, 0, ink(r:colour(0.4, 0.9, 0.2, 0.8), { hole = 0.96 }))
  end
  cv:disc(0, 0, 0.93, 0.93, 0, ink(shade(inner, 0.72), { dome = -0.35, soft = 2 }))
end

--- A board, slate or tray: a rounded rectangle just large enough for radius-1 food.
function kit.board(cv, r)
  local hu, hv, corner = r:range(0.95, 1.15), r:range(0.72, 0.95), r:range(0.02, 0.25)
  local wooden = r:chance(0.5)
  local c, look
  if wooden then
    c = r:tint(r:pick { { 0.62, 0.42, 0.24 }, { 0.78, 0.6, 0.4 }, { 0.4, 0.25, 0.15 } }, 0.15)
    look = { noise = 0.08, grain = 3, dome = 0.08 }
  elseif r:chance(0.5) then
    c = r:tint({ 0.22, 0.23, 0.25 }, 0.25)
    look = { noise = 0.16, grain = 2, dome = 0.08 }
  else
    c = r:colour(0, 0.7, 0.35, 0.9)
    look = { noise = 0.05, grain = 2, dome = 0.08 }
  end
  cv:shadow(0, 0, hu, hv, 0, 0.5, 0.08)
  cv:box(0, 0, hu, hv, corner, 0, ink(shade(c, 0.6), {}))
  cv:raise(0.06)
  cv:box(0, 0, hu, hv, corner, 0, ink(c, look))
  if wooden then
    for _ = 1, r:int(4, 9) do
      local v = r:range(-hv, hv) * 0.9
      cv:rod(-hu * 0.95, v, hu * 0.95, v + r:range(-0.05, 0.05), 0.012, ink(shade(c, 0.75), { alpha = 0.5 }))
    end
  end
  cv:back()
end

--- A plate or board with a sheet of paper on it.
function kit.paper(cv, r)
  kit[r:pick { "board", "plate" }](cv, r)
  local c = r:pick { { 0.93, 0.91, 0.86 }, { 0.78, 0.66, 0.5 }, { 0.9, 0.86, 0.74 } }
  local turn = r:range(-0.6, 0.6)
  cv:raise(0.06)
  cv:box(0, 0, r:range(0.72, 0.86), r:range(0.62, 0.74), 0.02, turn,
    ink(r:tint(c, 0.06), { noise = 0.08, grain = 4, rough = 0.02, dome = 0.1 }))
  if r:chance(0.5) then -- printed checks
    local stripe = ink(r:colour(0.5, 0.9, 0.3, 0.7), { alpha = 0.45 })
    cv:place(0, 0, turn)
    for i = -5, 5 do
      cv:rod(i * 0.12, -0.6, i * 0.12, 0.6, 0.045, stripe)
      cv:rod(-0.68, i * 0.11, 0.68, i * 0.11, 0.045, stripe)
    end
    cv:back()
  end
  cv:back()
end

-- Clutter: each draws one thing around the origin, about 0.5 to 1 unit large.
local clutter = {}

local function metal(r)
  return ink(r:tint(r:pick { { 0.68, 0.69, 0.71 }, { 0.75, 0.62, 0.35 }, { 0.3, 0.3, 0.32 } }, 0.1),
    { dome = 0.35, rim = 0.3 })
end

function clutter.fork(cv, r)
  local m = metal(r)
  cv:shadow(0, 0, 0.06, 0.8, 0, 0.3, 0.03)
  cv:rod(0, 0.85, 0, -0.3, 0.09, m, 0.05)
  cv:disc(0, -0.4, 0.11, 0.16, 0, m)
  for i = -1.5, 1.5 do
    cv:rod(i * 0.055, -0.42, i * 0.06, -0.8, 0.03, m)
  end
end

function clutter.knife(cv, r)
  local m, grip = metal(r), r:chance(0.4) and ink(r:tint({ 0.25, 0.15, 0.1 }, 0.3)) or metal(r)
  cv:shadow(0, 0, 0.07, 0.8, 0, 0.3, 0.03)
  cv:rod(0, 0.85, 0, 0.1, 0.1, grip, 0.08)
  cv:rod(0, 0.1, -0.01, -0.75, 0.11, m, 0.07)
end

function clutter.spoon(cv, r)
  local m = metal(r)
  cv:shadow(0, 0, 0.07, 0.8, 0, 0.3, 0.03)
  cv:rod(0, 0.85, 0, -0.3, 0.08, m, 0.05)
  cv:disc(0, -0.5, 0.15, 0.24, 0, m)
  cv:disc(0, -0.49, 0.11, 0.19, 0, ink({ m.r * 0.7, m.g * 0.7, m.b * 0.7 }, { dome = -0.5, soft = 2 }))
end

function clutter.chopsticks(cv, r)
  local c = r:chance(0.5) and r:tint({ 0.6, 0.4, 0.22 }, 0.3) or r:colour(0.3, 0.9, 0.15, 0.6)
  local m, lean = ink(c, { dome = 0.3, rim = 0.25 }), r:range(-0.12, 0.12)
  cv:shadow(0.05, 0, 0.09, 0.95, 0, 0.3, 0.03)
  cv:rod(-0.06, 0.95, -0.04 - lean, -0.95, 0.065, m, 0.035)
  cv:rod(0.07, 0.95, 0.04 + lean, -0.95, 0.065, m, 0.035)
end

function clutter.glass(cv, r)
  local drink = r:pick { { 0.55, 0.3, 0.1 }, { 0.85, 0.6, 0.15 }, { 0.5, 0.08, 0.12 }, { 0.75, 0.8, 0.82 },
    { 0.3, 0.5, 0.25 }, { 0.9, 0.85, 0.75 } }
  local k = r:range(0.28, 0.4)
  cv:shadow(0, 0, k, k, 0, 0.35, 0.2)
  for i = 0, 4 do
    cv:raise(i * 0.12)
    cv:disc(0, 0, k * (0.85 + 0.03 * i), nil, 0, ink(shade(drink, 0.6 + 0.08 * i), { alpha = 0.75, dome = 0.2 }))
    cv:back()
  end
  cv:raise(0.55)
  cv:disc(0, 0, k, k, 0, ink({ 0.92, 0.94, 0.95 }, { hole = 0.88, alpha = 0.8 }))
  cv:disc(0, 0, k * 0.88, nil, 0, ink(r:tint(drink, 0.15), { dome = -0.3, alpha = 0.9, noise = 0.05, grain = 3 }))
  for _ = 1, r:int(0, 3) do
    local u, v = r:spot(k * 0.5)
    cv:box(u, v, 0.08, 0.08, 0.02, r:range(0, 3), ink({ 0.95, 0.97, 1 }, { alpha = 0.5, dome = 0.4 }))
  end
  cv:back()
end

function clutter.napkin(cv, r)
  local c, k = r:colour(0, 0.8, 0.35, 0.95), r:range(0.4, 0.6)
  cv:shadow(0, 0, k * 1.1, k, 0, 0.3, 0.03)
  cv:box(0, 0, k, k * 0.8, 0.02, 0, ink(c, { noise = 0.1, grain = 4, dome = 0.1, rough = 0.02 }))
  cv:polygon({ -k, -k * 0.8, k, -k * 0.8, -k, k * 0.8 }, ink(shade(c, 0.88), { noise = 0.08, grain = 4 }))
  local stripe = ink(r:colour(0.3, 0.9, 0.3, 0.9), { alpha = 0.8 })
  for i = 1, r:int(0, 3) do
    cv:rod(-k + i * 0.08, -k * 0.75, -k + i * 0.08, k * 0.75, 0.03, stripe)
  end
end

function clutter.sauce(cv, r)
  local c, k = glaze(r), r:range(0.2, 0.32)
  cv:shadow(0, 0, k, k, 0, 0.4, 0.08)
  cv:disc(0, 0, k, k, 0, ink(shade(c, 0.7)))
  cv:raise(0.1)
  cv:disc(0, 0, k * 1.05, nil, 0, ink(c, { dome = 0.15 }))
  cv:disc(0, 0, k * 0.82, nil, 0, ink(r:pick { { 0.2, 0.1, 0.06 }, { 0.7, 0.15, 0.08 }, { 0.85, 0.65, 0.2 },
    { 0.9, 0.87, 0.78 }, { 0.35, 0.5, 0.15 } }, { gloss = 0.5, dome = -0.2 }))
  cv:back()
end

function clutter.tomatoes(cv, r)
  for _ = 1, r:int(1, 3) do
    local u, v = r:spot(0.25)
    cv:shadow(u, v, 0.15, 0.15, 0, 0.4, 0.06)
    cv:disc(u, v, 0.15, 0.14, 0, ink(r:tint({ 0.8, 0.14, 0.08 }, 0.2), { dome = 0.35, rim = 0.2, gloss = 0.7 }))
  end
end

function clutter.citrus(cv, r)
  local c = r:pick { { 0.92, 0.8, 0.2 }, { 0.5, 0.7, 0.2 }, { 0.95, 0.55, 0.1 } }
  local cut = r:chance(0.5) and { 0, 1, 0.1 } or nil
  cv:shadow(0, 0, 0.24, 0.22, 0, 0.35, 0.05)
  cv:disc(0, 0, 0.25, 0.25, 0, ink(shade(c, 0.9), { cut = cut }))
  cv:disc(0, 0, 0.22, 0.22, 0, ink({ 0.95, 0.93, 0.8 }, { cut = cut }))
  for i = 1, 8 do
    local a = i * pi / 4
    if not cut or sin(a) < 0.05 then
      cv:disc(0.12 * cos(a), 0.12 * sin(a), 0.085, 0.04, a, ink(shade(c, 1.05), { noise = 0.08 }))
    end
  end
end

function clutter.leaves(cv, r)
  for _ = 1, r:int(2, 5) do
    local u, v = r:spot(0.3)
    local c, a = r:tint({ 0.25, 0.45, 0.13 }, 0.3), r:range(0, 6.3)
    cv:disc(u, v, 0.17, 0.08, a, ink(c, { dome = 0.25, rough = 0.12, noise = 0.15 }))
    cv:rod(u - 0.15 * cos(a), v - 0.15 * sin(a), u + 0.1 * cos(a), v + 0.1 * sin(a), 0.015, ink(shade(c, 1.3)))
  end
end

function clutter.bread(cv, r)
  for _ = 1, r:int(1, 2) do
    local u, v = r:spot(0.2)
    cv:shadow(u, v, 0.34, 0.24, 0.4, 0.4, 0.06)
    cv:disc(u, v, 0.34, 0.23, 0.4, ink({ 0.6, 0.36, 0.15 }, { dome = 0.25, rough = 0.05 }))
    cv:disc(u, v, 0.3, 0.19, 0.4, ink({ 0.9, 0.78, 0.56 }, { noise = 0.2, grain = 2, rough = 0.05 }))
  end
end

function clutter.berries(cv, r)
  local c = r:colour(0.5, 0.9, 0.2, 0.8)
  for _ = 1, r:int(3, 8) do
    local u, v = r:spot(0.4)
    cv:disc(u, v, 0.07, 0.07, 0, ink(r:tint(c, 0.2), { dome = 0.5, rim = 0.3, gloss = 0.6 }))
  end
end

function clutter.crumbs(cv, r)
  local c = r:pick { { 0.75, 0.55, 0.3 }, { 0.15, 0.12, 0.1 }, { 0.92, 0.9, 0.84 }, { 0.3, 0.45, 0.15 } }
  for _ = 1, r:int(10, 30) do
    local u, v = r:spot(0.6)
    cv:disc(u, v, r:range(0.012, 0.035), nil, 0, ink(r:tint(c, 0.3), { dome = 0.4 }))
  end
end

function clutter.saucer(cv, r) -- another plate, with something round on it
  cv:place(0, 0, 0, r:range(0.5, 0.7))
  kit.plate(cv, r)
  local c = r:colour(0.2, 0.8, 0.3, 0.85)
  for _ = 1, r:int(1, 5) do
    local u, v = r:spot(0.4)
    cv:disc(u, v, r:range(0.12, 0.3), r:range(0.12, 0.3), r:range(0, 3),
      ink(r:tint(c, 0.15), { dome = 0.3, rough = 0.1, noise = 0.15, grain = 2 }))
  end
  cv:back()
end

function clutter.shaker(cv, r)
  local c = r:colour(0, 0.5, 0.4, 0.9)
  cv:shadow(0, 0, 0.14, 0.14, 0, 0.4, 0.15)
  for i = 0, 5 do
    cv:raise(i * 0.08)
    cv:disc(0, 0, 0.14 - i * 0.005, nil, 0, ink(shade(c, 0.6 + 0.06 * i), { dome = 0.4 }))
    cv:back()
  end
  cv:raise(0.48)
  cv:disc(0, 0, 0.12, 0.12, 0, ink({ 0.75, 0.75, 0.77 }, { dome = 0.4 }))
  cv:back()
end

local names = {}
for name in pairs(clutter) do
  names[#names + 1] = name
end
table.sort(names)

--- Puts one thing at (u, v).
function kit.clutter(cv, r, u, v)
  cv:place(u, v, r:range(0, 2 * pi), r:range(0.8, 1.15))
  clutter[r:pick(names)](cv, r)
  cv:back()
end

return kit
