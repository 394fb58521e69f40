--- grad: gradients. backward() records them and assigns them to the variables' .grad, which are variables
--- themselves; nothing is computed before the next realize.
local lib = require "foodrt.core.ffi"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local R = require "foodrt.tensor.record"
local list_length = require("foodrt.core.lists").length
local ffi, C, methods, api, mt = lib.ffi, lib.C, R.methods, R.api, R.mt

local count = ffi.new "int32_t[1]"
local leaves, grads, room = ffi.new("frt_ref[?]", 256), ffi.new("frt_ref[?]", 256), 256

local function make_room(n)
  if n > room then
    room = n * 2
    leaves, grads = ffi.new("frt_ref[?]", room), ffi.new("frt_ref[?]", room)
  end
end

--- t:requires_grad_(on = true): whether backward() computes t.grad. A computed tensor becomes a variable with
--- its value of now.
function methods.requires_grad_(t, on)
  if on == nil then on = true end
  if type(on) ~= "boolean" then err.user("requires_grad_: must be given a boolean, got %s", opt.show(on)) end
  R.settle(t)
  lib.check(C.frt_var_requires_grad(t.ref, on and 1 or 0))
  rawset(t, "wants_grad", on)
  return t
end

local function gradient(loss, n)
  if line.depth == 0 then line.capture() end
  local status = tonumber(R.retry(C.frt_grad, loss.ref, n, leaves, grads))
  if status ~= 0 then lib.check_late(status) end
end

--- the .grad variable of v, made on first use and kept: clearing v.grad frees nothing and allocates nothing.
local function grad_variable(v)
  local g = rawget(v, "grad_store")
  if not g then
    local name = v.name
    g = require("foodrt.tensor").var { shape = v.shape, dtype = v.dtype, name = name and name .. ".grad" }
    rawset(v, "grad_store", g)
  end
  return g
end

--- loss:backward(): for every variable with requires_grad that loss depends on, v.grad = gradient, or
--- v.grad + gradient where there is one already. v.grad = nil clears it. The loss is kept as an output of the
--- next plan.
function methods.backward(loss)
  make_room(256)
  count[0] = room
  local status = tonumber(C.frt_grad_leaves(loss.ref, count, leaves))
  if status == 0 and count[0] > room then
    make_room(count[0])
    count[0] = room
    status = tonumber(C.frt_grad_leaves(loss.ref, count, leaves))
  end
  lib.check(status)
  local n = count[0]
  if n == 0 then err.user "backward: the loss depends on no tensor that requires a gradient" end
  gradient(loss, n)
  local wrt = {}
  for i = 1, n do wrt[i] = R.variables[leaves[i - 1]] or false end  -- held: making variables may collect
  local values = R.wrap_all(grads, n)
  for i = 1, n do
    local v, g = wrt[i], values[i]
    if v and g then
      local store = grad_variable(v)
      if v.grad == nil then
        rawset(v, "grad", store)
      else
        g = v.grad + g
      end
      store:assign(g)
    end
  end
  loss:keep()
  return loss
end

--- frt.grad(loss, { a, b }): the gradients of loss by a and b, as a list; zeros where it does not depend on it.
function api.grad(loss, list)
  if getmetatable(loss) ~= mt then err.user("grad: 'loss' must be a tensor, got %s", opt.show(loss)) end
  if getmetatable(list) == mt then list = { list } end
  if type(list) ~= "table" or list_length("grad", nil, list) == 0 then err.user("grad: needs a list of tensors, got %s", opt.show(list)) end
  local n = #list
  make_room(n)
  for i, t in ipairs(list) do leaves[i - 1] = R.tensor_arg("grad", "wrt", t) end
  gradient(loss, n)
  local out = R.wrap_all(grads, n)
  for i = 1, n do out[i] = out[i] or api.zeros(list[i].shape, { dtype = list[i].dtype }) end
  return out
end

local detach = R.index "detach"

--- t:detach(): the same value, through which no gradient flows.
function methods.detach(t)
  R.input[0] = t.ref
  return R.one(detach, 1, 0)
end

--- t:clone(): a tensor with t's value of now (of a variable: whatever it becomes later).
function methods.clone(t)
  return t:reshape(t.shape)
end

local function detached(v)
  if getmetatable(v) == mt then return v:is_var() and v or v:detach() end
  if type(v) == "table" and getmetatable(v) == nil then
    local out = {}
    for k, x in pairs(v) do out[k] = detached(x) end
    return out
  end
  return v
end

local function all_detached(n, first, ...)
  if n == 0 then return end
  if n == 1 then return detached(first) end
  return detached(first), all_detached(n - 1, ...)
end

local function count_all(...)
  return all_detached(select("#", ...), ...)
end

--- frt.no_grad(fn, …): calls fn; what it returns (tensors, or tables of them) is detached.
function api.no_grad(fn, ...)
  if type(fn) ~= "function" then err.user("no_grad: must be given a function, got %s", opt.show(fn)) end
  return count_all(fn(...))
end
