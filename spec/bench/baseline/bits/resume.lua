-- MobileNetV2, ended in the midst of its second epoch and resumed: averages, accumulation, a checkpoint after every update.
local frt, common = require "foodrt", require "common"
return {
  name = "resume", seed = 7, on = common.on { averages = true, stop = 9 },
  data = common.data(48), ema = { decay = 0.9 }, accumulate = 2, save = { every = "0.001s" },
  model = frt.models.mobilenetv2_035 { classes = "classes" },
  loss = frt.loss.cross_entropy {},
  phases = { frt.phase { "all", epochs = 2, optim = frt.optim.adamw { lr = 2e-3 }, sched = frt.sched.one_cycle {} } },
}
