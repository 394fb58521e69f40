-- tiny: a small recipe with photos in a temporary folder, for specs of runs.
--   local dir = tiny.make()          -- dir/tiny.lua, dir/photos/{train,val,test}/{pizza,ramen,tacos}
--   local status, out, err = tiny.run(dir, { "tiny.lua", "--run", "a" })
local process, photos = require "spec.support.process", require "spec.support.photos"
local tiny = {}

tiny.RECIPE = [[
local frt = require "foodrt"
local nn, augment = frt.nn, frt.augment

local model = nn.Module {
  backbone = nn.Chain { nn.Conv2d { 8, 3, stride = 2, padding = 1 }, nn.BatchNorm2d {}, nn.ReLU {},
    nn.Conv2d { 16, 3, padding = 1 } },
  drop = nn.Dropout { 0.2 },
  fc = nn.Linear { "classes" },
  forward = function(self, x) return self.fc(self.drop(self.backbone(x):relu():avg_pool2d())) end,
}

return {
  name = "tiny",
  seed = 3,
  model = model,
  loss = frt.loss.focal { gamma = 2 },
  data = frt.data.folder { "photos", size = 16, batch = 8, train = { augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } } },
  phases = {
    frt.phase { "head", epochs = 2, freeze = "backbone", optim = frt.optim.adamw { lr = 1e-2 } },
    frt.phase { "all", epochs = 3, optim = frt.optim.adamw { lr = { backbone = 1e-3, fc = 1e-2 } },
      sched = frt.sched.one_cycle {} },
  },
}
]]

tiny.SPLITS = { train = { pizza = 20, ramen = 20, tacos = 20 }, val = { pizza = 4, ramen = 4, tacos = 3 },
  test = { pizza = 4, ramen = 4, tacos = 5 } }

--- a new folder with the recipe (changed by gsub pairs) and its photos
function tiny.make(changes, splits)
  local dir = process.temp_dir()
  process.write(dir .. "/tiny.lua", tiny.text(changes))
  photos.tree(dir .. "/photos", splits or tiny.SPLITS)
  return dir
end

--- the recipe's text with plain texts replaced: { { from, to }, … }
function tiny.text(changes)
  local text = tiny.RECIPE
  for _, c in ipairs(changes or {}) do
    local at, last = text:find(c[1], 1, true)
    assert(at, "the recipe has no '" .. c[1] .. "'")
    text = text:sub(1, at - 1) .. c[2] .. text:sub(last + 1)
  end
  return text
end

--- the recipe on the folder's photos, changed by plain texts and then by overrides { { key, value }, … }
function tiny.recipe(dir, changes, overrides)
  local list = { { "data.root", dir .. "/photos" } }
  for _, o in ipairs(overrides or {}) do list[#list + 1] = o end
  return require("foodrt.train.recipe").from_text("tiny.lua", tiny.text(changes), list)
end

--- runs foodrt in the folder: exit status, stdout, stderr
function tiny.run(dir, args, options)
  options = options or {}
  options.dir = dir
  options.env = options.env or {}
  options.env.OMP_NUM_THREADS = options.env.OMP_NUM_THREADS or "1"
  return process.foodrt(args, options)
end

--- the same, cut short: `signal` after `seconds`; exit status, stdout, stderr
function tiny.run_for(dir, args, signal, seconds)
  local line = ("%s & p=$!; sleep %.2f; kill -%s $p 2>/dev/null; wait $p"):format(process.command(args), seconds, signal)
  return process.shell(line, { dir = dir, env = { OMP_NUM_THREADS = "1" } })
end

--- hash of a checkpoint's tensors
function tiny.hash(path)
  return require("foodrt.core.io").hash(path)
end

--- the last line of a text
function tiny.last(text)
  return text:match "([^\n]*)\n?$"
end

return tiny
