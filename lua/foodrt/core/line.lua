--- line: which line of the user's recipe records a node. C keeps the line of the latest capture for every
--- node recorded after it, so library code costs nothing: only calls made by user code look at the stack.
---
---   depth == 0   user code is running: each tensor method captures its caller's line
---   depth  > 0   library code is running: what it records keeps the line of the call that entered it
---
---   line.call(fn, self, ...)   library code (a module's __call with a built-in forward)
---   line.user(fn, self, ...)   user code called by the library (a forward written in a recipe, a hook)
---   line.is_user(fn)           whether fn was written outside lua/foodrt: choose between the two once,
---                              when the module is made, not at every call
---   line.reset()               at the boundaries that catch errors (REPL, trainer, spec)
---
---   Module.__call = function(self, ...) return enter(self.forward, self, ...) end   -- enter: line.call or line.user
---
--- Both give back what fn returns and restore the depth they found, so an error thrown through them is
--- mended by the next call that ends well; err.user resets as well.
local line = { depth = 0 }

local HOME = debug.getinfo(1, "S").source:match "^(.*/)core/line%.lua$" or "@lua/foodrt/"
local getinfo, sub = debug.getinfo, string.sub

-- function -> its file as the user knows it, or false for library and C functions. Weak: closures come and go.
local source_of = setmetatable({}, { __mode = "k" })

local function classify(fn)
  local info = getinfo(fn, "S")
  local source = info.source
  local shown = false
  if info.what ~= "C" and sub(source, 1, #HOME) ~= HOME then
    shown = sub(source, 1, 1) == "@" and sub(source, 2) or info.short_src
  end
  source_of[fn] = shown
  return shown
end

--- whether `fn` was written outside lua/foodrt (and is not a C function).
function line.is_user(fn)
  local source = source_of[fn]
  if source == nil then source = classify(fn) end
  return source ~= false
end

-- User functions that line.user runs, the innermost last. A tail call in one (return self.fc(x)) erases its
-- frame; its last line is then where the user was.
local running, n_running = {}, 0

local function end_line(fn)
  local info, last = getinfo(fn, "SL"), 0
  for at in pairs(info.activelines) do
    if at > last and (at < info.lastlinedefined or info.linedefined == info.lastlinedefined) then last = at end
  end
  return source_of[fn], math.max(last, info.linedefined)
end

--- file and line of the nearest frame outside foodrt, from `level` up; nil when there is none.
function line.find(level)
  level = level + 1
  while true do
    local info = getinfo(level, "fl")
    if not info then return nil end
    local fn = info.func
    if fn == line.user and running[n_running] and line.is_user(running[n_running]) then
      return end_line(running[n_running])
    end
    local source = fn and source_of[fn]
    if fn and source == nil then source = classify(fn) end
    if source and info.currentline > 0 then return source, info.currentline end
    level = level + 1
  end
end

local lib  -- foodrt.ffi, which needs err, which needs this file: fetched at the first capture
local last_source, last_line

--- tells C the user's line, for what is recorded from now on. Called where depth is 0.
function line.capture()
  local source, at = line.find(2)
  if not source then source, at = "", 0 end
  if at ~= last_line or source ~= last_source then
    last_source, last_line = source, at
    lib = lib or require "foodrt.core.ffi"
    lib.C.frt_line(source, at)
  end
end

local function leave(depth, ...)
  line.depth = depth
  return ...
end

--- runs library code: what it records has the line of the user's call.
function line.call(fn, self, ...)
  local depth = line.depth
  if depth == 0 then line.capture() end
  line.depth = depth + 1
  return leave(depth, fn(self, ...))
end

local function leave_user(depth, n, ...)
  line.depth, n_running = depth, n
  return ...
end

--- runs user code from inside library code: its calls have lines of their own again.
function line.user(fn, self, ...)
  local depth, n = line.depth, n_running
  line.depth, n_running = 0, n + 1
  running[n + 1] = fn
  return leave_user(depth, n, fn(self, ...))
end

function line.reset()
  line.depth, n_running = 0, 0
end

return line
