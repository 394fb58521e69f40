-- graphs as values: walked by name, kept as text for any batch, recorded again with the same bits; texts that are none.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local V = require "spec.support.values"
local nn = frt.nn
local same, message = V.same, V.message

-- small, with grouped convolutions, gates, attention, layer norm, embeddings, pools and pads of every kind in them
local function own()
  return nn.Module {
    conv = nn.Conv2d { 8, 3, padding = 1 }, norm = nn.BatchNorm2d {}, drop = nn.Dropout { 0.5 },
    scale = nn.Parameter { 1, 8, 1, 1, init = { "normal", 1, 0.1 } }, fc = nn.Linear { 5 },
    forward = function(self, x)
      local map = self.norm(self.conv(x)):silu() * self.scale
      local gate = (map:mean({ 3, 4 }, { keepdim = true }) * 2):sigmoid()
      map = (map * gate):pad { 1, 1, 1, 1 }
      local pooled = frt.cat({ map:avg_pool2d():flatten(2), map:max_pool2d():flatten(2) }, 2)
      return self.fc(self.drop(pooled)) / (x.shape[1] * 3) + pooled:sum(2, { keepdim = true }) * 0.01
    end,
  }
end

local MODELS = { efficientnet_b0 = 48, efficientnet_lite0 = 48, tf_efficientnet_b0 = 48, mobilenetv2_050 = 48, resnet18 = 48,
  resnet50 = 40, resnext50_32x4d = 40, convnext_atto = 64, convnext_femto = 64, vit_tiny_patch16_224 = 224, vit_small_patch32_224 = 224 }

