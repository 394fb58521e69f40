--- cards: what is known of each model: size, operations, and what timm's default weights want to see: photo size, share of
--- the photo that is kept, mean and deviation, licence. The table says what differs from the rest.
local IMAGENET = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }
local HALF = { mean = { 0.5, 0.5, 0.5 }, std = { 0.5, 0.5, 0.5 } }

-- parameters with 1000 classes, 1e9 multiply-adds per photo of this size, size, crop_pct [, tag] [, mean and std] [, exceptions]
local CARDS = {
  efficientnet_b0 = { 5288548, 0.386, 224, 0.875, "ra_in1k" },
  efficientnet_b1 = { 7794184, 0.687, 240, 0.9, "ra4_e3600_r240_in1k", HALF, test_size = 288, test_crop_pct = 1 },
  efficientnet_b2 = { 9109994, 0.86, 256, 0.875, "ra_in1k", test_size = 288, test_crop_pct = 1 },
  efficientnet_b3 = { 12233232, 1.589, 288, 0.875, "ra2_in1k", test_size = 320, test_crop_pct = 1 },
  efficientnet_b4 = { 19341616, 3.064, 320, 0.875, "ra2_in1k", test_size = 384, test_crop_pct = 1 },
  efficientnet_b5 = { 30389784, 9.404, 448, 1, "sw_in12k_ft_in1k", crop_mode = "squash" },
  efficientnet_b6 = { 43040704, 19.068, 528, 0.942 },
  efficientnet_b7 = { 66347960, 37.746, 600, 0.949 },
  efficientnet_b8 = { 87413142, 62.597, 672, 0.954 },
  efficientnet_l2 = { 480309308, 475.704, 800, 0.961 },
  efficientnet_lite0 = { 4652008, 0.385, 224, 0.875, "ra_in1k" },
  efficientnet_lite1 = { 5416680, 0.6, 240, 0.882 },
  efficientnet_lite2 = { 6092072, 0.86, 260, 0.89 },
  efficientnet_lite3 = { 8197096, 1.608, 300, 0.904 },
  efficientnet_lite4 = { 13006568, 3.944, 380, 0.922 },
  tf_efficientnet_b0 = { 5288548, 0.386, 224, 0.875, "ns_jft_in1k" },
  tf_efficientnet_b1 = { 7794184, 0.687, 240, 0.882, "ns_jft_in1k" },
  tf_efficientnet_b2 = { 9109994, 0.994, 260, 0.89, "ns_jft_in1k" },
  tf_efficientnet_b3 = { 12233232, 1.827, 300, 0.904, "ns_jft_in1k" },
  tf_efficientnet_b4 = { 19341616, 4.394, 380, 0.922, "ns_jft_in1k" },
  tf_efficientnet_b5 = { 30389784, 10.266, 456, 0.934, "ns_jft_in1k" },
  tf_efficientnet_b6 = { 43040704, 19.068, 528, 0.942, "ns_jft_in1k" },
  tf_efficientnet_b7 = { 66347960, 37.746, 600, 0.949, "ns_jft_in1k" },
  tf_efficientnet_b8 = { 87413142, 62.597, 672, 0.954, "ap_in1k", HALF },
  tf_efficientnet_l2 = { 480309308, 170.893, 475, 0.936, "ns_jft_in1k_475" },
  tf_efficientnet_lite0 = { 4652008, 0.385, 224, 0.875, "in1k", HALF },
  tf_efficientnet_lite1 = { 5416680, 0.6, 240, 0.882, "in1k", HALF },
  tf_efficientnet_lite2 = { 6092072, 0.86, 260, 0.89, "in1k", HALF },
  tf_efficientnet_lite3 = { 8197096, 1.608, 300, 0.904, "in1k", HALF, interpolation = "bilinear" },
  tf_efficientnet_lite4 = { 13006568, 3.944, 380, 0.92, "in1k", HALF, interpolation = "bilinear" },
  mobilenetv2_035 = { 1677128, 0.059, 224, 0.875 },
  mobilenetv2_050 = { 1968680, 0.097, 224, 0.875, "lamb_in1k" },
  mobilenetv2_075 = { 2636424, 0.209, 224, 0.875 },
  mobilenetv2_100 = { 3504872, 0.301, 224, 0.875, "ra_in1k" },
  mobilenetv2_110d = { 4516520, 0.431, 224, 0.875, "ra_in1k" },
  mobilenetv2_120d = { 5831144, 0.669, 224, 0.875, "ra_in1k" },
  mobilenetv2_140 = { 6108776, 0.582, 224, 0.875, "ra_in1k" },
  resnet18 = { 11689512, 1.814, 224, 0.95, "a1_in1k", test_size = 288, test_crop_pct = 1 },
  resnet34 = { 21797672, 3.664, 224, 0.95, "a1_in1k", test_size = 288, test_crop_pct = 1 },
  resnet50 = { 25557032, 4.089, 224, 0.95, "a1_in1k", test_size = 288, test_crop_pct = 1 },
  resnet101 = { 44549160, 7.801, 224, 0.95, "a1h_in1k", test_size = 288, test_crop_pct = 1 },
  resnet152 = { 60192808, 11.514, 224, 0.95, "a1h_in1k", test_size = 288, test_crop_pct = 1 },
  resnext50_32x4d = { 25028904, 4.23, 224, 0.95, "a1h_in1k", test_size = 288, test_crop_pct = 1 },
  resnext101_32x4d = { 44177704, 7.97, 224, 0.875, "gluon_in1k" },
  resnext101_64x4d = { 83455272, 15.46, 224, 0.95, "c1_in1k", test_size = 288, test_crop_pct = 1 },
  resnext101_32x8d = { 88791336, 16.414, 224, 0.875, "tv_in1k", interpolation = "bilinear" },
  convnext_atto = { 3695520, 0.547, 224, 0.875, "d2_in1k", test_size = 288, test_crop_pct = 0.95 },
  convnext_femto = { 5217784, 0.78, 224, 0.875, "d1_in1k", test_size = 288, test_crop_pct = 0.95 },
  convnext_pico = { 9045672, 1.367, 224, 0.875, "d1_in1k", test_size = 288, test_crop_pct = 0.95 },
  convnext_nano = { 15593560, 2.446, 224, 0.95, "in12k_ft_in1k", test_size = 288, test_crop_pct = 1 },
  convnext_tiny = { 28589128, 4.456, 224, 0.95, "in12k_ft_in1k", test_size = 288, test_crop_pct = 1 },
  convnext_small = { 50223688, 8.684, 224, 0.95, "in12k_ft_in1k", test_size = 288, test_crop_pct = 1 },
  convnext_base = { 88591464, 15.355, 224, 0.875, "fb_in22k_ft_in1k", test_size = 288, test_crop_pct = 1 },
  convnext_large = { 197767336, 34.361, 224, 0.875, "fb_in22k_ft_in1k", test_size = 288, test_crop_pct = 1 },
  convnext_xlarge = { 350196968, 60.921, 224, 0.875, "fb_in22k_ft_in1k", test_size = 288, test_crop_pct = 1 },
  vit_tiny_patch16_224 = { 5717416, 1.254, 224, 0.9, "augreg_in21k_ft_in1k", HALF },
  vit_tiny_patch16_384 = { 5790376, 4.682, 384, 1, "augreg_in21k_ft_in1k", HALF },
  vit_small_patch16_224 = { 22050664, 4.599, 224, 0.9, "augreg_in21k_ft_in1k", HALF },
  vit_small_patch16_384 = { 22196584, 15.49, 384, 1, "augreg_in21k_ft_in1k", HALF },
  vit_small_patch32_224 = { 22878952, 1.143, 224, 0.9, "augreg_in21k_ft_in1k", HALF },
  vit_small_patch32_384 = { 22915432, 3.443, 384, 1, "augreg_in21k_ft_in1k", HALF },
  vit_base_patch16_224 = { 86567656, 17.564, 224, 0.9, "augreg2_in21k_ft_in1k", HALF },
  vit_base_patch16_384 = { 86859496, 55.484, 384, 1, "augreg_in21k_ft_in1k", HALF },
  vit_base_patch32_224 = { 88224232, 4.409, 224, 0.9, "augreg_in21k_ft_in1k", HALF },
  vit_base_patch32_384 = { 88297192, 13.044, 384, 1, "augreg_in21k_ft_in1k", HALF },
  vit_large_patch16_224 = { 304326632, 61.555, 224, 0.9, "augreg_in21k_ft_in1k", HALF },
  vit_large_patch16_384 = { 304715752, 191.066, 384, 1, "augreg_in21k_ft_in1k", HALF },
  vit_large_patch32_224 = { 306535400, 15.378, 224, 0.9, "orig_in21k", HALF },
  vit_large_patch32_384 = { 306632680, 45.276, 384, 1, "orig_in21k_ft_in1k", HALF },
}

