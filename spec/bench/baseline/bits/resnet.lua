-- ResNet-18 without its last stage in bf16: SGD with Nesterov's momentum, label smoothing.
local frt, common = require "foodrt", require "common"
local nn = frt.nn

local model = nn.Module {
  backbone = frt.models.resnet18 { features = { 4 } }, fc = nn.Linear { "classes" },
  forward = function(self, x) return self.fc(self.backbone(x)[1]:avg_pool2d()) end,
}

return {
  name = "resnet", seed = 2, on = common.on(), data = common.data(64), precision = "bf16", model = model,
  loss = frt.loss.cross_entropy { smoothing = 0.1 },
  phases = { frt.phase { "all", steps = 6, optim = frt.optim.sgd { lr = 0.02, momentum = 0.9, nesterov = true, weight_decay = 1e-4 },
    sched = frt.sched.cosine { warmup = 2 } } },
}
