--- plan: what the planner makes of a graph: explain shows it without running, profile after; memory, threads
--- and device.
local lib = require "foodrt.core.ffi"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local R = require "foodrt.tensor.record"
local ffi, C, api = lib.ffi, lib.C, R.api

local step, plan, missed = ffi.new "frt_step_info", ffi.new "frt_plan_info", ffi.new "frt_missed_info"

local function str(p)
  return p ~= nil and ffi.string(p) or ""
end

--- the plan that C addresses as a table: steps and totals; numbers are bytes, FLOPs and seconds.
local function fetch()
  C.frt_plan_get(plan)
  local out = {
    n_steps = plan.n_steps, n_reference = plan.n_reference, runs = plan.runs, cached = plan.cached ~= 0,
    flops = plan.flops, arena = tonumber(plan.arena), scratch = tonumber(plan.scratch),
    derived = tonumber(plan.derived), outputs = tonumber(plan.outputs), variables = tonumber(plan.variables),
    unshared = tonumber(plan.unshared), bound = tonumber(plan.bound), bytes = 0, seconds = 0,
  }
  for i = 0, plan.n_steps - 1 do
    lib.check(C.frt_plan_step(i, step))
    out[i + 1] = {
      op = str(step.op), kernel = str(step.kernel), line = str(step.line), scope = str(step.scope),
      note = str(step.note), shapes = ffi.string(step.shapes), flops = step.flops, bytes = step.bytes,
      seconds = step.seconds, reference = step.reference ~= 0,
    }
    out.bytes, out.seconds = out.bytes + step.bytes, out.seconds + step.seconds
  end
  out.missed = {}
  for i = 0, plan.n_missed - 1 do
    lib.check(C.frt_plan_missed(i, missed))
    out.missed[i + 1] = { op = str(missed.op), what = str(missed.what), why = str(missed.why), line = str(missed.line),
      scope = str(missed.scope), by = str(missed.by), by_line = str(missed.by_line), by_scope = str(missed.by_scope) }
  end
  return out
end

local function size(bytes)
  if bytes >= 2 ^ 30 then return ("%.2f GB"):format(bytes / 2 ^ 30) end
  return ("%.1f MB"):format(bytes / 2 ^ 20)
end

