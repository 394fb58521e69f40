-- hub: starts spec/support/hub_server.lua and puts weights into it.
--   local server = hub.start();  server:put("resnet18.a1_in1k", { behaviour = "cut once" });  server:stop()
local process = require "spec.support.process"
local hub = {}
local Server = {}
Server.__index = Server

local read = process.read

--- a running server: { dir, url, env = what makes foodrt use it, with a cache of its own }
function hub.start()
  local dir = process.temp_dir()
  local self = setmetatable({ dir = dir, root = dir .. "/served", cache = dir .. "/cache" }, Server)
  os.execute(("mkdir -p '%s' '%s'"):format(self.root, self.cache))
  local pipe = io.popen(("%s >'%s/out' 2>&1 & echo $!"):format(process.command { "spec/support/hub_server.lua", self.root }, dir))
  self.pid = pipe:read "*l"
  pipe:close()
  for _ = 1, 1000 do
    self.port = read(self.root .. "/port")
    if self.port then break end
    os.execute "sleep 0.02"
  end
  assert(self.port, "the server does not start: " .. (read(dir .. "/out") or ""))
  self.url = "http://127.0.0.1:" .. self.port
  self.env = { FOODRT_HUB = self.url, FOODRT_OFFLINE = "0", HF_HUB_OFFLINE = "0", XDG_CACHE_HOME = self.cache, NO_PROXY = "127.0.0.1",
    no_proxy = "127.0.0.1", FOODRT_HUB_TIMEOUT = "20" }
  return self
end

function Server:stop()
  os.execute("kill -9 " .. self.pid .. " 2>/dev/null")
  process.remove(self.dir)
end

--- offers weights timm/NAME.
--- in   o.text or o.file  what model.safetensors is; o.config  text of config.json; o.behaviour  see hub_server.lua
function Server:put(name, o)
  local dir = ("%s/timm/%s"):format(self.root, name)
  os.execute(("mkdir -p '%s'"):format(dir))
  process.write(dir .. "/model.safetensors", o.text or read(o.file))
  process.write(dir .. "/config.json", o.config or ('{"architecture":"%s","pretrained_cfg":{"license":"apache-2.0"}}'):format(
    name:match "^[^.]+"))
  self:behave(name, o.behaviour)
end

--- how NAME is served from now on.
function Server:behave(name, behaviour)
  local path = ("%s/timm/%s/behaviour"):format(self.root, name)
  if behaviour then process.write(path, behaviour) else os.remove(path) end
end

--- the requests since the last call, a line each.
function Server:log()
  local text = read(self.root .. "/log") or ""
  os.remove(self.root .. "/log")
  return text
end

--- where NAME is kept.
function Server:path(name, file)
  return ("%s/foodrt/weights/timm/%s/%s"):format(self.cache, name, file or "model.safetensors")
end

--- runs foodrt with this hub: exit status, stdout, stderr
function Server:foodrt(args, o)
  o = o or {}
  local env = {}
  for k, v in pairs(self.env) do env[k] = v end
  for k, v in pairs(o.env or {}) do env[k] = v end
  local status, out, err = process.foodrt(args, { env = env, dir = o.dir, timeout_s = o.timeout_s })
  return status, out, err
end

hub.read = read
return hub
