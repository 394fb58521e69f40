-- foodrt weights get beside a server on the loopback that speaks as the hub does, rightly and wrongly.
local hub = require "spec.support.hub"
local json = require "foodrt.core.json"
local process = require "spec.support.process"

describe("foodrt weights get", function()
  local server
  local bytes = ("0123456789abcdef"):rep(4096)  -- 64 KiB
  local SHA = "sha256 as announced\n$"
  setup(function() server = hub.start() end)
  teardown(function() server:stop() end)

  local function get(name, o, ...)
    local args = { "weights", "get", name, ... }
    local status, out, err = server:foodrt(args, o)
    return status, out, err
  end

  -- the same as a line of shell
  local function line_of(args)
    local env = { "env" }
    for k, v in pairs(server.env) do env[#env + 1] = ("%s='%s'"):format(k, v) end
    return table.concat(env, " ") .. " " .. process.command(args)
  end

  -- offers the weights with a behaviour and fetches them; out: status, stdout, stderr
  local function try(tag, behaviour, o)
    server:put("resnet18." .. tag, { text = bytes, behaviour = behaviour })
    server:log()
    local status, out, err = get("resnet18." .. tag, o)
    return status, out, err
  end

  local function fails(tag, behaviour, why, file, o)
    local status, out, err = try(tag, behaviour, o)
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal(("foodrt: weights get: %s of timm/resnet18.%s can't be fetched: %s; by hand, model.safetensors and config.json go into "
      .. "%s\n"):format(file or "model.safetensors", tag, why, server:path("resnet18." .. tag, "")),
      (err:gsub("^timm[^\n]*: licence [^\n]*\n", "")))
    assert.is_nil(hub.read(server:path("resnet18." .. tag)))
  end

  it("follows the hub's redirect, checks size and sha256, says the licence and where the file is", function()
    local status, out, err = try("a1_in1k", nil)
    assert.equal(0, status)
    assert.equal("timm/resnet18.a1_in1k: licence apache-2.0\n", err)
    assert.equal(server:path "resnet18.a1_in1k" .. ": 64.0 KiB, licence apache-2.0, sha256 as announced\n", out)
    assert.equal(bytes, hub.read(server:path "resnet18.a1_in1k"))
    local file = "/timm/resnet18.a1_in1k/resolve/main/"
    assert.equal(("HEAD %sconfig.json\nGET %sconfig.json\nHEAD %smodel.safetensors\nGET %smodel.safetensors\n")
      :format(file, file, file, file) .. ("GET /cdn%smodel.safetensors\n"):format(file), server:log())
    local note = json.decode(hub.read(server:path("resnet18.a1_in1k", "foodrt.json")))
    local _, sum = process.shell("sha256sum '" .. server:path "resnet18.a1_in1k" .. "'")
    assert.equal(sum:match "^%x+", note.sha256)
    assert.equal(65536, note.size)
  end)

  it("takes the default tag of a bare name, and doesn't fetch twice, offline or not", function()
    local status, out = get "timm/resnet18"
    assert.equal(0, status)
    assert.matches("was here already, sha256 as announced\n$", out)
    assert.equal("", server:log())
    assert.equal(0, (get("resnet18", { env = { FOODRT_OFFLINE = "1" } })))
  end)

  it("fetches again what was damaged in the cache", function()
    process.write(server:path "resnet18.a1_in1k", "X" .. bytes:sub(2))
    local status, out, err = get "resnet18"
    assert.equal(0, status)
    assert.matches("model.safetensors is damaged\n", err)
    assert.matches(SHA, out)
    assert.equal(bytes, hub.read(server:path "resnet18.a1_in1k"))
  end)

  it("goes on where a transfer broke off: at once, and in another process", function()
    assert.equal(0, (try("cut_once", "cut once")))
    local log = server:log()
    assert.matches("GET /cdn[^\n]* bytes=21846%-\n$", log)
    local status, _, err = try("broken", "trickle")  -- 10 bytes at a time, until patience ends
    assert.equal(1, status)
    assert.matches("model.safetensors of timm/resnet18.broken can't be fetched: transfer closed with 65486 bytes remaining to read",
      err, 1, true)
    assert.is_nil(hub.read(server:path "resnet18.broken"))
    server:behave("resnet18.broken", nil)
    server:log()
    assert.equal(0, (get "resnet18.broken"))
    assert.matches("GET /cdn[^\n]* bytes=50%-\n$", server:log())
    assert.equal(bytes, hub.read(server:path "resnet18.broken"))
  end)

  it("starts again where the server knows no ranges, and where a new version is offered", function()
    assert.equal(0, (try("norange", "norange")))
    assert.equal(bytes, hub.read(server:path "resnet18.norange"))
    assert.equal(1, (try("version", "trickle")))
    local new = bytes:upper() .. "x"
    server:put("resnet18.version", { text = new })
    assert.equal(0, (get "resnet18.version"))
    assert.equal(new, hub.read(server:path "resnet18.version"))
    local _, left = process.shell("ls '" .. server:path("resnet18.version", "") .. "'")
    assert.equal("config.json\nfoodrt.json\nmodel.safetensors\n", left)
  end)

  it("follows redirects within the hub, and takes files from mirrors that serve them directly or say nothing of them", function()
    for _, how in ipairs { "relative", "direct" } do
      local status, out = try(how, how)
      assert.equal(0, status)
      assert.matches(SHA, out)
    end
    local status, out = try("bare", "bare")
    assert.equal(0, status)
    assert.matches("size as announced\n$", out)
  end)

  it("refuses bytes with another sha256, and keeps nothing of them", function()
    local _, sum = process.shell("printf %s '" .. bytes .. "' | sha256sum")
    fails("lie", "lie", ("what came is not what was announced: its sha256 is %s, not %s"):format(sum:match "^%x+", ("0"):rep(64)))
    local _, left = process.shell("ls '" .. server:path("resnet18.lie", "") .. "'")
    assert.equal("config.json\n", left)
  end)

  it("refuses more and fewer bytes than announced", function()
    fails("long", "long", "the server sends more than the 65036 bytes it announced")
    fails("short", "short", "the transfer ended after 65536 of 66036 bytes")
  end)

  it("says what the server answers: 404, 401, 500, redirects without end", function()
    fails("gone", "404", "it is not there (404)", "config.json")
    fails("private", "401", "it is not there, or not for everybody (401)", "config.json")
    fails("wrong", "500", "the server answers with 500", "config.json")
    fails("loop", "loop", "Maximum (8) redirects followed")
    fails("headloop", "headloop", "more than 8 redirects")
  end)

  it("gives a silent server FOODRT_HUB_TIMEOUT seconds, before and in the middle", function()
    local why, o = "Operation too slow. Less than 1 bytes/sec transferred the last 1 seconds", { env = { FOODRT_HUB_TIMEOUT = "1" } }
    fails("silent", "silent", why, "config.json", o)
    assert.equal(0, (try("slow", nil)))  -- config.json and the licence are there
    os.remove(server:path "resnet18.slow")
    os.remove(server:path("resnet18.slow", "foodrt.json"))
    fails("slow", "slow", why, nil, o)
  end)

  it("names the variable and the folder when it may not fetch, and the address when nobody listens", function()
    for _, name in ipairs { "FOODRT_OFFLINE", "HF_HUB_OFFLINE" } do
      local status, _, err = get("resnet18.none", { env = { [name] = "1" } })
      assert.equal(1, status)
      assert.equal(("foodrt: weights get: model.safetensors of timm/resnet18.none is not here, and %s is set; by hand, model.safetensors "
        .. "and config.json go into %s\n"):format(name, server:path("resnet18.none", "")), err)
    end
    local status, _, err = get("resnet18.none", { env = { FOODRT_HUB = "http://127.0.0.1:1/" } })
    assert.equal(1, status)
    assert.matches("config.json of timm/resnet18.none can't be fetched: Failed to connect to 127.0.0.1 port 1", err, 1, true)
    status, _, err = get("resnet18.none", { env = { FOODRT_HUB = "mirror" } })
    assert.equal(1, status)
    assert.equal("foodrt: FOODRT_HUB must be an address such as https://mirror.example, got 'mirror'\n", err)
  end)

  it("waits while another process is fetching the file, and goes on when that one is gone", function()
    assert.equal(1, (try("twice", "trickle")))
    local lib = require "foodrt.core.ffi"
    local lock = lib.ffi.new "int32_t[1]"
    lib.check(lib.C.frt_file_lock(server:path("resnet18.twice", ".lock"), lock))
    server:behave("resnet18.twice", nil)
    local pipe = io.popen(line_of { "weights", "get", "resnet18.twice" } .. " 2>&1")
    os.execute "sleep 0.5"
    lib.C.frt_file_unlock(lock[0])
    local text = pipe:read "*a"
    pipe:close()
    assert.equal(1, select(2, text:gsub("timm/resnet18.twice: another process is fetching it, waiting\n", "")))
    assert.matches(SHA, text)
  end)

  -- three processes fetch `tag` at the same moment
  local function three(tag, before)
    server:put("resnet18." .. tag, { text = bytes:rep(100) })
    local pipes = {}
    for i = 1, 3 do pipes[i] = io.popen(before .. line_of { "weights", "get", "resnet18." .. tag } .. " 2>&1") end
    for i = 1, 3 do
      assert.matches(SHA, pipes[i]:read "*a")
      pipes[i]:close()
    end
    local _, left = process.shell("ls '" .. server:path("resnet18." .. tag, "") .. "'")
    assert.equal("config.json\nfoodrt.json\nmodel.safetensors\n", left)
    assert.equal(bytes:rep(100), hub.read(server:path("resnet18." .. tag)))
  end

  it("three at once all have it, whole", function()
    three("three", "")
  end)

  it("three at once all have it where locks lock nothing", function()
    local dir = process.temp_dir()
    process.write(dir .. "/shim.c", "int flock(int fd, int how) { (void)fd; (void)how; return 0; }\n")
    if os.execute(("cc -shared -fPIC -o %s/shim.so %s/shim.c 2>/dev/null"):format(dir, dir)) ~= 0 then pending "no C compiler" end
    three("nolock", ("LD_PRELOAD=%s/shim.so "):format(dir))
    process.remove(dir)
  end)

  it("leaves alone what a living process has begun, and goes on with what a dead one left", function()
    local io_, lib = require "foodrt.core.io", require "foodrt.core.ffi"
    assert.equal(1, (try("begun", "trickle")))
    server:behave("resnet18.begun", nil)
    local _, name = process.shell(("ls '%s' | grep part"):format(server:path("resnet18.begun", "")))
    local part = server:path("resnet18.begun", name:gsub("\n", ""))
    local living = part:gsub("part$", io_.tag() .. ".part")
    process.write(living, "something else")
    local _, dead = process.foodrt { "-e", "io.write(require('foodrt.core.io').tag())" }
    assert.equal(1, lib.C.frt_temp_dead(dead))
    os.rename(part, (part:gsub("part$", dead .. ".part")))
    server:log()
    assert.equal(0, (get "resnet18.begun"))
    assert.matches("GET /cdn[^\n]* bytes=50%-\n$", server:log())
    assert.equal(bytes, hub.read(server:path "resnet18.begun"))
    assert.equal("something else", hub.read(living))
    assert.is_nil(hub.read((part:gsub("part$", dead .. ".part"))))
  end)

  it("names another place where the cache takes no files", function()
    local dir = process.temp_dir()
    process.write(dir .. "/foodrt", "a file where the cache's folder should be")
    local status, _, err = get("resnet18.none2", { env = { XDG_CACHE_HOME = dir } })
    process.remove(dir)
    assert.equal(1, status)
    assert.matches("model.safetensors of timm/resnet18.none2 is not here, and the cache takes no files (", err, 1, true)
    assert.matches("XDG_CACHE_HOME=FOLDER names another, or pretrained = \"FILE\" the weights themselves", err, 1, true)
  end)

  it("says that the cache can't be written, that the disk is full, that a config.json is none", function()
    local status, _, err = get("resnet18.a1_in1k", { env = { XDG_CACHE_HOME = "/dev/null" } })
    assert.equal(1, status)
    assert.matches("'/dev/null/foodrt': the folder can't be made: Not a directory", err, 1, true)
    server:put("resnet18.full", { text = bytes })
    status, _, err = process.shell("trap '' XFSZ; ulimit -f 64; " .. line_of { "weights", "get", "resnet18.full" })
    assert.equal(1, status)
    assert.matches("model.safetensors%.%x+%.%x+%-%d+%-%x+%.part': can't be written: File too large; by hand", err)
    assert.equal(0, (get "resnet18.full"))
    server:put("resnet18.page", { text = bytes, config = "<html>" })
    status, _, err = get "resnet18.page"
    assert.equal(1, status)
    assert.matches("config.json of timm/resnet18.page is not JSON", err, 1, true)
  end)

  it("wants a yes to licences that don't allow every use, once for each tag", function()
    local name = "resnet18.fb_ssl_yfcc100m_ft_in1k"
    server:put(name, { text = bytes, config = '{"architecture":"resnet18","license":"cc-by-nc-4.0"}' })
    server:log()
    local status, _, err = get(name)
    assert.equal(1, status)
    assert.equal(("foodrt: weights get: timm/%s are licensed cc-by-nc-4.0, which does not allow every use: pretrained = { tag = "
      .. "\"fb_ssl_yfcc100m_ft_in1k\", accept_licence = true } says yes, or, once for all, foodrt weights get timm/%s --accept-licence\n")
      :format(name, name), err)
    assert.not_matches("model.safetensors", server:log())
    local out
    status, out = get(name, nil, "--accept-licence")
    assert.equal(0, status)
    assert.matches("licence cc%-by%-nc%-4%.0, sha256 as announced\n$", out)
    assert.equal(0, (get(name)))
  end)

  it("knows names that there are, and suggests them", function()
    local status, _, err = get "resnet19.a1_in1k"
    assert.equal(1, status)
    assert.equal("foodrt: weights get: no model 'resnet19', did you mean 'resnet18'?\n", err)
    status, _, err = get "../etc/passwd"
    assert.equal(1, status)
    assert.equal("foodrt: weights get: '../etc/passwd' is no name of weights such as timm/efficientnet_b4.ra2_in1k\n", err)
  end)
end)
