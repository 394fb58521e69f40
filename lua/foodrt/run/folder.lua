--- run.folder: what a run leaves behind: runs/NAME (a second run of that name is NAME-2), the recipe as it ran,
--- the files it required, its options, and metrics.jsonl, a JSON object a line.
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

-- --- whose a folder is -----------------------------------------------------------------------------------------
local Claim = {}
Claim.__index = Claim

-- Takes a folder that is there for this process; an error that begins with `what` when another one has it.
local function claim(dir, what)
  local lib = require "foodrt.core.ffi"
  local path, held = dir .. "/.lock", lib.ffi.new "int32_t[1]"
  if lib.C.frt_claim(path, 1, held) ~= 0 then error(("foodrt: %s: %s"):format(what, lib.ffi.string(lib.C.frt_error_last())), 0) end
  return setmetatable({ dir = dir, path = path, held = held[0] }, Claim)
end

--- the folder is anybody's again; one that nothing was written to is removed.
function Claim:release()
  if not self.held then return end
  local C = require("foodrt.core.ffi").C
  C.frt_claim_end(self.path, self.held)
  self.held = nil
  if self.made then C.frt_folder_drop(self.dir) end
end

-- Makes a folder; false when it is there.
local function make(dir)
  local lib = require "foodrt.core.ffi"
  local status = tonumber(lib.C.frt_folder_new(dir))
  if status == 0 then return true end
  if status == tonumber(lib.C.FRT_ESTATE) then return false end
  error("foodrt: " .. lib.ffi.string(lib.C.frt_error_last()), 0)
end

local function given_folder(given)
  local dir = #given > 1 and given:gsub("/+$", "") or given
  local made = not kind(dir) and make(dir)
  if kind(dir) ~= "folder" then error(("foodrt: --run %s: is no folder"):format(given), 0) end
  local c = claim(dir, "--run " .. given)
  c.made = made
  if holds_run(dir) then
    c:release()
    error(("foodrt: --run %s: holds a run already; --resume goes on with it"):format(given), 0)
  end
  return c
end

--- the folder for a new run, made and claimed: the one that was asked for, else the next of its name. out: { dir, release() }
function folder.choose(name, given)
  if given then
    local c = given_folder(given)
    return c
  end
  local _, last = runs_of(name)
  while true do  -- of several that begin at once each makes another one
    last = last + 1
    local dir = last == 1 and folder.BASE .. "/" .. name or ("%s/%s-%d"):format(folder.BASE, name, last)
    if make(dir) then
      local c = claim(dir, dir)
      c.made = true
      return c
    end
  end
end

--- claims a run that is there. out: as of choose
function folder.claim(dir)
  local c = claim(dir, "--resume: " .. dir)
  return c
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

--- the name of the runs that a recipe's file made, as their options.json say; nil when there are none.
function folder.made_by(path)
  if kind(folder.BASE) ~= "folder" then return nil end
  local file, json = require "foodrt.core.file", require "foodrt.core.json"
  for _, dir in ipairs(require("foodrt.data.scan").folders(folder.BASE)) do
    local options = json.decode(file.read(("%s/%s/options.json"):format(folder.BASE, dir)) or "")
    if options and options.recipe == path then return (dir:gsub("%-%d+$", "")) end
  end
end

-- --- one run's folder ----------------------------------------------------------------------------------------
-- the whole lines of a metrics file: one that was cut (a full disk, a crash of the machine) is no JSON and doesn't count
local function whole_lines(path, most)
  local json = require "foodrt.core.json"
  local text, kept, n = require("foodrt.core.file").read(path) or "", {}, 0
  for line in text:gmatch "([^\n]*)\n" do
    n = n + 1
    if n > most then break end
    if json.decode(line) then kept[#kept + 1] = line end
  end
  return kept
end

--- the folder of a run, for its metrics.jsonl; lines after `keep` are cut off (a resumed run writes them again).
function folder.open(dir, keep)
  local self = setmetatable({ dir = dir, path = dir .. "/metrics.jsonl", lines = 0 }, Folder)
  local io_ = require "foodrt.core.io"
  if keep then
    local kept = whole_lines(self.path, keep)
    self.lines = #kept
    kept[#kept + 1] = ""
    io_.replace(self.path, table.concat(kept, "\n"))
  else
    io_.append(self.path, "")
  end
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

--- adds a line to metrics.jsonl: all of it, or an error and none of it.
function Folder:log(entry)
  require("foodrt.core.io").append(self.path, require("foodrt.core.json").encode(entry) .. "\n")
  self.lines = self.lines + 1
end

--- what was logged is on disk.
function Folder:close()
  if not self.closed and kind(self.path) == "file" then require("foodrt.core.io").append(self.path, "", true) end
  self.closed = true
end

return folder
