--- refuse: a machine that refuses files and breaks off listings, for specs (refuse.c says how).
---   local env = refuse.env(dir, { REFUSE_OPEN = "pizza/03", REFUSE_ERRNO = "5" })   -- nil where it can't be built
local process = require "spec.support.process"
local refuse = {}

--- in   dir   where the library is built, once
---      what  variables of refuse.c
--- out        an environment for process.foodrt; nil without a C compiler, and where sanitizers want to be first
function refuse.env(dir, what)
  local library = dir .. "/refuse.so"
  if not process.read(library) then
    if process.binary:find("build-asan", 1, true) then return nil end
    local done = os.execute(("cc -shared -fPIC -O1 -o '%s' spec/support/refuse.c -ldl 2>'%s/cc'"):format(library, dir))
    if done ~= 0 and done ~= true then return nil end
  end
  local env = { LD_PRELOAD = library }
  for key, v in pairs(what) do env[key] = v end
  return env
end

return refuse
