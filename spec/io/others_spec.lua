--- Files of other makers as people have them: what lies beside the weights is passed over and named, what is no file of
--- weights is called what it is.
local frt = require "foodrt"
local io_ = require "foodrt.core.io"
local zip, pickle = require "spec.support.zip", require("spec.support.hostile").pickle
local process = require "spec.support.process"
local V = require "spec.support.values"
local same, why = V.same, V.why
local text, global, int = pickle.text, pickle.global, pickle.int
local le = zip.le

local function dict(list)
  local out = { "}(" }
  for i = 1, #list, 2 do out[#out + 1] = text(list[i]) .. list[i + 1] end
  return table.concat(out) .. "u"
end

local function ones(n, from)
  return pickle.tensor(pickle.storage("0", 16), from or 0, { n }, { 1 })
end

-- as Python's pickle writes them (protocol 2)
local NAMESPACE = global("argparse", "Namespace") .. ")\129"
  .. dict { "model", text "resnet18", "lr", "G?\185\153\153\153\153\153\154" } .. "b"
local DTYPE = global("numpy", "dtype") .. "(" .. text "f8" .. "\137\136tR(" .. int(3) .. text "<" .. "NNN" .. int(-1 % 2 ^ 32)
  .. int(-1 % 2 ^ 32) .. int(0) .. "tb"
local function scalar(module)
  return global(module, "scalar") .. "(" .. DTYPE .. global("_codecs", "encode") .. "(" .. text "12345678" .. text "latin1" .. "tRtR"
end

