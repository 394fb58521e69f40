--- data.manifest: photos listed in a CSV file: path, split and label columns. Labels are numbered from 1 in the order
--- of their bytes; an empty one is 0, "missing".
local csv, err = require "foodrt.data.csv", require "foodrt.core.err"
local index, manifest = csv.index, {}

local SPLITS = { train = true, val = true, test = true }

local function fail(self, fmt, ...)
  err.at(self.line, "data: " .. fmt, ...)
end

-- Where path, split and the labels stand in a row.
local function header(self, row)
  local at = index(row or {})
  if not at.path then fail(self, "'%s' has no column 'path'", self.file) end
  local labels = {}
  for i, name in ipairs(row) do
    if name ~= "path" and name ~= "split" then labels[#labels + 1] = { name = name, at = i } end
  end
  if #labels == 0 then fail(self, "'%s' has no label column", self.file) end
  return at.path, at.split, labels
end

-- Classes of each column: what training photos have there.
local function columns(rows, split_at, labels, classes)
  for c, column in ipairs(labels) do
    local seen, list = {}, {}
    for r = 2, #rows do
      local value = rows[r][column.at] or ""
      if value ~= "" and not seen[value] and (not split_at or rows[r][split_at] == "train") then
        seen[value] = true
        list[#list + 1] = value
      end
    end
    table.sort(list)
    column.classes = c == 1 and classes or list
    column.of_class = index(column.classes)
    labels[column.name] = column
  end
  return labels
end

local function new_split(self, n_columns)
  local lib = require "foodrt.core.ffi"
  local made = lib.ffi.new "frt_manifest *[1]"
  lib.check(lib.C.frt_manifest_new(made, n_columns))
  local s = { manifest = lib.ffi.gc(made[0], lib.C.frt_manifest_free), count = 0, class_counts = {}, dir = self.file }
  for i = 1, #self.classes do s.class_counts[i] = 0 end
  return s
end

-- Adds the photo of row r to its split; `values` is room for its labels.
local function add(self, s, row, r, path, values)
  local lib = require "foodrt.core.ffi"
  for c, column in ipairs(self.columns) do
    local value = row[column.at] or ""
    local number = column.of_class[value]
    if value ~= "" and not number then
      fail(self, "%s: row %d: %s '%s' is not in training%s", self.file, r, column.name, value,
        err.hint(value, column.of_class))
    end
    values[c - 1] = (number or 0) - 1
  end
  lib.check(lib.C.frt_manifest_add(s.manifest, path:sub(1, 1) == "/" and path or self.root .. "/" .. path, values))
  s.count = s.count + 1
  if values[0] >= 0 then s.class_counts[values[0] + 1] = s.class_counts[values[0] + 1] + 1 end
end

--- fills self.classes, self.columns and self.splits.
function manifest.open(self, classes, only)
  local rows, why = csv.read(self.file)
  if not rows then fail(self, "cannot read %s", why) end
  local path_at, split_at, labels = header(self, rows[1])
  self.root = self.root or self.file:match "^(.*)/" or "."
  self.columns = columns(rows, split_at, labels, classes)
  self.classes = self.columns[1].classes
  local wanted = only and index(only) or SPLITS
  local splits, values = {}, require("ffi").new("int32_t[?]", #labels)
  for r = 2, #rows do
    local row = rows[r]
    local name = split_at and row[split_at] or "train"
    if not SPLITS[name] then
      fail(self, "%s: row %d: split must be train, val or test, got '%s'", self.file, r, tostring(name))
    end
    if wanted[name] then
      splits[name] = splits[name] or new_split(self, #labels)
      add(self, splits[name], row, r, row[path_at] or "", values)
    end
  end
  for _, name in ipairs(only or (classes and {} or { "train" })) do
    if not splits[name] then fail(self, "no photo of split '%s' in '%s'", name, self.file) end
  end
  self.splits = splits
end

return manifest
