-- hostile: files of weights that are damaged or mean harm, made the same way each time.
--   for _, f in ipairs(hostile.files(dir)) do … f.name, f.bytes, f.why (a part of the message) or nil: any error, or fitting tensors
local decode, pth = require "spec.support.base64", require "spec.fixtures.pth"
local zip = require "spec.support.zip"
local le = zip.le
local hostile = {}

-- --- pickles ---------------------------------------------------------------------------------------------------------
local function text(s) return "X" .. le(#s, 4) .. s end
local function global(module, name) return "c" .. module .. "\n" .. name .. "\n" end
local function int(n) return type(n) == "string" and n or "J" .. le(n, 4) end

local function tuple(list)
  local out = {}
  for i, n in ipairs(list) do out[i] = int(n) end
  return "(" .. table.concat(out) .. "t"
end

local function storage(key, n, kind)
  return "(" .. text "storage" .. global("torch", kind or "FloatStorage") .. text(key) .. text "cpu" .. int(n) .. "tQ"
end

local function tensor(where, offset, sizes, strides)
  return global("torch._utils", "_rebuild_tensor_v2") .. "(" .. where .. int(offset) .. tuple(sizes) .. tuple(strides) .. "\137"
    .. global("collections", "OrderedDict") .. ")RtR"
end

local function dict(...)
  local out = { "}(" }
  for i, value in ipairs { ... } do out[i + 1] = text("w" .. i) .. value end
  return table.concat(out) .. "u"
end

-- a .pth of both kinds of containers
local function new(body, extra)
  local entries = { { "archive/data.pkl", "\128\2" .. body .. "." }, { "archive/data/0", ("\0\0\128\63"):rep(16) } }
  for _, e in ipairs(extra or {}) do entries[#entries + 1] = e end
  return zip.pack(entries)
end

local MAGIC = "\128\2\138\10\108\252\156\70\249\32\106\168\80\25."

local function old(body, keys, rest)
  return MAGIC .. "\128\2M\233\3." .. "\128\2}" .. text "little_endian" .. "\136s." .. "\128\2" .. body .. "." .. "\128\2"
    .. (keys or "]") .. "."
    .. (rest or "")
end

local BIG = "\138\8" .. ("\255"):rep(7) .. "\63"    -- 2^62 - 1
local MINUS = "\138\1\255"                            -- -1
local VIEW = storage("0", 16)

-- names that run something, as pickles call them; the command would leave a file
local function evil(command)
  local run = "(" .. text(command) .. "tR"
  local out = {}
  for _, name in ipairs { "os.system", "posix.system", "nt.system", "subprocess.Popen", "subprocess.call", "builtins.eval", "builtins.exec",
    "builtins.__import__", "builtins.getattr", "__builtin__.eval", "pickle.loads", "runpy._run_code", "importlib.import_module",
    "operator.attrgetter", "functools.partial", "torch.load", "torch.storage._load_from_bytes",
      "torch._utils._rebuild_tensor_v2.__globals__",
    "torch.serialization.load", "torch.hub.load", "numpy.core.multiarray._reconstruct", "sys.exit", "ctypes.CDLL", "webbrowser.open",
    "collections.OrderedDict.__reduce__", "torch.FloatStorage.__class__", "torch.nn.modules.linear.Linear" } do
    local module, attribute = name:match "^(.*)%.([^.]+)$"
    out[#out + 1] = { name = name, body = global(module, attribute) .. run }
    out[#out + 1] = { name = name, body = text(module) .. text(attribute) .. "\147" .. run }
  end
  return out
end

local function opcodes(command)
  local object = "ios\nsystem\n"
  return {
    { "(" .. text(command) .. object, "operation 0x69" },                             -- INST
    { "(" .. global("collections", "OrderedDict") .. text(command) .. "o", "operation 0x6f" },   -- OBJ
    { global("collections", "OrderedDict") .. ")\129", "operation 0x81" },              -- NEWOBJ
    { global("collections", "OrderedDict") .. ")}\146", "operation 0x92" },             -- NEWOBJ_EX
    { "\130\1", "operation 0x82" },                                                   -- EXT1
    { "Pos.system\n", "operation 0x50" },                                             -- PERSID
    { "S'" .. command .. "'\n", "operation 0x53" },
    { global("torch", "FloatStorage") .. "(tR", "a storage can't be made by a call" },
    { global("collections", "OrderedDict") .. ")R}" .. text "__class__" .. "Nsb", "holds no named tensors" },
    { "K\1}b", "attributes of what has none" },
    { global(("x"):rep(2000), "y"), "a name without an end" },
    { text "a\nb" .. text "c" .. "\147", "holds 'a?b.c'" },
  }
end

local function bombs()
  local twice, levels = "]q\0K\1a0", {}
  for i = 0, 40 do levels[i + 1] = ("h%sh%s\134q%s0"):format(string.char(i), string.char(i), string.char(i + 1)) end
  local shared = {}
  for i = 1, 5 do shared[i] = tensor(VIEW, 0, { 16 }, { 1 }) end
  local many = { "}(" .. text "w" .. tensor(VIEW, 0, { 16 }, { 1 }) .. "q\0" }
  for i = 1, 2000 do many[i + 1] = text("k" .. i) .. "h\0" end
  local across = { "}(" .. text "w" .. tensor(storage("9", 4096), 0, { 2 }, { 4095 }) .. "q\0" }
  for i = 1, 5000 do across[i + 1] = text("k" .. i) .. "h\0" end
  return {
    { "(" .. ("]K\1a"):rep(400000) .. "l", "holds no named tensors" },
    { ("]K\1a"):rep(800000), "the pickle holds too much" },
    { table.concat(across) .. "u", "lie across each other", { { "archive/data/9", ("x"):rep(16384) } } },
    { "]q\0h\0a", "its containers hold too much to be weights" },                      -- contains itself
    { "}q\0" .. text "a" .. "h\0s", "its containers hold too much to be weights" },
    { twice .. table.concat(levels) .. "h\41", "its containers hold too much to be weights" },  -- 2^41 leaves
    { ("("):rep(100000), "it ends with values left over" },
    { ("]"):rep(3000) .. ("a"):rep(2999), "its containers hold too much to be weights" },
    { "X\255\255\255\255x", "the file is cut short" }, { "\142" .. ("\255"):rep(8) .. "x", "the file is cut short" },
    { "\139\255\255\255\127x", "a number of too many digits" }, { "K\1r\255\255\255\255", "a memo number out of order" },
    { "j\255\255\255\127", "a memo that was never set" }, { "t", "no mark" }, { "a", "nothing" }, { "", "nothing on the stack" },
    { dict(tensor(VIEW, 0, { BIG }, { 1 })), "lies outside its storage" }, { dict(tensor(VIEW, 0, { BIG, BIG },
    { 1, 1 })), "lies outside" },
    { dict(tensor(VIEW, 0, { 4, 4 }, { BIG, 1 })), "lies outside" }, { dict(tensor(VIEW, BIG, { 1 }, { 1 })), "lies outside" },
    { dict(tensor(VIEW, 0, { 17 }, { 1 })), "lies outside" }, { dict(tensor(VIEW, 1, { 16 }, { 1 })), "lies outside" },
    { dict(tensor(VIEW, 0, { 1024, 1024 }, { 0, 0 })), "lies outside" }, { dict(tensor(VIEW, MINUS, { 1 }, { 1 })), "an offset" },
    { dict(tensor(VIEW, 0, { MINUS }, { 1 })), "a size must be a number from 0" }, { dict(tensor(VIEW, 0, { 1, 2 },
    { 1 })), "as many strides" },
    { dict(tensor(VIEW, 0, { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, { 1, 1, 1, 1, 1, 1, 1, 1, 1 })), "more than 8 dimensions" },
    { dict(tensor(storage("0", 17), 0, { 1 }, { 1 })), "its tensors need 68" }, { dict(tensor(storage("0", BIG), 0, { 1 },
    { 1 })), "larger than" },
    { dict(tensor(storage("../../etc/passwd", 1), 0, { 1 }, { 1 })), "has no storage 'archive/data/../../etc/passwd'" },
    { dict(tensor(storage("0", 16, "QUInt8Storage"), 0, { 1 }, { 1 })), "'torch.QUInt8Storage'" },
    { table.concat(many) .. "u", "take more than four times the file" }, { dict(tensor("K\1", 0, { 1 }, { 1 })), "needs a storage" },
    { dict(unpack(shared)), false },  -- five of one storage are few beside the pickle
  }
end

-- --- safetensors -------------------------------------------------------------------------------------------------------
local function st(header, data, length)
  return le(length or #header, 8) .. header .. (data or "")
end

local function lies()
  local function one(fields, data) return st('{"w":{' .. fields .. "}}", data or "abcdefgh") end
  return {
    { one '"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]', "impossibly large" },
    { one '"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,8]', "" },
    { one '"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]', "a size must be a whole number" },
    { one '"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551608]', "" },
    { one '"dtype":"F32","shape":[2],"data_offsets":[8,0]', "" },
    { one '"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]', "" },
    { one '"dtype":"F32","shape":[-2],"data_offsets":[0,8]', "" }, { one '"dtype":"F32","shape":[2e0],"data_offsets":[0,8]', "" },
    { one '"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]', "has 9 dimensions" },
    { one '"dtype":"C64","shape":[1],"data_offsets":[0,8]', "is C64, which is not supported" },
    { one '"shape":[2],"data_offsets":[0,8]', "lacks its dtype" },
    { one '"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]', "is F8_E4M3, which is not supported" },
    { st('{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}', "abcdefgh"), "" },
    { st('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}}', "abcdefgh"), "" },
    { st('{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}', "abcdefghi"), "" }, { st("", "", 2 ^ 53), "a header of" },
    { st("{}", "", 90000000), "cut short" }, { ("\255"):rep(64), "" }, { st(("["):rep(5000)), "" }, { st('{"\255":0}'), "" },
    { st('{"w":' .. ('{"a":'):rep(5000)), "" }, { "", "" }, { "\0", "" }, { ("\0"):rep(8), "" },
  }
end

-- --- zip files -----------------------------------------------------------------------------------------------------------
local function containers()
  local body = "\128\2" .. dict(tensor(VIEW, 0, { 16 }, { 1 })) .. "."
  local function pack(data, pickle)
    return zip.pack { { "archive/data.pkl", body, size = pickle and pickle.size, at = pickle and pickle.at },
      { "archive/data/0", ("x"):rep(64), size = data.size, at = data.at } }
  end
  local function patch(bytes, mark, offset, new_bytes)
    local at = assert(bytes:find(mark, 1, true)) + offset
    return bytes:sub(1, at - 1) .. new_bytes .. bytes:sub(at + #new_bytes)
  end
  local good, array = pack {}, zip.npy({ 1 }, "abcd")
  local overlapping = { { "archive/data.pkl", body }, { "archive/data/0", ("x"):rep(4096) } }
  for i = 1, 9 do
    overlapping[i + 2] = { "archive/data/" .. i, ("x"):rep(4096), nothing = true, at = 30 + #"archive/data.pkl" + #body }
  end
  return {
    { zip.pack(overlapping), "entries of the zip file overlap" },
    { pack { size = 2 ^ 32 - 2 }, "lies outside it" }, { pack { at = 2 ^ 32 - 2 }, "lies outside it" }, { pack { at = 0 }, "damaged" },
    { pack({}, { size = 3 }), "" }, { pack({}, { size = 2 ^ 31 }), "lies outside it" },
    { patch(good, "PK\5\6", 10, "\255\255"), "the zip directory is damaged" },
    { patch(good, "PK\5\6", 12, "\255\255\255\127"), "lies outside" },
    { patch(good, "PK\5\6", 16, "\255\255\255\127"), "lies outside" }, { patch(good, "PK\1\2", 10, "\8\0"), "is damaged" },
    { patch(good, "PK\1\2", 8, "\1\0"), "is encrypted" }, { patch(good, "PK\1\2", 28, "\255\255"), "the zip directory is damaged" },
    { patch(good, "PK\1\2", 16, "\1\2\3\4"), "checksum differs" }, { patch(good, "PK\3\4", 0, "PK\3\5"), "" },
    { zip.pack { { "a/other", "x" } }, "without weights" }, { zip.pack {}, "" }, { good:sub(1, -2), "without its directory" },
    { zip.pack { { "a/data.pkl", body, packed = zip.deflate(body) } }, "is compressed; PyTorch stores them" },
    { zip.pack { { "w.npy", array, packed = zip.deflate(array), size = 4000 } }, "more than 16 times the file" },
    { zip.pack { { "w.npy", array, packed = zip.deflate(array), size = 400 } }, "it unpacks to 132 bytes" },
    { zip.pack { { "w.npy", array, packed = zip.deflate(array), size = 40 } }, "it can't be unpacked" },
    { zip.pack { { "w.npy", array, packed = zip.deflate(array):sub(1, 99) } }, "it can't be unpacked" },
    { zip.pack { { "w.npy", array, packed = ("\255"):rep(99) } }, "it can't be unpacked" },
    { zip.pack { { "w.npy", zip.npy({ "9999999999999" }, "abcd") } }, "which its shape does not match" },
    { zip.pack { { "w.npy", zip.npy({ 1 }, ("x"):rep(8), "|O") } }, "is of type '|O'" },
  }
end

-- --- mutations -----------------------------------------------------------------------------------------------------------
-- n mutations of `bytes`: bits turned, bytes set, runs of ones or zeros, cuts, pieces taken out, doubled or swapped
local function mutate(bytes, n, seed, add)
  local state = seed
  local function random(most)
    state = (state * 1103515245 + 12345) % 2 ^ 31
    return math.floor(state / 2 ^ 8) % most
  end
  local KINDS = {
    function(b, at) return b:sub(1, at - 1) .. string.char(require("bit").bxor(b:byte(at), 2 ^ random(8))) .. b:sub(at + 1) end,
    function(b, at) return b:sub(1, at - 1) .. string.char(random(256)) .. b:sub(at + 1) end,
    function(b, at) return b:sub(1, at - 1) .. ("\255"):rep(1 + random(8)) .. b:sub(at + 8) end,
    function(b, at) return b:sub(1, at - 1) .. ("\0"):rep(1 + random(8)) .. b:sub(at + 8) end,
    function(b, at) return b:sub(1, at) end,
    function(b, at) return b:sub(1, at - 1) .. b:sub(at + 1 + random(16)) end,
    function(b, at) return b:sub(1, at) .. b:sub(math.max(1, at - random(32))) end,
    function(b, at) return b:sub(1, at - 1) .. "9" .. b:sub(at) end,
  }
  for i = 1, n do
    local b = bytes
    for _ = 0, random(3) do b = KINDS[1 + (i + random(2)) % #KINDS](b, 1 + random(math.max(1, #b))) end
    add(b)
  end
end

--- pieces of pickles, for specs of files that mean well: hostile.pickle.new(body) is a .pth of one storage of 16 floats (all 1)
--- called "0", whose pickle is `body`; old(body) the same in the older container, with storages after it.
hostile.pickle = { text = text, global = global, int = int, tuple = tuple, storage = storage, tensor = tensor, new = new, old = old }

--- all files: { name, bytes, why }. why: part of the message that must come; false: it must load; nil: either, but nothing else.
--- in   good     bytes of two safetensors files { ours, theirs }
---      command  what malicious pickles would run
function hostile.files(good, command)
  local out = {}
  local function add(bytes, why) out[#out + 1] = { name = ("%04d.bin"):format(#out + 1), bytes = bytes, why = why } end
  for _, e in ipairs(evil(command)) do
    add(new(e.body), ("holds '%s'"):format(e.name))
    add(old(e.body), ("holds '%s'"):format(e.name))
  end
  for _, o in ipairs(opcodes(command)) do
    add(new(o[1]), o[2])
    add(old(o[1]), o[2])
  end
  for _, b in ipairs(bombs()) do add(new(b[1], b[3]), b[2]) end
  for _, l in ipairs(lies()) do add(l[1], l[2]) end
  for _, c in ipairs(containers()) do add(c[1], c[2]) end
  out.crafted = #out
  local npz = zip.pack { { "a.npy", zip.npy({ 2, 2 }, ("\0\0\128\63"):rep(4)) } }
  for i, bytes in ipairs { good[1], good[2], decode(pth.zip), decode(pth.old), npz } do mutate(bytes, 60, 1000 * i, add) end
  return out
end

return hostile
