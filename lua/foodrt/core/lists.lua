--- lists: what a user writes as a list must be one: entries 1 to n, nothing left out, nothing beside them. A nil (most often a
--- misspelt name) would end a Lua list where it stands, so that the rest is never looked at.
---   local n = lists.length("nn.Chain", nil, { a, nil, b })   -->  error: nn.Chain: entry 2 of 3 is nil, …
local err = require "foodrt.core.err"
local lists = {}

-- "phase: 'freeze'", "nn.Chain"
local function what(who, key)
  return key and ("%s: '%s'"):format(who, key) or who
end

local function hole(t, top, n)
  for i = 1, n + 1 do
    if t[i] == nil then return i end
  end
  return top
end

--- how many entries a list has.
--- in   who, key  for messages: whose option it is, and its name (nil: the list is all there is)
---      t         the list
---      known     option names that may stand beside the entries: { init = true }
--- errs           at the user's line: an entry is nil though a later one isn't; another key than 1 .. n
function lists.length(who, key, t, known)
  if type(t) ~= "table" then err.user("%s must be a list, got %s", what(who, key), require("foodrt.core.opt").show(t)) end
  local n, top = 0, 0
  for k in next, t do
    if type(k) == "number" and k >= 1 and k % 1 == 0 then
      n = n + 1
      if k > top then top = k end
    elseif known == nil or not known[k] then
      if known then err.user("%s: unknown option '%s'%s", what(who, key), tostring(k), err.hint(k, known)) end
      err.user("%s must be a list, got the key '%s'", what(who, key), tostring(k))
    end
  end
  if n < top then
    err.user("%s: entry %d of %d is nil, and would end the list there (is a name misspelt?)", what(who, key), hole(t, top, n), top)
  end
  return n
end

--- the same, where every entry must be of a kind.
---   lists.of("phase", "freeze", globs, "a string", function(v) return type(v) == "string" end)
function lists.of(who, key, t, kind, fits, known)
  local n = lists.length(who, key, t, known)
  for i = 1, n do
    if not fits(t[i]) then
      err.user("%s must be a list of %s, got %s at [%d]", what(who, key), kind, require("foodrt.core.opt").show(t[i]), i)
    end
  end
  return n
end

--- whether v is a number that can be computed with: neither nan nor infinite.
function lists.finite(v)
  return type(v) == "number" and v - v == 0
end

return lists
