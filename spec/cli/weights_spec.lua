-- foodrt weights show and convert: what is in a file, and the same in another container or float width.
local frt = require "foodrt"
local decode = require "spec.support.base64"
local files = require "spec.fixtures.pth"
local json = require "foodrt.core.json"
local process = require "spec.support.process"

describe("foodrt weights", function()
  local dir
  setup(function()
    dir = process.temp_dir()
    process.write(dir .. "/old.pth", decode(files.old))
    frt.save(dir .. "/a.safetensors", { ["conv.weight"] = frt.tensor { { 1, 2.5 }, { -3, 1e-3 } },
      ["bn.n"] = frt.tensor({ 7 }, { dtype = "i64" }) },
      { note = "two\nlines", format = "pt" })
  end)
  teardown(function() process.remove(dir) end)

  local function weights(...)
    return process.foodrt({ "weights", ... }, { dir = dir })
  end

  it("show: names, shapes, types, bytes, metadata on one line each, and what it is in all", function()
    local status, out = weights("show", "a.safetensors")
    assert.equal(0, status)
    assert.equal("bn.n         [1]     I64   8 B\nconv.weight  [2, 2]  F32  16 B\nmetadata  format: pt\nmetadata  note: two lines\n"
      .. "a.safetensors: 2 tensors, 5 numbers, 24 B, F32 I64\n", out)
  end)

  it("show --keys and --json: some of them, for programs", function()
    local _, out = weights("show", "old.pth", "--keys", "a.*", "--json")
    local t = json.decode(out)
    assert.same({ { name = "a.n", shape = {}, dtype = "I64", bytes = 8 },
      { name = "a.weight", shape = { 3, 2 }, dtype = "F32", bytes = 24 } }, t.tensors)
    local status, _, err = weights("show", "old.pth", "--keys", "none")
    assert.equal(1, status)
    assert.equal("foodrt: weights show: 'old.pth' has no tensor 'none'\n", err)
  end)

  it("convert: the same values in safetensors, with the metadata; nothing is overwritten without --force", function()
    assert.equal(0, (weights("convert", "old.pth", "new.safetensors")))
    local io_ = require "foodrt.core.io"
    assert.equal(io_.hash(dir .. "/old.pth"), io_.hash(dir .. "/new.safetensors"))
    local status, _, err = weights("convert", "a.safetensors", "new.safetensors")
    assert.equal(1, status)
    assert.equal("foodrt: weights convert: 'new.safetensors' is there already; --force replaces it\n", err)
    assert.equal(0, (weights("convert", "a.safetensors", "new.safetensors", "--force")))
    local _, metadata = io_.list(dir .. "/new.safetensors")
    assert.same({ note = "two\nlines", format = "pt" }, metadata)
  end)

  -- the bits PyTorch gives for the same values
  local VALUES = { 1, -2.5, 0.1, 65504, 6e-8, 1e-3, 3.14159265, 0 }
  local BITS = { bf16 = { 0x3f80, 0xc020, 0x3dcd, 0x4780, 0x3381, 0x3a83, 0x4049, 0x0000 },
    fp16 = { 0x3c00, 0xc100, 0x2e66, 0x7bff, 0x0001, 0x1419, 0x4248, 0x0000 } }
  for dtype, bits in pairs(BITS) do
    it("convert --dtype " .. dtype .. " rounds to the nearest, as PyTorch; whole numbers stay as they are", function()
      frt.save(dir .. "/v.safetensors", { v = frt.tensor(VALUES), n = frt.tensor({ 3 }, { dtype = "i32" }) })
      local status, out = weights("convert", "v.safetensors", dtype .. ".safetensors", "--dtype", dtype)
      assert.equal(0, status)
      assert.matches("^" .. dtype .. ".safetensors: 2 tensors, 20 B, %u+16 I32\n$", out)
      local file = io.open(dir .. "/" .. dtype .. ".safetensors", "rb")
      local text = file:read "*a"
      file:close()
      for i, want in ipairs(bits) do
        local low, high = text:byte(#text - 16 + 2 * i - 1, #text - 16 + 2 * i)
        assert.equal(want, low + 256 * high, tostring(VALUES[i]))
      end
    end)
  end

  it("convert --dtype fp16 names the tensor whose value it can't hold, and writes nothing", function()
    frt.save(dir .. "/big.safetensors", { big = frt.tensor { 7e4 } })
    local status, _, err = weights("convert", "big.safetensors", "none.safetensors", "--dtype", "fp16")
    assert.equal(1, status)
    assert.equal("'big.safetensors': tensor 'big' has the value 70000, too large for F16\n", err)
    assert.is_nil(io.open(dir .. "/none.safetensors"))
  end)

  it("wrong usage exits with 2 and says what was meant", function()
    local status, _, err = weights "shwo"
    assert.equal(2, status)
    assert.equal("foodrt: weights: unknown command 'shwo', did you mean 'show'?\n", err)
    status, _, err = weights("convert", "a.safetensors", "a.pth")
    assert.equal(2, status)
    assert.equal("foodrt: weights convert: OUT must end in .safetensors, the one kind that is written, got 'a.pth'\n", err)
  end)

  it("model:save takes a dtype, and what it wrote loads", function()
    local m = frt.nn.Linear { 2 }
    m:build { input = { 1, 3 } }
    m:save(dir .. "/half.safetensors", nil, { dtype = "bf16" })
    local list = require("foodrt.core.io").list(dir .. "/half.safetensors")
    assert.equal("BF16", list[1].stored)
    m:load(dir .. "/half.safetensors")
    local ok, why = pcall(m.save, m, dir .. "/x.safetensors", nil, { dtype = "f61" })
    assert.is_false(ok)
    assert.matches("save: 'dtype' must be one of f32, bf16, f16, got string %('f61'%)", why)
  end)
end)
