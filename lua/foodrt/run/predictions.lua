--- predictions: what a model says of every photo of a split, kept in the photos' order: by task logits and labels, and paths.
---   local p = predictions.of(model, data, "test", tasks)
---   print(p.n, p.paths[1], p.classes[p:best(1)], p:probabilities(1)[0])       -- the first task's
---   p:write "predictions.csv"
local T = require "foodrt.tensor"
local lib = require "foodrt.core.ffi"
local losses, task = require "foodrt.train.loss", require "foodrt.train.task"
local evaluate = require "foodrt.train.evaluate"
local ffi, C, array = lib.ffi, lib.C, require("foodrt.core.buffer").new

local predictions = {}

local Rows = {}  -- of one task
Rows.__index = Rows
local Set = {}   -- of all; what it lacks is the first task's
Set.__index = function(self, key)
  local found = Set[key]
  if found == nil then found = self.rows[1][key] end
  return found
end

local LEAST = 1e-38  -- a probability whose logarithm is still a number

-- --- one task -----------------------------------------------------------------------------------------------------
-- scores[(i - 1) * k + c - 1] is photo i's logit of class c; labels[i - 1] is from 1 (0: none); first[i - 1] the class with the
-- highest logit. Without scores only that is kept.
local function new_rows(t, n, with_scores, ctype)
  local k = #t.classes
  return setmetatable({ task = t, n = 0, k = k, classes = t.classes,
    scores = with_scores and array(ctype or "float", math.max(n * k, 1)) or nil,
    labels = array("int32_t", math.max(n, 1)), first = array("int32_t", math.max(n, 1)) }, Rows)
end

local function best_of(row, k)
  local best, most = 1, -math.huge
  for c = 1, k do
    local v = row[c - 1]
    if v > most then best, most = c, v end
  end
  return best
end

-- a batch's rows are added
local function take(self, batch, logits, y)
  local n, k = batch.n, self.k
  if logits.dtype ~= "f32" then
    logits = logits:to "f32"
    T.api.realize(logits)
  end
  local buffer, labels = array("float", n * k), array("int32_t", n)
  lib.check(C.frt_read(logits.ref, buffer, n * k * 4))
  if y then lib.check(C.frt_read(y.ref, labels, n * 4)) end
  for i = 0, n - 1 do
    self.labels[self.n + i], self.first[self.n + i] = labels[i], best_of(buffer + i * k, k)
  end
  if self.scores then
    local to = self.scores + self.n * k
    for i = 0, n * k - 1 do to[i] = buffer[i] end
  end
  self.n = self.n + n
end

--- probabilities of photo i's classes as a C array from 0, summing to 1.
function Rows:probabilities(i)
  local k, row, sum, most = self.k, ffi.new("double[?]", self.k), 0, -math.huge
  local at = (i - 1) * k
  for c = 0, k - 1 do most = math.max(most, self.scores[at + c]) end
  for c = 0, k - 1 do
    row[c] = math.exp(self.scores[at + c] - most)
    sum = sum + row[c]
  end
  for c = 0, k - 1 do row[c] = row[c] / sum end
  return row
end

--- the class of photo i with the highest logit; of equal ones the first.
function Rows:best(i)
  return self.first[i - 1]
end

--- the most probable classes of photo i: { { class, p }, … }, n of them; of equal ones the first.
function Rows:top(i, n)
  local order, p = {}, self:probabilities(i)
  for c = 1, self.k do order[c] = c end
  table.sort(order, function(a, b)
    if p[a - 1] ~= p[b - 1] then return p[a - 1] > p[b - 1] end
    return a < b
  end)
  local out = {}
  for r = 1, math.min(n, self.k) do out[r] = { class = self.classes[order[r]], p = p[order[r] - 1] } end
  return out
end

