--- Writing whole files: what stays of the old one, links, pipes and devices, names of unfinished files, lines that are added.
local io_ = require "foodrt.core.io"
local lib = require "foodrt.core.ffi"
local process = require "spec.support.process"
local V = require "spec.support.values"
local why = V.why

-- preloaded into a process: calls of the C library that fail as on strange file systems
local SHIM = [[
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
static int code(const char *name) { const char *v = getenv(name); return v ? atoi(v) : 0; }
int fsync(int fd) { int c = code("FSYNC"); (void)fd; if (c) { errno = c; return -1; } return 0; }
int flock(int fd, int how) { (void)fd; (void)how; return 0; }
int rename(const char *a, const char *b)
{
  struct stat st;
  if (code("RENAME") && stat(b, &st) == 0) { errno = code("RENAME"); return -1; }
  return (int)syscall(SYS_renameat2, -100, a, -100, b, 0);
}
]]

describe("a file that is written", function()
  local dir, shim
  setup(function()
    dir = process.temp_dir()
    process.write(dir .. "/shim.c", SHIM)
    if os.execute(("cc -shared -fPIC -o %s/shim.so %s/shim.c 2>/dev/null"):format(dir, dir)) == 0 then shim = dir .. "/shim.so" end
  end)
  teardown(function() process.remove(dir) end)

  local function path(name) return dir .. "/" .. name end

  -- names in a folder, hidden ones too
  local function names(folder)
    local _, out = process.shell(("ls -A '%s'"):format(folder))
    return (out:gsub("\n", " "):gsub(" $", ""))
  end

  local function shell(line, env)
    local status, out, err = process.shell(line, { dir = dir, env = env })
    return status, out, err
  end

  it("takes no name that could be somebody's: X.tmp stays as it is, nothing else is left", function()
    os.execute(("mkdir '%s'"):format(path "a"))
    process.write(path "a/x.tmp", "mine")
    io_.replace(path "a/x", "new")
    assert.equal("mine", process.read(path "a/x.tmp"))
    assert.equal("x x.tmp", names(path "a"))
  end)

  it("of 255 bytes of name is one like others", function()
    local name = ("n"):rep(255)
    io_.replace(path(name), "long")
    assert.equal("long", process.read(path(name)))
    os.remove(path(name))
  end)

  it("keeps the mode of the old one, and one that may not be written is refused", function()
    io_.replace(path "mode", "1")
    os.execute(("chmod 640 '%s'"):format(path "mode"))
    io_.replace(path "mode", "2")
    assert.equal("640\n", (select(2, shell "stat -c %a mode")))
  end)

  it("behind symbolic links takes the place of what they lead to, also of what is not there yet", function()
    os.execute(("mkdir '%s' '%s'; ln -s ../store/one '%s'; ln -s link '%s'"):format(path "store", path "links", path "links/link",
      path "links/again"))
    io_.replace(path "links/again", "1")
    assert.equal("1", process.read(path "store/one"))
    io_.replace(path "links/again", "2")
    assert.equal("2", process.read(path "store/one"))
    assert.equal("one", names(path "store"))
    assert.equal("link\n../store/one\n", (select(2, shell "readlink links/again links/link")))
  end)

  it("goes into pipes and devices, which stay what they are", function()
    local status, out = shell(("mkfifo pipe && { cat pipe & %s; wait; } && test -p pipe"):format(process.command { "-e",
      [[require("foodrt.core.io").replace("pipe", ("x"):rep(200000))]] }))
    assert.equal(0, status)
    assert.equal(200000, #out)
    assert.equal(0, (shell(process.command { "-e", [[require("foodrt.core.io").replace("/dev/null", "x")]] } .. " && test -c /dev/null")))
    status, out = shell(process.command { "-e", [[io.write "a\n" io.flush() require("foodrt.core.io").replace("/dev/stdout", "b\n")
      io.write "c\n"]] } .. " > out && cat out")
    assert.equal(0, status)
    assert.equal("a\nb\nc\n", out)
    status, out = shell(process.command { "-e", [[require("foodrt.core.io").replace("/dev/fd/7", "b")]] } .. " 7>&1 | cat")
    assert.equal(0, status)
    assert.equal("b", out)
    assert.equal(("'%s': can't be written: Is a directory"):format(dir), why(io_.replace, dir, "x"))
  end)

  it("of two writers at once is that of one of them, whole", function()
    process.write(path "w.lua", [[for i = 1, 40 do require("foodrt.core.io").replace("both", (...):rep(50000)) end]])
    local line = ("%s & %s & wait"):format(process.command { "w.lua", "a" }, process.command { "w.lua", "b" })
    local _, _, err = shell(line)
    assert.equal("", err)
    local text = process.read(path "both")
    assert.equal(50000, #text)
    assert.equal(text:sub(1, 1):rep(50000), text)
  end)

  it("leaves nothing of dead processes behind, and what a living one makes alone", function()
    os.execute(("mkdir '%s'"):format(path "dead"))
    local tag = lib.ffi.new "char[40]"
    lib.C.frt_temp_tag(tag)
    local own = lib.ffi.string(tag)
    local status, dead = shell(process.command { "-e", [[local lib = require "foodrt.core.ffi"
      local t = lib.ffi.new "char[40]" lib.C.frt_temp_tag(t) io.write(lib.ffi.string(t))]] })
    assert.equal(0, status)
    assert.equal(0, lib.C.frt_temp_dead(own))
    assert.equal(1, lib.C.frt_temp_dead(dead))
    for _, name in ipairs { ".x." .. own .. ".tmp", ".y." .. dead .. ".tmp", "y." .. dead .. ".tmp", ".z.tmp" } do
      process.write(path("dead/" .. name), "half")
    end
    io_.replace(path "dead/x", "1")
    assert.equal((".x.%s.tmp .z.tmp x y.%s.tmp"):format(own, dead), names(path "dead"))
  end)

  it("is as the old one on a full disk", function()
    io_.replace(path "full", "old")
    local _, _, err = shell(("ulimit -f 8; %s"):format(process.command { "-e",
      [[require("foodrt.core.io").replace("full", ("x"):rep(100000))]] }))
    assert.matches("'full': can't be written: File too large", err, 1, true)
    assert.equal("old", process.read(path "full"))
    assert.equal(nil, names(dir):match "%.full%S*tmp")
  end)

  describe("where the file system is strange", function()
    local SAVE = [[local io_ = require "foodrt.core.io" io_.replace("strange", "1") io_.replace("strange", "2")
      io_.append("strange", "3", true)]]

    local function strange(env)
      if not shim then pending "no C compiler" end
      env.LD_PRELOAD = shim
      local status, _, err = shell(process.command { "-e", SAVE }, env)
      return status, err, process.read(path "strange")
    end

    it("an fsync that there isn't (EOPNOTSUPP, ENOSYS, EPERM, EINVAL, EROFS) is none; a failing disk is an error", function()
      for _, code in ipairs { 95, 38, 1, 22, 30 } do
        local status, err, text = strange { FSYNC = tostring(code) }
        assert.equal("", err)
        assert.equal(0, status)
        assert.equal("23", text)
      end
      local status, err = strange { FSYNC = "5" }
      assert.equal(1, status)
      assert.matches("'strange': can't be written: Input/output error", err, 1, true)
    end)

    it("a rename that replaces nothing (EEXIST), or can't reach it (EBUSY, EXDEV), still puts the file in place", function()
      for _, code in ipairs { 17, 16, 18, 1 } do
        local status, err, text = strange { RENAME = tostring(code) }
        assert.equal("", err)
        assert.equal(0, status)
        assert.equal("23", text)
        assert.equal(nil, names(dir):match "%.strange%S*tmp")
      end
    end)
  end)

  it("in pieces is there as a whole, or as it was", function()
    local w = io_.writer(path "rows")
    w:put(("a"):rep(70000))
    w:put "b\n"
    assert.is_nil(process.read(path "rows"))
    w:close()
    assert.equal(("a"):rep(70000) .. "b\n", process.read(path "rows"))
    w = io_.writer(path "rows")
    w:put "c"
    w:drop()
    assert.equal(70002, #process.read(path "rows"))
  end)
end)

describe("lines that are added", function()
  local dir
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  it("are whole or an error, each of them, also when the loop that adds them is compiled", function()
    local status, _, err = process.shell(("ulimit -f 8; exec %s"):format(process.command { "-e", [[
      local folder = require "foodrt.run.folder"
      local f, wrong = folder.open ".", 0
      for i = 1, 1000 do
        if not pcall(f.log, f, { event = "step", step = i, loss = 1 / i }) then wrong = wrong + 1 end
      end
      print(f.lines, wrong)
      io.stderr:write(f.lines + wrong == 1000 and wrong > 500 and "" or "lost " .. f.lines .. " " .. wrong)]] }), { dir = dir })
    assert.equal("", err)
    assert.equal(0, status)
    local n = 0
    for line in process.read(dir .. "/metrics.jsonl"):gmatch "[^\n]*\n" do
      n = n + 1
      assert.matches('^{"event":"step",.*}\n$', line)
    end
    assert.equal("\n", process.read(dir .. "/metrics.jsonl"):sub(-1))
    assert.is_true(n > 50)
  end)

  it("that were cut are gone when a run goes on, wherever they stand", function()
    process.write(dir .. "/metrics.jsonl", '{"a":1}\n{"a":2,"b{"a":3}\n{"a":4}\n{"a":5')
    local f = require("foodrt.run.folder").open(dir, 10)
    assert.equal(2, f.lines)
    f:log { a = 6 }
    f:close()
    assert.equal('{"a":1}\n{"a":4}\n{"a":6}\n', process.read(dir .. "/metrics.jsonl"))
  end)
end)
