--- repl: the prompt. Values print (tensors by __tostring), a line may go on over several, Tab completes
--- tables, globals and methods after "x:", Ctrl-C drops the line or stops the work and comes back here.
local host = require "foodrt.host"
local traceback, err = require "foodrt.core.traceback", require "foodrt.core.err"

local MAX_ITEMS, MAX_DEPTH = 20, 3

local show

local function show_table(t, depth)
  local parts, others, more = {}, {}, 0
  local n = #t
  for i = 1, math.min(n, MAX_ITEMS) do parts[i] = show(t[i], depth + 1) end
  if n > MAX_ITEMS then parts[#parts + 1] = ("... %d in all"):format(n) end
  for key in pairs(t) do
    if not (type(key) == "number" and key >= 1 and key <= n and key % 1 == 0) then
      others[#others + 1] = key
    end
  end
  table.sort(others, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(others) do
    if i > MAX_ITEMS then
      more = #others - MAX_ITEMS
      break
    end
    local name = type(key) == "string" and key:match "^[%a_][%w_]*$" or "[" .. show(key, MAX_DEPTH) .. "]"
    parts[#parts + 1] = name .. " = " .. show(t[key], depth + 1)
  end
  if more > 0 then parts[#parts + 1] = ("... %d more"):format(more) end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

-- A value as text; strings inside tables are quoted.
function show(value, depth)
  if type(value) == "string" then
    return depth > 0 and ("%q"):format(value) or value
  end
  local meta = type(value) == "table" and getmetatable(value)
  if type(value) ~= "table" or (type(meta) == "table" and meta.__tostring) then
    return tostring(value)
  end
  return depth >= MAX_DEPTH and "{...}" or show_table(value, depth)
end

-- The file the history is kept in; nil when there is no home to keep it in.
local function history_file()
  local state = os.getenv "XDG_STATE_HOME"
  if not state or state == "" then
    local home = os.getenv "HOME"
    if not home or home == "" then return nil end
    state = home .. "/.local/state"
  end
  host.make_dirs(state)
  return state .. "/foodrt_history"
end

-- A chunk that hands its values to its argument, or nil, why, whether more lines could mend it.
local function compile(source)
  local expression = source:gsub("^%s*=", "", 1)
  local ok, why_not = loadstring("return " .. expression, "=stdin")
  if ok then
    -- Not "return f()": a tail call would take this line out of the error messages.
    return loadstring("(...)(" .. expression .. ")", "=stdin")
      or loadstring("(...)(" .. expression .. "\n)", "=stdin")  -- it ends in a comment
  end
  local chunk, why = loadstring(source, "=stdin")
  if chunk or why:match "<eof>'?$" then return chunk, why, not chunk end
  local unfinished = why_not:match "<eof>'?$"
  return nil, unfinished and why_not or why, unfinished
end

-- Reads lines until they compile: chunk, source; nil, source, why when they never will; false at the end.
local function read_chunk()
  local source = host.readline "> "
  if source == nil then return false end
  if not source then return nil, "" end
  while true do
    local chunk, why, unfinished = compile(source)
    if not unfinished then
      return chunk, source, why
    end
    local more = host.readline ">> "
    if not more then
      return nil, source, more == nil and why or nil
    end
    source = source .. "\n" .. more
  end
end

-- Assignments that wait and can't be computed would make every later line fail: they are dropped, and that is said.
-- Each failure drops those that it concerns (the engine), so the others are carried out.
local function drop_hopeless()
  local T, C = package.loaded["foodrt.tensor"], require("foodrt.core.ffi").C
  if not T or C.frt_pending() == 0 then return end
  local ok, before
  repeat
    before = C.frt_pending()
    ok = err.catch(T.api.realize)
  until ok or C.frt_pending() >= before
  if ok and C.frt_pending() == 0 and before == 0 then return end
  if not ok then T.forget() end
  io.stderr:write "assignments that waited and can't be computed are dropped\n"
end

-- Runs a chunk and shows its values; out false when it failed.
local function run(chunk)
  host.arm()
  -- Showing is part of it: a lazy tensor is computed, and may fail, when it is printed.
  local ok, text = err.xcatch(function()
    chunk(function(...)
      local shown, n = {}, select("#", ...)
      if n == 0 then return end
      _G._ = (...)
      for i = 1, n do shown[i] = show((select(i, ...)), 0) end
      print(table.concat(shown, "\t"))
    end)
  end, traceback)
  if not ok then
    io.stdout:flush()
    local stopped = text == err.STOP
    io.stderr:write(stopped and "interrupted" or show(text, 0), "\n")
    if not stopped then drop_hopeless() end
  end
  host.arm()
  return ok
end

--- reads, runs and shows until the input ends; out 1 when piped input held a line that failed, else 0
return function()
  local terminal, failed = host.isatty(0), false
  local file = terminal and history_file()
  if terminal then
    host.completer(require "foodrt.repl.complete")
    if file then host.history_read(file) end
    print(("foodrt %s (%s). frt is the library, _ the last value, Ctrl-D ends."):format(host.version, host.luajit))
  end
  while true do
    local chunk, source, why = read_chunk()
    if chunk == false then break end
    if terminal and source:match "%S" then
      host.history_add((source:gsub("\n", " ")))
      if file then host.history_write(file) end
    end
    if chunk then
      failed = not run(chunk) or failed
    elseif why then
      failed = true
      io.stderr:write(why, "\n")
    end
  end
  if terminal then print() end
  return failed and not terminal and 1 or 0
end
