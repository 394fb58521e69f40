--- data.loader: one epoch (or the rest of one) of a split's batches. Threads in C make them ahead of time; the
--- order and every photo's augmentation follow from seed, epoch and the photo, not from the threads.
---
---   local loader = data:loader("train", { seed = 1, epoch = 0, start = 0 })   -- start: batches already done
---   local batch = loader:next()   -- { x, y, labels = { class = … }, n, index, ids, paths, raw }, nil after the last
---
--- A batch's tensors are its slot of the ring: valid until the next call of next or stop. Looking at them later, or at
--- what was recorded from them and not computed, is an error.
local opt = require "foodrt.core.opt"
local M = {}

local Loader = {}
Loader.__index = Loader

local LOADER = { "data:loader",
  drop_last = { "boolean", nil }, shuffle = { "boolean", nil }, augment = { "boolean", nil },
  seed = { "integer", 0 }, epoch = { "integer", 0, min = 0 }, start = { "integer", 0, min = 0 },
  threads = { "integer", nil, min = 1, max = 256 }, batch = { "integer", nil, min = 1, max = 65536 },
  prefetch = { "integer", nil, min = 1, max = 64 },
  views = { "integer", nil, "augmentation follows from epoch mod views and the photo", min = 1, max = 65535 },
  kept = { "any", nil, "uint8_t by photo: not 0 where nobody needs its pixels" },
  features = { "table", nil, "where they are needed for nothing: trainer.features" },
  on_bad = { "string", nil, one_of = { "substitute", "skip", "error" } } }

local ON_BAD = { substitute = "FRT_BAD_SUBSTITUTE", skip = "FRT_BAD_SKIP", error = "FRT_BAD_ERROR" }

local function either(given, default)
  if given == nil then return default end
  return given
end

function M.new(data, split, s, given)
  local lib = require "foodrt.core.ffi"
  local o = opt.check(LOADER, given)
  local train = split == "train"
  local self = setmetatable({ data = data, split = split, manifest = s.manifest, lent = {}, n_looked_at = 0 }, Loader)
  self.augmented = either(o.augment, train)
  self.view = data:view(self.augmented)
  -- In evaluation a photo that can't be read is left out: a substitute would count another one twice.
  local on_bad = o.on_bad or (train and data.on_bad) or (data.on_bad == "error" and "error" or "skip")
  local c = lib.ffi.new "frt_loader_options"
  c.seed, c.epoch, c.start = o.seed, o.epoch, o.start
  c.batch = o.batch or data.batch
  c.shuffle = either(o.shuffle, train) and 1 or 0
  c.drop_last = either(o.drop_last, train) and 1 or 0
  c.threads = o.threads or data.workers or 0
  c.prefetch = o.prefetch or data.prefetch
  c.on_bad, c.label_base = lib.C[ON_BAD[on_bad]], 1
  c.views, c.kept = o.views or 0, o.kept
  self.kept, self.features = o.kept, o.features  -- the threads read what `kept` points to
  local made = lib.ffi.new "frt_loader *[1]"
  local status = lib.C.frt_loader_new(made, s.manifest, self.view.c, c)
  if status == lib.C.FRT_ENOMEM then
    require("foodrt.tensor").collect()
    status = lib.C.frt_loader_new(made, s.manifest, self.view.c, c)
  end
  lib.check(status)
  local C, lent = lib.C, self.lent
  self.handle = lib.ffi.gc(made[0], function(handle)  -- a loader that nobody holds any more: recorded readers come to know
    for ref in pairs(lent) do C.frt_var_free(ref) end
    C.frt_loader_free(handle)
  end)
  self.n_batches = lib.C.frt_loader_batches(self.handle)
  self.batch = lib.ffi.new "frt_batch"
  return self
end

--- whether every photo of a split has a label in column c (from 1): then nothing needs to ask whether one is missing.
--- in   s  data.splits[name]
function M.complete(s, c)
  s.complete = s.complete or {}
  if s.complete[c] == nil then
    local C, whole = require("foodrt.core.ffi").C, true
    for i = 0, s.count - 1 do whole = whole and C.frt_manifest_label(s.manifest, i, c - 1) >= 0 end
    s.complete[c] = whole
  end
  return s.complete[c]
end

local function lend(self, list, dtype, pointer, channels_last)
  local t = require("foodrt.tensor").wrap_data(list, dtype, pointer, channels_last)
  rawset(t, "loader", self)  -- whose bytes these are
  self.lent[t.ref] = true
  return t
