-- Parts that several dishes share: grains of rice, leaves, herbs, halved eggs, meat balls, and
-- colours of things that come in many kinds.
local use = ...
jit.off(true, true) -- see canvas.lua
local ink = use("canvas").ink
local cos, sin, pi = math.cos, math.sin, math.pi

local parts = {}

function parts.shade(c, k)
  return { c[1] * k, c[2] * k, c[3] * k }
end

--- n grains of rice over an ellipse, where keep(u, v) allows.
function parts.rice(cv, r, n, ru, rv, colour, keep)
  local light, dark = ink(colour, { dome = 0.2, rim = 0.15 }), ink(parts.shade(colour, 0.8))
  for _ = 1, n do
    local u, v = r:spot(1)
    u, v = u * ru, v * rv
    if not keep or keep(u, v) then
      local a = r:range(0, pi)
      local du, dv = 0.035 * cos(a), 0.035 * sin(a)
      cv:rod(u - du, v - dv + 0.015, u + du, v + dv + 0.015, 0.035, dark)
      cv:rod(u - du, v - dv, u + du, v + dv, 0.032, light)
    end
  end
end

--- A leaf from (u, v) towards `turn`, length units long.
function parts.leaf(cv, r, u, v, turn, length, colour, rough)
  local mu, mv = u + length * 0.5 * cos(turn), v + length * 0.5 * sin(turn)
  cv:shadow(mu, mv, length * 0.5, length * 0.25, turn, 0.3, 0.03)
  cv:disc(mu, mv, length * 0.52, length * r:range(0.22, 0.32), turn,
    ink(colour, { dome = 0.3, noise = 0.12, grain = 3, rough = rough or 0.08 }))
  cv:rod(u, v, u + length * 0.85 * cos(turn), v + length * 0.85 * sin(turn), 0.018,
    ink(parts.shade(colour, 1.45), { alpha = 0.8 }))
end

--- Chopped herbs: n short flecks within a radius.
function parts.herbs(cv, r, n, radius, colour)
  for _ = 1, n do
    local u, v = r:spot(radius)
    local a = r:range(0, pi)
    cv:rod(u, v, u + 0.045 * cos(a), v + 0.045 * sin(a), 0.03, ink(r:tint(colour, 0.3)))
  end
end

--- A halved boiled egg.
function parts.egg(cv, r, u, v, size)
  local a = r:range(0, pi)
  cv:shadow(u, v, size, size * 0.8, a, 0.4, 0.05)
  cv:disc(u, v, size, size * 0.8, a, ink({ 0.95, 0.92, 0.86 }, { dome = 0.12, rim = 0.12 }))
  cv:disc(u + size * 0.1 * cos(a), v + size * 0.1 * sin(a), size * 0.55, size * 0.5, a,
    ink(r:tint({ 0.95, 0.6, 0.12 }, 0.12), { dome = 0.15, rim = -0.1, gloss = 0.3 }))
end

--- A lump: meat ball, potato, chunk of anything.
function parts.lump(cv, r, u, v, size, colour, rough)
  local a = r:range(0, pi)
  cv:shadow(u, v, size, size * 0.85, a, 0.4, 0.05)
  cv:disc(u, v, size, size * r:range(0.7, 1), a, ink(colour, { dome = 0.4, rim = 0.25, rough = rough or 0.1,
    noise = 0.18, grain = 2 }))
end

--- A ring: onion, olive, chilli, spring onion.
function parts.ring(cv, r, u, v, size, colour, hole)
  local a = r:range(0, pi)
  cv:disc(u, v + 0.02, size, size * 0.85, a, ink(parts.shade(colour, 0.5), { alpha = 0.6, hole = hole }))
  cv:disc(u, v, size, size * 0.85, a, ink(colour, { hole = hole, dome = 0.25 }))
end

return parts
