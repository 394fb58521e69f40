-- look: recipes whose forward pass, loss or step looks at values. A run computes and may; what only plans says so.
local process, tiny = require "spec.support.process", require "spec.support.tiny"

local PLANNED = "values can't be looked at while the step is planned"
local FORWARD = "forward = function(self, x) "
local QUICK = { "-o", "phases.head.epochs=1", "-o", "phases.all.epochs=1" }

describe("a recipe that looks at values", function()
  local dir
  setup(function()
    dir = tiny.make()
    local step = [[step = function(run, batch)
      local logits = run.model(batch.x)
      local loss = frt.loss.focal { gamma = 2 }(logits, batch.y)
      if loss:item() > 1e6 then error "too much" end
      return loss, logits
    end,
    loss =]]
    local recipes = {
      print = { { FORWARD, FORWARD .. "print(x:mean()) " } },
      middle = { { FORWARD .. "return self.fc(self.drop(self.backbone(x):relu():avg_pool2d()))",
        FORWARD .. "local map = self.backbone(x):relu() print(map:mean()) return self.fc(self.drop(map:avg_pool2d()))" } },
      loss = { { "loss = frt.loss.focal { gamma = 2 }",
        "loss = function(logits, y) assert(y:totable()[1]); return frt.loss.focal { gamma = 2 }(logits, y) end" } },
      step = { { "loss =", step } },
      cache = { { FORWARD, FORWARD .. "print(x:mean()) " }, { 'freeze = "backbone",', 'freeze = "backbone", cache = true,' },
        { "augment.color_jitter { 0.2, 0.2, 0.2 }", "" }, { "augment.flip {},", "" } },
    }
    for name, changes in pairs(recipes) do process.write(("%s/%s.lua"):format(dir, name), tiny.text(changes)) end
  end)
  teardown(function() process.remove(dir) end)

  for _, name in ipairs { "print", "middle", "loss", "step", "cache" } do
    it("runs, and says that memory was not checked: " .. name, function()
      local status, out, err = tiny.run(dir, { name .. ".lua", "--run", "run_" .. name, unpack(QUICK) })
      assert.equal("", err)
      assert.equal(0, status)
      assert.is_truthy(out:find("memory is not checked beforehand: " .. name .. "%.lua:%d+: " .. PLANNED), out)
      assert.is_truthy(tiny.last(out):find "^test: top1", out)
    end)

    it("can't be explained: one line that says where and why: " .. name, function()
      local status, out, err = tiny.run(dir, { "explain", name .. ".lua" })
      assert.equal(1, status)
      assert.equal("", (out:gsub("tensor%(0%., %[%] f32%)\n", "")))  -- widths are found with zeros
      assert.is_truthy(err:find(name .. "%.lua:%d+: " .. PLANNED .. "; explain computes nothing"), err)
      assert.equal(1, select(2, err:gsub("\n", "")))
    end)
  end

  it("runs under --time", function()
    local status, out, err = tiny.run(dir, { "print.lua", "--run", "timed", "--time", "2s", unpack(QUICK) })
    assert.equal("", err)
    assert.equal(0, status, out)
  end)
end)
