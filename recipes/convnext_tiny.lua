-- ConvNeXt-T on Food-101, fine-tuned as its authors fine-tune on ImageNet: AdamW at 5e-5 for 512 photos, decay 1e-8, a cosine
-- without warm-up, 30 epochs, label smoothing, rates that shrink by 0.8 from each group of three blocks to the one before it (Liu
-- et al. 2022, arXiv:2201.03545, appendix A; TRAINING.md of its repository, whose rates by group are for S to XL).
-- Left out: RandAugment, random erasing (0.25), a classifier that starts at a thousandth of its usual weights. The rate of
-- drop_path is that of their training of T on ImageNet. 512 photos are 16 batches of 32.
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

local function rate(groups_before_the_head) return 5e-5 * 0.8 ^ groups_before_the_head end

return {
  name  = "convnext_tiny",
  seed  = 1,
  model = frt.models.convnext_tiny { classes = "classes", pretrained = "auto", drop_path_rate = 0.1 },
  loss  = frt.loss.cross_entropy { smoothing = 0.1 },
  data  = frt.data.folder { "data", size = 224, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.08, 1 }, interpolation = "bicubic" }, augment.flip {} } },
  phases = {
    phase { "all", epochs = 30, sched = frt.sched.cosine { eta_min = 0.02 },
      optim = frt.optim.adamw { weight_decay = 1e-8, lr = { head = rate(0), ["stages.3"] = rate(1),
        ["stages.2.blocks.[678]"] = rate(2), ["stages.2.blocks.[345]"] = rate(3), ["stages.2"] = rate(4),
        ["stages.1"] = rate(5), ["stages.0"] = rate(6), stem = rate(7) } } },
  },
  accumulate = 16,
  metrics = { "top1", "top5", "f1" },
  sample  = { ["data.size"] = 64, ["data.batch"] = 16, ["accumulate"] = 1, ["phases.all.epochs"] = 6, ["phases.all.optim.lr"] = 1e-3 },
}
