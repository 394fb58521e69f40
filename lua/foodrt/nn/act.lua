--- act: activations as modules, for chains; inside a forward function write x:silu().
local class = require "foodrt.nn.module".class
local nn = {}

--- nn.SiLU, nn.ReLU and the others without options: f(x) of each element.
---   nn.Chain { nn.Linear { 64 }, nn.ReLU {}, nn.Linear { "classes" } }
--- in   x  f32, any shape
--- out  y  f32, the same shape
local PLAIN = {  -- class, tensor method, formula
  { "SiLU", "silu", "x * sigmoid(x)" },
  { "ReLU", "relu", "max(x, 0)" },
  { "ReLU6", "relu6", "min(max(x, 0), 6)" },
  { "Sigmoid", "sigmoid", "1 / (1 + exp(-x))" },
  { "Tanh", "tanh", "hyperbolic tangent" },
  { "Hardswish", "hardswish", "x * relu6(x + 3) / 6" },
  { "Hardsigmoid", "hardsigmoid", "relu6(x + 3) / 6" },
  { "Mish", "mish", "x * tanh(softplus(x))" },
  { "Softplus", "softplus", "log(1 + exp(x))" },
}

for _, a in ipairs(PLAIN) do
  local name, method = a[1], a[2]
  local Act
  Act, nn[name] = class { name }
  function Act:forward(x) -- luacheck: no self
    return (x[method](x))
  end
end

--- nn.GELU: x times the normal distribution function.
---   nn.GELU {}    nn.GELU { approximate = "tanh" }
--- in   x  f32
--- out  y  f32
--- from Hendrycks and Gimpel 2016 (arXiv:1606.08415)
local GELU
GELU, nn.GELU = class { "GELU", approximate = { "string", "none", one_of = { "none", "tanh" } } }

function GELU:forward(x)
  if self.approximate == "tanh" then return (x:gelu_tanh()) end
  return (x:gelu())
end

--- nn.LeakyReLU: x where positive, else negative_slope * x.
---   nn.LeakyReLU { 0.1 }
--- in   x  f32
--- out  y  f32
local LeakyReLU
LeakyReLU, nn.LeakyReLU = class { "LeakyReLU", "negative_slope", negative_slope = { "number", 0.01 } }

function LeakyReLU:forward(x)
  return (x:leaky_relu(self.negative_slope))
end

--- nn.ELU: x where positive, else alpha * (exp(x) - 1).
---   nn.ELU {}
--- in   x  f32
--- out  y  f32
local ELU
ELU, nn.ELU = class { "ELU", "alpha", alpha = { "number", 1 } }

function ELU:forward(x)
  return (x:elu(self.alpha))
end

--- nn.Softmax: exponentials that sum to 1 along a dimension (default 2, the classes).
---   nn.Softmax {}
--- in   x  f32
--- out  y  f32
local Softmax
Softmax, nn.Softmax = class { "Softmax", "dim", dim = { "integer", 2 } }

function Softmax:forward(x)
  return (x:softmax(self.dim))
end

return nn
