--- override: changes a recipe's table from outside, before it is checked: -o key.path=value on the command line,
--- and the smaller settings of `sample = { ["key.path"] = value }`.
---   override.apply(r, { { "phases.head.epochs", "2" }, { "data.size", "128" } })
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local override = {}

--- "key.path=value" -> { path, value text }; nil and a message when it is none.
function override.parse(text)
  local path, value = text:match "^([%w_%.%-%*%[%]]+)=(.*)$"
  if not path then return nil, ("-o %s: must be key.path=value"):format(text) end
  return { path, value }
end

--- numbers, true, false, nil, quoted strings and tables are Lua; anything else is a string. nil and why for a table that is
--- none.
function override.value(text)
  if type(text) ~= "string" then return text end
  if not (tonumber(text) or text == "true" or text == "false" or text == "nil" or text:find "^%s*[{\"'%-]") then
    return text
  end
  if tonumber(text) then return tonumber(text) end  -- nan and inf too: for the schema to refuse
  local value, why = require("foodrt.core.literal").read(text)
  if not why then return value end
  if not text:find "^%s*{" then return text end
  return nil, why
end

local function fail(o, fmt, ...)
  error({ usage = ("%s %s=%s: "):format(o.who, o[1], type(o[2]) == "string" and o[2] or opt.show(o[2])) .. fmt:format(...) }, 0)
end

-- The schema behind an object: of a config table its own, of a layer its class's.
local function spec_of(object)
  local spec = rawget(object, "spec")
  if type(spec) == "table" then return spec end
  local mt = getmetatable(object)
  if type(mt) ~= "table" then return nil end
  if type(mt.spec) == "table" then return mt.spec end
  local class = mt.__index
  return type(class) == "table" and type(class.spec) == "table" and class.spec or nil
end

-- What an object can be asked for, for the hint.
local function names_in(object)
  local names = {}
  for key in pairs(spec_of(object) or {}) do
    if type(key) == "string" then names[key] = true end
  end
  for key, v in pairs(object) do
    if type(key) == "string" and key:sub(1, 1) ~= "_" and type(v) ~= "function" then names[key] = true end
  end
  for _, item in ipairs(object) do
    if type(item) == "table" and rawget(item, "name") then names[item.name] = true end
  end
  return names
end

local function inside(keys, n)
  return n > 0 and " in " .. table.concat(keys, ".", 1, n) or ""
end

-- The entry `keys[i]` of an object: a field, a position, or a phase by its name.
local function child(o, object, keys, i)
  local key = keys[i]
  local n = tonumber(key)
  if n and rawget(object, n) ~= nil then return rawget(object, n) end
  if rawget(object, key) ~= nil then return rawget(object, key) end
  for _, item in ipairs(object) do
    if type(item) == "table" and rawget(item, "name") == key then return item end
  end
  fail(o, "nothing is called '%s'%s%s", key, inside(keys, i - 1), err.hint(key, names_in(object)))
end

-- A number where the schema wants text stays the text that was typed.
local function typed(rule, text)
  local want = type(rule) == "table" and rule[1] or rule
  if want == "string" and type(text) == "string" and not text:find "^[\"']" and text ~= "nil" then return text end
  return override.value(text)
end

-- Epochs replace steps and the other way round.
local EITHER = { epochs = "steps", steps = "epochs" }

local function set_checked(o, object, spec, keys)
  local key = keys[#keys]
  local rule = spec[key]
  if rule == nil then
    fail(o, "unknown option '%s'%s%s", key, inside(keys, #keys - 1), err.hint(key, names_in(object), spec))
  end
  local value, why = typed(rule, o[2])
  if why then fail(o, "no Lua table: %s", why) end
  local given = {}
  for k in pairs(spec) do
    if type(k) == "string" and k ~= key then given[k] = rawget(object, k) end
  end
  given[key] = value
  if EITHER[key] and value ~= nil and spec[EITHER[key]] then
    given[EITHER[key]] = nil
    rawset(object, EITHER[key], nil)
  end
  local remake = rawget(object, "remake")  -- a constructor checks more, and derives
  local ok, checked = pcall(remake or opt.check, remake and given or spec, given)
  if not ok then fail(o, "%s", (tostring(checked):gsub("^[^%s:]+:%d+: ", ""))) end
  rawset(object, key, checked[key])
  for k, v in pairs(remake and checked or {}) do rawset(object, k, v) end
end

local function set_plain(o, object, keys)
  local key, value, why = keys[#keys], override.value(o[2])
  if why then fail(o, "no Lua table: %s", why) end
  if type(value) == "number" and not lists.finite(value) then fail(o, "'%s' must be a finite number, got %s", key, opt.show(value)) end
  local place = tonumber(key) and rawget(object, tonumber(key)) ~= nil and tonumber(key) or key
  local old = rawget(object, place)
  if old == nil then
    fail(o, "unknown option '%s'%s%s", key, inside(keys, #keys - 1), err.hint(key, names_in(object)))
  end
  if type(old) == "string" and type(o[2]) == "string" and value ~= nil then value = tostring(value) end
  if value ~= nil and type(old) ~= type(value) then
    fail(o, "'%s' must be %s, got %s", key, type(old), opt.show(value))
  end
  rawset(object, place, value)
end

local function split(path)
  local keys = {}
  for key in path:gmatch "[^%.]+" do keys[#keys + 1] = key end
  return keys
end

local function set(o, root, root_spec)
  local keys, object, spec = split(o[1]), root, root_spec
  if #keys == 0 then fail(o, "no option is named") end
  for i = 1, #keys - 1 do
    local inner = child(o, object, keys, i)
    if type(inner) ~= "table" then
      fail(o, "'%s' is %s and has no options", table.concat(keys, ".", 1, i), opt.show(inner))
    end
    local rule = spec and spec[keys[i]]
    object, spec = inner, spec_of(inner) or type(rule) == "table" and rule.options or nil
  end
  local key = keys[#keys]
  -- Rates by group may be named deep inside: lr.backbone; a list's members by position.
  if spec and not (tonumber(key) and rawget(object, tonumber(key)) ~= nil) then
    set_checked(o, object, spec, keys)
  else
    set_plain(o, object, keys)
  end
end

--- applies { { path, value text }, … } to a table. What does not fit is wrong usage, with a suggestion.
--- in   r     the recipe's table
---      list  overrides; a value that is no string is taken as it is
---      spec  schema of r itself
---      who   how messages begin: "-o"
function override.apply(r, list, spec, who)
  for _, given in ipairs(list) do
    set({ given[1], given[2], who = who or "-o" }, r, spec)
  end
  return r
end

--- the value at a path, or nil.
function override.get(r, path)
  local object = r
  for _, key in ipairs(split(path)) do
    if type(object) ~= "table" then return nil end
    local found = rawget(object, tonumber(key) or key)
    if found == nil then found = rawget(object, key) end
    for _, item in ipairs(found == nil and object or {}) do
      if type(item) == "table" and rawget(item, "name") == key then found = item end
    end
    object = found
  end
  return object
end

return override
