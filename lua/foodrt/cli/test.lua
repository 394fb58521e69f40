--- foodrt test: clang-format and luacheck over the tree, then the specs, run by busted inside foodrt: all of them on
--- this machine's CPU, then chosen lists (spec/support/tiers.lua) on other devices and instruction sets; with --all much
--- more. The last line is "N passed, N failed, N skipped"; a file with lint counts as one failed test.
local host, exists = require "foodrt.host", require("foodrt.core.file").exists
local test = {}

test.usage = [[
usage: foodrt test [PATH ...] [--all] [--asan] [--device NAME] [--no-lint] [--filter PATTERN]
  PATH        specs or folders of specs; all of spec/ but spec/bench and spec/long when left out, then short lists of them
              with less instructions and on other devices
  --all       everything: all lists on lesser instruction sets and other devices, with sanitizers, and spec/long
  --asan      build with AddressSanitizer and UndefinedBehaviorSanitizer into build-asan/ and use that
  --device    where the specs run; without a PATH those that hold on every device
  --no-lint   leave out clang-format and luacheck (they are also left out where a PATH is given)
  --filter    only tests whose full name matches the Lua pattern
  Nothing is fetched from the network: FOODRT_OFFLINE=1 is set.]]

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What a command wrote, stderr included.
local function output(command)
  local pipe = io.popen("{ " .. command .. "; } 2>&1")
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- Exit status as a shell has it; 128 + n when a signal ended the command.
local function run(command)
  local status, _, code = os.execute(command)
  if type(status) ~= "number" then
    return code
  end
  return status % 256 ~= 0 and 128 + status % 128 or math.floor(status / 256)
end

local FLAGS = { ["--all"] = "all", ["--asan"] = "asan", ["--no-lint"] = "no_lint" }
local VALUED = { ["--filter"] = "filter", ["--device"] = "device" }