local PAPERS = {
  { "efficientnet_lite", "EfficientNet-Lite 2020, after arXiv:1905.11946" }, { "efficientnet", "Tan and Le 2019, arXiv:1905.11946" },
  { "mobilenetv2", "Sandler et al. 2018, arXiv:1801.04381" }, { "resnext", "Xie et al. 2016, arXiv:1611.05431" },
  { "resnet", "He et al. 2015, arXiv:1512.03385" }, { "convnext", "Liu et al. 2022, arXiv:2201.03545" },
  { "vit", "Dosovitskiy et al. 2020, arXiv:2010.11929" },
}

-- Tags, by how they begin, whose licence is not Apache-2.0.
local LICENCES = { { "tv", "BSD-3-Clause" }, { "fb_ssl", "CC-BY-NC-4.0" }, { "fb_swsl", "CC-BY-NC-4.0" }, { "fb_wsl", "CC-BY-NC-4.0" },
  { "mae", "CC-BY-NC-4.0" }, { "dinov3", "dinov3-license" },
  { "eupe", "FAIR-noncommercial-research-license" } }

local cards = {}

--- whether there is a model of this name.
function cards.known(name)
  return CARDS[name] ~= nil
end

--- a table whose keys are the names of all models.
function cards.names()
  return CARDS
