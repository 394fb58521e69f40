-- Writes JPEG files with libvips, which is opened on first use (no header, no extension module).
local ffi = require "ffi"

ffi.cdef [[
typedef struct _VipsImage VipsImage;
int vips_init(const char *argv0);
VipsImage *vips_image_new_from_memory_copy(const void *data, size_t size, int width, int height, int bands, int format);
int vips_jpegsave_buffer(VipsImage *in, void **buf, size_t *len, ...);
const char *vips_error_buffer(void);
void vips_error_clear(void);
int vips_concurrency_get(void);
void vips_concurrency_set(int concurrency);
void g_object_unref(void *object);
void g_free(void *mem);
]]

local UCHAR = 0 -- VIPS_FORMAT_UCHAR
local jpeg = {}
local vips

--- Opens libvips, or returns nil and a message that says which package is missing.
function jpeg.open()
  if not vips then
    local ok, lib = pcall(ffi.load, "libvips.so.42")
    if not ok then
      return nil, "the sample set needs libvips to write photos, and libvips.so.42 is not there: "
        .. "install the Debian package libvips42"
    end
    if lib.vips_init("foodrt") ~= 0 then
      return nil, "libvips does not start: " .. ffi.string(lib.vips_error_buffer())
    end
    vips = lib
  end
  return true
end

--- Runs f with libvips on one thread (small pictures gain nothing from more), as before afterwards.
function jpeg.on_one_thread(f)
  local before = vips.vips_concurrency_get()
  vips.vips_concurrency_set(1)
  local ok, message = pcall(f)
  vips.vips_concurrency_set(before)
  return ok, message
end

--- RGB bytes -> the bytes of a JPEG file as a string, or nil and a message.
function jpeg.encode(bytes, w, h, quality)
  local image = vips.vips_image_new_from_memory_copy(bytes, w * h * 3, w, h, 3, UCHAR)
  if image == nil then
    local message = ffi.string(vips.vips_error_buffer())
    vips.vips_error_clear()
    return nil, message
  end
  local out, length = ffi.new("void *[1]"), ffi.new("size_t[1]")
  local status = vips.vips_jpegsave_buffer(image, out, length, "Q", ffi.cast("int", quality), ffi.cast("void *", nil))
  vips.g_object_unref(image)
  if status ~= 0 then
    local message = ffi.string(vips.vips_error_buffer())
    vips.vips_error_clear()
    return nil, message
  end
  local text = ffi.string(out[0], length[0])
  vips.g_free(out[0])
  return text
end

return jpeg
