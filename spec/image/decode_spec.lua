-- Files of every kind, good and bad: formats, channels, depths, orientation, reasons.
local lib = require "foodrt.core.ffi"
local photos = require "spec.support.photos"
local process = require "spec.support.process"
local ffi, C = lib.ffi, lib.C

local dir
setup(function() dir = process.temp_dir() end)
teardown(function() process.remove(dir) end)

local function read(path)
  local p = ffi.new "frt_photo"
  if C.frt_photo_read(path, p) ~= 0 then return nil, ffi.string(C.frt_error_last()) end
  local out = { w = p.w, h = p.h, orientation = p.orientation, bands = p.bands, bits = p.bits,
    format = ffi.string(p.format), px = {} }
  for i = 0, p.w * p.h * 3 - 1 do out.px[i] = p.rgb[i] end
  C.frt_photo_free(p)
  return out
end

local function pixel(p, x, y)
  local i = (y * p.w + x) * 3
  return { p.px[i], p.px[i + 1], p.px[i + 2] }
end

-- Four quarters: red, green / blue, white.
local function quarters(w, h)
  return function(x, y)
    if y < h / 2 then
      if x < w / 2 then return 255, 0, 0 end
      return 0, 255, 0
    end
    if x < w / 2 then return 0, 0, 255 end
    return 255, 255, 255
  end
end

-- r, g, b or w for the quarter's colour of a lossy photo.
local function name(rgb)
  local r, g, b = rgb[1] > 127, rgb[2] > 127, rgb[3] > 127
  return r and g and b and "w" or r and "r" or g and "g" or b and "b" or "?"
end

local function corners(p)
  local function at(x, y) return name(pixel(p, x, y)) end
  return at(4, 4) .. at(p.w - 5, 4) .. at(4, p.h - 5) .. at(p.w - 5, p.h - 5)
end

describe("a JPEG is decoded by libjpeg-turbo to what libvips makes of it, bit for bit:", function()
  for _, o in ipairs {
    { "4:2:0", "[Q=75]" }, { "4:4:4", "[Q=95,subsample-mode=off]" }, { "progressive", "[Q=80,interlace]" },
    { "grey", "[Q=80]", bands = 1 }, { "odd sizes", "[Q=85]", w = 67, h = 41 }, { "one block", "[Q=60]", w = 7, h = 5 },
    { "turned", "[Q=85]", orientation = 6 }, { "mirrored", "[Q=85]", orientation = 2 },
  } do
    it(o[1], function()
      local path = dir .. "/" .. o[1]:gsub("%W", "_") .. ".jpg"  -- of its own: libvips remembers files by name
      photos.save(path .. o[2], o.w or 96, o.h or 72, o.bands or 3, photos.pattern(3), { orientation = o.orientation })
      local got, want = read(path), photos.load(path)
      assert.same({ want.w, want.h }, { got.w, got.h })
      assert.same(want.px, got.px)
    end)
  end
end)

