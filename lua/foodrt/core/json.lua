--- json: the one place where JSON is written and read. What is written has its keys in alphabetical order and
--- numbers that read back exactly; not-a-number and infinity become null. Nothing here follows the locale.
---   json.encode({ b = 0.1, a = { 1, 2 } })  -->  {"a":[1,2],"b":0.1}
---
--- JSON is UTF-8. Bytes of a text that are not (names of files and classes may hold any) are written as the escapes
--- \udc80 … \udcff, which decode turns back; json.encode(v, true) writes U+FFFD for them, for programs that take no such escape.
local json = {}

-- --- text --------------------------------------------------------------------------------------------------------
local ESCAPE = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local REPLACEMENT = "\239\191\189"

-- bytes of the UTF-8 character at i, nil when it is none
local function width(s, i)
  local a, b, c, d = s:byte(i, i + 3)
  local function tail(v) return v ~= nil and v >= 0x80 and v <= 0xbf end
  if a < 0x80 then return 1 end
  if a >= 0xc2 and a <= 0xdf then return tail(b) and 2 or nil end
  if a >= 0xe0 and a <= 0xef then
    return tail(b) and tail(c) and not (a == 0xe0 and b < 0xa0) and not (a == 0xed and b > 0x9f) and 3 or nil
  end
  if a >= 0xf0 and a <= 0xf4 then
    return tail(b) and tail(c) and tail(d) and not (a == 0xf0 and b < 0x90) and not (a == 0xf4 and b > 0x8f) and 4 or nil
  end
end

