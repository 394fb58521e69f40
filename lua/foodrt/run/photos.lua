--- run.photos: which photos a trained run is measured on: its own, or others that are given.
local photos = {}

local function kind(path)
  return (require("foodrt.core.io").kind(path))
end

--- data like `data`, but with the photos of where.file (a CSV file) or where.root (a folder).
function photos.moved(data, where)
  local spec = require("foodrt.data")[where.file and "MANIFEST" or "FOLDER"]
  local given = {}
  for key in pairs(spec) do
    if type(key) == "string" and key ~= "file" and key ~= "root" and key ~= "attributes" then given[key] = rawget(data, key) end
  end
  given[where.file and "file" or "root"] = where.file or where.root
  local moved = require("foodrt.data")[where.file and "manifest" or "folder"](given)
  moved.model_preprocess, moved.model_name = data.model_preprocess, data.model_name
  return moved
end

-- a folder that holds the class folders themselves is a split of its parent
local function is_split(path, classes)
  for _, class in ipairs(classes) do
    if kind(path .. "/" .. class) == "folder" then return true end
  end
  return false
end

--- the data to measure and the name of the split; the sample set is drawn where the run was trained on it.
--- in   r, state  as run.load gives them
---      given     a folder with SPLIT/CLASS/*, a folder of classes, a CSV file, or nil: the run's own photos
---      split     nil: test, else val
function photos.choose(r, state, given, split)
  local data = r.data
  if given then
    local path = #given > 1 and given:gsub("/+$", "") or given
    local what = kind(path)
    if not what then error(("foodrt: eval: no such folder or file: '%s'"):format(given), 0) end
    if what == "file" then
      data = photos.moved(data, { file = path })
    elseif not split and is_split(path, state.classes) then
      local parent, name = path:match "^(.*)/([^/]+)$"
      return photos.moved(data, { root = parent == "" and "/" or parent or "." }), name or path
    else
      data = photos.moved(data, { root = path })
    end
  elseif r.source.sample then
    require("foodrt.run.sample").ensure(r, require("foodrt.run.progress").new { out = io.stderr })
  end
  if not split and not data.file then
    for _, name in ipairs { "test", "val" } do
      if kind(data.root .. "/" .. name) == "folder" then return data, name end
    end
  end
  return data, split or "test"
end

return photos
