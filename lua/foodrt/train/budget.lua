--- budget: whether a run's memory fits this machine. What is there: /proc/meminfo and the control groups this
--- process is in; what a step needs: its plan. Where it does not fit, which batch times accumulation does.
---   local free, where = budget.available();  budget.check(recipe)   -- an error that names what fits
local lib = require "foodrt.core.ffi"
local dry, text = require "foodrt.train.dry", require "foodrt.core.text"
local C, ffi = lib.C, lib.ffi

local budget = {}

-- Measured over six models (spec/run/memory_spec.lua holds it to 5 %):
local PROCESS = 25 * 2 ^ 20  -- code, Lua heap, recorded nodes, plans, compiled kernels: 20 to 34 MiB
local VIPS = 26 * 2 ^ 20     -- libvips and what it opens, which decodes all but JPEG and BMP
local MARGIN = 0.95          -- of what is available; decoders and the page cache want some
local ADDRESSES = 200 * 2 ^ 20  -- what libraries, stacks and heaps of threads map and don't use, which ulimit -v counts
local WORKER = 2 * 2 ^ 20    -- a loader thread besides its photo
local PHOTO = 12e6           -- pixels of a photo, where none is there to be looked at

--- bytes this process may still take, and what sets the limit (core/machine.lua).
budget.available = require("foodrt.core.machine").available

-- --- what a run needs --------------------------------------------------------------------------------------------
-- Bytes a pixel takes while it is decoded: of a JPEG or BMP the part that a crop needs (2 of 3); PNG and TIFF are unpacked by
-- rows, all else as a whole frame of 4 besides.
local PIXEL = { jpg = 2, jpeg = 2, bmp = 2, png = 3, tif = 3, tiff = 3 }
local WAITING = 8 * 2 ^ 20  -- lines of an opened photo that waits for its turn, besides its file
local BIG = 192 * 2 ^ 20    -- image/source.h: of photos that take more one is decoded at a time

-- of some photos of every split, the largest files among them: bytes that decoding the largest takes that threads decode beside
-- each other, and of the largest that has its turn alone (0: none); whether libvips decodes any. PHOTO where there are none.
local function look_at(data)
  local beside, alone, vips, seen = 0, 0, false, false
  local w, h, bytes = ffi.new "int32_t[1]", ffi.new "int32_t[1]", ffi.new "int64_t[1]"
  local function look(path, size)
    local kind = ffi.string(path):lower():match "%.(%w+)$" or ""
    vips = vips or kind ~= "jpg" and kind ~= "jpeg" and kind ~= "bmp"
    if C.frt_photo_size(path, w, h) ~= 0 then return end
    local need = (PIXEL[kind] or 7) * w[0] * h[0] + size
    if need > BIG then alone, need = math.max(alone, need), size + WAITING end
    beside = math.max(beside, need)
    seen = true
  end
  for _, split in ipairs { "train", "val", "test" } do
    local s = data.splits and data.splits[split]
    local n = s and C.frt_manifest_count(s.manifest) or 0
    for i = 0, n - 1, math.max(1, math.ceil(n / 16)) do look(C.frt_manifest_path(s.manifest, i), 0) end
    local largest = n > 0 and C.frt_manifest_largest(s.manifest, bytes) or -1
    if largest >= 0 then look(C.frt_manifest_path(s.manifest, largest), tonumber(bytes[0])) end
  end
  if not seen then return 2 * PHOTO, 0, true end
  return beside, alone, vips
end

--- bytes of the loader's ring for a batch of n photos (training's or evaluation's, whichever are larger), of its threads, and
--- of the libraries that decode.
function budget.loader(r, n, workers)
  local size = math.max(r.data.size, r.data:settings().size)
  local threads = workers or r.data.workers or C.frt_cpus("")
  local beside, alone, vips = look_at(r.data)
  return (r.data.prefetch + 1) * n * size * size * 3 * 4, threads * (WORKER + beside) + alone, vips and VIPS or 0
end

