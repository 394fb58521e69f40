-- MobileNetV2 on Food-101: the smallest family, for phones and for a first result on two cores. Fine-tuned as in the study of
-- Kornblith, Shlens and Le 2019 (arXiv:1805.08974), which has MobileNetV2 in it: SGD with Nesterov momentum, 20,000 steps of 256
-- photos, a cosine, crops and flips (see resnet50.lua). They chose the rate between 1e-4 and 0.1; here it is 0.03.
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

return {
  name  = "mobilenetv2",
  seed  = 1,
  model = frt.models.mobilenetv2_100 { classes = "classes", pretrained = "auto", drop_rate = 0.2, zero_init_last = true },
  loss  = frt.loss.cross_entropy {},
  data  = frt.data.folder { "data", size = 224, batch = 64,
    train = { augment.random_resized_crop { scale = { 0.08, 1 }, interpolation = "bicubic" }, augment.flip {} } },
  phases = {
    phase { "all", steps = 20000, optim = frt.optim.sgd { lr = 0.03, momentum = 0.9, nesterov = true, weight_decay = 1e-4 },
            sched = frt.sched.cosine {} },
  },
  accumulate = 4,
  metrics = { "top1", "top5", "f1" },
  sample  = { ["data.size"] = 96, ["data.batch"] = 16, ["accumulate"] = 1, ["phases.all.epochs"] = 12,
    ["phases.all.optim.lr"] = 0.02 },
}
