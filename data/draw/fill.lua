-- The inner loops of the canvas: fills one antialiased, shaded shape row by row. All a loop needs
-- comes in one C struct, so each of them compiles to a few traces whatever the material is.
local ffi, bit = require "ffi", require "bit"
local band = bit.band
local sqrt, floor, ceil, abs, min, max = math.sqrt, math.floor, math.ceil, math.abs, math.min, math.max

local shape = ffi.typeof [[
struct {
  float *px;                        // the picture, RGB
  const float *grain, *patch, *rag; // noise tiles of 256 x 256
  int w, x0, y0, x1, y1;            // row length; the part of the picture to look at, both ends in
  int ox, oy;                       // where in the tiles the shape begins
  double x, y, ip, iq, ir, is;      // centre; pixels -> the shape's own units
  double iex, iey;                  // 1 / half the shape's width and height in pixels
  double k, pad;                    // coverage per unit of distance; how far the edge reaches out
  double r, g, b, alpha, noise;     // see canvas.ink
  double has_to, to_r, to_g, to_b, at, sharp;
  double dome, rim, gloss, rough, hole, cut_u, cut_v, cut_off, lx, ly;
  double hu, hv, corner;            // box
  double ax, ay, ra, rb;            // rod: its vector and radii
  int n_corners;
  double edges[36];                 // polygon: normal x, normal y, offset
}
]]

local fill = { new = shape }

-- The part of lo <= t <= hi where k * t + c >= 0.
local function span(lo, hi, k, c)
  if k > 1e-9 then
    return max(lo, -c / k), hi
  elseif k < -1e-9 then
    return lo, min(hi, -c / k)
  end
  return lo, c < 0 and lo - 1 or hi
end

-- Mixes a material lit by `l` (plus highlight) over pixel o; n is its place in the noise tiles.
local function blend(s, px, o, n, l, highlight, cover)
  local t = max(0, min(1, (s.patch[n] - s.at) * s.sharp)) * s.has_to
  px[o] = px[o] + ((s.r + (s.to_r - s.r) * t) * l + highlight - px[o]) * cover
  px[o + 1] = px[o + 1] + ((s.g + (s.to_g - s.g) * t) * l + highlight - px[o + 1]) * cover
  px[o + 2] = px[o + 2] + ((s.b + (s.to_b - s.b) * t) * l + highlight - px[o + 2]) * cover
end

function fill.disc(s)
  local px, w, x0, x1, x, y = s.px, s.w, s.x0, s.x1, s.x, s.y
  local ip, iq, ir, is = s.ip, s.iq, s.ir, s.is
  local qa, qb, qc, limit = ip * ip + ir * ir, ip * iq + ir * is, iq * iq + is * is, s.pad * s.pad
  for j = s.y0, s.y1 do
    local dy, row = j - y, band(j + s.oy, 255) * 256
    -- the row meets the grown ellipse where qa dx^2 + 2 qb dy dx + qc dy^2 < limit
    local mid = x - qb * dy / qa
    local root = sqrt(max(0, qb * qb * dy * dy - qa * (qc * dy * dy - limit))) / qa
    for i = max(x0, ceil(mid - root)), min(x1, floor(mid + root)) do
      local dx = i - x
      local U, V = ip * dx + iq * dy, ir * dx + is * dy
      local d2 = U * U + V * V
      local n = row + band(i + s.ox, 255)
      local d = sqrt(d2) + s.rough * s.rag[n]
      local cover = min((1 - d) * s.k, (d - s.hole) * s.k, (s.cut_off - U * s.cut_u - V * s.cut_v) * s.k) + 0.5
      cover = max(0, min(cover, 1)) * s.alpha
      local nx, ny = dx * s.iex, dy * s.iey
      local gx, gy = nx - s.lx * 0.45, ny - s.ly * 0.45
      local l = 1 + s.noise * s.grain[n] + s.dome * (nx * s.lx + ny * s.ly) - s.rim * d2 * d2
      blend(s, px, (j * w + i) * 3, n, l, s.gloss * max(0, 1 - 14 * (gx * gx + gy * gy)), cover)
    end
  end
end

