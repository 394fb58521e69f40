--- data.csv: comma-separated tables, as spreadsheets and pandas write them (RFC 4180). What is no such table is an error with
--- its row, never half a table.
---   csv.read "labels.csv"   -->  { { "path", "split" }, { "a, b.jpg", "train" }, … }, { 1, 2, … }
---   csv.table "labels.csv"  -->  { file = "labels.csv", names = { "path", "split" }, at = { path = 1, split = 2 }, rows = { … } }
---
--- A row's number is the line of the file it begins at. Blanks around a field are no part of it, inside quotes they are.
local csv = {}

local function trim(s)
  if not s:find "^[ \t\194]" and not s:find "[ \t\160]$" then return s end
  local before
  repeat
    before = s
    s = s:gsub("^[ \t]+", ""):gsub("[ \t]+$", ""):gsub("^\194\160", ""):gsub("\194\160$", "")
  until s == before
  return s
end

-- The fields of a record without quotes.
local function plain(record)
  local row, at = {}, 1
  while true do
    local comma = record:find(",", at, true)
    row[#row + 1] = trim(record:sub(at, (comma or 0) - 1))
    if not comma then return row end
    at = comma + 1
  end
end

-- How many lines end in s.
local function breaks(s)
  local _, n = s:gsub("\r\n", "\n"):gsub("[\r\n]", "")
  return n
end

-- The quoted field whose quote is at `from`: the text, and where the field ends. nil and why.
local function quoted(text, from)
  local at = from
  repeat
    at = text:find('"', at + 1, true)
    local doubled = at and text:sub(at + 1, at + 1) == '"'
    if doubled then at = at + 1 end
  until not doubled
  if not at then return nil, "a quote is opened and never closed" end
  local after = text:find("[^ \t]", at + 1) or #text + 1
  if after <= #text and not text:find("^[,\r\n]", after) then return nil, "text stands behind a closing quote" end
  return (text:sub(from + 1, at - 1):gsub('""', '"')), after
end

-- The record that begins at `at` and holds quotes: its fields, and where it ends. nil and why.
local function record_of(text, at)
  local row = {}
  while true do
    local first = text:find("[^ \t]", at) or #text + 1
    local field, stop
    if text:sub(first, first) == '"' then
      field, stop = quoted(text, first)
      if not field then return nil, stop end
    else
      stop = text:find("[,\r\n]", at) or #text + 1
      field = trim(text:sub(at, stop - 1))
    end
    row[#row + 1] = field
    if text:sub(stop, stop) ~= "," then return row, stop end
    at = stop + 1
  end
end

--- rows of a text, without those that are empty, and their numbers. nil, why, and the row's number when it is no table.
function csv.parse(text)
  if text:find "^\255\254" or text:find "^\254\255" or text:find("%z") then return nil, "is UTF-16 or binary, must be UTF-8 text", 1 end
  local rows, numbers, at, line = {}, {}, text:find "^\239\187\191" and 4 or 1, 1  -- behind a byte order mark
  local quote = text:find('"', 1, true) or #text + 1
  while at <= #text do
    local stop, row = text:find("[\r\n]", at) or #text + 1
    if quote < at then quote = text:find('"', at, true) or #text + 1 end
    if quote >= stop then
      row = plain(text:sub(at, stop - 1))
    else
      local found, why = record_of(text, at)
      if not found then return nil, why, line end
      row, stop = found, why
    end
    local began = line
    local last = stop <= #text and text:sub(stop, stop + 1) == "\r\n" and stop + 1 or stop
    line = line + breaks(text:sub(at, last))
    at = last + 1
    if table.concat(row):find "%S" then rows[#rows + 1], numbers[#rows + 1] = row, began end
  end
  return rows, numbers
end

--- rows of a file without its empty ones, and their numbers; nil and why when it can't be read or is no table.
function csv.read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, "cannot read " .. why end
  local text, failed = file:read "*a"
  file:close()
  if not text then return nil, ("cannot read %s: %s"):format(path, failed) end
  local rows, numbers, line = csv.parse(text)
  if not rows then return nil, ("%s: row %d: %s"):format(path, line, numbers) end
  return rows, numbers
end

-- What a header of one column says that is separated by something else than commas.
local function separator(row)
  local head = #row == 1 and row[1] or ""
  if head:find(";", 1, true) then return "semicolons" end
  if head:find("\t", 1, true) then return "tabs" end
  if head:find("|", 1, true) then return "bars (|)" end
end

-- Columns at the end that have neither a name nor values: a spreadsheet's.
local function drop_empty(rows)
  local n = #rows[1]
  while n > 0 and rows[1][n] == "" do
    for _, row in ipairs(rows) do
      if (row[n] or "") ~= "" then return end
    end
    for _, row in ipairs(rows) do
      if #row >= n then row[n] = nil end
    end
    n = n - 1
  end
end

-- nil and why.
local function checked_header(rows)
  local names, at = rows[1], {}
  local other = separator(names)
  if other then return nil, ("its columns are separated by %s; save it separated by commas"):format(other) end
  for i, name in ipairs(names) do
    if name:find "^%s*$" then return nil, ("column %d has no name (pandas: to_csv(…, index=False))"):format(i) end
    if name:find "[\r\n]" then return nil, ("the name of column %d has a line break"):format(i) end
    if at[name] then return nil, ("two columns are called '%s'"):format(name) end
    at[name] = i
  end
  return at
end

-- nil, the row and why.
local function check_rows(rows, names)
  for r = 2, #rows do
    local row = rows[r]
    if #row ~= #names then
      return nil, row, ("has %d field%s, the header has %d%s"):format(#row, #row == 1 and "" or "s", #names,
        #row > #names and " (a comma in a value wants quotes)" or "")
    end
    for i = 1, #row do
      row[i] = trim(row[i])
      if row[i]:find "[\r\n]" then return nil, row, ("'%s' has a line break"):format(names[i]) end
    end
  end
  return true
end

--- a file with a header: { file, names, at = place of each name, rows = those below the header }; nil and why, with file and
--- row, when a row has more or fewer fields than the header, two columns have one name, or it isn't separated by commas.
function csv.table(path)
  local rows, numbers = csv.read(path)
  if not rows then return nil, numbers end
  if #rows == 0 then return nil, ("'%s' is empty"):format(path) end
  for i, row in ipairs(rows) do row.line = numbers[i] end
  drop_empty(rows)
  for i, name in ipairs(rows[1]) do rows[1][i] = trim(name) end
  local at, wrong = checked_header(rows)
  if not at then return nil, ("%s: row %d: %s"):format(path, rows[1].line, wrong) end
  local names = rows[1]
  local good, row, what = check_rows(rows, names)
  if not good then return nil, ("%s: row %d: %s"):format(path, row.line, what) end
  table.remove(rows, 1)
  return { file = path, names = names, at = at, rows = rows }
end

--- where each entry of a list of names stands.
function csv.index(list)
  local out = {}
  for i, name in ipairs(list) do out[name] = i end
  return out
end

return csv
