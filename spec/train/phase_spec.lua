-- phase: what it checks where it is written, and what it freezes.
local frt = require "foodrt"
local nn, phase, adamw = frt.nn, frt.phase, frt.optim.adamw

local function message(fn)
  local ok, why = pcall(fn)
  assert.is_false(ok)
  return (why:gsub("^.*phase_spec.lua:%d+: ", "HERE "))
end

describe("phase", function()
  it("needs epochs or steps, an optimizer, and knows its options", function()
    assert.equal("HERE phase 'all': needs either 'epochs' or 'steps'", message(function()
      local p = phase { "all", optim = adamw {} }
      return p
    end))
    assert.equal("HERE phase 'all': 'optim' must be an optimizer, such as frt.optim.adamw { lr = 1e-3 }", message(function()
      local p = phase { "all", epochs = 1, optim = { lr = 1 } }
      return p
    end))
    assert.equal("HERE phase: unknown option 'epoch', did you mean 'epochs'?", message(function()
      local p = phase { "all", epoch = 1, optim = adamw {} }
      return p
    end))
  end)
  it("freezes its own globs and thaws what the phase before froze", function()
    local m = nn.Module { a = nn.Linear { 2 }, b = nn.Linear { 2 },
      forward = function(self, x) return self.b(self.a(x)) end }
    m:build { input = { 1, 2 } }
    phase { "head", epochs = 1, freeze = "a", optim = adamw {} }:apply(m)
    assert.is_false(m.a.weight.requires_grad)
    phase { "tail", epochs = 1, freeze = "*", unfreeze = "a.bias", optim = adamw {} }:apply(m)
    assert.is_true(m.a.bias.requires_grad)
    assert.equal(2, m:count_trainable())
    phase { "all", steps = 10, optim = adamw {} }:apply(m)
    assert.equal(12, m:count_trainable())
  end)
end)
