--- run: what a run left behind, loaded again.
---   local model, recipe, state = frt.run.load "runs/effnet_b4_focal"
---   print(state.classes[1], model(recipe.data:preprocess "photo.jpg"):softmax(2))
local checkpoint, task, learners = require "foodrt.train.checkpoint", require "foodrt.train.task", require "foodrt.train.learners"
local run = {}

--- makes `data` look at photos as a checkpoint says, whatever the model or foodrt's defaults say today.
--- in   p  the checkpoint's preprocessing
function run.see_as(data, p)
  if not p then return end
  data.size, data.mean, data.std, data.fill = p.train_size or p.size, p.mean, p.std, p.fill
  data.eval = { size = p.train_size and p.size, crop_pct = p.crop_pct, mode = p.mode, interpolation = p.interpolation,
    shrink = p.shrink or false }
end

--- the model with its values (in evaluation mode), the recipe as it ran, and the checkpoint's state.
--- in   path  a run's folder (its best checkpoint, else the last) or a checkpoint file
--- out  model
---      recipe  its data looks at photos as the checkpoint says
---      state   classes, preprocessing, phase_name, epoch, best, … and path (see checkpoint.lua)
function run.load(path)
  local file = checkpoint.find(path)
  local c = checkpoint.load(file)
  local meta = c.meta
  local given = require("foodrt.core.args").rest(meta.overrides or {}, 1)
  given.files, given.sample = meta.files, meta.sample or false
  local r = require("foodrt.train.recipe").from_text(meta.recipe_path, meta.recipe_text,
    given)
  local model = r.model
  run.see_as(r.data, meta.preprocessing)
  local sizes = task.sizes(meta.columns)
  model:build { input = { 1, 3, r.data.size, r.data.size }, classes = sizes.classes, columns = sizes.columns, seed = r.seed,
    values = false }
  model:load_state_dict(checkpoint.weights(c), { from = file })
  learners.build(r, meta.columns, false)
  learners.load(r, c.losses, file)
  meta.path = file
  return model:eval(), r, meta
end

--- the newest run of a name; nil, message when there is none.
---   frt.run.newest "effnet_b4_focal"  -->  "runs/effnet_b4_focal-2"
function run.newest(name)
  local dir, why = require("foodrt.run.folder").newest(name)
  return dir, why
end

--- the tasks a run was trained with when this checkpoint was written, with the classes and metrics of each; without losses
--- where the recipe's own step computes them.
function run.tasks(r, state)
  local phase
  for _, p in ipairs(r.phases) do
    if p.name == state.phase_name then phase = p end
  end
  local decides, tasks = require("foodrt.train.monitor").of(r), task.bind(task.of(r, phase), state.columns, state.path)
  for i, t in ipairs(tasks) do
    t.metrics = decides:metrics(t, i)
    if r.step then t.loss = false end
  end
  return tasks
end

return run
