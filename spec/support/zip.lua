-- zip: zip files with stored entries, as PyTorch and numpy write them, and numpy arrays for them.
--   local bytes = zip.pack { { "w.npy", zip.npy({ 2, 3 }, floats) } }
local bit, ffi = require "bit", require "ffi"
local zip = {}

local TABLE = ffi.new "uint32_t[256]"
for i = 0, 255 do
  local v = i
  for _ = 1, 8 do v = bit.bxor(bit.rshift(v, 1), bit.band(v, 1) == 1 and 0xedb88320 or 0) end
  TABLE[i] = v
end

--- CRC-32 as a number from 0
function zip.crc(text)
  local p, v = ffi.cast("const uint8_t *", text), -1
  for i = 0, #text - 1 do v = bit.bxor(bit.rshift(v, 8), bit.tobit(TABLE[bit.band(bit.bxor(v, p[i]), 255)])) end
  return bit.bnot(v) % 2 ^ 32
end

--- a whole number as `n` little-endian bytes
function zip.le(v, n)
  local out = {}
  for i = 1, n do
    out[i] = string.char(v % 256)
    v = math.floor(v / 256)
  end
  return table.concat(out)
end

--- entries { name, bytes } as a zip file; lies: size, at (said in the directory), nothing (there is only the directory's entry);
--- packed: the same bytes compressed
function zip.pack(entries)
  local le, parts, directory, at = zip.le, {}, {}, 0
  for _, e in ipairs(entries) do
    local name, bytes = e[1], e[2]
    local said = e.size or #bytes
    local about = le(0, 2) .. le(e.packed and 8 or 0, 2) .. le(0, 4) .. le(zip.crc(bytes), 4) .. le(e.packed and #e.packed or said, 4)
      .. le(said, 4) .. le(#name, 2) .. le(0, 2)
    local part = "PK\3\4" .. le(20, 2) .. about .. name .. (e.packed or bytes)
    directory[#directory + 1] = "PK\1\2" .. le(20, 2) .. le(20, 2) .. about .. le(0, 10) .. le(e.at or at, 4) .. name
    if e.nothing then part = "" end
    parts[#parts + 1] = part
    at = at + #part
  end
  local all = table.concat(directory)
  return table.concat(parts) .. all .. "PK\5\6" .. le(0, 4) .. le(#entries, 2) .. le(#entries, 2) .. le(#all, 4) .. le(at, 4) .. le(0, 2)
end

--- bytes (less than 64 KiB) as a deflate stream that doesn't make them smaller
function zip.deflate(bytes)
  return "\1" .. zip.le(#bytes, 2) .. zip.le(65535 - #bytes, 2) .. bytes
end

--- a numpy array: descr as numpy writes it ("<f4"), order "True" for column after column
function zip.npy(shape, bytes, descr, fortran)
  local sizes = {}
  for i, n in ipairs(shape) do sizes[i] = n .. "," end
  local text = ("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }"):format(descr or "<f4", fortran or "False",
    table.concat(sizes, " "))
  text = text .. (" "):rep(63 - (#text + 10) % 64) .. "\n"
  return "\147NUMPY\1\0" .. zip.le(#text, 2) .. text .. bytes
end

return zip
