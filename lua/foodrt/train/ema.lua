--- ema: exponential moving averages of a model's weights and statistics, for evaluation; training goes on with the
--- weights themselves. A recipe or a phase asks for them: ema = 0.9998, or
---   ema = { decay = 0.9998, warmup = true, gamma = 1, power = 2 / 3 }
---
---     e = d e + (1 - d) x     after every update; t: updates averaged before, x: a weight or a running statistic
---     d = 0 at t = 0, else decay, with warmup at most 1 - (1 + t / gamma)^-power
---
--- What training never moved has no average of its own: it is its own average. Integers are no averages either.
--- from timm's ModelEmaV3 (timm/utils/model_ema.py), whose warm-up is off by default
local T, R = require "foodrt.tensor", require "foodrt.tensor.record"
local lib, err, opt = require "foodrt.core.ffi", require "foodrt.core.err", require "foodrt.core.opt"
local C = lib.C

local ema = {}
local Averages = {}
Averages.__index = Averages

ema.SPEC = { "ema",
  decay = { "number", 0.9998, "of the average stays at an update, at most", min = 0 },
  warmup = { "boolean", true, "young averages keep less: short runs need it" },
  gamma = { "number", 1, "of the warm-up: updates until it begins to bend" },
  power = { "number", 2 / 3, "of the warm-up: 3/4 keeps more, 1 makes a plain mean" },
}

--- what `ema = v` means: { decay, warmup, gamma, power }, or nil where nothing is averaged.
--- in   v  a decay, true (timm's), false, nil, or a table
function ema.settings(v)
  if not v then return nil end
  local o = opt.check(ema.SPEC, v == true and {} or type(v) == "number" and { decay = v } or v)
  if o.decay >= 1 then err.user("ema: 'decay' must be below 1, got %g", o.decay) end
  for _, key in ipairs { "gamma", "power" } do
    if not (o[key] > 0 and o[key] < math.huge) then err.user("ema: '%s' must be above 0, got %g", key, o[key]) end
  end
  return o
end

--- the settings of a phase: its own, else the recipe's.
function ema.of(r, phase)
  local v = phase.ema
  if v == nil then v = r.ema end
  return ema.settings(v)
end

--- how much of an average stays at the update that follows t others.
function ema.decay(settings, t)
  if t == 0 then return 0 end
  if not settings.warmup then return settings.decay end
  return math.min(settings.decay, 1 - (1 + t / settings.gamma) ^ -settings.power)
end

--- averages of nothing yet.
function ema.new()
  return setmetatable({ entries = {}, by_tensor = {}, by_dtype = { f32 = {}, f64 = {} }, t = 0 }, Averages)
end

--- the averages that there are while `phase` trains: those of the phases before go on; nil where it has none. Freezes
--- the model for each of them. For plans: averages have no values.
function ema.planned(r, phase)
  local averages
  for _, p in ipairs(r.phases) do
    if p == phase or p.epochs ~= 0 then
      local settings = ema.of(r, p)
      if settings then p:apply(r.model) end
      averages = settings and (averages or ema.new()):begin(r.model, settings, false) or nil
    end
    if p == phase then return averages end
  end
end

local function add(self, name, tensor)
  local e = { name = name, tensor = tensor,
    average = T.var { shape = tensor.shape, dtype = tensor.dtype, name = name .. ".ema" } }
  self.entries[#self.entries + 1], self.by_tensor[tensor] = e, e
  table.insert(self.by_dtype[tensor.dtype], e)
  return e
end

--- what the model's training moves as it is frozen now is averaged from here on, beside what was averaged before. What
--- is new has stood still until now: its average is its value.
function Averages:begin(model, settings, with_values)
  self.settings = settings
  for name, t in model:named_moving() do
    if not self.by_tensor[t] then
      local e = add(self, name, t)
      if with_values ~= false then R.copy(e.average, t) end
    end
  end
  return self
end

--- bytes of the averages.
function Averages:bytes()
  local n = 0
  for _, e in ipairs(self.entries) do n = n + e.tensor:numel() * R.SIZE[e.tensor.dtype] end
  return n
end

--- whether an average is of something that the model does not train now.
function Averages:of_frozen(model)
  local moving = {}
  for _, t in model:named_moving() do moving[t] = true end
  for _, e in ipairs(self.entries) do
    if not moving[e.tensor] then return true end
  end
  return false
end

-- --- one step ------------------------------------------------------------------------------------------------
local MOST = 2048  -- tensors of a node
local index = R.index "ema_step"

-- one node for entries [from, to] of a list
local function record(list, from, to, decay)
  local n = to - from + 1
  local input, output = R.room(1 + 2 * n)
  input[0] = decay
  for i = 0, n - 1 do
    local e = list[from + i]
    input[1 + 2 * i], input[2 + 2 * i] = e.average.ref, e.tensor.ref
  end
  R.record_room(index, 1 + 2 * n, 0, nil, n)
  for i = 0, n - 1 do lib.check(C.frt_assign(list[from + i].average.ref, output[i])) end
end

--- records one step, behind the optimizer's: nothing is computed before the next realize.
function Averages:update()
  local decay = R.wrap(R.scalar(ema.decay(self.settings, self.t), R.DTYPE.f64))
  self.t = self.t + 1
  for _, dtype in ipairs { "f32", "f64" } do
    local list = self.by_dtype[dtype]
    for from = 1, #list, MOST do record(list, from, math.min(from + MOST - 1, #list), decay.ref) end
  end
end

-- --- evaluation ------------------------------------------------------------------------------------------------
local function swap(self)
  for _, e in ipairs(self.entries) do lib.check(C.frt_var_swap(e.tensor.ref, e.average.ref)) end
end

--- fn(…) with the averages in the model's variables, which trade their bytes with them for so long; what it returns.
function Averages:lend(fn, ...)
  local function back(ok, ...)
    if not ok then T.forget() end  -- what it left pending
    swap(self)
    if not ok then error((...), 0) end
    return ...
  end
  swap(self)
  return back(err.catch(fn, ...))
end

-- --- state -----------------------------------------------------------------------------------------------------
--- averages by the model's names for them, and what is no tensor: { t = updates averaged }.
function Averages:state_dict(model)
  local out = {}
  for name, t in pairs((model:state_dict())) do
    local e = self.by_tensor[t]
    if e then out[name] = e.average end
  end
  return out, { t = self.t }
end

--- the other way, also for what is averaged and frozen now. Everything the model trains must be in it.
--- in   from  the file, for messages
function Averages:load_state_dict(model, tensors, info, from)
  for name, t in pairs((model:state_dict())) do
    local src, e = tensors[name], self.by_tensor[t]
    if src then
      e = e or add(self, name, t)
      if table.concat(src.shape, ",") ~= table.concat(t.shape, ",") or src.dtype ~= t.dtype then
        err.user("%s: the average of '%s' has another shape", from, name)
      end
      R.copy(e.average, src)
    elseif e then
      err.user("%s: the average of '%s' is missing", from, name)
    end
  end
  self.t = info.t
  return self
end

return ema