--- a text with every byte that is no UTF-8 replaced by what fn(byte) gives; the text itself where there is none.
function json.each_wrong_byte(s, fn)
  if not s:find "[\128-\255]" then return s end
  local parts, from, i = {}, 1, 1
  while i <= #s do
    local n = width(s, i)
    if n then
      i = i + n
    else
      parts[#parts + 1] = s:sub(from, i - 1)
      parts[#parts + 1] = fn(s:byte(i))
      i = i + 1
      from = i
    end
  end
  if #parts == 0 then return s end
  parts[#parts + 1] = s:sub(from)
  return table.concat(parts)
end

local function as_escape(byte) return ("\\udc%02x"):format(byte) end
local function as_replacement() return REPLACEMENT end

local function quote(text, strict)
  text = text:gsub('[%c"\\\127]', function(c)
    return ESCAPE[c] or ("\\u%04x"):format(c:byte())
  end)
  return '"' .. json.each_wrong_byte(text, strict and as_replacement or as_escape) .. '"'
end

-- --- writing -----------------------------------------------------------------------------------------------------
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

local function object(t, strict)
  local keys = {}
  for k in pairs(t) do
    if type(k) ~= "string" then error("json: a key must be a string, got " .. type(k), 0) end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  local parts = {}
  for i, k in ipairs(keys) do parts[i] = quote(k, strict) .. ":" .. encode(t[k], strict) end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- a value of numbers, strings, booleans, lists and tables with string keys, as text on one line.
--- in   strict  bytes that are no UTF-8 become U+FFFD: for what other programs read
function encode(v, strict)
  local kind = type(v)
  if kind == "number" then return number(v) end
  if kind == "string" then return quote(v, strict) end
  if kind == "boolean" then return tostring(v) end
  if kind == "nil" then return "null" end
  if kind ~= "table" then error("json: cannot write a " .. kind, 0) end
  if v[1] ~= nil or getmetatable(v) == json.list then
    local parts = {}
    for i = 1, #v do parts[i] = encode(v[i], strict) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  return object(v, strict)
end
json.encode = encode

-- --- reading -----------------------------------------------------------------------------------------------------
local MAX_DEPTH = 1000

local function wrong(at, what)
  error(("%s at byte %d"):format(what, at), 0)
end

local PLAIN = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(c)
  if c < 0x80 then return string.char(c) end
  if c < 0x800 then return string.char(0xc0 + math.floor(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return string.char(0xe0 + math.floor(c / 4096), 0x80 + math.floor(c / 64) % 64, 0x80 + c % 64) end
  return string.char(0xf0 + math.floor(c / 262144), 0x80 + math.floor(c / 4096) % 64, 0x80 + math.floor(c / 64) % 64, 0x80 + c % 64)
end

local function hex(s, i)
  local digits = s:match("^%x%x%x%x", i)
  return digits and tonumber(digits, 16)
end

-- the escape whose backslash is at i: what it means, where it ends
local function escape(s, i)
  local kind = s:sub(i + 1, i + 1)
  if PLAIN[kind] then return PLAIN[kind], i + 2 end
  local c = kind == "u" and hex(s, i + 2)
  if not c then wrong(i, "an unknown escape") end
  if c >= 0xd800 and c <= 0xdbff then
    local low = s:sub(i + 6, i + 7) == "\\u" and hex(s, i + 8)
    if low and low >= 0xdc00 and low <= 0xdfff then return utf8(0x10000 + (c - 0xd800) * 1024 + low - 0xdc00), i + 12 end
    return REPLACEMENT, i + 6
  end
  if c >= 0xdc80 and c <= 0xdcff then return string.char(c - 0xdc00), i + 6 end
  if c >= 0xdc00 and c <= 0xdfff then return REPLACEMENT, i + 6 end
  return utf8(c), i + 6
end

local function text_at(s, i)
  local parts, from = {}, i + 1
  while true do
    local at = s:find('["\\%c]', from)
    if not at then wrong(i, "a text without an end") end
    parts[#parts + 1] = s:sub(from, at - 1)
    local c = s:sub(at, at)
    if c == '"' then
      return table.concat(parts), at + 1
    elseif c == "\\" then
      parts[#parts + 1], from = escape(s, at)
    elseif c == "\127" then
      parts[#parts + 1], from = c, at + 1
    else
      wrong(at, "a control character in a text")
    end
  end
end

local function number_at(s, i)
  local stop = i
  local function take(pattern)
    local _, last = s:find(pattern, stop)
    stop = last and last + 1 or stop
    return last ~= nil
  end
  take "^%-"
  if not (take "^0" or take "^[1-9]%d*") then wrong(i, "no value") end
  if take "^%." and not take "^%d+" then wrong(stop, "a number without digits") end
  if take "^[eE][-+]?" and not take "^%d+" then wrong(stop, "a number without digits") end
  return tonumber(s:sub(i, stop - 1)), stop
end

local function blank(s, i)
  return s:find("[^ \t\r\n]", i) or #s + 1
end

local value_at

local function items_at(s, i, depth, out, close, one)
  i = blank(s, i + 1)
  if s:sub(i, i) == close then return out, i + 1 end
  while true do
    i = blank(s, one(i, depth))
    local c = s:sub(i, i)
    if c == close then return out, i + 1 end
    if c ~= "," then wrong(i, ("expected , or %s"):format(close)) end
    i = blank(s, i + 1)
  end
end

local WORDS = { ["true"] = true, ["false"] = false }

function value_at(s, i, depth)
  if depth > MAX_DEPTH then wrong(i, "too many levels") end
  local c = s:sub(i, i)
  if c == "{" then
    local out = {}
    return items_at(s, i, depth + 1, out, "}", function(at, level)
      if s:sub(at, at) ~= '"' then wrong(at, "expected a key") end
      local key
      key, at = text_at(s, at)
      at = blank(s, at)
      if s:sub(at, at) ~= ":" then wrong(at, "expected :") end
      out[key], at = value_at(s, blank(s, at + 1), level)
      return at
    end)
  elseif c == "[" then
    local out, n = {}, 0
    return items_at(s, i, depth + 1, out, "]", function(at, level)
      n = n + 1
      out[n], at = value_at(s, at, level)
      return at
    end)
  elseif c == '"' then
    return text_at(s, i)
  end
  local word = s:match("^%l+", i)
  if word == "null" then return nil, i + 4 end
  if WORDS[word] ~= nil then return WORDS[word], i + #word end
  return number_at(s, i)
end

--- text -> value; null is nil. Text that is no JSON gives nil and why.
function json.decode(text)
  local ok, v, stop = pcall(value_at, text, blank(text, 1), 0)
  if not ok then return nil, v end
  if blank(text, stop) <= #text then return nil, ("text behind the value at byte %d"):format(stop) end
  return v
end

return json
