-- Evaluation photos against timm's own transforms, from the JPEG to the normalised tensor, bit for bit.
local frt = require "foodrt"
local golden = dofile "spec/fixtures/timm_eval.lua"
local base64 = require "spec.support.base64"
local process = require "spec.support.process"
local R = require "foodrt.tensor.record"

local MEAN, STD = { 0.485, 0.456, 0.406 }, { 0.229, 0.224, 0.225 }

describe("evaluation sees what timm sees:", function()
  local dir
  setup(function()
    dir = process.temp_dir()
    process.write(dir .. "/plate.jpg", base64(golden.jpeg))
  end)
  teardown(function() process.remove(dir) end)

  -- the tensor's floats (C H W in memory order of totable) and its pixels as bytes
  local function seen(options)
    local c = options
    local d = frt.data.folder { "nowhere", size = c.size,
      eval = { crop_pct = c.crop_pct, mode = c.mode, interpolation = c.interpolation, shrink = c.shrink } }
    local tensor, pixels = d:preprocess(dir .. "/plate.jpg"), {}
    local x = R.read(tensor)
    for i = 0, c.size * c.size - 1 do
      for ch = 0, 2 do
        local v = (x[ch * c.size * c.size + i] * STD[ch + 1] + MEAN[ch + 1]) * 255
        pixels[#pixels + 1] = math.floor(v + 0.5)
      end
    end
    return x, pixels
  end

  local function fnv(bytes)
    local h = 0xcbf29ce484222325ULL
    for _, b in ipairs(bytes) do h = bit.bxor(h, b + 0ULL) * 0x100000001b3ULL end
    return h
  end

  for _, g in ipairs(golden) do
    it(("%s of %d, crop_pct %g, %s: mean %.6f"):format(g.mode, g.size, g.crop_pct, g.interpolation, g.mean), function()
      local x, pixels = seen(g)
      local at, sum = math.floor(g.size / 2), 0
      local row = {}
      for i = 1, 3 * g.size do row[i] = ("%02x"):format(pixels[3 * at * g.size + i]) end
      assert.equal(g.row, table.concat(row))
      assert.equal(tostring(g.fnv), tostring(fnv(pixels)))
      for ch = 0, 2 do assert.near(g.first[ch + 1], x[ch * g.size * g.size + at * g.size + at], 1e-6) end
      for i = 0, 3 * g.size * g.size - 1 do sum = sum + x[i] end
      assert.near(g.mean, sum / (3 * g.size * g.size), 1e-6)
    end)
  end

  it("with shrink = true it is a stated approximation: other pixels, within 4 levels on average", function()
    local small = { size = 24, crop_pct = 1, mode = "center", interpolation = "bilinear" }
    local _, whole = seen(small)
    small.shrink = true
    local _, fast = seen(small)
    local sum = 0
    for i = 1, #whole do sum = sum + math.abs(whole[i] - fast[i]) end
    assert.is_true(sum > 0 and sum / #whole < 4, ("mean difference %.3f"):format(sum / #whole))
  end)
end)
