-- losses with parameters: trained with the model, at a rate of their own, saved, resumed and loaded.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local checkpoint = require "foodrt.train.checkpoint"

describe("a loss with parameters", function()
  local dir
  setup(function()
    dir = tiny.make()
    process.write(dir .. "/own.lua", (tiny.text { { 'name = "tiny"', 'name = "own"' },
      { "loss = frt.loss.focal { gamma = 2 }", [[loss = nn.Module { scale = nn.Parameter { 1, init = 1 },
    setup = function(self, classes) self.classes = #classes end,
    terms = function(self, logits, y)
      local lp = (logits * self.scale):log_softmax(2)
      return -lp:gather(2, y:reshape { y:numel(), 1 }):sum(), y:numel()
    end,
    forward = function(self, logits, y)
      local sum, n = self:terms(logits, y)
      return sum * (1 / n)
    end }]] }, { "lr = { backbone = 1e-3, fc = 1e-2 }", "lr = { backbone = 1e-3, fc = 1e-2, loss = 0.1 }" } }))
  end)
  teardown(function() process.remove(dir) end)

  it("moves, is in the checkpoint, and eval sees it as it was", function()
    local status, out, err = tiny.run(dir, { "own.lua" })
    assert.same({ 0, "" }, { status, err })
    local c = checkpoint.load(dir .. "/runs/own/last.safetensors")
    assert.is_true(math.abs(c.losses["loss.scale"]:totable()[1] - 1) > 0.05)
    assert.is_truthy(c.optim.tensors["loss.scale.exp_avg"])
    assert.is_nil(c.tensors["loss.scale"])
    local closing = select(2, tiny.run(dir, { "eval", "runs/own" }))
    assert.equal(tiny.last(out), tiny.last(closing))
  end)

  it("goes on to the same bits when it is killed", function()
    tiny.run_for(dir, { "own.lua", "--run", "cut", "-o", "save.every=0.01" }, "KILL", 0.4)
    if not io.open(dir .. "/cut/recipe.lua") then tiny.run(dir, { "own.lua", "--run", "cut" }) end
    for _ = 1, 3 do
      if tiny.run(dir, { "own.lua", "--run", "cut", "--resume" }) == 0 then break end
    end
    assert.equal(tiny.hash(dir .. "/runs/own/last.safetensors"), tiny.hash(dir .. "/cut/last.safetensors"))
  end)

  it("accumulated: 3 micro-batches of 4 give what 12 give", function()
    local function scale(name, ...)
      assert.equal(0, (tiny.run(dir, { "own.lua", "--run", name, "-o", "phases.head.epochs=0", "-o", "phases.all.epochs=1", ... })))
      return checkpoint.load(dir .. "/" .. name .. "/last.safetensors").losses["loss.scale"]:totable()[1]
    end
    -- batch norms see a micro-batch at a time
    assert.near(scale("whole", "-o", "data.batch=12"), scale("parts", "-o", "data.batch=4", "-o", "accumulate=3"), 2e-2)
  end)
end)
