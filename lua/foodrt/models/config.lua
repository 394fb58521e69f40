--- config: the config.json that lies next to model.safetensors (as timm and the hub write it): which model it is and what photos its
--- weights want; or what a checkpoint of foodrt's own says of them. Newer files keep it under pretrained_cfg, older ones at the top.
local json = require "foodrt.core.json"
local config = {}

local FILES = { ["model.safetensors"] = true, ["pytorch_model.bin"] = true }

local function numbers(t)
  if type(t) ~= "table" or #t ~= 3 then return nil end
  for _, v in ipairs(t) do
    if type(v) ~= "number" then return nil end
  end
  return t
end

local function edge(shape)
  shape = numbers(shape)
  return shape and shape[2] > 0 and shape[2] % 1 == 0 and shape[2] or nil
end

local function share(v)
  return type(v) == "number" and v > 0 and v <= 1 and v or nil
end

local MODES = { center = true, squash = true, border = true }
local KINDS = { bilinear = true, bicubic = true, lanczos = true, nearest = true }

--- what a config.json says: { architecture, tag, license, classes, preprocess }; nil, message when it is damaged.
function config.parse(text)
  local ok, t = pcall(json.decode, text)
  if not ok or type(t) ~= "table" then return nil, "not JSON" end
  local c = type(t.pretrained_cfg) == "table" and t.pretrained_cfg or t
  local function text_of(v) return type(v) == "string" and v or nil end
  local p = { size = edge(c.input_size), test_size = edge(c.test_input_size), crop_pct = share(c.crop_pct),
    test_crop_pct = share(c.test_crop_pct), mean = numbers(c.mean), std = numbers(c.std),
    crop_mode = MODES[c.crop_mode] and c.crop_mode or nil, interpolation = KINDS[c.interpolation] and c.interpolation or nil }
  p.test_size, p.test_crop_pct = p.test_size or p.size, p.test_crop_pct or p.crop_pct
  return { architecture = text_of(t.architecture) or text_of(c.architecture), tag = text_of(c.tag),
    license = text_of(c.license) or text_of(t.license), classes = tonumber(t.num_classes or c.num_classes), preprocess = p }
end

-- what of a table of preprocessing can be used; its keys are those of model.preprocess
local function checked(c)
  local function size(v) return type(v) == "number" and edge { 3, v, v } or nil end
  local p = { size = size(c.train_size) or size(c.size), test_size = size(c.size), crop_pct = share(c.crop_pct), mean = numbers(c.mean),
    std = numbers(c.std), crop_mode = MODES[c.mode] and c.mode or nil, interpolation = KINDS[c.interpolation] and c.interpolation or nil }
  p.test_crop_pct = p.crop_pct
  return p
end

--- what the photos of a checkpoint that foodrt trained looked like: { preprocess }; nil when `path` is no such file.
function config.of_run(path)
  local io_ = require "foodrt.core.io"
  if not path:match "%.safetensors$" or io_.kind(path) ~= "file" then return nil end
  local ok, _, metadata = pcall(io_.list, path)  -- damage is named when the weights are read
  local read, p = pcall(json.decode, ok and metadata and metadata["run.preprocessing"] or "")
  return read and type(p) == "table" and { preprocess = checked(p) } or nil
end

--- the config.json next to a file of weights; nil when there is none or the file has a name of its own.
function config.beside(path)
  local folder, name = path:match "^(.-)([^/]*)$"
  if not FILES[name] then return nil end
  local file = io.open(folder .. "config.json", "rb")
  if not file then return nil end
  local text = file:read(2 ^ 20) or ""
  file:close()
  local c, why = config.parse(text)
  return c, why and ("'%sconfig.json': %s"):format(folder, why)
end

return config
