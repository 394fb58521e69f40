--- values: variables of random numbers, comparing nested tables of numbers, and what an error says without the folder of its
--- file.
local O, T = require "spec.support.op_case", require "foodrt.tensor"
local V = {}

--- a variable of numbers in mean - scale .. mean + scale (0, 1), the same for each seed.
function V.variable(shape, seed, mean, scale)
  local u, data = O.random(seed), {}
  for i = 1, O.numel(shape) do data[i] = (2 * u() - 1) * (scale or 1) + (mean or 0) end
  return T.var { shape = shape, data = data }
end

local function compare(got, want, tolerance, path)
  if type(want) == "table" then
    if type(got) ~= "table" or #got ~= #want then
      return ("%s: expected %d values, got %s"):format(path, #want, type(got) == "table" and #got or tostring(got))
    end
    for i = 1, #want do
      local why = compare(got[i], want[i], tolerance, path .. "[" .. i .. "]")
      if why then return why end
    end
    return nil
  end
  if type(got) ~= "number" then return ("%s: expected %g, got %s"):format(path, want, tostring(got)) end
  local close = got == want or (got ~= got and want ~= want) or math.abs(got - want) <= tolerance * (1 + math.abs(want))
  return not close and ("%s: expected %.9g, got %.9g"):format(path, want, got) or nil
end

--- fails unless the tensor (or table) `got` has the values `want`, within `tolerance` (0) of 1 + |want|.
function V.same(want, got, tolerance)
  if type(got) == "table" and getmetatable(got) then got = got:totable() end
  local why = compare(got, want, tolerance or 0, "value")
  if why then error(why, 2) end
end

--- the message of the error that fn raises, its file without folders: "x_spec.lua:12: add: …".
function V.message(fn, ...)
  local ok, message = pcall(fn, ...)
  if ok then error("expected an error", 2) end
  return (tostring(message):gsub("^[^:\n]*/", ""))
end

--- the same without its "file:line: ".
function V.why(fn, ...)
  return (V.message(fn, ...):gsub("^[^:]+:%d+: ", ""))
end

return V
