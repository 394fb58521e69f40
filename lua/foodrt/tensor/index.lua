--- index: picking by i32 tensors of 1-based positions, and class numbers as rows of 0 and 1.
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local R = require "foodrt.tensor.record"
local methods, input, attr = R.methods, R.input, R.attr

local I32 = R.DTYPE.i32

local function positions(name, key, idx)
  local ref = R.tensor_arg(name, key, idx)
  if R.info(idx).dtype ~= I32 then
    err.user("%s: '%s' must be an i32 tensor, got %s", name, key, R.DTYPE_NAME[R.info(idx).dtype])
  end
  return ref
end

--- x:index_select(dim, idx): the positions idx [n] of `dim`, in that order.
function methods.index_select(x, dim, idx)
  local d, ref = R.dim("index_select", dim, x:dim()), positions("index_select", "idx", idx)
  input[0], input[1], attr[0], attr[1] = x.ref, ref, d, 1
  return R.one(R.index "index_select", 2, 2)
end

--- x:gather(dim, idx): y[i][j] = x[i][idx[i][j]] along dim 2, and alike for the others.
function methods.gather(x, dim, idx)
  local d, ref = R.dim("gather", dim, x:dim()), positions("gather", "idx", idx)
  input[0], input[1], attr[0], attr[1] = x.ref, ref, d, 1
  return R.one(R.index "gather", 2, 2)
end

--- idx:scatter_add(dim, src, size): zeros with src[i] added at position idx[i] of `dim`, which has `size`.
function methods.scatter_add(idx, dim, src, size)
  local ref, d = positions("scatter_add", "idx", idx), R.dim("scatter_add", dim, idx:dim())
  R.integer("scatter_add", "size", size)
  input[0], input[1], attr[0], attr[1], attr[2] = ref, R.tensor_arg("scatter_add", "src", src), d, 1, size
  return R.one(R.index "scatter_add", 2, 3)
end

--- labels:one_hot { classes = 3 } or labels:one_hot(3): f32, 1 at the class number (from 1), else 0.
function methods.one_hot(idx, classes)
  local ref = positions("one_hot", "labels", idx)
  if type(classes) == "table" then
    R.known("one_hot", classes, { true, classes = true })
    classes = classes.classes or classes[1]
  end
  R.integer("one_hot", "classes", classes)
  if classes < 1 then err.user("one_hot: 'classes' must be at least 1, got %s", opt.show(classes)) end
  input[0], attr[0], attr[1] = ref, classes, 1
  return R.one(R.index "one_hot", 1, 2)
end