function fill.box(s)
  local px, w, x, y = s.px, s.w, s.x, s.y
  local ip, iq, ir, is = s.ip, s.iq, s.ir, s.is
  local bu, bv, cu, cv, iu, iv = s.hu + s.pad, s.hv + s.pad, s.hu - s.corner, s.hv - s.corner, 1 / s.hu, 1 / s.hv
  for j = s.y0, s.y1 do
    local dy, row = j - y, band(j + s.oy, 255) * 256
    local first, last = span(s.x0 - x, s.x1 - x, ip, iq * dy + bu)
    first, last = span(first, last, -ip, bu - iq * dy)
    first, last = span(first, last, ir, is * dy + bv)
    first, last = span(first, last, -ir, bv - is * dy)
    for i = ceil(x + first), floor(x + last) do
      local dx = i - x
      local U, V = abs(ip * dx + iq * dy), abs(ir * dx + is * dy)
      local du, dv = U - cu, V - cv
      local ou, ov = max(du, 0), max(dv, 0)
      local n = row + band(i + s.ox, 255)
      local d = sqrt(ou * ou + ov * ov) + min(max(du, dv), 0) - s.corner + s.rough * s.rag[n]
      local cover = max(0, min(0.5 - d * s.k, 1)) * s.alpha
      local e = max(U * iu, V * iv)
      local l = 1 + s.noise * s.grain[n] + s.dome * (dx * s.iex * s.lx + dy * s.iey * s.ly) - s.rim * e * e * e * e
      blend(s, px, (j * w + i) * 3, n, l, 0, cover)
    end
  end
end

function fill.rod(s)
  local px, w, x0, x1, x, y, pad = s.px, s.w, s.x0, s.x1, s.x, s.y, s.pad
  local ax, ay, ra, rb, k = s.ax, s.ay, s.ra, s.rb, s.k
  local length2 = max(ax * ax + ay * ay, 1e-6)
  local il, il2 = 1 / sqrt(length2), 1 / length2
  local lean = s.dome * (ay * s.lx - ax * s.ly) * il
  for j = s.y0, s.y1 do
    local dy, row = j - y, band(j + s.oy, 255) * 256
    local first, last = span(0, 1, ay, pad - dy) -- the part of the rod's length near this row
    first, last = span(first, last, -ay, pad + dy)
    local from, to = x + first * ax, x + last * ax
    for i = max(x0, ceil(min(from, to) - pad)), min(x1, floor(max(from, to) + pad)) do
      local dx = i - x
      local t = max(0, min(1, (dx * ax + dy * ay) * il2))
      local ex, ey = dx - t * ax, dy - t * ay
      local radius = ra + (rb - ra) * t
      local cover = max(0, min((radius - sqrt(ex * ex + ey * ey)) * k + 0.5, 1)) * s.alpha
      local side = (dx * ay - dy * ax) * il / radius
      local n = row + band(i + s.ox, 255)
      blend(s, px, (j * w + i) * 3, n, 1 + s.noise * s.grain[n] - s.rim * side * side + lean * side, 0, cover)
    end
  end
end

function fill.polygon(s)
  local px, w, edges, last_edge = s.px, s.w, s.edges, 3 * s.n_corners - 3
  for j = s.y0, s.y1 do
    local dy, row = j - s.y, band(j + s.oy, 255) * 256
    local first, last = s.x0 + 0.0, s.x1 + 0.0
    for e = 0, last_edge, 3 do
      first, last = span(first, last, -edges[e], edges[e + 2] - edges[e + 1] * j + s.pad)
    end
    for i = ceil(first), floor(last) do
      local inside = 1e9
      for e = 0, last_edge, 3 do
        inside = min(inside, edges[e + 2] - edges[e] * i - edges[e + 1] * j)
      end
      local n = row + band(i + s.ox, 255)
      local cover = max(0, min((inside + s.rough * s.rag[n]) * s.k + 0.5, 1)) * s.alpha
      local l = 1 + s.noise * s.grain[n] + s.dome * ((i - s.x) * s.iex * s.lx + dy * s.iey * s.ly)
        - max(0, s.rim * (1 - inside * 0.5))
      blend(s, px, (j * w + i) * 3, n, l, 0, cover)
    end
  end
end

return fill
