--- frt.loss.bce: a yes-or-no question per class.
---   loss.bce {}    loss.bce { smoothing = 0.1 }
---
---     l[n,k] = softplus(x[n,k]) - x[n,k] t[n,k],   mean over the labels that are known
---
--- in   logits  f32 [N, K]
---      target  f32 [N, K] of 0 and 1 (below 0 or NaN: not known), or i32 [N] from 1 (one class is right; 0: missing)
--- out  loss    f32 []
--- from PyTorch's BCEWithLogitsLoss; smoothing goes towards 1/2: t (1 - e) + e/2
local base = require "foodrt.train.loss.base"
local T = require "foodrt.tensor"

local function smooth(self, t)
  if self.smoothing > 0 then t = t * (1 - self.smoothing) + self.smoothing / 2 end
  if self.threshold then t = t:gt(self.threshold) end
  return t
end

local function rows(self, logits, target)
  local is_hard, n = base.hard(self, logits, target)
  if is_hard then
    local labels, known = base.known(target, logits)
    local t = labels:one_hot { classes = logits.shape[2] }
    if t.dtype ~= logits.dtype then t = t:to(logits.dtype) end
    t = smooth(self, t)
    local each = (logits:softplus() - logits * t):mean(2)
    return known and each * known or each, known, n
  end
  if target.dtype ~= logits.dtype then target = target:to(logits.dtype) end
  local known = target:ge(0)
  local t = smooth(self, T.api.where(known, target, 0))
  return ((logits:softplus() - logits * t) * known):mean(2), known:mean(2)
end

return base.define({ "bce", smoothing = { "number", 0, min = 0, max = 1 },
  threshold = { "number", nil, "targets above it are 1, the rest 0" }, reduction = base.REDUCTION }, {
  rows = rows,
  describe = function(self)
    return "bce" .. (self.smoothing > 0 and (" (smoothing %g)"):format(self.smoothing) or "")
  end,
})
