-- EfficientNet-Lite0's head on features that are computed once, in two views; then everything for a few steps.
local frt, common = require "foodrt", require "common"
local phase = frt.phase
return {
  name = "cache", seed = 6, on = common.on(), data = common.data(64),
  model = frt.models.efficientnet_lite0 { classes = "classes", drop_rate = 0.2 },
  loss = frt.loss.cross_entropy {},
  phases = {
    phase { "head", epochs = 4, freeze = "*", unfreeze = "classifier", cache = true, views = 2, optim = frt.optim.adamw { lr = 3e-3 } },
    phase { "all", steps = 2, optim = frt.optim.sgd { lr = 0.01 } },
  },
}
