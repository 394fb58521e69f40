-- The instruction set: chosen once for kernels and photos; a wish that can't be had is said.
local lib = require "foodrt.core.ffi"
local process = require "spec.support.process"

local function run(wish)
  local status, out, err = process.shell("exec " .. process.command { "-e",
    'print(frt.ones { 2 }:sum():item(), require("foodrt.core.ffi").ffi.string(require("foodrt.core.ffi").C.frt_isa()))' },
    { env = { FOODRT_ISA = wish } })
  assert.equal(0, status, err)
  local sum, isa = out:match "^(%d+)%s+(%S+)\n$"
  assert.equal("2", sum, out)
  return isa, err
end

describe("FOODRT_ISA", function()
  it("names the instruction set", function()
    local isa, err = run "base"
    assert.equal("base", isa)
    assert.equal("", err)
  end)

  it("that there is none of is said once, with what there is and what is used", function()
    local isa, err = run "avx1024"
    assert.equal(run "auto", isa)
    assert.equal("foodrt: FOODRT_ISA: must be 'auto', 'base', 'avx2', 'avx512' or 'avx512_bf16', got 'avx1024'; going on with "
      .. isa .. "\n", err)
  end)

  it("is refused by name in frt_set_isa, and nothing changes", function()
    local was = lib.ffi.string(lib.C.frt_isa())
    assert.error_matches(function() lib.check(lib.C.frt_set_isa "sse9") end,
      "set_isa: must be 'auto', 'base', 'avx2', 'avx512' or 'avx512_bf16', got 'sse9'")
    assert.equal(was, lib.ffi.string(lib.C.frt_isa()))
  end)
end)
