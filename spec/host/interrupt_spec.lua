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

-- What tries one thing and then another must not take a signal for a failure.
local SWALLOWERS = {
  ["pcall"] = "while true do pcall(function() while true do end end) end",
  ["xpcall"] = "while true do xpcall(function() while true do end end, function(m) return tostring(m) end) end",
  ["a coroutine that is resumed"] = "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
  ["a script's handler"] = "local ok = pcall(error, 'x') while true do assert(not pcall(error, { text = 'x' })) end",
}

describe("a signal in", function()
  for name, code in pairs(SWALLOWERS) do
    it(name .. " is not swallowed", function()
      local status, _, err = run(code, { "INT" })
      assert.equal(130, status)
      assert.equal("foodrt: interrupted\n", err)
    end)
  end

  it("code that puts something right is raised again afterwards", function()
    local status, out, err = run([=[
      local e = require "foodrt.core.err"
      local ok, why = e.catch(function() while true do end end)
      print(ok, tostring(why), why == e.STOP)
      error(why, 0)]=], { "TERM" })
    assert.equal(130, status)
    assert.equal("false\tinterrupted\ttrue\n", out)
    assert.equal("foodrt: interrupted\n", err)
  end)

  it("work that fails with the word 'interrupted' is a failure", function()
    local status, _, err = process.foodrt { "-e", "print(pcall(error, 'interrupted', 0)) error('interrupted', 0)" }
    assert.equal(1, status)
    assert.equal("interrupted\n", err)
  end)
end)

describe("standard files that are closed", function()
  it("give their numbers to no other file", function()
    local dir = process.temp_dir()
    local code = "local f = io.open('f', 'w') print 'lost' io.stdout:flush() io.stderr:write 'lost too' f:write 'kept' f:close()"
    process.shell(process.command { "-e", code } .. " <&- >&- 2>&-", { dir = dir })
    assert.equal("kept", process.read(dir .. "/f"))
    process.remove(dir)
  end)
end)

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

  it("the second ends a compiled loop in graceful work", function()
    local status, _, err = run(GRACEFUL .. "local x = 0; for i = 1, 1e15 do x = x + i end", { "INT", "INT" })
    assert.equal(130, status)
    assert.equal("foodrt: interrupted\n", err)
  end)

  for _, signal in ipairs { "HUP", "USR1", "USR2", "XCPU", "PIPE" } do
    it(("SIG%s asks like a first SIGTERM, and a second one does not press on"):format(signal), function()
      local status, out, err = run(GRACEFUL .. "for _ = 1, 500 do ffi.C.usleep(1000) end print 'saved' os.exit(130)",
        { signal, signal, signal })
      assert.equal(130, status)
      assert.equal("asked\t1\nsaved\n", out)
      assert.equal("", err)
    end)
  end

  it("of a pipe that nobody reads ends other work without a word", function()
    local line = process.command { "-e", "for i = 1, 1e7 do print(i) end" } .. " 2>err | head -n 2; cat err; rm err"
    local dir = process.temp_dir()
    local _, out = process.shell(line, { dir = dir })
    process.remove(dir)
    assert.equal("1\n2\n", out)
  end)

  it("SIGHUP stays ignored under nohup", function()
    local line = "trap '' HUP; " .. process.command { "-e", "print 'ready' io.stdout:flush() os.execute 'kill -HUP $PPID' print 'alive'" }
    local status, out = process.shell(line)
    assert.equal(0, status)
    assert.equal("ready\nalive\n", out)
  end)

  it("work that is graceful no more is stopped by the first", function()
    local host = "local host = require 'foodrt.host'; host.graceful(true); host.graceful(false); while true do end"
    local status, _, err = run(host, { "INT" })
    assert.equal(130, status)
    assert.equal("foodrt: interrupted\n", err)
  end)
end)
