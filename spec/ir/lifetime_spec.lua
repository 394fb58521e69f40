-- lifetime: what is read after its bytes are gone is an error that says so, never other numbers; handles that are only
-- numbers are never swept while they are used.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local lib = require "foodrt.core.ffi"
local V = require "spec.support.values"
local tiny, process = require "spec.support.tiny", require "spec.support.process"
local C, ffi = lib.C, lib.ffi
local same = V.same

local function here() return debug.getinfo(2, "l").currentline end

local GONE = "its value is gone: the batch it reads was given back before it was computed"
local USED_UP = "its values are gone: a batch can be used until the next one is taken"
local PLANNED = "values can't be looked at while the step is planned"

local function refused(text, fn)
  local message = V.message(function()
    local y = fn()
    return y
  end)
  assert.is_truthy(tostring(message):find(text, 1, true), tostring(message))
  return message
end

describe("borrowed bytes", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  local function wrapped()
    local bytes = ffi.new("float[4]", { 1, 2, 3, 4 })
    return T.wrap_data({ 4 }, "f32", bytes), bytes
  end

  it("that are bound anew make what was recorded from the old ones stale, with its line; what was computed stays", function()
    local x = wrapped()
    local early, late = frt.realize(x * 2), x * 3
    local line = here() - 1
    local other = ffi.new("float[4]", { 5, 6, 7, 8 })
    x:rebind(other)
    assert.is_truthy(refused(GONE, function() return late:totable() end):find("lifetime_spec.lua:" .. line .. ": mul: ", 1, true))
    same({ 2, 4, 6, 8 }, early)
    same({ 6, 7, 8, 9 }, x + 1)
  end)

  it("that are taken back are neither read nor recorded from any more", function()
    local x = wrapped()
    local late = x:sum()
    x:rebind(nil)
    refused(GONE, function() return late:item() end)
    refused(USED_UP, function() return x:totable() end)
    refused(USED_UP, function() return x * 2 end)
    assert.are.same({ 4 }, x.shape)
  end)

  it("of a freed variable likewise, whoever has its place by then", function()
    local x = wrapped()
    local late = x:sum()
    C.frt_var_free(x.ref)
    local other = {}  -- luacheck: ignore
    for i = 1, 8 do other[i] = T.var { shape = { 4 }, name = "other" .. i, init = i }:requires_grad_() end
    local message = refused(GONE, function() return late:item() end)
    assert.is_nil(message:find "other")
    refused("depends on no tensor that requires a gradient", function() return late:backward() end)
  end)

  it("are copied by own(): the variable outlives them, channels-last too", function()
    local bytes = ffi.new("float[4]", { 1, 2, 3, 4 })
    local x = T.wrap_data({ 1, 2, 2, 1 }, "f32", bytes, true):own()
    local y = x * 10
    for i = 0, 3 do bytes[i] = 9 end
    same({ { { { 1 }, { 3 } }, { { 2 }, { 4 } } } }, x)
    local ref = y
    x = nil  -- luacheck: ignore
    T.collect()
    same({ { { { 10 }, { 30 } }, { { 20 }, { 40 } } } }, ref)
  end)

  it("leave an assignment that needs them out, and carry out the others", function()
    local x = wrapped()
    local a, b = T.var { shape = { 4 }, name = "a" }, T.var { shape = { 4 }, name = "b" }
    a:assign(x + 1)
    b:assign(b + 1)
    x:rebind(nil)
    refused("the assignment of 'a' is dropped", frt.realize)
    same({ 1, 1, 1, 1 }, b)
    same({ 0, 0, 0, 0 }, a)
  end)
end)

