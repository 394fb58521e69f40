--- sched: how the learning rate goes. A schedule is stateless: at(step, total, epoch) is the factor on a
--- group's rate, the first step is 0; resuming needs nothing but the step number.
---   local s = frt.sched.one_cycle { pct_start = 0.3 };  s:at(0, 1000)
---
--- Every schedule takes warmup = 500 (steps), 0.05 (share of all steps) or "2 epochs", and warmup_start (factor of
--- the first step, 0.01): the factor climbs in a straight line. The shape that follows starts after the warm-up
--- and ends with the last step; step, multistep and exponential count from the phase's first step all the same.
---   total   steps of the phase; may be left out where the schedule knows (total_steps)
---   epoch   steps of an epoch; needed by "epochs" and unit = "epoch"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"

local sched = {}
local Schedule = {}
Schedule.__index = Schedule
Schedule.__tostring = function(self) return self.describe end
opt.guard(Schedule)

local function cosine(from, to, share)
  return to + (from - to) * 0.5 * (1 + math.cos(math.pi * share))
end

local function total_of(self, total)
  total = self.total_steps or total
  if not total then err.user("%s: needs to know how many steps there are: s:at(step, total) or total_steps = n", self.name) end
  return total
end

-- steps of warm-up
local function warm(self, total, epoch)
  local w = self.warmup
  if type(w) == "string" then
    if not epoch then err.user("%s: warmup = '%s' needs the steps of an epoch: s:at(step, total, epoch)", self.name, w) end
    return self.warmup_epochs * epoch
  end
  if w > 0 and w < 1 then return w * total_of(self, total) end
  return w
end

--- the factor on a group's rate at `step`.
function Schedule:at(step, total, epoch)
  local w = self.warmup ~= 0 and warm(self, total, epoch) or 0
  if step < w then return self.warmup_start + (1 - self.warmup_start) * step / w end
  return self.shape(self, step, total, epoch, w)
end

--- momentum (beta1 for Adam) at `step`, or nil where the schedule leaves it alone.
function Schedule:momentum(step, total, epoch)
  if not self.momentum_shape then return nil end
  local w = self.warmup ~= 0 and warm(self, total, epoch) or 0
  return self.momentum_shape(self, math.max(step, w), total, epoch, w)
end

local function common(spec)
  spec.warmup, spec.warmup_start = { "number|string", 0, min = 0 }, { "number", 0.01, min = 0, max = 1 }
  spec.total_steps = { "integer", nil, min = 1 }
  return spec
end

local function make(name, spec, shape, more)
  common(spec)
  sched[name] = function(given)
    local self = opt.check(spec, given)
    self.name, self.shape, self.spec, self.remake = name, shape, spec, sched[name]
    if type(self.warmup) == "string" then
      self.warmup_epochs = tonumber(self.warmup:match "^%s*([%d%.]+)%s*epochs?%s*$")
      if not self.warmup_epochs then
        err.user("%s: 'warmup' must be steps (500), a share (0.05) or \"2 epochs\", got '%s'", name, self.warmup)
      end
    end
    self.describe = name .. (self.warmup ~= 0 and (", warm-up %s"):format(tostring(self.warmup)) or "")
    if more then more(self) end
    return setmetatable(self, Schedule)
  end
end

--- frt.sched.constant: 1.
---   sched.constant { warmup = 100 }
make("constant", { "constant" }, function() return 1 end)

-- steps since the phase began, in the schedule's unit
local function units(self, step, epoch)
  if self.unit == "step" then return step end
  if not epoch then err.user("%s: unit = 'epoch' needs the steps of an epoch: s:at(step, total, epoch)", self.name) end
  return math.floor(step / epoch)
end

local UNIT = { "string", "step", one_of = { "step", "epoch" } }

--- frt.sched.step: times gamma every step_size steps (or epochs, with unit = "epoch").
---   sched.step { step_size = 30, gamma = 0.1, unit = "epoch" }
--- from PyTorch's StepLR
make("step", { "step", "step_size", step_size = { "integer", nil, min = 1 }, gamma = { "number", 0.1, min = 0 }, unit = UNIT },
  function(self, step, _, epoch)
    return self.gamma ^ math.floor(units(self, step, epoch) / self.step_size)
  end, function(self)
    if not self.step_size then err.user "step: missing option 'step_size'" end
  end)

--- frt.sched.multistep: times gamma at every milestone.
---   sched.multistep { { 30, 60 }, gamma = 0.1, unit = "epoch" }
--- from PyTorch's MultiStepLR
make("multistep", { "multistep", "milestones", milestones = { "list", nil, of = "number", least = 1, required = true },
  gamma = { "number", 0.1, min = 0 }, unit = UNIT },
  function(self, step, _, epoch)
    local at, passed = units(self, step, epoch), 0
    for _, m in ipairs(self.milestones) do
      if at >= m then passed = passed + 1 end
    end
    return self.gamma ^ passed
  end)

