--- frt.loss.focal: cross entropy that turns away from what is already right.
---   loss.focal { gamma = 2, alpha = 1 }    loss.focal { gamma = 2, alpha = { 0.2, 0.5, 0.3 } }
---
---     l[n] = alpha[y] (1 - p[y])^gamma (-log p[y]),   p = softmax(logits); mean over photos, not over alpha: with gamma 0
---     and alpha per class it is not weighted cross entropy
---     soft targets and smoothing: sum over k of t[k] alpha[k] (1 - p[k])^gamma (-log p[k])
---
---     alpha per class: by position, a tensor, or by name: { pizza = 0.5, ["*"] = 0.25 }
---
--- in   logits  f32 [N, K]
---      target  i32 [N] from 1 (0: missing, of weight 0), or f32 [N, K]
--- out  loss    f32 []
--- from Lin et al. 2017 (arXiv:1708.02002), in its softmax form
local base = require "foodrt.train.loss.base"

local function focusing(self, lp)
  local gamma = self.gamma
  if gamma == 0 then return nil end  -- 0^0 has no gradient
  local away = 1 - lp:exp()
  if gamma == 1 then return away end
  if gamma == 2 then return away * away end
  if gamma < 1 then away = away:clamp { min = 1e-6 } end  -- the slope at 0 is infinite
  return away ^ gamma
end

local function rows(self, logits, target)
  local is_hard, n, classes = base.hard(self, logits, target)
  local e, known = self.smoothing, nil
  local lp = logits:log_softmax(2)
  local number = type(self.alpha) == "number"
  local alpha = not number and base.class_row(self, "alpha", classes, logits)
  if is_hard then target, known = base.known(target, logits) end
  if is_hard and e > 0 then
    target, is_hard = target:one_hot { classes = classes }, false
    if target.dtype ~= logits.dtype then target = target:to(logits.dtype) end
  end
  local each
  if is_hard then
    local lpy = base.picked(lp, target, n)
    local away = focusing(self, lpy)
    each = away and away * -lpy or -lpy
    if alpha then each = each * base.picked(alpha:expand { n, classes }, target, n) end
  else
    local t = e > 0 and target * (1 - e) + e / classes or target
    local away = focusing(self, lp)
    local terms = away and t * away * -lp or t * -lp
    if alpha then terms = terms * alpha end
    each = terms:sum(2)
  end
  if number and self.alpha ~= 1 then each = each * self.alpha end
  return known and each * known or each, known, n
end

return base.define({ "focal", gamma = { "number", 2, min = 0 }, alpha = { "number|table|tensor", 1, min = 0 },
  smoothing = { "number", 0, min = 0, max = 1 }, reduction = base.REDUCTION }, {
  rows = rows, by_class = "alpha",
  check = function(self)
    if type(self.alpha) ~= "number" then base.check_row("focal", "alpha", self.alpha) end
  end,
  describe = function(self)
    local alpha = type(self.alpha) == "number" and ("%g"):format(self.alpha) or "per class"
    return ("focal (gamma %g, alpha %s%s)"):format(self.gamma, alpha,
      self.smoothing > 0 and (", smoothing %g"):format(self.smoothing) or "")
  end,
})
