--- io: safetensors files in both directions, and replacing any file so that a crash never leaves half of one.
---   local tensors, metadata = frt.load "b0.safetensors"
---   frt.save("copy.safetensors", tensors, { note = "unchanged" })
local lib = require "foodrt.core.ffi"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local T = require "foodrt.tensor"
local bit = require "bit"
local ffi, C = lib.ffi, lib.C
local io_ = {}

local OWN = { "foodrt.hash", "foodrt.format" }  -- what save adds to the metadata

local function hex(u64)
  return bit.tohex(tonumber(bit.rshift(u64, 32)), 8) .. bit.tohex(tonumber(bit.band(u64, 0xffffffffULL)), 8)
end

local function check_path(name, path)
  if type(path) ~= "string" or path == "" then err.user("%s: 'path' must be string, got %s", name, opt.show(path)) end
  if path:find("%z") then err.user("%s: 'path' has a zero byte", name) end
end

local function open(name, path, place)
  check_path(name, path)
  local handle = ffi.new "frt_file *[1]"
  lib.check(C.frt_file_open_at(path, place, handle))
  return ffi.gc(handle[0], C.frt_file_close)
end

--- calls fn(file) with the file open, closes it and returns what fn did; fn returns a status first, which is
--- checked only after closing.
local function with_file(name, path, fn, place)
  local file = open(name, path, place)
  local ok, status, a, b, c = err.catch(fn, file)
  local text = ok and status ~= 0 and ffi.string(C.frt_error_last())
  ffi.gc(file, nil)
  C.frt_file_close(file)
  if not ok then error(status, 0) end
  if text then err.user("%s", text) end
  return a, b, c
end

-- --- metadata ------------------------------------------------------------------------------------------------------
-- The format holds UTF-8 without zeros only; other texts are kept as JSON behind a mark.
local BYTES = "json-bytes:"

