--- hub: timm's weights by name: which file a name means, where it is kept, its licence, and fetching it.
---   local where = hub.find "efficientnet_b4.ra2_in1k"
---   local path, why = hub.get(where)      -- nil, why: offline, not there, licence not accepted …
---
--- Files lie in ${XDG_CACHE_HOME:-~/.cache}/foodrt/weights/timm/MODEL.TAG/: model.safetensors and config.json, which may be
--- put there by hand, and foodrt.json, which says what was fetched and whether the licence was accepted.
local cards, config, fetch = require "foodrt.models.cards", require "foodrt.models.config", require "foodrt.core.fetch"
local err, json = require "foodrt.core.err", require "foodrt.core.json"
local hub = {}

local ENDPOINT = "https://huggingface.co"
local FILE, CONFIG, NOTE = "model.safetensors", "config.json", "foodrt.json"
local MAX_CONFIG = 2 ^ 20

local function io_()
  return require "foodrt.core.io"
end

local function env(name)
  local v = os.getenv(name)
  return v ~= "" and v or nil
end

-- --- settings ---------------------------------------------------------------------------------------------------------
--- the hub's address: FOODRT_HUB (a mirror), else HF_ENDPOINT, else the hub itself; without a slash at its end.
function hub.endpoint()
  for _, name in ipairs { "FOODRT_HUB", "HF_ENDPOINT" } do
    local url = env(name)
    if url then
      if not url:find "^https?://[^/]" then
        error(("foodrt: %s must be an address such as https://mirror.example, got '%s'"):format(name, url), 0)
      end
      return (url:gsub("/+$", ""))
    end
  end
  return ENDPOINT
end

local NO = { ["0"] = true, ["false"] = true, ["no"] = true, ["off"] = true }

--- the variable that forbids the network ("FOODRT_OFFLINE"), nil when none does.
function hub.offline()
  for _, name in ipairs { "FOODRT_OFFLINE", "HF_HUB_OFFLINE" } do
    local v = env(name)
    if v and not NO[v:lower()] then return name end
  end
end

--- the folder in which weights are kept; nil, why.
function hub.cache()
  local base = env "XDG_CACHE_HOME"
  if not base or base:sub(1, 1) ~= "/" then
    local home = env "HOME"
    if not home then return nil, "neither XDG_CACHE_HOME nor HOME is set: there is no place to keep weights" end
    base = home .. "/.cache"
  end
  return base .. "/foodrt/weights"
end

-- --- names ------------------------------------------------------------------------------------------------------------
--- what a name means: { repo, model, tag, dir, path }; nil, why.
--- in   name   "efficientnet_b4" (its default tag), "efficientnet_b4.ra2_in1k", "timm/efficientnet_b4.ra2_in1k"
---      model  whose weights they must be; then "ra2_in1k" is enough, and nil stands for the default tag
function hub.find(name, model)
  local plain = name and name:gsub("^timm/", "") or model
  if not plain:find "^[%w_][%w_.-]*$" then return nil, ("'%s' is no name of weights such as timm/efficientnet_b4.ra2_in1k"):format(name) end
  local base, tag = plain:match "^([^.]+)%.(.+)$"
  if not base and model and not cards.known(plain) then
    base, tag = model, plain
  end
  base = base or plain
  if model and base ~= model then return nil, ("'%s' are weights of %s"):format(name, base) end
  if not cards.known(base) then return nil, ("no model '%s'%s"):format(base, err.hint(base, cards.names())) end
  tag = tag or cards.of(base).tag
  if not tag then return nil, ("there are no weights of %s under a default tag: name a tag or a file"):format(base) end
  local repo = ("timm/%s.%s"):format(base, tag)
  local cache, why = hub.cache()
  if not cache then return nil, why end
  local dir = cache .. "/" .. repo
  return { repo = repo, model = base, tag = tag, dir = dir, path = dir .. "/" .. FILE }
end

-- --- what is in the cache -----------------------------------------------------------------------------------------------
local function read_note(where)
  local file = io.open(where.dir .. "/" .. NOTE, "rb")
  if not file then return {} end
  local text = file:read(MAX_CONFIG) or ""
  file:close()
  local note = json.decode(text)
  return type(note) == "table" and note or {}
end

local function write_note(where, note)
  io_().replace(where.dir .. "/" .. NOTE, json.encode(note) .. "\n")
end

--- whether the weights are there, as long as they were when they were fetched.
function hub.cached(where)
  local kind, size = io_().kind(where.path)
  local note = read_note(where)
  return kind == "file" and (note.size == nil or note.size == size), note
end

