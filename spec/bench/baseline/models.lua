-- models.lua: the models whose plans plans.lua compares: every family, and two of layers that no family has.
--   name, size of the photos, make(checkpoint) -> a module; optim, loss where they are not AdamW and cross entropy
local frt = require "foodrt"
local nn, optim, loss = frt.nn, frt.optim, frt.loss

local CLASSES = 101
local list = {}

local function add(name, size, make, more)
  local one = more or {}
  one.name, one.size, one.make = name, size, make
  list[#list + 1] = one
end

-- a model of the catalogue
local function zoo(name, size, options, more)
  add(name, size, function(checkpoint)
    local o = { classes = CLASSES, checkpoint = checkpoint }
    for key, value in pairs(options) do o[key] = value end
    local model = frt.models[name](o)
    return model
  end, more)
end

zoo("efficientnet_b0", 224, {}, { loss = loss.focal { gamma = 2 } })
zoo("efficientnet_b4", 160, { drop_path_rate = 0.2 }, { clip = 1 })
zoo("tf_efficientnet_b0", 111, {})
zoo("efficientnet_lite0", 128, {}, { optim = optim.sgd { lr = 0.1, momentum = 0.9, nesterov = true } })
zoo("tf_efficientnet_lite0", 224, {}, { freeze = "classifier" })
zoo("mobilenetv2_100", 128, {}, { optim = optim.adam { lr = 1e-3, weight_decay = 1e-4 } })
zoo("mobilenetv2_035", 96, {})
zoo("resnet18", 224, {}, { optim = optim.sgd { lr = 0.1 } })
zoo("resnet50", 224, {}, { optim = optim.sgd { lr = 0.1, momentum = 0.9, weight_decay = 1e-4 } })
zoo("resnet152", 64, {})
zoo("resnext50_32x4d", 128, {}, { loss = loss.cross_entropy { smoothing = 0.1 } })
zoo("vit_tiny_patch16_224", 224, {})
zoo("vit_small_patch32_224", 96, { img_size = 96, drop_path_rate = 0.1 }, { clip = 1 })
zoo("vit_base_patch16_224", 224, {})
zoo("convnext_atto", 96, {})
zoo("convnext_tiny", 160, { drop_path_rate = 0.1 })

add("resnet18 with CBAM", 128, function(checkpoint)
  local model = frt.models.resnet18 { classes = CLASSES, checkpoint = checkpoint, attention = nn.CBAM { reduction = 16 } }
  return model
end)

add("efficientnet_b0 with a neck", 160, function(checkpoint)
  local model = nn.Module {
    backbone = frt.models.efficientnet_b0 { features = { 3, 4, 5 }, checkpoint = checkpoint },
    neck = nn.MultiScaleNeck { 64, to = "largest" }, pool = nn.MultiScalePool {}, drop = nn.Dropout { 0.4 },
    fc = nn.Linear { "classes" },
    forward = function(self, x) return self.fc(self.drop(self.pool(self.neck(self.backbone(x))))) end,
  }
  return model
end, { loss = loss.focal { gamma = 2, alpha = 1 } })

add("grouped convolutions", 64, function(checkpoint)
  local model = nn.Chain {
    nn.Conv2d { 24, 3, stride = 2, padding = 1, bias = false }, nn.BatchNorm2d {}, nn.Hardswish {},
    nn.Chain {
      nn.Conv2d { 48, 3, padding = 1, groups = 4, bias = false }, nn.GroupNorm { 8 }, nn.Mish {},
      nn.SqueezeExcite { form = "seed", rd_ratio = 0.25 },
      nn.Conv2d { 48, 5, padding = 2, groups = 48 }, nn.BatchNorm2d {}, nn.LeakyReLU { 0.1 },
      checkpoint = checkpoint,
    },
    nn.MaxPool2d { 3, stride = 2, padding = 1 },
    nn.Chain {
      nn.Conv2d { 64, { 1, 3 }, padding = { 0, 1 }, dilation = 1 }, nn.LayerNorm2d {}, nn.GELU { approximate = "tanh" },
      nn.Conv2d { 64, 3, padding = 2, dilation = 2 }, nn.ELU {}, nn.SpatialAttention { 7 }, nn.DropPath { 0.1 },
      checkpoint = checkpoint,
    },
    nn.AdaptiveAvgPool2d { { 4, 4 } }, nn.Flatten {}, nn.Dropout { 0.2 }, nn.Linear { 32 }, nn.Tanh {},
    nn.Linear { "classes" },
  }
  return model
end, { loss = loss.cross_entropy { smoothing = 0.1 } })

add("attention over pixels", 32, function(checkpoint)
  local model = nn.Module {
    stem = nn.Conv2d { 64, 4, stride = 4 }, attention = nn.MultiheadAttention { 4 }, norm = nn.LayerNorm {},
    mlp = nn.Chain { nn.Linear { 128 }, nn.GELU {}, nn.Linear { 64 }, checkpoint = checkpoint }, fc = nn.Linear { "classes" },
    forward = function(self, x)
      local map = self.stem(x)
      local n, c, h, w = unpack(map.shape)
      local t = map:reshape { n, c, h * w }:transpose(2, 3)
      t = t + self.attention(self.norm(t))
      t = t + self.mlp(self.norm(t))
      return self.fc(t:mean { 2 })
    end,
  }
  return model
end)

return { list = list, classes = CLASSES }
