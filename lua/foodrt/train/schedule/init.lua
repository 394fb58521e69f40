--- schedule: update schedules: when the gradients of batches are added up and applied. `each`: every batch is an update, in one
--- plan. `accumulate`: (sum, weight) of k micro-batches are added in a fixed tree order, then divided and applied.
---
--- A schedule's methods; s is the step (train/step.lua), o = { step, lr_scale, momentum, last = whether the epoch ends here }:
---   batch(self, s, batch, o)   runs a batch; returns what the rule recorded (its values are there), and whether it was an update
---   flush(self, s, o)          an update with what was left over; nil when there is nothing
---   plans(self, s, batch)      the same recording, planned and not run: { step = plan, update = plan or nil }
---   state(self, s)             tensors by name and a table, in the middle of an update; nil between updates
---   load(self, tensors, info, s)
---   bytes(self, s)             of what is kept between batches
---   mark(self)                 a function that takes it back to where it is now
local schedule = {}

--- the schedule that takes so many batches per update.
function schedule.of(accumulate)
  if accumulate > 1 then return require("foodrt.train.schedule.accumulate").new(accumulate) end
  return require("foodrt.train.schedule.each").new()
end

return schedule
