-- plans.lua: the plans of models.lua's models and of all recipes, as text, in both trees. Plans of equal text run the same
-- kernels on the same bytes: nearly equal speed, nearly equal bits, known in seconds.
local here = ...
local trees = dofile(here .. "trees.lua")
local plans = {}

-- Words that were changed on purpose since the reference: { old, new, why }, plain texts of the reference's lines.
local RENAMED = {
  { "fused_half", "fused_store", "a conversion between stores, of which bf16 is one" },
}

-- What `explain --json` says of the machine of this moment and of the model's memory limit, not of plans.
local PASSING = { available = true, limit = true, fits = true, advice = true, fitting = true }

local function model_plans(tree, names, photos)
  local out = {}
  for _, name in ipairs(names) do
    for _, kind in ipairs { "plain", "checkpoint" } do
      out[#out + 1] = trees.run(("%s %splans_worker.lua %s %s %s"):format(tree.binary, trees.quote(here), trees.quote(name), kind,
        trees.quote(photos)))
    end
  end
  return table.concat(out)
end

-- each recipe of the tree as explain shows it to programs, a line for each key
local function recipe_plans(tree)
  local out = {}
  -- an ensemble has no plan of its own
  local list = trees.run(("cd %s && ls recipes | grep -v ^ensemble"):format(trees.quote(tree.dir)))
  for name in list:gmatch "([%w_]+)%.lua\n" do
    local text = trees.run(("cd %s && %s explain recipes/%s.lua --json --fused --threads 2 -o data.root=nowhere"):format(
      trees.quote(tree.dir), tree.binary, name))
    out[#out + 1] = ("== recipe %s"):format(name)
    for line in text:gsub(',("[%w_]+":)', "\n%1"):gmatch "[^\n]+" do
      if not PASSING[line:match '^"([%w_]+)":'] then out[#out + 1] = line end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

local function renamed(text)
  for _, r in ipairs(RENAMED) do
    text = text:gsub(r[1]:gsub("%p", "%%%0"), (r[2]:gsub("%%", "%%%%")))
  end
  return text
end

--- compares; out how many plans differ, and that in words
function plans.run(new, old, keep, photos, only)
  local names = {}
  for _, m in ipairs(dofile(here .. "models.lua").list) do
    if not only or m.name:find(only, 1, true) then names[#names + 1] = m.name end
  end
  local function of(tree)
    return model_plans(tree, names, photos) .. (only and "" or recipe_plans(tree))
  end
  local was = only and of(old) or trees.kept(old, "plans", here, keep, of)
  return trees.compare(keep, renamed(was), of(new))
end

return plans
