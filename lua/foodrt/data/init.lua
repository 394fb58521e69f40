--- data: photos in class folders, root/{train,val,test}/CLASS/*, and what the network sees of them.
---
---   local data = frt.data.folder { "photos", size = 224, batch = 32, train = { augment.flip {} } }
---   data:open()
---   for batch in data:loader("train", { seed = 1, epoch = 0 }):batches() do … batch.x, batch.y … end
---
--- The constructor stores and checks; data:open() looks at the folders.
local augment, err, opt = require "foodrt.data.augment", require "foodrt.core.err", require "foodrt.core.opt"
local scan = require "foodrt.data.scan"
local data = {}

local Data = {}

-- size, where the recipe gives none, is that of the photos which the model's weights were trained on; as in timm's training,
-- evaluation sees the same size unless eval.size asks for another
Data.__index = function(self, key)
  if key ~= "size" then return Data[key] end
  local model = rawget(self, "model_preprocess")
  return model and model.size or 224
end

opt.guard(Data)

-- Options that both ways of naming photos share.
local function options(name, first, more)
  local spec = { name, first,
    size = { "integer", nil, "edge of what the network sees; the model's when left out, else 224", min = 1, max = 4096 },
    batch = { "integer", 32, "photos in a batch", min = 1, max = 65536 },
    train = { "list", {}, "augments of training photos" },
    eval = { "table", {}, "size, crop_pct, mode, interpolation, shrink of evaluation photos" },
    mean = { "list", nil, "subtracted from red, green, blue in 0 .. 1; the model's, or ImageNet's" },
    std = { "list", nil, "then divided by this; likewise" },
    fill = { "list", nil, "red, green, blue 0 .. 255 where the photo ends; the mean colour when left out" },
    on_bad = { "string", "substitute", "a training photo that can't be read", one_of = { "substitute", "skip", "error" } },
    workers = { "integer", nil, "loader threads; as many as cores when left out", min = 1, max = 256 },
    prefetch = { "integer", 2, "batches made ahead", min = 1, max = 64 },
    shrink = { "boolean", true, "let training decode JPEGs at 1/2, 1/4, 1/8 where that leaves enough pixels" },
  }
  for key, rule in pairs(more) do spec[key] = rule end
  return spec
end

--- Options of data.folder and data.manifest; an override is checked against data.spec, one of them.
data.FOLDER = options("data.folder", "root", {
  root = { "string", "data", "folder with train, val and test in it" },
  attributes = { "string", nil, "CSV file: class and further labels that follow from it" },
})
data.MANIFEST = options("data.manifest", "file", {
  file = { "string", "manifest.csv", "CSV file: path, split and label columns; the first label is y" },
  root = { "string", nil, "folder that paths start from; the file's own when left out" },
})

--- Options of eval. What is left out is the model's (data:suit), else as in DEFAULTS. Without shrink what the network sees
--- is, bit for bit, what timm's and torchvision's transforms make of the photo with Pillow.
data.EVAL = { "eval",
  size = { "integer|string", nil, "edge in evaluation, data.size when left out; \"test\": size and crop of timm's published accuracies",
    min = 1, max = 4096, one_of = { "test" } },
  crop_pct = { "number", nil, "part of the resized edge that is seen", min = 0.01, max = 1 },
  mode = { "string", nil, "what becomes of the rest", one_of = { "center", "squash", "border" } },
  interpolation = { "string", nil, one_of = { "bilinear", "bicubic", "lanczos", "nearest" } },
  shrink = { "boolean", false, "the fast way: decode JPEGs at 1/2, 1/4, 1/8 where that leaves enough pixels; a level or so off" },
}

local DEFAULTS = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 }, crop_pct = 0.875, crop_mode = "center",
  interpolation = "bilinear" }

local function three(name, key, v, least, most)
  for i = 1, 3 do
    if #v ~= 3 or type(v[i]) ~= "number" or not (v[i] >= least and v[i] <= most) then
      err.user("%s: '%s' must be three numbers %g to %g", name, key, least, most)
    end
  end
end

local EVAL = { spec = data.EVAL }  -- by which an override finds its options

local function checked_eval(given)
  local plain = {}
  for key, v in pairs(given) do plain[key] = v end
  return setmetatable(opt.check(data.EVAL, plain), EVAL)
end

local function check(spec, given)
  local o, name = opt.check(spec, given), spec[1]
  for i, a in ipairs(o.train) do
    if not augment.is(a) then
      err.user("%s: 'train' must be a list of augments, got %s at [%d]", name, opt.show(a), i)
    end
  end
  o.eval = checked_eval(o.eval)
  if o.mean then three(name, "mean", o.mean, -10, 10) end
  if o.std then three(name, "std", o.std, 1e-6, 10) end
  if o.fill then three(name, "fill", o.fill, 0, 255) end
  return o
end

local function made(spec, given)
  local self = setmetatable(check(spec, given), Data)
  self.spec, self.line = spec, err.where():gsub(": $", "")
  return self
end

--- photos in class folders. See data.FOLDER for the options.
function data.folder(given)
  local self = made(data.FOLDER, given)
  return self
end

--- photos listed in a CSV file with a header: path, split (train, val, test), then label columns, of which any
--- may be empty for a photo. See data.MANIFEST for the options.
function data.manifest(given)
  local self = made(data.MANIFEST, given)
  return self
end

--- whether v is data.
function data.is(v)
  return getmetatable(v) == Data
end

--- checks the options again (overrides may have changed them).
function Data:recheck()
  local given = {}
  for key in pairs(self.spec) do
    if type(key) == "string" then given[key] = rawget(self, key) end
  end
  for key, value in pairs(check(self.spec, given)) do self[key] = value end
end

--- looks at the folders and lists the photos. classes = { names }: take these and don't need train;
--- splits = { "test" }: only these; columns = { { name, classes }, … }: what further label columns hold. Opening again does
--- nothing.
function Data:open(given)
  if self.splits then return self end
  local o = opt.check({ "data:open", classes = { "list", nil, of = "string" }, splits = { "list", nil, of = "string" },
    columns = { "list", nil, of = "table" } }, given)
  self:recheck()
  local source = self.spec == data.MANIFEST and require "foodrt.data.manifest" or scan
  local known = {}
  for _, c in ipairs(o.columns or {}) do known[c.name] = c.classes end
  source.open(self, o.classes, o.splits, known)
  return self
end

--- how many photos a split has; 0 when there is no such split.
function Data:count(split)
  local s = self.splits and self.splits[split]
  return s and s.count or 0
end

--- whether the split is there.
function Data:has(split)
  return self:count(split) > 0
end

--- photos per class of a split, in the order of data.classes.
function Data:class_counts(split)
  local s = self.splits and self.splits[split]
  return s and s.class_counts or {}
end

--- takes over what a model says of its photos (model.preprocess: size, mean, std, crop_pct, crop_mode, interpolation)
--- where the recipe says nothing. `model` is a module, searched with its children, or such a table.
function Data:suit(model)
  local found = model.preprocess and model
  if not found and model.modules then
    for _, m in model:modules() do
      found = found or m.preprocess and m
    end
  end
  self.model_preprocess = found and found.preprocess or (not model.modules and model) or nil
  self.model_name = found and found.name or nil
  return self
end

-- edge of evaluation photos
local function size_of(self)
  local given, model = self.eval.size, self.model_preprocess
  if given ~= "test" then return given or self.size end
  if not model or not model.test_size then
    err.at(self.line, "%s: 'eval.size' can only be \"test\" with a model of frt.models, whose weights have a test size", self.spec[1])
  end
  return model.test_size
end

--- what evaluation does to a photo: { size, mean, std, crop_pct, mode, interpolation, fill, shrink }, and train_size where
--- training sees another size.
function Data:settings()
  local model, size = self.model_preprocess or {}, size_of(self)
  local function pick(given, key)
    if given ~= nil then return given end
    if model[key] ~= nil then return model[key] end
    return DEFAULTS[key]
  end
  local s = { size = size, train_size = size ~= self.size and self.size or nil, fill = self.fill, shrink = self.eval.shrink,
    mean = pick(self.mean, "mean"), std = pick(self.std, "std"), mode = pick(self.eval.mode, "crop_mode"),
    crop_pct = pick(self.eval.crop_pct, self.eval.size == "test" and "test_crop_pct" or "crop_pct"),
    interpolation = pick(self.eval.interpolation, "interpolation") }
  if not s.fill then
    s.fill = {}
    for c = 1, 3 do s.fill[c] = math.max(0, math.min(255, math.floor(s.mean[c] * 255 + 0.5))) end
  end
  return s
end

local EDGE = { center = "shortest", squash = "both", border = "longest" }

local function scale_of(s)
  return math.floor(s.size / s.crop_pct)  -- as timm, rounding errors included
end

--- the C view of training photos (augmented) or of evaluation photos. It anchors what it points to.
function Data:view(augmented)
  local lib = require "foodrt.core.ffi"
  local s = self:settings()
  local list, n = augment.compile(augmented and self.train
    or { augment.resize { scale_of(s), edge = EDGE[s.mode], interpolation = s.interpolation }, augment.center_crop {} })
  local v = lib.ffi.new "frt_view"
  v.size, v.n_augment, v.augment = augmented and self.size or s.size, n, list
  for c = 0, 2 do v.mean[c], v.std[c], v.fill[c] = s.mean[c + 1], s.std[c + 1], s.fill[c + 1] end
  if augmented then v.shrink = self.shrink and 1 or 0 else v.shrink = s.shrink and 1 or 0 end
  return { c = v, list = list }
end

--- the settings in words.
function Data:preprocessing()
  local s = self:settings()
  local how = ({ center = "shortest edge to %d, middle %d x %d", squash = "both edges to %d, middle %d x %d",
    border = "longest edge to %d, %d x %d with a border" })[s.mode]
  return (how .. " (%s%s), mean %.3f %.3f %.3f, std %.3f %.3f %.3f"):format(scale_of(s), s.size, s.size,
    s.interpolation, s.shrink and ", JPEGs decoded small" or "", s.mean[1], s.mean[2], s.mean[3], s.std[1], s.std[2], s.std[3])
end

--- whose settings these are, in words: "size and crop_pct of the recipe, the rest of resnet50's weights".
function Data:origin()
  if not self.model_preprocess then return "as the recipe says, else as is usual for ImageNet" end
  local given, whose = {}, ("of %s's weights"):format(self.model_name or "the model")
  for _, key in ipairs { "size", "mean", "std" } do
    if rawget(self, key) ~= nil then given[#given + 1] = key end
  end
  for _, key in ipairs { "crop_pct", "mode", "interpolation" } do
    if self.eval[key] ~= nil then given[#given + 1] = key end
  end
  local n = #given
  if self.eval.size then table.insert(given, 1, "eval.size") end
  if #given == 0 then return "all " .. whose end
  if n == 6 then return "all of the recipe" end
  return table.concat(given, ", ", 1, #given - 1) .. (#given > 1 and " and " or "") .. given[#given] .. " of the recipe, the rest " .. whose
end

--- one photo as the network sees it in evaluation: tensor [1, 3, S, S], S = settings().size.
function Data:preprocess(path)
  local lib, T = require "foodrt.core.ffi", require "foodrt.tensor"
  local view = self:view(false)
  local size = view.c.size
  local bytes = lib.ffi.new("float[?]", size * size * 3)
  lib.check(lib.C.frt_view_load(view.c, path, 0, 0, 0, bytes))
  local x = T.wrap_data({ 1, 3, size, size }, "f32", bytes, true):own()
  return x
end

--- the batches of a split, made by threads ahead of time. See foodrt.data.loader.
function Data:loader(split, given)
  if not self.splits then self:open() end
  local s = self.splits[split]
  if not s then
    err.user("data: no split '%s' in '%s'%s", split, self.file or self.root, err.hint(split, self.splits))
  end
  local loader = require("foodrt.data.loader").new(self, split, s, given)
  return loader
end

return data
