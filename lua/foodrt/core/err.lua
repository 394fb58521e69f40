--- err: raises errors at the line of the user's recipe, not inside foodrt.
---   err.user("conv2d: 'stride' must be integer, got %s", v)  -->  recipes/b4.lua:12: conv2d: 'stride' must be …
local line = require "foodrt.core.line"
local host = package.loaded["foodrt.host"]
local err = {}

-- --- what a signal raises --------------------------------------------------------------------------------------
--- the value that a signal raises, known by identity. Nothing may take it for a mistake and go on.
err.STOP = host and host.stop or setmetatable({}, { __tostring = function() return "interrupted" end })
local STOP = err.STOP

--- pcall and xpcall that catch err.STOP as well: for code that puts something right and then raises again, and for the
--- outermost loops.
err.catch, err.xcatch = host and host.catch or pcall, host and host.xcatch or xpcall
local catch, xcatch, resume = err.catch, err.xcatch, coroutine.resume

local function pass(ok, ...)
  if not ok and (...) == STOP then error(STOP, 0) end
  return ok, ...
end

--- pcall that lets err.STOP through. It is the global pcall of the command (err.install).
function err.try(...)
  return pass(catch(...))
end

--- xpcall of the same kind; the handler never sees err.STOP.
function err.xtry(fn, handler, ...)
  return pass(xcatch(fn, function(why)
    if why == STOP then return why end
    return handler(why)
  end, ...))
end

--- from now on pcall, xpcall and coroutine.resume, in foodrt and in what users write, let err.STOP through.
function err.install()
  if host.catch then return end
  host.catch, host.xcatch = catch, xcatch
  _G.pcall, _G.xpcall = err.try, err.xtry
  rawset(coroutine, "resume", function(...) return pass(resume(...)) end)
end

--- "recipes/b4.lua:12: " for the nearest frame outside foodrt, "" when there is none.
function err.where()
  local source, at = line.find(2)
  return source and ("%s:%d: "):format(source, at) or ""
end

local function text(fmt, ...)
  return select("#", ...) > 0 and fmt:format(...) or fmt
end

--- raises `fmt` filled with `...` at the user's line.
function err.user(fmt, ...)
  local where = err.where()
  line.reset()
  error(where .. text(fmt, ...), 0)
end

--- raises at a line known from elsewhere ("recipe.lua:17", from the node that failed), else at the user's.
function err.at(where, fmt, ...)
  if where == "" then
    where = err.where()
  else
    where = where .. ": "
  end
  line.reset()
  error(where .. text(fmt, ...), 0)
end

-- Levenshtein, with two neighbours in the wrong order as one edit
local function distance(a, b)
  local row, above = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local before = above
    above, row = row, { [0] = i }
    for j = 1, #b do
      local x, y = a:byte(i), b:byte(j)
      local least = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x == y and 0 or 1))
      if i > 1 and j > 1 and x == b:byte(j - 1) and y == a:byte(i - 1) then
        least = math.min(least, before[j - 2] + 1)
      end
      row[j] = least
    end
  end
  return row[#b]
end

--- ", did you mean 'x'?" when a string key of `known` is at most 3 edits (and less than half the word) away,
--- else "". `known` may be several tables.
function err.hint(word, ...)
  word = tostring(word)
  local best, least
  for i = 1, select("#", ...) do
    for k in pairs((select(i, ...))) do
      if type(k) == "string" then
        local d = distance(word:lower(), k:lower())
        if d <= 3 and d * 2 < math.max(#word, #k) + 1 and (not least or d < least or (d == least and k < best)) then
          best, least = k, d
        end
      end
    end
  end
  return best and (", did you mean '%s'?"):format(best) or ""
end

return err
