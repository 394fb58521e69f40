-- metrics: counted by hand; f1 as scikit-learn's macro average.
local frt = require "foodrt"
local ffi = require "ffi"

describe("metrics", function()
  -- predictions 1 2 2 3 1 for labels 1 2 3 3 2
  local logits = { { 3, 1, 0 }, { 0, 2, 1 }, { 0, 5, 1 }, { 0, 1, 2 }, { 2, 1, 0 } }
  local labels = { 1, 2, 3, 3, 2 }

  it("3 of 5 right is top1 0.6 and macro f1 0.6111", function()
    local m = frt.metrics.new { "top1", "top5", "f1" }
    m:add(frt.tensor(logits), frt.tensor(labels, { dtype = "i32" }), 0.5)
    local v = m:values()
    assert.near(0.6, v.top1, 1e-12)
    assert.equal(1, v.top5)
    assert.near((2 / 3 + 1 / 2 + 2 / 3) / 3, v.f1, 1e-12)
    assert.near(0.5, v.loss, 1e-12)
    assert.equal(5, v.n)
  end)
  it("loss is a mean over photos, not over batches", function()
    local m = frt.metrics.new { "top1" }
    m:add(frt.tensor { logits[1], logits[2], logits[3] }, { 1, 1, 1 }, 1)
    m:add(frt.tensor { logits[1] }, { 1 }, 3)
    assert.near(1.5, m:values().loss, 1e-12)
    assert.near(0.5, m:values().top1, 1e-12)
  end)
  it("reads pointers, and leaves out a photo whose label is 0", function()
    local x = ffi.new("float[4]", { 1, 2, 2, 1 })
    local y = ffi.new("int32_t[2]", { 2, 0 })
    local v = frt.metrics.new { "top1" }:add(x, y, nil, { n = 2, classes = 2 }):values()
    assert.equal(1, v.n)
    assert.equal(1, v.top1)
    assert.is_nil(v.loss)
  end)
  it("a class that occurs only as a prediction counts with f1 0", function()
    local m = frt.metrics.new { "f1" }
    m:add(frt.tensor { { 1, 0, 0 }, { 0, 1, 0 } }, { 1, 1 })
    assert.near((2 / 3 + 0) / 2, m:values().f1, 1e-12)
  end)
  it("of equal logits the first class counts, and a NaN is never right", function()
    local nan = 0 / 0
    assert.equal(1, frt.metrics.top1(frt.tensor { { 1, 1 } }, { 1 }))
    assert.equal(0, frt.metrics.top1(frt.tensor { { 1, 1 } }, { 2 }))
    assert.equal(0, frt.metrics.top5(frt.tensor { { nan, nan } }, { 1 }))
  end)
  it("top5 needs the class among five", function()
    local row = { 6, 5, 4, 3, 2, 1 }
    assert.equal(1, frt.metrics.top5(frt.tensor { row }, { 5 }))
    assert.equal(0, frt.metrics.top5(frt.tensor { row }, { 6 }))
  end)
  it("refuses unknown names and labels", function()
    local ok, why = pcall(frt.metrics.new, { "top3" })
    assert.is_false(ok)
    assert.truthy(why:find("no metric 'top3', did you mean 'top1'?", 1, true) or why:find "did you mean")
    ok, why = pcall(function() frt.metrics.new({ "top1" }):add(frt.tensor { { 1, 2 } }, { 3 }) end)
    assert.is_false(ok)
    assert.truthy(why:find("metrics: label 3 is not a class number from 1 to 2", 1, true))
  end)
end)
