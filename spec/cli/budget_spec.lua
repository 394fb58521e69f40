-- budget: what /proc and the control groups leave.
local process = require "spec.support.process"
local budget = require "foodrt.train.budget"

describe("memory that is available", function()
  local root
  before_each(function()
    root = process.temp_dir()
    os.execute(("mkdir -p %s/proc/self %s/sys/fs/cgroup/a/b %s/sys/fs/cgroup/memory/job"):format(root, root, root))
    process.write(root .. "/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable:   8000000 kB\n")
  end)
  after_each(function() process.remove(root) end)

  local function write(path, text)
    process.write(root .. path, text)
  end

  it("is MemAvailable where no control group limits it", function()
    write("/proc/self/cgroup", "0::/a/b\n")
    write("/sys/fs/cgroup/a/b/memory.max", "max\n")
    write("/sys/fs/cgroup/a/b/memory.current", "1000\n")
    assert.same({ 8000000 * 1024, "memory" }, { budget.available(root) })
  end)

  it("is what the tightest group above the process leaves, file cache counted as free", function()
    write("/proc/self/cgroup", "0::/a/b\n")
    write("/sys/fs/cgroup/a/memory.max", "3000000000\n")
    write("/sys/fs/cgroup/a/memory.current", "1500000000\n")
    write("/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 500000000\n")
    assert.same({ 2000000000, "control group" }, { budget.available(root) })
  end)

  it("knows version 1 of control groups", function()
    write("/proc/self/cgroup", "4:memory:/job\n3:cpuset:/\n0::/\n")
    write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "1000000000\n")
    write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "400000000\n")
    assert.same({ 600000000, "control group" }, { budget.available(root) })
  end)

  it("is what the limits of the process leave: address space and data", function()
    write("/proc/self/status", "VmPeak:\t 900000 kB\nVmSize:\t  200000 kB\nVmData:\t   50000 kB\n")
    write("/proc/self/limits", "Max data size             unlimited            unlimited            bytes     \n"
      .. "Max address space         500000000            unlimited            bytes     \n")
    assert.same({ 500000000 - 200000 * 1024, "ulimit -v" }, { budget.available(root) })
    write("/proc/self/limits", "Max data size             100000000            unlimited            bytes     \n")
    assert.same({ 100000000 - 50000 * 1024, "ulimit -d" }, { budget.available(root) })
  end)
end)

describe("threads", function()
  local C = require("foodrt.core.ffi").C
  local root
  before_each(function()
    root = process.temp_dir()
    os.execute(("mkdir -p %s/proc/self %s/sys/fs/cgroup/a/b %s/sys/fs/cgroup/cpu/job"):format(root, root, root))
  end)
  after_each(function() process.remove(root) end)

  local function write(path, text)
    process.write(root .. path, text)
  end

  it("are as many as the control groups' quota pays for, rounded up, the tightest around the process", function()
    local all = C.frt_cpus(root)
    assert.is_true(all >= 1)
    write("/proc/self/cgroup", "0::/a/b\n")
    write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    assert.equal(all, C.frt_cpus(root))
    write("/sys/fs/cgroup/a/cpu.max", "50000 100000\n")
    assert.equal(1, C.frt_cpus(root))
    write("/sys/fs/cgroup/a/cpu.max", "150000 100000\n")
    assert.equal(math.min(2, all), C.frt_cpus(root))
  end)

  it("know version 1 of control groups", function()
    write("/proc/self/cgroup", "5:cpuset:/job\n4:cpu,cpuacct:/job\n0::/\n")
    write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n")
    write("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    local all = C.frt_cpus(root)
    write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "80000\n")
    assert.equal(1, C.frt_cpus(root))
    write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "6400000\n")
    assert.equal(all, C.frt_cpus(root))
  end)
end)

describe("a recipe's memory", function()
  it("is a size", function()
    assert.same({ 2 ^ 31, 1.5 * 2 ^ 30, 8e8 / 1, 300 * 2 ^ 20, 2 ^ 10 },
      { budget.bytes "2G", budget.bytes "1.5GiB", budget.bytes(8e8), budget.bytes "300m", budget.bytes "1 kB" })
    for _, wrong in ipairs { "", "G", "-1G", "2X", "0", "2GG" } do assert.is_nil(budget.bytes(wrong)) end
  end)

  it("makes a step fit by computing values again, or says what would fit", function()
    local function explain(...)
      return process.foodrt({ "explain", "recipes/effnet_b4_focal.lua", "-o", "data.size=128", "-o", "data.batch=8", ... })
    end
    local function all(out) return tonumber(out:match "\n%s+all%s+([%d%.]+) MiB") end
    local _, free = explain()
    local _, held = explain("-o", "memory=600M")
    assert.is_true(all(held) < 0.7 * all(free), held)
    local _, out = explain("-o", "memory=200M")
    assert.matches("! memory = 200M: a training step of phase 'all' with batch 8 needs", out)
    local status, _, why = process.foodrt { "recipes/lite0_quick.lua", "-o", "memory=often" }
    assert.equal(1, status)
    assert.matches("lite0_quick.lua: recipe: memory must be a size such as \"2G\", got string %('often'%)", why)
  end)
end)
