-- Every op, every case it declares: the float reference and the CPU backend against the double reference, the
-- gradient against finite differences. Adding an op adds rows here for free.
local O = require "spec.support.op_case"
local device = require "spec.support.device"
local ops = O.ops()

-- The docstring of every op: the lines that start with "///" from the one that names it on.
local docs = {}
do
  local root = debug.getinfo(1, "S").source:match "^@(.*)spec/ops/ops_spec%.lua$"
  local listing = assert(io.popen(("cat '%sruntime/ops'/*/*.c"):format(root)))
  local name
  for line in listing:lines() do
    name = line:match "^/// ([%w_]+) %-%- " or line:match "^///" and name or nil
    if name then docs[name] = (docs[name] and docs[name] .. "\n" or "") .. line end
  end
  listing:close()
end

-- What is allowed between float and double: 1e-5 of the largest number of the output, for float keeps 24 bits
-- and sums lose a few of them.
local function compare(got, want, tolerance)
  assert.same(want.dims, got.dims)
  local largest, off, where = 1e-30, 0, 0
  for k, v in ipairs(want.data) do
    if v == v and math.abs(v) < math.huge then largest = math.max(largest, math.abs(v)) end
    local d = math.abs(got.data[k] - v)
    if (d > off or d ~= d) and got.data[k] ~= v then off, where = d, k end
  end
  assert.is_true(off <= tolerance * largest,
    ("number %d is %.9g, should be %.9g (largest %.3g)"):format(where, got.data[where] or 0, want.data[where] or 0, largest))
end

-- The instruction sets this machine has.
local isas = {}
for _, isa in ipairs { "base", "avx2", "avx512", "auto" } do
  if tonumber(O.C.frt_set_isa(isa)) == 0 then isas[#isas + 1] = isa end
end

-- Outputs that no gradient goes through: refused in words, or left out where they hold integers. Whatever else has a
-- gradient by finite differences has it by the op, or this spec fails.
local LEFT_OUT = { ["sort 2"] = "integers", ["cast 1: to f32"] = "float", ["cast 1: class numbers to f32"] = "float",
  ["cast 1: class numbers to i32"] = "integers" }
for _, name in ipairs { "batch_norm_train", "layer_norm" } do
  for k = 2, 3 do LEFT_OUT[("%s %d"):format(name, k)] = name .. ": mean and rstd have no gradient" end
end
-- Running statistics: gradients stop there by definition, as their docstring says.
local ZERO = { ["batch_norm_train 4"] = true, ["batch_norm_train 5"] = true }
local asked, compared, zero, left_out, n_left_out = 0, 0, 0, {}, 0

for _, op in ipairs(ops) do
  describe("op " .. op.name, function()
    local doc = docs[op.name] or ""
    local no_grad = doc:match "\n/// grad%s+none" ~= nil

    it("says what it does, what goes in and out, and what its gradient is", function()
      assert.is_true(doc:match("^/// " .. op.name .. " %-%- ") ~= nil, "the docstring starts with the name")
      assert.matches("\n/// in ", doc)
      assert.matches("\n/// out ", doc)
      assert.matches("\n/// grad ", doc)
      assert.is_true(#op.doc > 0)
      for _, attr in ipairs(op.attrs) do
        assert.is_true(#attr.doc > 0)
        assert.is_true(doc:find(attr.name, 1, true) ~= nil, attr.name .. " is not in the docstring")
      end
      if op.flags % (2 * O.NO_GRAD) >= O.NO_GRAD then assert.is_true(no_grad) end
    end)

    it("declares at least 2 cases", function()
      assert.is_true(#op.cases >= 2)
    end)

    for _, case in ipairs(op.cases) do
      it(("is the same in float, double and on the backend, %s: %s"):format(device.name, case.why), function()
        local double = O.run(op, O.fill(case, O.F64), case.attr, "reference", case.n_out)
        local float = O.run(op, O.fill(case, O.F32), case.attr, "reference", case.n_out)
        assert.is_true(#double >= 1)
        for k = 1, #double do compare(float[k], double[k], 1e-5) end
        for _, isa in ipairs(device.name == "reference" and {} or isas) do
          O.C.frt_set_isa(isa)
          local own = O.run(op, O.fill(case, O.F32), case.attr, device.name, case.n_out)
          for k = 1, #double do compare(own[k], double[k], 1e-5) end
        end
      end)

      -- In double with steps of 1e-5 the difference quotient is good for 9 digits; 1e-6 of the magnitudes that
      -- were added up.
      for k = 1, no_grad and 0 or op.n_out do
        local output = ("%s %d"):format(op.name, k)
        it(("has the gradient of output %d that finite differences have: %s"):format(k, case.why), function()
          local inputs = O.fill(case, O.F64)
          for i, input in ipairs(case.inputs) do inputs[i].fixed = input.fill == "b" end
          asked = asked + 1
          local ok, got, want, size = pcall(O.slope, op, inputs, case.attr, 1e-5, k)
          if not ok or not got then
            if not LEFT_OUT[output] then output = output .. ": " .. case.why end
            n_left_out = n_left_out + 1
            left_out[output] = not ok and got:match "([^\n]*)" or want
            assert.equal(LEFT_OUT[output], left_out[output])
            return
          end
          if ZERO[output] then
            zero = zero + 1
            assert.equal(0, got)
            return
          end
          compared = compared + 1
          assert.is_true(math.abs(got - want) <= 1e-6 * math.max(size, 1e-3),
            ("in a random direction %.12g, by differences %.12g"):format(got, want))
        end)
      end
    end
  end)
end

describe("gradients of ops", function()
  it("were compared for every output of every case but those named above", function()
    if asked == 0 then return pending "the cases were filtered out" end
    assert.same(LEFT_OUT, left_out)
    assert.equal(asked, compared + zero + n_left_out)
    assert.equal(8, zero)
    assert.is_true(compared > 250, tostring(compared))
  end)
end)