end

--- the licence of a model's weights as far as it is known without their config.json, else nil.
function cards.licence(name, tag)
  for _, one in ipairs(LICENCES) do
    if tag:sub(1, #one[1]) == one[1] then return one[2] end
  end
  return tag == CARDS[name][5] and "Apache-2.0" or nil
end

--- what is known of a model: name, paper, parameters, gmacs, tag (of its default weights; nil: there are none), license and
--- preprocess { size, crop_pct, crop_mode, interpolation, mean, std, test_size, test_crop_pct }.
function cards.of(name)
  local c = CARDS[name]
  local norm = type(c[6]) == "table" and c[6] or IMAGENET
  local paper
  for _, p in ipairs(PAPERS) do paper = paper or name:find(p[1], 1, true) and p[2] end
  return {
    name = name, paper = paper, parameters = c[1], gmacs = c[2], tag = c[5], license = c[5] and cards.licence(name, c[5]),
    preprocess = { size = c[3], crop_pct = c[4], mean = norm.mean, std = norm.std, crop_mode = c.crop_mode or "center",
      interpolation = c.interpolation or "bicubic", test_size = c.test_size or c[3], test_crop_pct = c.test_crop_pct or c[4] },
  }
end

--- the card as one line.
function cards.line(name)
  local c = cards.of(name)
  local p = c.preprocess
  local test = p.test_size ~= p.size and (", test %d"):format(p.test_size) or ""
  local photo = ("%d px%s, crop %g%s, %s, mean %g"):format(p.size, test, p.crop_pct, p.crop_mode ~= "center" and " " .. p.crop_mode or "",
    p.interpolation, p.mean[1])
  local weights = c.tag and ("%s (%s)"):format(c.tag, c.license) or "no weights"
  return ("%-24s %7.1f M %7.2f GMAC  %-34s %-49s %s"):format(name, c.parameters / 1e6, c.gmacs, weights, photo, c.paper)
end

return cards
