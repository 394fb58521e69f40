--- recipe: loads a recipe file, applies overrides, and checks what it returned.
---   local r = recipe.load("recipes/effnet_b4_focal.lua", { { "data.size", "128" } })
---
--- A recipe runs in a strict environment: a name nobody defined and an assignment to a global are errors at
--- their line. A file that returns nothing is a script.
local err, opt, line = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.line"
local override, ema = require "foodrt.train.override", require "foodrt.train.ema"
local recipe = {}

recipe.SPEC = { "recipe",
  name = { "string", nil, "of the run; the file's name when left out" },
  seed = { "integer", 1, "of initial values, order and augmentation", min = 0, max = 2 ^ 32 - 1 },
  model = { "table", nil, "a module" },
  loss = { "table|function", nil, "loss(logits, labels) -> scalar" },
  tasks = { "list", nil, "a list of frt.task, in place of loss and metrics" },
  data = { "table", nil, "frt.data.folder or frt.data.manifest" },
  phases = { "list", nil, "a list of frt.phase" },
  metrics = { "list", { "top1", "top5", "f1" }, "what evaluation reports" },
  monitor = { "string", nil, "which measure decides on the best checkpoint: \"val.top1\", \"train.loss\", \"val.TASK.f1\"" },
  rule = { "table", nil, "how gradients are recorded: frt.rule.plain {}" },
  transforms = { "list", nil, "of whole training batches, in order: frt.transform" },
  clip_norm = { "number", nil, "gradients are scaled down to this norm", min = 0 },
  accumulate = { "integer", 1, "micro-batches per optimizer step", min = 1 },
  ema = { "number|boolean|table", nil, "evaluation takes averages of the weights: their decay, or a table", options = ema.SPEC },
  save = { "table", { every = "10m" }, "a checkpoint every so often, besides one per epoch" },
  sample = { "table", nil, "overrides for the sample set: sample = { [\"data.size\"] = 96 }" },
  on = { "table", nil, "hooks: on = { epoch_end = function(run) end }, and frt.hook { … } as entries" },
  step = { "function", nil, "step(run, batch) -> loss, logits: instead of the usual forward pass" },
  memory = { "string|number", nil, "what a run may take, \"2G\": values are computed again instead of kept" },
  precision = { "string", "fp32", "fp32, or bf16: large maps and products in 16 bits, sums and weights in fp32",
    one_of = { "fp32", "bf16" } },
  threads = { "integer", nil, "compute threads", min = 1, max = 1024 },
}

--- root of the data that a recipe names when it names nothing of its own.
recipe.DEFAULT_ROOT = "data"

-- --- the environment --------------------------------------------------------------------------------------
local function read_file(path)
  local text, why = require("foodrt.core.file").read(path)
  return text or error("foodrt: " .. why, 0)
end

-- What `require "name"` of a recipe in `dir` means: { path, text }, from a checkpoint's files, else the disk.
local function find_required(dir, name, files)
  for _, f in ipairs(files.stored or {}) do
    if f.name == name then return f.path, f.text end
  end
  local file = name:gsub("%.", "/") .. ".lua"
  for _, path in ipairs { dir .. file, file, dir .. "../" .. file } do
    local handle = io.open(path, "rb")
    if handle then
      handle:close()
      return path, read_file(path)
    end
  end
end

--- what `require "name"` means in a recipe of this path: the file's path and text; nil where there is none.
function recipe.find(path, name)
  if type(name) ~= "string" then return nil end
  local found, text = find_required(path:match "^(.*/)" or "./", name, {})
  return found, text
end

