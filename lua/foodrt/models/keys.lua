--- keys: what other makers call the parameters of our models (whose names are timm's). A file is told by one of its names.
local keys = {}

-- old name -> new name by the first pattern that fits; nil: not a parameter of the model
local function rename(name, rules)
  for _, rule in ipairs(rules) do
    local new, n = name:gsub(rule[1], rule[2])
    if n > 0 then return new end
  end
  return name
end

-- "stage.block" (from 0) of the i-th block (from 0) of all stages
local function place(depths, i)
  for s, n in ipairs(depths) do
    if i < n then return ("%d.%d"):format(s - 1, i) end
    i = i - n
  end
  return "none." .. i
end

-- The blocks of inverted bottlenecks are numbered through, and what is in them is numbered or named.
-- in   at  pattern that takes a block's number and the rest of the name; expanded(i): whether block i widens first
local function blocks(dict, model, at, expanded, first, others, rules)
  local out = {}
  for name, t in pairs(dict) do
    local i, rest = name:match(at)
    if i then
      i = tonumber(i)
      out[("blocks.%s.%s"):format(place(model.depths, i), rename(rest, expanded(i) and others or first))] = t
    else
      out[rename(name, rules)] = t
    end
  end
  return out
end

local SE = { { "^_se_reduce%.", "se.conv_reduce." }, { "^_se_expand%.", "se.conv_expand." } }

local function with(rules, more)
  local out = {}
  for _, list in ipairs { rules, more } do
    for _, rule in ipairs(list) do out[#out + 1] = rule end
  end
  return out
end

-- EfficientNet-PyTorch and efficientnet-lite-pytorch: TensorFlow's weights, so SAME padding and eps 1e-3
local function efficientnet_pytorch(dict, model)
  if not model.name:find "^tf_efficientnet_" then
    return nil, "are TensorFlow's EfficientNet (SAME padding, eps 1e-3): they fit tf_efficientnet_* only"
      .. (model.name:find "^efficientnet_" and ", use frt.models.tf_" .. model.name or "")
  end
  local function expanded(i) return dict[("_blocks.%d._expand_conv.weight"):format(i)] ~= nil end
  return (blocks(dict, model, "^_blocks%.(%d+)%.(.*)$", expanded,
    with(SE, { { "^_depthwise_conv%.", "conv_dw." }, { "^_bn1%.", "bn1." }, { "^_project_conv%.", "conv_pw." }, { "^_bn2%.", "bn2." } }),
    with(SE, { { "^_expand_conv%.", "conv_pw." }, { "^_bn0%.", "bn1." }, { "^_depthwise_conv%.", "conv_dw." }, { "^_bn1%.", "bn2." },
      { "^_project_conv%.", "conv_pwl." }, { "^_bn2%.", "bn3." } }),
    { { "^_conv_stem%.", "conv_stem." }, { "^_bn0%.", "bn1." }, { "^_conv_head%.", "conv_head." }, { "^_bn1%.", "bn2." },
      { "^_fc%.", "classifier." } }))
end

-- torchvision's EfficientNet: features.STAGE.BLOCK.block.N, the stem is stage 0, the last layer stage 8
local function torchvision_efficientnet(dict, model)
  if model.name:find "^efficientnet_b[567]$" then
    return nil, "are torchvision's, with eps 1e-3 in batch norm; this model has 1e-5, so they don't fit"
  elseif not model.name:find "^efficientnet_b" then
    return nil, "are torchvision's EfficientNet"
  end
  local first = { { "^0%.0%.", "conv_dw." }, { "^0%.1%.", "bn1." }, { "^1%.fc1%.", "se.conv_reduce." }, { "^1%.fc2%.", "se.conv_expand." },
    { "^2%.0%.", "conv_pw." }, { "^2%.1%.", "bn2." } }
  local others = { { "^0%.0%.", "conv_pw." }, { "^0%.1%.", "bn1." }, { "^1%.0%.", "conv_dw." }, { "^1%.1%.", "bn2." },
    { "^2%.fc1%.", "se.conv_reduce." }, { "^2%.fc2%.", "se.conv_expand." }, { "^3%.0%.", "conv_pwl." }, { "^3%.1%.", "bn3." } }
  local out = {}
  for name, t in pairs(dict) do
    local stage, i, rest = name:match "^features%.(%d+)%.(%d+)%.block%.(.*)$"
    if stage then
      out[("blocks.%d.%s.%s"):format(stage - 1, i, rename(rest, stage == "1" and first or others))] = t
    else
      out[rename(name, { { "^features%.0%.0%.", "conv_stem." }, { "^features%.0%.1%.", "bn1." }, { "^features%.8%.0%.", "conv_head." },
        { "^features%.8%.1%.", "bn2." }, { "^classifier%.1%.", "classifier." } })] = t
    end
  end
  return out
end

-- torchvision's MobileNetV2: features.N.conv.M, block N - 1
local function torchvision_mobilenetv2(dict, model)
  if not model.name:find "^mobilenetv2_" then return nil, "are torchvision's MobileNetV2" end
  local shifted = {}
  for name, t in pairs(dict) do
    local i, rest = name:match "^features%.(%d+)%.conv%.(.*)$"
    shifted[i and ("block.%d.%s"):format(i - 1, rest) or name] = t
  end
  local out = blocks(shifted, model, "^block%.(%d+)%.(.*)$", function(i) return i > 0 end,
    { { "^0%.0%.", "conv_dw." }, { "^0%.1%.", "bn1." }, { "^1%.", "conv_pw." }, { "^2%.", "bn2." } },
    { { "^0%.0%.", "conv_pw." }, { "^0%.1%.", "bn1." }, { "^1%.0%.", "conv_dw." }, { "^1%.1%.", "bn2." }, { "^2%.", "conv_pwl." },
      { "^3%.", "bn3." } },
    { { "^features%.0%.0%.", "conv_stem." }, { "^features%.0%.1%.", "bn1." }, { "^features%.18%.0%.", "conv_head." },
      { "^features%.18%.1%.", "bn2." }, { "^classifier%.1%.", "classifier." } })
  return out, nil, { interpolation = "bilinear" }
end

-- ConvNeXt as its authors published it
local function original_convnext(dict, model)
  if not model.name:find "^convnext_" then return nil, "are the original ConvNeXt" end
  local out = {}
  for name, t in pairs(dict) do
    name = name:gsub("^downsample_layers%.0%.", "stem."):gsub("^downsample_layers%.(%d+)%.(%d+)", "stages.%1.downsample.%2")
    name = name:gsub("^stages%.(%d+)%.(%d+)%.", "stages.%1.blocks.%2."):gsub("%.dwconv%.", ".conv_dw."):gsub("%.pwconv", ".mlp.fc")
    out[name:gsub("^head%.", "head.fc."):gsub("^norm%.", "head.norm.")] = t
  end
  return out
end

-- torchvision's ConvNeXt: features.0 is the stem, then stages and what leads to the next one in turn
local function torchvision_convnext(dict, model)
  if not model.name:find "^convnext_" then return nil, "are torchvision's ConvNeXt" end
  local parts = { ["block.0"] = "conv_dw", ["block.2"] = "norm", ["block.3"] = "mlp.fc1", ["block.5"] = "mlp.fc2" }
  local out = {}
  for name, t in pairs(dict) do
    local stage, i, rest = name:match "^features%.(%d+)%.(%d+)%.(.*)$"
    local part, kind = (rest or ""):match "^(block%.%d)%.(%w+)$"
    stage = tonumber(stage)
    if rest == "layer_scale" then
      out[("stages.%d.blocks.%s.gamma"):format((stage - 1) / 2, i)] = t:flatten(1)
    elseif parts[part] then
      out[("stages.%d.blocks.%s.%s.%s"):format((stage - 1) / 2, i, parts[part], kind)] = t
    elseif stage == 0 then
      out[("stem.%s.%s"):format(i, rest)] = t
    elseif stage then
      out[("stages.%d.downsample.%s.%s"):format(stage / 2, i, rest)] = t
    else
      out[rename(name, { { "^classifier%.0%.", "head.norm." }, { "^classifier%.2%.", "head.fc." } })] = t
    end
  end
  return out, nil, { interpolation = "bilinear" }
end

-- a map of keys_vit.lua
local function lazy(name)
  return function(dict, model)
    local out, why, preprocess = require("foodrt.models.keys_vit")[name](dict, model)
    return out, why, preprocess
  end
end

local MAKERS = {  -- a name that only their files have, how to translate
  { "_conv_stem.weight", efficientnet_pytorch },
  { "features.1.0.block.0.0.weight", torchvision_efficientnet },
  { "features.1.conv.0.0.weight", torchvision_mobilenetv2 },
  { "downsample_layers.0.0.weight", original_convnext },
  { "features.1.0.block.5.weight", torchvision_convnext },
  { "encoder.layers.encoder_layer_0.ln_1.weight", lazy "torchvision" },
  { "embedding/kernel", lazy "jax" },
}

-- --- names that are longer than ours ------------------------------------------------------------------------------------
local function is_copy(prefix)
  return prefix:find "ema%f[%A]" ~= nil or prefix:find "averag" ~= nil or prefix:find "teacher" ~= nil or prefix:find "momentum" ~= nil
    or prefix:find "swa" ~= nil
end

-- what names may begin with: { { prefix, hits } }, the likeliest first. A prefix is seen at a name that every file of the
-- model has; hits are the model's names that are there behind it.
local function prefixes(model, dict, own)
  local marks, seen, list = { model.first_conv .. ".weight" }, {}, {}
  for _, maker in ipairs(MAKERS) do marks[#marks + 1] = maker[1] end
  for name in pairs(dict) do
    for _, mark in ipairs(marks) do
      local at = #name - #mark
      if at >= 0 and name:sub(at + 1) == mark and (at == 0 or name:sub(at, at):find "[./]") then seen[name:sub(1, at)] = true end
    end
  end
  for prefix in pairs(seen) do
    local hits, n = 0, 0
    for name in pairs(dict) do
      if name:sub(1, #prefix) == prefix then
        n = n + 1
        hits = hits + (own[name:sub(#prefix + 1)] and 1 or 0)
      end
    end
    list[#list + 1] = { prefix = prefix, hits = hits, n = n }
  end
  table.sort(list, function(a, b)
    local x, y = is_copy(a.prefix), is_copy(b.prefix)
    if x ~= y then return y end
    if a.hits ~= b.hits then return a.hits > b.hits end
    if a.n ~= b.n then return a.n > b.n end
    return a.prefix < b.prefix
  end)
  return list
end

--- the tensors without what a container put in front of all names ("model.", "net.backbone."), and what is to be said:
--- what was taken off, and what lies elsewhere in the file and was passed over.
--- in   own  the model's own tensors by name
function keys.unwrap(model, dict, own)
  local list = prefixes(model, dict, own)
  local best = list[1]
  if not best or best.prefix == "" and #list == 1 then return dict, {} end
  local out, others, notes = {}, {}, {}
  for name, t in pairs(dict) do
    local rest = name:sub(1, #best.prefix) == best.prefix and name:sub(#best.prefix + 1)
    local elsewhere = best.prefix == ""
    for i = 2, elsewhere and #list or 0 do
      if list[i].hits * 2 > best.hits and name:sub(1, #list[i].prefix) == list[i].prefix then rest = nil end
    end
    if rest then
      out[rest] = t
    else
      others[#others + 1] = name
    end
  end
  if best.prefix ~= "" then
    notes[1] = is_copy(best.prefix) and ("averages of the weights were taken ('%s*'): it holds no others"):format(best.prefix)
      or ("names begin with '%s', which was taken off"):format(best.prefix)
  end
  for i = 2, #list do
    if list[i].hits * 2 > best.hits then
      notes[#notes + 1] = ("also holds '%s*', %s, which was not taken"):format(list[i].prefix,
        is_copy(list[i].prefix) and "averages of the weights or another copy" or "another copy")
    end
  end
  table.sort(others)
  if #others > 0 then
    notes[#notes + 1] = ("passed over what lies elsewhere: %s"):format(require("foodrt.core.text").some(others, 4))
  end
  return out, notes
end

-- what tools leave beside weights: counters, the photos' mean
local LEFT = { n_averaged = true, total_ops = true, total_params = true, num_batches_tracked = true, mean = true, std = true,
  initted = true, step = true, position_ids = true, relative_position_index = true }
local SMALL = 16

--- takes out of the tensors what is no parameter of the model and too small to be missed; out what is to be said, or nil.
function keys.drop_small(dict, own)
  local out = {}
  for name, t in pairs(dict) do
    if not own[name] and not name:find "num_batches_tracked$" and (LEFT[name:match "([^.]*)$"] or t:numel() <= SMALL) then
      out[#out + 1] = name
    end
  end
  for _, name in ipairs(out) do dict[name] = nil end
  table.sort(out)
  return #out > 0 and ("passed over what is no parameter: %s"):format(require("foodrt.core.text").some(out, 4)) or nil
end

local IMAGENET = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }

--- the tensors under our names, nil, and what their maker is known to show them: torchvision's own preprocessing, as far as it
--- isn't the model's; nil, what is wrong, where they are another model's.
function keys.translate(model, dict)
  for _, maker in ipairs(MAKERS) do
    if dict[maker[1]] then
      local out, why, preprocess = maker[2](dict, model)
      if preprocess then preprocess.mean, preprocess.std = IMAGENET.mean, IMAGENET.std end
      return out, why, preprocess
    end
  end
  return dict
end

return keys
