-- A model of one's own (grouped convolutions, squeeze-excite, CBAM, two pools), a step of one's own that mixes photos.
local frt, common = require "foodrt", require "common"
local nn = frt.nn

local model = nn.Module {
  backbone = nn.Chain {
    nn.Conv2d { 16, 3, stride = 2, padding = 1, bias = false }, nn.BatchNorm2d {}, nn.SiLU {},
    nn.Conv2d { 32, 3, padding = 1, groups = 4, bias = false }, nn.GroupNorm { 8 }, nn.Hardswish {},
    nn.SqueezeExcite { rd_ratio = 0.25, act = "silu" },
    nn.Conv2d { 32, 5, padding = 2, groups = 32, bias = false }, nn.BatchNorm2d {}, nn.ReLU {},
    nn.MaxPool2d { 3, stride = 2, padding = 1 }, nn.CBAM { reduction = 8 }, nn.Conv2d { 64, 3, padding = 1 }, nn.GELU {},
  },
  pool = nn.MultiScalePool {}, drop = nn.Dropout { 0.3 }, fc = nn.Linear { "classes" },
  forward = function(self, x) return self.fc(self.drop(self.pool(self.backbone(x)))) end,
}

return {
  name = "own", seed = 5, on = common.on(), data = common.data(48), model = model, loss = frt.loss.cross_entropy {},
  step = function(run, batch)
    local logits = run.model(batch.x * 0.7 + batch.x:flip { 1 } * 0.3)
    local loss = run.recipe.loss(logits, batch.y) * 0.7 + run.recipe.loss(logits, batch.y:flip { 1 }) * 0.3
    return loss, logits
  end,
  phases = { frt.phase { "all", epochs = 1, optim = frt.optim.sgd { lr = 0.05, momentum = 0.9 } } },
}
