--- cli: the command line. Looks at the first argument: a recipe or script, a subcommand (the module
--- foodrt.cli.NAME, a table { usage = text, run = function(args) -> exit status }), an option, or nothing.
--- Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted.
local host, exists, err = require "foodrt.host", require("foodrt.core.file").exists, require "foodrt.core.err"
local arguments = require "foodrt.core.args"
local cli = {}

local USAGE = [[
usage: foodrt RECIPE.lua [-o key.path=value ...] [--resume] [--run DIR] [--threads N]
                         [--time 15m] [--device cpu|reference|cuda|auto]
       foodrt SCRIPT.lua [ARGUMENT ...]     a file that returns nothing is a script
       foodrt -e 'LUA' [SCRIPT.lua ...]     run a line
       foodrt - [ARGUMENT ...]              run standard input
       foodrt                               the prompt
       foodrt --version | --help
       foodrt COMMAND [ARGUMENT ...]        one of:
]]

--- ends the program with status 2 and `fmt` filled with `...` on stderr; for wrong usage only
function cli.usage_error(fmt, ...)
  error({ usage = select("#", ...) > 0 and fmt:format(...) or fmt }, 0)
end

-- What is on package.path under foodrt/cli: { name = path }
local function commands()
  local found = {}
  local dir = host.root .. "/share/foodrt/lua/foodrt/cli"
  local files, why = host.list(dir)
  if not files then error(("foodrt: cannot read folder '%s': %s"):format(dir, why), 0) end
  for _, file in ipairs(files) do
    local name = file:match "^([%w_]+)%.lua$"
    if name and name ~= "init" then
      found[name:gsub("_", "-")] = dir .. "/" .. file
    end
  end
  return found
end

local function help()
  local names = {}
  for name in pairs(commands()) do
    if name ~= "train" then names[#names + 1] = name end  -- it is the first line of USAGE
  end
  table.sort(names)
  io.write(USAGE)
  for _, name in ipairs(names) do
    local ok, command = pcall(require, "foodrt.cli." .. name:gsub("-", "_"))
    local text = ok and type(command) == "table" and command.usage or name
    io.write("         ", (text:gsub("^usage:%s*", ""):gsub("^foodrt ", ""):match "[^\n]*"), "\n")
  end
  io.write "exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted; FOODRT_TRACE=full shows the stack\n"
  return 0
end

local function set_arg(args, script)
  local list = {}
  for i = 0, #args do list[i - script] = args[i] end
  _G.arg = list
end

--- `frt` and `nn` are at hand in lines, scripts and at the prompt; the library loads when one is read.
function cli.lazy_globals()
  setmetatable(_G, { __index = function(t, name)
    if name ~= "frt" and name ~= "nn" then return nil end
    local frt = require "foodrt"
    rawset(t, "frt", frt)
    rawset(t, "nn", frt.nn)
    return rawget(t, name)
  end })
end

-- Runs the file args[at] ("-": standard input) as plain Lua with the arguments after it.
local function run_script(args, at)
  set_arg(args, at)
  cli.lazy_globals()
  local path = args[at]
  local chunk, why = loadfile(path ~= "-" and path or nil)
  if not chunk then error(why, 0) end
  arguments.call(chunk, args, at + 1)
  return 0
end

-- A missing file is named, with the one in its folder that was probably meant.
local function check_exists(path)
  if exists(path) then return end
  local dir, name = path:match "^(.*/)([^/]*)$"
  dir, name = dir or "", name or path
  local siblings = {}
  for _, file in ipairs(host.list(dir == "" and "." or dir) or {}) do
    if file:match "%.lua$" then siblings[file] = true end
  end
  error(("foodrt: %s: no such file%s"):format(path, err.hint(name, siblings)), 0)
end

-- A recipe or script. cli/train.lua tells them apart by what the file returns.
local function run_file(args)
  check_exists(args[1])
  if args[1]:match "%.lua$" and package.searchpath("foodrt.cli.train", package.path) then
    set_arg(args, 1)
    return require("foodrt.cli.train").run(args)
  end
  return run_script(args, 1)
end

local function run_command(args)
  local name = args[1]
  local path = name:match "^%a[%w-]*$" and commands()[name]
  if not path then
    cli.usage_error("unknown command '%s'%s (foodrt --help lists them)", name,
      err.hint(name, commands()))
  end
  local command = require("foodrt.cli." .. name:gsub("-", "_"))
  local given = arguments.rest(args, 2)
  given[0] = "foodrt " .. name
  if given[1] == "--help" or given[1] == "-h" then
    print((command.usage:gsub("%s+$", "")))
    return 0
  end
  return command.run(given)
end

local function run_line(code, args)
  set_arg(args, args[1] and 1 or 0)
  cli.lazy_globals()
  local chunk, why = loadstring(code, "=(command line)")
  if not chunk then error(why, 0) end
  chunk()
end

local function shift(args, n)
  local left = arguments.rest(args, n + 1)
  left[0] = args[0]
  return left
end

local options = { ["-e"] = true, ["-h"] = true, ["--help"] = true, ["-v"] = true, ["--version"] = true, ["-"] = true }

local function dispatch(args)
  local first = args[1]
  if first == nil then
    cli.lazy_globals()
    set_arg(args, 0)
    return require("foodrt.repl")()
  elseif first == "-h" or first == "--help" or first == "help" then
    return help()
  elseif first == "-v" or first == "--version" then
    print(("foodrt %s (%s)"):format(host.version, host.luajit))
    return 0
  elseif first == "-e" then
    if not args[2] then cli.usage_error "-e needs a line of Lua" end
    local left = shift(args, 2)
    run_line(args[2], left)
    if left[1] then return dispatch(left) end
    return 0
  elseif first == "-" then
    return run_script(args, 1)
  elseif first:sub(1, 1) == "-" then
    cli.usage_error("unknown option '%s'%s (options of a run stand after the recipe)", first,
      err.hint(first, options))
  elseif first:match "%.lua$" or first:match "/" then
    return run_file(args)
  elseif not commands()[first] and exists(first) then
    return run_file(args)
  end
  return run_command(args)
end

local function report(text)
  io.stdout:flush()
  io.stderr:write(require("foodrt.core.text").safe(tostring(text), true), "\n")
end

--- runs the command line `args` ([0] is the program) and returns the exit status
function cli.main(args)
  jit.opt.start "maxsnap=1000"  -- runtime/host/interrupt.c takes one per line of a trace
  err.install()
  local ok, status = err.xcatch(function() return dispatch(args) end, require "foodrt.core.traceback")
  if not ok then
    if type(status) == "table" and status.usage then
      report("foodrt: " .. status.usage)
      return 2
    elseif status == err.STOP then
      report "foodrt: interrupted"
      return 130
    end
    if status == "not enough memory" then  -- LuaJIT's words
      status = "foodrt: out of memory: Lua's heap can't grow; see ulimit -v and the container's limit"
    end
    if status ~= nil then
      report(type(status) == "table" and "foodrt: an error object that is a table" or status)
    end
    return 1
  end
  if status == nil or status == true then
    status = 0
  end
  local flushed, why = io.stdout:flush()
  if not flushed and status == 0 then
    report("foodrt: standard output: " .. tostring(why))
    return 1
  end
  return status or 1
end

return cli
