--- photos: what timm's default weights of each model want to see: size, share of the photo that is kept, mean
--- and deviation. The table says what differs from the rest.
local IMAGENET = { mean = { 0.485, 0.456, 0.406 }, std = { 0.229, 0.224, 0.225 } }
local HALF = { mean = { 0.5, 0.5, 0.5 }, std = { 0.5, 0.5, 0.5 } }

-- size, crop_pct, tag [, mean and std] [, exceptions]
local PHOTO = {
  efficientnet_b0 = { 224, 0.875, "ra_in1k" },
  efficientnet_b1 = { 240, 0.9, "ra4_e3600_r240_in1k", HALF, test_size = 288, test_crop_pct = 1 },
  efficientnet_b2 = { 256, 0.875, "ra_in1k", test_size = 288, test_crop_pct = 1 },
  efficientnet_b3 = { 288, 0.875, "ra2_in1k", test_size = 320, test_crop_pct = 1 },
  efficientnet_b4 = { 320, 0.875, "ra2_in1k", test_size = 384, test_crop_pct = 1 },
  efficientnet_b5 = { 448, 1.0, "sw_in12k_ft_in1k", crop_mode = "squash" },
  efficientnet_b6 = { 528, 0.942 },
  efficientnet_b7 = { 600, 0.949 },
  efficientnet_lite0 = { 224, 0.875, "ra_in1k" },
  efficientnet_lite1 = { 240, 0.882 },
  efficientnet_lite2 = { 260, 0.890 },
  efficientnet_lite3 = { 300, 0.904 },
  efficientnet_lite4 = { 380, 0.922 },
  tf_efficientnet_b0 = { 224, 0.875, "ns_jft_in1k" },
  tf_efficientnet_b1 = { 240, 0.882, "ns_jft_in1k" },
  tf_efficientnet_b2 = { 260, 0.890, "ns_jft_in1k" },
  tf_efficientnet_b3 = { 300, 0.904, "ns_jft_in1k" },
  tf_efficientnet_b4 = { 380, 0.922, "ns_jft_in1k" },
  tf_efficientnet_b5 = { 456, 0.934, "ns_jft_in1k" },
  tf_efficientnet_b6 = { 528, 0.942, "ns_jft_in1k" },
  tf_efficientnet_b7 = { 600, 0.949, "ns_jft_in1k" },
  tf_efficientnet_lite0 = { 224, 0.875, "in1k", HALF },
  tf_efficientnet_lite1 = { 240, 0.882, "in1k", HALF },
  tf_efficientnet_lite2 = { 260, 0.890, "in1k", HALF },
  tf_efficientnet_lite3 = { 300, 0.904, "in1k", HALF, interpolation = "bilinear" },
  tf_efficientnet_lite4 = { 380, 0.920, "in1k", HALF, interpolation = "bilinear" },
}

local photos = {}

--- the preprocessing of a model as a table, and the tag of its default weights (nil: there are none).
function photos.of(name)
  local p = PHOTO[name]
  local norm = p[4] or IMAGENET
  return {
    size = p[1], crop_pct = p[2], mean = norm.mean, std = norm.std, crop_mode = p.crop_mode or "center",
    interpolation = p.interpolation or "bicubic", test_size = p.test_size or p[1],
    test_crop_pct = p.test_crop_pct or p[2],
  }, p[3]
end

return photos
