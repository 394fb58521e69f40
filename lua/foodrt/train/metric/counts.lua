--- metric.counts: what metrics count of a batch, on the device: numbers of photos, or of photos per class; never a table of
--- classes by classes. Each is computed once, however many metrics ask for it.
---
---   n          photos with a label                   hits1, hits5  of them, those whose class is among the 1 or 5 first
---   support    [K] photos of each class              predicted     [K] photos taken for each class
---   tp         [K] photos of each class taken for it
---
--- Of equal logits the first class counts. A row with a logit that is not a number is never right.
local T = require "foodrt.tensor"
local base = require "foodrt.train.loss.base"

local NEVER = 1e9  -- before a label whose logit is not a number

local counts = {}
local View = {}

-- what is asked for by name is computed once: view.known, view.hits1, view.tp …
View.__index = function(self, key)
  local make = View[key]
  if not make then return nil end
  local value = make(self)
  self[key] = value
  return value
end

--- a batch as metrics see it: { logits [N, K] f32, labels [N] i32 (0: missing), classes = K, size = N }, and by name what is
--- listed above; also safe [N] (labels, 1 where missing), known [N] (1 where there is a label; b:mask(x) is x there, else 0),
--- pred [N], best (1 where the first class is right), before [N] (how many classes come before the label's).
function counts.view(logits, labels)
  local s = logits.shape
  if logits.dtype ~= "f32" then logits = logits:to "f32" end
  return setmetatable({ logits = logits, labels = labels, size = s[1], classes = s[2] }, View)
end

-- `some` is false where a loader says that no label is missing: then nothing needs a mask.
local function labelled(self)
  local safe, known = base.known(self.labels, self.logits)
  rawset(self, "safe", safe)
  rawset(self, "some", known or false)
end

function View:safe()
  labelled(self)
  return rawget(self, "safe")
end

function View:some()
  labelled(self)
  return rawget(self, "some")
end

function View:known()
  return self.some or T.api.ones { self.size }
end

local function mask(self, x)
  return self.some and x * self.some or x
end

function View:pred()
  return self.logits:argmax(2)
end

-- logits of the labels, [N, 1]
function View:own()
  return self.logits:gather(2, self.safe:reshape { self.size, 1 })
end

function View:best()
  return mask(self, self.before:lt(1))
end

-- Numbers of the classes as a row, kept: the latest widths are those of the run.
local rows = {}

local function numbers(classes)
  if not rows[classes] then
    local list = {}
    for k = 1, classes do list[k] = k end
    rows = { [classes] = T.var { shape = { 1, classes }, data = { list }, name = "metric.classes" } }
  end
  return rows[classes]
end

-- Those that are larger, and those that are as large and stand before it.
function View:before()
  local x, own = self.logits, self.own
  local first = numbers(self.classes):lt(self.safe:to("f32"):reshape { self.size, 1 })
  local n = (x:gt(own) + x:eq(own) * first):sum(2)
  return T.api.where(own:eq(own):reshape { self.size }, n, NEVER)
end

function View:n()
  return self.some and self.some:sum() or self.size
end

function View:hits1()
  return self.best:sum()
end

function View:hits5()
  return mask(self, self.before:lt(5)):sum()
end

function View:support()
  return self.safe:scatter_add(1, self.known, self.classes)
end

function View:predicted()
  return self.pred:scatter_add(1, self.known, self.classes)
end

function View:tp()
  return self.safe:scatter_add(1, self.best, self.classes)
end

--- names of the counts that are there.
counts.NAMES = { n = true, hits1 = true, hits5 = true, support = true, predicted = true, tp = true }

return counts
