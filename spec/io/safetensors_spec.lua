--- safetensors files: round trips, the format byte for byte, damage of every kind, and a full disk.
local frt = require "foodrt"
local io_ = require "foodrt.core.io"
local bit = require "bit"
local V = require "spec.support.values"
local same, why = V.same, V.why

local folder

local function path(name)
  return folder .. "/" .. name
end

local function write(name, bytes)
  local f = assert(io.open(path(name), "wb"))
  f:write(bytes)
  f:close()
  return path(name)
end

local function read(name)
  local f = io.open(path(name), "rb")
  if not f then return nil end
  local bytes = f:read "*a"
  f:close()
  return bytes
end

local function le(n, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(out)
end

--- a file from a header text and its data.
local function file(header, data)
  return le(#header, 8) .. header .. (data or "")
end

--- why loading these bytes fails, the path left out.
local function damage(bytes)
  return (why(frt.load, write("bad.safetensors", bytes)):gsub("^'[^']*/", "'"))
end

describe("safetensors", function()
  setup(function()
    folder = os.tmpname()
    os.remove(folder)
    io_.make_folders(folder)
  end)
  teardown(function()
    for _, name in ipairs { "a", "b", "bad", "hand" } do os.remove(path(name .. ".safetensors")) end
    os.remove(folder)
  end)

  it("come back as they were saved, with metadata", function()
    local tensors = { ["conv.weight"] = frt.tensor { { 1.5, -2 }, { 0, 3e-8 } }, steps = frt.tensor({ 7 }, { dtype = "i64" }),
      labels = frt.tensor({ 1, 2, 3 }, { dtype = "i32" }), scalar = frt.tensor(0.25), exact = frt.tensor({ 0.1 }, { dtype = "f64" }),
      mask = frt.tensor({ 0, 255 }, { dtype = "u8" }), half = frt.tensor({ 1, 2 }, { dtype = "bf16" }),
      computed = frt.tensor { 1, 2 } * 2 }
    frt.save(path "a.safetensors", tensors, { note = "line\n\"quoted\" \\ \1 dürüm", empty = "" })
    local back, metadata = frt.load(path "a.safetensors")
    for name, t in pairs(tensors) do
      same(t:totable(), back[name])
      assert.are.same(t.shape, back[name].shape)
      assert.are.equal(name == "half" and "f32" or t.dtype, back[name].dtype)
    end
    assert.are.same({ note = "line\n\"quoted\" \\ \1 dürüm", empty = "" }, metadata)
    local n = 0
    for _ in pairs(back) do n = n + 1 end
    assert.are.equal(8, n)
  end)

  it("the same tensors give the same bytes, and other values another hash", function()
    local function save(name, v, note)
      frt.save(path(name), { x = frt.tensor { 1, v }, a = frt.tensor({ 1 }, { dtype = "u8" }) }, { note = note })
      return io_.hash(path(name))
    end
    local one, two = save("a.safetensors", 2, "n"), save("b.safetensors", 2, "n")
    assert.are.equal(read "a.safetensors", read "b.safetensors")
    assert.are.equal(one, two)
    assert.are.equal(one, save("b.safetensors", 2, "another note"))
    assert.are_not.equal(one, save("b.safetensors", 3, "n"))
    assert.is_truthy(one:find "^%x+$")
    assert.are.equal(16, #one)
  end)

  it("are written as the format says: length, JSON, padding to 8, wide types first", function()
    frt.save(path "a.safetensors", { b = frt.tensor { 1, -1 }, a = frt.tensor({ 9 }, { dtype = "u8" }) })
    local bytes = read "a.safetensors"
    local n = bytes:byte(1) + 256 * bytes:byte(2)
    local header = bytes:sub(9, 8 + n)
    assert.are.equal(0, n % 8)
    local tensors = header:gsub("^{\"__metadata__\":{.-},", ""):gsub(" *$", "")
    assert.are.equal('"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
      .. '"a":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}', tensors)
    assert.are.equal("\0\0\128\63\0\0\128\191\9", bytes:sub(9 + n))
  end)

  it("of other makers are read: F16, BF16 and small integers converted, escapes decoded", function()
    local header = '{"__metadata__":{"format":"pt"}, "h\\u00e9":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},'
      .. '"b":{"shape":[2],"dtype":"BF16","data_offsets":[8,12]},"i":{"dtype":"I16","shape":[1],"data_offsets":[12,14]},'
      .. '"t":{"dtype":"BOOL","shape":[],"data_offsets":[14,15]},"s":{"dtype":"I8","shape":[1],"data_offsets":[15,16]},'
      .. '"u":{"dtype":"U32","shape":[1],"data_offsets":[16,20]}}   '
    local data = le(0x3c00, 2) .. le(0xc000, 2) .. le(0x0001, 2) .. le(0x7c00, 2) .. le(0x3f80, 2) .. le(0xc040, 2)
      .. le(0xffff, 2) .. "\1" .. "\254" .. le(4294967295, 4)
    local t, metadata = frt.load(write("hand.safetensors", file(header, data)))
    same({ 1, -2, 2 ^ -24, math.huge }, t["hé"])
    same({ 1, -3 }, t.b)
    same({ -1 }, t.i)
    assert.are.equal(1, t.t:item())
    same({ -2 }, t.s)
    same({ 4294967295 }, t.u)
    assert.are.same({ format = "pt" }, metadata)
    local list = io_.list(path "hand.safetensors")
    assert.are.same({ name = "b", shape = { 2 }, dtype = "f32", stored = "BF16", bytes = 4 }, list[1])
  end)

  it("without tensors, or without metadata, are files too", function()
    assert.are.same({}, (frt.load(write("hand.safetensors", file "{}"))))
    frt.save(path "a.safetensors", {})
    assert.are.same({}, (frt.load(path "a.safetensors")))
  end)

  local function tensor(fields)
    return '{"t":{' .. fields .. "}}"
  end
  local good = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'
  local eight = ("\0"):rep(8)
  local function two(first, second, b)
    return ('{"%s":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"%s":{%s}}'):format(first, second, b)
  end
  local broken = {
    { "too short to be one", "abc", "not a safetensors file: 3 bytes long" },
    { "of another kind", "\137PNG\r\n\26\nxxxxxxxx", "not a file of weights: it is a photo (PNG)" },
    { "cut inside the header", file(tensor(good), eight):sub(1, 30), "the file is cut short: the header needs 54 bytes, 22 are left" },
    { "cut inside the data", file(tensor(good), ("\0"):rep(7)), "tensor 't' lies at bytes 0 to 8, but the file holds 7" },
    { "with bytes after the end", file(tensor(good), ("\0"):rep(9)), "1 bytes at the end belong to no tensor" },
    { "with an empty header", file "", "the header is damaged at byte 8: expected {" },
    { "with a header that is no object", file "[]", "the header is damaged at byte 8: expected {" },
    { "with an open object", file "{", "the header is damaged at byte 9: expected a tensor's name" },
    { "with text behind the object", file "{} x", "the header is damaged at byte 11: expected the end of the header" },
    { "with a comma too many", file('{"t":{' .. good .. "},}", eight), "expected a tensor's name" },
    { "with an unknown dtype", file(tensor '"dtype":"F31","shape":[2],"data_offsets":[0,8]', eight),
      "tensor 't' has the unknown dtype 'F31'" },
    { "with a dtype that is not supported", file(tensor '"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]', eight),
      "tensor 't' is F8_E4M3, which is not supported" },
    { "whose shape and bytes differ", file(tensor '"dtype":"F32","shape":[3],"data_offsets":[0,8]', eight),
      "tensor 't' needs 12 bytes for its shape, but has 8" },
    { "with a negative size", file(tensor '"dtype":"F32","shape":[-2],"data_offsets":[0,8]', eight), "a size must be a whole number" },
    { "with a fraction", file(tensor '"dtype":"F32","shape":[2.0],"data_offsets":[0,8]', eight), "expected , or ] in a shape" },
    { "with a leading zero", file(tensor '"dtype":"F32","shape":[02],"data_offsets":[0,8]', eight), "a size must be a whole number" },
    { "with an exponent", file(tensor '"dtype":"F32","shape":[2e0],"data_offsets":[0,8]', eight), "expected , or ] in a shape" },
    { "whose sizes overflow", file(tensor '"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]', eight),
      "the shape of tensor 't' is impossibly large" },
    { "with a number beyond 63 bits", file(tensor '"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]', eight),
      "a size must be a whole number" },
    { "with too many dimensions", file(tensor '"dtype":"F32","shape":[1,1,1,1,1,1,2],"data_offsets":[0,8]', eight),
      "tensor 't' has 7 dimensions; at most 6 are supported" },
    { "with far too many dimensions", file(tensor '"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]', eight),
      "tensor 't' has 9 dimensions; at most 6 are supported" },
    { "with an empty tensor", file(tensor '"dtype":"F32","shape":[0],"data_offsets":[0,0]'), "tensor 't' is empty" },
    { "with offsets the wrong way round", file(tensor '"dtype":"F32","shape":[2],"data_offsets":[8,0]', eight),
      "tensor 't' lies at bytes 8 to 0, but the file holds 8" },
    { "with one offset", file(tensor '"dtype":"F32","shape":[2],"data_offsets":[0]', eight), "data_offsets must be two whole numbers" },
    { "lacking a field", file(tensor '"dtype":"F32","shape":[2]', eight), "tensor 't' lacks its data_offsets" },
    { "lacking its shape", file(tensor '"dtype":"F32","data_offsets":[0,8]', eight), "tensor 't' lacks its shape" },
    { "with an unknown field", file(tensor(good .. ',"x":1'), eight), "tensor 't' has an unknown field 'x'" },
    { "with a field twice", file(tensor(good .. ',"dtype":"F32"'), eight), "tensor 't' has two fields 'dtype'" },
    { "with two tensors of a name", file(two("t", "t", '"dtype":"F32","shape":[1],"data_offsets":[4,8]'), eight),
      "there are two tensors 't'" },
    { "with a name twice, once escaped", file(two("t", "\\u0074", '"dtype":"F32","shape":[1],"data_offsets":[4,8]'), eight),
      "there are two tensors 't'" },
    { "with an overlap", file(two("a", "b", '"dtype":"F32","shape":[1],"data_offsets":[2,6]'), ("\0"):rep(6)),
      "tensor 'b' overlaps another" },
    { "with a hole", file(two("a", "b", '"dtype":"U8","shape":[1],"data_offsets":[7,8]'), eight),
      "3 bytes before tensor 'b' belong to none" },
    { "with metadata that is no text", file('{"__metadata__":{"a":1}}'), "values in __metadata__ must be strings" },
    { "with metadata twice", file('{"__metadata__":{},"__metadata__":{}}'), "there are two __metadata__" },
    { "with a metadata key twice", file('{"__metadata__":{"a":"1","a":"2"}}'), "there are two metadata keys 'a'" },
    { "with invalid UTF-8", file('{"__metadata__":{"a":"\255"}}'), "values in __metadata__ must be strings" },
    { "with an overlong character", file('{"__metadata__":{"a":"\192\175"}}'), "values in __metadata__ must be strings" },
    { "with half a surrogate", file('{"__metadata__":{"a":"\\ud800"}}'), "values in __metadata__ must be strings" },
    { "with a zero in a name", file('{"t\\u0000":{' .. good .. "}}", eight), "expected a tensor's name" },
    { "with a control character", file('{"__metadata__":{"a":"\1"}}'), "values in __metadata__ must be strings" },
    { "with an unknown escape", file('{"__metadata__":{"a":"\\x41"}}'), "values in __metadata__ must be strings" },
    { "with a stored hash of the wrong form", file('{"__metadata__":{"foodrt.hash":"12"}}'), "the stored hash is damaged" },
  }
  for _, case in ipairs(broken) do
    it("a file " .. case[1] .. " is refused", function()
      local message = damage(case[2])
      assert.are.equal("'bad.safetensors': ", message:sub(1, 19))
      assert.is_truthy(message:find(case[3], 1, true), message)
    end)
  end

  it("any one flipped bit of a file of ours is found", function()
    frt.save(path "a.safetensors", { w = frt.tensor { 1, 2 }, b = frt.tensor({ 3 }, { dtype = "i32" }) }, { recipe = "return {}" })
    local bytes = read "a.safetensors"
    local missed = {}
    for i = 1, #bytes do
      for _, b in ipairs { 0, 5 } do
        local flipped = bytes:sub(1, i - 1) .. string.char(bit.bxor(bytes:byte(i), 2 ^ b)) .. bytes:sub(i + 1)
        local ok, message = pcall(frt.load, write("bad.safetensors", flipped))
        if ok or not message:find("bad.safetensors': ", 1, true) then missed[#missed + 1] = i .. ":" .. b end
      end
    end
    assert.are.same({}, missed)
    assert.are.equal("'bad.safetensors': tensor data damaged (hash differs)", damage(bytes:sub(1, -2) .. "\1"))
    assert.are.equal("'bad.safetensors': metadata damaged (hash differs)", damage((bytes:gsub("return {}", "return 17"))))
  end)

  it("cut at any length is refused", function()
    local bytes = file(tensor(good), eight)
    for n = 0, #bytes - 1 do
      assert.are.equal("'bad.safetensors': ", damage(bytes:sub(1, n)):sub(1, 19))
    end
  end)

  it("that are missing, or folders, are named", function()
    assert.are.equal(("'%s': No such file or directory"):format(path "none.safetensors"), why(frt.load, path "none.safetensors"))
    assert.are.equal(("'%s': not a regular file"):format(folder), why(frt.load, folder))
    assert.are.equal("load: 'path' must be string, got nil", why(frt.load))
  end)

  it("what can't be saved is said before anything is written", function()
    frt.save(path "a.safetensors", { x = frt.tensor { 1 } })
    local before = read "a.safetensors"
    local x = frt.tensor { 1 }
    assert.are.equal("save: 'x' must be a tensor, got number (1)", why(frt.save, path "a.safetensors", { x = 1 }))
    assert.are.equal("save: metadata 'k' must be string, got number (1)", why(frt.save, path "a.safetensors", { x = x }, { k = 1 }))
    assert.is_truthy(why(frt.save, path "a.safetensors", { ["\255"] = x }):find "a tensor's name is not UTF%-8$")
    assert.is_truthy(why(frt.save, path "a.safetensors", { __metadata__ = x }):find "a tensor can't be called __metadata__$")
    assert.are.equal(before, read "a.safetensors")
    assert.is_nil(read "a.safetensors.tmp")
  end)

  it("a folder that is not there, or a full disk, is an error that names the file and leaves nothing", function()
    local x = frt.tensor { 1 }
    assert.are.equal(("'%s': can't be written: No such file or directory"):format(path "no/b.safetensors"),
      why(frt.save, path "no/b.safetensors", { x = x }))
    -- /dev/full takes no byte: what leads to it is written to, and stays
    if io_.kind "/dev/full" then
      os.execute(("ln -s /dev/full '%s'"):format(path "full"))
      assert.are.equal(("'%s': can't be written: No space left on device"):format(path "full"), why(frt.save, path "full", { x = x }))
      os.remove(path "full")
    end
  end)

  it("replace puts a whole file in place, and kind says what is there", function()
    io_.replace(path "b.safetensors", "old")
    io_.replace(path "b.safetensors", "new text")
    assert.are.equal("new text", read "b.safetensors")
    local kind, bytes = io_.kind(path "b.safetensors")
    assert.are.equal("file", kind)
    assert.are.equal(8, bytes)
    assert.are.equal("folder", (io_.kind(folder)))
    assert.is_nil(io_.kind(path "none"))
  end)

  it("no open file is left behind, whether loading works or fails", function()
    local function open_files()
      local pipe = io.popen "ls /proc/$PPID/fd | wc -l"
      local n = tonumber(pipe:read "*l")
      pipe:close()
      return n
    end
    frt.save(path "a.safetensors", { x = frt.tensor { 1 } })
    local before = open_files()
    for _ = 1, 20 do
      frt.load(path "a.safetensors")
      pcall(frt.load, write("bad.safetensors", "abc"))
    end
    assert.is_true(open_files() < before + 10)  -- a leak would be 20 or 40
  end)
end)