describe("files of others", function()
  local dir
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  local function write(name, bytes)
    process.write(dir .. "/" .. name, bytes)
    return dir .. "/" .. name
  end

  -- tensors and notes of a file, the path left out of these
  local function load(name, bytes, place)
    local notes = {}
    local t = frt.load(write(name, bytes), { place = place, say = function(line) notes[#notes + 1] = line:gsub("^'.-': ", "") end })
    return t, notes
  end

  local function names(t)
    local out = {}
    for name in pairs(t) do out[#out + 1] = name end
    table.sort(out)
    return table.concat(out, " ")
  end

  describe("of timm's trainer", function()
    local body = dict { "epoch", int(3), "arch", text "resnet18", "state_dict", dict { "module.a", ones(2), "module.b", ones(3) },
      "optimizer", dict { "state", dict { "0", dict { "exp_avg", ones(2) } } }, "args", NAMESPACE, "metric", scalar "numpy.core.multiarray",
      "best", scalar "numpy._core.multiarray", "state_dict_ema", dict { "module.a", ones(1), "module.b", ones(1) },
      "device", global("torch", "device") .. "(" .. text "cpu" .. "tR", "kinds", global("__builtin__", "set") .. "(](" .. int(1) .. "etR" }

    for container, make in pairs { new = pickle.new, old = function(b)
      return pickle.old(b, "](" .. text "0" .. "e", le(16, 8) .. ("\0\0\128\63"):rep(16))
    end } do
      it("in the " .. container .. " container: objects are passed over unexecuted and named once, averages are mentioned", function()
        local t, notes = load("model_best.pth.tar", make(body))
        assert.equal("a b", names(t))
        same({ 1, 1, 1 }, t.b)
        assert.same({ "the weights under 'state_dict' were taken; averages of them lie beside, under 'state_dict_ema'",
          "passed over what is no tensor, unexecuted: argparse.Namespace, numpy.core.multiarray.scalar, numpy.dtype, _codecs.encode, "
            .. "numpy._core.multiarray.scalar, torch.device, …" }, notes)
      end)
    end

    it("the averages are had by their place, and one that isn't there is said", function()
      local t = load("a.pth", pickle.new(body), "state_dict_ema")
      same({ 1 }, t.b)
      assert.matches("holds no weights under 'swa'$", (why(frt.load, dir .. "/a.pth", { place = "swa" })))
    end)

    it("averages alone are taken, and said to be averages", function()
      local t, notes = load("a.pth", pickle.new(dict { "epoch", int(1), "model_ema", dict { "w", ones(2) } }))
      assert.equal("w", names(t))
      assert.same({ "averages of the weights ('model_ema') were taken: it holds no others" }, notes)
    end)
  end)

  it("a tensor beside state_dict is no weight", function()
    local t, notes = load("a.pth", pickle.new(dict { "best_acc1", ones(1), "state_dict", dict { "w", ones(2) } }))
    assert.equal("w", names(t))
    assert.same({ "the tensor 'best_acc1' beside 'state_dict' was passed over" }, notes)
  end)

  it("numbers of types that are not read are passed over by name", function()
    local t, notes = load("a.pth", pickle.new(dict { "w", ones(2), "q", pickle.tensor(pickle.storage("0", 16, "QUInt8Storage"), 0, { 2 },
      { 1 }) }))
    assert.equal("w", names(t))
    assert.same({ "passed over what is no tensor, unexecuted: torch.QUInt8Storage" }, notes)
  end)

  it("names that wrappers made longer are as they were: _orig_mod. anywhere, module. in front of most", function()
    local t = load("a.pth", pickle.new(dict { "_orig_mod.module.a", ones(1), "module._orig_mod.b.c", ones(1), "module.d", ones(1),
      "n_averaged", ones(1), "my_orig_mod.x", ones(1) }))
    assert.equal("a b.c d my_orig_mod.x n_averaged", names(t))
    local header = '{"module.w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"module._orig_mod.v":{"dtype":"U8","shape":[1],'
      .. '"data_offsets":[1,2]}}'
    assert.equal("v w", names((load("a.safetensors", le(#header, 8) .. header .. "ab"))))
    frt.save(dir .. "/own.safetensors", { ["module.w"] = frt.tensor { 1 } })
    assert.equal("module.w", names((frt.load(dir .. "/own.safetensors"))))
  end)

  it("whole headers of safetensors are read: no metadata, blanks, empty tensors, many dimensions, every type", function()
    local header = '\n {"__metadata__": null,"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"e":{"dtype":"F32","shape":[0,3],'
      .. '"data_offsets":[2,2]},"f":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[2,5]},'
      .. '"c":{"dtype":"C64","shape":[],"data_offsets":[5,13]},'
      .. '"u":{"dtype":"U64","shape":[1],"data_offsets":[13,21]},"d":{"dtype":"U8","shape":[1,1,1,1,1,1,2],"data_offsets":[21,23]},'
      .. '"n":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,2],"data_offsets":[23,25]},"h":{"dtype":"F4","shape":[3],"data_offsets":[25,27]}}  '
    local bytes = le(#header, 8) .. header .. "ab" .. ("x"):rep(25)
    local t, notes = load("a.safetensors", bytes)
    same({ 97, 98 }, t.w)
    assert.equal("w", names(t))
    assert.same({ "passed over tensors that can't be held: c (C64), d (7 dimensions), e (empty), f (F8_E4M3), h (F4), n (10 dimensions) "
      .. "… (7 in all)" }, notes)
    local list = io_.list(dir .. "/a.safetensors")
    assert.equal(8, #list)
    assert.same({ name = "n", shape = { 1, 1, 1, 1, 1, 1, 1, 1 }, n_dim = 10, dtype = "u8", stored = "U8", bytes = 2 }, list[6])
    local status, out = process.foodrt { "weights", "show", dir .. "/a.safetensors" }
    assert.equal(0, status)
    assert.matches("\nf +%[3%] +F8_E4M3 +3 B\n", out)
    assert.matches("\nn  [1, 1, 1, 1, 1, 1, 1, 1, …]  U8       2 B\n", out, 1, true)
  end)

  it("what is no file of weights is called what it is", function()
    local TAR = ("x"):rep(257) .. "ustar\0" .. ("x"):rep(300)
    for _, case in ipairs {
      { "version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "a Git LFS pointer, which stands for a file that was not fetched (git lfs" },
      { "<!DOCTYPE html>\n<html><head>", "a web page (HTML)" }, { "  \n<html lang=en>", "a web page (HTML)" },
      { "\31\139\8\0\0\0\0\0\0\3xx", "compressed by gzip (gunzip unpacks it)" }, { "\253" .. "7zXZ\0xxxxxxxx", "compressed by xz" },
      { "\255\216\255\224\0\16JFIF\0\1", "a photo (JPEG)" }, { "RIFF\1\0\0\0WEBPVP8 ", "a photo (WebP)" },
      { "-- a recipe\nlocal frt = require 'foodrt'\n", "Lua: a recipe or a script" }, { "local frt = require 'foodrt'", "Lua: a recipe" },
      { '{"architecture": "resnet18"}', "it is JSON" }, { TAR, "a tar archive" },
      { "\137HDF\r\n\26\n\0\0\0\0", "an HDF5 file, as Keras writes" },
      { "\28\0\0\0TFL3\20\0\32\0", "a TensorFlow Lite model" }, { "epoch,loss\n1,0.5\n", "text that begins with 'epoch,loss'" },
      { "", "it is empty" } } do
      local message = why(frt.load, write("w.pth", case[1]))
      assert.is_truthy(message:find("w.pth': not a file of weights: ", 1, true) and message:find(case[2], 1, true), message)
    end
  end)

  it("a pickle of one's own classes alone is named, and never run", function()
    assert.matches("holds 'mine.Net', which is neither a tensor nor a plain container", (why(frt.load, write("a.pth",
      pickle.new(global("mine", "Net") .. ")\129" .. dict { "w", ones(2) } .. "b")))), 1, true)
    for _, name in ipairs { "os.system", "builtins.eval", "subprocess.Popen", "torch.storage._load_from_bytes" } do
      local module, attribute = name:match "^(.*)%.([^.]+)$"
      assert.matches("holds '" .. name .. "', which is neither", (why(frt.load, write("a.pth", pickle.new(dict { "w", ones(2), "x",
        global(module, attribute) .. "(" .. text "touch x" .. "tR" })))), 1, true)
    end
  end)
end)