local function pack_text(text)
  local json = require "foodrt.core.json"
  local plain = not text:find "%z" and json.each_wrong_byte(text, function() return "" end) == text
  if plain and text:sub(1, #BYTES) ~= BYTES then return text end
  return BYTES .. json.encode(text)
end

local function unpack_text(text)
  if text:sub(1, #BYTES) ~= BYTES then return text end
  local v = require("foodrt.core.json").decode(text:sub(#BYTES + 1))
  return type(v) == "string" and v or text
end

local key, value = ffi.new "const char *[1]", ffi.new "const char *[1]"

local function metadata_of(file)
  local out = {}
  for i = 0, C.frt_file_meta_count(file) - 1 do
    local status = C.frt_file_meta(file, i, key, value)
    if status ~= 0 then return nil, status end
    out[ffi.string(key[0])] = unpack_text(ffi.string(value[0]))
  end
  for _, k in ipairs(OWN) do out[k] = nil end
  return out
end

local info = ffi.new "frt_file_tensor"
local DTYPE = { [0] = "f32", "f64", "i32", "bf16", "u8", "i64", "f16" }

-- what the directory says of a tensor; dtype is nil where its numbers can't be read
local function entry(file, i)
  local status = C.frt_file_tensor_at(file, i, info)
  if status ~= 0 then return status end
  local shape = {}
  for d = 0, math.min(info.ndim, 8) - 1 do shape[d + 1] = tonumber(info.dim[d]) end
  return 0, { name = ffi.string(info.name), shape = shape, dtype = DTYPE[info.shape.dtype], n_dim = info.ndim > 8 and info.ndim or nil,
    stored = ffi.string(info.dtype), bytes = tonumber(info.bytes) }
end

-- why a tensor can't be held, nil where it can
local function unfit(e)
  local n = e.n_dim or #e.shape
  return not e.dtype and e.stored or n > 6 and ("%d dimensions"):format(n) or e.bytes == 0 and "empty" or nil
end

local function notes_of(file, passed)
  local notes = {}
  for line in ffi.string(C.frt_file_notes(file)):gmatch "[^\n]+" do notes[#notes + 1] = line end
  if #passed > 0 then
    notes[#notes + 1] = ("passed over %s: %s"):format(#passed == 1 and "a tensor that can't be held" or "tensors that can't be held",
      require("foodrt.core.text").some(passed, 6))
  end
  return notes
end

local LOAD = { "load", place = { "string", nil }, say = { "function", nil } }

local function say(text)
  io.stderr:write(require("foodrt.core.text").safe(text), "\n")
end

--- frt.load(path [, { place = "state_dict_ema" }]): { name = tensor }, metadata. F16 and BF16 come as f32, small integers as i32.
--- A file that frt.save wrote is checked against its own hash first. What a file of others holds besides and can't be
--- held (8-bit floats, objects of Python, empty tensors) is passed over and said in a line each, by o.say where it is given.
--- place: where in a PyTorch file the weights lie, if not in the usual places.
function io_.load(path, o)
  o = opt.check(LOAD, o)
  local out, metadata, notes = with_file("load", path, function(file)
    local status = C.frt_file_verify(file)
    if status ~= 0 then return status end
    local out, passed, n, first = {}, {}, 0, nil
    for i = 0, C.frt_file_count(file) - 1 do
      local e
      status, e = entry(file, i)
      if status ~= 0 then return status end
      local why = unfit(e)
      if why then
        first = first or i
        passed[#passed + 1] = ("%s (%s)"):format(e.name, why)
      else
        local t = T.var { shape = e.shape, dtype = e.dtype, name = e.name }
        status = T.fill_from(t, function(p, bytes) return C.frt_file_read(file, i, p, bytes) end)
        if status ~= 0 then return status end
        out[e.name], n = t, n + 1
      end
    end
    if n == 0 and first then return C.frt_file_read(file, first, nil, 0) end  -- says why
    return 0, out, (metadata_of(file)), notes_of(file, passed)
  end, o.place)
  for _, note in ipairs(notes) do (o.say or say)(("'%s': %s"):format(path, note)) end
  return out, metadata
end

--- io.list(path [, place]): what is in a file without reading it: { { name, shape, dtype, stored, bytes }, … } by name,
--- the metadata, and a list of what was passed over. dtype is what it is read as, nil where it can't be; stored is the
--- file's word for it; shape has 8 sizes at most, n_dim says how many there are where it is more.
function io_.list(path, place)
  return with_file("list", path, function(file)
    local out = {}
    for i = 0, C.frt_file_count(file) - 1 do
      local status, e = entry(file, i)
      if status ~= 0 then return status end
      out[i + 1] = e
    end
    return 0, out, (metadata_of(file)), notes_of(file, {})
  end, place)
end

--- io.hash(path): 16 hex digits over all tensors (names, types, shapes, values), whatever their order; the
--- metadata does not count. Equal hashes are how "resumed as if never stopped" is proved.
function io_.hash(path)
  return (with_file("hash", path, function(file)
    local tensors, metadata = ffi.new "uint64_t[1]", ffi.new "uint64_t[1]"
    local status = C.frt_file_hash(file, tensors, metadata)
    return status, status == 0 and hex(tensors[0])
  end))
end

local function strings(list)
  local out = ffi.new("const char *[?]", math.max(#list, 1))
  for i, s in ipairs(list) do out[i - 1] = s end
  return out
end

local function sorted_keys(what, t)
  if type(t) ~= "table" or getmetatable(t) then err.user("save: %s must be a table, got %s", what, opt.show(t)) end
  local keys = {}
  for k in pairs(t) do
    if type(k) ~= "string" then err.user("save: a name in %s must be a string, got %s", what, opt.show(k)) end
    if k:find "%z" then err.user("save: a name in %s has a zero byte", what) end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  return keys
end

local SAVE = { "save", dtype = { "string", nil } }
local FLOATS = { f32 = 0, bf16 = 3, f16 = 6 }

local function float_dtype(name, dtype)
  if dtype == nil then return -1 end
  if not FLOATS[dtype] then
    err.user("%s: 'dtype' must be one of f32, bf16, f16, got %s%s", name, opt.show(dtype),
      type(dtype) == "string" and err.hint(dtype, FLOATS) or "")
  end
  return FLOATS[dtype]
end

--- frt.save(path, { name = tensor } [, { key = "text" } [, { dtype = "bf16" }]]): replaces the file as a whole. The same
--- tensors and metadata give the same bytes. Metadata "foodrt.hash" is added, by which load finds damage. dtype: what
--- floats are written as (f32, bf16, f16); a value that is too large for it is an error.
function io_.save(path, tensors, metadata, o)
  check_path("save", path)
  local float = float_dtype("save", opt.check(SAVE, o).dtype)
  metadata = metadata or {}
  local names, keys = sorted_keys("'tensors'", tensors), sorted_keys("'metadata'", metadata)
  local list, computed, texts = {}, {}, {}
  for i, name in ipairs(names) do
    local t = tensors[name]
    if not T.is(t) then err.user("save: '%s' must be a tensor, got %s", name, opt.show(t)) end
    list[i] = t
    if not t:is_var() then computed[#computed + 1] = t end
  end
  for i, k in ipairs(keys) do
    local text = metadata[k]
    if type(text) ~= "string" then err.user("save: metadata '%s' must be string, got %s", k, opt.show(text)) end
    texts[i] = pack_text(text)
  end
  local n = #names
  local shapes = ffi.new("frt_shape[?]", math.max(n, 1))
  local data, anchors = ffi.new("const void *[?]", math.max(n, 1)), {}
  T.api.realize(computed)  -- and what is pending: variables are read below
  for i, t in ipairs(list) do
    anchors[i] = T.bytes(t)
    data[i - 1] = ffi.cast("const void *", anchors[i])
    ffi.copy(shapes + (i - 1), T.info(t), ffi.sizeof "frt_shape")
  end
  lib.check(C.frt_file_write(path, n, strings(names), shapes, data, float, #keys, strings(keys), strings(texts)))
end

--- io.convert(to, parts, metadata [, dtype]): tensors of safetensors, PyTorch or numpy files as one safetensors file.
--- in   parts     { { path, names = { [name in the file] = new name }, place } }
---      dtype     of floats, as in save; other types stay as they are
function io_.convert(to, parts, metadata, dtype)
  check_path("convert", to)
  local float = float_dtype("convert", dtype)
  local handles, files, index, names, keys, texts = {}, {}, {}, {}, sorted_keys("'metadata'", metadata), {}
  for _, part in ipairs(parts) do
    local file = open("convert", part.path, part.place)
    handles[#handles + 1] = file
    lib.check(C.frt_file_verify(file))
    for i = 0, C.frt_file_count(file) - 1 do
      lib.check(C.frt_file_tensor_at(file, i, info))
      local new = part.names[ffi.string(info.name)]
      if new then
        files[#files + 1], index[#index + 1], names[#names + 1] = file, i, new
      end
    end
  end
  for i, k in ipairs(keys) do texts[i] = pack_text(metadata[k]) end
  local n = #names
  local list, at = ffi.new("const frt_file *[?]", math.max(n, 1)), ffi.new("int32_t[?]", math.max(n, 1))
  for i = 1, n do list[i - 1], at[i - 1] = files[i], index[i] end
  local status = C.frt_file_convert(to, n, list, at, strings(names), float, #keys, strings(keys), strings(texts))
  local why = status ~= 0 and ffi.string(C.frt_error_last())
  for _, file in ipairs(handles) do
    ffi.gc(file, nil)
    C.frt_file_close(file)
  end
  if why then err.user("%s", why) end
end

--- io.sha256(path): 64 hex digits.
function io_.sha256(path)
  check_path("sha256", path)
  local out = ffi.new "char[65]"
  lib.check(C.frt_file_sha256(path, out))
  return ffi.string(out)
end

--- io.replace(path, text): writes a whole file beside the old one, syncs it, and puts it in its place.
function io_.replace(path, text)
  check_path("replace", path)
  lib.check(C.frt_file_replace(path, text, #text))
end

--- io.real(path): the whole name of a file or folder, without links and dots; nil where there is none.
function io_.real(path)
  local out = ffi.new "char[4096]"
  if C.frt_path_real(path, out, 4096) ~= 0 then return nil end
  return ffi.string(out)
end

--- io.append(path, text [, sync]): adds to the end of a file, all of it or nothing; sync: it is on disk then.
function io_.append(path, text, sync)
  check_path("append", path)
  lib.check(C.frt_file_append(path, text, #text, sync and 1 or 0))
end

--- io.rename(from, to): over what is there.
function io_.rename(from, to)
  check_path("rename", from)
  check_path("rename", to)
  lib.check(C.frt_file_rename(from, to))
end

local Writer = {}
Writer.__index = Writer

--- io.writer(path): a file written in pieces, which takes its place as a whole with close(); drop() leaves the old one.
---   local w = io.writer "rows.csv";  w:put "a,b\n";  w:close()
function io_.writer(path)
  check_path("writer", path)
  local handle = ffi.new "frt_writer *[1]"
  lib.check(C.frt_writer_open(path, handle))
  return setmetatable({ handle = ffi.gc(handle[0], C.frt_writer_drop) }, Writer)
end

function Writer:put(text)
  lib.check(C.frt_writer_put(self.handle, text, #text))
end

function Writer:close()
  local handle = ffi.gc(self.handle, nil)
  self.handle = nil
  lib.check(C.frt_writer_close(handle))
end

function Writer:drop()
  local handle = self.handle and ffi.gc(self.handle, nil)
  self.handle = nil
  if handle then C.frt_writer_drop(handle) end
end

local lock = ffi.new "int32_t[1]"
local BUSY = -6  -- FRT_ESTATE

--- io.locked(path, fn [, waiting]): runs fn() while no other process has the lock `path` (a file that is made) and returns its
--- first three results. Waits for it; waiting() is called before each look, and what it returns, if anything, ends the wait.
function io_.locked(path, fn, waiting)
  check_path("locked", path)
  while true do
    local status = C.frt_file_lock(path, lock)
    if status == 0 then break end
    if status ~= BUSY then lib.check(status) end
    local ended = waiting and waiting()
    if ended ~= nil then return ended end
    C.frt_sleep(200)
  end
  local held = lock[0]
  local ok, a, b, c = err.catch(fn)
  C.frt_file_unlock(held)
  if not ok then error(a, 0) end
  return a, b, c
end

--- io.make_folders(path): with its parents; it may be there already.
function io_.make_folders(path)
  check_path("make_folders", path)
  lib.check(C.frt_make_folders(path))
end

--- io.writable(folder): an error that names it where no files can be made in it.
function io_.writable(path)
  local tag = ffi.new "char[40]"
  C.frt_temp_tag(tag)
  local name = ("%s/.%s.tmp"):format(path, ffi.string(tag))
  lib.check(C.frt_file_append(name, "", 0, 0))
  os.remove(name)
end

--- io.tag(): a word for names of unfinished files that no other process makes.
function io_.tag()
  local tag = ffi.new "char[40]"
  C.frt_temp_tag(tag)
  return ffi.string(tag)
end

local KIND = { [0] = nil, "file", "folder", "other" }
local bytes_of, changed_at = ffi.new "int64_t[1]", ffi.new "double[1]"

--- io.kind(path): "file", "folder" or "other" with size in bytes and time of the last change (seconds since
--- 1970); nil when nothing is there.
function io_.kind(path)
  check_path("kind", path)
  local kind = KIND[C.frt_path_kind(path, bytes_of, changed_at)]
  if not kind then return nil end
  return kind, tonumber(bytes_of[0]), changed_at[0]
end

return io_
