--- fused: what the planner made one step of, and what it did not and why, from a plan (see tensor/plan.lua).
---   for _, row in ipairs(fused.lines(frt.explain(loss))) do print(row) end
local text = require "foodrt.core.text"
local fused = {}

-- Notes of kernels that say how a step is computed, not what is in it; ops that are nobody's fusion.
local HOW = { ["matrix product"] = true, ["own depthwise"] = true, again = true }
local PLAIN = { fused_copy = true, fused_layout = true }
local NAMED = { fused_mul_sum = "product and sum in one pass", fused_bn_stats = "statistics in a pass of their own",
  fused_bn_apply = "batch norm in a pass of its own" }

-- The planner's own ops as their users know them.
local NAMES = { bn_apply = "batch_norm", bn_stats = "batch_norm", bn_act_grad = "batch_norm_grad", load_sum = "sum",
  mul_sum = "sum", chain = "elementwise" }

local function name_of(op)
  local short = op:gsub("^fused_", "")
  return NAMES[short] or short
end

-- what a step is made of, or nil
local function parts_of(s)
  if PLAIN[s.op] or s.op == "fused_chain" and not s.note:find " " then return nil end
  if s.note ~= "" and not HOW[s.note] then return s.note end
  return NAMED[s.op]
end

local function counted(list, key_of, make)
  local by, order = {}, {}
  for _, one in ipairs(list) do
    local key = key_of(one)
    if key and not by[key] then
      by[key] = make(one)
      by[key].n, by[key].where = 0, {}
      order[#order + 1] = by[key]
    end
    if key then
      local row = by[key]
      row.n = row.n + 1
      local at = one.scope ~= "" and one.scope or one.line
      if at ~= "" then row.where[#row.where + 1] = at end
    end
  end
  table.sort(order, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return key_of(a) < key_of(b)
  end)
  return order
end

--- what was fused: { { op, note, n, where = { module or line of each } }, … }, the most frequent first.
function fused.done(plan)
  return counted(plan, function(s)
    local parts = s.n and s.note or parts_of(s)
    return parts and name_of(s.op) .. "\0" .. parts
  end, function(s) return { op = name_of(s.op), note = parts_of(s) } end)
end

--- what was not: { { op, what, why, by, line, n, where }, … }; line is the recipe's of the first.
function fused.missed(plan)
  return counted(plan.missed, function(m) return table.concat({ m.op, m.what, m.why, m.by }, "\0") end,
    function(m) return { op = name_of(m.op), what = m.what, why = m.why, by = name_of(m.by), line = m.line } end)
end

local function place(row)
  return text.some(row.where, 2) .. (row.line and row.line ~= "" and row.line ~= row.where[1] and "  " .. row.line or "")
end

--- both as lines: what was fused, then what was not.
function fused.lines(plan)
  local done, missed = { { "fused" } }, { { "not fused" } }
  for i, f in ipairs(fused.done(plan)) do done[i + 1] = { "  " .. f.n, f.op, f.note } end
  for i, m in ipairs(fused.missed(plan)) do
    missed[i + 1] = { "  " .. m.n, m.op, m.what, m.why .. (m.by ~= "" and ", by " .. m.by or ""), place(m) }
  end
  if #done == 1 then done[2] = { "  nothing" } end
  if #missed == 1 then missed[2] = { "  nothing that was looked for" } end
  local out = {}
  for _, rows in ipairs { done, missed } do
    out[#out + 1] = rows[1][1]
    table.remove(rows, 1)
    for _, line in ipairs(text.columns(rows)) do out[#out + 1] = line end
  end
  return out
end

return fused
