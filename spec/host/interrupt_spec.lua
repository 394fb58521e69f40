-- SIGINT and SIGTERM: what stops, what is only asked to stop, and the exit status.
local process = require "spec.support.process"

-- Sends the signals, 0.15 s apart, once the program has printed "ready".
local function run(code, signals)
  local line = process.command { "-e", 'print "ready" io.stdout:flush() ' .. code }
  local parts = { "fifo=$(mktemp -u); mkfifo $fifo; " .. line .. " >$fifo & p=$!; exec 3<$fifo; read x <&3; " }
  for _, signal in ipairs(signals) do parts[#parts + 1] = ("sleep 0.15; kill -%s $p; "):format(signal) end
  parts[#parts + 1] = "cat <&3; rm $fifo; wait $p"
  return process.shell(table.concat(parts), { timeout_s = 20 })
end

local LOOPS = {
  ["an empty loop"] = "while true do end",
  ["compiled arithmetic"] = "local x = 0; for i = 1, 1e15 do x = x + i end",
  ["a loop that makes tables"] = "local t; while true do t = { 1 }; t[2] = tostring(t[1]) end",
  ["foreign calls"] = "local ffi = require 'ffi'; ffi.cdef 'int usleep(unsigned);'; while true do ffi.C.usleep(500) end",
  ["a coroutine"] = "coroutine.wrap(function() while true do end end)()",
}

describe("a signal", function()
  for name, code in pairs(LOOPS) do
    for _, signal in ipairs { "INT", "TERM" } do
      it(("SIG%s ends %s with status 130"):format(signal, name), function()
        local status, _, err = run(code, { signal })
        assert.equal(130, status)
        assert.equal("foodrt: interrupted\n", err)
      end)
    end
  end

  local GRACEFUL = [[
    local host, ffi = require "foodrt.host", require "ffi"
    ffi.cdef "int usleep(unsigned);"
    host.graceful(true)
    while host.interrupted() == 0 do ffi.C.usleep(1000) end
    print("asked", host.interrupted())
    io.stdout:flush()
  ]]

  it("the first only asks graceful work to stop", function()
    local status, out, err = run(GRACEFUL .. "os.exit(130)", { "INT" })
    assert.equal(130, status)
    assert.equal("asked\t1\n", out)
    assert.equal("", err)
  end)

  it("the second raises in graceful work", function()
    local status, out, err = run(GRACEFUL .. "while true do ffi.C.usleep(1000) host.isatty(0) end", { "TERM", "INT" })
    assert.equal(130, status)
    assert.equal("asked\t1\n", out)
    assert.equal("foodrt: interrupted\n", err)
  end)

  it("the third ends the process whatever it does", function()
    local code = GRACEFUL .. "while true do pcall(function() while true do host.isatty(0) end end) end"
    local status = run(code, { "INT", "INT", "INT" })
    assert.equal(130, status)
  end)

  it("work that is graceful no more is stopped by the first", function()
    local host = "local host = require 'foodrt.host'; host.graceful(true); host.graceful(false); while true do end"
    local status, _, err = run(host, { "INT" })
    assert.equal(130, status)
    assert.equal("foodrt: interrupted\n", err)
  end)
end)