--- the batches that evaluation makes of val and test: whole ones and what is left over. Where there are no photos half a
--- batch is left over.
function budget.evaluations(r, batch)
  local sizes, seen = {}, {}
  local function add(n)
    if n > 0 and not seen[n] then
      seen[n] = true
      sizes[#sizes + 1] = n
    end
  end
  for _, split in ipairs { "val", "test" } do
    local n = r.data:has(split) and r.data:count(split)
    if n and n >= batch then add(batch) end
    if n then add(n % batch) end
  end
  if #sizes == 0 then
    add(batch)
    add(math.floor(batch / 2))
  end
  local out = { arena = 0, derived = 0, outputs = 0 }
  for i, n in ipairs(sizes) do
    local plan = dry.evaluation(r, n)
    out[i] = plan
    out.arena, out.outputs = math.max(out.arena, plan.arena), math.max(out.outputs, plan.outputs)
    out.derived = out.derived + plan.derived
  end
  return out
end

--- bytes a phase needs while it trains, by part; `total` is their sum.
--- in   step         what dry.phase returned
---      evaluations  of budget.evaluations with the same batch
---      held         bytes that plans of phases before hold
function budget.parts(r, step, evaluations, workers, held)
  local parameters, buffers = dry.weights(r.model)
  local p, u = step.step, step.update
  local ring, threads, libraries = budget.loader(r, step.batch, workers)
  local fill = step.kept and step.kept.used and step.kept.fill
  local parts = {
    arena = math.max(p.arena, u and u.arena or 0, evaluations.arena, fill and fill.arena or 0),
    weights = parameters + buffers, moments = step.moments, averages = step.averages, sums = step.sums,
    counts = 2 * step.counts,  -- training's and evaluation's
    derived = (held or 0) + p.derived + (u and u.derived or 0) + evaluations.derived + (fill and fill.derived or 0),
    ring = ring + threads, checkpoint = 2 * (parameters + buffers),  -- read back and being put in place
    outputs = p.outputs + evaluations.outputs, process = PROCESS + libraries,
  }
  local total = 0
  for _, v in pairs(parts) do total = total + v end
  parts.total = total
  return parts
end

--- parts of every phase, the number of the largest, and the plan of evaluation with the first phase's batch.
function budget.need(r, steps, workers)
  local out, worst, held, evaluations = {}, 1, 0, budget.evaluations(r, r.data.batch)
  for i, step in ipairs(steps) do
    out[i] = budget.parts(r, step, evaluations, workers, held)
    held = held + step.step.derived
    if out[i].total > out[worst].total then worst = i end
  end
  return out, worst, dry.evaluation(r, steps[1].batch)
end

-- --- what fits -----------------------------------------------------------------------------------------------------
local function divisors_below(n, most)
  local out = {}
  for b = math.min(n - 1, math.floor(most)), 1, -1 do
    if n % b == 0 then out[#out + 1] = b end
  end
  return out
end

--- the largest batch whose step fits into `free` bytes with as many photos per update as now.
--- in   need, step  of the phase that needs most
--- out  { batch, accumulate, total }; nil when not even one photo fits
function budget.fitting(r, step, need, free)
  local photos = step.batch * step.accumulate
  local per_photo = (need.arena + need.ring) / step.batch
  local fixed = need.total - need.arena - need.ring + (step.sums == 0 and step.trainable * 4 or 0)
  local guess = math.max(1, math.min(step.batch - 1, (free * MARGIN - fixed) / per_photo * 1.1))
  local tried = 0
  for _, b in ipairs(divisors_below(photos, guess)) do
    local small = dry.phase(r, step.phase, { batch = b, accumulate = photos / b })
    local parts = budget.parts(r, small, budget.evaluations(r, b))
    if parts.total <= free * MARGIN then return { batch = b, accumulate = photos / b, total = parts.total } end
    tried = tried + 1
    if tried > 8 then return nil end
  end
  return nil
end

--- the options that make a phase take batch x accumulate: "-o data.batch=8 -o accumulate=4".
function budget.options(phase, fit)
  local function option(key, own, value)
    return ("-o %s=%d"):format(own ~= nil and ("phases.%s.%s"):format(phase.name, key) or key == "batch" and "data.batch" or key,
      value)
  end
  return option("batch", phase.batch, fit.batch) .. " " .. option("accumulate", phase.accumulate, fit.accumulate)
end

--- what to say when a phase does not fit, or nil when all do. The model must be built.
function budget.verdict(r, steps, needs, worst)
  local free, where = budget.available()
  local need, step = needs[worst], steps[worst]
  if where:find "^ulimit" then free = math.max(0, free - ADDRESSES) end
  if need.total <= free * MARGIN then return nil end
  local fit = budget.fitting(r, step, need, free)
  local message = ("a training step of phase '%s' with batch %d needs %s of memory, %s %s available%s: "):format(step.name,
    step.batch, text.bytes(need.total), text.bytes(free), free >= 2 ^ 30 and "are" or "is",
    where ~= "memory" and (" (%s)"):format(where) or "")
  if not fit then
    return message .. "not even one photo fits; take smaller photos (-o data.size) or another model", nil
  end
  return message .. ("%s needs %s"):format(budget.options(step.phase, fit), text.bytes(fit.total)), fit
end

--- bytes of "2G", "1.5GiB", "800M" or a number of bytes; nil for anything else.
function budget.bytes(v)
  if type(v) == "number" then return v > 0 and v < math.huge and v or nil end
  local n, unit = tostring(v):match "^%s*([%d%.]+)%s*([kKmMgGtT]?)i?[bB]?%s*$"
  local power = ({ [""] = 0, k = 10, m = 20, g = 30, t = 40 })[(unit or ""):lower()]
  n = tonumber(n)
  return n and n > 0 and power and n * 2 ^ power or nil
end

--- plans the phases, within the recipe's `memory`: plans compute more of their values again instead of keeping them.
--- Call it before plans are made.
--- out  { steps = what dry.phases returns, needs, worst, evaluation = as budget.need returns them, message = nil or what to
---      say when a step needs more than `memory` even so }
function budget.limit(r, workers)
  local function planned()
    local out = { steps = dry.phases(r) }
    out.needs, out.worst, out.evaluation = budget.need(r, out.steps, workers)
    return out, out.needs[out.worst]
  end
  C.frt_set_memory(0)
  local limit = r.memory and budget.bytes(r.memory)
  local out, need = planned()
  if not limit or need.total <= limit then return out end
  C.frt_set_memory(math.max(1, limit - (need.total - need.arena)))
  out, need = planned()
  if need.total <= limit then return out end
  local step = out.steps[out.worst]
  local fit = budget.fitting(r, step, need, limit / MARGIN)
  out.message = ("memory = %s: a training step of phase '%s' with batch %d needs %s, with all computed again that can be; %s"):format(
    tostring(r.memory), step.name, step.batch, text.bytes(need.total), fit and ("%s needs %s"):format(
      budget.options(step.phase, fit), text.bytes(fit.total)) or "take smaller photos (-o data.size) or another model")
  return out
end

--- refuses a run that would not fit this machine's memory: an error that names what does. Called once the data is
--- listed and the model is built, before photos are read; nothing is computed. Optimizers and frozen parts are as
--- after phase:apply and attach of the first phase, without steps.
--- in   o.workers  loader threads, instead of the recipe's
--- out  nil, or why nothing could be counted: the recipe looks at values, and they are not there before a step runs
function budget.check(r, o)
  local ok, planned = pcall(budget.limit, r, o and o.workers)
  if not ok then
    if not require("foodrt.train.dry").looked(planned) then error(planned, 0) end
    return planned
  end
  local message = planned.message or budget.verdict(r, planned.steps, planned.needs, planned.worst)
  if message then error(("%s: %s"):format(r.source and r.source.path or r.name, message), 0) end
end

return budget