end

-- Tensors over a slot, the batch's own.
local function tensors(self, b)
  local size, labels = self.view.c.size, {}
  for c, column in ipairs(self.data.columns) do
    local t = lend(self, { b.n }, "i32", b.labels + (c - 1) * b.capacity)
    rawset(t, "complete", M.complete(self.data.splits[self.split], c))
    labels[column.name] = t
  end
  return { x = lend(self, { b.n, 3, size, size }, "f32", b.x, true), labels = labels }
end

-- The slot is given back: the batch's tensors have no values any more.
local function take_back(self)
  local C = require("foodrt.core.ffi").C
  for ref in pairs(self.lent) do
    C.frt_var_rebind(ref, nil)
    self.lent[ref] = nil
  end
end

-- A class of which no photo could be read so far is not trained, whatever took its photos' places. A photo is named in each
-- epoch again, so ids are kept with the split.
local function check_lost(self)
  local lib = require "foodrt.core.ffi"
  local C, split, one = lib.C, self.data.splits[self.split], lib.ffi.new "frt_bad_photo"
  split.lost = split.lost or { ids = {}, of = {} }
  local n, lost = C.frt_loader_bad_count(self.handle), split.lost
  for i = self.n_looked_at, n - 1 do
    lib.check(C.frt_loader_bad(self.handle, i, one))
    local class = C.frt_manifest_label(self.manifest, one.id, 0) + 1
    if class > 0 and not lost.ids[one.id] then
      lost.ids[one.id], lost.of[class] = true, (lost.of[class] or 0) + 1
      if lost.of[class] == split.class_counts[class] then
        require("foodrt.core.err").at(self.data.line, "data: no photo of class '%s' can be read (%d of %d are bad), the last: %s",
          self.data.classes[class], lost.of[class], lost.of[class], lib.ffi.string(one.why))
      end
    end
  end
  self.n_looked_at = n
end

--- the next batch; nil after the last (which gives the ring back), or nil and "interrupted" when a signal asked to stop while it waited.
function Loader:next()
  if not self.handle then return nil end
  local lib = require "foodrt.core.ffi"
  local C, ffi, b = lib.C, lib.ffi, self.batch
  take_back(self)
  local status = C.frt_loader_next(self.handle, b)
  if status == C.FRT_ESTATE then return nil, "interrupted" end
  lib.check(status)
  if b.n_bad > 0 and self.split == "train" then check_lost(self) end
  if b.n == 0 then
    self:stop()  -- the next epoch's loader gets the ring, with its pages
    return nil
  end
  local v, columns = tensors(self, b), self.data.columns
  local ids, paths = {}, {}
  for i = 1, b.n do
    ids[i] = b.ids[i - 1] + 1
    paths[i] = ffi.string(C.frt_manifest_path(self.manifest, b.ids[i - 1]))
  end
  return { x = v.x, labels = v.labels, y = v.labels[columns[1].name], n = b.n, index = b.index + 1, n_bad = b.n_bad,
    wait_s = b.wait_s, ids = ids, paths = paths, raw = b, features = self.features }
end

--- for batch in loader:batches() do … end
function Loader:batches()
  return function() return (self:next()) end
end

--- photos that could not be read in the batches so far: { { path, why, batch, id }, … }; id as in C, from 0
function Loader:bad()
  if not self.handle then return self.bads or {} end
  local lib = require "foodrt.core.ffi"
  local out, one = {}, lib.ffi.new "frt_bad_photo"
  for i = 1, lib.C.frt_loader_bad_count(self.handle) do
    lib.check(lib.C.frt_loader_bad(self.handle, i - 1, one))
    out[i] = { path = lib.ffi.string(one.path), why = lib.ffi.string(one.why), batch = one.batch + 1, id = one.id }
  end
  return out
end

--- seconds that next has waited for photos.
function Loader:wait_s()
  if not self.handle then return self.waited or 0 end
  return require("foodrt.core.ffi").C.frt_loader_wait_s(self.handle)
end

--- ends the threads and frees the ring. Counts stay readable.
function Loader:stop()
  if not self.handle then return end
  local lib = require "foodrt.core.ffi"
  self.bads, self.waited = self:bad(), self:wait_s()
  take_back(self)
  lib.C.frt_loader_free(lib.ffi.gc(self.handle, nil))
  self.handle = nil
end

return M
