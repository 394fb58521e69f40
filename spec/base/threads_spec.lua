-- Compute threads: what OpenMP and the system refuse is counted before anybody counts on it, and said once.
local process = require "spec.support.process"

-- A ViT on noise: its products wait for each other's threads inside oneDNN. Prints what it makes of two images.
local VIT = [[
frt.manual_seed(1)
local m = frt.models.vit_tiny_patch16_224 { classes = 3 }
m:eval()
local y = m(frt.randn { 2, 3, 224, 224 }):softmax(2):totable()
for i = 1, 2 do print(("%.4f %.4f %.4f"):format(unpack(y[i]))) end
print(require("foodrt.core.ffi").C.frt_threads())
]]

local function run(env, before)
  local command = (before or "") .. "exec " .. process.command { "-e", VIT }
  local status, out, err = process.shell(command, { env = env })
  local values, threads = out:match "^(.*\n)(%d+)\n$"
  return { status = status, values = values, threads = tonumber(threads), err = err }
end

describe("compute threads", function()
  local right
  setup(function() right = run { OMP_NUM_THREADS = "1" } end)

  for name, case in pairs {
    ["OMP_THREAD_LIMIT=1"] = { { OMP_THREAD_LIMIT = "1", OMP_NUM_THREADS = "2" }, 1, "1 of 2 compute threads: OpenMP gives no more" },
    ["OMP_THREAD_LIMIT=2 of 4"] = { { OMP_THREAD_LIMIT = "2", OMP_NUM_THREADS = "4" }, 2, "2 of 4 compute threads" },
    ["OMP_MAX_ACTIVE_LEVELS=0"] = { { OMP_MAX_ACTIVE_LEVELS = "0", OMP_NUM_THREADS = "2" }, 1, "%(OMP_MAX_ACTIVE_LEVELS%)" },
    ["OMP_DYNAMIC=true"] = { { OMP_DYNAMIC = "true", OMP_NUM_THREADS = "3" }, 3 },
  } do
    it(("are counted: %s leaves %d, and the numbers are right"):format(name, case[2]), function()
      local got = run(case[1])
      assert.equal(0, got.status)
      assert.equal(right.values, got.values)
      assert.equal(case[2], got.threads)
      if case[3] then
        assert.is_truthy(got.err:find(case[3]), got.err)
        assert.is_nil(got.err:find("\n.", 1))  -- once
      else
        assert.equal("", got.err)
      end
    end)
  end

  it("are fewer where the system starts no more, and the process lives", function()
    -- address space for some stacks of 512 MB: a limit of processes refuses in the same way, but not to root
    local got = run({ OMP_NUM_THREADS = "16" }, "ulimit -s 524288; ulimit -v 3000000; ")
    assert.equal(0, got.status)
    assert.equal(right.values, got.values)
    assert.is_true(got.threads >= 1 and got.threads < 16)
    assert.is_truthy(got.err:find(("^foodrt: %d of 16 compute threads: the system starts no more"):format(got.threads)))
  end)

  it("sleep at once where others want the processors, and compute the same", function()
    local cpus = tonumber(io.popen("nproc"):read "*l")
    if cpus < 2 then return end
    -- multiplies until the two threads of the switch are there; ends then
    local code = [=[
      local function threads() return tonumber(io.open("/proc/self/status"):read("*a"):match "Threads:%s*(%d+)") end
      local x = frt.ones { 64, 64 }
      local first = x:matmul(x):sum():item()
      local before, ok = require("foodrt.core.ffi").C.frt_threads(), true
      repeat ok = ok and x:matmul(x):sum():item() == first until threads() >= before + 2
      print(ok, first)]=]  -- the process ends with those threads
    local line = "sh -c 'while :; do :; done' & a=$!; sh -c 'while :; do :; done' & b=$!; "
      .. process.command { "-e", code } .. "; s=$?; kill $a $b; exit $s"
    local status, out = process.shell("unset OMP_WAIT_POLICY GOMP_SPINCOUNT; " .. line, { env = { OMP_NUM_THREADS = tostring(cpus) } })
    assert.equal(0, status)
    assert.equal("true\t262144\n", out)
  end)

  it("asked for with 0 are as many as OMP_NUM_THREADS says", function()
    local code = "print(frt.set_threads(1), frt.set_threads(0), frt.set_threads(2))"
    local _, out = process.foodrt({ "-e", code }, { env = { OMP_NUM_THREADS = "3" } })
    assert.equal("1\t3\t2\n", out)
  end)
end)
