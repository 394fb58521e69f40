--- phase: one stretch of training with its own optimizer, schedule and frozen parts. A recipe lists them.
---   frt.phase { "head", epochs = 3, freeze = "backbone", optim = frt.optim.adamw { lr = 1e-3 } }
local err, opt, ema = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.train.ema"

local SPEC = { "phase", "name",
  name = "string",
  epochs = { "number", nil, "passes over the training photos", min = 0 },
  steps = { "integer", nil, "optimizer steps, instead of epochs", min = 1 },
  freeze = { "string|list", nil, "globs of what is not trained", of = "string" },
  unfreeze = { "string|list", nil, "globs of what is trained after all", of = "string" },
  optim = "table",
  sched = { "table", nil, "default: constant" },
  bn = { "string", "eval", "batch norms of frozen parts", one_of = { "eval", "train" } },
  drop = { "string", "train", "dropout and drop path of frozen parts", one_of = { "eval", "train" } },
  cache = { "boolean", false, "compute what frozen parts make of the photos once, and keep it in a file" },
  views = { "integer", nil, "training photos are augmented in so many ways, which come again", min = 1, max = 65535 },
  loss = { "table|function", nil, "instead of the recipe's" },
  clip_norm = { "number", nil, "gradients are scaled down to this norm", min = 0 },
  ema = { "number|boolean|table", nil, "averages of the weights, instead of the recipe's", options = ema.SPEC },
  accumulate = { "integer", nil, "micro-batches per optimizer step", min = 1 },
  rule = { "table", nil, "how gradients are recorded, instead of the recipe's" },
  batch = { "integer", nil, "photos per micro-batch, instead of the data's", min = 1 },
  save_best = { "boolean", true, "whether this phase can give the best checkpoint" },
}

local mt = { __tostring = function(self) return "phase '" .. self.name .. "'" end }
mt.__index = mt

local function globs(self, key)
  local given = self[key]
  if given == nil then return {} end
  return require "foodrt.nn.glob".list("phase", given, key)
end

-- Globs and rates are checked against the model only now: their mistakes get the phase's line.
local function at_line(self, fn, ...)
  local ok, why = pcall(fn, ...)
  if ok then return end
  if type(why) == "string" and self.at ~= "" and not why:find "^[^%s:]+:%d+: " then why = self.at .. why end
  error(why, 0)
end

local function freeze(self, model)
  model:unfreeze()
  local frozen, kept = globs(self, "freeze"), globs(self, "unfreeze")
  if #frozen > 0 then model:freeze(frozen, { bn = self.bn, drop = self.drop }) end
  if #kept > 0 then model:unfreeze(kept) end
end

--- applies freeze and unfreeze to the model: what an earlier phase froze is trained again unless named here.
function mt:apply(model)
  at_line(self, freeze, self, model)
  return model
end

--- attaches the phase's optimizer to what of the model is trained, and to more (train/learners.lua); returns it.
function mt:attach(model, more)
  at_line(self, self.optim.attach, self.optim, model, more)
  return self.optim
end

mt.spec = SPEC
opt.guard(mt)

local function new(given)
  local self = opt.check(SPEC, given)
  if (self.epochs == nil) == (self.steps == nil) then
    err.user("phase '%s': needs either 'epochs' or 'steps'", self.name)
  end
  if type(self.optim.attach) ~= "function" then
    err.user("phase '%s': 'optim' must be an optimizer, such as frt.optim.adamw { lr = 1e-3 }", self.name)
  end
  if self.sched and type(self.sched.at) ~= "function" then
    err.user("phase '%s': 'sched' must be a schedule, such as frt.sched.cosine {}", self.name)
  end
  globs(self, "freeze")
  globs(self, "unfreeze")
  ema.settings(self.ema)
  self.at = err.where()
  return setmetatable(self, mt)
end

--- frt.phase { … }; phase.is(v): whether v is one.
return setmetatable({ is = function(v) return getmetatable(v) == mt end, spec = SPEC },
  { __call = function(_, given) local self = new(given) return self end })
