-- EfficientNet-B0: focal loss, first the head, then everything with one_cycle, gradients clipped, drop path.
local frt, common = require "foodrt", require "common"
local phase, adamw = frt.phase, frt.optim.adamw
return {
  name = "efficientnet", seed = 17, on = common.on(), data = common.data(64),
  model = frt.models.efficientnet_b0 { classes = "classes", drop_path_rate = 0.2, zero_init_last = true },
  loss = frt.loss.focal { gamma = 2, alpha = 1 },
  clip_norm = 1,
  phases = {
    phase { "head", steps = 3, freeze = "*", unfreeze = "classifier", bn = "train", optim = adamw { lr = 1e-3 } },
    phase { "all", steps = 6, optim = adamw { lr = { ["*"] = 1e-3, classifier = 5e-3 }, weight_decay = 0.05 },
            sched = frt.sched.one_cycle {} },
  },
}
