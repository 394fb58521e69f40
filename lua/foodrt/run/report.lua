--- run.report: measures in words: "top1 0.812 f1 0.801 loss 0.61", of several tasks a group for each.
local registry = require "foodrt.train.metric.registry"
local report = {}

local function number(name, v)
  local digits = name == "loss" and 2 or registry.get(name).digits
  return ("%s %." .. digits .. "f"):format(name, v)
end

-- names of the metrics to show, each once, in the order they are given
local function names_of(task, recipe)
  local given = task.single and recipe and recipe.metrics or task.metrics
  local out, seen = {}, { loss = true }
  for _, m in ipairs(given) do
    local name = registry.get(m).name
    if not seen[name] then seen[name], out[#out + 1] = true, name end
  end
  return out
end

--- the measures of a task in a line, without the loss.
--- in   values  of an evaluation: "top1", or "dish.top1" of several tasks
function report.task(values, task, recipe)
  local parts = {}
  for _, name in ipairs(names_of(task, recipe)) do
    local v = values[task.prefix .. name]
    if v then parts[#parts + 1] = number(name, v) end
  end
  return table.concat(parts, " ")
end

--- all of them: "top1 0.812 loss 0.61"; "dish top1 0.812, taste top1 0.650, loss 0.61".
--- in   recipe  whose order of metrics is kept, or nil
function report.line(values, tasks, recipe)
  local parts, single = {}, tasks[1].single
  for _, t in ipairs(tasks) do
    local text = report.task(values, t, recipe)
    if text ~= "" then parts[#parts + 1] = single and text or t.name .. " " .. text end
  end
  if values.loss then parts[#parts + 1] = number("loss", values.loss) end
  return table.concat(parts, single and " " or ", ")
end

return report
