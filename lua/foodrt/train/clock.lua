--- trainer.clock: ends a run on time. Each update moves the schedule on by what is left of it over the updates
--- that still fit, so the learning rate always reaches its end, and evaluation and test have their time.
---
---     fits = (left - test - v * phases) * share / (s + v / steps per epoch),   progress += (1 - progress) / fits
---
--- s: seconds per update, v: seconds of a validation, share: this phase's part of the work that remains (by FLOPs).
--- A schedule never runs slower than the recipe says: a run that is done earlier ends earlier.
local clock = {}
local Clock = {}
Clock.__index = Clock

local function now()
  return require("foodrt.core.ffi").C.frt_now()
end

--- in   limit_s  seconds the run may take; nil: no limit, only the time used is kept
---      used_s   of them used before (a resumed run)
function clock.new(limit_s, used_s)
  return setmetatable({ limit_s = limit_s, began = now() - (used_s or 0), n = 0, save_s = 0 }, Clock)
end

function Clock:used()
  return now() - self.began
end

--- an update took that long, photos waited for included. The first one makes the plan and counts least.
function Clock:update_took(seconds)
  self.n = self.n + 1
  if self.n <= 2 then
    self.update_s = seconds
  else
    self.update_s = self.update_s + (seconds - self.update_s) * math.max(0.1, 1 / (self.n - 1))
  end
end

--- a new phase has steps of another cost.
function Clock:new_phase()
  self.n = 0
end

function Clock:evaluation_took(seconds, photos)
  self.photo_s = seconds / math.max(photos, 1)
end

function Clock:save_took(seconds)
  self.save_s = math.max(self.save_s, seconds)
end

-- Seconds to evaluate n photos; before any was seen, a third of what a training step takes.
local function evaluation(self, n, batch)
  local photo = self.photo_s or (self.update_s or 0) / batch / 3
  return photo * n
end

--- how far one update moves the schedule, as a share of the phase.
--- in   o.progress         of the phase, 0 .. 1, before this update
---      o.total            updates of the phase by the recipe
---      o.steps_per_epoch  likewise
---      o.batch            photos of an update
---      o.n_val, o.n_test  photos to evaluate
---      o.later            work of the later phases in updates of this one
---      o.phases           phases that remain, this one included
function Clock:advance(o)
  local nominal = 1 / o.total
  if not self.limit_s or not self.update_s then return nominal end
  local val = evaluation(self, o.n_val, o.batch) + self.save_s
  local test = evaluation(self, o.n_test, o.batch)
  -- 1 %, at least a quarter of a second, for what cannot be foreseen
  local left = self.limit_s * 0.99 - 0.25 - self:used() - test - val * o.phases
  local rest = o.total * (1 - o.progress)
  local share = rest / math.max(rest + o.later, 1e-9)
  local fits = left * share / (self.update_s + val / o.steps_per_epoch)
  if fits >= rest then return nominal end
  if fits < 1 then return 1 - o.progress end
  return math.max(nominal, (1 - o.progress) / fits)
end

return clock
