-- helper: runs before all specs, whichever interpreter runs them: the modules of this tree's build, and the device that
-- the specs are for.
if not package.loaded["foodrt.host"] then
  local build = os.getenv "FOODRT_BUILD" or "build"
  package.path = ("%s/share/foodrt/lua/?.lua;%s/share/foodrt/lua/?/init.lua;%s"):format(build, build, package.path)
end
local device = require "spec.support.device"
if device.name ~= "cpu" then device.home() end
