-- trees.lua: the two trees that the kit compares, this one and the reference; runs scripts in them and keeps what the
-- reference answered under build/baseline/, by its commit and by what was asked.
local trees = {}

function trees.fail(...)
  io.stderr:write("baseline: ", (...):format(select(2, ...)), "\n")
  os.exit(2)
end

function trees.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- the first line that a line of shell prints, or nil
function trees.line(command)
  local pipe = io.popen(command)
  local line = pipe:read "*l"
  pipe:close()
  return line
end

function trees.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

--- writes beside it, then renames: a kit that was stopped leaves no half answer.
function trees.write(path, text)
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
end

--- what a line of shell prints on both channels; an error where it fails
function trees.run(command)
  local pipe = io.popen("{ " .. command .. "; } 2>&1; echo status $?")
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)status (%d+)\n$"
  if status ~= "0" then error(command .. " failed:\n" .. (output or text), 0) end
  return output
end

local function real(dir)
  return trees.line("cd " .. trees.quote(dir) .. " 2>/dev/null && pwd -P")
end

-- "d27c7c6…" of a checkout; with changes that no commit holds "…-dirty"
local function commit(dir)
  local git = "git -C " .. trees.quote(dir) .. " "
  local id = trees.line(git .. "rev-parse --verify -q HEAD 2>/dev/null") or "unknown"
  local changed = trees.line(git .. "status --porcelain --untracked-files=no 2>/dev/null")
  return (id == "unknown" or changed) and id .. "-dirty" or id
end

--- a tree: { name, dir, commit, start }; start is its launcher, which builds what changed first. Then a script and its
--- arguments follow.
function trees.of(name, dir)
  local path = real(dir)
  if not path or not trees.read(path .. "/foodrt") then trees.fail("'%s' is no checkout of foodrt", dir) end
  local tree = { name = name, dir = path, commit = commit(path), start = trees.quote(path .. "/foodrt") }
  trees.run(tree.start .. " --version")
  tree.binary = trees.quote(path .. "/build/bin/foodrt")
  return tree
end

-- what an answer depends on besides the tree: the kit's files that ask, the photos and the machine
local function key(here, keep)
  return trees.line(("cd %s && { cat models.lua photos.lua plans*.lua bits.lua bits/*.lua %s/photos/sample.json; grep -m 1 "
    .. "'^model name' /proc/cpuinfo; grep -m 1 '^flags' /proc/cpuinfo; } | sha256sum"):format(trees.quote(here),
    trees.quote(keep))):sub(1, 16)
end

--- fn(tree), or what it returned when it was last asked of this commit.
--- in   what  "plans", "bits"
---      here  folder of the kit's files
---      keep  folder for answers
function trees.kept(tree, what, here, keep, fn)
  local path = ("%s/%s-%s-%s.txt"):format(keep, what, tree.commit, key(here, keep))
  local text = not tree.commit:find "dirty" and trees.read(path)
  if not text then
    text = fn(tree)
    if not tree.commit:find "dirty" then trees.write(path, text) end
  end
  return text
end

-- a text of "== TITLE" and lines below as { title -> lines }, and the titles in order
local function sections(text)
  local by, order, now = {}, {}, nil
  for line in text:gmatch "[^\n]+" do
    local title = line:match "^== (.*)$"
    if title then
      now = {}
      by[title], order[#order + 1] = now, title
    elseif now then
      now[#now + 1] = line
    end
  end
  return by, order
end

local SHOWN = 3  -- lines of each side, and sections of which they are shown

local function first_lines(keep, old, new)
  local a, b = keep .. "/reference.section", keep .. "/here.section"
  trees.write(a, table.concat(old, "\n") .. "\n")
  trees.write(b, table.concat(new, "\n") .. "\n")
  local pipe, n, shown = io.popen(("diff %s %s"):format(trees.quote(a), trees.quote(b))), 0, { ["<"] = 0, [">"] = 0 }
  for line in pipe:lines() do
    local side = line:match "^[<>]"
    if side then
      n, shown[side] = n + 1, shown[side] + 1
      if shown[side] <= SHOWN then print("    " .. line) end
    end
  end
  pipe:close()
  if n > SHOWN then print(("    %d lines in all (< reference, > here)"):format(n)) end
end

-- whether the reference could not do it ("error: …") and this tree can
local function mended(a, b)
  return a and b and a[1]:find "^error: " and not b[1]:find "^error: "
end

--- compares two texts of sections: a line for each group of titles (what stands before the comma) that is equal, the name
--- of each section that is not, with the first lines of some. What only the reference fails at is no difference.
--- out  how many sections differ, and that in words
function trees.compare(keep, old, new)
  local was, order = sections(old)
  local is, more = sections(new)
  for _, title in ipairs(more) do
    if not was[title] then order[#order + 1] = title end
  end
  if #order == 0 then trees.fail "nothing to compare: --only names none" end
  local groups, bad = {}, 0
  for _, title in ipairs(order) do
    local group = title:match "^[^,]*"
    if not groups[group] then
      groups[group] = { equal = 0, lines = 0 }
      groups[#groups + 1] = group
    end
    local a, b, g = was[title], is[title], groups[group]
    if a and b and table.concat(a, "\n") == table.concat(b, "\n") then
      g.equal, g.lines = g.equal + 1, g.lines + #b
    elseif mended(a, b) then
      print(("mended   %s: the reference says %s"):format(title, a[1]))
    else
      bad = bad + 1
      print(("DIFFERS  %s%s"):format(title, not a and ": only here" or not b and ": only in the reference" or ""))
      if a and b and bad <= SHOWN then first_lines(keep, a, b) end
    end
  end
  for _, group in ipairs(groups) do
    local g = groups[group]
    if g.equal > 0 then print(("equal    %-28s %2d of them, %d lines"):format(group, g.equal, g.lines)) end
  end
  return bad, bad == 0 and ("all %d equal"):format(#order) or ("%d of %d differ"):format(bad, #order)
end

return trees
