--- recipe: loads a recipe file, applies overrides, and checks what it returned.
---   local r = recipe.load("recipes/effnet_b4_focal.lua", { { "data.size", "128" } })
---
--- A recipe runs in a strict environment: a name nobody defined and an assignment to a global are errors at
--- their line. A file that returns nothing was a script.
local err, opt, line = require "foodrt.err", require "foodrt.opt", require "foodrt.line"
local recipe = {}

recipe.SPEC = { "recipe",
  name = { "string", nil, "of the run; the file's name when left out" },
  seed = { "integer", 1, "of initial values, order and augmentation", min = 0, max = 2 ^ 32 - 1 },
  model = { "table", nil, "a module" },
  loss = { "table|function", nil, "loss(logits, labels) -> scalar" },
  data = { "table", nil, "frt.data.folder or frt.data.manifest" },
  phases = { "table", nil, "a list of frt.phase" },
  metrics = { "table", { "top1", "top5", "f1" }, "what evaluation reports" },
  clip_norm = { "number", nil, "gradients are scaled down to this norm", min = 0 },
  accumulate = { "integer", 1, "micro-batches per optimizer step", min = 1 },
  save = { "table", nil, "save = { every = \"5m\" }" },
  sample = { "table", nil, "overrides for the sample set: sample = { [\"data.size\"] = 96 }" },
  on = { "table", nil, "hooks: on = { epoch_end = function(run) end }" },
  step = { "function", nil, "step(run, batch) -> loss, logits: instead of the usual forward pass" },
  threads = { "integer", nil, "compute threads", min = 1 },
}
local HOOKS = { phase_start = true, step_end = true, epoch_end = true, phase_end = true, run_end = true }

-- --- the environment --------------------------------------------------------------------------------------
local function read_file(path)
  local file, why = io.open(path, "rb")
  if not file then error(("foodrt: %s"):format(why), 0) end
  local text = file:read "*a"
  file:close()
  return text
end

