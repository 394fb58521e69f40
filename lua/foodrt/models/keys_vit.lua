--- keys_vit: ViT weights of torchvision and of the JAX originals (.npz), under timm's names and in PyTorch's layout.
local T = require "foodrt.tensor"
local keys_vit = {}

local function others(model, whose)
  if model.name:find "^vit_" then return nil end
  return "are a ViT of " .. whose
end

--- torchvision: encoder.layers.encoder_layer_I.…, where timm has blocks.I.….
function keys_vit.torchvision(dict, model)
  local why = others(model, "torchvision")
  if why then return nil, why end
  local parts = { ["ln_1."] = "norm1.", ["self_attention.in_proj_"] = "attn.qkv.", ["self_attention.out_proj."] = "attn.proj.",
    ["ln_2."] = "norm2.", ["mlp.0."] = "mlp.fc1.", ["mlp.linear_1."] = "mlp.fc1.", ["mlp.3."] = "mlp.fc2.", ["mlp.linear_2."] = "mlp.fc2." }
  local whole = { ["class_token"] = "cls_token", ["encoder.pos_embedding"] = "pos_embed", ["conv_proj.weight"] = "patch_embed.proj.weight",
    ["conv_proj.bias"] = "patch_embed.proj.bias", ["encoder.ln.weight"] = "norm.weight", ["encoder.ln.bias"] = "norm.bias",
    ["heads.head.weight"] = "head.weight", ["heads.head.bias"] = "head.bias" }
  local out = {}
  for name, t in pairs(dict) do
    local i, rest = name:match "^encoder%.layers%.encoder_layer_(%d+)%.(.*)$"
    local head, tail = (rest or ""):match "^(.-)(%w+)$"
    local new = parts[head or ""] and ("blocks.%s.%s%s"):format(i, parts[head], tail) or whole[name] or name
    out[new] = t
  end
  return out, nil, { interpolation = "bilinear", crop_pct = 0.875, test_crop_pct = 0.875 }
end

-- JAX keeps the inputs first: [in, out] -> [out, in], [in, heads, n] -> [heads * n, in], [heads, n, out] -> [out, heads * n]
local function flipped(t)
  local y = t:transpose(1, 2)
  return y
end

local function from_heads(t)
  local s = t.shape
  local y = flipped(t:reshape { s[1], s[2] * s[3] })
  return y
end

local function to_heads(t)
  local s = t.shape
  local y = flipped(t:reshape { s[1] * s[2], s[3] })
  return y
end

local function jax_block(dict, out, i)
  local old, new = ("Transformer/encoderblock_%d/"):format(i), ("blocks.%d."):format(i)
  local used = {}
  local function take(name)
    used[old .. name] = true
    return dict[old .. name]
  end
  local function attention(name)
    return take("MultiHeadDotProductAttention_1/" .. name)
  end
  if not attention "query/kernel" then return nil end
  local kernels, biases = {}, {}
  for k, name in ipairs { "query", "key", "value" } do
    local kernel, bias = attention(name .. "/kernel"), attention(name .. "/bias")
    if not kernel or not bias or #kernel.shape ~= 3 or #bias.shape ~= 2 then return nil end
    kernels[k], biases[k] = from_heads(kernel), bias:flatten(1)
  end
  out[new .. "attn.qkv.weight"], out[new .. "attn.qkv.bias"] = T.api.cat(kernels, 1), T.api.cat(biases, 1)
  local proj = attention "out/kernel"
  out[new .. "attn.proj.weight"] = proj and #proj.shape == 3 and to_heads(proj) or proj
  out[new .. "attn.proj.bias"] = attention "out/bias"
  for n, name in ipairs { "LayerNorm_0", "LayerNorm_2" } do
    out[("%snorm%d.weight"):format(new, n)], out[("%snorm%d.bias"):format(new, n)] = take(name .. "/scale"), take(name .. "/bias")
  end
  for n = 1, 2 do
    local dense = ("MlpBlock_3/Dense_%d/"):format(n - 1)
    local kernel = take(dense .. "kernel")
    out[("%smlp.fc%d.weight"):format(new, n)] = kernel and flipped(kernel)
    out[("%smlp.fc%d.bias"):format(new, n)] = take(dense .. "bias")
  end
  return used
end

--- the originals of Dosovitskiy et al. and Steiner et al. (augreg): one .npz with numpy arrays.
function keys_vit.jax(dict, model)
  local why = others(model, "JAX")
  if why then return nil, why end
  local whole = { cls = "cls_token", ["embedding/bias"] = "patch_embed.proj.bias",
    ["Transformer/posembed_input/pos_embedding"] = "pos_embed", ["Transformer/encoder_norm/scale"] = "norm.weight",
    ["Transformer/encoder_norm/bias"] = "norm.bias", ["head/bias"] = "head.bias" }
  local out, used = {}, { ["embedding/kernel"] = true, ["head/kernel"] = true }
  for old, new in pairs(whole) do
    out[new], used[old] = dict[old], true
  end
  local patch, head = dict["embedding/kernel"], dict["head/kernel"]
  out["patch_embed.proj.weight"] = #patch.shape == 4 and patch:permute(4, 3, 1, 2) or patch
  out["head.weight"] = head and #head.shape == 2 and flipped(head) or head
  local i = 0
  repeat
    local block = jax_block(dict, out, i)
    for name in pairs(block or {}) do used[name] = true end
    i = i + 1
  until not block
  for name, t in pairs(dict) do
    if not used[name] then out[name] = t end  -- what nobody knows is named when it is loaded
  end
  local computed = {}
  for _, t in pairs(out) do computed[#computed + 1] = t end
  T.api.realize(computed)
  return out
end

return keys_vit