-- --- licences ---------------------------------------------------------------------------------------------------------
local RESTRICTED = { "%-nc%f[%A]", "non%-?commercial", "research", "^dinov3" }

--- whether a licence allows less than any use.
function hub.restricted(licence)
  for _, pattern in ipairs(RESTRICTED) do
    if licence and licence:lower():find(pattern) then return true end
  end
  return false
end

--- the licence of weights: as their config.json says, else as it is known of their tag; nil: not known.
function hub.licence(where)
  local known = cards.licence(where.model, where.tag)
  local c = config.beside(where.path)
  local stated = c and c.license
  if hub.restricted(known) and not hub.restricted(stated) then return known end
  return stated or known
end

-- nil, or why the weights may not be used
local function forbidden(where, note, accept)
  local licence = hub.licence(where)
  if not hub.restricted(licence) or note.accepted == licence then return nil end
  if accept then
    note.accepted = licence
    local kept, why = pcall(write_note, where, note)  -- a cache that takes no files: it holds for this time
    if not kept then io.stderr:write(require("foodrt.core.text").safe(("the yes is not remembered: %s"):format(why)), "\n") end
    return nil
  end
  return ("%s are licensed %s, which does not allow every use: pretrained = { tag = \"%s\", accept_licence = true } says yes, "
    .. "or, once for all, foodrt weights get %s --accept-licence"):format(where.repo, licence, where.tag, where.repo)
end

-- --- fetching ---------------------------------------------------------------------------------------------------------
local function bring(where, name, o)
  local url = ("%s/%s/resolve/main/%s"):format(hub.endpoint(), where.repo, name)
  local done, why = fetch.file { url = url, path = where.dir .. "/" .. name, limit = o.limit, watch = o.watch,
    ready = o.ready }
  return done, why and ("%s of %s can't be fetched: %s"):format(name, where.repo, why)
end

local function by_hand(where)
  return ("; by hand, %s and %s go into %s/"):format(FILE, CONFIG, where.dir)
end

local function fetch_all(where, o)
  local there, note = hub.cached(where)
  if there then return where.path, nil, note end  -- another process has fetched it while this one waited
  local done, why = bring(where, CONFIG, { limit = MAX_CONFIG })
  if not done then return nil, why .. by_hand(where) end
  if not config.beside(where.path) then
    return nil, ("%s of %s is not JSON: %s is no hub"):format(CONFIG, where.repo, hub.endpoint())
  end
  why = forbidden(where, note, o.accept)
  if why then return nil, why end
  if o.say then o.say(("%s: licence %s"):format(where.repo, hub.licence(where) or "not stated")) end
  done, why = bring(where, FILE, { watch = o.watch, ready = function(found)
    note.size, note.sha256, note.checked = found.size, found.sha256, found.checked
    write_note(where, note)  -- before the file is there: nobody sees one without the other
  end })
  if not done then return nil, why .. by_hand(where) end
  return where.path, nil, note
end

-- fetches alone: other processes that want the same wait
local function fetch_locked(where, o)
  local made, why = pcall(io_().make_folders, where.dir)
  if made then made, why = pcall(io_().writable, where.dir) end
  if not made then
    return nil, ("%s of %s is not here, and the cache takes no files (%s): XDG_CACHE_HOME=FOLDER names another, or "
      .. "pretrained = \"FILE\" the weights themselves"):format(FILE, where.repo, why)
  end
  local told = false
  local path, cant, note = io_().locked(where.dir .. "/.lock", function()
    local path, cant, note = fetch_all(where, o)
    return path, cant, note
  end, function()
    if not told and o.say then o.say(("%s: another process is fetching it, waiting"):format(where.repo)) end
    told = true
  end)
  return path, cant, note
end

--- the file of weights, fetched where it isn't there yet.
--- in   where      as hub.find gives it
---      o.accept   the licence is accepted, whatever it is; remembered for this tag
---      o.say      takes a line to show; o.watch(done, total) is called with bytes while something is fetched
--- out  path, nil, note = { size, sha256, checked, accepted }; nil, why, in one line that says what to do
function hub.get(where, o)
  o = o or {}
  local there = hub.cached(where)
  local offline = hub.offline()
  if not there and offline then
    return nil, ("%s of %s is not here, and %s is set%s"):format(FILE, where.repo, offline, by_hand(where))
  end
  local path, why, note
  if not there then
    path, why, note = fetch_locked(where, o)
    if not path then return nil, why end
  end
  note = note or select(2, hub.cached(where))
  why = forbidden(where, note, o.accept)
  if why then return nil, why end
  return where.path, nil, note
end

return hub
