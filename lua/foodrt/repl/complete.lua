--- complete: what Tab offers at the prompt: globals and keywords, fields after "t.", methods after "x:".
---   complete("print(", "string.fo")  -->  { "string.format" }
local KEYWORDS = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
  "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

local function add(t, prefix, found, methods_only)
  for name, value in pairs(t) do
    if type(name) == "string" and name:sub(1, #prefix) == prefix and name:match "^[%a_][%w_]*$"
      and (prefix ~= "" or name:sub(1, 1) ~= "_") and (not methods_only or type(value) == "function") then
      found[name] = true
    end
  end
end

-- Adds to `found` every name of `t` that starts with `prefix`; follows __index, also a tensor's, and asks
-- names() of the metatable where fields are made when they are first read.
local function collect(t, prefix, found, methods_only)
  local tensor = package.loaded["foodrt.tensor"]
  for _ = 1, 8 do
    if type(t) ~= "table" then return end
    add(t, prefix, found, methods_only)
    local meta = getmetatable(t)
    if type(tensor) == "table" and tensor.is and tensor.is(t) then
      t = tensor.methods
    elseif type(meta) == "table" then
      if type(rawget(meta, "names")) == "function" then
        for _, more in ipairs { meta.names() } do add(more, prefix, found, methods_only) end
      end
      t = rawget(meta, "__index")
    else
      return
    end
  end
end

-- The value of "a.b.c", or nil.
local function value_of(path)
  local value = _G
  for name in path:gmatch "[%w_]+" do
    local ok, field = pcall(function() return value[name] end)
    if not ok or field == nil then return nil end
    value = field
  end
  return value
end

--- in the line before the word, the word; out every word it can become, sorted
return function(_, word)
  local found, list = {}, {}
  local path, mark, last = word:match "^(.*)([.:])([%w_]*)$"
  if path then
    local value = value_of(path)
    if type(value) == "string" then value = string end
    collect(value, last, found, mark == ":")
  else
    collect(_G, word, found)
    for _, name in ipairs { "frt", "nn", unpack(KEYWORDS) } do
      if name:sub(1, #word) == word then found[name] = true end
    end
  end
  for name in pairs(found) do
    list[#list + 1] = path and path .. mark .. name or name
  end
  table.sort(list)
  return list
end