local function parse(args)
  local cli = require "foodrt.cli"
  local given = { paths = {} }
  local i = 1
  while args[i] do
    local arg = args[i]
    local word, value = arg:match "^(%-%-%l+)=(.*)"
    word = word or arg
    if FLAGS[arg] then
      given[FLAGS[arg]] = true
    elseif VALUED[word] then
      if not value then
        i = i + 1
        value = args[i] or cli.usage_error("test: %s needs a %s", word, word == "--filter" and "pattern" or "name")
      end
      given[VALUED[word]] = word == "--device" and require("foodrt.core.args").device(word, value) or value
    elseif arg:sub(1, 1) == "-" then
      local known = {}
      for _, options in ipairs { FLAGS, VALUED } do
        for name in pairs(options) do known[name] = true end
      end
      cli.usage_error("test: unknown option '%s'%s", arg, require("foodrt.core.err").hint(arg, known))
    else
      given.paths[#given.paths + 1] = arg
    end
    i = i + 1
  end
  if given.all and (#given.paths > 0 or given.device or given.asan) then
    cli.usage_error "test: --all is everything: no PATH, --device or --asan beside it"
  end
  return given
end

-- A path as the caller means it: from the working directory, else from the top of the tree.
local function locate(path, top)
  if path:sub(1, 1) == "/" and exists(path) then return path end
  local here = os.getenv "PWD" or "."
  for _, dir in ipairs { here, top } do
    if exists(dir .. "/" .. path) then return dir .. "/" .. path end
  end
  require("foodrt.cli").usage_error("test: %s: no such file or folder", path)
end

-- All of spec/ but what holds no specs and what is for --all.
local function all_specs(top, tiers)
  local paths = {}
  for _, name in ipairs(host.list(top .. "/spec") or {}) do
    local path = "spec/" .. name
    if not tiers.no_specs[name] and path ~= tiers.long and (name:match "_spec%.lua$" or not name:match "%.") then
      paths[#paths + 1] = path
    end
  end
  table.sort(paths)
  return paths
end

-- Runs a checker over `top` whose complaints start with "file:line:"; adds one failure per file to
-- `totals`. At most `shown` complaints of a file are printed.
local function check(top, checker, totals)
  if output("command -v " .. checker.program) == "" then
    print(("%s is missing: apt install %s"):format(checker.program, checker.package))
    totals.failed = totals.failed + 1
    return
  end
  local text = output(("cd %s && { %s; }; echo rc=$?"):format(quote(top), checker.command))
  local per_file, n = {}, 0
  for line in text:gmatch "[^\n]+" do
    local file = line:match "^%s*([^%s:]+):%d+:"
    if file then
      if not per_file[file] then n = n + 1 end
      per_file[file] = (per_file[file] or 0) + 1
      if per_file[file] <= checker.shown then print((line:gsub("^%s+", ""))) end
    end
  end
  local clean = text:match "rc=(%d+)%s*$" == "0"
  if not clean and n == 0 then io.write(text) end
  totals.passed = totals.passed + (clean and 1 or 0)
  totals.failed = totals.failed + (clean and 0 or math.max(n, 1))
end

local function lint(top, totals)
  check(top, { program = "clang-format", package = "clang-format", shown = 1,
    command = "find runtime cuda spec -name '*.[ch]' -o -name '*.cu' 2>/dev/null | xargs clang-format --dry-run -Werror" },
    totals)
  local folders = {}
  for _, dir in ipairs { "lua", "recipes", "data", "spec" } do
    if exists(top .. "/" .. dir) then folders[#folders + 1] = dir end
  end
  check(top, { program = "luacheck", package = "lua-check", shown = 10,
    command = "luacheck --no-color --codes --formatter plain " .. table.concat(folders, " ") }, totals)
end

-- The folder of a build by its preset (CMakePresets.json), built if need be; nil when that fails.
local function built(top, preset)
  local dir = top .. "/build-" .. preset
  local log = dir .. "/build.log"
  host.make_dirs(dir)
  print(("building build-%s/"):format(preset))
  io.stdout:flush()
  local configure = exists(dir .. "/build.ninja") and "" or ("cmake --preset %s && "):format(preset)
  local rc = run(("(cd %s && %scmake --build --preset %s) >%s 2>&1"):format(quote(top), configure, preset, quote(log)))
  if rc ~= 0 then
    run("tail -n 30 " .. quote(log))
    print("the build failed; all of it: " .. log)
    return nil
  end
  return dir
end

-- Adds what the output handler noted to `totals`; names the test that took the process down.
local function add_counts(path, status, totals)
  local passed, failed, skipped, file, running = 0, 0, 0, nil, nil
  local ended = false
  for line in io.lines(path) do
    local word, rest = line:match "^(%S+) ?(.*)$"
    if word == "file" then
      file = rest
    elseif word == "start" then
      running = rest
    elseif word == "done" then
      running = nil
      passed = passed + (rest == "success" and 1 or 0)
      skipped = skipped + (rest == "pending" and 1 or 0)
      failed = failed + ((rest == "failure" or rest == "error") and 1 or 0)
    elseif word == "end" then
      ended = true
      passed, failed, skipped = rest:match "(%d+) (%d+) (%d+)"
    end
  end
  if not ended then
    failed = failed + 1
    print(("\nthe specs ended early (status %d) in %s: %s"):format(status, file or "?", running or "between tests"))
  end
  totals.passed = totals.passed + passed
  totals.failed = totals.failed + failed
  totals.skipped = totals.skipped + skipped
end

-- What the sanitizers are told. Leaks are looked for at the end of the process.
local SANITIZER = {
  asan = "ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 ",
}

-- One run of busted. pass: paths; build, a preset with a sanitizer; isa, an entry of tiers.isas; device
local function run_specs(top, pass, given, totals)
  local dir = host.exe:gsub("/bin/[^/]*$", "")
  if pass.build then
    dir = built(top, pass.build)
    if not dir then
      totals.failed = totals.failed + 1
      return 1
    end
  end
  if pass.title then print("with " .. pass.title) end
  local counts = os.tmpname()
  local state = counts .. ".state"  -- specs' runs are not the user's
  local command = { "cd ", quote(top), " && FOODRT_OFFLINE=1 XDG_STATE_HOME=", quote(state), " FOODRT_TEST_COUNTS=", quote(counts),
    " FOODRT_BUILD=", quote(dir), " ", pass.isa and pass.isa[2] or "",
    pass.device and ("FOODRT_TEST_DEVICE=%s "):format(quote(pass.device)) or "", pass.build and SANITIZER[pass.build] or "",
    quote(dir .. "/bin/foodrt"), ' "$(command -v busted)" --ignore-lua' }
  if given.filter then command[#command + 1] = " --filter=" .. quote(given.filter) end
  for _, path in ipairs(pass.paths) do command[#command + 1] = " " .. quote(path) end
  io.stdout:flush()
  local status = run(table.concat(command))
  add_counts(counts, status, totals)
  os.execute("rm -rf " .. quote(state))
  os.remove(counts)
  return status
end

-- Those of tiers.isas that this machine has and does not take by itself; none where the caller has chosen one.
local function lesser(tiers)
  if os.getenv "FOODRT_ISA" then return {} end
  local C, out = require("foodrt.core.ffi").C, {}
  local own = require("ffi").string(C.frt_isa())
  for _, isa in ipairs(tiers.isas) do
    if isa[1] ~= own and C.frt_set_isa(isa[1]) == 0 then out[#out + 1] = isa end
  end
  C.frt_set_isa(own)
  return out
end

-- A device that is built in, or a plug-in that lies beside the library.
local function has_device(name)
  return name == "reference" or exists(("%s/lib/libfoodrt_%s.so"):format((host.exe:gsub("/bin/[^/]*$", "")), name))
end

-- The runs of busted that make up this call, in their order.
local function passes(top, given, tiers)
  local build = given.asan and "asan" or nil
  if #given.paths > 0 or given.device then
    return { { paths = #given.paths > 0 and given.paths or tiers.any_device, device = given.device, build = build } }
  end
  local list = { { paths = all_specs(top, tiers), build = build } }
  if build then return list end
  for _, isa in ipairs(lesser(tiers)) do
    list[#list + 1] = { title = isa[2], isa = isa, paths = given.all and tiers.numbers or tiers.numbers_quick }
  end
  for _, name in ipairs(tiers.devices) do
    if has_device(name) then
      list[#list + 1] = { title = "device " .. name, device = name,
        paths = given.all and tiers.any_device or tiers.any_device_quick }
    end
  end
  if given.all then
    list[#list + 1] = { title = "AddressSanitizer", build = "asan", paths = all_specs(top, tiers) }
    if exists(top .. "/" .. tiers.long) then list[#list + 1] = { title = "spec/long", paths = { tiers.long } } end
  end
  return list
end

--- in arguments after "test"; out exit status 0 when nothing failed
function test.run(args)
  local given = parse(args)
  local top = host.root:match "^(.*)/[^/]*$"
  if not exists(top .. "/spec/support/tiers.lua") then
    error("foodrt test: needs the source tree around the build folder, not found in " .. top, 0)
  end
  for i, path in ipairs(given.paths) do
    path = locate(path, top)
    given.paths[i] = path:sub(1, #top + 1) == top .. "/" and path:sub(#top + 2) or path
  end
  local totals = { passed = 0, failed = 0, skipped = 0 }
  if not given.no_lint and #given.paths == 0 and not given.device then lint(top, totals) end

  local status = 0
  if output "command -v busted" == "" then
    print "busted is missing: apt install lua-busted"
    totals.failed = totals.failed + 1
  else
    for _, pass in ipairs(passes(top, given, dofile(top .. "/spec/support/tiers.lua"))) do
      status = math.max(status, run_specs(top, pass, given, totals))
      if status == 130 then break end
    end
  end
  print(("%d passed, %d failed, %d skipped"):format(totals.passed, totals.failed, totals.skipped))
  if status == 130 then return 130 end
  return totals.failed == 0 and 0 or 1
end

return test
