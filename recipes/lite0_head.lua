-- EfficientNet-Lite0 with ImageNet weights, only the classifier trained, on features that are computed once: the
-- quickest look at photos of your own. Each training photo is seen in 4 views that come again (phase: views, cache),
-- so the 40 epochs cost about as much as 4. The weights are those of lite0_finetune.lua, which trains everything.
--   foodrt recipes/lite0_head.lua -o data.root=PHOTOS
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

return {
  name  = "lite0_head",
  seed  = 1,
  model = frt.models.tf_efficientnet_lite0 { classes = "classes", pretrained = "weights/efficientnet_lite0.pth", drop_rate = 0.2 },
  loss  = frt.loss.cross_entropy { smoothing = 0.1 },
  data  = frt.data.folder { "data", size = 224, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.35, 1 }, interpolation = "bicubic" }, augment.flip {} } },
  phases = {
    phase { "head", epochs = 40, freeze = "*", unfreeze = "classifier", cache = true, views = 4,
      optim = frt.optim.adamw { lr = 3e-3, weight_decay = 0.05 }, sched = frt.sched.cosine { warmup = 0.05 } },
  },
  metrics = { "top1", "top5", "f1" },
}
