--- trainer.features: what a frozen part of the model makes of the photos, computed once in a phase and kept in a
--- file under the run (runtime/io/features.c): phase { "head", freeze = "backbone", cache = true, … }. Where the
--- frozen part ends is found on the recorded graph (runtime/passes/cut.c), not named by anybody. A step is recorded
--- as ever; then the values at the cut are given their bytes, and what lies before them is never computed.
local lib, err = require "foodrt.core.ffi", require "foodrt.core.err"
local T, R, rng = require "foodrt.tensor", require "foodrt.tensor.record", require "foodrt.core.rng"
local line, text, modes = require "foodrt.core.line", require "foodrt.core.text", require "foodrt.train.modes"
local ffi, C, array = lib.ffi, lib.C, require("foodrt.core.buffer").new

local features = {}
local Split = {}   -- what is kept of one split
Split.__index = Split
local Kept = {}    -- of a phase
Kept.__index = Kept

-- --- what a phase asks for --------------------------------------------------------------------------------------
local SAME_EACH_TIME = { resize = true, center_crop = true }

local function is_random(data)
  for _, a in ipairs(data.train) do
    if not SAME_EACH_TIME[a.kind] then return true end
  end
  return false
end

--- in how many views a phase shows each training photo; nil: in a new one each epoch.
function features.views(p, data)
  return not is_random(data) and 1 or p.views
end

--- an error where a phase's views never come again.
function features.check(p, data)
  if p.cache and not features.views(p, data) then
    error(("%sphase '%s': cache = true needs views = K: the training photos are augmented anew in each epoch"):format(p.at,
      p.name), 0)
  end
end

-- --- the cut ------------------------------------------------------------------------------------------------------
local refs, room = ffi.new "frt_ref[8]", 8

-- Fills refs with what is there of the loss and of the tasks' logits.
local function given(loss, logits)
  local n = 0
  logits = logits or {}
  if #logits + 1 > room then
    room = #logits + 1
    refs = ffi.new("frt_ref[?]", room)
  end
  for _, t in ipairs { loss or logits[1], unpack(logits) } do
    refs[n] = t.ref
    n = n + 1
  end
  return n
end

--- what need not be computed again of a step that is recorded: { n, values (handles), bytes (each, of a photo), row
--- (bytes of a photo), flops (of the batch), where, stamp, structure, weights }; nil and the reason when nothing.
--- in   x      the photos
---      loss, logits  of the step: a tensor (or nil), and a list by task
function features.cut(x, with_weights, loss, logits)
  local out, n = ffi.new "frt_cut", given(loss, logits)
  if tonumber(C.frt_cut_find(n, refs, x.ref, with_weights and 1 or 0, out)) ~= 0 then
    return nil, ffi.string(C.frt_error_last())
  end
  local cut = { n = out.n, values = {}, bytes = {}, shapes = {}, dtypes = {}, row = 0, flops = out.flops, where = ffi.string(out.where),
    stamp = out.stamp, structure = out.structure, weights = out.weights, c = out }
  cut.values = R.wrap_all(out.value, out.n)
  for k = 1, out.n do
    cut.bytes[k] = tonumber(out.bytes[k - 1])
    cut.row, cut.dtypes[k] = cut.row + cut.bytes[k], cut.values[k].dtype
    cut.shapes[k] = ("[%s]"):format(table.concat(cut.values[k].shape, ", ", 2))
  end
  return cut
end

--- the error of a phase whose frozen part can't be kept.
function features.refuse(p, why)
  error(("%sphase '%s': cache = true: %s"):format(p.at, p.name, why), 0)
end

-- The values of a cut in another recording.
local function again(self, x, loss, logits)
  local c, n = self.cut.c, given(loss, logits)
  if tonumber(C.frt_cut_again(n, refs, x.ref, c)) ~= 0 then
    features.refuse(self.trainer.config, ffi.string(C.frt_error_last()))
  end
  local values = R.wrap_all(c.value, c.n)
  return values
