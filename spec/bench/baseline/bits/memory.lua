-- EfficientNet-Lite0 within a limit of memory: much is computed again.
local frt, common = require "foodrt", require "common"
return {
  name = "memory", seed = 8, on = common.on(), data = common.data(96), memory = "225M",
  model = frt.models.tf_efficientnet_lite0 { classes = "classes", drop_path_rate = 0.1 },
  loss = frt.loss.focal { gamma = 2 },
  phases = { frt.phase { "all", steps = 5, optim = frt.optim.adamw { lr = 1e-3 } } },
}
