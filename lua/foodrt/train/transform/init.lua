--- transform: batch transforms: what is done to a whole training batch in the step's own plan, before the model sees it: mixing
--- photos, normalising them on the device. A recipe lists them: transforms = { frt.transform.NAME { … } }; they run in that order,
--- in training only.
---
---   transform.define("halve", { "halve", p = { "number", 0.5 } }, function(self, batch)
---     return { x = batch.x * 0.5 }
---   end)
---
--- The function gets its options as `self` and the batch { x [N, 3, H, W], labels = { column = [N] i32 }, targets = { column =
--- … } of transforms before it, n }, and returns what it changes: x, and targets = { column = i32 [N] or f32 [N, K] }, which
--- losses see in place of the labels; measures go on with the labels. What it draws (frt.rand, frt.randn) follows from the run's
--- seed, the update and its name, so that a resumed run draws the same; a graph of its own per batch would be planned anew each
--- time, so numbers that change are drawn, not written into it.
local T, rng = require "foodrt.tensor", require "foodrt.core.rng"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"

local transform = {}
local kinds = {}

local Transform = {}
Transform.__index = Transform
Transform.__tostring = function(self) return self.name end

--- registers a transform; frt.transform.NAME { options } then makes one.
function transform.define(name, spec, apply)
  kinds[name] = function(given)
    local options = opt.check(spec, given)
    return setmetatable({ name = name, options = options, apply = apply }, Transform)
  end
  return kinds[name]
end

--- whether v is one.
function transform.is(v)
  return getmetatable(v) == Transform
end

local function check(self, batch, found)
  if type(found) ~= "table" or T.is(found) then
    err.user("transform '%s': must return { x = …, targets = … }, got %s", self.name, opt.show(found))
  end
  for key in pairs(found) do
    if key ~= "x" and key ~= "targets" then
      err.user("transform '%s': returned '%s'; it may change x and targets", self.name, tostring(key))
    end
  end
  if found.x and (not T.is(found.x) or found.x.shape[1] ~= batch.n) then
    err.user("transform '%s': x must be a tensor of %d photos, got %s", self.name, batch.n, opt.show(found.x))
  end
  for column, t in pairs(found.targets or {}) do
    if not batch.labels[column] then
      err.user("transform '%s': no label column '%s'%s", self.name, tostring(column), err.hint(column, batch.labels))
    end
    if not T.is(t) or t.shape[1] ~= batch.n then
      err.user("transform '%s': targets.%s must be a tensor of %d photos, got %s", self.name, column, batch.n, opt.show(t))
    end
  end
end

--- the batch that a transform makes of one, recorded; the one given stays as it is.
function Transform:run(batch)
  local path = rng.path
  rng.path = "transform." .. self.name
  local ok, found = err.catch(line.is_user(self.apply) and line.user or line.call, self.apply, self.options, batch)
  rng.path = path
  if not ok then error(found, 0) end
  check(self, batch, found)
  local out = setmetatable({ x = found.x, targets = {} }, { __index = batch })
  for column, t in pairs(batch.targets or {}) do out.targets[column] = t end
  for column, t in pairs(found.targets or {}) do out.targets[column] = t end
  return out
end

return setmetatable(transform, { __index = function(_, name)
  local make = kinds[name]
  if not make then err.user("no transform '%s'%s", tostring(name), err.hint(name, kinds)) end
  return make
end })
