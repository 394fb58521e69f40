--- run.trust: which recipes in checkpoints are this user's own. A checkpoint holds the text of its recipe; going on with a run
--- runs it with all the user's rights. It is run without a question where it is, letter for letter, the recipe that the command
--- line names, or what this user has run before: the SHA-256 of all that would be run (recipe, the files it requires, their names,
--- overrides) and the run's folder are remembered in ${XDG_STATE_HOME:-~/.local/state}/foodrt/runs, a line each. A copy of one's
--- own run is one's own: what is trusted is the text, not the place.
---   trust.remember("runs/b4", meta);   trust.check { dir = "runs/b4", meta = meta, recipe = "b4.lua" }
local trust = {}

local function file_of()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if state and state:sub(1, 1) == "/" then return state .. "/foodrt/runs" end
  if home and home ~= "" then return home .. "/.local/state/foodrt/runs" end
  return nil
end

--- SHA-256 of everything in a checkpoint's metadata that is run: the recipe's text and name, files that it requires, overrides.
function trust.digest(meta)
  local lib, parts = require "foodrt.core.ffi", {}
  local function add(v)
    local text = tostring(v)
    parts[#parts + 1] = ("%s %d:%s"):format(type(v), #text, text)
  end
  add(meta.recipe_path)
  add(meta.recipe_text)
  add(meta.sample == true)
  for _, f in ipairs(type(meta.files) == "table" and meta.files or {}) do
    if type(f) ~= "table" then f = {} end
    for _, key in ipairs { "name", "path", "text" } do add(f[key]) end
  end
  add "overrides"
  for _, o in ipairs(type(meta.overrides) == "table" and meta.overrides or {}) do
    if type(o) ~= "table" then o = {} end
    add(o[1])
    add(o[2])
  end
  local text, out = table.concat(parts), lib.ffi.new "char[65]"
  lib.C.frt_sha256(text, #text, out)
  return lib.ffi.string(out)
end

local function line_of(dir, meta)
  local path = require("foodrt.core.io").real(dir)
  return path and trust.digest(meta) .. " " .. path
end

-- whether a line begins with this
local function remembered(start)
  local path = file_of()
  local file = path and io.open(path, "rb")
  if not file then return false end
  for known in file:lines() do
    if known:sub(1, #start) == start then
      file:close()
      return true
    end
  end
  file:close()
  return false
end

--- remembers that a run of this user's is made of this. Returns nil and why where that can't be written.
function trust.remember(dir, meta)
  local path, line = file_of(), line_of(dir, meta)
  if not path then return nil, "there is no home folder" end
  if not line or line:find "\n" then return nil, "its folder has no name that can be kept" end
  if remembered(line) then return true end
  local ok, why = pcall(function()
    local io_ = require "foodrt.core.io"
    io_.make_folders((path:match "^(.*)/"))
    io_.append(path, line .. "\n")
  end)
  if not ok then return nil, (tostring(why):gsub("^foodrt: ", "")) end
  return true
end

-- Whether a checkpoint's recipe is what lies on the disk under the name that the command line gives: what it requires too.
local function same_as(meta, path)
  local read = require("foodrt.core.file").read
  if type(meta.recipe_text) ~= "string" or meta.recipe_path ~= path or read(path) ~= meta.recipe_text then return false end
  if type(meta.files) ~= "table" then return false end
  for _, f in ipairs(meta.files) do
    local found, text = require("foodrt.train.recipe").find(path, type(f) == "table" and f.name)
    if not found or found ~= f.path or text ~= f.text then return false end
  end
  return true
end

--- an error that says the way out unless what a checkpoint holds may be run.
--- in   o.dir, o.meta   the run's folder, the checkpoint's metadata
---      o.recipe        the recipe's file as the command line names it
---      o.trusted       --trust was given
function trust.check(o)
  if o.trusted or same_as(o.meta, o.recipe) then return end
  if remembered(trust.digest(o.meta) .. " ") then return end
  error(("foodrt: --resume: the recipe in %s's checkpoint is none that you have run, nor is it %s as it is now; going on runs its "
    .. "Lua with all your rights: --trust does so"):format(o.dir, o.recipe), 0)
end

return trust
