-- device: the device that the specs are run on: "cpu", or what `foodrt test --device NAME` says (FOODRT_TEST_DEVICE).
--   device.name          "cpu"
--   device.both          it and "reference", once each
--   device.home()        back to it, after a spec has used another
--   local it = device.cpu_only(it, pending)    for what asserts kernels or fusions of the CPU: skipped elsewhere
local device = {}

local name = os.getenv "FOODRT_TEST_DEVICE"
device.name = name and name ~= "" and name or "cpu"

device.both = device.name == "reference" and { "reference" } or { "reference", device.name }

function device.home()
  local lib = require "foodrt.core.ffi"
  lib.check(lib.C.frt_device_use(device.name))
end

function device.cpu_only(it, pending)
  if device.name == "cpu" then return it end
  return function(what) pending(what .. " (cpu only)") end
end

return device
