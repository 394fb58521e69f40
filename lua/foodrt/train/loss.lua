--- loss: what training makes small. A loss is an object to call: loss(logits, labels) -> a scalar tensor.
--- Labels are i32 [N] with class numbers from 1, or soft targets f32 [N, K].
---   local loss = frt.loss.focal { gamma = 2, alpha = 1 }
---   loss(model(x), labels):backward()
local T = require "foodrt.tensor"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local lists = require "foodrt.core.lists"

local loss = {}

local mt = {}
mt.__index = mt
mt.__call = function(self, logits, target) return line.call(self.compute, self, logits, target) end
mt.__tostring = function(self) return self.describe end
opt.guard(mt)

-- --- what several losses need ---------------------------------------------------------------------------
local function check_pair(self, logits, target)
  if not T.is(logits) then err.user("%s: logits must be a tensor, got %s", self.name, opt.show(logits)) end
  if not T.is(target) then err.user("%s: the target must be a tensor, got %s", self.name, opt.show(target)) end
end

-- whether targets are class numbers; shapes must fit [N, K]
local function hard(self, logits, target)
  check_pair(self, logits, target)
  local s, t = logits.shape, target.shape
  if #s ~= 2 then err.user("%s: logits must be [N, K], got [%s]", self.name, table.concat(s, ", ")) end
  if target.dtype == "i32" then
    if #t ~= 1 or t[1] ~= s[1] then
      err.user("%s: labels must be [%d], got [%s]", self.name, s[1], table.concat(t, ", "))
    end
    return true, s[1], s[2]
  end
  if #t ~= 2 or t[1] ~= s[1] or t[2] ~= s[2] then
    err.user("%s: soft targets must be [%d, %d] (class numbers are i32), got %s [%s]", self.name, s[1], s[2],
      target.dtype, table.concat(t, ", "))
  end
  return false, s[1], s[2]
end

