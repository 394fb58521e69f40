--- tiff: TIFF files written byte by byte, of any kind of number, as scientific programs write them.
---   tiff.write(path, { w = 4, h = 2, bands = 3, bits = 32, format = "float", big = true, order = "MM",
---     at = function(x, y) return 0.1, 0.5, 1 end })
local ffi = require "ffi"
local process = require "spec.support.process"
local tiff = {}

local FORMAT = { unsigned = 1, signed = 2, float = 3 }
local CTYPE = { unsigned = { [8] = "uint8_t", [16] = "uint16_t", [32] = "uint32_t" },
  signed = { [8] = "int8_t", [16] = "int16_t", [32] = "int32_t" }, float = { [32] = "float", [64] = "double" } }

--- in  o  w, h, bands (1 or 3), bits, format (unsigned, signed, float), big: a BigTIFF; order: "II" or "MM"; at(x, y) gives the
---        channels
function tiff.write(path, o)
  local order, format = o.order or "II", o.format or "unsigned"
  local function turned(bytes) return order == "MM" and bytes:reverse() or bytes end
  local function int(ctype, v)
    local one = ffi.new(ctype .. "[1]", v)
    return turned(ffi.string(one, ffi.sizeof(one)))
  end
  local function u16(v) return int("uint16_t", v) end
  local function u32(v) return int("uint32_t", v) end
  local function u64(v) return int("uint64_t", v) end
  local size = o.big and u64 or u32
  local pixels, one = {}, ffi.new(CTYPE[format][o.bits] .. "[1]")
  for y = 0, o.h - 1 do
    for x = 0, o.w - 1 do
      for _, v in ipairs { o.at(x, y) } do
        one[0] = v
        pixels[#pixels + 1] = turned(ffi.string(one, ffi.sizeof(one)))
      end
    end
  end
  local data = table.concat(pixels)
  local head, room = o.big and 16 or 8, o.big and 8 or 4
  local after = head + #data  -- behind the pixels: values too long for an entry, then the directory
  local extra, entries = "", {}
  local function entry(tag, type, values)
    local write = type == 3 and u16 or u32
    local bytes = {}
    for i, v in ipairs(values) do bytes[i] = write(v) end
    local text = table.concat(bytes)
    if #text > room then
      local at = after + #extra
      extra = extra .. text .. ("\0"):rep(-#text % 8)
      text = size(at)
    end
    entries[#entries + 1] = u16(tag) .. u16(type) .. size(#values) .. text .. ("\0"):rep(room - #text)
  end
  local function each(v)
    local list = {}
    for i = 1, o.bands do list[i] = v end
    return list
  end
  entry(256, 4, { o.w })
  entry(257, 4, { o.h })
  entry(258, 3, each(o.bits))
  entry(259, 3, { 1 })
  entry(262, 3, { o.bands == 3 and 2 or 1 })
  entry(273, 4, { head })
  entry(277, 3, { o.bands })
  entry(278, 4, { o.h })
  entry(279, 4, { #data })
  entry(284, 3, { 1 })
  entry(339, 3, each(FORMAT[format]))
  local at = after + #extra
  local start = order .. (o.big and u16(43) .. u16(8) .. u16(0) .. u64(at) or u16(42) .. u32(at))
  process.write(path, start .. data .. extra .. (o.big and u64(#entries) or u16(#entries)) .. table.concat(entries) .. size(0))
end

return tiff
