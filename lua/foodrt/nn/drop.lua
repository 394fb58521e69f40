--- drop: Dropout and DropPath. The numbers drawn follow from (seed, step, sample, module path, call), so any
--- step can be reproduced alone.
local rng = require "foodrt.core.rng"
local module = require "foodrt.nn.module"
local class = module.class
local nn = {}

-- 0 or 1/(1-p) for each element of `shape`
local function mask(self, shape, p)
  local outer = rng.path
  rng.path = self._path
  local u = rng.uniform(shape)
  rng.path = outer
  return u:ge(p) * (1 / (1 - p))
end

--- nn.Dropout: zeroes a share p of the elements in training and scales the rest by 1/(1-p).
---   nn.Dropout { 0.4 }
--- in   x  f32, any shape whose first dimension is the photos
--- out  y  f32, the same shape; x itself in evaluation
--- from Srivastava et al. 2014
local Dropout
Dropout, nn.Dropout = class { "Dropout", "p", p = { "number", 0.5, min = 0, max = 0.999 } }

function Dropout:forward(x)
  if not self.training or self._dry or self.p == 0 then return x end
  return x * mask(self, x.shape, self.p)
end

--- nn.DropPath: drops a whole residual branch per photo in training (stochastic depth).
---   x = self.drop_path(branch) + x
--- in   x  f32 [N, ...]
--- out  y  f32, photos kept are scaled by 1/(1-p); x itself in evaluation
--- from Huang et al. 2016 (arXiv:1603.09382)
local DropPath
DropPath, nn.DropPath = class { "DropPath", "p", p = { "number", 0, min = 0, max = 0.999 } }

function DropPath:forward(x)
  if not self.training or self._dry or self.p == 0 then return x end
  local shape = x.shape
  for d = 2, #shape do shape[d] = 1 end
  return x * mask(self, shape, self.p)
end

return nn
