--- literal: Lua's literals read as data: numbers (with / and *: 4/3), strings, true, false, nil and tables of them. Nothing is
--- run, whoever wrote the text.
---   literal.read "{ scale = { 0.8, 1 }, 'a' }"  -->  { scale = { 0.8, 1 }, "a" }
---   literal.read "{ top1 }"                     -->  nil, "'top1' is not defined; text wants quotes"
local literal = {}

local WORDS = { ["true"] = true, ["false"] = false }
local ESCAPES = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v" }
local DEEPEST = 100

local Reader = {}
Reader.__index = Reader

-- what is wrong, as an error that `read` catches
local function fail(fmt, ...)
  error({ literal = fmt:format(...) }, 0)
end

function Reader:blanks()
  self.at = self.text:find("[^%s]", self.at) or #self.text + 1
end

-- what the pattern matches here, passed over; nil when it doesn't
function Reader:take(pattern)
  self:blanks()
  local found = self.text:match("^" .. pattern, self.at)
  if found then self.at = self.at + #found end
  return found
end

function Reader:rest()
  local text = self.text:sub(self.at, self.at + 11)
  return text == "" and "the end" or ("'%s'"):format(text)
end

function Reader:string(quote)
  local parts = {}
  while true do
    local plain = self.text:match("^[^\\'\"]*", self.at)
    self.at = self.at + #plain
    local c = self.text:sub(self.at, self.at)
    parts[#parts + 1] = plain
    self.at = self.at + 1
    if c == "" then fail "a string has no end" end
    if c == quote then return table.concat(parts) end
    if c == "\\" then
      local code = self.text:match("^%d%d?%d?", self.at)
      local e = self.text:sub(self.at, self.at)
      if code and tonumber(code) > 255 then fail("the escape \\%s is too large", code) end
      parts[#parts + 1] = code and string.char(tonumber(code)) or ESCAPES[e] or e
      self.at = self.at + (code and #code or 1)
    else
      parts[#parts + 1] = c
    end
  end
end

function Reader:number()
  local sign = self:take "%-" and -1 or 1
  local text = self:take "0[xX]%x+" or self:take "%d+%.?%d*[eE][%+%-]?%d+" or self:take "%.%d+[eE][%+%-]?%d+"
    or self:take "%d+%.?%d*" or self:take "%.%d+"
  if not text then fail("a value is expected, got %s", self:rest()) end
  return sign * tonumber(text)
end

function Reader:quotient()
  local v = self:number()
  while true do
    local op = self:take "[/%*]"
    if not op then return v end
    local w = self:number()
    v = op == "/" and v / w or v * w
  end
end

local function key_of(self)
  local at = self.at
  local name = self:take "[%a_][%w_]*"
  if name and self:take "=%f[^=]" then return name end
  self.at = at
  if not self:take "%[" then return nil end
  local key = self:value()
  if not self:take "%]" or not self:take "=" then fail("']' and '=' are expected after a key, got %s", self:rest()) end
  if key == nil or key ~= key then fail "a key can't be nil" end
  return key
end

function Reader:table()
  local out, n = {}, 0
  self.depth = self.depth + 1
  if self.depth > DEEPEST then fail("tables go deeper than %d", DEEPEST) end
  while not self:take "}" do
    local key = key_of(self)
    if key == nil then
      n = n + 1
      key = n
    end
    out[key] = self:value()
    if not self:take "[,;]" and not self.text:find("^%s*}", self.at) then
      fail("',' or '}' is expected, got %s", self:rest())
    end
  end
  self.depth = self.depth - 1
  return out
end

function Reader:value()
  local c = self:take "[{\"']"
  if c == "{" then return self:table() end
  if c then return self:string(c) end
  local word = self:take "[%a_][%w_%.]*"
  if not word then return self:quotient() end
  if word == "nil" then return nil end
  if WORDS[word] ~= nil then return WORDS[word] end
  fail("'%s' is not defined; text wants quotes", word)
end

--- the value of a text; nil and why for one that is no literal (nil is a value too: then there is no why).
function literal.read(text)
  local r = setmetatable({ text = text, at = 1, depth = 0 }, Reader)
  local ok, value = pcall(function()
    local v = r:value()
    r:blanks()
    if r.at <= #text then fail("the end is expected, got %s", r:rest()) end
    return v
  end)
  if ok then return value end
  if type(value) == "table" and value.literal then return nil, value.literal end
  error(value, 0)
end

return literal
