--- glob: shell patterns over whole dotted components, for freezing, counting and rates per group.
---   glob.match("backbone.blocks.[0-3]", "backbone.blocks.2.1.conv_pw.weight")  -->  true: covers what is below
local err, lists = require "foodrt.core.err", require "foodrt.core.lists"
local glob = {}

local compiled = {}

local function compile(pattern)
  local out, i = {}, 1
  while i <= #pattern do
    local c = pattern:sub(i, i)
    local class = c == "[" and pattern:match("^%[([!%^]?[^%]]+)%]", i)
    if class then
      i = i + #class + 2
      class = class:gsub("^!", "^"):gsub("%%", "%%%%")
      out[#out + 1] = class:sub(1, 1) == "^" and "[^." .. class:sub(2) .. "]" or "[" .. class .. "]"
    else
      i = i + 1
      out[#out + 1] = c == "*" and "[^.]*" or c == "?" and "[^.]" or (c:gsub("%W", "%%%0"))
    end
  end
  local body = "^" .. table.concat(out)
  return { body .. "$", body .. "%." }
end

--- whether `pattern` covers `name` or something `name` lies below. `*` and `?` stay within one component,
--- `[0-3]` and `[!0-3]` stand for one character.
function glob.match(pattern, name)
  local p = compiled[pattern]
  if not p then
    p = compile(pattern)
    compiled[pattern] = p
  end
  return name:find(p[1]) ~= nil or name:find(p[2]) ~= nil
end

--- how much a pattern says: of two that cover a name, the one with more components wins, then the one with
--- more literal characters.
function glob.weight(pattern)
  local _, dots = pattern:gsub("%.", "")
  local literal = #(pattern:gsub("%[.-%]", ""):gsub("[%*%?]", ""))
  return dots * 1000 + literal
end

--- one glob or a list of them -> a list; `who`, and `key` where it is an option, name the caller in the error.
function glob.list(who, globs, key)
  if type(globs) == "string" then return { globs } end
  if type(globs) ~= "table" then err.user("%s: expected a glob or a list of globs, got %s", who, type(globs)) end
  for i = 1, lists.length(who, key, globs) do
    if type(globs[i]) ~= "string" then err.user("%s: glob %d must be a string, got %s", who, i, type(globs[i])) end
  end
  return globs
end

--- every glob must cover something in `names` (a list); returns the set of covered names.
function glob.covered(who, globs, names)
  local covered = {}
  for _, g in ipairs(globs) do
    local hit = false
    for _, name in ipairs(names) do
      if glob.match(g, name) then hit, covered[name] = true, true end
    end
    if not hit then
      local known = {}
      for _, name in ipairs(names) do
        while name do
          known[name] = true
          name = name:match "^(.*)%.[^.]*$"
        end
      end
      err.user("%s: '%s' matches nothing in the model%s", who, g, err.hint(g, known))
    end
  end
  return covered
end

return glob
