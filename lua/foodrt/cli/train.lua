--- foodrt RECIPE.lua: trains a recipe, or runs a script (a file that returns nothing).
local kinds = require "foodrt.core.args"
local train = {}

train.usage = [[
usage: foodrt RECIPE.lua [-o key.path=value ...] [--resume] [--trust] [--run DIR] [--threads N] [--workers N]
                         [--time 15m] [--device cpu|reference|cuda|auto]
  -o          changes an option of the recipe: -o data.size=128 -o phases.head.epochs=2
  --resume    goes on with the newest run of the recipe's name (or --run's), bit for bit
  --trust     goes on with a run that is not yours, too: its checkpoint holds Lua, which runs with all your rights
  --run DIR   where the run is kept, instead of runs/NAME
  --threads   threads that compute; kept with the run
  --workers   threads that load photos
  --time      ends the schedule, the test included, after that long: 15m, 90s, 1h30m
  --device    where it computes; reference: every op in plain C. --backend is another word for it]]

local VALUED = { ["-o"] = true, ["--run"] = true, ["--threads"] = true, ["--workers"] = true, ["--device"] = true,
  ["--time"] = true, ["--backend"] = true }
local PLAIN = { ["--resume"] = true, ["--trust"] = true, ["--help"] = true, ["-h"] = true }

local function usage_error(...)
  require("foodrt.cli").usage_error(...)
end

local TAKE = {
  ["-o"] = function(o, text)
    local given, why = require("foodrt.train.override").parse(text)
    if not given then usage_error("%s", why) end
    o.overrides[#o.overrides + 1] = given
  end,
  ["--run"] = function(o, text)
    if text == "" then usage_error "--run needs a folder" end
    o.run = text
  end,
  ["--threads"] = function(o, text) o.threads = kinds.whole(1, 1024)("--threads", text) end,
  ["--workers"] = function(o, text) o.workers = kinds.whole(1, 256)("--workers", text) end,
  ["--device"] = function(o, text) o.device = kinds.device("--device", text) end,
  ["--backend"] = function(o, text) o.device = kinds.device("--backend", text) end,
  ["--time"] = function(o, text)
    o.time_s = require("foodrt.train.recipe").seconds(text)
    if not o.time_s then usage_error("--time must be a time such as 15m, 90s or 1h30m, got '%s'", text) end
  end,
}

--- the options after the recipe's path: { path, overrides, resume, run, threads, … }
function train.parse(args)
  local o, i = { path = args[1], overrides = {} }, 2
  while args[i] do
    local name, value = args[i], nil
    if name:find "^%-%-[^=]+=" then name, value = name:match "^(%-%-[^=]+)=(.*)$" end
    if VALUED[name] then
      if not value then
        i = i + 1
        value = args[i] or usage_error("%s needs a value", name)
      end
      TAKE[name](o, value)
    elseif name == "--resume" and not value then
      o.resume = true
    elseif name == "--trust" and not value then
      o.trust = true
    elseif (name == "--help" or name == "-h") and not value then
      o.help = true
    elseif name:sub(1, 1) == "-" then
      usage_error("unknown option '%s'%s", args[i], require("foodrt.core.err").hint(name, VALUED, PLAIN))
    else
      usage_error("unexpected argument '%s' (an option of the recipe is -o key.path=value)", name)
    end
    i = i + 1
  end
  return o
end

local function read(path)
  local text, why = require("foodrt.core.file").read(path)
  return text or error("foodrt: " .. why, 0)
end

local function run_script(args)
  require("foodrt.cli").lazy_globals()
  local chunk, why = loadfile(args[1])
  if not chunk then error(why, 0) end
  kinds.call(chunk, args, 2)
  return 0
end

--- in arguments, the recipe's path first; out exit status
function train.run(args)
  if not args[1] then usage_error "a recipe is missing" end
  if not require("foodrt.train.recipe").is_recipe(read(args[1]), args[1]) then return run_script(args) end
  local o = train.parse(args)
  if o.help then
    print((train.usage:gsub("%s+$", "")))
    return 0
  end
  return require("foodrt.run.start").run(o)
end

return train
