-- bits.lua: tiny trainings, bits/*.lua, run by both trees on the same drawn photos: every loss and hashes of all weights. They
-- are hashed by name and value, so the format of checkpoints may change. One is killed and resumed, one runs on the plain-C
-- ops as well.
local here = ...
local trees = dofile(here .. "trees.lua")
local bits = {}

local NAMES = { "cache", "convnext", "efficientnet", "memory", "own", "resnet", "resume", "vit" }

-- the lines that a recipe's hooks print
local function lines_of(text)
  local out = {}
  for line in text:gmatch "bits ([^\n]*)\n" do out[#out + 1] = line end
  if #out == 0 then error("nothing was trained:\n" .. text, 0) end
  return out
end

local function train(tree, name, keep, photos, more)
  local run = keep .. "/run"
  os.execute("rm -rf " .. trees.quote(run))
  local line = ("%s %sbits/%s.lua --run %s --threads 2 -o data.root=%s%s"):format(tree.binary, trees.quote(here), name,
    trees.quote(run), trees.quote(photos), more or "")
  local text = ""
  if name == "resume" then
    text = trees.run("FOODRT_BASELINE_STOP=1 " .. line)
    line = line .. " --resume"
  end
  text = text .. trees.run(line)
  os.execute("rm -rf " .. trees.quote(run))
  return lines_of(text)
end

--- compares; out how many trainings differ, and that in words
function bits.run(new, old, keep, photos, only)
  local function of(tree)
    local out = {}
    local function add(title, lines)
      out[#out + 1] = ("== %s\n%s\n"):format(title, table.concat(lines, "\n"))
    end
    for _, name in ipairs(NAMES) do
      if not only or name:find(only, 1, true) then add(name, train(tree, name, keep, photos)) end
    end
    if not only then add("own on the reference", train(tree, "own", keep, photos, " --backend reference")) end
    return table.concat(out)
  end
  local was = only and of(old) or trees.kept(old, "bits", here, keep, of)
  return trees.compare(keep, was, of(new))
end

return bits
