-- seeds: files to start from, for each fuzz target a folder.    foodrt spec/fuzz/seeds.lua build-fuzz/seeds
local frt = require "foodrt"
local decode, zip = require "spec.support.base64", require "spec.support.zip"
local process, files = require "spec.support.process", require "spec.fixtures.pth"
local out = arg[1] or "build-fuzz/seeds"

local function write(target, name, bytes)
  require("foodrt.core.io").make_folders(out .. "/" .. target)
  process.write(("%s/%s/%s"):format(out, target, name), bytes)
end

local read = process.read

local function number(text, at, n)
  local v = 0
  for i = n, 1, -1 do v = v * 256 + text:byte(at + i - 1) end
  return v
end

-- the bytes of the entry whose name ends so
local function entry(bytes, ending)
  local at = 1
  while true do
    at = assert(bytes:find("PK\1\2", at, true), "no " .. ending)
    local name = bytes:sub(at + 46, at + 45 + number(bytes, at + 28, 2))
    if name:sub(-#ending) == ending then
      local size, place = number(bytes, at + 24, 4), number(bytes, at + 42, 4) + 1
      local from = place + 30 + number(bytes, place + 26, 2) + number(bytes, place + 28, 2)
      return bytes:sub(from, from + size - 1)
    end
    at = at + 46
  end
end

for name, text in pairs(files) do
  local bytes = decode(text)
  if bytes:sub(1, 2) == "PK" then
    write("zip", name, bytes:sub(5))
    write("pickle", name, entry(bytes, "data.pkl"))
  else
    write("stream", name, bytes:sub(16))
  end
end
local arrays = { f4 = zip.npy({ 2, 3 }, ("\0\0\128\63"):rep(6)), columns = zip.npy({ 3, 2 }, ("a"):rep(12), "<f2", "True"),
  scalar = zip.npy({}, ("\1"):rep(8), "<i8"), empty = zip.npy({ 0, 3 }, "", "|u1") }
for name, bytes in pairs(arrays) do
  write("npz", name, bytes)
  write("zip", name .. ".npz", zip.pack({ { "a.npy", bytes }, { "b.npy", arrays.scalar } }):sub(5))
  write("zip", name .. "_packed.npz", zip.pack({ { "a.npy", bytes, packed = zip.deflate(bytes) }, { "b.npy", arrays.scalar } }):sub(5))
end
local path = os.tmpname()
frt.save(path, { a = frt.tensor { 1, 2 }, ["b.c"] = frt.tensor({ { 3 } }, { dtype = "i64" }) }, { note = "\226\130\172 \"x\"" })
write("safetensors", "own", read(path))
frt.save(path, { h = frt.tensor { 1, 2, 3 } }, {}, { dtype = "f16" })
write("safetensors", "half", read(path))
os.remove(path)
local header = '{"w":{"dtype":"F8_E4M3","shape":[2,0],"data_offsets":[0,0]},"v":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}}'
write("safetensors", "kinds", zip.le(#header, 8) .. header .. "\1")
write("json", "header", "\1" .. header)
write("json", "text", '\1["\\u20ac\\ud83c\\udf55\\n", 12, {"a":0}]')

local nn = frt.nn
local graphs = {
  conv = nn.Chain { nn.Conv2d { 4, 3, padding = 1 }, nn.BatchNorm2d {}, nn.SiLU {}, nn.Flatten {}, nn.Linear { 2 } },
  norm = nn.Module { norm = nn.LayerNorm {}, forward = function(self, x)
    local a, b = self.norm(x):sort(2)
    return frt.cat({ a:narrow(2, 1, 3):pad { 1, 1, 1, 1 },
      a:permute { 1, 2, 4, 3 }:mean({ 3, 4 }, { keepdim = true }):expand(a.shape):narrow(2, 1, 1)
      :pad { 1, 1, 1, 1 } }, 2) * 0.5 + b:to "f32":sum()
  end },
}
for name, model in pairs(graphs) do
  model:build { input = { 1, 3, 8, 8 } }:eval()
  write("graph", name, frt.graph.trace(function(i) return { y = model(i.x) } end, { x = { "N", 3, 8, 8 } }):text())
end
