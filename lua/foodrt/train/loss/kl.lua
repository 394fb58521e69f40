--- frt.loss.kl: how far a student is from its teacher.
---   loss.kl { temperature = 4 }(student, teacher)
---
---     T^2 * sum over k of p[k] (log p[k] - log q[k]),   p = softmax(teacher/T), q = softmax(student/T); mean over photos
---
--- in   student, teacher  logits f32 [N, K]; no gradient goes to the teacher
--- out  loss              f32 []
--- from Hinton, Vinyals and Dean 2015 (arXiv:1503.02531)
local base = require "foodrt.train.loss.base"
local err = require "foodrt.core.err"

local function rows(self, student, teacher)
  local is_hard, n = base.hard(self, student, teacher)
  if is_hard then err.user "kl: the target must be the teacher's logits [N, K], got class numbers" end
  local t = self.temperature
  local lq = (student * (1 / t)):log_softmax(2)
  local lp = (teacher:detach() * (1 / t)):log_softmax(2)
  return (lp:exp() * (lp - lq)):sum(2) * (t * t), nil, n
end

return base.define({ "kl", temperature = { "number", 1, min = 1e-3 }, reduction = base.REDUCTION }, {
  rows = rows,
  describe = function(self) return ("kl (temperature %g)"):format(self.temperature) end,
})
