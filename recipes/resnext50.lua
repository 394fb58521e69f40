-- ResNeXt-50 32x4d on Food-101, fine-tuned as resnet50.lua: the same depth and cost with 32 groups in the 3x3 convolutions
-- (Xie et al. 2016, arXiv:1611.05431). Their paper fine-tunes for detection only, so the settings are those of resnet50.lua.
-- The big ones: -o is not enough, change the line below to resnext101_32x4d, 64x4d or 32x8d.
local recipe = require "resnet50"
recipe.name = "resnext50"
recipe.model = require("foodrt").models.resnext50_32x4d { classes = "classes", pretrained = "auto" }
return recipe
