-- tiers: which specs run where. `foodrt test` takes the lists called `quick`, `foodrt test --all` the others too.
local tiers = {}

-- What must hold on machines with less than this one has, our kernels and oneDNN's: environment by instruction set.
-- spec/ops goes through our kernels' sets by itself.
tiers.isas = {
  { "avx2", "FOODRT_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 " },
  { "base", "FOODRT_ISA=base ONEDNN_MAX_CPU_ISA=SSE41 " },
}
tiers.numbers = { "spec/ops", "spec/nn", "spec/plan/fuse_spec.lua", "spec/ir/gradient_spec.lua",
  "spec/models/efficientnet_spec.lua", "spec/models/resnet_spec.lua", "spec/models/timm_spec.lua" }
tiers.numbers_quick = { "spec/nn/layers_spec.lua", "spec/plan/fuse_spec.lua", "spec/models/resnet_spec.lua" }

-- What must hold on every device: `foodrt test --device NAME` takes these.
tiers.any_device = { "spec/ops", "spec/ir", "spec/plan/random_spec.lua", "spec/plan/derived_spec.lua",
  "spec/plan/cache_spec.lua", "spec/plan/realize_spec.lua", "spec/nn", "spec/train", "spec/run/device_spec.lua" }
tiers.any_device_quick = { "spec/ir/gradient_spec.lua", "spec/plan/derived_spec.lua", "spec/plan/cache_spec.lua",
  "spec/plan/realize_spec.lua", "spec/nn/layers_spec.lua", "spec/train/optim_spec.lua", "spec/run/device_spec.lua" }

-- The devices that are tested beside the CPU, where they are there: plain C, and a plug-in without short cuts.
tiers.devices = { "reference", "shadow" }

-- Folders of spec/ that hold no specs, and one whose specs take minutes: `--all` only.
tiers.no_specs = { bench = true, support = true, fuzz = true, fixtures = true }
tiers.long = "spec/long"

return tiers
