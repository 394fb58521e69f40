-- lists that users write: a nil in one, or a key beside its entries, is an error wherever a list is taken.
local frt = require "foodrt"
local lists, override = require "foodrt.core.lists", require "foodrt.train.override"
local why = require("spec.support.values").why
local nn, augment, adamw = frt.nn, frt.augment, frt.optim.adamw
local a, b = frt.ones { 2, 2 }, frt.zeros { 2, 2 }
local HOLE = "entry (%d) of (%d) is nil, and would end the list there %(is a name misspelt%?%)$"

local function listed() return nn.Linear { 2 }, nn.ReLU {} end

describe("lists.length", function()
  it("counts 1 .. n and names the first hole", function()
    assert.equal(0, lists.length("f", nil, {}))
    assert.equal(3, lists.length("f", "x", { 1, false, 3 }))
    assert.equal("f: 'x': entry 1 of 3 is nil, and would end the list there (is a name misspelt?)",
      why(lists.length, "f", "x", { nil, 2, 3 }))
    assert.equal("f: entry 2 of 3 is nil, and would end the list there (is a name misspelt?)",
      why(lists.length, "f", nil, { 1, [3] = 3 }))
    assert.equal("f: 'x' must be a list, got the key 'y'", why(lists.length, "f", "x", { 1, y = 2 }))
    assert.equal("f: 'x' must be a list, got the key '0'", why(lists.length, "f", "x", { 1, [0] = 2 }))
    assert.equal("f: unknown option 'innit', did you mean 'init'?", why(lists.length, "f", nil, { 1, innit = 2 }, { init = true }))
    assert.equal("f: 'x' must be a list, got number (3)", why(lists.length, "f", "x", 3))
  end)
end)

describe("a nil in a list is an error", function()
  local l1, l2 = listed()
  local model = nn.Chain { nn.Linear { 2 } }
  model:build { input = { 1, 2 } }
  local x = frt.ones { 2, 3, 4 }
  local map = frt.ones { 1, 2, 4, 4 }
  local flip, crop = augment.flip {}, augment.random_resized_crop {}
  local cases = {
    ["data train"] = function() return frt.data.folder { "x", train = { nil, flip, crop } } end,
    ["data mean"] = function() return frt.data.folder { "x", mean = { 0.5, nil, 0.5 } } end,
    ["data open classes"] = function() return frt.data.folder({ "x" }):open { classes = { "a", nil, "c" } } end,
    ["crop scale"] = function() return augment.random_resized_crop { scale = { nil, 1 } } end,
    ["affine shear"] = function() return augment.affine { shear = { 1, 2, nil, 4 } } end,
    ["jitter"] = function() return augment.color_jitter { { nil, 1 } } end,
    ["freeze"] = function() return frt.phase { "p", epochs = 1, optim = adamw {}, freeze = { nil, "a" } } end,
    ["unfreeze"] = function() return frt.phase { "p", epochs = 1, optim = adamw {}, unfreeze = { "b", nil, "a" } } end,
    ["model:freeze"] = function() return model:freeze { nil, "0" } end,
    ["model:unfreeze"] = function() return model:unfreeze { nil, "0" } end,
    ["model:count"] = function() return model:count { nil, "0" } end,
    ["metrics"] = function() return frt.metrics.new { "top1", nil, "f1" } end,
    ["no_decay"] = function() return adamw { no_decay = { nil, "*.bias" } } end,
    ["betas"] = function() return adamw { betas = { nil, 0.9 } } end,
    ["attach"] = function() return adamw({}):attach { nil, a } end,
    ["params"] = function() return adamw({}):attach { { params = { nil, a } } } end,
    ["milestones"] = function() return frt.sched.multistep { { nil, 60 }, gamma = 0.1 } end,
    ["class weights"] = function() return frt.loss.cross_entropy { weight = { 1, nil, 2 } } end,
    ["alpha"] = function() return frt.loss.focal { alpha = { nil, 2 } } end,
    ["Chain"] = function() return nn.Chain { l1, nil, l2 } end,
    ["Chain first"] = function() return nn.Chain { nil, l1, l2 } end,
    ["List"] = function() return nn.List { nil, l2 } end,
    ["Parameter"] = function() return nn.Parameter { 1, nil, 3 } end,
    ["init"] = function() return nn.Linear { 2, init = { "normal", nil, 0.1 } } end,
    ["kernel"] = function() return nn.Conv2d { 2, { nil, 3 } } end,
    ["build input"] = function() return nn.Chain({ nn.Linear { 2 } }):build { input = { nil, 3 } } end,
    ["features"] = function() return frt.models.resnet18 { features = { nil, 3 } } end,
    ["ensemble"] = function() return frt.ensemble { "a", nil, "b" } end,
    ["ensemble weights"] = function() return frt.ensemble { "a", "b", weights = { nil, 1 } } end,
    ["maps"] = function() return nn.MultiScaleNeck({ levels = 3 })({ map, nil, map }) end,
    ["tensor"] = function() return frt.tensor { 1, nil, 3 } end,
    ["tensor rows"] = function() return frt.tensor { { 1, 2 }, nil, { 3, 4 } } end,
    ["tensor inside"] = function() return frt.tensor { { 1, 2, 3 }, { 1, nil, 3 } } end,
    ["zeros"] = function() return frt.zeros { 2, nil, 3 } end,
    ["rand"] = function() return frt.rand { nil, 3 } end,
    ["full"] = function() return frt.full({ nil, 3 }, 1) end,
    ["sum"] = function() return x:sum { nil, 2 } end,
    ["mean"] = function() return x:mean({ 1, nil, 3 }, { keepdim = true }) end,
    ["var"] = function() return x:var { nil, 2 } end,
    ["reshape"] = function() return x:reshape { 2, nil, 12 } end,
    ["permute"] = function() return x:permute { nil, 1, 2 } end,
    ["expand"] = function() return x:expand { nil, 2, 3, 4 } end,
    ["flip"] = function() return x:flip { nil, 2 } end,
    ["roll"] = function() return x:roll({ nil, 1 }, { nil, 2 }) end,
    ["pad"] = function() return x:pad { nil, 1, 1, 1 } end,
    ["cat"] = function() return frt.cat { a, nil, b } end,
    ["nn.cat"] = function() return nn.cat { a, nil, b, dim = 1 } end,
    ["stack"] = function() return frt.stack { nil, a, b } end,
    ["grad"] = function() return frt.grad(a:sum(), { nil, a }) end,
    ["stride"] = function() return map:conv2d(frt.ones { 1, 2, 1, 1 }, { stride = { nil, 1 } }) end,
    ["padding"] = function() return map:conv2d(frt.ones { 1, 2, 1, 1 }, { padding = { 1, nil, 1, 1 } }) end,
    ["write"] = function() return frt.tensor({ 1, 2, 3 }):write { 1, nil, 3 } end,
  }
  for name, fn in pairs(cases) do
    it("in " .. name, function()
      local message = why(fn)
      assert.is_truthy(message:find(HOLE), message)
    end)
  end

  it("in phases of a recipe, at its line", function()
    local recipe = require "foodrt.train.recipe"
    local p = frt.phase { "all", epochs = 1, optim = adamw {} }
    local r = { model = model, loss = frt.loss.cross_entropy {}, data = frt.data.folder { "x" }, phases = { nil, p } }
    local ok, message = pcall(recipe.check, r, { path = "r.lua", text = "return {\n  phases = {} }" })
    assert.is_false(ok)
    assert.equal("r.lua:2: recipe: 'phases': entry 1 of 2 is nil, and would end the list there (is a name misspelt?)", message)
  end)

  it("given as arguments", function()
    assert.equal("reshape: 'shape' is nil at place 2 (is a name misspelt?)", why(x.reshape, x, 2, nil, 12))
  end)
end)