--- require for recipes: finds files beside the recipe and from the working directory, and remembers them.
local function requirer(path, files)
  local dir = path:match "^(.*/)" or "./"
  return function(name)
    if package.loaded[name] or package.preload[name] then return require(name) end
    local file = name:gsub("%.", "/") .. ".lua"
    for _, candidate in ipairs { dir .. file, file, dir .. "../" .. file } do
      local handle = io.open(candidate, "rb")
      if handle then
        local text = handle:read "*a"
        handle:close()
        files[#files + 1] = { name = name, path = candidate, text = text }
        local value = recipe.run(candidate, text, files)
        package.loaded[name] = value
        return value
      end
    end
    return require(name)
  end
end

--- runs a recipe's text strictly and returns what it returns. A required recipe gets the same rules.
function recipe.run(path, text, files, ...)
  local chunk, why = loadstring(text, "@" .. path)
  if not chunk then error(why, 0) end
  local env = setmetatable({ require = requirer(path, files) }, {
    __index = function(_, name)
      local value = rawget(_G, name)
      if value == nil then
        err.user("undefined variable '%s'%s", tostring(name), err.hint(name, _G))
      end
      return value
    end,
    __newindex = function(_, name) err.user("assignment to the global '%s': write local %s = …", tostring(name), tostring(name)) end,
  })
  setfenv(chunk, env)
  line.reset()
  return chunk(...)
end

--- whether a file's text ends in a top-level return: a recipe, else a script.
function recipe.is_recipe(text)
  return text:find "^return[%s{(]" ~= nil or text:find "\nreturn[%s{(]" ~= nil
end

-- --- overrides --------------------------------------------------------------------------------------------
--- "key.path=value" -> { path, value text }.
function recipe.parse_override(text)
  local path, value = text:match "^([%w_%.%-]+)=(.*)$"
  if not path then return nil, ("-o %s: must be key.path=value"):format(text) end
  return { path, value }
end

-- numbers, true, false, nil and tables are Lua; anything else is a string
local function parse_value(text)
  if type(text) ~= "string" then return text end
  local chunk = loadstring("return " .. text)
  if chunk and (tonumber(text) or text == "true" or text == "false" or text == "nil" or text:find "^[{\"'%[]") then
    setfenv(chunk, {})
    local ok, value = pcall(chunk)
    if ok then return value end
  end
  return text
end

local function usage(fmt, ...)
  error({ usage = fmt:format(...) }, 0)
end

-- The names of what an object can be given.
local function keys_of(object)
  local spec = rawget(object, "spec") or (type(getmetatable(object)) == "table" and getmetatable(object).spec)
  if spec then return spec, spec end
  local keys = {}
  for k, v in pairs(object) do
    if type(k) == "string" and k:sub(1, 1) ~= "_" and type(v) ~= "function" then keys[k] = true end
  end
  return keys
end

local function child(object, key, shown, done)
  local n = tonumber(key)
  if n and rawget(object, n) ~= nil then return rawget(object, n) end
  if rawget(object, key) ~= nil then return rawget(object, key) end
  for _, item in ipairs(object) do  -- phases by name
    if type(item) == "table" and rawget(item, "name") == key then return item end
  end
  local names = keys_of(object)
  for _, item in ipairs(object) do
    if type(item) == "table" and rawget(item, "name") then names[item.name] = true end
  end
  usage("-o %s: nothing is called '%s'%s%s", shown, key, done ~= "" and " in " .. done or "", err.hint(key, names))
end

-- Checks an object's options again with one of them changed.
local function set(object, key, value, shown, done)
  local names, spec = keys_of(object)
  local index = tonumber(key)
  if index and rawget(object, index) ~= nil then
    object[index] = value
    return
  end
  if not names[key] or key == 1 then
    usage("-o %s: unknown option '%s'%s%s", shown, key, done ~= "" and " in " .. done or "", err.hint(key, names))
  end
  if spec then
    local given = {}
    for k in pairs(spec) do
      if type(k) == "string" then given[k] = rawget(object, k) end
    end
    given[key] = value
    local ok, why = pcall(opt.check, spec, given)
    if not ok then usage("-o %s: %s", shown, tostring(why):gsub("^[^:]+:%d+: ", "")) end
    for k, v in pairs(why) do rawset(object, k, v) end
    if value == nil then rawset(object, key, nil) end
  else
    local old = rawget(object, key)
    if old ~= nil and type(old) ~= type(value) and not (type(old) == "boolean" or type(value) == "table") then
      usage("-o %s: '%s' must be %s, got %s", shown, key, type(old), opt.show(value))
    end
    rawset(object, key, value)
  end
end

--- applies { { path, value text }, … } to a recipe's table; an unknown key is wrong usage with a suggestion.
function recipe.override(r, overrides)
  for _, o in ipairs(overrides) do
    local path, text = o[1], o[2]
    local shown = ("%s=%s"):format(path, type(text) == "string" and text or opt.show(text))
    local keys = {}
    for key in path:gmatch "[^%.]+" do keys[#keys + 1] = key end
    local object = r
    for i = 1, #keys - 1 do
      object = child(object, keys[i], shown, table.concat(keys, ".", 1, i - 1))
      if type(object) ~= "table" then
        usage("-o %s: '%s' is %s and has no options", shown, table.concat(keys, ".", 1, i), opt.show(object))
      end
    end
    if object == r then
      local value = parse_value(text)
      if not recipe.SPEC[keys[1]] or type(keys[1]) ~= "string" then
        usage("-o %s: unknown option '%s'%s", shown, keys[1], err.hint(keys[1], recipe.SPEC))
      end
      rawset(r, keys[1], value)
    else
      set(object, keys[#keys], parse_value(text), shown, table.concat(keys, ".", 1, #keys - 1))
    end
  end
end

-- --- checking ---------------------------------------------------------------------------------------------
local function check_parts(r, path)
  local data, phase, module = require "foodrt.data", require "foodrt.phase", require "foodrt.nn.module"
  local function fail(fmt, ...) error(path .. ": recipe: " .. fmt:format(...), 0) end
  for _, key in ipairs { "model", "loss", "data", "phases" } do
    if r[key] == nil then fail("missing option '%s'", key) end
  end
  if not module.is(r.model) then fail("'model' must be a module, got %s", opt.show(r.model)) end
  if not data.is(r.data) then fail("'data' must be frt.data.folder { … } or frt.data.manifest { … }, got %s", opt.show(r.data)) end
  if type(r.loss) == "table" and not (getmetatable(r.loss) or {}).__call then
    fail("'loss' must be a loss, such as frt.loss.cross_entropy {}")
  end
  if #r.phases == 0 then fail("'phases' is empty: frt.phase { \"all\", epochs = 10, optim = … }") end
  local seen = {}
  for i, p in ipairs(r.phases) do
    if not phase.is(p) then fail("phases[%d] must be frt.phase { … }, got %s", i, opt.show(p)) end
    if seen[p.name] then fail("two phases are called '%s'", p.name) end
    seen[p.name] = true
  end
  for name, hook in pairs(r.on or {}) do
    if not HOOKS[name] then fail("no hook '%s'%s", tostring(name), err.hint(name, HOOKS)) end
    if type(hook) ~= "function" then fail("hook '%s' must be a function, got %s", name, opt.show(hook)) end
  end
  require("foodrt.metrics").new(r.metrics)
  if r.save then
    for key in pairs(r.save) do
      if key ~= "every" then fail("save: unknown option '%s'%s", tostring(key), err.hint(key, { every = true })) end
    end
    if not recipe.seconds(r.save.every) then fail("save.every must be a time such as \"5m\", got %s", opt.show(r.save.every)) end
  end
end

--- "15m", "90s", "1h30m" or a number of seconds -> seconds; nil when it is none.
function recipe.seconds(text)
  if type(text) == "number" then return text > 0 and text or nil end
  if type(text) ~= "string" then return nil end
  if tonumber(text) then return tonumber(text) > 0 and tonumber(text) or nil end
  local total, rest = 0, text
  for n, unit in text:gmatch "([%d%.]+)([hms])" do
    if not tonumber(n) then return nil end
    total = total + tonumber(n) * ({ h = 3600, m = 60, s = 1 })[unit]
    rest = rest:gsub("^[%d%.]+[hms]", "", 1)
  end
  return rest == "" and total > 0 and total or nil
end

--- checks the table a recipe returned and fills in what it leaves out.
function recipe.check(r, path)
  if type(r) ~= "table" then
    error(("%s: a recipe must return a table, got %s"):format(path, opt.show(r)), 0)
  end
  local plain = {}
  for k, v in pairs(r) do plain[k] = v end
  local ok, checked = pcall(opt.check, recipe.SPEC, plain)
  if not ok then error(path .. ": " .. tostring(checked):gsub("^[^:]+:%d+: ", ""), 0) end
  for k, v in pairs(checked) do r[k] = v end
  r.name = r.name or path:match "([^/]+)%.lua$" or "run"
  if not r.name:match "^[%w_%-%.]+$" then
    error(("%s: recipe: 'name' must be letters, digits, '-', '_' and '.', got '%s'"):format(path, r.name), 0)
  end
  check_parts(r, path)
  return r
end

--- loads a recipe file; nil when it was a script (which then has run, with `...` as its arguments).
--- out  r  the checked table; r.source = { path, text, files, overrides }
function recipe.load(path, overrides, ...)
  local text = read_file(path)
  return recipe.from_text(path, text, overrides, ...)
end

--- the same, from the text a checkpoint holds. `files`: texts of what it requires, before the disk is asked.
function recipe.from_text(path, text, overrides, ...)
  local files = {}
  local r = recipe.run(path, text, files, ...)
  if r == nil then return nil end
  if type(r) == "table" then recipe.override(r, overrides or {}) end
  recipe.check(r, path)
  r.source = { path = path, text = text, files = files, overrides = overrides or {} }
  return r
end

return recipe