--- rows of strings under a header, columns padded; numbers to the right.
local function columns(header, rows, right)
  local width, out = {}, {}
  for _, row in ipairs { header, unpack(rows) } do
    for c, cell in ipairs(row) do width[c] = math.max(width[c] or 0, #cell) end
  end
  for r = 0, #rows do
    local cells = {}
    for c, cell in ipairs(rows[r] or header) do
      cells[c] = right[c] and (" "):rep(width[c] - #cell) .. cell or cell .. (" "):rep(width[c] - #cell)
    end
    out[r + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return table.concat(out, "\n")
end

local mt = {}
mt.__index = mt

--- the plan as text: a line per step and one of totals.
function mt.__tostring(self)
  local timed = self.seconds > 0
  local rows = {}
  for i, s in ipairs(self) do
    local row = { tostring(i), s.op, s.kernel, s.shapes, ("%.2f"):format(s.flops / 1e6), ("%.2f"):format(s.bytes / 2 ^ 20) }
    if timed then
      row[#row + 1] = ("%.3f"):format(s.seconds * 1e3)
      row[#row + 1] = ("%.1f"):format(100 * s.seconds / self.seconds)
    end
    local where = s.scope ~= "" and s.line ~= "" and s.scope .. " " .. s.line or s.scope .. s.line
    row[#row + 1] = s.note ~= "" and (where == "" and s.note or where .. "  " .. s.note) or where
    rows[i] = row
  end
  local header = { "step", "op", "kernel", "shapes", "MFLOP", "MB" }
  local right = { true, false, false, false, true, true, timed, timed }
  if timed then
    header[#header + 1] = "ms"
    header[#header + 1] = "%"
  end
  header[#header + 1] = "where"
  local totals = ("%d step%s, %.2f GFLOP, %s moved; arena %s (%s unshared), scratch %s, packed weights %s, "
    .. "outputs %s, variables %s; %d by the reference"):format(self.n_steps, self.n_steps == 1 and "" or "s",
    self.flops / 1e9, size(self.bytes), size(self.arena), size(self.unshared), size(self.scratch), size(self.derived),
    size(self.outputs), size(self.variables), self.n_reference)
  if timed then totals = totals .. (", %.3f ms"):format(self.seconds * 1e3) end
  return columns(header, rows, right) .. "\n" .. totals
end

--- the plan that would compute `...` and every pending assignment, as a
--- table of steps { op, kernel, shapes, flops, bytes, seconds, line, scope, note, reference } with totals
--- n_steps, n_reference, flops, bytes, arena, unshared, scratch, derived, outputs, variables, bound (the most bytes of
--- intermediates alive at once: the arena can't be smaller), and missed, the fusions that did not come about:
--- { { op, what, why, line, scope, by, by_line, by_scope }, … }, by being the op that stood in the way.
function R.plan(...)
  local n, refs = R.outputs("explain", ...)
  local status = tonumber(R.retry(C.frt_plan_make, n, refs, 1))
  if status ~= 0 then lib.check_late(status) end
  return setmetatable(fetch(), mt)
end

--- the same without pending assignments.
function R.plan_values(...)
  local n, refs = R.outputs("explain", ...)
  local status = tonumber(R.retry(C.frt_plan_make, n, refs, 0))
  if status ~= 0 then lib.check_late(status) end
  return setmetatable(fetch(), mt)
end

local function explain(o, ...)
  local p = R.plan(...)
  print(o.fused and table.concat(require("foodrt.show.fused").lines(p), "\n") or tostring(p))
  return p
end

--- frt.explain(t, …): prints the plan that would compute these; nothing runs. Returns it as a table. With { fused = true }
--- as the last argument it prints what was fused into one step, and what was not and why.
function api.explain(...)
  local n = select("#", ...)
  local last = n > 0 and select(n, ...) or nil
  if type(last) ~= "table" or getmetatable(last) then return explain({}, ...) end
  local o = opt.check({ "explain", fused = { "boolean", false } }, last)
  local list = { ... }
  return explain(o, unpack(list, 1, n - 1))
end

--- frt.profile(fn): runs fn with timing on; prints and returns the last plan that ran, with seconds per step.
function api.profile(fn)
  if type(fn) ~= "function" then err.user("profile: must be given a function, got %s", opt.show(fn)) end
  C.frt_profile(1)
  local ok, message = err.xcatch(fn, function(m)
    return (type(m) == "string" or m == err.STOP) and m or debug.traceback(tostring(m), 2)
  end)
  C.frt_profile(0)
  if not ok then error(message, 0) end
  C.frt_plan_last()
  local p = setmetatable(fetch(), mt)
  print(tostring(p))
  return p
end

-- --- the machine --------------------------------------------------------------------------------------------
local info = ffi.new "frt_memory_info"

--- frt.memory(): { live, peak, arena } in bytes: in use now, the most so far, mapped from the system.
function api.memory()
  C.frt_memory(info)
  return { live = tonumber(info.live), peak = tonumber(info.peak), arena = tonumber(info.mapped) }
end

--- frt.set_threads(n): compute threads; 0 for as many as this process may use. Returns the number in force.
function api.set_threads(n)
  if R.integer("set_threads", "n", n) < 0 or n > 1024 then
    err.user("set_threads: 'n' must be between 0 and 1024, got %d", n)
  end
  C.frt_set_threads(n)
  lib.tell_machine()
  return C.frt_threads()
end

--- frt.set_precision(name): "fp32", or "bf16": plans made from now on store large intermediate maps in 16 bits and
--- multiply in bf16; sums, variables, statistics, softmax and losses stay fp32. An error where the CPU has no instructions
--- for it.
function api.set_precision(name)
  if type(name) ~= "string" then err.user("set_precision: expected 'fp32' or 'bf16', got %s", opt.show(name)) end
  lib.check(C.frt_set_precision(name))
  return name
end

--- frt.device(): where plans run and how, "cpu (avx512, 2 threads)", "cpu (avx512_bf16, 2 threads, maps in bf16)".
function api.device()
  local half = str(C.frt_precision()) == "bf16" and ", maps in bf16" or ""
  return ("%s (%s%s)"):format(str(C.frt_device_name()), str(C.frt_device_banner()), half)
end