describe("numbers that can't be computed with", function()
  it("are refused by every schema: nan and infinities, alone and in lists", function()
    local nan, inf = 0 / 0, math.huge
    assert.match("^adamw: 'lr' must be a finite number, got number %(%-?nan%)$", why(adamw, { lr = nan }))
    assert.equal("adamw: 'lr' must be a finite number, got number (inf)", why(adamw, { lr = inf }))
    assert.match("must map globs to numbers, got a = number %(%-?nan%)$", why(adamw, { lr = { a = nan } }))
    assert.equal("phase: 'epochs' must be a finite number, got number (inf)",
      why(frt.phase, { "p", epochs = inf, optim = adamw {} }))
    assert.match("^multistep: 'milestones%[2%]' must be a finite number", why(frt.sched.multistep, { { 1, nan } }))
    assert.equal("augment.rotation: 'degrees' must be two numbers -360 <= low <= high <= 360, got { 0, inf }",
      why(augment.rotation, { { 0, inf } }))
    assert.match("dropout: 'p' must be from 0 to below 1, got %-?nan$", why(a.dropout, a, nan))
    assert.equal("cross_entropy: 'weight' must hold numbers from 0, got number (inf) at 1",
      why(frt.loss.cross_entropy, { weight = { inf } }))
  end)

  local function with(path, value)
    local r = { phases = { frt.phase { "p", epochs = 2, optim = adamw { lr = { head = 1e-3 } }, clip_norm = 3 } },
      metrics = { "top1" } }
    local ok, message = pcall(override.apply, r, { { path, value } }, require("foodrt.train.recipe").SPEC)
    assert.is_false(ok)
    return message.usage
  end

  it("are refused by -o, instead of the default", function()
    for _, text in ipairs { "nan", "inf", "-inf", "NaN", "1e400", "infinity" } do
      assert.match("'epochs' must be a finite number", with("phases.p.epochs", text))
      assert.match("'clip_norm' must be a finite number", with("phases.p.clip_norm", text))
    end
    assert.match("'head' must be a finite number", with("phases.p.optim.lr.head", "nan"))
  end)

  it("and a table with undefined names is said to be none", function()
    assert.equal("-o metrics={top1, top5}: no Lua table: 'top1' is not defined; text wants quotes", with("metrics", "{top1, top5}"))
    assert.match("^%-o metrics={1: no Lua table: ", with("metrics", "{1"))
    assert.match("entry 1 of 2 is nil", with("metrics", "{nil, 'f1'}"))
  end)
end)
