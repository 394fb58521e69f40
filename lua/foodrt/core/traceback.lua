--- traceback: what people see of an error. One line that starts with their own file and line; the stack
--- below it only when FOODRT_TRACE=full asks for it.
---   local ok, text = xpcall(fn, traceback)
local STOP = require("foodrt.core.err").STOP
local library = debug.getinfo(1, "S").source:match "^(.*/)core/[^/]*$"

local function inside(info)
  return info.source:sub(1, #library) == library
end

-- The frame whose "file:line:" the message starts with, and the first frame that is the user's.
local function find_frames(message)
  local raised, user
  for level = 3, 200 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.currentline >= 0 then
      local prefix = ("%s:%d: "):format(info.short_src, info.currentline)
      if not raised and message:sub(1, #prefix) == prefix then
        raised = { prefix = prefix, name = info.source:sub(#library + 1), line = info.currentline, inside = inside(info) }
      end
      if not inside(info) then
        user = user or ("%s:%d: "):format(info.short_src, info.currentline)
      end
    end
  end
  return raised, user
end

--- in message of any type; out one string; nil, err.STOP and tables without __tostring as they are
return function(message)
  if message == nil or message == STOP then return message end  -- error(): fail without a word, as busted does
  if type(message) ~= "string" then
    local meta = getmetatable(message)
    if type(message) == "table" and not (meta and meta.__tostring) then
      return message
    end
    message = tostring(message)
  end
  if os.getenv "FOODRT_TRACE" == "full" then
    return debug.traceback(message, 2)
  end
  -- An error that the library did not foresee: name the user's line first, then the library's.
  local raised, user = find_frames(message)
  if raised and raised.inside then
    message = ("%sfoodrt/%s:%d: %s"):format(user or "", raised.name, raised.line, message:sub(#raised.prefix + 1))
  end
  return message
end
