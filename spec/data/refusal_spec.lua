-- what the machine refuses is no bad photo; a class or a split without readable photos ends a run; skipped batches don't make
-- a phase longer.
local frt = require "foodrt"
local photos, process = require "spec.support.photos", require "spec.support.process"
local refuse, tiny = require "spec.support.refuse", require "spec.support.tiny"

local EIO, EMFILE, EACCES = 5, 24, 13

local dir
setup(function()
  dir = process.temp_dir()
  photos.tree(dir .. "/p", { train = { ant = 6, bee = 6 }, val = { ant = 3, bee = 3 } })
end)
teardown(function() process.remove(dir) end)

-- An epoch of dir/p, with what the machine refuses: batches' photos and bad ones, or the message.
local function epoch(what, options)
  local env = refuse.env(dir, what)
  if not env then return nil end
  local code = ([[local d = frt.data.folder { "%s/p", size = 8, batch = 3, workers = 2 %s }
    d:open()
    local n, loader = 0, d:loader("train", {})
    for b in loader:batches() do n = n + b.n end
    print(n, #loader:bad())]]):format(dir, options or "")
  local status, out, err = process.foodrt({ "-e", code }, { env = env })
  return status == 0 and (out:gsub("%s+", " "):gsub(" $", "")) or (err:gsub(dir:gsub("%p", "%%%0"), "DIR"):gsub("\n$", ""))
end

describe("the machine refuses", function()
  it("the rest of a folder's list: an error that names the folder, with what is read so far thrown away", function()
    local got = epoch { REFUSE_LIST = "p/train/bee" }
    if not got then return pending "needs a C compiler" end
    assert.match("data: cannot read folder 'DIR/p/train/bee' to its end: Input/output error$", got)
    assert.match("data: cannot read folder 'DIR/p/val' to its end: Input/output error$", epoch { REFUSE_LIST = "p/val" })
  end)

  it("a photo for good: the run ends naming it, whatever on_bad says", function()
    local got = epoch { REFUSE_OPEN = "train/ant/04.bmp" }
    if not got then return pending "needs a C compiler" end
    local want = "DIR/p/train/ant/04.bmp: Input/output error %(tried 5 times%); see the disk or the network it lies on$"
    assert.match(want, got)
    assert.match(want, epoch({ REFUSE_OPEN = "train/ant/04.bmp" }, ", on_bad = 'skip'"))
    assert.match("DIR/p/train/bee/%d%d.bmp: Permission denied %(tried 5 times%); see the permissions of the file and its folders$",
      epoch { REFUSE_OPEN = "train/bee/", REFUSE_ERRNO = tostring(EACCES) })
    assert.match("Too many open files %(tried 5 times%); raise the limit of open files",
      epoch { REFUSE_OPEN = "bee/02", REFUSE_ERRNO = tostring(EMFILE) })
  end)

  it("a photo a few times: it is tried again, and is no bad photo", function()
    local got = epoch { REFUSE_OPEN = "train/ant/04.bmp", REFUSE_TIMES = "3", REFUSE_ERRNO = tostring(EIO) }
    if not got then return pending "needs a C compiler" end
    assert.equal("12 0", got)
  end)

  it("and a photo that isn't there is a bad photo", function()
    local got = epoch { REFUSE_OPEN = "train/ant/04.bmp", REFUSE_ERRNO = "2" }
    if not got then return pending "needs a C compiler" end
    assert.equal("12 1", got)
  end)
end)

-- dir/NAME with photos of `splits`, of which bad(path) are no photos
local function spoilt(name, splits, bad)
  photos.tree(dir .. "/" .. name, splits)
  for split, classes in pairs(splits) do
    for class, n in pairs(classes) do
      for i = 1, n do
        local path = ("%s/%s/%02d.bmp"):format(split, class, i)
        if bad(path) then process.write(dir .. "/" .. name .. "/" .. path, "no photo") end
      end
    end
  end
  return dir .. "/" .. name
end

local function all(loader)
  local n = 0
  for b in loader:batches() do n = n + b.n end
  return n
end

local function message(fn, ...)
  local ok, why = pcall(fn, ...)
  assert.is_false(ok)
  return (why:gsub("^[^:]*:%d+: ", ""):gsub(dir:gsub("%p", "%%%0"), "DIR"))
end

describe("photos whose bytes are bad", function()
  it("end a run where a class has no other", function()
    local root = spoilt("lost", { train = { ant = 4, bee = 3 } }, function(path) return path:find "bee" ~= nil end)
    for _, on_bad in ipairs { "substitute", "skip" } do
      local d = frt.data.folder({ root, size = 8, batch = 2, on_bad = on_bad }):open()
      local why
      for e = 0, 1 do  -- drop_last leaves a photo out of an epoch
        local ok, what = pcall(all, d:loader("train", { epoch = e }))
        why = why or not ok and what
      end
      assert.match("data: no photo of class 'bee' can be read %(3 of 3 are bad%), the last: .*/lost/train/bee/%d%d.bmp: not a photo", why)
    end
  end)

  it("end an epoch that has no other, and a measurement", function()
    local root = spoilt("none", { train = { ant = 3, bee = 3 }, val = { ant = 2, bee = 2 } },
      function(path) return path:find "^val" ~= nil end)
    local d = frt.data.folder({ root, size = 8, batch = 3 }):open()
    assert.equal(6, all(d:loader "train"))
    assert.match("^data: none of the 4 photos can be read; the first: DIR/none/val/ant/01.bmp: not a photo",
      message(all, d:loader "val"))
  end)

  it("never leave a run with on_bad = skip without an end", function()
    local d = tiny.make({ { "batch = 8,", "batch = 8, on_bad = \"skip\"," } }, { train = { pizza = 3, ramen = 3 } })
    for _, class in ipairs { "pizza", "ramen" } do
      for i = 1, 6 do process.write(("%s/photos/train/%s/%02d.bmp"):format(d, class, i), "no photo") end
    end
    local status, _, err = process.foodrt({ "tiny.lua", "--run", "a" }, { dir = d })
    process.remove(d)
    assert.equal(1, status)
    assert.match("^data: none of the 8 photos can be read; the first: photos/train/%a+/%d%d.bmp: not a photo", err)
  end)
end)

describe("batches that are skipped as a whole", function()
  it("count as part of their epoch, and their photos as unreadable", function()
    local root = spoilt("gaps", { train = { ant = 12, bee = 12 } }, function(path) return not path:find "0[12]%.bmp$" end)
    local seen = {}
    local r = tiny.recipe(dir, { { "batch = 8,", "batch = 1, on_bad = \"skip\"," } }, { { "data.root", root } })
    local t = frt.trainer.new(r, { watch = { epoch = function(_, _, what) seen[#seen + 1] = what.train end } })
    t:run_phase "head"
    assert.equal(2, #seen)
    for _, values in ipairs(seen) do assert.same({ 4, 20 }, { values.n, values.bad }) end
    assert.equal(48, t.phase_step)
  end)
end)
