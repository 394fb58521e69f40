--- machine: how much memory this process may still take: what is free, what the control groups leave, and the limits that
--- were set for the process (ulimit -v, ulimit -d).
---   local free, where = machine.available()
local read = require("foodrt.core.file").read
local machine = {}

-- what a control group leaves: its limit less what is used and can't be dropped
local function left_in(dir, limit_file, usage_file, cache_key)
  local limit, usage = tonumber(read(dir .. limit_file) or ""), tonumber(read(dir .. usage_file) or "")
  if not limit or not usage or limit >= 2 ^ 60 then return nil end
  local cache = tonumber((read(dir .. "/memory.stat") or ""):match("%f[%w_]" .. cache_key .. " (%d+)")) or 0
  return math.max(0, limit - math.max(0, usage - cache))
end

-- visits `path` and its parents below `root`
local function climb(root, path, visit)
  while true do
    visit(root .. (path == "/" and "" or path))
    if path == "/" or path == "" then return end
    path = path:match "^(.*)/[^/]*$"
    if path == "" then path = "/" end
  end
end

-- what a limit of the process leaves: `name` as /proc/self/limits has it, `key` of /proc/self/status
local function left_of(root, name, key)
  local limit = tonumber((read(root .. "/proc/self/limits") or ""):match(name .. "%s+(%d+)"))
  local used = tonumber((read(root .. "/proc/self/status") or ""):match(key .. ":%s*(%d+)"))
  return limit and used and math.max(0, limit - used * 1024)
end

--- bytes this process may still take, and what sets the limit: "memory", "control group", "ulimit -v" or "ulimit -d".
--- in   root  "" but in specs: where /proc and /sys are
function machine.available(root)
  root = root or ""
  local free = tonumber((read(root .. "/proc/meminfo") or ""):match "MemAvailable:%s*(%d+)")
  local best, where = free and free * 1024 or math.huge, "memory"
  local function offer(n, what)
    if n and n < best then best, where = n, what end
  end
  for id, controllers, path in (read(root .. "/proc/self/cgroup") or ""):gmatch "(%d+):([^:\n]*):([^\n]*)" do
    if id == "0" and controllers == "" then
      climb(root .. "/sys/fs/cgroup", path, function(dir)
        offer(left_in(dir, "/memory.max", "/memory.current", "inactive_file"), "control group")
      end)
    elseif controllers == "memory" then
      climb(root .. "/sys/fs/cgroup/memory", path, function(dir)
        offer(left_in(dir, "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"), "control group")
      end)
    end
  end
  offer(left_of(root, "Max address space", "VmSize"), "ulimit -v")
  offer(left_of(root, "Max data size", "VmData"), "ulimit -d")
  return best, where
end

return machine
