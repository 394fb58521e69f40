--- data.csv: comma-separated tables, as spreadsheets write them.
---   csv.read "labels.csv"  -->  { { "path", "split" }, { "a, b.jpg", "train" }, … }
local csv = {}

--- the fields of one line; "quoted, fields" may hold commas, and "" is a quote in them.
function csv.fields(line)
  local row, at = {}, 1
  while at <= #line + 1 do
    local field
    if line:sub(at, at) == '"' then
      local from = at + 1
      repeat
        at = line:find('"', at + 1, true)
        local doubled = at and line:sub(at + 1, at + 1) == '"'
        if doubled then at = at + 1 end
      until not doubled
      field = line:sub(from, (at or #line + 1) - 1):gsub('""', '"')
      at = (line:find(",", at or #line, true) or #line + 1) + 1
    else
      local comma = line:find(",", at, true) or #line + 1
      field, at = line:sub(at, comma - 1), comma + 1
    end
    row[#row + 1] = field
  end
  return row
end

--- where each entry of a list of names stands.
function csv.index(list)
  local out = {}
  for i, name in ipairs(list) do out[name] = i end
  return out
end

--- rows of a file without its empty lines; nil and why when it can't be read.
function csv.read(path)
  local file, why = io.open(path)
  if not file then return nil, why end
  local rows = {}
  for line in file:lines() do
    line = line:gsub("\r$", "")
    if #rows == 0 then line = line:gsub("^\239\187\191", "") end  -- a byte order mark
    if line ~= "" then rows[#rows + 1] = csv.fields(line) end
  end
  file:close()
  return rows
end

return csv
