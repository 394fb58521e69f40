--- json: the one place where JSON is written and read. What is written has its keys in alphabetical order and
--- numbers that read back exactly; not-a-number and infinity become null.
---   json.encode({ b = 0.1, a = { 1, 2 } })  -->  {"a":[1,2],"b":0.1}
local json = {}

local ESCAPE = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\\127]', function(c)
    return ESCAPE[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

-- the shortest decimal that reads back as v
local function number(v)
  if v ~= v or v == math.huge or v == -math.huge then return "null" end
  if v % 1 == 0 and math.abs(v) < 2 ^ 53 then return ("%d"):format(v) end
  for digits = 6, 16 do
    local text = ("%." .. digits .. "g"):format(v)
    if tonumber(text) == v then return text end
  end
  return ("%.17g"):format(v)
end

--- an empty list, which a bare {} is not.
json.list = setmetatable({}, { __call = function(_, t) return setmetatable(t, json.list) end })

local encode

local function object(t)
  local keys = {}
  for k in pairs(t) do
    if type(k) ~= "string" then error("json: a key must be a string, got " .. type(k), 0) end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  local parts = {}
  for i, k in ipairs(keys) do parts[i] = quote(k) .. ":" .. encode(t[k]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- a value of numbers, strings, booleans, lists and tables with string keys, as text on one line.
function encode(v)
  local kind = type(v)
  if kind == "number" then return number(v) end
  if kind == "string" then return quote(v) end
  if kind == "boolean" then return tostring(v) end
  if kind == "nil" then return "null" end
  if kind ~= "table" then error("json: cannot write a " .. kind, 0) end
  if v[1] ~= nil or getmetatable(v) == json.list then
    local parts = {}
    for i = 1, #v do parts[i] = encode(v[i]) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  return object(v)
end
json.encode = encode

local null

local function without_null(v)
  if v == null then return nil end
  if type(v) == "table" then
    for k, x in pairs(v) do v[k] = without_null(x) end
  end
  return v
end

--- text -> value; null is nil. Text that is no JSON gives nil and why.
function json.decode(text)
  local cjson = require "cjson"
  null = cjson.null
  local ok, value = pcall(cjson.decode, text)
  if not ok then return nil, value end
  return without_null(value)
end

return json
