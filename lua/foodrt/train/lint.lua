--- lint: what a recipe says that is probably not meant, found without data and without computing.
---   for _, text in ipairs(lint.find(recipe, { steps = dry.phases(recipe), photos = photos })) do print(text) end
local text = require "foodrt.core.text"

local lint = {}

-- a model with preprocess inside `model`, its name and its path
local function known_model(model)
  for path, m in model:modules() do
    if rawget(m, "preprocess") then return m, path end
  end
end

-- whether it starts from weights of a file
local function has_weights(m, r)
  local plan = require("foodrt.models.pretrained").plan(m, r.source ~= nil and r.source.sample ~= nil)
  return plan ~= nil and not plan.random
end

local function sizes(r, _, add)
  local m = known_model(r.model)
  if not m or not has_weights(m, r) then return end
  local p, size = m.preprocess, r.data.size
  if size < 0.8 * p.size or size > 1.5 * p.test_size then
    add("%s was trained at %d px (tested at %d), here it sees %d px: -o data.size=%d", m.name, p.size, p.test_size, size, p.size)
  end
  for _, key in ipairs { "mean", "std" } do
    local own = r.data[key]
    if own and table.concat(own, " ") ~= table.concat(p[key], " ") then
      add("data.%s is not what the weights of %s were trained with (%s): leave it out to take the model's", key, m.name,
        table.concat(p[key], " "))
    end
  end
end

