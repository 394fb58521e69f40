--- args: the arguments of a subcommand. Anything wrong is wrong usage (exit status 2) with a suggestion.
---   local o = args.parse("eval", given, { ["--json"] = true, ["--top"] = args.whole(1, 1000), ["-o"] = args.override })
---   o.json, o.top, o.o = { { path, value }, … }, o[1], o[2] …
local args = {}

local function usage_error(...)
  require("foodrt.cli").usage_error(...)
end

--- for an option with a whole number.
function args.whole(least, most)
  return function(name, text)
    local n = tonumber(text)
    if not n or n % 1 ~= 0 or n < least or n > most then
      usage_error("%s must be a number from %d to %d, got '%s'", name, least, most, text)
    end
    return n
  end
end

--- for an option with any text but none.
function args.text(name, text)
  if text == "" then usage_error("%s needs a value", name) end
  return text
end

--- for an option with one of these words.
function args.one_of(words)
  local known = {}
  for _, w in ipairs(words) do known[w] = true end
  return function(name, text)
    if not known[text] then
      usage_error("%s must be one of %s, got '%s'%s", name, table.concat(words, ", "), text, require("foodrt.core.err").hint(text, known))
    end
    return text
  end
end

local DEVICES = { cpu = true, reference = true, cuda = true, auto = true }
--- for --device and its older word --backend: a device by name ("cpu", "reference", "cuda:0"), or "auto", the fastest
--- there is. Names of plug-ins that only this machine has are taken as well; whether there is one is found out when it
--- is opened.
function args.device(name, text)
  local hint = not DEVICES[text] and require("foodrt.core.err").hint(text, DEVICES) or ""
  if hint ~= "" or not (text .. ":0"):find "^[%l%d_]+:%d+" then
    usage_error("%s must be one of auto, cpu, cuda, reference, got '%s'%s", name, text, hint)
  end
  return text
end

--- makes `device` (nil: the one in use) carry all plans from now on; raises what is in the way.
function args.use_device(device)
  local lib = require "foodrt.core.ffi"
  if device == "auto" then
    if tonumber(lib.C.frt_device_use "cuda") == 0 then return end
    device = "cpu"
  end
  if device then lib.check(lib.C.frt_device_use(device)) end
end

--- for an option with positive numbers between commas: "2,1" -> { 2, 1 }.
function args.numbers(name, text)
  local out = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local n = tonumber(part)
    if not n or not (n > 0 and n < math.huge) then usage_error("%s must be positive numbers such as 2,1, got '%s'", name, text) end
    out[#out + 1] = n
  end
  return out
end

--- for -o key.path=value; may be given many times.
function args.override(_, text)
  local one, why = require("foodrt.train.override").parse(text)
  if not one then usage_error("%s", why) end
  return one
end

--- the entries of a list from `from` on, as a new list: unpack() of what a shell's * makes is too long for Lua's stack.
function args.rest(list, from)
  local out = {}
  for i = from, #list do out[i - from + 1] = list[i] end
  return out
end

local MOST = 7000  -- values that a call can hand over

--- chunk(list[from], …). Of more than `...` can hold the first are handed over, and it is said; `arg` has all.
function args.call(chunk, list, from)
  local last = math.min(#list, from + MOST - 1)
  if last < #list then
    io.stderr:write(("foodrt: ... holds the first %d of %d arguments; arg has all of them\n"):format(MOST, #list - from + 1))
  end
  return chunk(unpack(list, from, last))
end

local function key_of(name)
  return (name:gsub("^%-+", ""):gsub("%-", "_"))
end

--- in   command  its name, for messages
---      given    arguments
---      known    option -> true (no value) or function(name, text) -> value
--- out  a table: options by name without dashes, the rest as a list; "--" ends the options
function args.parse(command, given, known)
  local o, i = {}, 1
  for name, take in pairs(known) do
    if take == args.override then o[key_of(name)] = {} end
  end
  while given[i] do
    local a = given[i]
    local name, value = a, nil
    if a:match "^%-%-%a[%w-]*=" then name, value = a:match "^(%-%-[%w-]+)=(.*)$" end
    local take = known[name]
    if a == "--" then
      for k = i + 1, #given do o[#o + 1] = given[k] end
      return o
    elseif take == true then
      if value then usage_error("%s: %s takes no value", command, name) end
      o[key_of(name)] = true
    elseif take then
      if not value then
        i = i + 1
        value = given[i]
        if not value then usage_error("%s: %s needs a value", command, name) end
      end
      local v = take(command .. ": " .. name, value)
      if take == args.override then
        table.insert(o[key_of(name)], v)
      else
        o[key_of(name)] = v
      end
    elseif a:sub(1, 1) == "-" and a ~= "-" then
      usage_error("%s: unknown option '%s'%s", command, a, require("foodrt.core.err").hint(name, known))
    else
      o[#o + 1] = a
    end
    i = i + 1
  end
  return o
end

return args
