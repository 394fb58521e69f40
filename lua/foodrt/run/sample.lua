--- run.sample: the sample set, drawn where a recipe's data has no photos and nobody named another place.
local sample = {}

local function show(v)
  if type(v) == "table" then
    local mt = getmetatable(v)
    return mt and mt.__tostring and tostring(v) or "…"
  end
  return type(v) == "string" and v or type(v) == "function" and "…" or tostring(v)
end

--- a setting in words.
sample.shown = show

-- data/sample.lua of this tree.
local function generator()
  local path = require("foodrt.core.ffi").root .. "/share/foodrt/data/sample.lua"
  local chunk, why = loadfile(path)
  if not chunk then error("foodrt: the sample set can't be drawn: " .. why, 0) end
  return chunk "sample"
end

--- "data.size = 96, phases.all.epochs = 12" of the recipe's settings for the sample set.
function sample.settings(list)
  local parts = {}
  for i, o in ipairs(list) do parts[i] = ("%s = %s"):format(o[1], show(o[2])) end
  return table.concat(parts, ", ")
end

--- makes sure the set is in r.data.root, and says what is taken.
--- in   r         a recipe whose source.sample is there
---      progress  says the lines
function sample.ensure(r, progress)
  local set, root = generator(), r.data.root
  local settings = sample.settings(r.source.sample)
  progress:say("no photos in '%s/train': taking the sample set '%s' (%d drawn dishes)%s",
    require("foodrt.train.recipe").DEFAULT_ROOT, root, #set.classes(), settings ~= "" and " with " .. settings or "")
  if set.ready(root, set.default_seed) then return end
  local C = require("foodrt.core.ffi").C
  local began = C.frt_now()
  local drawn = set.draw { root = root, progress = function(done, total)
    progress:update { label = "drawing", done = done, total = total, seconds = C.frt_now() - began, fields = {} }
  end }
  progress:say("drew %d photos into '%s' in %.0f s", drawn, root, C.frt_now() - began)
end

return sample