describe("a planned batch", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  it("can be recorded, differentiated and planned", function()
    local x, w = T.wrap_data({ 2, 3, 8, 8 }, "f32", nil, true), frt.ones { 4, 3, 3, 3 }:requires_grad_()
    local loss = x:conv2d(w):mean()
    assert.is_true(#T.plan(loss, unpack(frt.grad(loss, { w }))) > 0)
  end)

  it("has no values, nor has what follows from it: an error at the line that looks", function()
    local x = T.wrap_data({ 2 }, "f32", nil)
    local y, v = x * 2, frt.tensor { 1 }
    for _, look in ipairs {
      function() return x:totable() end, function() return tostring(x) end, function() return y:sum():item() end,
      function() return tostring(y) end, function() return y:totable() end, function() return frt.realize(y) end,
      function() return y:copy_(y) end, function() return y:requires_grad_() end,
    } do
      local message = refused(PLANNED, look)
      assert.is_truthy(message:find "^lifetime_spec.lua:%d+: values", message)
    end
    v:assign(v + y:sum())
    refused(PLANNED, function() return v:item() end)
    assert.are.equal(1, C.frt_pending())  -- it is still planned
    assert.is_true(#T.plan() > 0)
  end)
end)

describe("a batch of the loader", function()
  local dir, data
  setup(function()
    dir = tiny.make()
    data = frt.data.folder { dir .. "/photos", size = 16, batch = 4 }
  end)
  teardown(function() process.remove(dir) end)
  after_each(function() T.collect() end)

  it("is right or an error, never the next one's numbers", function()
    local loader = data:loader("val", { threads = 1 })
    local first = loader:next()
    local mean, labels = first.x:mean(), first.y:to "f32"
    local want = frt.realize(first.x:sum())
    local second = loader:next()
    assert.are_not.equal(first.x, second.x)
    refused(GONE, function() return mean:item() end)
    refused(GONE, function() return labels:totable() end)
    refused(USED_UP, function() return first.x:mean() end)
    refused(USED_UP, function() return first.y:totable() end)
    refused(USED_UP, function() return first.labels.class:totable() end)
    assert.is_number(want:item())
    assert.is_number(second.x:mean():item())
    loader:stop()
    refused(USED_UP, function() return second.x:mean() end)
  end)

  it("of a loop that has ended is an error", function()
    local last
    for b in data:loader("val", { threads = 1 }):batches() do last = b.x:mean() end
    refused(GONE, function() return last:item() end)
  end)

  it("of a loader that nobody holds any more likewise", function()
    local last
    do
      local loader = data:loader("val", { threads = 1 })
      last = loader:next().x:mean()
    end
    T.collect()
    collectgarbage()
    refused(GONE, function() return last:item() end)
  end)

  it("data:preprocess gives a tensor of its own", function()
    local path = dir .. "/photos/val/pizza/01.bmp"
    local want = data:preprocess(path):mean():item()
    local y = data:preprocess(path):mean()
    T.collect()
    local noise = {}  -- luacheck: ignore
    for i = 1, 50 do noise[i] = ffi.new("float[?]", 16 * 16 * 3, 7) end
    assert.are.equal(want, y:item())
  end)
end)

describe("handles", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  local function parameters(n)
    local list = {}
    for i = 1, n do list[i] = T.var { shape = { 1 }, init = i }:requires_grad_() end
    return list
  end

  local function total(list)
    while #list > 1 do
      local half = {}
      for i = 1, #list, 2 do half[#half + 1] = list[i + 1] and list[i] + list[i + 1] or list[i] end
      list = half
    end
    return list[1]:sum()
  end

  it("of 4,200 gradients outlive a look at what is alive: backward", function()
    local list = parameters(4200)
    total(list):backward()
    frt.realize()
    for _, i in ipairs { 1, 2100, 4096, 4097, 4200 } do same({ 1 }, list[i].grad) end
  end)

  it("of 6,000 likewise: frt.grad", function()
    local list = parameters(6000)
    local grads = frt.grad(total(list), list)
    for _, i in ipairs { 1, 4095, 4096, 4097, 6000 } do same({ 1 }, grads[i]) end
  end)

  it("of ops with several outputs likewise, wherever the look comes", function()
    local old_bytes, old_nodes = T.limits(nil, 0)
    local x = frt.tensor { { 3, 1, 2 } }
    local mean, var, one = frt.tensor { 0, 0, 0 }, frt.tensor { 1, 1, 1 }, frt.tensor { 1, 1, 1 }
    local ok, why = pcall(function()
      for _ = 1, 3000 do  -- three handles each: every place of a look
        local y, at = x:sort()
        assert(y and at)
      end
      local y, at = x:sort()
      same({ { 1, 2, 3 } }, y)
      same({ { 2, 3, 1 } }, at)
      local map = frt.ones { 2, 3, 2, 2 }
      for _ = 1, 1500 do map:batch_norm(one, one, mean, var, { training = true }) end
      frt.realize()
    end)
    T.limits(old_bytes, old_nodes)
    assert.is_true(ok, why)
  end)

  it("an absent input of an op that takes any number is an error, and so is none", function()
    local a = frt.tensor { 1 }
    refused("cat: input 2 is missing", function() return T.op("cat", { a, false, a }, { 0 }) end)
    refused("cat: needs at least one input", function() return T.op("cat", {}, { 0 }) end)
    refused("grad_norm: input 1 is missing", function() return T.op("grad_norm", { false, a }) end)
    refused("cat: entry 2 of 3 is nil", function() return frt.cat { a, nil, a } end)
  end)

  it("past the most variables a new one is refused, and freed places are found at once", function()
    if not os.getenv "FOODRT_LARGE" then return end  -- takes 1.5 GB
    local shape, out, refs = ffi.new("frt_shape", { 0, 0 }), ffi.new "frt_ref[1]", {}
    local status
    repeat
      status = tonumber(C.frt_var_new(shape, 0, nil, out))
      if status == 0 then refs[#refs + 1] = out[0] end
    until status ~= 0
    assert.is_truthy(ffi.string(C.frt_error_last()):find "more than 4194304 live variables")
    assert.is_true(#refs > 4000000)
    for i = #refs, #refs - 1000, -1 do C.frt_var_free(refs[i]) end
    for i = #refs - 1000, #refs do
      assert.are.equal(0, tonumber(C.frt_var_new(shape, 0, nil, out)))
      refs[i] = out[0]
    end
    for _, ref in ipairs(refs) do C.frt_var_free(ref) end
  end)
end)
