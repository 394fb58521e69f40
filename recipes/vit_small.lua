-- ViT-S/16 on Food-101, fine-tuned as its authors do: SGD with momentum 0.9, no decay, gradients clipped to norm 1, 500 steps of
-- warm-up, a cosine, 512 photos a step (Dosovitskiy et al. 2020, arXiv:2010.11929, appendix B.1; Steiner et al. 2021,
-- arXiv:2106.10270). They choose the rate among 0.001, 0.003, 0.01 and 0.03 and see 224 or 384 pixels. 512 photos are 16 batches
-- of 32. Left out: their new classifier starts from zeros, here as timm's does. More pixels: vit_small_patch16_384; the
-- position embedding of 224-pixel weights is resized to it.
-- A ViT needs its weights: from random ones it learns next to nothing of a small set, the sample set only shows that it runs.
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

return {
  name  = "vit_small",
  seed  = 1,
  model = frt.models.vit_small_patch16_224 { classes = "classes", pretrained = "auto" },
  loss  = frt.loss.cross_entropy {},
  data  = frt.data.folder { "data", batch = 32,     -- the size is the model's
    train = { augment.random_resized_crop { scale = { 0.08, 1 }, interpolation = "bicubic" }, augment.flip {} } },
  phases = {
    phase { "all", steps = 10000, optim = frt.optim.sgd { lr = 0.01, momentum = 0.9 }, sched = frt.sched.cosine { warmup = 500 } },
  },
  accumulate = 16,
  clip_norm  = 1,
  metrics    = { "top1", "top5", "f1" },
  sample     = { ["data.batch"] = 8, ["accumulate"] = 1, ["phases.all.steps"] = 30, ["phases.all.sched.warmup"] = 5 },
}
