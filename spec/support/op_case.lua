-- op_case: ops through the C API alone, as the op specs need them: plain tables of numbers in and out, the
-- cases that ops declare, gradients beside finite differences. Nothing of it survives the call.
local lib = require "foodrt.core.ffi"
local ffi, C = lib.ffi, lib.C
local device = require "spec.support.device"
local M = { C = C }

local F32, F64, I32 = 0, 1, 2
M.F32, M.F64, M.I32 = F32, F64, I32
M.NO_GRAD, M.UPDATE, M.RANDOM = 8, 16, 2
local CTYPE = { [F32] = "float[?]", [F64] = "double[?]", [I32] = "int32_t[?]" }
local SIZE = { [F32] = 4, [F64] = 8, [I32] = 4 }

local function ok(status)
  if tonumber(status) ~= 0 then error(ffi.string(C.frt_error_last()), 0) end
end

-- A case of an update as any other's: its scalars first, then a group of inputs for each parameter.
function M.as_update(op, case, c, fill)
  local inputs = {}
  for k = 1, op.update.first do inputs[k] = { dims = {}, data = { c.attr[op.n_numbers + k - 1] }, fill = "scalar" } end
  for _, parameter in ipairs(case.inputs) do
    for k = 1, op.update.n do inputs[#inputs + 1] = { dims = parameter.dims, fill = fill:sub(k, k) } end
  end
  case.n_out = #case.inputs * (op.update.n - 1)
  case.inputs = inputs
end

--- every op with its cases: { name, index, flags, doc, n_in, n_out, attrs, cases = { case, … } }, by name;
--- a case is { why, inputs = { { dims = {…}, fill = "n" }, … }, classes, attr = { numbers } }.
function M.ops()
  local list, info = {}, ffi.new "frt_op_info"
  for i = 0, C.frt_op_count() - 1 do
    C.frt_op_at(i, info)
    local op = {
      name = ffi.string(info.name), doc = info.doc ~= nil and ffi.string(info.doc) or "", index = i,
      n_in = info.n_in, n_out = info.n_out, flags = info.flags, n_numbers = 0, attrs = {}, cases = {},
      update = info.flags % (2 * M.UPDATE) >= M.UPDATE and { first = info.update_first, n = info.update_in } or nil,
    }
    for k = 0, info.n_attr - 1 do
      op.n_numbers = op.n_numbers + info.attr[k].n
      op.attrs[k + 1] = { name = ffi.string(info.attr[k].name), doc = ffi.string(info.attr[k].doc) }
    end
    for k = 0, info.n_case - 1 do
      local c = info.cases[k]
      local case = { why = ffi.string(c.why), n_out = c.n_out > 0 and c.n_out or 1, classes = c.classes, inputs = {}, attr = {} }
      local fill = c.fill ~= nil and ffi.string(c.fill) or ""
      for n = 0, c.n_in - 1 do
        local dims = {}
        for d = 0, 5 do
          local size = tonumber(c.dim[n][d])
          if size == 0 then break end
          dims[d + 1] = size
        end
        local letter = fill:sub(n + 1, n + 1)
        case.inputs[n + 1] = { dims = dims, fill = letter ~= "" and letter or fill:sub(-1) ~= "" and fill:sub(-1) or "n" }
      end
      for a = 1, op.n_numbers do case.attr[a] = c.attr[a - 1] end
      if op.update then M.as_update(op, case, c, fill) end
      op.cases[k + 1] = case
    end
    list[#list + 1] = op
    list[op.name] = op
  end
  return list
end

--- numbers in [0, 1) that follow from `seed`
function M.random(seed)
  local state = seed % 2147483647
  if state == 0 then state = 1 end
  return function()
    state = state * 48271 % 2147483647
    return (state - 1) / 2147483646
  end
end

local function numel(dims)
  local n = 1
  for _, d in ipairs(dims) do n = n * d end
  return n
end
M.numel = numel

local function normal(u)
  return math.sqrt(-2 * math.log(1 - u())) * math.cos(2 * math.pi * u())
end

local FILL = {
  n = normal,
  p = function(u) return 0.1 + 1.9 * u() end,
  u = function(u) return 1.8 * u() - 0.9 end,
  b = function(u) return u() < 0.5 and 0 or 1 end,
  k = function(u)
    local v = normal(u)
    return math.abs(v) > 0.1 and v or v < 0 and v - 0.1 or v + 0.1
  end,
  i = function(u, classes) return math.floor(u() * classes) end,
}

local round = ffi.new "float[1]"

--- the numbers of each input of a case: { { dims, dtype (of the kind `real`), data = { … } }, … }. They are
--- floats in either kind, so that both see the same.
function M.fill(case, real, seed)
  local u, out = M.random(seed or 1), {}
  for i, input in ipairs(case.inputs) do
    local absent = input.fill == "-"
    local data, make = input.data or {}, FILL[input.fill]
    for k = #data + 1, absent and 0 or numel(input.dims) do
      round[0] = make(u, case.classes)
      data[k] = round[0]
    end
    local dtype = input.fill == "i" and I32 or real
    out[i] = not absent and { dims = input.dims, dtype = input.data and F64 or dtype, data = data }
  end
  return out
end

local shape = ffi.new "frt_shape"
local function set_shape(dims, dtype)
  shape.ndim, shape.dtype = #dims, dtype
  for d, size in ipairs(dims) do shape.dim[d - 1] = size end
end

local function write(var, x)
  local buf = ffi.new(CTYPE[x.dtype], #x.data, x.data)
  ok(C.frt_var_write(var, 0, #x.data, buf))
end

local function variable(x)
  local ref = ffi.new "frt_ref[1]"
  set_shape(x.dims, x.dtype)
  ok(C.frt_var_new(shape, 0, nil, ref))
  write(ref[0], x)
  return ref[0]
end

--- in op, handles, attributes (nil: none), number of outputs; out handles
local function record(op, inputs, attr, n_out)
  local n = op.n_out >= 0 and op.n_out or n_out
  local out = ffi.new("frt_ref[?]", n)
  ok(C.frt_record(op.index, #inputs, ffi.new("frt_ref[?]", #inputs, inputs), attr and #attr or 0,
    attr and ffi.new("double[?]", #attr, attr) or nil, n, out))
  local refs = {}
  for k = 1, n do refs[k] = out[k - 1] end
  return refs
end

local function realize(refs)
  ok(C.frt_realize(#refs, ffi.new("frt_ref[?]", #refs, refs)))
end

--- { dims, dtype, data } of a realized handle
local function read(ref)
  ok(C.frt_info(ref, shape))
  local dims = {}
  for d = 1, shape.ndim do dims[d] = tonumber(shape.dim[d - 1]) end
  local n, dtype = numel(dims), shape.dtype
  local buf, data = ffi.new(CTYPE[dtype], n), {}
  ok(C.frt_read(ref, buf, n * SIZE[dtype]))
  for k = 1, n do data[k] = tonumber(buf[k - 1]) end
  return { dims = dims, dtype = dtype, data = data }
end

-- Runs `fn` with a fresh list of variables and leaves nothing behind, whatever happens.
local function clean(backend, fn)
  local vars = {}
  C.frt_device_use(backend)
  local fine, result = xpcall(fn, function(why)
    return type(why) == "string" and why or debug.traceback(tostring(why))
  end, vars)
  for _, v in ipairs(vars) do C.frt_var_free(v) end
  C.frt_forget_pending()
  C.frt_sweep(0, nil)
  device.home()
  if not fine then error(result, 0) end
  return result
end

--- every output of one op. inputs: as from M.fill; false: absent.
function M.run(op, inputs, attr, backend, n_out)
  return clean(backend or device.name, function(vars)
    local refs = {}
    for i, x in ipairs(inputs) do
      refs[i] = 0
      if x then
        refs[i] = variable(x)
        vars[#vars + 1] = refs[i]
      end
    end
    local out = record(op, refs, attr, n_out)
    realize(out)
    for k, ref in ipairs(out) do out[k] = read(ref) end
    return out
  end)
end

local loss_ops
-- The sum of an output times fixed numbers: what gradients are taken of.
local function weighted(out, vars, seed)
  loss_ops = loss_ops or M.ops()
  ok(C.frt_info(out, shape))
  local dims, data, u = {}, {}, M.random(seed)
  for d = 1, shape.ndim do dims[d] = tonumber(shape.dim[d - 1]) end
  for k = 1, numel(dims) do data[k] = u() + 0.5 end
  local w = variable { dims = dims, dtype = shape.dtype, data = data }
  vars[#vars + 1] = w
  return record(loss_ops.sum, record(loss_ops.mul, { out, w }), { 63, 0 })[1]
end

--- the gradient of the weighted sum of output `k` in a random direction, by the op and by central differences:
--- got, want, sum of the magnitudes of what was added up for `got`; nil and why, where that is not a matter of
--- doubles from end to end.
function M.slope(op, inputs, attr, h, k)
  return unpack(clean("reference", function(vars)
    local refs = {}
    for i, x in ipairs(inputs) do
      refs[i] = variable(x)
      vars[#vars + 1] = refs[i]
    end
    local n = #refs
    ok(C.frt_info(record(op, refs, attr)[k], shape))
    if shape.dtype ~= F64 then return { nil, shape.dtype == I32 and "integers" or "float" } end
    local function loss()
      return weighted(record(op, refs, attr)[k], vars, 11)
    end
    local l = loss()
    local grads = ffi.new("frt_ref[?]", n)
    ok(C.frt_grad(l, n, ffi.new("frt_ref[?]", n, refs), grads))
    local u, got, size, dir, wanted = M.random(5), 0, 0, {}, { l }
    for i = 0, n - 1 do
      if grads[i] ~= 0 then wanted[#wanted + 1] = grads[i] end
    end
    realize(wanted)
    for i, x in ipairs(inputs) do
      dir[i] = {}
      local g = grads[i - 1] ~= 0 and read(grads[i - 1])
      if g then assert(table.concat(g.dims, " ") == table.concat(x.dims, " "), "gradient has another shape") end
      for e = 1, #x.data do
        dir[i][e] = 2 * u() - 1
        if g then
          got = got + g.data[e] * dir[i][e]
          size = size + math.abs(g.data[e] * dir[i][e])
        end
      end
    end
    local function at(step)
      for i, x in ipairs(inputs) do
        if x.dtype == F64 and not x.fixed then
          local moved = { dtype = F64, data = {} }
          for e, v in ipairs(x.data) do moved.data[e] = v + step * dir[i][e] end
          write(refs[i], moved)
        end
      end
      local value = ffi.new "double[1]"
      local here = loss()
      realize { here }
      ok(C.frt_item(here, value))
      return value[0]
    end
    return { got, (at(h) - at(-h)) / (2 * h), size }
  end))
end

--- numbers of the gradient of sum(output 1) by each input; false where it does not depend on it
function M.gradients(op, inputs, attr)
  return clean("reference", function(vars)
    local refs, n, out, wanted = {}, #inputs, {}, {}
    for i, x in ipairs(inputs) do
      refs[i] = variable(x)
      vars[#vars + 1] = refs[i]
    end
    local grads = ffi.new("frt_ref[?]", n)
    local sum = record(M.ops().sum, { record(op, refs, attr)[1] }, { 63, 0 })[1]
    ok(C.frt_grad(sum, n, ffi.new("frt_ref[?]", n, refs), grads))
    for i = 0, n - 1 do
      if grads[i] ~= 0 then wanted[#wanted + 1] = grads[i] end
    end
    realize(wanted)
    for i = 1, n do out[i] = grads[i - 1] ~= 0 and read(grads[i - 1]).data end
    return out
  end)
end

--- the message of a refusal, or nil: recording only, nothing runs
function M.refusal(op, inputs, attr, n_out)
  local fine, why = pcall(clean, device.name, function(vars)
    local refs = {}
    for i, x in ipairs(inputs) do
      local data = x.data or {}
      for k = #data + 1, numel(x.dims) do data[k] = 0 end
      refs[i] = variable { dims = x.dims, dtype = x.dtype or F32, data = data }
      vars[#vars + 1] = refs[i]
    end
    record(op, refs, attr, n_out)
  end)
  return not fine and why or nil
end

--- inputs for the specs with literal numbers
function M.f32(dims, data) return { dims = dims, dtype = F32, data = data } end
function M.f64(dims, data) return { dims = dims, dtype = F64, data = data } end
function M.i32(dims, data) return { dims = dims, dtype = I32, data = data } end

--- true when numbers differ by at most `tolerance` (0); for assert.is_true, says which one does not
function M.near(want, got, tolerance)
  assert(#want == #got, ("%d numbers, should be %d"):format(#got, #want))
  for k, v in ipairs(want) do
    local same = got[k] == v or (v ~= v and got[k] ~= got[k]) or math.abs(got[k] - v) <= (tolerance or 0)
    if not same then error(("number %d is %.9g, should be %.9g"):format(k, got[k], v), 2) end
  end
  return true
end

return M
