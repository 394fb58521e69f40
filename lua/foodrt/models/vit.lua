--- vit: the Vision Transformer, tiny to large, with a class token. Keys and initial values are timm's.
--- from Dosovitskiy et al. 2020 (arXiv:2010.11929), table 1; tiny and small: Steiner et al. 2021 (arXiv:2106.10270)
local nn, opt, err, lib = require "foodrt.nn", require "foodrt.core.opt", require "foodrt.core.err", require "foodrt.core.ffi"
local T, backbone = require "foodrt.tensor", require "foodrt.models.backbone"
local ffi, array = lib.ffi, require("foodrt.core.buffer").new

local WIDTHS = {  -- width, depth, heads
  tiny = { 192, 12, 3 }, small = { 384, 12, 6 }, base = { 768, 12, 12 }, large = { 1024, 24, 16 },
}
local NETS = { "tiny_patch16", "small_patch16", "small_patch32", "base_patch16", "base_patch32", "large_patch16", "large_patch32" }
local EPS = 1e-6

-- tokens after the class token as a map
local function to_map(x, grid)
  local n, l, f = unpack(x.shape)
  return (x:narrow(2, 2, l - 1):transpose(2, 3):reshape { n, f, grid, grid })
end

-- the map's positions as tokens behind x's class token
local function from_map(x, map)
  local n, _, f = unpack(x.shape)
  return (nn.cat { x:narrow(2, 1, 1), map:reshape({ n, f, -1 }):transpose(2, 3), dim = 2 })
end

local function patch_forward(self, x)
  local map = self.proj(x)
  local n, f = unpack(map.shape)
  return (map:reshape({ n, f, -1 }):transpose(2, 3))
end

local function block_forward(self, x)
  local h = self.attn(self.norm1(x))
  x = x + (self.drop_path1 and self.drop_path1(h) or h)
  h = self.mlp(self.norm2(x))
  if self.attention then h = from_map(h, self.attention(to_map(h, self.grid))) end
  return x + (self.drop_path2 and self.drop_path2(h) or h)
end

local function block(o, width, heads, grid, i, depth)
  local m = nn.Module {
    norm1 = nn.LayerNorm { eps = EPS }, attn = nn.MultiheadAttention { heads, init = "trunc" }, norm2 = nn.LayerNorm { eps = EPS },
    mlp = backbone.mlp(nn.Linear, width), attention = backbone.attention(o, width), forward = block_forward,
  }
  m.grid = grid
  m.drop_path1 = backbone.drop_path(o.drop_path_rate, i, depth - 1)
  m.drop_path2 = backbone.drop_path(o.drop_path_rate, i, depth - 1)
  return m
end

-- photos -> class token and patches [N, 1 + grid * grid, F], each with its position
local function embed(self, x)
  local shape, edge = x.shape, self.preprocess.size
  if #shape ~= 4 or shape[3] ~= edge or shape[4] ~= edge then
    err.user("%s: expected photos [N, C, %d, %d], got [%s]: img_size makes a model for others", self.name, edge, edge,
      table.concat(shape, ", "))
  end
  local patches = self.patch_embed(x)
  local n, _, f = unpack(patches.shape)
  return nn.cat { self.cls_token:expand(n, 1, f), patches, dim = 2 } + self.pos_embed
end

local function stage(self, i, x)
  if i == 1 then x = embed(self, x) end
  return (self.blocks[i](x))
end

local function last(self, x)
  return (self.norm(x))
end

local function pool(_, tokens)
  return (tokens:select(2, 1))
end

local function tap(self, x)
  return (to_map(x, self.blocks[1].grid))
end

local function cut(m, i)
  backbone.cut(m, m.blocks, i, "blocks." .. i - 1)
end

-- weights for another grid: the class token's position stays, the others are resized
local function adapt(m, dict)
  local src, own = dict.pos_embed, m.pos_embed
  if not src or src:dim() ~= 3 or src.shape[2] == own.shape[2] or src.shape[3] ~= own.shape[3] then return end
  local width, from, to = own.shape[3], math.sqrt(src.shape[2] - 1), math.sqrt(own.shape[2] - 1)
  if from % 1 ~= 0 then return end
  local old, new = array("float", src:numel()), array("float", own:numel())
  lib.check(lib.C.frt_read(src.ref, old, ffi.sizeof(old)))
  ffi.copy(new, old, width * 4)
  local grid = require "foodrt.models.posembed".resize(old + width, from, to, width)
  ffi.copy(new + width, grid, to * to * width * 4)
  local t = T.var { shape = own.shape, dtype = "f32", kind = "state", name = "pos_embed" }
  t:write(new, ffi.sizeof(new))
  dict.pos_embed = t
end

local function constructor(name, net, size)
  local spec = backbone.options(name)
  local width, depth, heads = unpack(WIDTHS[net:match "^%a+"])
  local patch = tonumber(net:match "%d+$")
  return function(given)
    local o = opt.check(spec, given)
    local edge, blocks = o.img_size or size, {}
    if edge % patch ~= 0 then err.user("%s: 'img_size' must be a multiple of %d, got %d", name, patch, edge) end
    local grid = edge / patch
    local m = nn.Module {
      cls_token = nn.Parameter { 1, 1, width, init = { "normal", 0, 1e-6 } },
      pos_embed = nn.Parameter { 1, 1 + grid * grid, width, init = { "trunc_normal", 0, 0.02, -2, 2 } },
      patch_embed = nn.Module { proj = nn.Conv2d { width, patch, stride = patch }, forward = patch_forward },
      forward = backbone.forward,
    }
    for i = 1, depth do blocks[i] = block(o, width, heads, grid, i - 1, depth) end
    m.blocks = nn.Chain(blocks)
    m.norm, m.head = nn.LayerNorm { eps = EPS }, nn.Linear { o.classes, init = "trunc" }
    m.patch_embed.proj.in_channels = o.in_chans
    m.n_stages, m.stage, m.last, m.pool, m.tap, m.adapt = depth, stage, last, pool, tap, adapt
    return (backbone.finish(m, name, o, { first_conv = "patch_embed.proj", classifier = "head", cut = cut, after = { "norm" },
      input = { 1, o.in_chans, edge, edge } }))
  end
end

local models = {}
for _, net in ipairs(NETS) do
  for _, size in ipairs { 224, 384 } do
    local name = ("vit_%s_%d"):format(net, size)
    models[name] = constructor(name, net, size)
  end
end
return models
