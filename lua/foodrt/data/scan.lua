--- data.scan: which classes and photos are in root/{train,val,test}/CLASS/*, and the mistakes that folders have.
--- Lists of photos live in C; here are names of classes and counts.
local csv, err = require "foodrt.data.csv", require "foodrt.core.err"
local index, scan = csv.index, {}

local SPLITS = { "train", "val", "test" }

-- Raised at the line of the data.folder call.
local function fail(self, fmt, ...)
  err.at(self.line, "data: " .. fmt, ...)
end

local function is_folder(path)
  local lib = require "foodrt.core.ffi"
  local there = lib.ffi.new "int32_t[1]"
  lib.check(lib.C.frt_folder_there(path, there), "data: ")
  return there[0] ~= 0
end

-- What archives and file servers leave beside folders. Names that begin with a dot aren't listed at all.
local LITTER = { __MACOSX = true, ["@eaDir"] = true, ["#recycle"] = true, ["@Recycle"] = true, ["$RECYCLE.BIN"] = true,
  ["System Volume Information"] = true, ["lost+found"] = true, __pycache__ = true }

--- folders in `dir`, sorted by bytes, without those that archives and file servers leave.
function scan.folders(dir)
  local lib = require "foodrt.core.ffi"
  local text = lib.ffi.new "char *[1]"
  lib.check(lib.C.frt_folder_list(dir, text), "data: ")
  local list = lib.ffi.string(text[0])
  lib.C.frt_folder_free(text[0])
  local out = {}
  for name in list:gmatch "([^\n]+)/\n" do
    if not LITTER[name] then out[#out + 1] = name end
  end
  return out
end

-- The attributes file, whose path is as given or in the root: a table of csv.table with a row for every class and no other.
local function attributes(self, known)
  local kind, path = require("foodrt.core.io").kind, self.attributes
  if not kind(path) and kind(self.root .. "/" .. path) then path = self.root .. "/" .. path end
  local t, why = csv.table(path)
  if not t then fail(self, "%s", why) end
  if t.names[1] ~= "class" then fail(self, "'%s' must begin with a column 'class'", path) end
  local row_of = {}
  for _, row in ipairs(t.rows) do
    local class = row[1]
    if not known[class] then
      fail(self, "%s: row %d: there is no class '%s'%s", path, row.line, class, err.hint(class, known))
    end
    if row_of[class] then fail(self, "%s: row %d: class '%s' has row %d already", path, row.line, class, row_of[class].line) end
    row_of[class] = row
  end
  for _, class in ipairs(self.classes) do
    if not row_of[class] then
      fail(self, "%s: no row for class '%s' (where it has no value, write the class alone: %s%s)", path, class, class,
        (","):rep(#t.names - 1))
    end
  end
  return t, row_of
end

--- label columns: the class, then one for each further column of the attributes file. Values are sorted by
--- bytes and numbered from 1; a class without a value has 0 there, "missing".
local function columns(self, known)
  local out = { { name = "class", classes = self.classes, of_class = index(self.classes) } }
  if self.attributes then
    local t, row_of = attributes(self, out[1].of_class)
    for c = 2, #t.names do
      local name, seen, values, of = t.names[c], {}, {}, {}
      for class, row in pairs(row_of) do
        local value = row[c]
        if value ~= "" then
          of[class] = value
          if not seen[value] then
            seen[value] = true
            values[#values + 1] = value
          end
        end
      end
      table.sort(values)
      values = known[name] or values
      local number = index(values)
      for class, value in pairs(of) do
        of[class] = number[value] or fail(self, "%s: %s '%s' is not in training%s", self.attributes, name, value, err.hint(value, number))
      end
      out[c] = { name = name, classes = values, of_class = of }
    end
  end
  for _, column in ipairs(out) do out[column.name] = column end
  return out
end

local function split_of(self, name, folders)
  local lib = require "foodrt.core.ffi"
  local dir = self.root .. "/" .. name
  local made, n = lib.ffi.new "frt_manifest *[1]", lib.ffi.new "int32_t[1]"
  lib.check(lib.C.frt_manifest_new(made, #self.columns))
  local manifest = lib.ffi.gc(made[0], lib.C.frt_manifest_free)
  local labels = lib.ffi.new("int32_t[?]", #self.columns)
  local counts = {}
  for i, class in ipairs(folders) do
    for c, column in ipairs(self.columns) do labels[c - 1] = (column.of_class[class] or 0) - 1 end
    lib.check(lib.C.frt_manifest_scan(manifest, dir .. "/" .. class, labels, n), "data: ")
    if n[0] == 0 then fail(self, "no photos in '%s/%s'", dir, class) end
    counts[i] = n[0]
  end
  return { manifest = manifest, count = lib.C.frt_manifest_count(manifest), class_counts = counts, dir = dir }
end

-- Every class folder of a split must be a class, and every class must have a folder.
local function compare(self, name, folders)
  local known, here = index(self.classes), index(folders)
  for _, class in ipairs(folders) do
    if not known[class] then
      fail(self, "class '%s' is in '%s/%s' but not in '%s'%s", class, self.root, name, self.classes_from,
        err.hint(class, known))
    end
  end
  for _, class in ipairs(self.classes) do
    if not here[class] then
      fail(self, "no folder '%s/%s/%s', but the class is in '%s'", self.root, name, class, self.classes_from)
    end
  end
end

--- fills self.classes, self.columns and self.splits.
function scan.open(self, classes, only, known)
  if not is_folder(self.root) then
    fail(self, "no folder '%s' (photos are expected in %s/train/CLASS/)", self.root, self.root)
  end
  local wanted, folders = only or SPLITS, {}
  for _, name in ipairs(wanted) do
    local dir = self.root .. "/" .. name
    if is_folder(dir) then
      folders[name] = scan.folders(dir)
      if #folders[name] == 0 then fail(self, "no class folders in '%s'", dir) end
    elseif only or (name == "train" and not classes) then
      fail(self, "no folder '%s'", dir)
    end
  end
  local train = self.root .. "/train"
  self.classes = classes or folders.train or scan.folders(train)
  self.classes_from = classes and "the list of classes" or train
  self.columns = columns(self, known)
  local splits = {}
  for _, name in ipairs(wanted) do
    if folders[name] then
      compare(self, name, folders[name])
      splits[name] = split_of(self, name, folders[name])
    end
  end
  self.splits = splits
end

return scan