describe("a photo", function()
  for _, ending in ipairs { "jpg", "png", "webp", "gif", "tif" } do
    it("is read from ." .. ending .. ", whatever its name says", function()
      local path = dir .. "/quarters." .. ending
      photos.save(path, 48, 32, 3, quarters(48, 32))
      local lie = dir .. "/named." .. (ending == "png" and "jpg" or "png")
      os.rename(path, lie)
      local p = read(lie)
      assert.same({ 48, 32, "rgbw" }, { p.w, p.h, corners(p) })
      assert.equal(({ jpg = "JPEG", png = "PNG", webp = "WebP", gif = "GIF", tif = "TIFF" })[ending], p.format)
    end)
  end

  it("is read from BMP in every bit", function()
    photos.bmp(dir .. "/a.bmp", 21, 9, photos.pattern(4))
    local p, at = read(dir .. "/a.bmp"), photos.pattern(4)
    assert.same({ 21, 9, "BMP" }, { p.w, p.h, p.format })
    for y = 0, 8 do
      for x = 0, 20 do assert.same({ at(x, y) }, pixel(p, x, y)) end
    end
  end)

  it("stands upright for each of the eight orientations", function()
    -- Where red, green, blue, white (upper left, upper right, lower left, lower right of the file) come to lie.
    local want = { "rgbw", "grwb", "wbgr", "bwrg", "rbgw", "brwg", "wgbr", "gwrb" }
    for orientation = 1, 8 do
      local path = ("%s/o%d.jpg"):format(dir, orientation)
      photos.save(path, 48, 32, 3, quarters(48, 32), { orientation = orientation })
      local p = read(path)
      assert.equal(orientation, p.orientation)
      assert.same(orientation > 4 and { 32, 48 } or { 48, 32 }, { p.w, p.h })
      assert.equal(want[orientation], corners(p))
    end
  end)

  it("lies over white where it is transparent", function()
    photos.save(dir .. "/alpha.png", 8, 8, 4, function(x) return 255, 0, 0, x < 4 and 255 or 0 end)
    local p = read(dir .. "/alpha.png")
    assert.same({ 255, 0, 0 }, pixel(p, 1, 1))
    assert.same({ 255, 255, 255 }, pixel(p, 6, 6))
    assert.equal(4, p.bands)
  end)

  it("of 16 bits a channel comes down to 8", function()
    photos.save(dir .. "/deep.png", 8, 8, 3, function() return 65535, 32768, 0 end, { bits = 16 })
    local p = read(dir .. "/deep.png")
    assert.same({ 16, 3 }, { p.bits, p.bands })
    assert.same({ 255, 128, 0 }, pixel(p, 3, 3))
  end)

  it("of grey, or grey and alpha, has three equal channels", function()
    photos.save(dir .. "/grey.png", 8, 8, 1, function() return 77 end)
    photos.save(dir .. "/grey_alpha.png", 8, 8, 2, function() return 77, 255 end)
    assert.same({ 77, 77, 77 }, pixel(read(dir .. "/grey.png"), 2, 2))
    assert.same({ 77, 77, 77 }, pixel(read(dir .. "/grey_alpha.png"), 2, 2))
  end)

  it("of CMYK becomes red, green and blue", function()
    photos.save(dir .. "/ink.jpg", 16, 16, 4, function() return 0, 255, 255, 0 end, { interpretation = 15 })
    local p = read(dir .. "/ink.jpg")
    assert.equal(4, p.bands)
    local c = pixel(p, 8, 8)
    assert.is_true(c[1] > 150 and c[2] < 90 and c[3] < 90)
  end)
end)

