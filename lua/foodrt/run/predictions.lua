--- predictions: what a model says of every photo of a split, kept in the photos' order: logits, labels, paths.
---   local p = predictions.of(model, data, "test", { classes = data.classes })
---   print(p.n, p.paths[1], p.classes[p:best(1)], p:probabilities(1)[0])
---   p:write "predictions.csv"
local T = require "foodrt.tensor"
local lib = require "foodrt.core.ffi"
local ffi, C = lib.ffi, lib.C

local predictions = {}
local Predictions = {}
Predictions.__index = Predictions

local LEAST = 1e-38  -- a probability whose logarithm is still a number

--- predictions that hold `n` photos at most. scores[(i - 1) * k + c - 1] is photo i's logit of class c; labels[i - 1] is from 1.
function predictions.new(n, classes)
  local k = #classes
  return setmetatable({ n = 0, k = k, classes = classes, scores = ffi.new("double[?]", math.max(n * k, 1)),
    labels = ffi.new("int32_t[?]", math.max(n, 1)), paths = {}, bad = {} }, Predictions)
end

-- a batch's rows are added
local function take(self, batch, logits)
  local n, k = batch.n, self.k
  if logits.dtype ~= "f32" then
    logits = logits:to "f32"
    T.api.realize(logits)
  end
  local buffer, labels = ffi.new("float[?]", n * k), ffi.new("int32_t[?]", n)
  lib.check(C.frt_read(logits.ref, buffer, n * k * 4))
  if batch.y then lib.check(C.frt_read(batch.y.ref, labels, n * 4)) end
  for i = 0, n * k - 1 do self.scores[self.n * k + i] = buffer[i] end
  for i = 1, n do
    self.labels[self.n + i - 1] = labels[i - 1]
    self.paths[self.n + i] = batch.paths[i]
  end
  self.n = self.n + n
end

--- a model's predictions for a split, its values and its metrics as trainer.evaluate gives them (the photos that can't be read
--- are in `bad`); nil when a signal came. `o`: options of trainer.evaluate.
function predictions.of(model, data, split, o)
  data:open { splits = { split } }
  local self = predictions.new(data:count(split), data.classes)
  local options = { on_logits = function(batch, logits) take(self, batch, logits) end,
    on_bad = function(b) self.bad[#self.bad + 1] = { path = b.path, why = b.why } end }
  for key, v in pairs(o or {}) do options[key] = v end
  local values, m = require("foodrt.train.trainer").evaluate(model, data, split, options)
  if not values then return nil end
  return self, values, m
end

--- a model's predictions for one photo of whatever class; an error that names the file when it can't be read.
function predictions.one(model, data, classes, path)
  local x = data:preprocess(path)
  local y = model(x)
  require("foodrt.train.step").check_logits(model, y, 1, #classes)
  T.api.realize(y)
  local self = predictions.new(1, classes)
  take(self, { n = 1, paths = { path } }, y)
  C.frt_var_free(x.ref)
  return self
end

--- probabilities of photo i's classes as a C array from 0, summing to 1.
function Predictions:probabilities(i)
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
function Predictions:best(i)
  local best, most = 1, -math.huge
  for c = 1, self.k do
    local v = self.scores[(i - 1) * self.k + c - 1]
    if v > most then best, most = c, v end
  end
  return best
end

--- the most probable classes of photo i: { { class, p }, … }, n of them; of equal ones the first.
function Predictions:top(i, n)
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

local CHUNK = 256

local function loss_of(self, loss, from, n)
  local k = self.k
  local rows = ffi.new("float[?]", n * k)
  for i = 0, n * k - 1 do rows[i] = self.scores[from * k + i] end
  local x, y = T.wrap_data({ n, k }, "f32", rows), T.wrap_data({ n }, "i32", self.labels + from)
  local value = loss(x, y):item()
  C.frt_var_free(x.ref)
  C.frt_var_free(y.ref)
  return value
end

--- the measures of these predictions: values, metrics. `loss` is loss(logits, labels), or nil.
function Predictions:measure(names, loss)
  local m = require("foodrt.train.metrics").new(names)
  for from = 0, self.n - 1, CHUNK do
    local n = math.min(CHUNK, self.n - from)
    m:add(self.scores + from * self.k, self.labels + from, loss and loss_of(self, loss, from, n), { n = n, classes = self.k })
  end
  T.collect()
  return m:values(), m
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

-- where p has the classes of `classes`: column (from 0) by class number
local function columns(p, classes)
  local at, map = {}, {}
  for c, name in ipairs(p.classes) do at[name] = c - 1 end
  for c, name in ipairs(classes) do map[c] = at[name] end
  return map
end

--- the same predictions, photo by photo and class by class in the order of the first one, of photos that all of them have.
function predictions.matched(list)
  local first, rows, maps, out = list[1], {}, {}, {}
  for i, p in ipairs(list) do
    rows[i], maps[i] = rows_by_photo(p), columns(p, first.classes)
    out[i] = predictions.new(first.n, first.classes)
  end
  local seen = {}
  for row, path in ipairs(first.paths) do
    seen[path] = (seen[path] or 0) + 1
    local key, all = path .. "\0" .. seen[path], true
    for i = 1, #list do all = all and rows[i][key] ~= nil end
    for i, p in ipairs(all and list or {}) do
      local o, map = out[i], maps[i]
      for c = 1, first.k do o.scores[o.n * first.k + c - 1] = p.scores[(rows[i][key] - 1) * p.k + map[c]] end
      o.labels[o.n] = first.labels[row - 1]
      o.n = o.n + 1
      o.paths[o.n] = path
    end
  end
  return out
end

--- the mean of matched predictions.
--- in   weights  one number each
---      of       "probs": of probabilities (the logits are their logarithms); "logits": of logits
function predictions.mean(list, weights, of)
  local first, total = list[1], 0
  local out = predictions.new(first.n, first.classes)
  for _, w in ipairs(weights) do total = total + w end
  local k = first.k
  for i = 1, first.n do
    local at = (i - 1) * k
    for m, p in ipairs(list) do
      local row, offset, w = p.scores, at, weights[m] / total
      if of == "probs" then row, offset = p:probabilities(i), 0 end
      for c = 0, k - 1 do out.scores[at + c] = out.scores[at + c] + w * row[offset + c] end
    end
    if of == "probs" then
      for c = at, at + k - 1 do out.scores[c] = math.log(math.max(out.scores[c], LEAST)) end
    end
    out.labels[i - 1], out.paths[i] = first.labels[i - 1], first.paths[i]
  end
  out.n = first.n
  return out
end

-- --- a file -------------------------------------------------------------------------------------------------------
local function field(text)
  return text:find '[",\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

--- writes a CSV file: file, true, predicted, then the probability of each class. `true` is empty where the photo has no label.
function Predictions:write(path)
  local head = { "file", "true", "predicted" }
  for c, name in ipairs(self.classes) do head[3 + c] = field(name) end
  local lines = { table.concat(head, ",") }
  for i = 1, self.n do
    local p, label = self:probabilities(i), self.labels[i - 1]
    local row = { field(self.paths[i]), label > 0 and field(self.classes[label]) or "", field(self.classes[self:best(i)]) }
    for c = 1, self.k do row[3 + c] = ("%.9g"):format(p[c - 1]) end
    lines[i + 1] = table.concat(row, ",")
  end
  lines[#lines + 1] = ""
  require("foodrt.core.io").replace(path, table.concat(lines, "\n"))
end

return predictions
