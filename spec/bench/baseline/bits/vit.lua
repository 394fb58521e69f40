-- ViT-Tiny with checkpoints: accumulation over batches, Adam, gradients clipped.
local frt, common = require "foodrt", require "common"
return {
  name = "vit", seed = 3, on = common.on(), data = common.data(64, 8), accumulate = 3, clip_norm = 1,
  model = frt.models.vit_tiny_patch16_224 { classes = "classes", img_size = 64, drop_path_rate = 0.1, checkpoint = true },
  loss = frt.loss.cross_entropy {},
  phases = { frt.phase { "all", steps = 5, optim = frt.optim.adam { lr = 1e-3, weight_decay = 1e-4 } } },
}
