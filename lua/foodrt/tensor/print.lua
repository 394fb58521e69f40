--- print: a tensor as text, as PyTorch prints one, with its shape and dtype behind it:
---   tensor([[1.0000, 2.5000],
---           [3.0000, 4.0000]], [2, 2] f32)
local R = require "foodrt.tensor.record"

local EDGE, MANY = 3, 1000  -- above MANY elements only the first and last EDGE of each dimension are shown

local function is_whole(v)
  return v % 1 == 0
end

--- one format for all shown numbers: integers bare, else 4 decimals, scientific when the range is wide.
local function number_format(values, whole_dtype)
  local whole, high, low = true, 0, math.huge
  for _, v in ipairs(values) do
    if v == v and v ~= math.huge and v ~= -math.huge then
      whole = whole and is_whole(v)
      local a = math.abs(v)
      high = math.max(high, a)
      if a > 0 then low = math.min(low, a) end
    end
  end
  if whole_dtype then return "%d" end
  if whole then return high < 1e8 and "%.0f." or "%.4e" end
  if high >= 1e8 or high > 1000 * low or low < 1e-4 then
    return (high >= 1e5 or low < 1e-4) and "%.4e" or "%.4f"
  end
  return "%.4f"
end

local function show(fmt, v)
  if v ~= v then return "nan" end
  if v == math.huge then return "inf" end
  if v == -math.huge then return "-inf" end
  return fmt:format(v)
end

--- positions of a dimension that are shown; false where the gap is.
local function shown(size, cut)
  local list = {}
  if cut and size > 2 * EDGE then
    for i = 1, EDGE do list[i] = i end
    list[EDGE + 1] = false
    for i = size - EDGE + 1, size do list[#list + 1] = i end
  else
    for i = 1, size do list[i] = i end
  end
  return list
end

local function text(t)
  local buf, get, numel = R.read(t)
  local s, dtype = t.shape, t.dtype
  local cut = numel > MANY
  local stride, n = {}, 1
  for d = #s, 1, -1 do
    stride[d] = n
    n = n * s[d]
  end
  local values = {}
  local function gather(d, at)
    if d > #s then
      values[#values + 1] = get(buf, at)
      return
    end
    for _, i in ipairs(shown(s[d], cut)) do
      if i then gather(d + 1, at + (i - 1) * stride[d]) end
    end
  end
  gather(1, 0)
  local fmt = number_format(values, dtype == "i32" or dtype == "i64" or dtype == "u8")
  local width, next_value = 0, 0
  for i, v in ipairs(values) do
    values[i] = show(fmt, v)
    width = math.max(width, #values[i])
  end
  local function build(d, indent)
    if d > #s then
      next_value = next_value + 1
      local v = values[next_value]
      return #s == 0 and v or (" "):rep(width - #v) .. v
    end
    local parts = {}
    for _, i in ipairs(shown(s[d], cut)) do parts[#parts + 1] = i and build(d + 1, indent + 1) or "..." end
    if d == #s then return "[" .. table.concat(parts, ", ") .. "]" end
    local gap = "," .. ("\n"):rep(#s - d) .. (" "):rep(indent + 1)
    return "[" .. table.concat(parts, gap) .. "]"
  end
  return ("tensor(%s, [%s] %s)"):format(build(1, 7), table.concat(s, ", "), dtype)
end

R.mt.__tostring = text
