--- PyTorch's .pth files: both containers as PyTorch wrote them, what is refused by name, and damage.
local frt = require "foodrt"
local io_ = require "foodrt.core.io"
local decode = require "spec.support.base64"
local files = require "spec.fixtures.pth"
local process = require "spec.support.process"
local V = require "spec.support.values"
local same, why = V.same, V.why

local folder

local function write(name, bytes)
  process.write(folder .. "/" .. name, bytes)
  return folder .. "/" .. name
end

local function count(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

describe("pth", function()
  setup(function() folder = process.temp_dir() end)
  teardown(function() process.remove(folder) end)

  for _, kind in ipairs { "zip", "old" } do
    it("in the " .. kind .. " container: types, strides, views, nested and prefixed names", function()
      local t = frt.load(write("a.pth", decode(files[kind])))
      assert.are.equal(7, count(t))
      same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, t["a.weight"])
      assert.are.equal("i64", t["a.n"].dtype)
      assert.are.equal(7, t["a.n"]:item())
      same({ 0.5, -2 }, t.h)
      same({ 1.5 }, t.b)
      assert.are.equal("f64", t.d.dtype)
      same({ 1, 0 }, t.m)
      same({ 2, 3 }, t.p)
    end)

    it("in the " .. kind .. " container, cut at any length, is an error that names the file", function()
      local bytes = decode(files[kind])
      for n = 0, #bytes - 1, 7 do
        local text = why(frt.load, write("cut.pth", bytes:sub(1, n)))
        assert.is_truthy(text:find("cut.pth", 1, true), text)
      end
    end)
  end

  it("has one hash whatever the container", function()
    assert.are.equal(io_.hash(write("a.pth", decode(files.zip))), io_.hash(write("b.pth", decode(files.old))))
  end)

  it("refuses by name what is not a tensor, and runs nothing", function()
    os.remove "/tmp/foodrt-executed"
    for _, kind in ipairs { "evil", "evil_old" } do
      assert.is_truthy(why(frt.load, write("evil.pth", decode(files[kind]))):find("evil.pth': holds 'posix.system', which is "
        .. "neither a tensor nor a plain container; nothing of the file was used", 1, true))
    end
    assert.is_truthy(why(frt.load, write("m.pth", decode(files.module))):find("'torch.nn.modules.linear.Linear'", 1, true))
    assert.is_nil(io.open "/tmp/foodrt-executed")
  end)

  it("finds a flipped bit by the zip file's checksums", function()
    local bytes = decode(files.zip)
    local at = bytes:find("\0\0\128\63\0\0\0\64", 1, true)  -- 1, 2
    local text = why(frt.load, write("flip.pth", bytes:sub(1, at - 1) .. "\1" .. bytes:sub(at + 1)))
    assert.is_truthy(text:find("entry 'archive/data/0' is damaged (checksum differs)", 1, true), text)
  end)
end)