--- frt.sched.exponential: times gamma every step (or epoch).
---   sched.exponential { gamma = 0.97, unit = "epoch" }
--- from PyTorch's ExponentialLR
make("exponential", { "exponential", "gamma", gamma = { "number", nil, min = 0 }, unit = UNIT },
  function(self, step, _, epoch) return self.gamma ^ units(self, step, epoch) end,
  function(self)
    if not self.gamma then err.user "exponential: missing option 'gamma'" end
  end)

--- frt.sched.cosine: half a cosine from 1 to eta_min (a share of the rate), reached one step after the last.
---   sched.cosine { eta_min = 0.01, warmup = 0.05 }
--- from Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts; T_max sets the length, default all steps
make("cosine", { "cosine", eta_min = { "number", 0, min = 0 }, T_max = { "integer", nil, min = 1 } },
  function(self, step, total, _, w)
    local length = self.T_max or total_of(self, total) - w
    local share = math.max(0, math.min(1, (step - w) / length))
    return cosine(1, self.eta_min, share)
  end)

--- frt.sched.cosine_restarts: half cosines one after the other, the first T_0 steps long, each T_mult times
--- longer than the one before; a restart jumps back to 1.
---   sched.cosine_restarts { T_0 = 1000, T_mult = 2 }
--- from Loshchilov and Hutter 2017 (arXiv:1608.03983); PyTorch's CosineAnnealingWarmRestarts
make("cosine_restarts", { "cosine_restarts", "T_0", T_0 = { "number", nil, min = 1 }, T_mult = { "number", 1, min = 1 },
  eta_min = { "number", 0, min = 0 }, unit = UNIT }, function(self, step, _, epoch, w)
  local at = step - w
  if self.unit == "epoch" then
    units(self, 0, epoch)
    at = at / epoch
  end
  local length = self.T_0
  if self.T_mult == 1 then
    at = at % length
  else
    while at >= length do
      at, length = at - length, length * self.T_mult
    end
  end
  return cosine(1, self.eta_min, at / length)
end, function(self)
  if not self.T_0 then err.user "cosine_restarts: missing option 'T_0'" end
end)

--- frt.sched.poly: (1 - step/total)^power, from 1 to eta_min.
---   sched.poly { power = 0.9 }
make("poly", { "poly", power = { "number", 1, min = 0 }, eta_min = { "number", 0, min = 0 } },
  function(self, step, total, _, w)
    local share = math.max(0, math.min(1, (step - w) / (total_of(self, total) - w)))
    return self.eta_min + (1 - self.eta_min) * (1 - share) ^ self.power
  end)

-- --- one_cycle ---------------------------------------------------------------------------------------------------
local function linear(from, to, share)
  return from + (to - from) * share
end

-- from -> peak over the first pct_start of the steps, then peak -> to
local function cycle(self, step, total, w, from, peak, to)
  local n = total_of(self, total) - w
  local at = math.max(0, math.min(step - w, n - 1))
  local anneal = self.anneal_strategy == "linear" and linear or cosine
  local up, last = self.pct_start * n - 1, n - 1
  if at <= up then return up > 0 and anneal(from, peak, at / up) or peak end
  if last <= up then return peak end
  return anneal(peak, to, (at - up) / (last - up))
end

--- frt.sched.one_cycle: up from 1/div_factor to 1 and down to 1/(div_factor * final_div_factor); momentum
--- (beta1) goes the other way, from max_momentum to base_momentum and back.
---   sched.one_cycle { pct_start = 0.3, div_factor = 10, final_div_factor = 100 }
--- from Smith and Topin 2017 (arXiv:1708.07120); PyTorch's OneCycleLR, the group's rate is max_lr
make("one_cycle", { "one_cycle", pct_start = { "number", 0.3, min = 0, max = 1 }, div_factor = { "number", 25, min = 1 },
  final_div_factor = { "number", 1e4, min = 1 }, anneal_strategy = { "string", "cos", one_of = { "cos", "linear" } },
  cycle_momentum = { "boolean", true }, base_momentum = { "number", 0.85, min = 0, max = 1 },
  max_momentum = { "number", 0.95, min = 0, max = 1 } }, function(self, step, total, _, w)
  local low = 1 / self.div_factor
  return cycle(self, step, total, w, w > 0 and 1 or low, 1, low / self.final_div_factor)
end, function(self)
  if self.cycle_momentum then
    self.momentum_shape = function(s, step, total, _, w)
      return cycle(s, step, total, w, s.max_momentum, s.base_momentum, s.max_momentum)
    end
  end
end)

return setmetatable(sched, { __index = function(_, name)
  err.user("no schedule '%s'%s", tostring(name), err.hint(name, sched))
end })
