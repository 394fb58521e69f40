--- monitor: which number decides on the best checkpoint: monitor = "val.top1", "val.dish.f1", "train.loss". Of equal ones the
--- smaller loss counts. What is not a number never wins, and never stands in the way of one that is.
local registry = require "foodrt.train.metric.registry"
local err = require "foodrt.core.err"

local monitor = {}
local Monitor = {}
Monitor.__index = Monitor
Monitor.__tostring = function(self) return self.split .. "." .. self.key end

-- A validation that saw less than this share of another one's photos can't be held against it.
local ENOUGH = 0.95

local function task_of(r, name)
  local names = {}
  for i, t in ipairs(r.tasks) do
    if t.name == name then return i end
    names[t.name] = true
  end
  err.user("monitor: no task '%s'%s", name, err.hint(name, names))
end

--- what a recipe's `monitor` means: { split, key (in an evaluation's values), metric, task (its place), direction }.
function monitor.of(r)
  local text = r.monitor or "val." .. (r.tasks and r.tasks[1].name .. "." or "") .. "top1"
  local parts = {}
  for part in text:gmatch "[^%.]+" do parts[#parts + 1] = part end
  local self = setmetatable({ split = "val" }, Monitor)
  if parts[1] == "val" or parts[1] == "train" then self.split = table.remove(parts, 1) end
  if #parts == 2 and r.tasks then
    self.task = task_of(r, parts[1])
  elseif #parts ~= 1 or (r.tasks and parts[1] ~= "loss") then
    err.user("monitor: must be \"val.top1\", \"train.loss\" and the like%s, got '%s'",
      r.tasks and ", of several tasks \"val.TASK.top1\" or \"val.loss\"" or "", text)
  end
  self.key, self.metric = table.concat(parts, "."), registry.get(parts[#parts])
  self.direction = self.metric.direction
  return self
end

--- the metrics of a task that an evaluation needs: its own, after what decides.
function Monitor:metrics(t, i)
  local out = {}
  local function add(name)
    for _, have in ipairs(out) do
      if have == name then return end
    end
    out[#out + 1] = name
  end
  if t.single or (self.task == i and self.metric.name == "top1") then add "top1" end
  if (self.task or 1) == i and self.metric.name ~= "loss" then add(self.metric.name) end
  for _, name in ipairs(t.metrics) do add(registry.get(name).name) end
  return out
end

local function number(v)
  return type(v) == "number" and v == v and v or nil
end

--- whether two measures are of about the same photos.
function monitor.comparable(a, b)
  return (a.n or 0) >= ENOUGH * (b.n or 0) and (b.n or 0) >= ENOUGH * (a.n or 0)
end

--- whether values a are better than b (nil: nothing yet).
function Monitor:better(a, b)
  local x, y = number(a[self.key]), b and number(b[self.key])
  if not x or self.split == "val" and a.n == 0 then return false end
  if not y then return true end
  if self.split == "val" and not monitor.comparable(a, b) then return a.n > b.n end
  if x ~= y then
    if self.direction == "max" then return x > y end
    return x < y
  end
  return (number(a.loss) or math.huge) < (number(b.loss) or math.huge)
end

return monitor
