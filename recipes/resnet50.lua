-- ResNet-50 on Food-101, everything fine-tuned at once: SGD with Nesterov momentum, a cosine, crops and flips, no more.
-- The settings are those of the study that compared ImageNet models on Food-101 and eleven other sets: 20,000 steps of 256
-- photos, rate and decay chosen on the validation split (Kornblith, Shlens and Le 2019, arXiv:1805.08974, fine-tuning). They
-- tried rates from 1e-4 to 0.1; here it is 0.01. Left out: their batch norms average over more steps. 256 photos are 8 batches
-- of 32, so that they fit a laptop.
-- On 2 cores the whole of it takes weeks: -o phases.all.epochs=4 is a first answer.
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

return {
  name  = "resnet50",
  seed  = 1,
  model = frt.models.resnet50 { classes = "classes", pretrained = "auto" },
  loss  = frt.loss.cross_entropy {},
  data  = frt.data.folder { "data", size = 224, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.08, 1 }, interpolation = "bicubic" }, augment.flip {} } },
  phases = {
    phase { "all", steps = 20000, optim = frt.optim.sgd { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 1e-4 },
            sched = frt.sched.cosine {} },
  },
  accumulate = 8,
  metrics = { "top1", "top5", "f1" },
  sample  = { ["data.size"] = 64, ["data.batch"] = 16, ["accumulate"] = 1, ["phases.all.epochs"] = 6,
    ["phases.all.optim.lr"] = 0.02 },
}
