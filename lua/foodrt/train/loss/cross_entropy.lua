--- frt.loss.cross_entropy: -log of the probability of the right class.
---   loss.cross_entropy {}    loss.cross_entropy { smoothing = 0.1, weight = { 1, 2, 0.5 } }
---
---     l[n] = (1 - e) * -lp[n, y] + e/K * sum over k of -lp[n, k],   lp = log_softmax(logits)
---     mean: over photos; with class weights w: sum (1-e) w[y] (-lp[y]) + e/K sum_k w[k] (-lp[k]), over sum w[y]
---     soft targets t: sum over k of w[k] ((1-e) t[k] + e/K) (-lp[k]), over photos; with w over sum_k t[k] w[k], the same
---     as above where t is one-hot
---
---     weight: by position in the order of the data's classes (that of their bytes), a tensor, or by name:
---     { pizza = 2, ["*"] = 1 }
---
--- in   logits  f32 [N, K]
---      target  i32 [N] from 1 (0: missing, of weight 0), or f32 [N, K] that sums to 1
--- out  loss    f32 []
--- from PyTorch's CrossEntropyLoss; smoothing spreads over all classes, the right one too
local base = require "foodrt.train.loss.base"

local function soft(self, lp, target, n, classes, w)
  local e = self.smoothing
  local t = e > 0 and target * (1 - e) + e / classes or target
  if not w then return -(t * lp):sum(2), nil, n end
  return -(t * w * lp):sum(2), (target * w):sum(2)
end

local function rows(self, logits, target)
  local is_hard, n, classes = base.hard(self, logits, target)
  local e, known = self.smoothing
  local lp = logits:log_softmax(2)
  local w = self.weight and base.class_row(self, "weight", classes, logits)
  if not is_hard then return soft(self, lp, target, n, classes, w) end
  target, known = base.known(target, logits)
  local each = -base.picked(lp, target, n)
  local weights = w and base.picked(w:expand { n, classes }, target, n)
  if w then each = each * weights end
  if e > 0 then
    local spread = w and -(lp * w):sum(2) or -lp:sum(2)
    each = each * (1 - e) + spread * (e / classes)
  end
  if not known then return each, weights, n end
  return each * known, weights and weights * known or known
end

return base.define({ "cross_entropy", smoothing = { "number", 0, min = 0, max = 1 }, weight = { "table|tensor", nil },
  reduction = base.REDUCTION }, {
  rows = rows, by_class = "weight",
  check = function(self) base.check_row("cross_entropy", "weight", self.weight) end,
  describe = function(self)
    local parts = {}
    if self.smoothing > 0 then parts[#parts + 1] = ("smoothing %g"):format(self.smoothing) end
    if self.weight then parts[#parts + 1] = "class weights" end
    return "cross_entropy" .. (#parts > 0 and " (" .. table.concat(parts, ", ") .. ")" or "")
  end,
})
