-- The command line: exit statuses, one-line errors, scripts and their arguments, suggestions, start time.
local process = require "spec.support.process"
local foodrt = process.foodrt

describe("the command line", function()
  local dir
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  local function script(text)
    local path = dir .. "/script.lua"
    process.write(path, text)
    return path
  end

  it("-e runs a line and exits 0", function()
    local status, out, err = foodrt { "-e", "print(6 * 7)" }
    assert.equal(0, status)
    assert.equal("42\n", out)
    assert.equal("", err)
  end)

  it("-e with an error exits 1 and says in one line where", function()
    local status, out, err = foodrt { "-e", "local t = nil; t.x = 1" }
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal("(command line):1: attempt to index local 't' (a nil value)\n", err)
  end)

  it("-e with a line that does not parse exits 1", function()
    local status, _, err = foodrt { "-e", "for" }
    assert.equal(1, status)
    assert.equal("(command line):1: '<name>' expected near '<eof>'\n", err)
  end)

  it("-e alone is wrong usage", function()
    local status, _, err = foodrt { "-e" }
    assert.equal(2, status)
    assert.equal("foodrt: -e needs a line of Lua\n", err)
  end)

  it("--version names foodrt and LuaJIT", function()
    local status, out = foodrt { "--version" }
    assert.equal(0, status)
    assert.matches("^foodrt %d+%.%d+%.%d+ %(LuaJIT [^\n]+%)\n$", out)
  end)

  it("--help shows how to call it and every command", function()
    local status, out = foodrt { "--help" }
    assert.equal(0, status)
    assert.matches("^usage: foodrt RECIPE%.lua", out)
    assert.matches("\n +test %[PATH", out)
    assert.matches("\n +doctor", out)
  end)

  it("COMMAND --help shows that command's usage", function()
    local status, out = foodrt { "test", "--help" }
    assert.equal(0, status)
    assert.matches("^usage: foodrt test %[PATH", out)
  end)

  it("an unknown command exits 2 and suggests the one that was meant", function()
    local status, out, err = foodrt { "docter" }
    assert.equal(2, status)
    assert.equal("", out)
    assert.equal("foodrt: unknown command 'docter', did you mean 'doctor'? (foodrt --help lists them)\n", err)
  end)

  it("an unknown option exits 2 and suggests", function()
    local status, _, err = foodrt { "--versoin" }
    assert.equal(2, status)
    assert.matches("^foodrt: unknown option '%-%-versoin', did you mean '%-%-version'%?", err)
  end)

  it("more loader threads than there can be exit 2 and say how many", function()
    local path = script "return {}"
    local status, _, err = foodrt { path, "--workers", "1000" }
    assert.equal(2, status)
    assert.equal("foodrt: --workers must be a number from 1 to 256, got '1000'\n", err)
  end)

  it("a script gets its arguments and arg[0]", function()
    local path = script "print(arg[0]:match '[^/]*$', #arg, ...)"
    local status, out = foodrt { path, "a", "b c" }
    assert.equal(0, status)
    assert.equal("script.lua\t2\ta\tb c\n", out)
  end)

  it("a script runs in the caller's directory", function()
    local path = script "io.write(io.popen('pwd'):read '*a')"
    local _, out = foodrt({ path }, { dir = "/" })
    assert.equal("/\n", out)
  end)

  it("a script's error exits 1 and names its line", function()
    local path = script "print 'x'\nlocal t = {}\nt.a.b = 1"
    local status, out, err = foodrt { path }
    assert.equal(1, status)
    assert.equal("x\n", out)
    assert.matches("script%.lua:3: attempt to index field 'a' %(a nil value%)\n$", err)
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  it("a script's own exit status is kept", function()
    assert.equal(7, (foodrt { script "os.exit(7)" }))
  end)

  it("FOODRT_TRACE=full shows the stack", function()
    local path = script "local function inner() error 'deep' end\nlocal function outer() inner() end\nouter()"
    local status, _, err = foodrt({ path }, { env = { FOODRT_TRACE = "full" } })
    assert.equal(1, status)
    assert.matches("script%.lua:1: deep\nstack traceback:", err)
  end)

  it("a file that is not there exits 1 and suggests its neighbour", function()
    script ""
    local status, _, err = foodrt { dir .. "/scirpt.lua" }
    assert.equal(1, status)
    assert.equal(("foodrt: %s/scirpt.lua: no such file, did you mean 'script.lua'?\n"):format(dir), err)
  end)

  it("- runs standard input", function()
    local status, out = foodrt({ "-", "5" }, { stdin = "local n = ...\nprint(n + 1)\n" })
    assert.equal(0, status)
    assert.equal("6\n", out)
  end)

  it("-e then a script runs both", function()
    local _, out = foodrt { "-e", "x = 3", script "print(x, ...)", "q" }
    assert.equal("3\tq\n", out)
  end)

  it("a full disk under standard output is an error", function()
    local status, _, err = process.shell(process.command { "-e", "print(1)" } .. " >/dev/full")
    assert.equal(1, status)
    assert.matches("^foodrt: standard output: ", err)
  end)

  it("starts without opening libfoodrt, which comes with the first look at frt, or libvips or libcurl", function()
    local list = "for line in io.lines '/proc/self/maps' do print(line) end"
    local _, out = foodrt { "-e", list }
    assert.not_matches("libfoodrt", out)
    _, out = foodrt { "-e", "local _ = frt.memory() " .. list }
    assert.matches("libfoodrt%.so", out)
    assert.not_matches("libvips", out)
    assert.not_matches("libcurl", out)
  end)

  -- The best of several: other work on the machine can only make it slower. Sanitised binaries are exempt.
  it("starts in less than 20 ms", function()
    local _, maps = foodrt { "-e", "io.write(io.open('/proc/self/maps'):read '*a')" }
    if maps:find("libasan", 1, true) then return end
    local path = script [[
      local ffi = require "ffi"
      ffi.cdef "typedef struct { long s, ns; } start_time; int clock_gettime(int, start_time *);"
      local t = ffi.new "start_time"
      local function now() ffi.C.clock_gettime(1, t); return tonumber(t.s) + 1e-9 * tonumber(t.ns) end
      local best = math.huge
      for _ = 1, 15 do
        local start = now()
        os.execute(arg[1])
        best = math.min(best, now() - start)
      end
      print(best * 1e3)]]
    local _, out = foodrt { path, process.command { "-e", "print(1)" } .. " >/dev/null" }
    assert.is_true(tonumber(out) < 20, out .. " ms")
  end)
end)
