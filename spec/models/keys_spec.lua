-- keys: weights under other makers' names. Each map is checked by giving a whole model those names and reading it back; that they
-- are torchvision's and JAX's own names was checked beside torchvision 0.29 and timm's own reader of .npz files.
local frt = require "foodrt"
local R = require "foodrt.tensor.record"
local process, zip = require "spec.support.process", require "spec.support.zip"
local ffi = require "ffi"

local dir
local function text_of(t)
  return ffi.string(R.read(t), t:numel() * 4)
end

-- reads `path` into a new model and compares every tensor
local function same(name, o, whole, path)
  local given = { pretrained = path }
  for k, v in pairs(o) do given[k] = v end
  local m = frt.models[name](given)
  m:build { seed = 2 }
  local dict, order = whole:state_dict()
  local read = m:state_dict()
  for _, key in ipairs(order) do
    assert.is_true(text_of(dict[key]) == text_of(read[key]), key)
  end
  return m
end

local function save(whole, rename)
  local out = {}
  for key, t in pairs((whole:state_dict())) do
    local new, value = rename(key, t)
    out[new] = value or t
  end
  frt.save(dir .. "/theirs.safetensors", out)
  return dir .. "/theirs.safetensors"
end

describe("weights of other makers", function()
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  it("torchvision's ConvNeXt: features.N, layer_scale [C, 1, 1]; its photos are torchvision's", function()
    local whole = frt.models.convnext_tiny { classes = 3 }
    whole:build { seed = 1 }
    local parts = { ["conv_dw"] = "0", ["norm"] = "2", ["mlp.fc1"] = "3", ["mlp.fc2"] = "5" }
    local path = save(whole, function(key, t)
      local s, i, rest = key:match "^stages%.(%d)%.blocks%.(%d+)%.(.*)$"
      if rest == "gamma" then return ("features.%d.%s.layer_scale"):format(2 * s + 1, i), t:reshape { -1, 1, 1 } end
      if s then
        local part, kind = rest:match "^(.*)%.(%w+)$"
        return ("features.%d.%s.block.%s.%s"):format(2 * s + 1, i, parts[part], kind)
      end
      s, rest = key:match "^stages%.(%d)%.downsample%.(.*)$"
      if s then return ("features.%d.%s"):format(2 * s, rest) end
      return (key:gsub("^stem%.", "features.0."):gsub("^head%.norm", "classifier.0"):gsub("^head%.fc", "classifier.2"))
    end)
    local m = same("convnext_tiny", { classes = 3 }, whole, path)
    assert.equal("bilinear", m.preprocess.interpolation)
    local wrong = frt.models.resnet18 { pretrained = path }
    local ok, why = pcall(wrong.build, wrong)
    assert.is_false(ok)
    assert.matches("resnet18: the weights in '" .. path .. "' are torchvision's ConvNeXt", why, 1, true)
  end)

  it("TensorFlow's EfficientNet fits tf_efficientnet_* only: the message names that model, where there is one", function()
    frt.save(dir .. "/tf.safetensors", { ["_conv_stem.weight"] = frt.zeros { 32, 3, 3, 3 } })
    for name, hint in pairs { efficientnet_lite0 = ", use frt.models.tf_efficientnet_lite0", resnet18 = "" } do
      local m = frt.models[name] { pretrained = dir .. "/tf.safetensors" }
      local ok, why = pcall(m.build, m)
      assert.is_false(ok)
      assert.equal(hint, why:match "they fit tf_efficientnet_%* only(.*)$")
    end
  end)

  local function torchvision_vit(mlp)
    local parts = { norm1 = "ln_1", norm2 = "ln_2", ["attn.proj"] = "self_attention.out_proj", ["mlp.fc1"] = mlp[1], ["mlp.fc2"] = mlp[2] }
    return function(key)
      local i, part, kind = key:match "^blocks%.(%d+)%.(.*)%.(%w+)$"
      if not i then
        return (key:gsub("^cls_token", "class_token"):gsub("^pos_embed", "encoder.pos_embedding"):gsub("^patch_embed%.proj", "conv_proj")
          :gsub("^norm", "encoder.ln"):gsub("^head", "heads.head"))
      end
      local layer = ("encoder.layers.encoder_layer_%s."):format(i)
      return layer .. (part == "attn.qkv" and "self_attention.in_proj_" .. kind or parts[part] .. "." .. kind)
    end
  end

  for what, mlp in pairs { new = { "mlp.0", "mlp.3" }, old = { "mlp.linear_1", "mlp.linear_2" } } do
    it("torchvision's ViT, " .. what .. " names; its photos have ImageNet's mean", function()
      local whole = frt.models.vit_tiny_patch16_224 { classes = 3 }
      whole:build { seed = 1 }
      local m = same("vit_tiny_patch16_224", { classes = 3 }, whole, save(whole, torchvision_vit(mlp)))
      assert.equal(0.485, m.preprocess.mean[1])
    end)
  end

  -- an array whose values are t's with dimensions in another order
  local function array(t, order, shape, fortran)
    if order then t = t:permute(order) end
    return zip.npy(shape or t.shape, text_of(t), nil, fortran)
  end

  it("the JAX originals: one .npz, inputs first, heads apart; other sizes of photos fit", function()
    local whole = frt.models.vit_tiny_patch16_224 { classes = 3 }
    whole:build { seed = 1 }
    local w, entries = whole:state_dict(), {}
    local function put(name, bytes) entries[#entries + 1] = { name .. ".npy", bytes } end
    put("cls", array(w.cls_token))
    put("embedding/kernel", array(w["patch_embed.proj.weight"], { 3, 4, 2, 1 }))
    put("embedding/bias", array(w["patch_embed.proj.bias"]))
    put("Transformer/posembed_input/pos_embedding", array(w.pos_embed))
    put("Transformer/encoder_norm/scale", array(w["norm.weight"]))
    put("Transformer/encoder_norm/bias", array(w["norm.bias"]))
    put("head/kernel", array(w["head.weight"], nil, { 192, 3 }, "True"))  -- column after column: turned already
    put("head/bias", array(w["head.bias"]))
    for i = 0, 11 do
      local ours, theirs = ("blocks.%d."):format(i), ("Transformer/encoderblock_%d/"):format(i)
      local attention = theirs .. "MultiHeadDotProductAttention_1/"
      for k, name in ipairs { "query", "key", "value" } do
        put(attention .. name .. "/kernel", array(w[ours .. "attn.qkv.weight"]:narrow(1, 192 * (k - 1) + 1, 192), { 2, 1 }, { 192, 3, 64 }))
        put(attention .. name .. "/bias", array(w[ours .. "attn.qkv.bias"]:narrow(1, 192 * (k - 1) + 1, 192), nil, { 3, 64 }))
      end
      put(attention .. "out/kernel", array(w[ours .. "attn.proj.weight"], { 2, 1 }, { 3, 64, 192 }))
      put(attention .. "out/bias", array(w[ours .. "attn.proj.bias"]))
      for n, name in ipairs { "LayerNorm_0", "LayerNorm_2" } do
        put(theirs .. name .. "/scale", array(w[("%snorm%d.weight"):format(ours, n)]))
        put(theirs .. name .. "/bias", array(w[("%snorm%d.bias"):format(ours, n)]))
        local dense = ("%sMlpBlock_3/Dense_%d/"):format(theirs, n - 1)
        put(dense .. "kernel", array(w[("%smlp.fc%d.weight"):format(ours, n)], { 2, 1 }))
        put(dense .. "bias", array(w[("%smlp.fc%d.bias"):format(ours, n)]))
      end
    end
    process.write(dir .. "/vit.npz", zip.pack(entries))
    same("vit_tiny_patch16_224", { classes = 3 }, whole, dir .. "/vit.npz")
    local small = frt.models.vit_tiny_patch16_224 { classes = 3, img_size = 64, pretrained = dir .. "/vit.npz" }
    small:build { seed = 2 }
    assert.same({ 1, 17, 192 }, small.pos_embed.shape)
    local wrong = frt.models.convnext_atto { pretrained = dir .. "/vit.npz" }
    local ok, why = pcall(wrong.build, wrong)
    assert.is_false(ok)
    assert.matches("convnext_atto: the weights in '" .. dir .. "/vit.npz' are a ViT of JAX", why, 1, true)
  end)
end)

describe("npz", function()
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)

  local function read(bytes)
    process.write(dir .. "/a.npz", bytes)
    local ok, t = pcall(frt.load, dir .. "/a.npz")
    return ok and t, not ok and t
  end

  it("reads rows and columns first, whole numbers, halves, scalars, compressed ones", function()
    local le = zip.le
    local t = read(zip.pack { { "a.npy", zip.npy({ 2, 3 }, le(1, 4) .. le(2, 4) .. le(3, 4) .. le(4, 4) .. le(5, 4) .. le(6, 4), "<i4") },
      { "b.npy", zip.npy({ 2, 3 }, "\1\2\3\4\5\6", "|u1", "True") }, { "c.npy", zip.npy({}, le(7, 8), "<i8") },
      { "d.npy", zip.npy({ 1 }, "\0\60", "<f2") } })
    local packed = zip.npy({ 2 }, "\3\4", "|u1")
    assert.same({ 3, 4 }, read(zip.pack { { "a.npy", packed, packed = zip.deflate(packed) }, { "b.npy", packed } }).a:totable())
    assert.same({ { 1, 2, 3 }, { 4, 5, 6 } }, t.a:totable())
    assert.same({ { 1, 3, 5 }, { 2, 4, 6 } }, t.b:totable())
    assert.equal(7, t.c:item())
    assert.same({ 1 }, t.d:totable())
  end)

  it("refuses what is none or lies, by name", function()
    local function why(npy)
      local _, text = read(zip.pack { { "w.npy", npy } })
      return (text:gsub("^.-a.npz'", "FILE"))
    end
    assert.equal("FILE: array 'w.npy' is of type '|O', which is not read", why(zip.npy({ 1 }, ("x"):rep(8), "|O")))
    assert.equal("FILE: array 'w.npy' is of type '>f4', which is not read", why(zip.npy({ 1 }, "abcd", ">f4")))
    assert.equal("FILE: array 'w.npy' has 4 bytes, which its shape does not match", why(zip.npy({ 2 }, "abcd")))
    assert.equal("FILE: array 'w.npy' has 4 bytes, which its shape does not match",
      why(zip.npy({ "4294967296", "4294967296", "4" }, "abcd")))
    assert.equal("FILE: the header of array 'w.npy' is damaged, or of a kind that is not read", why(zip.npy({ -1 }, "abcd")))
    assert.equal("FILE: entry 'w.npy' is no array of numpy", why(("x"):rep(99)))
    assert.equal("FILE: array 'w.npy' has a header of 65535 bytes", why("\147NUMPY\1\0\255\255" .. ("x"):rep(99)))
  end)
end)
