-- ./foodrt, the launcher, as far as it can be tried without installing or building anything: on a copy of
-- itself beside a stand-in for the built binary.
local process = require "spec.support.process"

describe("the launcher", function()
  local dir
  before_each(function()
    dir = process.temp_dir()
    assert.equal(0, (process.shell(([[
      set -e
      cp foodrt %s/
      cd %s
      dir=$(pwd -P)
      mkdir -p runtime/base build/bin
      touch runtime/base/a.c CMakeLists.txt CMakePresets.json
      printf '#!/bin/sh\npwd\nfor a; do echo "[$a]"; done\nexit 3\n' >build/bin/foodrt
      chmod +x build/bin/foodrt
      sleep 0.02
      echo "$dir" >build/.stamp]]):format(dir, dir))))
  end)
  after_each(function() process.remove(dir) end)

  -- With a cmake that only says that it was called.
  local function with_stub(line, options)
    process.write(dir .. "/cmake", '#!/bin/sh\necho "cmake $*" >>' .. dir .. "/calls\nexit ${STUB_STATUS:-0}\n")
    os.execute("chmod +x " .. dir .. "/cmake")
    options = options or {}
    options.env = options.env or {}
    options.env.PATH = dir .. ":" .. os.getenv "PATH"
    local status, out, err = process.shell(line, options)
    local calls = io.open(dir .. "/calls")
    local text = calls and calls:read "*a" or ""
    if calls then calls:close() end
    return status, out, err, text
  end

  it("runs the binary with the same arguments, working directory and exit status", function()
    local status, out, err, calls = with_stub(dir .. "/foodrt a 'b c' ''", { dir = "/tmp" })
    assert.equal(3, status)
    assert.equal("/tmp\n[a]\n[b c]\n[]\n", out)
    assert.equal("", err)
    assert.equal("", calls)
  end)

  it("works through a link, by relative path, from PATH and by sh", function()
    os.execute(("mkdir -p %s/bin && ln -s ../foodrt %s/bin/frt"):format(dir, dir))
    for _, line in ipairs { dir .. "/bin/frt x", "cd runtime && ../foodrt x", "sh foodrt x", "./foodrt x" } do
      local status, out, err, calls = with_stub(line, { dir = dir })
      assert.equal("3 " .. line, status .. " " .. line)
      assert.matches("%[x%]\n$", out)
      assert.equal("", err)
      assert.equal("", calls)
    end
  end)

  it("uses a tree that can't be written as it was built, also where it was built elsewhere", function()
    local at = dir .. "/ro"
    -- as root every file can be written but those of a mount that says no: a namespace has one
    local line = ("mkdir %s && unshare -rm sh -c 'mount --bind %s %s && mount -o remount,bind,ro %s && %s/foodrt x'"):format(at, dir, at,
      at, at)
    if process.shell(("unshare -rm sh -c 'mount --bind %s %s && mount -o remount,bind,ro %s'"):format(dir, dir, dir)) ~= 0 then
      pending "no mount namespaces here"
    end
    local status, out, err, _ = process.shell(line)
    assert.equal("", err)
    assert.equal(3, status)
    assert.matches("%[x%]\n$", out)
    os.execute(("sleep 0.02; touch %s/runtime/base/a.c"):format(dir))
    status, _, err = process.shell(("unshare -rm sh -c 'mount --bind %s %s && mount -o remount,bind,ro %s && %s/foodrt x'"):format(dir, dir,
      dir, dir))
    assert.equal(3, status)
    assert.equal("foodrt: sources are newer than the build, which can't be written: it is used as it is\n", err)
    os.execute(("rm %s/build/bin/foodrt"):format(dir))
    status, _, err = process.shell(("unshare -rm sh -c 'mount --bind %s %s && mount -o remount,bind,ro %s && %s/foodrt x'"):format(dir, dir,
      dir, dir))
    assert.equal(1, status)
    assert.matches("foodrt: not built, and .*/build can't be written: build a copy of the tree", err)
  end)

  it("builds again when a source is newer, is added or is removed", function()
    for _, change in ipairs { "touch runtime/base/a.c", "touch runtime/base/b.c", "rm runtime/base/b.c",
      "touch CMakeLists.txt" } do
      os.execute(("cd %s && sleep 0.02 && rm -f calls && %s"):format(dir, change))
      local status, _, err, calls = with_stub(dir .. "/foodrt")
      assert.equal(3, status)
      assert.matches("foodrt: sources changed, building", err)
      assert.matches("cmake %-%-build", calls)
      os.execute("rm -f " .. dir .. "/calls")
      _, _, err, calls = with_stub(dir .. "/foodrt")
      assert.equal("", err .. calls)
    end
  end)

  it("a changed Lua file needs no build", function()
    os.execute(("mkdir %s/lua && touch %s/lua/x.lua"):format(dir, dir))
    local _, _, err, calls = with_stub(dir .. "/foodrt")
    assert.equal("", err .. calls)
  end)

  it("configures afresh when the folder was moved", function()
    os.execute(("echo /elsewhere >%s/build/.stamp; echo CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere >%s/build/CMakeCache.txt")
      :format(dir, dir))
    local status, _, _, calls = with_stub(dir .. "/foodrt")
    assert.equal(3, status)
    assert.matches("cmake %-%-preset release %-%-fresh", calls)
  end)

  -- A machine on which `missing` are not installed; apt-get fails its first `failures` times.
  local function stub_apt(missing, failures)
    local function stub(name, text)
      process.write(dir .. "/" .. name, "#!/bin/sh\n" .. text .. "\n")
      os.execute("chmod +x " .. dir .. "/" .. name)
    end
    stub("dpkg-query", ("for last; do :; done\ncase ' %s ' in *\" $last \"*) exit 1 ;; esac\nprintf installed"):format(missing))
    stub("apt-get", ('echo "apt-get $DEBIAN_FRONTEND $*" >>%s/calls\n[ $(grep -c ^apt-get %s/calls) -gt %d ]'):format(
      dir, dir, failures))
    stub("sudo", ('echo "sudo $*" >>%s/calls\nexec "$@"'):format(dir))
    stub("id", "echo 1000")
    os.execute(("rm -f %s/build/.stamp"):format(dir))
  end

  it("lists what is missing, installs just that without asking, and builds", function()
    stub_apt("ninja-build libvips-dev", 0)
    local status, _, err, calls = with_stub(dir .. "/foodrt")
    assert.equal(3, status)
    assert.matches("^foodrt: installing these Debian packages and what they need "
      .. "%(first use only, some minutes%): ninja%-build libvips%-dev\n", err)
    assert.matches("^sudo env DEBIAN_FRONTEND=noninteractive apt%-get [^\n]*install %-y %-%-no%-install%-recommends "
      .. "ninja%-build libvips%-dev\napt%-get noninteractive [^\n]*install [^\n]*\ncmake %-%-preset release", calls)
  end)

  it("fetches package lists when they are missing or old", function()
    stub_apt("gcc", 1)
    local status, _, _, calls = with_stub(dir .. "/foodrt")
    assert.equal(3, status)
    assert.matches("install [^\n]*gcc\n.-apt%-get noninteractive [^\n]*update\n.-install [^\n]*gcc\ncmake", calls)
  end)

  it("an installation that fails ends it with status 1 before anything is built", function()
    stub_apt("gcc", 9)
    local status, _, err, calls = with_stub(dir .. "/foodrt")
    assert.equal(1, status)
    assert.matches("packages%.log\n$", err)
    assert.not_matches("cmake", calls)
  end)

  it("without root and sudo names the command for root", function()
    stub_apt("gcc cmake", 0)
    os.execute(("mkdir %s/tools && cd %s/tools && ln -s /bin/* . 2>/dev/null; rm -f sudo apt-get dpkg-query id cmake; "
      .. "mv ../dpkg-query ../id ."):format(dir, dir))
    local status, _, err = process.shell(dir .. "/foodrt", { env = { PATH = dir .. "/tools" } })
    assert.equal(1, status)
    assert.matches("not root and no sudo; as root, run: apt%-get install gcc cmake\n$", err)
  end)

  it("`test` also wants the test packages", function()
    stub_apt("lua-busted clang-format", 0)
    process.shell(('cd %s && dir=$(pwd -P) && echo "$dir" >build/.stamp'):format(dir))
    local status, out, _, calls = with_stub(dir .. "/foodrt test")
    assert.equal(3, status)
    assert.matches("%[test%]", out)
    assert.matches("install [^\n]*lua%-busted clang%-format\n$", calls)
    assert.not_matches("cmake", calls)
  end)

  it("a build that fails shows the log's end, exits 1 and is tried again", function()
    os.execute(("sleep 0.02; touch %s/runtime/base/a.c"):format(dir))
    for _ = 1, 2 do
      local status, out, err = with_stub(dir .. "/foodrt", { env = { STUB_STATUS = "1" } })
      assert.equal(1, status)
      assert.equal("", out)
      assert.matches("build%.log\n$", err)
    end
  end)

  it("of two first runs one builds and the other waits for it", function()
    os.execute(("sleep 0.02; touch %s/runtime/base/a.c"):format(dir))
    local line = ("%s/foodrt & %s/foodrt & wait"):format(dir, dir)
    local _, _, _, calls = with_stub(line)
    assert.equal(1, select(2, calls:gsub("cmake %-%-build", "")))
  end)
end)
