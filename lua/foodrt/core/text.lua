--- text: numbers and tables as people read them in a terminal, and curves drawn with block characters.
---   text.count(17641234)  -->  "17.6 M"      text.bytes(3.2e9)  -->  "3.0 GiB"
local text = {}

--- columns a UTF-8 string takes in a terminal: characters that are one column wide each.
function text.width(s)
  local _, tails = s:gsub("[\128-\191]", "")
  return #s - tails
end

--- s filled with spaces to w columns; right: from the left.
function text.pad(s, w, right)
  local fill = (" "):rep(w - text.width(s))
  return right and fill .. s or s .. fill
end

-- three digits
local function three(v)
  local digits = v >= 99.95 and 0 or v >= 9.995 and 1 or 2
  return ("%." .. digits .. "f"):format(v)
end

local UNITS = { { 1e15, "P" }, { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } }

--- a number in three digits with a decimal prefix: 981, 43.0 k, 17.6 M, 8.81 G.
function text.count(v)
  for _, u in ipairs(UNITS) do
    if v >= u[1] * 0.9995 then return three(v / u[1]) .. " " .. u[2] end
  end
  return v % 1 == 0 and ("%d"):format(v) or three(v)
end

--- bytes in MiB or GiB.
function text.bytes(v)
  if v >= 2 ^ 30 * 0.9995 then return three(v / 2 ^ 30) .. " GiB" end
  if v >= 2 ^ 20 * 0.0995 or v == 0 then return three(v / 2 ^ 20) .. " MiB" end
  return three(v / 2 ^ 10) .. " KiB"
end

--- a rate or factor: 0.001 is 1e-3, 0.00032 is 3.2e-4, 0.5 stays.
function text.rate(v)
  if v == 0 or v >= 0.01 and v < 1e4 then return ("%.4g"):format(v) end
  return (("%.3g"):format(v):find "e" and ("%.3g"):format(v) or ("%.2e"):format(v))
    :gsub("%.?0*e", "e"):gsub("e([+-])0*(%d)", function(sign, digit) return "e" .. (sign == "-" and "-" or "") .. digit end)
end

--- 1,234,567
function text.grouped(v)
  local s = ("%d"):format(v)
  local head = #s % 3
  local out = s:sub(1, head)
  for i = head + 1, #s, 3 do out = out .. (out ~= "" and "," or "") .. s:sub(i, i + 2) end
  return out
end

--- lists short enough to read: a, b, c … (12 in all).
function text.some(list, most)
  if #list <= most then return table.concat(list, ", ") end
  return ("%s … (%d in all)"):format(table.concat(list, ", ", 1, most), #list)
end

--- rows of strings under each other.
--- in   rows   the first may be a header; a missing cell is nil or ""
---      right  { [column] = true } for numbers
--- out         lines without trailing spaces
function text.columns(rows, right)
  local widths, n = {}, 0
  for _, row in ipairs(rows) do
    for c = 1, row.n or #row do
      widths[c] = math.max(widths[c] or 0, text.width(row[c] or ""))
      n = math.max(n, c)
    end
  end
  local out = {}
  for i, row in ipairs(rows) do
    local cells = {}
    for c = 1, n do cells[c] = text.pad(row[c] or "", widths[c], right and right[c]) end
    out[i] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return out
end

local SHOWN = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

--- a text as a terminal may have it: names of files and classes can hold anything. Control characters, marks that turn the
--- direction of writing, and bytes that are no UTF-8 are shown as \xNN. lines: line breaks and tabs stay.
function text.safe(s, lines)
  local function code(c)
    return (c:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
  end
  if s:find "[%c\127]" then
    s = s:gsub("[%c\127]", function(c)
      if lines and (c == "\n" or c == "\t") then return c end
      return SHOWN[c] or code(c)
    end)
  end
  if not s:find "[\128-\255]" then return s end
  s = require("foodrt.core.json").each_wrong_byte(s, function(byte) return code(string.char(byte)) end)
  s = s:gsub("\194[\128-\159]", code):gsub("\226\128[\170-\174]", code):gsub("\226\129[\166-\169]", code)
  return s
end

local BLOCKS = { [0] = " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

--- values in 0 .. 1 as a plot of `height` lines, one column each; false leaves a column empty, "|" draws a border.
--- What is above zero is at least one eighth high.
function text.plot(values, height)
  local lines = {}
  for row = height, 1, -1 do
    local cells = {}
    for i, v in ipairs(values) do
      if v == "|" then
        cells[i] = "│"
      elseif not v then
        cells[i] = " "
      else
        local eighths = math.max(v > 0 and 1 or 0, math.floor(v * height * 8 + 0.5)) - (row - 1) * 8
        cells[i] = BLOCKS[math.max(0, math.min(8, eighths))]
      end
    end
    lines[#lines + 1] = table.concat(cells)
  end
  return lines
end

return text