local function under(name, path)
  return path == "" or name == path or name:sub(1, #path + 1) == path .. "."
end

-- a frozen part with random weights learns nothing for as long as it is frozen; in evaluation mode its batch norms
-- have never seen a photo either, so that the head learns from a scale that is gone once everything is trained
local function random_frozen(r, what, add)
  local m, path = known_model(r.model)
  if not m or has_weights(m, r) then return end
  for _, step in ipairs(what.steps) do
    local trained = false
    for _, e in ipairs(step.rates) do trained = trained or under(e.name, path) end
    if not trained then
      add("phase '%s' freezes %s, which starts from random weights: %s. -o phases.%s.epochs=0 leaves it out", step.name,
        path ~= "" and "'" .. path .. "'" or m.name, step.phase.bn == "train" and "its head learns from random features"
        or "its head learns from random features through batch norms that have seen no photo", step.name)
    end
  end
end

local function top(name)
  return name:match "^[^%.]+"
end

-- parts that a later phase trains far more slowly than the one before
local function rate_drops(_, what, add)
  local before = {}
  for _, step in ipairs(what.steps) do
    local parts, now, last = {}, nil, nil
    for _, e in ipairs(step.rates) do
      local was = before[e.name]
      if was and e.lr * 10 <= was.lr then
        local part = "'" .. top(e.name) .. "'"
        if parts[#parts] ~= part then parts[#parts + 1] = part end
        now, last = now or e.lr, last or was
      end
    end
    if now then
      add("phase '%s' trains %s at %s, phase '%s' did at %s: lr = { %s = …, [\"*\"] = … } gives a part a rate of its own", step.name,
        text.some(parts, 3), text.rate(now), last.phase, text.rate(last.lr), parts[1]:sub(2, -2))
    end
    for _, e in ipairs(step.rates) do before[e.name] = { lr = e.lr, phase = step.name } end
  end
end

local function statistics(r, what, add)
  local has, known = false, known_model(r.model)
  for _, m in r.model:modules() do has = has or m.kind == "BatchNorm2d" end
  if not has then return end
  for _, step in ipairs(what.steps) do
    if step.phase.freeze and step.phase.bn == "train" and known and has_weights(known, r) then
      add("phase '%s': bn = \"train\" moves the batch-norm statistics of what it freezes", step.name)
    end
    local moving = false
    for _, s in ipairs(step.step) do moving = moving or s.op:find "batch_norm_train" ~= nil or s.op == "fused_bn_act_grad" end
    if moving and step.batch < 8 then
      add("phase '%s': batch norm sees %d photo%s at a time%s; from 8 on its statistics are steady", step.name, step.batch,
        step.batch == 1 and "" or "s", step.accumulate > 1 and " (accumulation does not change that)" or "")
    end
  end
end

local function schedules(_, what, add)
  for _, step in ipairs(what.steps) do
    local s, n = step.phase.sched, step.updates
    local w = s and s.warmup
    local steps = type(w) == "number" and (w >= 1 and w or w * n) or s and s.warmup_epochs and s.warmup_epochs * step.epoch
    if steps and n and steps >= n then
      add("phase '%s': the warm-up takes %d steps, the phase has %d", step.name, steps, n)
    end
    if s and s.total_steps and n and s.total_steps < n then
      add("phase '%s': the schedule ends after %d of %d steps", step.name, s.total_steps, n)
    end
  end
end

-- averages that keep much of the weights that training began with
local function averages(_, what, add)
  local n = 0
  for _, step in ipairs(what.steps) do
    n = step.ema and n + (step.updates or 0) or 0
    local left = n > 0 and not step.ema.warmup and step.ema.decay ^ (n - 1) or 0
    if left > 0.05 then
      add("phase '%s': ema %g without warm-up over %d steps: %.0f %% of the averages are still the first weights", step.name,
        step.ema.decay, n, left * 100)
    end
  end
end

local function photos(r, what, add)
  local p = what.photos
  if p.classes and p.classes < 6 then
    for _, name in ipairs(r.metrics) do
      if name == "top5" then add("top5 of %d classes says little%s", p.classes, p.classes <= 5 and ": it is always 1" or "") end
    end
  end
  if p.source == "assumed" then return end
  if p.classes == 1 then add("there is one class: every answer is right, and nothing is learnt") end
  for _, step in ipairs(what.steps) do
    local batches = math.max(1, math.floor(p.train / step.batch))
    if step.accumulate > batches then
      add("phase '%s': an update adds up %d batches, an epoch has %d: it takes %d photos", step.name, step.accumulate, batches,
        step.batch * batches)
    end
    if step.batch > p.train then
      add("phase '%s': a batch of %d, but there are %d training photos: one batch of %d", step.name, step.batch, p.train, p.train)
    end
  end
  if p.val == 0 then add("no val split: the best checkpoint can't be told from the last") end
  if p.test == 0 then add("no test split: the final numbers are of val, which chose the checkpoint") end
end

-- class weights by position, where "10" comes before "2"
local function order(r, _, add)
  local note = type(r.loss) == "table" and r.loss.order_note and r.data.classes and r.loss:order_note(r.data.classes)
  if note then add("loss: %s", note) end
end

local function reference(_, what, add)
  for _, step in ipairs(what.steps) do
    if step.step.n_reference > 0 then
      add("phase '%s': %d step%s by the slow reference", step.name, step.step.n_reference, step.step.n_reference == 1 and "" or "s")
    end
  end
end

-- frozen work that is done again in each epoch
local function repeated(_, what, add)
  for _, step in ipairs(what.steps) do
    local k, epochs = step.kept, step.updates and step.epoch and step.updates / step.epoch or 0
    local share = k and k.fill.flops / math.max(step.step.flops, 1) or 0
    if k and not step.phase.cache and share > 0.5 and epochs > (k.views or 4) then
      add("phase '%s': %.0f %% of its FLOPs go into what frozen parts make of photos: phases.%s.cache=true%s computes it once",
        step.name, math.min(share, 1) * 100, step.name, k.views and "" or (" with phases.%s.views=4"):format(step.name))
    end
  end
end

local CHECKS = { sizes, random_frozen, rate_drops, statistics, schedules, averages, photos, order, repeated, reference }

--- one sentence for each thing found, in a fixed order.
--- in   what  steps = dry.phases(r) with updates (per phase) and epoch (steps of one); photos = { source, classes,
---            train, val, test }
function lint.find(r, what)
  local found = {}
  local function add(fmt, ...) found[#found + 1] = fmt:format(...) end
  for _, check in ipairs(CHECKS) do check(r, what, add) end
  return found
end

return lint
