-- ConvNeXt-Atto: averages of the weights, rates by part, bf16.
local frt, common = require "foodrt", require "common"
return {
  name = "convnext", seed = 4, on = common.on { averages = true }, data = common.data(64), ema = 0.99, precision = "bf16",
  model = frt.models.convnext_atto { classes = "classes", drop_path_rate = 0.1 },
  loss = frt.loss.cross_entropy { smoothing = 0.1 },
  phases = { frt.phase { "all", steps = 6, optim = frt.optim.adamw { lr = { ["*"] = 1e-3, stem = 1e-4, head = 2e-3 } },
    sched = frt.sched.cosine {} } },
}
