--- foodrt test: clang-format and luacheck over the tree, then the specs, run by busted inside foodrt. The
--- last line is "N passed, N failed, N skipped"; a file with lint counts as one failed test.
local host, exists = require "foodrt.host", require("foodrt.core.file").exists
local test = {}

test.usage = [[
usage: foodrt test [PATH ...] [--asan] [--no-lint] [--filter PATTERN]
  PATH        specs or folders of specs; all of spec/ but spec/bench when left out, then those of numbers once more with
              AVX2 and with plain C forced
  --asan      build with AddressSanitizer and UndefinedBehaviorSanitizer into build-asan/ and use that
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

local function parse(args)
  local cli = require "foodrt.cli"
  local given = { paths = {}, lint = true }
  local i = 1
  while args[i] do
    local arg = args[i]
    if arg == "--asan" then
      given.asan = true
    elseif arg == "--no-lint" then
      given.lint = false
    elseif arg:match "^%-%-filter" then
      given.filter = arg:match "^%-%-filter=(.*)"
      if not given.filter then
        i = i + 1
        given.filter = args[i] or cli.usage_error "test: --filter needs a pattern"
      end
    elseif arg:sub(1, 1) == "-" then
      local hint = require("foodrt.core.err").hint(arg, { ["--asan"] = 1, ["--no-lint"] = 1, ["--filter"] = 1 })
      cli.usage_error("test: unknown option '%s'%s", arg, hint)
    else
      given.paths[#given.paths + 1] = arg
    end
    i = i + 1
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

-- All of spec/ but what holds no specs.
local NO_SPECS = { bench = true, support = true, fuzz = true }

local function all_specs(top)
  local paths = {}
  for _, name in ipairs(host.list(top .. "/spec") or {}) do
    if not NO_SPECS[name] and (name:match "_spec%.lua$" or not name:match "%.") then
      paths[#paths + 1] = "spec/" .. name
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
    command = "find runtime cuda spec/fuzz -name '*.[ch]' -o -name '*.cu' 2>/dev/null | xargs clang-format --dry-run -Werror" },
    totals)
  local folders = {}
  for _, dir in ipairs { "lua", "recipes", "data", "spec" } do
    if exists(top .. "/" .. dir) then folders[#folders + 1] = dir end
  end
  check(top, { program = "luacheck", package = "lua-check", shown = 10,
    command = "luacheck --no-color --codes --formatter plain " .. table.concat(folders, " ") }, totals)
end

-- The sanitised binary, built if need be; nil when that fails.
local function build_asan(top)
  local log = top .. "/build-asan/build.log"
  host.make_dirs(top .. "/build-asan")
  print "building build-asan/"
  local configure = exists(top .. "/build-asan/build.ninja") and "" or "cmake --preset asan && "
  local rc = run(("(cd %s && %scmake --build --preset asan) >%s 2>&1"):format(quote(top), configure, quote(log)))
  if rc ~= 0 then
    run("tail -n 30 " .. quote(log))
    print("the build failed; all of it: " .. log)
    return nil
  end
  return top .. "/build-asan/bin/foodrt"
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

-- The specs of numbers, which must hold on machines with less than this one has: our kernels and oneDNN's.
local NUMBERS = { "spec/ops", "spec/nn", "spec/plan/fuse_spec.lua", "spec/ir/gradient_spec.lua",
  "spec/models/efficientnet_spec.lua", "spec/models/resnet_spec.lua", "spec/models/timm_spec.lua" }
local LESSER = { { "avx2", "FOODRT_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 " }, { "base", "FOODRT_ISA=base ONEDNN_MAX_CPU_ISA=SSE41 " } }

local function run_specs(top, binary, given, paths, totals, env)
  local counts = os.tmpname()
  local command = { "cd ", quote(top), " && FOODRT_OFFLINE=1 FOODRT_TEST_COUNTS=", quote(counts),
    " FOODRT_BUILD=", quote((binary:gsub("/bin/[^/]*$", ""))), " ", env or "",
    given.asan and " ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 " or " ",
    quote(binary), ' "$(command -v busted)" --ignore-lua' }
  if given.filter then command[#command + 1] = " --filter=" .. quote(given.filter) end
  for _, path in ipairs(paths) do command[#command + 1] = " " .. quote(path) end
  io.stdout:flush()
  local status = run(table.concat(command))
  add_counts(counts, status, totals)
  os.remove(counts)
  return status
end

-- those of LESSER that this machine has and does not take by itself
local function lesser()
  local C, out = require("foodrt.core.ffi").C, {}
  local own = require("ffi").string(C.frt_isa())
  for _, isa in ipairs(LESSER) do
    if isa[1] ~= own and C.frt_set_isa(isa[1]) == 0 then out[#out + 1] = isa end
  end
  C.frt_set_isa(own)
  return out
end

--- in arguments after "test"; out exit status 0 when nothing failed
function test.run(args)
  local given = parse(args)
  local top = host.root:match "^(.*)/[^/]*$"
  if not exists(top .. "/spec/support/ci_output.lua") then
    error("foodrt test: needs the source tree around the build folder, not found in " .. top, 0)
  end
  local paths = {}
  for i, path in ipairs(given.paths) do
    path = locate(path, top)
    paths[i] = path:sub(1, #top + 1) == top .. "/" and path:sub(#top + 2) or path
  end
  local totals = { passed = 0, failed = 0, skipped = 0 }
  if given.lint and #paths == 0 then lint(top, totals) end
  if #paths == 0 then paths = all_specs(top) end

  local binary = host.exe
  if given.asan then binary = build_asan(top) end
  local status = 0
  if not binary then
    totals.failed = totals.failed + 1
  elseif output "command -v busted" == "" then
    print "busted is missing: apt install lua-busted"
    totals.failed = totals.failed + 1
  else
    status = run_specs(top, binary, given, paths, totals)
    if #given.paths == 0 and not given.asan and not os.getenv "FOODRT_ISA" then
      for _, isa in ipairs(lesser()) do
        if status >= 128 then break end
        print("with " .. isa[2])
        status = math.max(status, run_specs(top, binary, given, NUMBERS, totals, isa[2]))
      end
    end
  end
  print(("%d passed, %d failed, %d skipped"):format(totals.passed, totals.failed, totals.skipped))
  if status == 130 or status == 128 + 2 then return 130 end
  return totals.failed == 0 and 0 or 1
end

return test