--- require for recipes: finds files beside the recipe and from the working directory, and remembers them. They
--- are run anew for each recipe: one that changes what it required changes nobody else's.
local function requirer(path, files)
  local dir, values = path:match "^(.*/)" or "./", files.values  -- a hook may ask later, when `files` is closed
  return function(name)
    if type(name) ~= "string" then err.user("require: expected a name, got %s", opt.show(name)) end
    local known = values[name]
    if known ~= nil then return known end
    if name == "foodrt" or name:find "^foodrt%." or package.preload[name] then return require(name) end
    local found, text = find_required(dir, name, files)
    if not found then return require(name) end
    local open = files.values ~= nil
    if open then files[#files + 1] = { name = name, path = found, text = text } end
    values[name] = true
    local value = recipe.run(found, text, open and files or { values = values })
    values[name] = value == nil and true or value
    return values[name]
  end
end

local function strict(path, files)
  return setmetatable({ require = requirer(path, files) }, {
    __index = function(_, name)
      local value = rawget(_G, name)
      if value == nil then err.user("undefined variable '%s'%s", tostring(name), err.hint(name, _G)) end
      return value
    end,
    __newindex = function(_, name)
      err.user("assignment to the global '%s': write local %s = …", tostring(name), tostring(name))
    end,
  })
end

-- A first line that begins with # is for the shell.
local function without_shebang(text)
  return (text:gsub("^#[^\n]*", ""))
end

--- runs a recipe's text strictly and returns what it returns. A required recipe gets the same rules.
function recipe.run(path, text, files, ...)
  local chunk, why = loadstring(without_shebang(text), "@" .. path, "t")
  if not chunk then error(why, 0) end
  files = files or {}
  files.values = files.values or {}
  setfenv(chunk, strict(path, files))
  line.reset()
  local value = chunk(...)
  return value
end

-- instructions that return a value: RET1, RET, RETM, CALLT, CALLMT, learnt from samples
local returning

local function learn()
  local bit, util = require "bit", require "jit.util"
  returning = {}
  for _, sample in ipairs { "return 1", "return 1, 2", "return ...", "local f = ... return f()", "local f = ... return f(...)" } do
    local fn = loadstring(sample)
    local last = util.funcinfo(fn).bytecodes - 1
    returning[bit.band((util.funcbc(fn, last)), 0xff)] = true
  end
end

--- whether a file's text returns something at its top level: a recipe, else a script.
function recipe.is_recipe(text, path)
  local chunk, why = loadstring(without_shebang(text), "@" .. (path or "recipe"), "t")
  if not chunk then error(why, 0) end
  if not returning then learn() end
  local bit, util = require "bit", require "jit.util"
  for pc = 1, util.funcinfo(chunk).bytecodes - 1 do
    if returning[bit.band((util.funcbc(chunk, pc)), 0xff)] then return true end
  end
  return false
end

-- --- checking ---------------------------------------------------------------------------------------------
-- A recipe's own table does not know its lines: where `key =` stands in the text, at best.
local function line_of(text, key)
  local n, inside = 0, nil
  for row in (text or ""):gmatch "([^\n]*)\n?" do
    n = n + 1
    if row:find("^%s*" .. key .. "%s*=[^=]") then return n end
    if not inside and row:find("%f[%w_]" .. key .. "%s*=[^=]") then inside = n end
  end
  return inside
end

local function fail(r_source, key, fmt, ...)
  local at = key and line_of(r_source.text, key)
  error(("%s:%s recipe: "):format(r_source.path, at and at .. ":" or "") .. fmt:format(...), 0)
end

local function check_hooks(r, source)
  local key, why = require("foodrt.train.hook").complaint(r.on)
  if key then fail(source, key, "%s", why) end
end

-- Runs a check whose error has no line of its own: it gets that of the recipe's key.
local function at_key(source, key, fn, ...)
  local ok, why = pcall(fn, ...)
  if not ok then fail(source, key, "%s", (tostring(why):gsub("^[^%s:]+:%d+: ", ""))) end
  return why
end

local function check_tasks(r, source)
  local losses = require "foodrt.train.loss"
  if r.tasks then
    if r.loss then fail(source, "loss", "'loss' and 'tasks': each task has its own loss") end
    local why = require("foodrt.train.task").complaint(r.tasks)
    if why then fail(source, "tasks", "%s", why) end
    for _, p in ipairs(r.phases) do
      if p.loss then fail(source, "phases", "phase '%s': 'loss' is of recipes without tasks", p.name) end
    end
  elseif not losses.is(r.loss) then
    fail(source, "loss", "'loss' must be a loss, such as frt.loss.cross_entropy {}")
  end
  at_key(source, "metrics", require("foodrt.train.metric").check, r.metrics)
  at_key(source, "monitor", require("foodrt.train.monitor").of, r)
end

local function check_step(r, source)
  local rules, transforms = require "foodrt.train.rule", require "foodrt.train.transform"
  for _, owner in ipairs { r, unpack(r.phases) } do
    if owner.rule and not rules.is(owner.rule) then
      fail(source, "rule", "'rule' must be a gradient rule, such as frt.rule.plain {}, got %s", opt.show(owner.rule))
    end
  end
  for i, t in ipairs(r.transforms or {}) do
    if not transforms.is(t) then fail(source, "transforms", "transforms[%d] must be a batch transform, got %s", i, opt.show(t)) end
  end
end

local function check_memory(r, source)
  if r.memory and not require("foodrt.train.budget").bytes(r.memory) then
    fail(source, "memory", "memory must be a size such as \"2G\", got %s", opt.show(r.memory))
  end
end

-- Its own and those of its phases.
local function check_ema(r, source)
  local function check(v, whose)
    local ok, why = pcall(ema.settings, v)
    if not ok then fail(source, "ema", "%s%s", whose, (tostring(why):gsub("^[^%s:]+:%d+: ", ""))) end
  end
  check(r.ema, "")
  for _, p in ipairs(r.phases) do check(p.ema, ("phase '%s': "):format(p.name)) end
end

local function check_save(r, source)
  for key in pairs(r.save) do
    if key ~= "every" then
      fail(source, "save", "save: unknown option '%s'%s", tostring(key), err.hint(key, { every = true }))
    end
  end
  if not recipe.seconds(r.save.every) then
    fail(source, "save", "save.every must be a time such as \"5m\", got %s", opt.show(r.save.every))
  end
end

-- The options of an object, which may have been changed since it was made.
local function check_again(object, source, key, whose)
  if type(object) ~= "table" or type(object.spec) ~= "table" then return end
  local ok, why = pcall(opt.again, object)
  if not ok then fail(source, key, "%s%s", whose or "", (tostring(why):gsub("^[^%s:]+:%d+: ", ""))) end
end

local function check_phases(r, source)
  local phase = require "foodrt.train.phase"
  if #r.phases == 0 then
    fail(source, "phases", "'phases' is empty: frt.phase { \"all\", epochs = 10, optim = frt.optim.adamw { lr = 1e-3 } }")
  end
  local seen = {}
  for i, p in ipairs(r.phases) do
    if not phase.is(p) then fail(source, "phases", "phases[%d] must be frt.phase { … }, got %s", i, opt.show(p)) end
    check_again(p, source, "phases")
    if seen[p.name] then fail(source, "phases", "two phases are called '%s'", p.name) end
    for _, key in ipairs { "optim", "sched", "loss" } do check_again(p[key], source, key, ("phase '%s': "):format(p.name)) end
    seen[p.name] = true
  end
end

local function check_parts(r, source)
  local data, module = require "foodrt.data", require "foodrt.nn.module"
  for _, key in ipairs { "model", "loss", "data", "phases" } do
    if r[key] == nil and not (key == "loss" and r.tasks) then fail(source, nil, "missing option '%s'", key) end
  end
  if not module.is(r.model) then fail(source, "model", "'model' must be a module, got %s", opt.show(r.model)) end
  if not data.is(r.data) then
    fail(source, "data", "'data' must be frt.data.folder { … } or frt.data.manifest { … }, got %s", opt.show(r.data))
  end
  check_again(r.data, source, "data")
  check_again(r.loss, source, "loss")
  check_phases(r, source)
  for _, p in ipairs(r.phases) do
    if p.cache then require("foodrt.train.features").check(p, r.data) end
  end
  check_tasks(r, source)
  check_step(r, source)
  check_hooks(r, source)
  check_memory(r, source)
  check_ema(r, source)
  check_save(r, source)
end

--- "15m", "90s", "1h30m" or a number of seconds -> seconds; nil when it is none.
function recipe.seconds(text)
  if type(text) == "number" then return text > 0 and text < math.huge and text or nil end
  if type(text) ~= "string" then return nil end
  if tonumber(text) then return recipe.seconds(tonumber(text)) end
  local total, rest = 0, text
  for n, unit in text:gmatch "([%d%.]+)([hms])" do
    if not tonumber(n) then return nil end
    total = total + tonumber(n) * ({ h = 3600, m = 60, s = 1 })[unit]
    rest = rest:gsub("^[%d%.]+[hms]", "", 1)
  end
  return rest == "" and total > 0 and total or nil
end

--- checks the table a recipe returned and fills in what it leaves out.
--- in   source  { path, text }; a string is a path
function recipe.check(r, source)
  if type(source) ~= "table" then source = { path = source or "recipe", text = "" } end
  if type(r) ~= "table" or getmetatable(r) then
    error(("%s: a recipe must return a table, got %s"):format(source.path, opt.show(r)), 0)
  end
  local plain = {}
  for k, v in pairs(r) do
    if k ~= "source" then plain[k] = v end
  end
  local ok, checked = pcall(opt.check, recipe.SPEC, plain)
  if not ok then
    local why = tostring(checked):gsub("^[^%s:]+:%d+: ", ""):gsub("^recipe: ", "")
    fail(source, why:match "option '([^']+)'" or why:match "^'([^']+)'", "%s", why)
  end
  for k, v in pairs(checked) do r[k] = v end
  r.name = r.name or source.path:match "([^/]+)%.lua$" or "run"
  if not r.name:match "^[%w_%-%.]+$" or r.name:match "^%.+$" then
    fail(source, "name", "'name' must be letters, digits, '-', '_' and '.', got '%s'", r.name)
  end
  check_parts(r, source)
  r.data:suit(r.model)
  return r
end

-- --- loading ----------------------------------------------------------------------------------------------
-- Whether the recipe would look for photos where nobody put any: the untouched default, without train/.
local function lacks_data(r, overrides)
  local data = require "foodrt.data"
  if type(r) ~= "table" or not data.is(r.data) or r.data.spec ~= data.FOLDER then return false end
  for _, o in ipairs(overrides) do
    if o[1] == "data.root" or o[1] == "data" then return false end
  end
  return r.data.root == recipe.DEFAULT_ROOT and require("foodrt.core.io").kind(r.data.root .. "/train") ~= "folder"
end

-- The recipe's smaller settings, and the sample set as its data.
local function take_sample(r, source)
  local list = {}
  if r.sample ~= nil and type(r.sample) ~= "table" then
    fail(source, "sample", "'sample' must be table, got %s", opt.show(r.sample))
  end
  for path, value in pairs(r.sample or {}) do
    if type(path) ~= "string" then
      fail(source, "sample", "sample: must map key paths to values: { [\"data.size\"] = 96 }")
    end
    list[#list + 1] = { path, value }
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  local ok, why = pcall(override.apply, r, list, recipe.SPEC, "sample:")
  if not ok then
    if type(why) == "table" then fail(source, "sample", "%s", why.usage) end
    error(why, 0)
  end
  r.data.root = recipe.DEFAULT_ROOT .. "/sample"
  return list
end

-- A file may return frt.ensemble { … } instead of a recipe: it has nothing that -o could change.
local function ensemble_of(r, source)
  local ensemble = package.loaded["foodrt.run.ensemble"]
  if not ensemble or not ensemble.is(r) then return false end
  local first = source.overrides[1]
  if first then error({ usage = ("-o %s: %s is an ensemble: its members have options, it has none"):format(first[1], source.path) }, 0) end
  r.source = source
  return true
end

--- loads a recipe file. Its second argument is a list of overrides { path, value text }, with further options:
---   sample  true or false: whether to take the sample set; nil: where the default root has no photos
---   files   { { name, path, text } }: what it requires, before the disk is asked (from a checkpoint)
---   args    what `...` is in it
--- out  r  the checked table; r.source = { path, text, files, overrides, sample = settings taken, or nil };
---         nil where the file returned nothing; an ensemble where it returned that
function recipe.load(path, o)
  return recipe.from_text(path, read_file(path), o)
end

--- the same, from the text that a checkpoint holds.
function recipe.from_text(path, text, o)
  o = o or {}
  local files = { stored = o.files, values = {} }
  local source = { path = path, text = text, files = files, overrides = {} }
  for i, given in ipairs(o) do source.overrides[i] = { given[1], given[2] } end
  local r = recipe.run(path, text, files, unpack(o.args or {}))
  files.values, files.stored = nil, nil
  if r == nil then return nil end
  if ensemble_of(r, source) then return r end
  if type(r) ~= "table" or getmetatable(r) then recipe.check(r, source) end
  local sampled = o.sample
  if sampled == nil then sampled = lacks_data(r, source.overrides) end
  if sampled then source.sample = take_sample(r, source) end
  if r.save == nil then r.save = { every = recipe.SPEC.save[2].every } end
  override.apply(r, source.overrides, recipe.SPEC)
  recipe.check(r, source)
  r.source = source
  return r
end

return recipe
