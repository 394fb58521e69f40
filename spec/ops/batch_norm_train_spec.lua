-- batch_norm_train against PyTorch's numbers, at a large mean, and where it cannot work.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local ops, f32, f64 = O.ops(), O.f32, O.f64

-- The PyTorch fixture bn_train: two channels of 12 numbers, y and the running statistics after one step. It does
-- not state the layout; [3, 2, 2, 2] with w 1, b 0, eps 1e-5, momentum 0.1, fresh statistics is what fits it.
local X = {
  0.9608709812164307, 0.01764583587646484, -0.5965162515640259, 0.3539955615997314, -0.7848467826843262,
  0.2042820453643799, -0.858007550239563, 0.04213261604309082, -0.7059756517410278, -0.07484304904937744,
  -0.6633037328720093, 0.6341838836669922, 0.8748085498809814, 0.9809790849685669, -0.6386592388153076,
  0.4495353698730469, -0.7814227342605591, -0.1557124853134155, -0.03559637069702148, 0.09134459495544434,
  -0.9531574249267578, 0.3786371946334839, 0.1083804368972778, -0.2493927478790283,
}
local Y = {
  1.978303227562231, 0.1849173074985368, -0.9828098737522514, 0.8244304346766497, -1.177058363318066,
  0.3799880296822358, -1.292225069616314, 0.1247389894234088, -1.190928739185275, 0.009065057579337487,
  -1.109795174352018, 1.357161982647189, 1.435503596171483, 1.602632936671199, -0.9469358742871224,
  0.7660558435694161, -1.334378832907748, -0.1446947409967926, 0.0836860965901403, 0.3250432546400012,
  -1.442006134503882, 0.6544508181200628, 0.2290236160363365, -0.3341683879487574,
}
local MEAN = { -0.007961078484853109, -0.003710903724034628 }
local VAR = { 0.9301756121530245, 0.9440230788367578 }

local function fresh(make, c)
  local one, zero = {}, {}
  for k = 1, c do one[k], zero[k] = 1, 0 end
  return make({ c }, one), make({ c }, zero), make({ c }, zero), make({ c }, one)
end

describe("batch_norm_train", function()
  it("gives PyTorch's output and running statistics to 1e-13 in double", function()
    local out = O.run(ops.batch_norm_train, { f64({ 3, 2, 2, 2 }, X), fresh(f64, 2) }, { 1e-5, 0.1 })
    assert.is_true(O.near(Y, out[1].data, 1e-13))
    assert.is_true(O.near(MEAN, out[4].data, 1e-15))
    assert.is_true(O.near(VAR, out[5].data, 1e-13))
  end)

  for _, backend in ipairs(device.both) do
    it("gives them to 1e-6 in float: " .. backend, function()
      local out = O.run(ops.batch_norm_train, { f32({ 3, 2, 2, 2 }, X), fresh(f32, 2) }, { 1e-5, 0.1 }, backend)
      assert.is_true(O.near(Y, out[1].data, 1e-6))
      assert.is_true(O.near(MEAN, out[4].data, 1e-8))
      assert.is_true(O.near(VAR, out[5].data, 1e-6))
    end)

    -- A sum of squares in float would lose the variance, 0.01 beside 10000. Of the numbers themselves float
    -- keeps 7.6e-6 here, 7.6e-5 deviations.
    it("keeps mean 100, deviation 0.1 apart: " .. backend, function()
      local u, x, mean, m2, n = O.random(3), {}, 0, 0, 4 * 31 * 29
      local round = require("ffi").new "float[1]"
      for k = 1, n do
        round[0] = 100 + 0.1 * math.sqrt(-2 * math.log(1 - u())) * math.cos(2 * math.pi * u())
        x[k] = round[0]
        mean = mean + x[k] / n
      end
      for k = 1, n do m2 = m2 + (x[k] - mean) ^ 2 end
      local rstd = 1 / math.sqrt(m2 / n + 1e-5)
      local want = {}
      for k = 1, n do want[k] = (x[k] - mean) * rstd end
      local out = O.run(ops.batch_norm_train, { f32({ 4, 1, 31, 29 }, x), fresh(f32, 1) }, { 1e-5, 0.1 }, backend)
      assert.is_true(O.near({ rstd }, out[3].data, 1e-4 * rstd))
      assert.is_true(O.near({ 0.1 * mean }, out[4].data, 1e-5))
      assert.is_true(O.near({ 0.9 + 0.1 * m2 / (n - 1) }, out[5].data, 1e-6))
      assert.is_true(O.near(want, out[1].data, 3e-4))
    end)
  end

  it("refuses one value per channel and names the shape", function()
    assert.equal("batch_norm_train: needs more than one value per channel, got x [1, 8, 1, 1]",
      O.refusal(ops.batch_norm_train, { { dims = { 1, 8, 1, 1 } }, { dims = { 8 } }, { dims = { 8 } }, { dims = { 8 } },
        { dims = { 8 } } }, { 1e-5, 0.1 }))
  end)

  it("refuses a weight of another length", function()
    assert.equal("batch_norm_train: w must be f32 [8] (x is [2, 8, 1, 1]), got f32 [4]",
      O.refusal(ops.batch_norm_train, { { dims = { 2, 8, 1, 1 } }, { dims = { 4 } }, { dims = { 8 } }, { dims = { 8 } },
        { dims = { 8 } } }, { 1e-5, 0.1 }))
  end)
end)
