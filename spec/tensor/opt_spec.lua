--- option schemas, hints, and the lazily loaded parts.
local opt, err = require "foodrt.core.opt", require "foodrt.core.err"
local frt = require "foodrt"
local V = require "spec.support.values"
local why = V.why

describe("opt.check", function()
  local spec = { "Conv2d", "out", "kernel", out = "integer", kernel = { "integer|table", 1 },
    momentum = { "number", 0.1, min = 0, max = 1 }, mode = { "string", "a", one_of = { "a", "b" } },
    bias = { "boolean", true }, w = { "tensor", nil } }

  it("fills in defaults and takes positional options", function()
    assert.are.same({ out = 3, kernel = 5, momentum = 0.1, mode = "a", bias = true }, opt.check(spec, { 3, 5 }))
    assert.are.same({ out = 3, kernel = 1, momentum = 0.1, mode = "a", bias = false }, opt.check(spec, { 3, bias = false }))
    assert.are.equal(4, opt.check(spec, 4).out)
    local w = frt.zeros { 1 }
    assert.is_true(opt.check(spec, { 1, w = w }).w == w)
  end)

  it("says what is wrong, and what was meant", function()
    local cases = {
      { "Conv2d: missing option 'out'", {} },
      { "Conv2d: unknown option 'kernl', did you mean 'kernel'?", { 3, kernl = 1 } },
      { "Conv2d: unknown option 'zzz'", { 3, zzz = 1 } },
      { "Conv2d: 'out' must be integer, got number (2.5)", { 2.5 } },
      { "Conv2d: 'kernel' must be integer or table, got string ('3')", { 3, "3" } },
      { "Conv2d: 'momentum' must be at most 1, got 2", { 3, momentum = 2 } },
      { "Conv2d: 'momentum' must be at least 0, got -1", { 3, momentum = -1 } },
      { "Conv2d: 'mode' must be one of a, b, got 'c'", { 3, mode = "c" } },
      { "Conv2d: takes 2 unnamed options, got a value at [3]", { 3, 1, 7 } },
      { "Conv2d: 'out' is given twice", { 3, out = 4 } },
      { "Conv2d: 'w' must be tensor, got table", { 3, w = {} } },
    }
    for _, c in ipairs(cases) do assert.are.equal(c[1], why(opt.check, spec, c[2])) end
  end)
end)

describe("err", function()
  it("hints at the nearest name, or not at all", function()
    local known = { stride = 1, padding = 1, groups = 1 }
    assert.are.equal(", did you mean 'stride'?", err.hint("strid", known))
    assert.are.equal(", did you mean 'padding'?", err.hint("pading", known))
    assert.are.equal("", err.hint("xyz", known))
    assert.are.equal(", did you mean 'groups'?", err.hint("GROUPS", {}, known))
  end)

  it("text without arguments may hold percent signs", function()
    assert.are.equal("100% of it", why(err.user, "100% of it"))
  end)
end)

describe("frt", function()
  it("loads its parts when they are named", function()
    assert.is_function(frt.tensor)
    assert.is_function(frt.load)
    assert.is_table(frt.rng)
  end)
end)