-- one weight per class as a row [1, K] in the dtype of `like`; checked when K is known
local function class_row(self, key, classes, like)
  local given = self[key]
  local row = self._row
  if not row or row.classes ~= classes or row.dtype ~= like.dtype then
    local values = given
    if T.is(given) then values = given:totable() end
    if #values ~= classes then
      err.user("%s: '%s' has %d numbers, there are %d classes", self.name, key, #values, classes)
    end
    local t = T.var { shape = { 1, classes }, dtype = like.dtype, data = values, name = "loss." .. key }
    row = { classes = classes, dtype = like.dtype, tensor = t }
    self._row = row
  end
  return row.tensor
end

local function check_row(name, key, values)
  if values == nil or T.is(values) then return end
  for i, v in ipairs(values) do
    if not lists.finite(v) or v < 0 then
      err.user("%s: '%s' must hold numbers from 0, got %s at %d", name, key, opt.show(v), i)
    end
  end
end

-- value of the labelled class, [N]
local function picked(x, labels, n)
  return x:gather(2, labels:reshape { n, 1 }):reshape { n }
end

local function reduced(self, each, n)
  if self.reduction == "none" then return each end
  local total = each:sum()
  return self.reduction == "sum" and total or total * (1 / n)
end

local REDUCTION = { "string", "mean", one_of = { "mean", "sum", "none" } }

local function make(name, spec, describe, compute, check)
  loss[name] = function(given)
    local self = opt.check(spec, given)
    self.spec, self.remake = spec, loss[name]
    self.name, self.compute = name, compute
    if check then check(self) end
    self.describe = describe(self)
    return setmetatable(self, mt)
  end
end

-- --- cross_entropy -------------------------------------------------------------------------------------------
--- frt.loss.cross_entropy: -log of the probability of the right class.
---   loss.cross_entropy {}    loss.cross_entropy { smoothing = 0.1, weight = { 1, 2, 0.5 } }
---
---     l[n] = (1 - e) * -lp[n, y] + e/K * sum over k of -lp[n, k],   lp = log_softmax(logits)
---     mean: over photos; with class weights w: sum (1-e) w[y] (-lp[y]) + e/K sum_k w[k] (-lp[k]), over sum w[y]
---     soft targets t: sum over k of w[k] ((1-e) t[k] + e/K) (-lp[k]), mean over photos
---
--- in   logits  f32 [N, K]
---      target  i32 [N] from 1, or f32 [N, K] that sums to 1
--- out  loss    f32 []
--- from PyTorch's CrossEntropyLoss; smoothing spreads over all classes, the right one too
local function cross_entropy(self, logits, target)
  local is_hard, n, classes = hard(self, logits, target)
  local e = self.smoothing
  local lp = logits:log_softmax(2)
  local w = self.weight and class_row(self, "weight", classes, logits)
  if not is_hard then
    local t = e > 0 and target * (1 - e) + e / classes or target
    if w then t = t * w end
    return reduced(self, -(t * lp):sum(2), n)
  end
  local each = -picked(lp, target, n)
  local wy = w and picked(w:expand { n, classes }, target, n)
  if w then each = each * wy end
  if e > 0 then
    local spread = w and -(lp * w):sum(2) or -lp:sum(2)
    each = each * (1 - e) + spread * (e / classes)
  end
  if not w or self.reduction ~= "mean" then return reduced(self, each, n) end
  return each:sum() / wy:sum()
end

make("cross_entropy", { "cross_entropy", smoothing = { "number", 0, min = 0, max = 1 }, weight = { "list|tensor", nil },
  reduction = REDUCTION }, function(self)
  local parts = {}
  if self.smoothing > 0 then parts[#parts + 1] = ("smoothing %g"):format(self.smoothing) end
  if self.weight then parts[#parts + 1] = "class weights" end
  return "cross_entropy" .. (#parts > 0 and " (" .. table.concat(parts, ", ") .. ")" or "")
end, cross_entropy, function(self) check_row("cross_entropy", "weight", self.weight) end)

-- --- focal -----------------------------------------------------------------------------------------------------
--- frt.loss.focal: cross entropy that turns away from what is already right.
---   loss.focal { gamma = 2, alpha = 1 }    loss.focal { gamma = 2, alpha = { 0.2, 0.5, 0.3 } }
---
---     l[n] = alpha[y] (1 - p[y])^gamma (-log p[y]),   p = softmax(logits); mean over photos, not over alpha
---     soft targets and smoothing: sum over k of t[k] alpha[k] (1 - p[k])^gamma (-log p[k])
---
--- in   logits  f32 [N, K]
---      target  i32 [N] from 1, or f32 [N, K]
--- out  loss    f32 []
--- from Lin et al. 2017 (arXiv:1708.02002), in its softmax form
local function focusing(self, lp)
  local gamma = self.gamma
  if gamma == 0 then return nil end  -- 0^0 has no gradient
  local away = 1 - lp:exp()
  if gamma == 1 then return away end
  if gamma == 2 then return away * away end
  if gamma < 1 then away = away:clamp { min = 1e-6 } end  -- the slope at 0 is infinite
  return away ^ gamma
end

local function focal(self, logits, target)
  local is_hard, n, classes = hard(self, logits, target)
  local e = self.smoothing
  local lp = logits:log_softmax(2)
  local number = type(self.alpha) == "number"
  local alpha = not number and class_row(self, "alpha", classes, logits)
  if is_hard and e > 0 then
    target, is_hard = target:one_hot { classes = classes }, false
    if target.dtype ~= logits.dtype then target = target:to(logits.dtype) end
  end
  local each
  if is_hard then
    local lpy = picked(lp, target, n)
    local away = focusing(self, lpy)
    each = away and away * -lpy or -lpy
    if alpha then each = each * picked(alpha:expand { n, classes }, target, n) end
  else
    local t = e > 0 and target * (1 - e) + e / classes or target
    local away = focusing(self, lp)
    local terms = away and t * away * -lp or t * -lp
    if alpha then terms = terms * alpha end
    each = terms:sum(2)
  end
  if number and self.alpha ~= 1 then each = each * self.alpha end
  return reduced(self, each, n)
end

make("focal", { "focal", gamma = { "number", 2, min = 0 }, alpha = { "number|list|tensor", 1, min = 0 },
  smoothing = { "number", 0, min = 0, max = 1 }, reduction = REDUCTION }, function(self)
  local alpha = type(self.alpha) == "number" and ("%g"):format(self.alpha) or "per class"
  return ("focal (gamma %g, alpha %s%s)"):format(self.gamma, alpha,
    self.smoothing > 0 and (", smoothing %g"):format(self.smoothing) or "")
end, focal, function(self)
  if type(self.alpha) ~= "number" then check_row("focal", "alpha", self.alpha) end
end)

-- --- bce -------------------------------------------------------------------------------------------------------
--- frt.loss.bce: a yes-or-no question per class.
---   loss.bce {}    loss.bce { smoothing = 0.1 }
---
---     l[n,k] = softplus(x[n,k]) - x[n,k] t[n,k],   mean over photos and classes
---
--- in   logits  f32 [N, K]
---      target  f32 [N, K] of 0 and 1, or i32 [N] from 1 (one class is right)
--- out  loss    f32 []
--- from PyTorch's BCEWithLogitsLoss; smoothing as timm: t (1 - e) + e/K
local function bce(self, logits, target)
  local is_hard, n, classes = hard(self, logits, target)
  if is_hard then target = target:one_hot { classes = classes } end
  if target.dtype ~= logits.dtype then target = target:to(logits.dtype) end
  if self.smoothing > 0 then target = target * (1 - self.smoothing) + self.smoothing / classes end
  if self.threshold then target = target:gt(self.threshold) end
  local terms = logits:softplus() - logits * target
  return reduced(self, terms:mean(2), n)
end

make("bce", { "bce", smoothing = { "number", 0, min = 0, max = 1 }, threshold = { "number", nil, "targets above it are 1, the rest 0" },
  reduction = REDUCTION }, function(self)
  return "bce" .. (self.smoothing > 0 and (" (smoothing %g)"):format(self.smoothing) or "")
end, bce)

-- --- mse -------------------------------------------------------------------------------------------------------
--- frt.loss.mse: mean of squared differences.
---   loss.mse {}
--- in   x, target  f32, the same shape
--- out  loss       f32 []
local function mse(self, x, target)
  check_pair(self, x, target)
  local a, b = x.shape, target.shape
  if table.concat(a, ",") ~= table.concat(b, ",") then
    err.user("mse: the target must be [%s], got [%s]", table.concat(a, ", "), table.concat(b, ", "))
  end
  local d = x - target
  if self.reduction == "none" then return d * d end
  return self.reduction == "sum" and (d * d):sum() or (d * d):mean()
end

make("mse", { "mse", reduction = REDUCTION }, function() return "mse" end, mse)

-- --- kl --------------------------------------------------------------------------------------------------------
--- frt.loss.kl: how far a student is from its teacher.
---   loss.kl { temperature = 4 }(student, teacher)
---
---     T^2 * sum over k of p[k] (log p[k] - log q[k]),   p = softmax(teacher/T), q = softmax(student/T); mean over photos
---
--- in   student, teacher  logits f32 [N, K]; no gradient goes to the teacher
--- out  loss              f32 []
--- from Hinton, Vinyals and Dean 2015 (arXiv:1503.02531)
local function kl(self, student, teacher)
  local is_hard, n = hard(self, student, teacher)
  if is_hard then err.user "kl: the target must be the teacher's logits [N, K], got class numbers" end
  local t = self.temperature
  local lq = (student * (1 / t)):log_softmax(2)
  local lp = (teacher:detach() * (1 / t)):log_softmax(2)
  local each = (lp:exp() * (lp - lq)):sum(2) * (t * t)
  return reduced(self, each, n)
end

make("kl", { "kl", temperature = { "number", 1, min = 1e-3 }, reduction = REDUCTION }, function(self)
  return ("kl (temperature %g)"):format(self.temperature)
end, kl)

return setmetatable(loss, { __index = function(_, name)
  err.user("no loss '%s'%s", tostring(name), err.hint(name, loss))
end })
