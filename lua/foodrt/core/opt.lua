--- opt: one schema per call, with types, defaults and ranges; checks what was given and fills in the rest.
---
---   local spec = { "Conv2d", "out", "kernel",                    -- name, then the positional options in order
---     out = "integer",                                           -- required
---     kernel = { "integer|table", 1, "height and width" },       -- type, default, doc
---     momentum = { "number", 0.1, min = 0, max = 1 },
---     mode = { "string", "nearest", one_of = { "nearest", "bilinear" } },
---     bias = { "tensor", nil } }                                 -- optional without a default
---   local o = opt.check(spec, { 64, kernel = 3 })
---
---     milestones = { "list", of = "number", least = 1 }          -- 1 .. n without holes (core/list.lua), of one kind
---
--- Types: number integer boolean string table list function tensor any, joined by |. A number is never nan, and infinite only
--- where a rule says infinite = true: what a schema takes is computed with later, far from the line that gave it.
local err, line, lists = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.lists"
local opt = {}

local function is_tensor(v)
  local T = package.loaded["foodrt.tensor"]
  return T ~= nil and T.is(v)
end

local function fits(v, want)
  if want == "any" then return true end
  local kind = type(v)
  for w in want:gmatch "[^|]+" do
    if w == "integer" then
      if kind == "number" and v % 1 == 0 then return true end
    elseif w == "tensor" then
      if is_tensor(v) then return true end
    elseif w == "list" then
      if kind == "table" and not is_tensor(v) then return true end
    elseif kind == w then
      return true
    end
  end
  return false
end

--- `v` as error messages show it: "string ('same')", "number (0.5)", "tensor [2, 3]".
function opt.show(v)
  if v == nil then return "nil" end
  if is_tensor(v) then return "tensor [" .. table.concat(v.shape, ", ") .. "]" end
  if type(v) == "string" then return ("string ('%s')"):format(v) end
  if type(v) == "number" or type(v) == "boolean" then return ("%s (%s)"):format(type(v), tostring(v)) end
  return type(v)
end

local function check_finite(name, key, rule, v)
  if v ~= v or (v - v ~= 0 and not (rule and rule.infinite)) then
    err.user("%s: '%s' must be a finite number, got %s", name, key, opt.show(v))
  end
end

local function check_list(name, key, rule, v)
  local n, of = lists.length(name, key, v), rule and rule.of
  for i = 1, of and n or 0 do
    if not fits(v[i], of) then
      err.user("%s: '%s' must be a list of %s, got %s at [%d]", name, key, (of:gsub("|", " or ")), opt.show(v[i]), i)
    end
    if type(v[i]) == "number" then check_finite(name, ("%s[%d]"):format(key, i), rule, v[i]) end
  end
  if rule and rule.least and n < rule.least then
    err.user("%s: '%s' must have %s, got %d", name, key, rule.least == 1 and "an entry" or rule.least .. " entries", n)
  end
end

local function check_one(name, key, rule, v)
  local want = type(rule) == "table" and rule[1] or rule
  if not fits(v, want) then
    err.user("%s: '%s' must be %s, got %s", name, key, (want:gsub("|", " or ")), opt.show(v))
  end
  local is_rule = type(rule) == "table"
  if type(v) == "number" then check_finite(name, key, is_rule and rule, v) end
  if type(v) == "table" and want:find("list", 1, true) and not is_tensor(v) then
    check_list(name, key, is_rule and rule, v)
  end
  if not is_rule then return end
  if type(v) == "number" then
    if rule.min and v < rule.min then
      err.user("%s: '%s' must be at least %g, got %g", name, key, rule.min, v)
    end
    if rule.max and v > rule.max then
      err.user("%s: '%s' must be at most %g, got %g", name, key, rule.max, v)
    end
  elseif rule.one_of and type(v) == "string" then
    local known = {}
    for _, k in ipairs(rule.one_of) do known[k] = true end
    if not known[v] then
      local other = want:gsub("|?string", "")
      err.user("%s: '%s' must be %sone of %s, got '%s'%s", name, key, other ~= "" and other .. " or " or "",
        table.concat(rule.one_of, ", "), v, err.hint(v, known))
    end
  end
end

local function before(a, b)
  if type(a) == type(b) then return a < b end
  return type(a) == "number"
end

--- the options of a call: a new table with every default filled in. A value that is not a plain table
--- counts as the first positional option; an unknown key is an error that suggests the nearest.
function opt.check(spec, given)
  local name = spec[1]
  if given == nil then
    given = {}
  elseif type(given) ~= "table" or getmetatable(given) then
    given = { given }
  end
  local keys = {}
  for k in pairs(given) do
    if type(k) ~= "string" and type(k) ~= "number" then
      err.user("%s: an option's name must be a string, got %s", name, type(k))
    end
    keys[#keys + 1] = k
  end
  table.sort(keys, before)
  local out = {}
  for _, k in ipairs(keys) do
    local key = k
    if type(k) == "number" then
      key = spec[k + 1]
      if k % 1 ~= 0 or k < 1 or not key then
        err.user("%s: takes %d unnamed option%s, got a value at [%s]", name, #spec - 1, #spec == 2 and "" or "s",
          tostring(k))
      end
    end
    local rule = spec[key]
    if rule == nil then err.user("%s: unknown option '%s'%s", name, key, err.hint(key, spec)) end
    if out[key] ~= nil then err.user("%s: '%s' is given twice", name, key) end
    check_one(name, key, rule, given[k])
    out[key] = given[k]
  end
  for key, rule in pairs(spec) do
    if type(key) == "string" and out[key] == nil then
      if type(rule) ~= "table" or rule.required then err.user("%s: missing option '%s'", name, key) end
      out[key] = rule[2]
    end
  end
  return out
end

-- --- what is set on a result afterwards --------------------------------------------------------------------------------
--- makes user code that sets a field nobody looks at (recipe.data.weighted = true) an error at its line: only options of the
--- object's schema (object.spec, or mt.spec) can be set. Their values are checked by opt.again, before they are used.
---   opt.guard(mt)   the metatable of what a constructor returns
function opt.guard(mt)
  mt.__newindex = function(self, key, value)
    local caller = debug.getinfo(2, "f")
    if caller and line.is_user(caller.func) then
      local spec = rawget(self, "spec") or mt.spec
      if spec[key] == nil or type(key) ~= "string" then
        err.user("%s: unknown option '%s'%s", spec[1], tostring(key), err.hint(key, spec))
      end
    end
    rawset(self, key, value)
  end
end

--- checks an object's options once more: recipes may have changed them since it was made. What follows from them follows.
function opt.again(object)
  local spec, given = object.spec, {}
  for key in pairs(spec) do
    if type(key) == "string" then given[key] = rawget(object, key) end
  end
  opt.check(spec, given)
  local remake = rawget(object, "remake")
  local made = remake and remake(given)
  if made and made.describe ~= object.describe then
    for key, v in pairs(made) do rawset(object, key, v) end
  end
end

return opt
