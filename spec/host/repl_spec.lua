-- The prompt, driven through a pipe: values, several lines, errors, `frt` and `nn` at hand; and the
-- completion function by itself.
local process = require "spec.support.process"

local function prompt(lines)
  return process.foodrt({}, { stdin = table.concat(lines, "\n") .. "\n" })
end

describe("the prompt", function()
  it("prints the values of expressions", function()
    local status, out = prompt { "1 + 1", "'a', nil, 2", "= 3", "" }
    assert.equal(0, status)
    assert.equal("2\na\tnil\t2\n3\n", out)
  end)

  it("prints tables with their fields sorted, three deep", function()
    local _, out = prompt { "{ 1, 'two', b = 2, a = { x = { y = { z = 1 } } } }", "{}" }
    assert.equal('{ 1, "two", a = { x = { y = {...} } }, b = 2 }\n{}\n', out)
  end)

  it("prints no more than 20 items of a list", function()
    local _, out = prompt { "t = {} for i = 1, 100 do t[i] = i end", "t" }
    assert.matches("19, 20, %.%.%. 100 in all }\n$", out)
  end)

  it("prints by __tostring where there is one", function()
    local _, out = prompt { "setmetatable({}, { __tostring = function() return 'shown' end })" }
    assert.equal("shown\n", out)
  end)

  it("reads on while a statement or an expression is unfinished", function()
    local _, out = prompt { "for i = 1, 2 do", "print(i)", "end", "(1", "+ 2)", "1 +", "4", "x = [[a", "b]]", "x" }
    assert.equal("1\n2\n3\n5\na\nb\n", out)
  end)

  it("keeps the last value in _", function()
    local _, out = prompt { "20", "_ + 1" }
    assert.equal("20\n21\n", out)
  end)

  it("goes on after an error, names its line and exits 1 at the end", function()
    local status, out, err = prompt { "error 'no'", "for for", "undefined.x", "7" }
    assert.equal(1, status)
    assert.equal("7\n", out)
    assert.equal("stdin:1: no\nstdin:1: '<name>' expected near 'for'\n"
      .. "stdin:1: attempt to index global 'undefined' (a nil value)\n", err)
  end)

  it("drops assignments that can't be computed, keeps the others", function()
    local status, out, err = prompt { "w = frt.tensor({ 1 })", "do w:assign(w + 1) end", "undefined.x", "w:item()",
      "do w:assign(frt.zeros({ 3000000, 1000000 }):sum() + w) end", "w:item()", "w:item()" }
    assert.equal(1, status)
    assert.equal("2\n2\n", out)
    assert.matches("undefined.-out of memory.-dropped\n$", err)
  end)

  it("has frt and nn at hand", function()
    local status, out = prompt { "type(frt), frt.nn == nn" }
    assert.equal(0, status)
    assert.equal("table\ttrue\n", out)
  end)

  it("shows a tensor", function()
    local status, out, err = prompt { "frt.tensor({ 1, 2 }) + 1" }
    assert.equal("", err)
    assert.equal(0, status)
    assert.matches("2", out)
    assert.matches("3", out)
  end)
end)

describe("completion", function()
  local complete = require "foodrt.repl.complete"

  after_each(function() _G.spec_value = nil end)

  it("completes globals and keywords", function()
    assert.same({ "repeat", "require", "return" }, complete("", "re"))
    assert.same({ "frt" }, complete("", "fr"))
  end)

  it("completes fields after a dot, also of nested tables", function()
    _G.spec_value = { inner = { alpha = 1, alps = 2, beta = 3, [1] = 4 } }
    assert.same({ "spec_value.inner.alpha", "spec_value.inner.alps" }, complete("", "spec_value.inner.al"))
  end)

  it("completes methods after a colon, also of strings", function()
    _G.spec_value = setmetatable({ field = 1 }, { __index = { method = function() end, constant = 2 } })
    assert.same({ "spec_value:method" }, complete("", "spec_value:"))
    _G.spec_value = "text"
    assert.same({ "spec_value:lower" }, complete("", "spec_value:lo"))
  end)

  it("completes a tensor's methods", function()
    _G.spec_value = require("foodrt").tensor { 1, 2 }
    assert.same({ "spec_value:sigmoid", "spec_value:sign" }, complete("", "spec_value:sig"))
  end)

  it("completes what frt loads when it is first read", function()
    _G.spec_value = require "foodrt"
    assert.same({ "spec_value.zeros" }, complete("", "spec_value.ze"))
    assert.same({ "spec_value.models" }, complete("", "spec_value.mode"))
  end)

  it("hides names that start with _ until one is typed", function()
    _G.spec_value = { _hidden = 1, seen = 2 }
    assert.same({ "spec_value.seen" }, complete("", "spec_value."))
    assert.same({ "spec_value._hidden" }, complete("", "spec_value._"))
  end)

  it("offers nothing after what does not exist", function()
    assert.same({}, complete("", "no_such_global.x"))
    assert.same({}, complete("", "print."))
  end)
end)
