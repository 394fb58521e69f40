-- photos.lua: the kit's photos, a few of each dish of the sample set, and batches of them as training reads them.
local frt = require "foodrt"
local photos = {}

--- draws them into `root` unless they are there.
--- in   draw  path of data/sample.lua
function photos.draw(root, draw)
  local sample = assert(loadfile(draw))("sample")
  if sample.ready(root, 1) then return end
  io.stderr:write("baseline: drawing photos into ", root, "\n")
  sample.draw { root = root, seed = 1, per_class = { train = 20, val = 2, test = 2 } }
end

--- the first training batch of `n` photos of `size` x `size`: { x, y, … }; its loader must live as long.
function photos.batch(root, size, n, classes)
  local data = frt.data.folder { root, size = size, batch = n, train = { frt.augment.random_resized_crop {} } }
  data:open()
  local loader = data:loader("train", { seed = 1, threads = 1, prefetch = 1 })
  local batch = loader:next()
  batch.loader = loader
  assert(#data.classes <= classes)
  return batch
end

return photos
