-- Hostile files of weights: crafted ones, and 300 mutated ones, in a process of their own: an error that names the file, nothing
-- executed, no crash, little memory.
local frt = require "foodrt"
local hostile, process = require "spec.support.hostile", require "spec.support.process"

-- loads each file; says what came of it and how much memory it took at its worst
local LOADER = [[
local frt = require "foodrt"
local dir, n = arg[1], tonumber(arg[2])
for i = 1, n do
  local path = ("%s/%04d.bin"):format(dir, i)
  local ok, result = pcall(frt.load, path)
  local bytes = 0
  if ok then
    for _, t in pairs(result) do bytes = bytes + t:numel() * 8 end
  end
  print(ok and "loaded " .. bytes or "error " .. tostring(result):gsub("[%c]", "?"))
  pcall(require("foodrt.core.io").list, path)
  pcall(require("foodrt.core.io").convert, path, dir .. "/out.safetensors", "bf16")
end
print("peak " .. io.open("/proc/self/status"):read("*a"):match "VmHWM:%s*(%d+) kB")
]]

describe("hostile files", function()
  local dir, files, lines, status, err
  setup(function()
    dir = process.temp_dir()
    local function bytes_of(name, tensors, o)
      frt.save(dir .. "/" .. name, tensors, { note = "n" }, o)
      local file = io.open(dir .. "/" .. name, "rb")
      local text = file:read "*a"
      file:close()
      return text
    end
    local ours = bytes_of("a", { a = frt.tensor { 1, 2, 3 }, ["b.weight"] = frt.tensor { { 4, 5 }, { 6, 7 } } })
    local theirs = bytes_of("b", { h = frt.tensor { 1, 2, 3 }, n = frt.tensor({ 7 }, { dtype = "i64" }) }, { dtype = "f16" })
    theirs = theirs:gsub('"foodrt.hash":"[^"]*"', function(s) return '"x":"' .. ("y"):rep(#s - 6) .. '"' end)
      :gsub("foodrt.format", "other_format1")
    files = hostile.files({ ours, theirs }, "touch " .. dir .. "/executed")
    for _, f in ipairs(files) do process.write(dir .. "/" .. f.name, f.bytes) end
    process.write(dir .. "/load.lua", LOADER)
    local out
    status, out, err = process.foodrt { dir .. "/load.lua", dir, tostring(#files) }
    lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
  end)
  teardown(function() process.remove(dir) end)

  it("all are survived: 215 crafted, 300 mutated", function()
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal(#files + 1, #lines)
    assert.equal(300, #files - files.crafted)
    assert.equal(215, files.crafted)
  end)

  it("of the crafted ones each is refused for its reason, in a message that names it", function()
    for i = 1, files.crafted do
      local f = files[i]
      if f.why == false then
        assert.matches("^loaded ", lines[i])
      else
        assert.truthy(lines[i]:find("^error .*/" .. f.name .. "'"), f.name .. ": " .. lines[i])
        assert.truthy(lines[i]:find(f.why, 1, true), ("%s: expected '%s' in: %s"):format(f.name, f.why, lines[i]))
      end
    end
  end)

  it("of the mutated ones each is refused by name, or holds no more than its bytes allow", function()
    local refused = 0
    for i = files.crafted + 1, #files do
      local f, loaded = files[i], lines[i]:match "^loaded (%d+)$"
      if loaded then
        assert.is_true(tonumber(loaded) <= 16 * #f.bytes, f.name .. ": " .. lines[i])
      else
        refused = refused + 1
        assert.truthy(lines[i]:find("^error .*/" .. f.name .. "'"), f.name .. ": " .. lines[i])
      end
    end
    assert.is_true(refused > 200, refused .. " refused")
  end)

  it("nothing is executed", function()
    assert.is_nil(io.open(dir .. "/executed"))
  end)

  it("no memory blows up: 96 MB at the worst, for all of them (sanitised: 1 GB, freed memory is kept)", function()
    local maps = io.open("/proc/self/maps"):read "*a"
    local peak = tonumber(lines[#lines]:match "^peak (%d+)$")
    assert.is_true(peak < (maps:find("libasan", 1, true) and 1048576 or 98304), peak .. " kB")
  end)
end)