end

--- FLOPs of computing what a phase keeps of its training photos.
--- in   step    the phase as dry.phase has it
---      n       training photos
---      length  { total, updates }: updates of the phase and of an epoch
function features.flops(step, n, length)
  local k = step.kept
  if not k or not k.used then return 0 end
  return k.fill.flops / step.batch * n * math.min(k.views, math.ceil(length.total / length.updates))
end

--- bytes of the file for n photos; of a row of `row` bytes in so many views.
function features.bytes(row, n, views)
  local s = ffi.new "frt_features_spec"
  s.n_photos, s.row_bytes, s.n_views = n, row, views
  return tonumber(C.frt_features_bytes(s))
end

-- --- one split ------------------------------------------------------------------------------------------------------
-- rows: photos of a recorded batch. Kernels may round differently for another number of them, never for another
-- place in the batch (measured, see run/README.md), so training photos are always computed `rows` at a time.
local function new_split(owner, name, views)
  local t = owner.trainer
  local n = t.data:count(name)
  local rows = name == "train" and t.length.batch or math.min(t.data.batch, n)
  local size = name == "train" and t.data.size or t.data:settings().size
  return setmetatable({ owner = owner, trainer = t, name = name, n = n, rows = rows, size = size, n_views = views, view = 0,
    path = ("%s/%s.%s"):format(t.folder, t.config.name:gsub("[^%w_%-]", "_"), name) }, Split)
end

-- A batch of so many photos without values.
local function blank(self, rows)
  return require("foodrt.train.dry").batch(self.trainer.recipe, rows, self.size, self.name)
end

-- Records a step's forward pass; gives what `use(loss, logits)` returns. Nothing of it stays.
local function recorded(self, batch, use)
  local t = self.trainer
  local was = modes.of(t.model)
  if self.name == "train" then t.model:train() else t.model:eval() end
  rng.begin(t.step, 0)
  local ok, a, b = err.catch(function()
    local out = t.objective:forward(batch)
    return use(out.loss, out.logits)
  end)
  T.forget()
  was:restore()
  if ok then return a, b end
  line.reset()
  error(a, 0)
end

local function find(self, with_weights)
  local batch = blank(self, self.rows)
  local cut, why = recorded(self, batch, function(loss, logits)
    return features.cut(batch.x, with_weights, loss, logits)
  end)
  if not cut then features.refuse(self.trainer.config, why) end
  cut.values = nil  -- of a graph that is gone
  return cut
end

