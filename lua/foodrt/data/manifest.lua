--- data.manifest: photos listed in a CSV file: path, split and label columns. Labels are numbered from 1 in the order
--- of their bytes; an empty one is 0, "missing".
local csv, err = require "foodrt.data.csv", require "foodrt.core.err"
local index, manifest = csv.index, {}

local SPLITS = { train = true, val = true, test = true }

local function fail(self, fmt, ...)
  err.at(self.line, "data: " .. fmt, ...)
end

local function fail_row(self, row, fmt, ...)
  fail(self, "%s: row %d: " .. fmt, self.file, row.line, ...)
end

-- A column that is nearly one of ours would become a label: "Split" trains on the test photos.
local function check_name(self, name)
  local own = { path = true, split = true }
  local meant = own[name:lower()] and name:lower() or name:lower():match "^split" and "split"
  if meant and not own[name] then
    fail(self, "'%s': the column '%s' would be a label, did you mean '%s'?", self.file, name, meant)
  end
end

-- Where path, split and the labels stand in a row.
local function header(self, t)
  local labels = {}
  for i, name in ipairs(t.names) do
    check_name(self, name)
    if name ~= "path" and name ~= "split" then labels[#labels + 1] = { name = name, at = i } end
  end
  if not t.at.path then fail(self, "'%s' has no column 'path'%s", self.file, err.hint("path", t.at)) end
  if #labels == 0 then fail(self, "'%s' has no label column", self.file) end
  return t.at.path, t.at.split, labels
end

-- Without a split column every photo is trained on: also those of a column that holds splits under another name.
local function check_splitless(self, labels)
  for _, column in ipairs(labels) do
    local all = #column.classes > 1
    for _, name in ipairs(column.classes) do all = all and (SPLITS[name] or name == "valid" or name == "validation") end
    if all then
      fail(self, "'%s': the column '%s' holds names of splits and would be a label; call it 'split'", self.file, column.name)
    end
  end
end

-- Classes of each column: what training photos have there.
local function columns(rows, split_at, labels, classes, known)
  for c, column in ipairs(labels) do
    local seen, list = {}, {}
    for _, row in ipairs(rows) do
      local value = row[column.at]
      if value ~= "" and not seen[value] and (not split_at or row[split_at] == "train") then
        seen[value] = true
        list[#list + 1] = value
      end
    end
    table.sort(list)
    column.classes = c == 1 and classes or known[column.name] or list
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

-- Adds a row's photo to its split; `values` is room for its labels.
local function add(self, s, row, path, values)
  local lib = require "foodrt.core.ffi"
  for c, column in ipairs(self.columns) do
    local value = row[column.at]
    local number = column.of_class[value]
    if value ~= "" and not number then
      fail_row(self, row, "%s '%s' is not in training%s", column.name, value, err.hint(value, column.of_class))
    end
    values[c - 1] = (number or 0) - 1
  end
  lib.check(lib.C.frt_manifest_add(s.manifest, path, values))
  s.count = s.count + 1
  if values[0] >= 0 then s.class_counts[values[0] + 1] = s.class_counts[values[0] + 1] + 1 end
end

local function file_of(self, path)
  return path:sub(1, 1) == "/" and path or self.root .. "/" .. path
end

-- The same file is written one way: without "./" and doubled slashes.
local function normal(whole)
  repeat
    local n
    whole, n = whole:gsub("/%./", "/")
  until n == 0
  return (whole:gsub("//+", "/"):gsub("^%./", ""))
end

-- One photo has one label in each column and is in one split. A row may come again as it is: the photo counts twice.
local function check_again(self, row, before, path, split_at)
  if split_at and row[split_at] ~= before[split_at] then
    fail_row(self, row, "'%s' is in split '%s', in row %d in '%s'", path, row[split_at], before.line, before[split_at])
  end
  for _, column in ipairs(self.columns) do
    local now, was = row[column.at], before[column.at]
    if now ~= was then
      fail_row(self, row, "'%s': %s is '%s', in row %d '%s'", path, column.name, now, before.line, was)
    end
  end
end

--- fills self.classes, self.columns and self.splits.
function manifest.open(self, classes, only, known)
  local t, why = csv.table(self.file)
  if not t then fail(self, "%s", why) end
  local rows = t.rows
  local path_at, split_at, labels = header(self, t)
  self.root = self.root or self.file:match "^(.*)/" or "."
  for _, row in ipairs(rows) do
    if split_at and not SPLITS[row[split_at]] then
      fail_row(self, row, "split must be train, val or test, got '%s'", row[split_at])
    end
    if row[path_at] == "" then fail_row(self, row, "no path") end
  end
  self.columns = columns(rows, split_at, labels, classes, known)
  if not split_at then check_splitless(self, labels) end
  self.classes = self.columns[1].classes
  local wanted = only and index(only) or SPLITS
  local splits, values, seen = {}, require("ffi").new("int32_t[?]", #labels), {}
  for _, row in ipairs(rows) do
    local name, path = split_at and row[split_at] or "train", file_of(self, row[path_at])
    local key = normal(path)
    if seen[key] then check_again(self, row, seen[key], row[path_at], split_at) end
    seen[key] = seen[key] or row
    if wanted[name] then
      splits[name] = splits[name] or new_split(self, #labels)
      add(self, splits[name], row, path, values)
    end
  end
  for _, name in ipairs(only or (classes and {} or { "train" })) do
    if not splits[name] then fail(self, "no photo of split '%s' in '%s'", name, self.file) end
  end
  self.splits = splits
end

return manifest
