-- EfficientNet-B4 with a multi-scale neck on Food-101: maps of three stages (1/8, 1/16 and 1/32 of the photo) are projected to
-- 256 channels each, brought to one size and fused, so that small ingredients count beside the shape of the dish; then means and
-- maxima side by side, focal loss, first the new parts, then everything.
-- The neck is a feature pyramid without its top-down order (Lin et al. 2017, arXiv:1612.03144); the rest as effnet_b4_focal.lua.
local frt = require "foodrt"
local nn, augment, phase = frt.nn, frt.augment, frt.phase
local adamw = frt.optim.adamw

local model = nn.Module {
  backbone = frt.models.efficientnet_b4 { pretrained = "auto", features = { 3, 4, 5 }, zero_init_last = true },
  neck     = nn.MultiScaleNeck { 256 },
  pool     = nn.MultiScalePool {},
  drop     = nn.Dropout { 0.4 },
  fc       = nn.Linear { "classes" },

  forward = function(self, x)                  -- x [N, 3, S, S] -> logits [N, classes]
    local maps = self.backbone(x)              -- [N, 56, S/8, S/8], [N, 160, S/16, S/16], [N, 448, S/32, S/32]
    return self.fc(self.drop(self.pool(self.neck(maps))))
  end,
}

return {
  name  = "multiscale_b4",
  seed  = 17,
  model = model,
  loss  = frt.loss.focal { gamma = 2, alpha = 1 },
  data  = frt.data.folder { "data", size = 380, batch = 32,
    train = { augment.random_resized_crop { scale = { 0.8, 1 } }, augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } } },
  phases = {
    phase { "new", epochs = 3,  freeze = "backbone", optim = adamw { lr = 1e-3 } },
    phase { "all", epochs = 20, optim = adamw { lr = { backbone = 1e-5, neck = 1e-4, fc = 1e-3 }, weight_decay = 1e-4 },
            sched = frt.sched.one_cycle { pct_start = 0.3, div_factor = 10, final_div_factor = 100 } },
  },
  metrics = { "top1", "top5", "f1" },
  sample  = { ["data.size"] = 64, ["data.batch"] = 16, ["model.drop.p"] = 0.1,
    ["phases.new.epochs"] = 1, ["phases.new.bn"] = "train", ["phases.new.optim.lr"] = 1e-4,
    ["phases.all.epochs"] = 12, ["phases.all.optim.lr"] = { backbone = 4e-3, neck = 1e-3, fc = 5e-4 } },
}
