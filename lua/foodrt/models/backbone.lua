--- backbone: what all families share: options, the head, maps of several stages, where weights come from.
--- A family gives stage(self, i, x), n_stages and, where it has them, last(self, map), pool(self, map), tap(self, x).
local nn, opt, err = require "foodrt.nn", require "foodrt.core.opt", require "foodrt.core.err"
local module = require "foodrt.nn.module"
local cards, pretrained = require "foodrt.models.cards", require "foodrt.models.pretrained"

local backbone = {}

--- the schema of a model's options: those of every family and what `more` adds.
function backbone.options(name, more)
  local rate = { "number", 0, min = 0, max = 0.999 }
  local spec = { name, classes = { "integer|string", 1000, min = 1 }, pretrained = { "boolean|string|table", false },
    head = { "boolean", true }, features = { "list", nil, "stages whose maps the model returns instead of logits" },
    drop_rate = rate, drop_path_rate = rate, in_chans = { "integer", 3, min = 1 },
    checkpoint = { "boolean", false, "what the stages make is computed again in the backward pass, not kept" },
    img_size = { "integer", nil, "edge of the photos, where it is not that of the default weights", min = 1 },
    attention = { "table|function", nil, "put into every block: nn.CBAM {}, or f(channels)" } }
  for k, v in pairs(more or {}) do spec[k] = v end
  return spec
end

--- one new attention layer for a block with `channels`, from what the user gave once. Weights may lack it.
function backbone.attention(o, channels)
  local what = o.attention
  if not what then return nil end
  if type(what) ~= "function" and not nn.is(what) then
    err.user("'attention' must be a layer or a function of the channels, got %s", opt.show(what))
  end
  local m = type(what) == "function" and what(channels) or what:clone()
  rawset(m, "_added", true)
  return m
end

--- the rate of drop_path at block i (from 0) of n: grows from 0 to rate * (n - 1) / of.
function backbone.drop_path(rate, i, of)
  return rate > 0 and i > 0 and nn.DropPath { rate * i / of } or nil
end

local function mlp_forward(self, x)
  return (self.fc2(self.fc1(x):gelu()))
end

--- two layers of kind `dense` (nn.Linear, nn.Conv2d), four times wider in between.
function backbone.mlp(dense, width)
  return (nn.Module { fc1 = dense { 4 * width, init = "trunc" }, fc2 = dense { width, init = "trunc" }, forward = mlp_forward })
end

--- takes `key` out of `owner`, which holds it under the name `name`; weights may still contain it.
function backbone.cut(m, owner, key, name)
  owner[key] = nil
  m.absent[#m.absent + 1] = name or key
end

-- stage i of x; with checkpoint = true computed again in the backward pass
local function stage(self, i, x)
  if self.checkpoint then return module.stage(self.stage, self, i, x) end
  return self:stage(i, x)
end

-- x -> the last map, or a list of the maps of the stages asked for (in that order; stages count from 1)
local function features(self, x, stages)
  if not stages then
    for i = 1, self.n_stages do x = stage(self, i, x) end
    return self.last and self:last(x) or x
  end
  local maps, last = {}, math.max(unpack(stages))
  for i = 1, last do
    x = stage(self, i, x)
    for k, s in ipairs(stages) do
      if s == i then maps[k] = self.tap and self:tap(x) or x end
    end
  end
  return maps
end

-- the map -> logits [N, classes]
local function classify(self, map)
  local fc = self:classifier_layer()
  if not fc then err.user("%s: has no classifier (head = false)", self.name) end
  local h = self.pool and self:pool(map) or map:avg_pool2d()
  if self.drop then h = self.drop(h) end
  return (fc(h))
end

local function forward(self, x)
  if self.taps then return (self:features(x, self.taps)) end
  local map = self:features(x)
  return self:classifier_layer() and self:classify(map) or map
end
backbone.forward = forward

-- the classifier wherever the family keeps it: "fc", "head.fc"
local function classifier_layer(self)
  local m = self
  for part in self.classifier_name:gmatch "[^.]+" do m = m and m[part] end
  return m
end

local function check_stages(m, stages)
  if #stages == 0 then err.user("%s: 'features' must list stages from 1 to %d", m.name, m.n_stages) end
  for _, s in ipairs(stages) do
    if type(s) ~= "number" or s % 1 ~= 0 or s < 1 or s > m.n_stages then
      err.user("%s: 'features' must list stages from 1 to %d, got %s", m.name, m.n_stages, opt.show(s))
    end
  end
end

-- The options that are data, for a checkpoint's card; which weights they were is said by the file itself.
local function plain_options(o)
  local out = {}
  for key, v in pairs(o) do
    local kind = type(v)
    local plain = kind == "number" or kind == "string" or kind == "boolean"
    if kind == "table" and getmetatable(v) == nil then
      plain = true
      for k, x in pairs(v) do plain = plain and type(k) == "number" and type(x) ~= "table" and type(x) ~= "function" end
    end
    if plain and type(key) == "string" and key ~= "pretrained" then out[key] = v end
  end
  return out
end

--- completes a model: `m` holds the family's layers and functions.
--- in   what  first_conv, classifier: names of these layers; cut(m, i): takes out what stage i has;
---            head: names of what follows the last stage
function backbone.finish(m, name, o, what)
  m.name, m.first_conv, m.classifier_name = name, what.first_conv, what.classifier
  m.absent = {}
  m._stages, m.checkpoint = true, o.checkpoint  -- the stages are those of the model, not the model itself
  m.features, m.classify, m.classifier_layer = features, classify, classifier_layer
  m.drop = o.head and not o.features and o.drop_rate > 0 and nn.Dropout { o.drop_rate } or nil
  local head = what.classifier:match "^[^.]+"
  if o.features then
    check_stages(m, o.features)
    m.taps = o.features
    for _, key in ipairs(what.after or {}) do backbone.cut(m, m, key) end
    for i = math.max(unpack(o.features)) + 1, m.n_stages do what.cut(m, i) end
  end
  if o.features or not o.head then backbone.cut(m, m, head) end
  local card = cards.of(name)
  m.preprocess, m.tag = card.preprocess, card.tag
  m.own_size = o.img_size
  if o.img_size then m.preprocess.size, m.preprocess.test_size = o.img_size, o.img_size end
  m.default_input = what.input or { 1, o.in_chans, 64, 64 }
  rawset(m, "_made_by", { constructor = name, options = plain_options(o) })
  pretrained.attach(m, o.pretrained)
  return m
end

return backbone