local function names_of(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function traced(model, size, loss)
  return frt.graph.trace(function(i)
    local y = model(i.x)
    return { logits = y, loss = loss and loss(y, i.y) or nil }
  end, { x = { "N", 3, size, size }, y = loss and { "N", dtype = "i32" } or nil })
end

local function photos(n, size)
  return V.variable({ n, 3, size, size }, 7 + n)
end

describe("a graph", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  it("goes through text and is recorded at other batches with the same bits: 12 models", function()
    local models = { own = own() }
    local sizes = { own = 16 }
    for name, size in pairs(MODELS) do models[name], sizes[name] = frt.models[name] { classes = 5 }, size end
    for _, name in ipairs(names_of(models)) do
      local model, size = models[name], sizes[name]
      model:build { input = { 1, 3, size, size }, seed = 5 }:eval()
      local loss = frt.loss.cross_entropy { smoothing = 0.1 }
      local text = traced(model, size, loss):text()
      local g = frt.graph.parse(text, name)
      assert.are.equal(text, g:text())
      g:bind(model:state_dict())
      assert.are.same({}, g:missing())
      for _, n in ipairs { 1, 4 } do
        local x, y = photos(n, size), T.var { shape = { n }, dtype = "i32", data = n == 1 and { 5 } or { 1, 5, 2, 3 } }
        local logits = model(x)
        local value = loss(logits, y)
        frt.realize(logits, value)
        local out = g:record { x = x, y = y }
        frt.realize(out.logits, out.loss)
        same(logits:totable(), out.logits)
        same(value:item(), out.loss:item())
      end
      models[name] = nil
      T.collect()
    end
  end)

  it("keeps its parts: logits of photos, a loss of logits, each recorded without the other", function()
    local model = own()
    model:build { input = { 1, 3, 16, 16 } }:eval()
    local loss = frt.loss.cross_entropy {}
    local g = frt.graph.parse(traced(model, 16, loss):text()):bind(model:state_dict())
    local x, y = photos(3, 16), T.var { shape = { 3 }, dtype = "i32", data = { 1, 2, 3 } }
    local logits = g:record({ x = x }, { "logits" }).logits
    local given = T.var { shape = { 3, 5 }, data = logits:totable() }
    same(loss(logits, y):item(), g:record({ logits = given, y = y }, { "loss" }).loss:item())
  end)

  it("names ops, scopes, recipe lines, attributes and values", function()
    local model = nn.Module { conv = nn.Conv2d { 4, 3, stride = 2, groups = 1 },
      forward = function(self, x) return self.conv(x):relu() * 3 end }
    model:build { input = { 1, 3, 9, 9 } }:eval()
    local g = traced(model, 9)
    local nodes = {}
    for node in g:nodes() do nodes[#nodes + 1] = node end
    local conv = nodes[1]
    assert.are.equal("conv2d", conv.op)
    assert.are.equal("conv", conv.scope)
    assert.matches("graph_spec%.lua:%d+$", conv.line)
    assert.are.same({ 2, 2 }, conv.attrs.stride)
    assert.are.equal(1, conv.attrs.groups)
    assert.are.same({ index = conv.inputs[1], kind = "input", name = "x", shape = { "N", 3, 9, 9 }, dtype = "f32" },
      g:value(conv.inputs[1]))
    assert.are.same({ index = conv.inputs[2], kind = "variable", name = "conv.weight", shape = { 4, 3, 3, 3 }, dtype = "f32" },
      g:value(conv.inputs[2]))
    assert.are.same({ index = conv.outputs[1], kind = "made", shape = { "N", 4, 4, 4 }, dtype = "f32", node = 1 },
      g:value(conv.outputs[1]))
    local last = nodes[#nodes]
    assert.are.equal("mul", last.op)
    assert.are.equal(3, g:value(last.inputs[2]).number)
    assert.are.same({ { name = "logits", value = last.outputs[1] } }, g:outputs())
    g:output(conv.outputs[1], "map")
    local x = photos(2, 9)
    assert.are.same({ 2, 4, 4, 4 }, g:record({ x = x }, { "map" }).map.shape)
    assert.matches("'x' is a value's name already", message(g.output, g, conv.outputs[1], "x"))
  end)

  it("is recorded in a training step: gradients as of the first recording, checkpointed stages too", function()
    local w = T.var { shape = { 3, 4 }, name = "w", data = { { 1, 2, 3, 4 }, { -1, 0, 1, 2 }, { 3, 1, 0, 1 } } }:requires_grad_()
    local x = V.variable({ 2, 3 }, 1)
    local stage = require("foodrt.nn.module").stage
    local y = stage(function() return x:matmul(w):silu() end):sum()
    local want = frt.grad(y, { w })[1]:totable()
    local g = frt.graph({ y = y }, { x = x })
    same(want, frt.grad(g:record { x = x }.y, { w })[1])
    local h = frt.graph.parse(g:text()):bind { w = w }
    same(want, frt.grad(h:record { x = x }.y, { w })[1])
  end)

  it("holds constants: tensors without a name, and values whose past is gone", function()
    local table_of, gone = frt.tensor { 1.5, -2, 1 / 3 }, frt.tensor { 1, 2, 3 } + 1
    local wide = frt.arange(300)
    frt.realize(gone)
    local g = frt.graph.trace(function(i)
      return { y = i.x * table_of + gone, z = (i.x:sum(2, { keepdim = true }) + wide):sum(2) }
    end, { x = { "N", 3 } })
    local text = g:text()
    assert.matches('constant %%%d+ "constant%.%d" f32 %[3%] = 1%.5 %-2 0%.33333334', text)
    local h = frt.graph.parse(text)
    assert.are.equal(1, #h:missing())
    h:bind(g:constants(true))
    assert.are.same({}, h:missing())
    local x = frt.tensor { { 1, 2, 3 } }
    same((x * table_of + gone):totable(), h:record({ x = x }, { "y" }).y)
    same(g:record({ x = x }, { "z" }).z:totable(), h:record({ x = x }, { "z" }).z)
  end)

  it("is a value of its own: what it was recorded from may be swept", function()
    local x = frt.tensor { 1, 2 }
    local g = frt.graph({ y = x * 2 + 1 }, { x = x })
    T.collect()
    same({ 7, 9 }, g:record { x = frt.tensor { 3, 4 } }.y)
  end)

  it("runs again and again with other inputs and batches", function()
    local w = T.var { shape = { 2, 2 }, name = "w", data = { { 1, 2 }, { 3, 4 } } }
    local g = frt.graph.trace(function(i) return { y = i.x:matmul(w), z = i.x:sum() } end, { x = { "N", 2 } })
    for n = 1, 3 do
      local x = V.variable({ n, 2 }, n)
      same(x:matmul(w):totable(), g:run({ x = x }, { "y" }).y)
      same(x:sum():item(), g:run { x = x }.z:item())
    end
  end)

  it("is the same text whatever the locale", function()
    local old = os.setlocale()
    local g = frt.graph.trace(function(i) return { y = i.x * 0.125 } end, { x = { "N", 3 } })
    local text = g:text()
    for _, name in ipairs { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" } do os.setlocale(name) end
    local again, parsed = g:text(), frt.graph.parse(text):text()
    os.setlocale(old)
    assert.are.equal(text, again)
    assert.are.equal(text, parsed)
  end)

  it("is left alone by numbers that are kept in a process: names are bytes", function()
    local w = T.var { shape = { 2 }, name = 'w "\228\\\195\164', data = { 1, 2 } }
    local g = frt.graph.trace(function(i) return { ["y \226\130\172"] = i.x * w } end, { x = { "N", 2 } })
    assert.falsy(g:text():find "[\128-\255]")
    local h = frt.graph.parse(g:text()):bind { [w.name or 'w "\228\\\195\164'] = w }
    same({ { 3, 8 } }, h:record { x = frt.tensor { { 3, 4 } } }["y \226\130\172"])
  end)
end)

describe("a graph that cannot be kept says where it is made:", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  local function refused(fn, inputs)
    return message(frt.graph.trace, fn, inputs or { x = { "N", 3 } })
  end

  it("numbers that are no multiple of the batch", function()
    assert.matches("graph: add %(.*graph_spec%.lua:%d+%) with 2 photos is not as with 3: a number is no multiple of them %(4 and 9%)",
      refused(function(i) return { y = i.x + i.x.shape[1] ^ 2 } end))
  end)

  it("shapes that are no multiple of it", function()
    assert.matches("graph: narrow %(.*graph_spec%.lua:%d+%) with 2 photos is not as with 3: "
      .. "an attribute is no multiple of them %(length: 1 and 2%)",
      refused(function(i) return { y = i.x:narrow(1, 1, i.x.shape[1] - 1) } end))
  end)

  it("steps for each photo", function()
    assert.matches("graph: mul %(.*graph_spec%.lua:%d+%) .*: what follows differs %(2 steps and 3%)", refused(function(i)
      local y = i.x
      for _ = 1, i.x.shape[1] do y = y * 2 end
      return { y = y }
    end))
  end)

  it("a look at a value, and recording goes on as before afterwards", function()
    local w = frt.tensor { 1, 2, 3 }
    assert.matches("graph_spec%.lua:%d+: a value can't be looked at while a graph is recorded",
      refused(function(i) return { y = i.x * (i.x:sum():item() > 0 and 2 or 3) } end))
    assert.matches("a value can't be looked at", refused(function(i) return { y = i.x * w:totable()[1] } end))
    assert.matches("a value can't be looked at", refused(function(i) print(i.x * 2) return { y = i.x } end))
    assert.are.equal(6, w:sum():item())
  end)

  it("an assignment", function()
    local n = T.var { shape = {}, name = "n", data = 0 }
    assert.matches("it assigns to a variable", refused(function(i)
      n:assign(n + 1)
      return { y = i.x * n }
    end))
    assert.are.equal(0, n:item())
  end)

  it("a variable that has changed since it was read", function()
    local w = T.var { shape = { 2 }, name = "w", data = { 1, 2 } }
    local y = w * 2
    w:write { 3, 4 }
    assert.matches("variable 'w' has changed since mul read it", message(frt.graph, { y = y }))
  end)

  it("two variables of one name, in the text only", function()
    local a, b = T.var { shape = { 2 }, name = "w", data = { 1, 2 } }, T.var { shape = { 2 }, name = "w", data = { 3, 4 } }
    local g = frt.graph({ y = a + b })
    same({ 4, 6 }, g:record {}.y)
    assert.matches("two values are called 'w'", message(g.text, g))
  end)

  it("an optimizer's step, in the text only", function()
    local w, d = T.var { shape = { 2 }, name = "w", data = { 1, 2 } }, frt.tensor { 1, 1 }
    local out = T.op("ema_step", { frt.tensor(0.5), w, d }, nil, 1)
    local g = frt.graph({ y = out[1] })
    assert.matches("ema_step.* is an optimizer's step", message(g.text, g))
  end)

  it("what is given has another shape or dtype, another batch, or is not given", function()
    local g = frt.graph.trace(function(i) return { y = i.x * i.z } end, { x = { "N", 3 }, z = { "N", 1 } })
    local function given(x, z) return message(g.record, g, { x = x, z = z }) end
    assert.matches("'x' must be f32 %[N, 3%], got f32 %[2, 4%]", given(frt.zeros { 2, 4 }, frt.zeros { 2, 1 }))
    assert.matches("'x' must be f32 %[N, 3%], got i32 %[2, 3%]",
      given(frt.tensor({ { 1, 2, 3 }, { 1, 2, 3 } }, { dtype = "i32" }), frt.zeros { 2, 1 }))
    assert.matches("'z' must be f32 %[N, 1%] with N = 2, got f32 %[3, 1%]", given(frt.zeros { 2, 3 }, frt.zeros { 3, 1 }))
    assert.matches("'z' .* has no value", given(frt.zeros { 2, 3 }))
    assert.matches("no value 'zz', did you mean 'z'", message(g.record, g, { x = frt.zeros { 2, 3 }, zz = frt.zeros { 2, 1 } }))
  end)
end)

-- a text of one node after these lines
local HEAD = 'foodrt graph 1\ninput %0 "x" f32 [N, 3, 8, 8]\nvariable %1 "w" f32 [4, 3, 3, 3]\n'
local function with(line) return HEAD .. line .. '\noutput %2 "y"\nend\n' end
local CONV = "%2 = conv2d(%0, %1, -) "

local HOSTILE = {
  { "", "line 1: is no graph" },
  { "foodrt graph", "line 1: is no graph" },
  { "foodrt graph 2\n", "line 1: the graph is of form 2, this foodrt reads form 1" },
  { "foodrt graph 1", "line 1: the text breaks off" },
  { "foodrt graph 1\n", "line 2: the text breaks off" },
  { "foodrt graph 1\nend\n", "line 2: the graph has no output" },
  { HEAD, "the text breaks off: 'end' is missing" },
  { with "os.execute('touch X')", "line 4: a line begins with" },
  { with "%2 = os(%0) : f32 [N]", "line 4: there is no op 'os'" },
  { with "%2 = fused_conv2d(%0, %1) : f32 [N, 4, 6, 6]", "line 4: there is no op 'fused_conv2d'" },
  { with "%2 = adam_step(%0, %1, %1, %1, %1) : f32 [N]", "line 4: adam_step is an optimizer's step" },
  { with "%3 = relu(%0) : f32 [N, 3, 8, 8]", "line 4: values are numbered in order: %2 is expected" },
  { with "%2 = relu(%2) : f32 [N, 3, 8, 8]", "line 4: %2 is not known here" },
  { with "%2 = relu(%999999999999999999999) : f32 [N, 3, 8, 8]", "line 4: a value's number must be a whole number" },
  { with "%2 = relu(%0, %1) : f32 [N, 3, 8, 8]", "line 4: relu takes 1 inputs, got 2" },
  { with "%2 = relu(-) : f32 [N, 3, 8, 8]", "line 4: relu: input 1 is missing" },
  { with "%2 = cat() : f32 [N, 3, 8, 8]", "line 4: cat takes 1 inputs, got 0" },
  { with "%2 = relu(%0) : f32 [N, 3, 8, 9]", "line 4: relu gives f32 [1, 3, 8, 8] with N = 1, the text says f32 [N, 3, 8, 9]" },
  { with "%2 = relu(%0) : i32 [N, 3, 8, 8]", "line 4: relu gives f32 [1, 3, 8, 8] with N = 1, the text says i32" },
  { with "%2 = relu(%0) : f32 [2N, 3, 8, 8]", "line 4: relu gives f32" },
  { with "%2 = relu(%0) : f32 [1, 3, 8, 8]", "line 4: relu gives f32 [2, 3, 8, 8] with N = 2" },
  { with "%2 = relu(%0) slope=1 : f32 [N, 3, 8, 8]", "line 4: relu has no attribute 'slope'" },
  { with(CONV .. "stride=1 : f32 [N, 4, 6, 6]"), "line 4: conv2d: attribute 'stride' has 2 numbers" },
  { with(CONV .. "stride=0,1 : f32 [N, 4, 6, 6]"), "line 4: conv2d: 'stride' must be in [1, 65536], got 0" },
  { with(CONV .. "stride=nan,1 : f32 [N, 4, 6, 6]"), "line 4: conv2d: 'stride' must be in [1, 65536], got " },
  { with(CONV .. "stride=1,1 stride=2,2 : f32 [N, 4, 6, 6]"), "line 4: conv2d: attribute 'stride' is given twice" },
  { with(CONV .. "groups=2 : f32 [N, 4, 6, 6]"), "line 4: conv2d: x has 3 channels" },
  { with(CONV .. "dilation=65536,65536 : f32 [N, 4, 6, 6]"), "line 4: conv2d: the window must fit" },
  { with(CONV .. ": f32 [N, 4, 6, 6] at 17"), "line 4: a file's name in quotes is expected" },
  { with(CONV .. ": f32 [N, 4, 6, 6] run \"x\""), "line 4: conv2d: 'in', 'at' or 'stage' is expected, got 'run'" },
  { with "%2 = expand(%0) ndim=6 shape=1e15,1e15,1e15,3,8,8 : f32 [1, 1, N, 3, 8, 8]", "out of memory: expand" },
  { with "%2 = reshape(%0) ndim=6 shape=1e15,1e15,1e15,1e15,1e15,1e15 : f32 [N]", "line 4: reshape: shape must be of" },
  { with "%2 = pad(%0) before=1e15,1e15,1e15,1e15,0,0 : f32 [N, 3, 8, 8]", "out of memory: pad" },
  { with "variable %2 \"w\" f32 [3]", "line 4: the name 'w' is taken already" },
  { with "variable %2 \"v\" f32 [0]", "line 4: a dimension must be a whole number of 1 to" },
  { with "variable %2 \"v\" f32 [99999999999999, 99999999999]", "line 4: a dimension must be" },
  { with "variable %2 \"v\" f32 [1000000000000, 1000000000000]", "line 4: out of memory" },
  { with "variable %2 \"v\" f32 [1,1,1,1,1,1,1]", "line 4: a shape has at most 6 dimensions" },
  { with "variable %2 \"v\" f32 [N]", "line 4: only inputs and results go with the batch" },
  { with "variable %2 \"v\" f128 [1]", "line 4: there is no dtype 'f128'" },
  { with "variable %2 \"v f32 [1]", "line 4: a name has no closing quote" },
  { with "variable %2 \"\\x00\" f32 [1]", "line 4: a name has a control character" },
  { with "variable %2 \"\\x1b[2J\" f32 [1]", "line 4: a name has a control character" },
  { with "variable %2 \"\" f32 [1]", "line 4: a name is empty" },
  { with("variable %2 \"" .. ("v"):rep(2000) .. "\" f32 [1]"), "line 4: a name is longer than 1024 bytes" },
  { with "constant %2 \"c\" f32 [100000000] = 1", "line 4: a constant of more than 4096 numbers" },
  { with "constant %2 \"c\" f32 [3] = 1 2", "line 4: a number is expected" },
  { with "constant %2 \"c\" f32 [1] = 1 2", "line 4: something stands behind" },
  { with "constant %2 \"c\" u8 [1] = 256", "line 4: a number of the constant is out of range" },
  { with "constant %2 \"c\" bf16 [1] = 1", "line 4: numbers of a constant are" },
  { with "scalar %2 u8 1", "line 4: a scalar is f32, f64 or i32" },
  { with "scalar %2 f32 one", "line 4: a number is expected" },
  { HEAD .. "output %1 \"y\"\noutput %1 \"y\"\nend\n", "line 5: graph: 'y' is a value's name already" },
  { HEAD .. "output %7 \"y\"\nend\n", "line 4: %7 is not known here" },
  { 'foodrt graph 1\nscalar %0 f32 N\noutput %0 "y"\nend\n', "no input goes with the batch" },
}

describe("a text that is no graph", function()
  it("is an error with its line", function()
    for i, case in ipairs(HOSTILE) do
      local ok, why = pcall(frt.graph.parse, case[1], "F")
      assert.is_false(ok, "accepted: " .. case[1])
      assert.truthy(tostring(why):find("F: line %d+: ") or tostring(why):find "F: ", i .. ": " .. tostring(why))
      assert.truthy(tostring(why):find(case[2], 1, true), ("%d: expected '%s' in '%s'"):format(i, case[2], tostring(why)))
    end
  end)

  it("is one whichever byte of a good text is lost or changed, or a graph", function()
    local model = nn.Chain { nn.Conv2d { 2, 3 }, nn.BatchNorm2d {}, nn.ReLU {}, nn.Flatten {}, nn.Linear { 2 } }
    model:build { input = { 1, 3, 5, 5 } }:eval()
    local text, n_bad = traced(model, 5):text(), 0
    local u = require("spec.support.op_case").random(3)
    for _ = 1, 2000 do
      local at = 1 + math.floor(u() * #text)
      local kind, byte = math.floor(u() * 3), string.char(math.floor(u() * 256))
      local changed = text:sub(1, at - 1) .. (kind == 0 and "" or kind == 1 and byte or byte .. text:sub(at, at)) .. text:sub(at + 1)
      local ok, why = pcall(frt.graph.parse, changed, "F")
      if not ok then
        n_bad = n_bad + 1
        assert.truthy(tostring(why):find "F: line %d+: ", why)
      end
    end
    assert.is_true(n_bad > 1000)
  end)
end)
