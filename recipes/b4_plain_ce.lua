-- effnet_b4_focal with cross entropy instead of focal loss: what does the focal loss give?
local recipe = require "effnet_b4_focal"
recipe.name, recipe.loss = "b4_plain_ce", require("foodrt").loss.cross_entropy {}
return recipe