--- pairs of classes by how often one was taken for the other: { { label, predicted, n }, … }, the most frequent `most` of them.
function Rows:confused(most)
  local count, list = {}, {}
  for i = 0, self.n - 1 do
    local label, first = self.labels[i], self.first[i]
    if label > 0 and label ~= first then
      local key = label * (self.k + 1) + first
      if not count[key] then
        count[key] = { label = self.classes[label], predicted = self.classes[first], n = 0 }
        list[#list + 1] = count[key]
      end
      count[key].n = count[key].n + 1
    end
  end
  table.sort(list, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return a.label .. "\0" .. a.predicted < b.label .. "\0" .. b.predicted
  end)
  for i = most + 1, #list do list[i] = nil end
  return list
end

-- --- all tasks ----------------------------------------------------------------------------------------------------
--- predictions that hold `n` photos at most.
--- in   tasks        bound tasks (train/task.lua)
---      with_scores  whether every class's logit is kept; ctype: as what, float when left out
function predictions.new(tasks, n, with_scores, ctype)
  local self = setmetatable({ n = 0, paths = {}, bad = {}, rows = {} }, Set)
  for i, t in ipairs(tasks) do self.rows[i] = new_rows(t, n, with_scores, ctype) end
  return self
end

local function add(self, batch, logits)
  for i, rows in ipairs(self.rows) do take(rows, batch, logits[i], batch.labels and batch.labels[rows.task.label]) end
  for i = 1, batch.n do self.paths[self.n + i] = batch.paths[i] end
  self.n = self.n + batch.n
end

--- a model's predictions for a split, its values and its measures as evaluate.run gives them (the photos that can't be read
--- are in `bad`); nil when a signal came.
--- in   tasks  bound tasks (train/task.lua), with the losses that are to be measured
---      o      options of evaluate.run; scores = false: only the first class of each photo is kept; sheet: takes the rows as
---             they come, and then no scores are kept either
function predictions.of(model, data, split, tasks, o)
  data:open { splits = { split } }
  local options, given = {}, o or {}
  for key, v in pairs(given) do
    if key ~= "scores" and key ~= "sheet" then options[key] = v end
  end
  local self = predictions.new(tasks, data:count(split), given.scores ~= false and not given.sheet)
  options.objective = require("foodrt.train.objective").new { model = model, tasks = tasks }
  options.per_class = true
  options.on_logits = function(batch, logits)
    add(self, batch, logits)
    if given.sheet then given.sheet:batch(batch, logits) end
  end
  options.on_bad = function(b) self.bad[#self.bad + 1] = { path = b.path, why = b.why } end
  local values, m = evaluate.run(model, data, split, options)
  if not values then return nil end
  return self, values, m
end

--- a model's predictions for one photo of whatever class; an error that names the file when it can't be read.
function predictions.one(model, data, tasks, path)
  local x = data:preprocess(path)
  local heads, logits = model(x), {}
  for i, t in ipairs(tasks) do logits[i] = task.logits(t, model, heads, 1) end
  T.api.realize(logits)
  local self = predictions.new(tasks, 1, true)
  add(self, { n = 1, paths = { path } }, logits)
  C.frt_var_free(x.ref)
  return self
end

local CHUNK = 256

-- rows [from, from + n) of a task as tensors
local function tensors(rows, from, n)
  local k = rows.k
  local copy = array("float", n * k)
  for i = 0, n * k - 1 do copy[i] = rows.scores[from * k + i] end
  return T.var { shape = { n, k }, data = copy }, T.var { shape = { n }, dtype = "i32", data = rows.labels + from }
end

--- the measures of these predictions: values, measures. The tasks' losses count where they have one.
function Set:measure()
  local tasks = {}
  for i, rows in ipairs(self.rows) do tasks[i] = rows.task end
  local measures = evaluate.measures(tasks, { per_class = true })
  for from = 0, self.n - 1, CHUNK do
    local n = math.min(CHUNK, self.n - from)
    local out, batch = { logits = {}, parts = {} }, { n = n, labels = {} }
    for i, rows in ipairs(self.rows) do
      local x, y = tensors(rows, from, n)
      out.logits[i], batch.labels[tasks[i].label] = x, y
      if tasks[i].loss then out.parts[i] = losses.part(tasks[i].loss, x, y, batch) end
    end
    measures:record(out, batch)
    T.api.realize()
  end
  T.collect()
  local values = measures:values()
  values.photos = self.n
  return values, measures
end

-- --- several models -----------------------------------------------------------------------------------------------
-- photos may be listed in another order (a folder's follows the classes) and more than once
local function rows_by_photo(p)
  local rows, seen = {}, {}
  for i, path in ipairs(p.paths) do
    seen[path] = (seen[path] or 0) + 1
    rows[path .. "\0" .. seen[path]] = i
  end
  return rows
end

-- where rows have the classes of `classes`: column (from 0) by class number
local function columns(rows, classes)
  local at, map = {}, {}
  for c, name in ipairs(rows.classes) do at[name] = c - 1 end
  for c, name in ipairs(classes) do map[c] = at[name] end
  return map
end

-- photo `row` of one model's rows becomes the next of `to`, its classes in `to`'s order
local function move(from, row, to, map, label)
  for c = 1, to.k do to.scores[to.n * to.k + c - 1] = from.scores[(row - 1) * from.k + map[c]] end
  to.labels[to.n], to.first[to.n] = label, best_of(to.scores + to.n * to.k, to.k)
  to.n = to.n + 1
end

-- whether all have the same photos and classes in the same order, as members of one recipe do
local function aligned(list)
  local first = list[1]
  for i = 2, #list do
    local p = list[i]
    if p.n ~= first.n then return false end
    for t, r in ipairs(first.rows) do
      for c, name in ipairs(r.classes) do
        if p.rows[t].classes[c] ~= name then return false end
      end
      for k = 0, first.n - 1 do
        if p.rows[t].labels[k] ~= r.labels[k] then return false end
      end
    end
    for k, path in ipairs(first.paths) do
      if p.paths[k] ~= path then return false end
    end
  end
  return true
end

--- the same predictions, photo by photo and class by class in the order of the first one, of photos that all of them have.
function predictions.matched(list)
  if aligned(list) then  -- nothing to move, no second copy of all scores
    for _, p in ipairs(list) do
      for t, r in ipairs(p.rows) do r.task = list[1].rows[t].task end
    end
    return list
  end
  local first, rows, out, tasks = list[1], {}, {}, {}
  for t, r in ipairs(first.rows) do tasks[t] = r.task end
  for i, p in ipairs(list) do rows[i], out[i] = rows_by_photo(p), predictions.new(tasks, first.n, true) end
  local maps = {}
  for i, p in ipairs(list) do
    maps[i] = {}
    for t, r in ipairs(p.rows) do maps[i][t] = columns(r, first.rows[t].classes) end
  end
  local seen = {}
  for row, path in ipairs(first.paths) do
    seen[path] = (seen[path] or 0) + 1
    local key, all = path .. "\0" .. seen[path], true
    for i = 1, #list do all = all and rows[i][key] ~= nil end
    for i, p in ipairs(all and list or {}) do
      for t, to in ipairs(out[i].rows) do move(p.rows[t], rows[i][key], to, maps[i][t], first.rows[t].labels[row - 1]) end
      out[i].n = out[i].n + 1
      out[i].paths[out[i].n] = path
    end
  end
  return out
end

-- the mean of one photo's rows in a task
local function mean_row(list, t, i, weights, total, of, to)
  local k, at = to.k, (i - 1) * to.k
  for m, p in ipairs(list) do
    local rows, w = p.rows[t], weights[m] / total
    local row, offset = rows.scores, at
    if of == "probs" then row, offset = rows:probabilities(i), 0 end
    for c = 0, k - 1 do to.scores[at + c] = to.scores[at + c] + w * row[offset + c] end
  end
  if of == "probs" then
    for c = at, at + k - 1 do to.scores[c] = math.log(math.max(to.scores[c], LEAST)) end
  end
  to.labels[i - 1], to.first[i - 1] = list[1].rows[t].labels[i - 1], best_of(to.scores + at, k)
  to.n = i
end

--- the mean of matched predictions.
--- in   weights  one number each
---      of       "probs": of probabilities (the logits are their logarithms); "logits": of logits
function predictions.mean(list, weights, of)
  local first, total, tasks = list[1], 0, {}
  for t, r in ipairs(first.rows) do tasks[t] = r.task end
  local out = predictions.new(tasks, first.n, true, "double")
  for _, w in ipairs(weights) do total = total + w end
  for i = 1, first.n do
    for t, to in ipairs(out.rows) do mean_row(list, t, i, weights, total, of, to) end
    out.paths[i] = first.paths[i]
  end
  out.n = first.n
  return out
end

-- --- a file -------------------------------------------------------------------------------------------------------
local function field(text)
  return text:find '[",\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

local Sheet = {}
Sheet.__index = Sheet

--- a CSV file of predictions that is written row by row: file, then for each task true, predicted, and the probability of each
--- class (of several tasks "TASK.true" and so on). `true` is empty where the photo has no label. close() puts it in place,
--- drop() leaves what was there.
function predictions.sheet(path, tasks)
  local self = setmetatable({ writer = require("foodrt.core.io").writer(path), tasks = tasks, room = 0 }, Sheet)
  local head = { "file" }
  for _, t in ipairs(tasks) do
    head[#head + 1], head[#head + 2] = field(t.prefix .. "true"), field(t.prefix .. "predicted")
    for _, name in ipairs(t.classes) do head[#head + 1] = field(t.prefix .. name) end
  end
  self.writer:put(table.concat(head, ",") .. "\n")
  return self
end

-- photo i of predictions
function Sheet:row(p, i)
  local row = { field(p.paths[i]) }
  for _, rows in ipairs(p.rows) do
    local share, label = rows:probabilities(i), rows.labels[i - 1]
    row[#row + 1] = label > 0 and field(rows.classes[label]) or ""
    row[#row + 1] = field(rows.classes[rows:best(i)])
    for c = 1, rows.k do row[#row + 1] = ("%.9g"):format(share[c - 1]) end
  end
  self.writer:put(table.concat(row, ",") .. "\n")
end

-- a batch as it comes from the model
function Sheet:batch(batch, logits)
  if batch.n > self.room then self.chunk, self.room = predictions.new(self.tasks, batch.n, true), batch.n end
  local chunk = self.chunk
  chunk.n = 0
  for _, rows in ipairs(chunk.rows) do rows.n = 0 end
  add(chunk, batch, logits)
  for i = 1, batch.n do self:row(chunk, i) end
end

function Sheet:close() self.writer:close() end
function Sheet:drop() self.writer:drop() end

--- writes them as a CSV file (predictions.sheet).
function Set:write(path)
  local tasks = {}
  for i, rows in ipairs(self.rows) do tasks[i] = rows.task end
  local sheet = predictions.sheet(path, tasks)
  local ok, why = require("foodrt.core.err").catch(function()
    for i = 1, self.n do sheet:row(self, i) end
  end)
  if not ok then
    sheet:drop()
    error(why, 0)
  end
  sheet:close()
end

return predictions