local function hash_text(s)
  return C.frt_hash(s, #s)
end

-- What the loader does to a photo, as bytes.
local function view_key(self)
  local t = self.trainer
  local view = t.data:view(self.name == "train")
  local v = view.c
  local parts = { ("%d %d %d %d "):format(t.recipe.seed, self.n_views, v.size, v.shrink), ffi.string(v.mean, ffi.sizeof(v.mean)),
    ffi.string(v.std, ffi.sizeof(v.std)), ffi.string(v.fill, ffi.sizeof(v.fill)),
    ffi.string(view.list, v.n_augment * ffi.sizeof "frt_augment") }
  return hash_text(table.concat(parts))
end

local function machine_key(self)
  return hash_text(("%s %s %s %s %d %d"):format(ffi.string(C.frt_version()), ffi.string(C.frt_isa()),
    ffi.string(C.frt_precision()), ffi.string(C.frt_device_name()), C.frt_threads(), self.rows))
end

local KEYS = { "another network", "other weights", "other photos", "other views of the photos",
  "another batch, machine, precision, number of threads or version of foodrt" }

local function spec_of(self, cut)
  local s = ffi.new "frt_features_spec"
  s.n_photos, s.n_views, s.row_bytes, s.n_keys = self.n, self.n_views, cut.row, #KEYS
  s.key[0], s.key[1] = cut.structure, cut.weights
  s.key[2] = C.frt_manifest_hash(self.trainer.data.splits[self.name].manifest)
  s.key[3], s.key[4] = view_key(self), machine_key(self)
  return s
end

-- Room that checkpoints may want before the phase ends: two, with two moments and perhaps an average each.
local function room_for_checkpoints(t)
  return 2 * (t.averages and 4 or 3) * 4 * t.model:count()
end

-- Why there is no room for the file; nil when there is.
local function no_room(self, spec)
  local io_ = require "foodrt.core.io"
  local t, need = self.trainer, tonumber(C.frt_features_bytes(spec))
  local made, why = pcall(io_.make_folders, t.folder)
  if not made then return tostring(why) end
  local kind, there = io_.kind(self.path)
  local free = tonumber(C.frt_disk_free(t.folder))
  if free >= 0 and need - (kind and there or 0) + room_for_checkpoints(t) > free then
    return ("%s of features do not fit into '%s', where %s are free"):format(text.bytes(need), t.folder, text.bytes(free))
  end
end

local function tell_found(self, info)
  if info.found == 2 then
    self.owner:say("'%s' was made with %s: begun anew", self.path, KEYS[info.differs + 1] or "another file's keys")
  elseif info.found == 3 then
    self.owner:say("'%s' is damaged or no file of features: begun anew", self.path)
  elseif info.n_lost > 0 then
    self.owner:say("'%s': %d damaged rows are computed again", self.path, tonumber(info.n_lost))
  end
end

--- opens the file for the weights of now, or finds that it is open for them. out: whether there is one
function Split:ready()
  local ok, cut = pcall(find, self, false)
  if not ok then
    if not require("foodrt.train.dry").looked(cut) then error(cut, 0) end
    self.owner:say("%s: they are computed in each epoch", cut)
    return false
  end
  if self.handle and cut.stamp == self.cut.stamp then return true end
  cut = find(self, true)
  self.cut = cut
  local spec = spec_of(self, cut)
  local why = no_room(self, spec)
  local info, made = ffi.new "frt_features_info", ffi.new "frt_features *[1]"
  self:close()
  if not why and tonumber(C.frt_features_open(made, self.path, spec, info)) ~= 0 then why = ffi.string(C.frt_error_last()) end
  if why then
    self.owner:say("%s: they are computed in each epoch", why)
    return false
  end
  self.handle = ffi.gc(made[0], C.frt_features_close)
  tell_found(self, info)
  self.n_found, self.file_bytes = tonumber(info.n_rows), tonumber(info.bytes)
  self.bytes, self.buffers, self.parts = ffi.new("int64_t[?]", cut.n), {}, ffi.new("void *[?]", cut.n)
  for k = 1, cut.n do
    self.bytes[k - 1] = cut.bytes[k]
    self.buffers[k] = array("char", cut.bytes[k] * self.rows)
    self.parts[k - 1] = self.buffers[k]
  end
  return true
end

function Split:close()
  if self.handle then C.frt_features_close(ffi.gc(self.handle, nil)) end
  self.handle = nil
end

-- --- computing ------------------------------------------------------------------------------------------------------
-- The values at the cut of a batch whose pixels begin at `x`, into self.buffers. raw: the loader's, whose labels these are.
local function compute(self, x, rows, raw)
  local batch = blank(self, rows)
  batch.x:rebind(x)
  for i, c in ipairs(self.trainer.data.columns) do batch.labels[c.name]:rebind(raw.labels + (i - 1) * raw.capacity) end
  recorded(self, batch, function(loss, logits)
    local values = again(self, batch.x, loss, logits)
    C.frt_forget_pending()  -- batch statistics of what is trained move with the step, not here
    T.api.realize(values)
    for k, v in ipairs(values) do
      lib.check_late(tonumber(C.frt_read(v.ref, self.buffers[k], rows * self.cut.bytes[k])))
    end
  end)
  batch.x:rebind(nil)
  for _, t in pairs(batch.labels) do t:rebind(nil) end
end

-- The largest difference of two rows of bytes by the largest number in them: floats as numbers, others as bytes.
local function difference(a, b, bytes, dtype)
  if dtype ~= "f32" then return ffi.string(a, bytes) == ffi.string(b, bytes) and 0 or 1, 1 end
  local worst, scale = 0, 0
  a, b = ffi.cast("const float *", a), ffi.cast("const float *", b)
  for c = 0, bytes / 4 - 1 do
    worst, scale = math.max(worst, math.abs(a[c] - b[c])), math.max(scale, math.abs(a[c]))
  end
  return worst, scale
end

-- Photos of a batch must not see each other: the first half computed again beside others, in other places.
local function check_apart(self, raw)
  local x, rows, half, cut = raw.x, self.rows, math.floor(self.rows / 2), self.cut
  local floats = self.size ^ 2 * 3
  if half < 1 then return end
  local other, before = array("float", rows * floats), {}
  for k = 1, cut.n do before[k] = ffi.string(self.buffers[k], half * cut.bytes[k]) end
  for j = 0, rows - 1 do ffi.copy(other + j * floats, x + (half - 1 - j % half) * floats, floats * 4) end
  compute(self, other, rows, raw)
  for k = 1, cut.n do
    local bytes, worst, scale = cut.bytes[k], 0, 0
    for i = 0, half - 1 do
      local d, s = difference(ffi.cast("const char *", before[k]) + i * bytes, self.buffers[k] + (half - 1 - i) * bytes, bytes,
        cut.dtypes[k])
      worst, scale = math.max(worst, d), math.max(scale, s)
    end
    if worst > 1e-5 * scale then
      features.refuse(self.trainer.config, ("%s depends on the other photos of the batch"):format(cut.where))
    end
  end
end

local function put(self, batch)
  lib.check(C.frt_features_put(self.handle, self.view, batch.n, batch.raw.ids, batch.raw.skipped, self.cut.n,
    ffi.cast("const void *const *", self.parts), self.bytes))
end

--- computes and keeps what is not there yet of a loader's batch. Before the step is recorded.
function Split:prepare(batch)
  if batch.raw.n_skipped < batch.n then
    compute(self, batch.raw.x, self.name == "train" and self.rows or batch.n, batch.raw)
    put(self, batch)
  end
end

--- gives the recorded step of a batch what is kept of its photos.
function Split:give(batch, loss, logits)
  local values = again(self, batch.x, loss, logits)
  lib.check(C.frt_features_get(self.handle, self.view, batch.n, batch.raw.ids, #values, self.parts, self.bytes))
  for k, v in ipairs(values) do lib.check(C.frt_give(v.ref, self.buffers[k])) end
end

--- options of the loader whose batches this split's files serve.
function Split:options()
  local complete = true
  for i = 0, self.n - 1 do complete = complete and C.frt_features_state(self.handle, self.view, i) == 1 end
  return { kept = C.frt_features_kept(self.handle, self.view), views = self.n_views, features = self, complete = complete }
end

-- --- filling ----------------------------------------------------------------------------------------------------------
-- By photo: 1 where its whole batch is known. Batches are computed as a whole, so that a fill that was stopped
-- goes on to the same bits.
local function known(self)
  local mask, missing = ffi.new("uint8_t[?]", self.n), 0
  for first = 0, self.n - 1, self.rows do
    local last, whole = math.min(first + self.rows, self.n) - 1, true
    for i = first, last do
      if C.frt_features_state(self.handle, self.view, i) == 0 then whole, missing = false, missing + 1 end
    end
    if whole then ffi.fill(mask + first, last - first + 1, 1) end
  end
  return mask, missing
end

local function fill_batches(self, loader)
  local fresh, done = self.n_found == 0, 0
  while true do
    local batch, reason = loader:next()
    if reason or C.frt_interrupted() > 0 then return "interrupted" end
    if not batch then return nil end
    if batch.raw.n_skipped == 0 then
      self:prepare(batch)
      if fresh then
        check_apart(self, batch.raw)
        fresh = false
      end
    end
    done = done + batch.n
    self.owner:tell("filling", done, self.n)
  end
end

--- keeps every training photo in a view. out: "interrupted" when a signal came
function Split:fill(view)
  self.view = view
  local mask, missing = known(self)
  if missing == 0 then return nil end
  local t = self.trainer
  local loader = t.data:loader("train", { seed = t.recipe.seed, epoch = view, views = self.n_views, shuffle = false,
    drop_last = false, batch = self.rows, on_bad = "skip", threads = t.workers, kept = mask })
  local ok, reason = err.catch(fill_batches, self, loader)
  local bad = loader:bad()
  loader:stop()
  T.collect()
  if not ok then error(reason, 0) end
  for _, b in ipairs(bad) do lib.check(C.frt_features_unreadable(self.handle, view, b.id)) end
  self.n_found = self.n
  return reason
end

-- --- a phase ----------------------------------------------------------------------------------------------------------
function Kept:tell(event, ...)
  local fn = self.trainer.watch[event]
  if fn then fn(self.trainer.watch, self.trainer, ...) end
end

function Kept:say(fmt, ...)
  self:tell("note", ("phase '%s': "):format(self.trainer.config.name) .. fmt:format(...))
end

--- what the phase that a trainer has set up keeps; nil when it keeps nothing.
function features.start(t)
  local p = t.config
  if not p.cache then return nil end
  features.check(p, t.data)
  if not t.folder then
    error(("%sphase '%s': cache = true needs a folder: frt.trainer(recipe, { folder = \"DIR\" })"):format(p.at, p.name), 0)
  end
  local self = setmetatable({ trainer = t }, Kept)
  local views, epochs = features.views(p, t.data), t.length.total / t.length.updates
  if epochs > views + 1e-9 then
    self.train = new_split(self, "train", views)
  else
    self:say("cache = true: no training photo is seen twice in the same view, so nothing of them is kept")
  end
  if t.data:has "val" and epochs > 1 then self.val = new_split(self, "val", 1) end
  return self
end

local function introduce(self, split)
  if self.said then return end
  self.said = true
  local cut = split.cut
  self:say("features are computed once: %s, %s a photo (%s), %s in '%s'%s", table.concat(cut.shapes, " and "), text.bytes(cut.row),
    cut.where, text.bytes(split.file_bytes), split.trainer.folder,
    split.n_found > 0 and (", %d of them are there"):format(split.n_found) or "")
end

--- options of the loader of an epoch's training photos, once everything it needs is kept; {} when nothing is.
--- out  options, "interrupted" when a signal came
function Kept:training(epoch)
  local split = self.train
  if split and not split:ready() then
    self.train, split = nil, nil
  end
  if not split then return { views = features.views(self.trainer.config, self.trainer.data) } end
  introduce(self, split)
  local reason = split:fill(epoch % split.n_views)
  return split:options(), reason
end

--- the same for validation, whose photos are kept as they come.
function Kept:validation()
  local t = self.trainer
  if self.val and t.averages and t.averages:of_frozen(t.model) then
    self:say "cache = true: averages of what is frozen still move (ema), so nothing of validation photos is kept"
    self.val = nil
  end
  if self.val and not self.val:ready() then self.val = nil end
  return self.val and self.val:options() or {}
end

--- ends: `done` when the phase is over and nothing of it is needed any more.
function Kept:stop(done)
  for _, split in ipairs { self.train or false, self.val or false } do
    if split then
      split:close()
      if done then os.remove(split.path) end
    end
  end
  if done then os.remove(self.trainer.folder .. "/") end  -- where it is empty, and no link
end

return features