describe("a file that is no good", function()
  local function why(file, text)
    local path = dir .. "/" .. file
    if text then process.write(path, text) end
    local p, message = read(path)
    assert.is_nil(p)
    return (message:gsub(dir:gsub("%p", "%%%0") .. "/", ""))
  end
  local function bytes(file)
    local f = assert(io.open(dir .. "/" .. file, "rb"))
    local text = f:read "*a"
    f:close()
    return text
  end

  it("is named with the reason and its size", function()
    assert.equal("none.jpg: No such file or directory", why "none.jpg")
    assert.equal("empty.jpg: an empty file (0 bytes)", why("empty.jpg", ""))
    assert.equal("page.jpg: a text file (HTML or XML), not a photo (13 bytes)", why("page.jpg", "<html></html>"))
    assert.equal("lfs.jpg: a Git LFS pointer, not the photo (43 bytes)",
      why("lfs.jpg", "version https://git-lfs.github.com/spec/v1\n"))
    assert.equal("text.jpg: not a photo: its first bytes are of no known format (5 bytes)", why("text.jpg", "hello"))
    assert.equal("icon.ico: ICO has no decoder here (8 bytes)", why("icon.ico", "\0\0\1\0\1\0\16\16"))
  end)

  it("is refused when it was cut off at any of 12 places", function()
    photos.save(dir .. "/whole.jpg", 64, 64, 3, photos.pattern(1))
    local whole = bytes "whole.jpg"
    for i = 1, 12 do
      local message = why("cut.jpg", whole:sub(1, math.floor(#whole * i / 13)))
      assert.is_truthy(message:find("truncated JPEG: its end is missing", 1, true))
    end
    photos.save(dir .. "/whole.png", 64, 64, 3, photos.pattern(1))
    local png = bytes "whole.png"
    assert.is_truthy(why("cut.png", png:sub(1, math.floor(#png / 2))):find("cut.png: cannot decode this PNG", 1, true))
    photos.bmp(dir .. "/whole.bmp", 20, 20, photos.pattern(1))
    assert.equal("cut.bmp: truncated BMP (300 bytes)", why("cut.bmp", bytes("whole.bmp"):sub(1, 300)))
  end)

  it("is read when rubbish follows its end", function()
    photos.save(dir .. "/tail.jpg", 32, 32, 3, photos.pattern(1))
    process.write(dir .. "/tail.jpg", bytes "tail.jpg" .. string.rep("rubbish", 50))
    assert.equal(32, read(dir .. "/tail.jpg").w)
  end)

  it("is refused for its size before a pixel is decoded", function()
    local header = "BM" .. string.rep("\0", 12) .. "\40\0\0\0" .. "\64\156\0\0" .. "\64\156\0\0" .. "\1\0\24\0"
      .. string.rep("\0", 24)
    assert.equal("bomb.bmp: 40000 x 40000 pixels, must be 1 to 100 million (54 bytes)", why("bomb.bmp", header))
  end)

  it("does not end the process when bytes of it are changed, in 200 ways", function()
    photos.save(dir .. "/rot.jpg", 64, 48, 3, photos.pattern(2))
    photos.save(dir .. "/rot.png", 64, 48, 3, photos.pattern(2))
    photos.save(dir .. "/rot.webp", 64, 48, 3, photos.pattern(2))
    math.randomseed(1)
    for i = 1, 200 do
      local file = ({ "rot.jpg", "rot.png", "rot.webp" })[i % 3 + 1]
      local text = bytes(file)
      for _ = 1, 5 do
        local at = math.random(#text)
        text = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)
      end
      process.write(dir .. "/rotten", text)
      local p, message = read(dir .. "/rotten")
      assert.is_truthy(p or message)
    end
  end)
end)

describe("the hostile files of ../shared/data/edge", function()
  local root = "../shared/data/"
  local manifest = io.open(root .. "edge_manifest.csv") or io.open("../../shared/data/edge_manifest.csv")
  if not manifest then
    pending "are not here"
    return
  end
  if not io.open(root .. "edge_manifest.csv") then root = "../../shared/data/" end
  -- Good photos that the manifest refuses because Pillow 9.4 has no decoder for them: libvips has one.
  local decoded = { ["exif_samplefilehub.heif"] = true, ["pil_hopper.avif"] = true, ["pil_rot1mir0.avif"] = true }

  for row in manifest:lines() do
    local file, size, orientation = row:match "^([^,]+),[^,]*,[^,]*,[^,]*,([^,]*),([^,]*)"
    if file ~= "file" then
      local refused = row:find "refused, file named" or row:find "refused before decoding"
      it(file .. (refused and not decoded[file] and " is refused" or " is read"), function()
        local p, message = read(root .. "edge/" .. file)
        if refused and not decoded[file] then
          assert.is_nil(p)
          assert.is_truthy(message:find(file, 1, true))
        elseif not p then
          assert.is_truthy(message:find "has no decoder here")
        elseif size ~= "" then
          local w, h = size:match "(%d+)x(%d+)"
          local o = tonumber(orientation) or 1
          assert.equal(o > 4 and h .. "x" .. w or size, p.w .. "x" .. p.h)
        end
      end)
    end
  end
  manifest:close()
end)
