-- vit: keys against timm's, logits and gradient norms against PyTorch in float64 (spec/fixtures).
local golden = dofile "spec/support/golden.lua"
local numbers = dofile "spec/fixtures/vit.lua"
local keys = dofile "spec/fixtures/timm_keys.lua"

describe("timm's keys", function()
  for name, want in pairs(keys) do
    if name:find "^vit_" then
      it(("of %s: %d, with their shapes, and %d parameters"):format(name, want.n, want.parameters), function()
        assert.equal(want.parameters, golden.check_keys(name, want):count())
      end)
    end
  end
end)

describe("logits", function()
  local g = numbers.vit_tiny_patch16_224
  it(("of vit_tiny_patch16_224 at %d: norm %.5f"):format(g.size, g.eval_l2), function()
    golden.check_modes("vit_tiny_patch16_224", g, 1e-4)
  end)
end)

describe("gradients of one training step", function()
  local g = numbers["vit_tiny_patch16_224/train"]
  it(("of vit_tiny_patch16_224: loss %.4f, norm %.4f"):format(g.loss, g.grad_l2_total), function()
    golden.check_step("vit_tiny_patch16_224", g, 1e-3)
  end)
end)
