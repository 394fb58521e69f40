-- Random graphs: whatever the planner does to a graph (merging, fusing, layouts, results over operands, one
-- arena), the numbers are those of the plain reference. The arena is full of NaN before each run, and each
-- plan is verified on paper: no step reads bytes that another value has taken.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local device = require "spec.support.device"
local C = require("foodrt.core.ffi").C
local maker = require "spec.support.graph_maker"
local isas, plans = require "spec.support.isas", require "spec.support.plans"

local GRAPHS, SIZE = tonumber(os.getenv "FOODRT_GRAPHS" or "60"), tonumber(os.getenv "FOODRT_GRAPH_SIZE" or "6")

local function numbers(t, list)
  local function add(v)
    if type(v) == "table" then
      for _, x in ipairs(v) do add(x) end
    else
      list[#list + 1] = v
    end
  end
  add(t:totable())
  return list
end

local function grow(g, seed)
  g:grow(SIZE + seed % 23)
  if seed % 4 ~= 0 then g:train(({ "none", "sgd", "adam" })[seed % 3 + 1]) end
  if seed % 5 == 0 then g:grow(4) end  -- reads of what has been assigned
  return g:outputs(({ 0.1, 0.4, 1 })[seed % 3 + 1])
end

-- On one instruction set after the other. Every output, then every variable;
-- after the graph and after the same one again, which is not planned again.
local function run(seed, dtype, backend)
  C.frt_device_use(backend)
  C.frt_set_isa(isas[seed % #isas + 1])
  local g, result = maker.new(seed, dtype), {}
  for round = 1, 2 do
    if round == 2 then g:again() end
    local outputs = grow(g, seed)
    plans.verify(unpack(outputs))
    local compiled = plans.compiled(frt.realize, unpack(outputs))
    assert.are.equal(0, compiled, "seed " .. seed .. ": realize planned what explain had planned")
    for _, t in ipairs(outputs) do result[#result + 1] = numbers(t, {}) end
    for _, v in ipairs(g.vars) do result[#result + 1] = numbers(v, {}) end
    for _, e in ipairs(g.averages) do result[#result + 1] = numbers(e, {}) end
    for _, m in ipairs(g.moments) do
      result[#result + 1] = numbers(m[1], {})
      result[#result + 1] = numbers(m[2], {})
    end
    if round == 1 then
      g:again()
      assert.are.equal(0, plans.compiled(T.plan, unpack(grow(g, seed))), "seed " .. seed .. ": planned twice")
      T.forget()
    end
  end
  device.home()
  C.frt_set_isa "auto"
  return result
end

-- Of the largest number. Where the double reference has no number (a variance may have been trained below zero)
-- or is beyond float, so must the other be.
local function distance(a, b)
  local largest, off = 1, 0
  for i = 1, #b do
    local x, y = a[i], b[i]
    if y ~= y or math.abs(y) > 1e38 then
      if not (x ~= x or math.abs(x) > 1e38) then return math.huge end
    else
      largest = math.max(largest, math.abs(y))
      local d = math.abs(x - y)
      if d ~= d then return math.huge end
      off = math.max(off, d)
    end
  end
  return off / largest
end

describe("random graphs", function()
  before_each(function()
    C.frt_poison(1)
  end)
  after_each(function()
    C.frt_poison(0)
    device.home()
    C.frt_set_isa "auto"
    T.forget()
    T.collect()
  end)

  -- 1e-5 of the largest number, or what float's rounding alone does to this graph: 20 times the distance of
  -- the plain float reference from the double one.
  for first = 1, GRAPHS, 10 do
    it(("%d to %d are the same on cpu, reference and in double"):format(first, first + 9), function()
      for seed = first, first + 9 do
        local want, plain, got = run(seed, "f64", "reference"), run(seed, "f32", "reference"), run(seed, "f32", device.name)
        assert.are.equal(#want, #got)
        for i = 1, #want do
          local rounding = distance(plain[i], want[i])
          local d = distance(got[i], want[i])
          -- large graphs may lose it themselves
          assert.is_true(rounding < 1e-3 or SIZE > 6, ("seed %d: output %d of the reference is off by %.3g"):format(seed, i, rounding))
          assert.is_true(d <= math.max(1e-5, 20 * rounding),
            ("seed %d: output %d of %d is off by %.3g, the reference by %.3g"):format(seed, i, #want, d, rounding))
        end
        C.frt_plans_clear()
        T.collect()
      end
    end)
  end
end)
