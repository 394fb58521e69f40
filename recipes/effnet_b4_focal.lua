-- EfficientNet-B4 on Food-101: average and maximum pooling side by side, focal loss, head first, then everything.
local frt = require "foodrt"
local nn, augment, phase, loss = frt.nn, frt.augment, frt.phase, frt.loss
local adamw, one_cycle = frt.optim.adamw, frt.sched.one_cycle

local model = nn.Module {
  backbone = frt.models.efficientnet_b4 { pretrained = "auto", head = false, zero_init_last = true },
  drop     = nn.Dropout { 0.4 },
  fc       = nn.Linear { "classes" },          -- as many as the data has

  forward = function(self, x)                  -- x [N, 3, S, S] -> logits [N, classes]
    local map = self.backbone(x)
    local pooled = nn.cat { map:avg_pool2d(), map:max_pool2d() }
    return self.fc(self.drop(pooled))
  end,
}

return {
  name  = "effnet_b4_focal",
  seed  = 17,
  model = model,
  loss  = loss.focal { gamma = 2, alpha = 1 },
  data  = frt.data.folder { "data", size = 380, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.8, 1 } }, augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } } },
  phases = {
    phase { "head", epochs = 3,  freeze = "backbone", optim = adamw { lr = 1e-3 } },
    phase { "all",  epochs = 20, optim = adamw { lr = { backbone = 1e-5, fc = 1e-3 }, weight_decay = 1e-4 },
            sched = one_cycle { pct_start = 0.3, div_factor = 10, final_div_factor = 100 } },
  },
  metrics = { "top1", "top5", "f1" },
  -- the sample set is small and there are no weights to start from: small photos, a high rate, few epochs
  sample = {
    ["data.size"] = 64, ["data.batch"] = 16, ["model.drop.p"] = 0.1,
    ["phases.head.epochs"] = 1, ["phases.head.bn"] = "train", ["phases.head.optim.lr"] = 1e-4,
    ["phases.all.epochs"] = 15, ["phases.all.optim.lr"] = { backbone = 4e-3, fc = 5e-4 },
  },
}
