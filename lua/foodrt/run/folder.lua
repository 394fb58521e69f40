--- run.folder: what a run leaves behind: runs/NAME (a second run of that name is NAME-2), the recipe as it ran,
--- the files it required, its options, and metrics.jsonl, a JSON object a line.
local err = require "foodrt.core.err"
local folder = {}
local Folder = {}
Folder.__index = Folder

folder.BASE = "runs"

local function kind(path)
  return (require("foodrt.core.io").kind(path))
end

-- Whether a folder holds a run: then nothing in it may be overwritten.
local function holds_run(dir)
  for _, name in ipairs { "recipe.lua", "metrics.jsonl", "last.safetensors", "last.previous.safetensors", "best.safetensors" } do
    if kind(dir .. "/" .. name) then return true end
  end
  return false
end

-- Numbers of the runs of a name, by folder: { [1] = "runs/b4", [2] = "runs/b4-2" } and the highest.
local function runs_of(name)
  local found, last = {}, 0
  if kind(folder.BASE) ~= "folder" then return found, last end
  for _, dir in ipairs(require("foodrt.data.scan").folders(folder.BASE)) do
    local n = dir == name and 1 or dir:sub(1, #name + 1) == name .. "-" and tonumber(dir:match("^[1-9]%d*$", #name + 2))
    if n then
      found[n] = folder.BASE .. "/" .. dir
      last = math.max(last, n)
    end
  end
  return found, last
end

--- the folder for a new run: the one that was asked for, else the next of its name. It is made when the run begins.
function folder.choose(name, given)
  if given then
    local dir = #given > 1 and given:gsub("/+$", "") or given
    local what = kind(dir)
    if what and what ~= "folder" then error(("foodrt: --run %s: is no folder"):format(given), 0) end
    if what and holds_run(dir) then
      error(("foodrt: --run %s: holds a run already; --resume goes on with it"):format(given), 0)
    end
    return dir
  end
  local _, last = runs_of(name)
  return last == 0 and folder.BASE .. "/" .. name or ("%s/%s-%d"):format(folder.BASE, name, last + 1)
end

--- the newest run of a name, or the folder that was asked for; nil, message when there is none.
function folder.newest(name, given)
  if given then
    local dir = #given > 1 and given:gsub("/+$", "") or given
    if kind(dir) ~= "folder" then return nil, ("no run '%s' to resume"):format(given) end
    return dir
  end
  local found, last = runs_of(name)
  if last == 0 then return nil, ("no run of the name '%s' in '%s' to resume"):format(name, folder.BASE) end
  return found[last]
end

-- --- one run's folder ----------------------------------------------------------------------------------------
--- the folder with its metrics.jsonl open; lines after `keep` are cut off (a resumed run writes them again).
function folder.open(dir, keep)
  local self = setmetatable({ dir = dir, path = dir .. "/metrics.jsonl", lines = 0 }, Folder)
  if keep then
    local kept = {}
    local file = io.open(self.path, "rb")
    if file then
      for text in file:lines() do
        if #kept < keep then kept[#kept + 1] = text end
      end
      file:close()
    end
    self.lines = #kept
    kept[#kept + 1] = ""
    require("foodrt.core.io").replace(self.path, table.concat(kept, "\n"))
  end
  local file, why = io.open(self.path, "ab")
  if not file then error("foodrt: " .. why, 0) end
  self.file = file
  return self
end

--- makes the folder and writes what the run started from.
function folder.create(dir, r, options)
  local io_ = require "foodrt.core.io"
  io_.make_folders(dir)
  io_.replace(dir .. "/recipe.lua", r.source.text)
  for _, file in ipairs(r.source.files) do
    local path = dir .. "/files/" .. file.name:gsub("%.", "/") .. ".lua"
    io_.make_folders((path:match "^(.*)/"))
    io_.replace(path, file.text)
  end
  io_.replace(dir .. "/options.json", require("foodrt.core.json").encode(options) .. "\n")
  return folder.open(dir)
end

--- adds a line to metrics.jsonl.
function Folder:log(entry)
  local ok, why = self.file:write(require("foodrt.core.json").encode(entry), "\n")
  if ok then ok, why = self.file:flush() end
  if not ok then err.user("%s: %s", self.path, tostring(why)) end
  self.lines = self.lines + 1
end

function Folder:close()
  if self.file then self.file:close() end
  self.file = nil
end

return folder
