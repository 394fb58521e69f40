-- EfficientNet-B0 on Food-101, fine-tuned as its authors do: they take the settings of Kornblith, Shlens and Le 2019
-- (Tan and Le 2019, arXiv:1905.11946, section 5.2): those of resnet50.lua.
-- The bigger ones see bigger photos: change the line below to efficientnet_b4 and the size to 380.
local recipe = require "resnet50"
recipe.name = "efficientnet_b0"
recipe.model = require("foodrt").models.efficientnet_b0 { classes = "classes", pretrained = "auto", drop_rate = 0.2,
  zero_init_last = true }
return recipe
