-- progress: the live line of a terminal and the plain lines of a log.
local progress = require "foodrt.run.progress"

-- a file that remembers what was written
local function sink()
  local file = { text = "" }
  function file.write(f, ...)
    f.text = f.text .. table.concat { ... }
    return f
  end
  function file.flush() return file end
  return file
end

local STEP = { label = "head 2/3", done = 112, total = 250, seconds = 31, rate = 3.6,
  fields = { "loss 1.231", "top1 0.430", "lr 0.00032", "grad 1.8" } }

describe("progress", function()
  it("draws one line with a bar, rate, time and numbers", function()
    local err = sink()
    progress.new({ live = true, out = sink(), err = err, columns = 120 }):update(STEP)
    assert.equal("\r head 2/3 █████████             44% 112/250 [00:31<00:38, 3.6 step/s, loss 1.231, top1 0.430, "
      .. "lr 0.00032, grad 1.8]", err.text)
  end)
  it("stays within a narrow terminal", function()
    local err = sink()
    progress.new({ live = true, out = sink(), err = err, columns = 40 }):update(STEP)
    assert.equal("\r head 2/3 █▊    44% 112/250 [00:31<00:3", err.text)
  end)
  it("a line that stays clears the live one first", function()
    local out, err = sink(), sink()
    local p = progress.new { live = true, out = out, err = err, columns = 40 }
    p:update(STEP)
    err.text = ""
    p:say("epoch %d", 3)
    assert.equal("\r" .. (" "):rep(39) .. "\r", err.text)
    assert.equal("epoch 3\n", out.text)
  end)
  it("slow steps are seconds per step, hours have hours", function()
    local err = sink()
    progress.new({ live = true, out = sink(), err = err, columns = 100 }):update { label = "all 1/1", done = 1, total = 400,
      seconds = 20, rate = 0.05, fields = {} }
    assert.match("1/400 %[00:20<2:13:00, 20 s/step%]", err.text)
  end)
  it("where there is no terminal, nothing is drawn and short work says nothing", function()
    local out, err = sink(), sink()
    local p = progress.new { live = false, out = out, err = err }
    for done = 1, 250 do p:update { label = "all 1/2", done = done, total = 250, seconds = done, fields = {} } end
    assert.equal("", out.text .. err.text)
  end)
  it("bars grow in eighths", function()
    assert.equal("    ", progress.bar(0, 4))
    assert.equal("██▌ ", progress.bar(0.625, 4))
    assert.equal("████", progress.bar(1, 4))
    assert.equal("████", progress.bar(2, 4))
  end)
end)
