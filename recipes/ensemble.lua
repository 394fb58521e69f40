-- Two small networks asked together: the mean of their probabilities, each looking at photos with its own size, crop and means.
-- A member is a run's folder, a checkpoint, or a recipe: then its newest run, and where it has none it is trained first.
--   foodrt recipes/ensemble.lua                                     trains what is missing, measures members and mean
--   foodrt predict --ensemble runs/lite0_quick runs/mobilenetv2 photo.jpg
-- weights = { 2, 1 } trusts the first one more; mean = "logits" lets a member that is very sure count for more.
local frt = require "foodrt"

return frt.ensemble { "lite0_quick.lua", "mobilenetv2.lua", mean = "probs" }
