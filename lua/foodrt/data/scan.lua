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
  return require("foodrt.core.ffi").C.frt_is_folder(path) ~= 0
end

--- folders in `dir`, sorted by bytes.
function scan.folders(dir)
  local lib = require "foodrt.core.ffi"
  local text = lib.ffi.new "char *[1]"
  lib.check(lib.C.frt_folder_list(dir, text), "data: ")
  local list = lib.ffi.string(text[0])
  lib.C.frt_folder_free(text[0])
  local out = {}
  for name in list:gmatch "([^\n]+)/\n" do out[#out + 1] = name end
  return out
end

-- Path and rows of the attributes file, whose path is as given or in the root.
local function attributes(self)
  local rows, why = csv.read(self.attributes)
  local path = self.attributes
  if not rows then
    rows, path = csv.read(self.root .. "/" .. path), self.root .. "/" .. path
  end
  if not rows then fail(self, "cannot read attributes: %s", why) end
  return path, rows
end

--- label columns: the class, then one for each further column of the attributes file. Values are sorted by
--- bytes and numbered from 1; a class without a value has 0 there, "missing".
local function columns(self)
  local out = { { name = "class", classes = self.classes, of_class = index(self.classes) } }
  if self.attributes then
    local path, rows = attributes(self)
    local head = rows[1] or {}
    if head[1] ~= "class" then fail(self, "'%s' must begin with a column 'class'", path) end
    for c = 2, #head do
      local seen, values, of = {}, {}, {}
      for r = 2, #rows do
        local class, value = rows[r][1], rows[r][c]
        if value and value ~= "" and out[1].of_class[class] then
          of[class] = value
          if not seen[value] then
            seen[value] = true
            values[#values + 1] = value
          end
        end
      end
      table.sort(values)
      local number = index(values)
      for class, value in pairs(of) do of[class] = number[value] end
      out[c] = { name = head[c], classes = values, of_class = of }
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
function scan.open(self, classes, only)
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
  self.columns = columns(self)
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
