-- EfficientNet-Lite0 on small photos, everything trained from the start: the quickest look at new photos.
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

return {
  name  = "lite0_quick",
  seed  = 1,
  model = frt.models.efficientnet_lite0 { classes = "classes", pretrained = "auto", drop_rate = 0.2,
    zero_init_last = true },
  loss  = frt.loss.cross_entropy { smoothing = 0.1 },
  data  = frt.data.folder { "data", size = 128, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.5, 1 } }, augment.flip {} } },
  phases = {
    phase { "all", epochs = 15, optim = frt.optim.adamw { lr = 2e-3, weight_decay = 0.05 },
            sched = frt.sched.cosine { warmup = 0.1 } },
  },
  metrics = { "top1", "top5", "f1" },
  sample  = { ["data.size"] = 96, ["data.batch"] = 16, ["phases.all.optim.lr"] = 4e-3 },
}
