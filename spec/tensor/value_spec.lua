-- values as Lua reads them: whatever bits a file had.
local ffi = require "ffi"
local T = require "foodrt.tensor"

describe("a value that is no number", function()
  after_each(function() T.collect() end)

  -- LuaJIT's own values live in such payloads: nil, true, tables
  local WORDS = { 0xffffffff, 0xfff12345, 0xff812345, 0xfff80123, 0x7f812345, 0xffc00000 }

  local function check(v)
    assert.equal("number", type(v))
    assert.is_true(v ~= v)
  end

  it("is not a number in Lua too, whatever its payload", function()
    local f = ffi.new("uint32_t[6]", WORDS)
    local t = T.var { shape = { 6 }, data = ffi.cast("float *", f) }
    for _, v in ipairs(t:totable()) do check(v) end
    for i = 1, 6 do check(t:narrow(1, i, 1):sum():item()) end
    local d = ffi.new "uint64_t[2]"
    d[0], d[1] = 0xffffffffe0000000ULL, 0xfffb800000001234ULL
    for _, v in ipairs(T.var { shape = { 2 }, dtype = "f64", data = ffi.cast("double *", d) }:totable()) do check(v) end
    local h = ffi.new("uint16_t[3]", { 0xffff, 0xff81, 0x7fff })
    for _, dtype in ipairs { "bf16", "f16" } do
      for _, v in ipairs(T.var { shape = { 3 }, dtype = dtype, data = h }:totable()) do
        assert.equal("number", type(v))
      end
    end
    assert.equal(0, T.var { shape = { 1 }, dtype = "bf16", data = ffi.new "uint16_t[1]" }:totable()[1])
  end)
end)
