-- photos: makes the photos that specs read, in a temporary directory: BMP by hand, the rest with libvips.
--   photos.tree(dir, { train = { pizza = 3, ramen = 2 }, val = { … } })
local ffi = require "ffi"
local process = require "spec.support.process"
local photos = {}

--- a 24-bit BMP; at(x, y) gives red, green, blue of a pixel
function photos.bmp(path, w, h, at)
  local function u16(v) return string.char(v % 256, math.floor(v / 256) % 256) end
  local function u32(v) return u16(v % 65536) .. u16(math.floor(v / 65536)) end
  local rows, pad = {}, string.rep("\0", -3 * w % 4)
  for y = h - 1, 0, -1 do
    local row = {}
    for x = 0, w - 1 do
      local r, g, b = at(x, y)
      row[#row + 1] = string.char(b, g, r)
    end
    rows[#rows + 1] = table.concat(row) .. pad
  end
  local pixels = table.concat(rows)
  process.write(path, "BM" .. u32(54 + #pixels) .. u32(0) .. u32(54) .. u32(40) .. u32(w) .. u32(h) .. u16(1) .. u16(24)
    .. u32(0) .. u32(#pixels) .. u32(2835) .. u32(2835) .. u32(0) .. u32(0) .. pixels)
end

--- smooth colours that differ from photo to photo
function photos.pattern(n)
  return function(x, y)
    return (x * 5 + n * 37) % 256, (y * 7 + n * 91) % 256, (x * 3 + y * 2 + n * 53) % 256
  end
end

local vips
local function open()
  if vips then return vips end
  if not pcall(ffi.typeof, "struct spec_vips") then
    ffi.cdef [[
      struct spec_vips { int unused; };
      int spec_vips_init(const char *) __asm__("vips_init");
      void *spec_vips_new(const void *, size_t, int, int, int, int) __asm__("vips_image_new_from_memory_copy");
      int spec_vips_write(void *, const char *, ...) __asm__("vips_image_write_to_file");
      int spec_vips_copy(void *, void **, ...) __asm__("vips_copy");
      void spec_vips_set_int(void *, const char *, int) __asm__("vips_image_set_int");
      void *spec_vips_load(const char *, ...) __asm__("vips_image_new_from_file");
      int spec_vips_autorot(void *, void **, ...) __asm__("vips_autorot");
      void *spec_vips_pixels(void *, size_t *) __asm__("vips_image_write_to_memory");
      int spec_vips_width(const void *) __asm__("vips_image_get_width");
      int spec_vips_bands(const void *) __asm__("vips_image_get_bands");
      void spec_vips_free(void *) __asm__("g_free");
      void spec_vips_unref(void *) __asm__("g_object_unref");
      const char *spec_vips_error(void) __asm__("vips_error_buffer");
    ]]
  end
  vips = ffi.load "libvips.so.42"
  assert(vips.spec_vips_init "foodrt" == 0)
  return vips
end

local NULL = ffi.cast("void *", nil)

--- saves w x h pixels of `bands` channels, 8 bits or (o.bits = 16) 16, in the format of the path's ending.
--- at(x, y) gives the channels. o.orientation: written as EXIF. o.interpretation: libvips's number.
function photos.save(path, w, h, bands, at, o)
  o = o or {}
  local v = open()
  local px = ffi.new(o.bits == 16 and "uint16_t[?]" or "uint8_t[?]", w * h * bands)
  for y = 0, h - 1 do
    for x = 0, w - 1 do
      local values = { at(x, y) }
      for c = 1, bands do px[(y * w + x) * bands + c - 1] = values[c] end
    end
  end
  local image = v.spec_vips_new(px, ffi.sizeof(px), w, h, bands, o.bits == 16 and 2 or 0)
  assert(image ~= nil, ffi.string(v.spec_vips_error()))
  local space = o.interpretation or (bands < 3 and (o.bits == 16 and 26 or 1) or (o.bits == 16 and 25 or 22))
  local out = ffi.new "void *[1]"
  assert(v.spec_vips_copy(image, out, "interpretation", ffi.cast("int", space), NULL) == 0)
  v.spec_vips_unref(image)
  image = out[0]
  if o.orientation then v.spec_vips_set_int(image, "orientation", o.orientation) end
  assert(v.spec_vips_write(image, path, NULL) == 0, ffi.string(v.spec_vips_error()))
  v.spec_vips_unref(image)
end

--- what libvips itself makes of a photo, upright: { w, h, px = { red, green, blue, … } }; grey three times.
function photos.load(path)
  local v = open()
  local image, out, size = v.spec_vips_load(path, NULL), ffi.new "void *[1]", ffi.new "size_t[1]"
  assert(image ~= nil, ffi.string(v.spec_vips_error()))
  assert(v.spec_vips_autorot(image, out, NULL) == 0, ffi.string(v.spec_vips_error()))
  local bands, w = v.spec_vips_bands(out[0]), v.spec_vips_width(out[0])
  local memory = v.spec_vips_pixels(out[0], size)
  assert(memory ~= nil, ffi.string(v.spec_vips_error()))
  local bytes, px, n = ffi.cast("uint8_t *", memory), {}, tonumber(size[0]) / bands
  for i = 0, n - 1 do
    for c = 0, 2 do px[i * 3 + c] = bytes[i * bands + (bands < 3 and 0 or c)] end
  end
  v.spec_vips_free(memory)
  v.spec_vips_unref(out[0])
  v.spec_vips_unref(image)
  return { w = w, h = n / w, px = px }
end

local function sorted(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

--- class folders with that many 20 x 16 photos each: dir/split/class/1.bmp …; no two are alike
function photos.tree(dir, splits)
  local n = 0
  for _, split in ipairs(sorted(splits)) do
    for _, class in ipairs(sorted(splits[split])) do
      os.execute(("mkdir -p '%s/%s/%s'"):format(dir, split, class))
      for i = 1, splits[split][class] do
        n = n + 1
        photos.bmp(("%s/%s/%s/%02d.bmp"):format(dir, split, class, i), 20, 16, photos.pattern(n))
      end
    end
  end
end

return photos
