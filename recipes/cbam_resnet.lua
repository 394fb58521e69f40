-- ResNet-50 with CBAM in every block on Food-101: which channels and which places of a map count (Woo et al. 2018,
-- arXiv:1807.06521, before the residual sum as there). Pretrained weights know nothing of the new layers, whose gates begin near a
-- half: so attention and classifier learn first while the rest stands still, then everything, as gently as resnet50.lua.
-- Its authors train from random weights: sgd { lr = 0.1, momentum = 0.9, weight_decay = 1e-4 }, a tenth after 30 and 60 of 90 epochs.
-- timm's maintainers warn that CBAM can cost accuracy on fine-grained sets: resnet50.lua is what to compare with.
local frt = require "foodrt"
local augment, phase, sgd = frt.augment, frt.phase, frt.optim.sgd

return {
  name  = "cbam_resnet",
  seed  = 1,
  model = frt.models.resnet50 { classes = "classes", pretrained = "auto", attention = frt.nn.CBAM { reduction = 16 } },
  loss  = frt.loss.cross_entropy {},
  data  = frt.data.folder { "data", size = 224, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.08, 1 }, interpolation = "bicubic" }, augment.flip {} } },
  phases = {
    phase { "attention", epochs = 2, freeze = "*", unfreeze = { "layer[1-4].*.se", "fc" }, optim = sgd { lr = 0.03, momentum = 0.9 } },
    phase { "all", steps = 20000, optim = sgd { lr = 0.01, momentum = 0.9, nesterov = true, weight_decay = 1e-4 },
            sched = frt.sched.cosine {} },
  },
  accumulate = 8,
  metrics = { "top1", "top5", "f1" },
  sample  = { ["data.size"] = 64, ["data.batch"] = 16, ["accumulate"] = 1, ["phases.attention.epochs"] = 0,
    ["phases.all.epochs"] = 8, ["phases.all.optim.lr"] = 0.02 },
}
