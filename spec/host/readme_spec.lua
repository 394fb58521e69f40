-- The README's recipe loads and what it names exists.
local host = require "foodrt.host"

local function readme()
  local file = assert(io.open "README.md")
  local text = file:read "*a"
  file:close()
  return text
end

describe("the README", function()
  local text = readme()

  it("shows a recipe that loads", function()
    local code = text:match "```lua\n(.-)```"
    local recipe = assert(loadstring(code, "=README.md"))()
    assert.equal("dishes", recipe.name)
    assert.equal(2, #recipe.phases)
    assert.is_true(select(2, code:gsub("\n", "")) <= 13)
  end)

  it("maps folders that exist", function()
    for folder in text:gmatch "\n| `([%w_/.]+)`[^\n]*|" do
      local file = io.open(folder)
      assert(file, folder)
      file:close()
    end
  end)

  it("lists commands that exist", function()
    local names = {}
    for _, name in ipairs(host.list(host.root .. "/share/foodrt/lua/foodrt/cli")) do names[name] = true end
    for name in text:gmatch "`foodrt (%l+) ?[^`]*`" do
      assert(names[name .. ".lua"], name)
    end
  end)
end)
