--- Names as file systems have them: bytes that are no UTF-8, control characters; thousands of arguments; locales; rows as they come.
local process, photos = require "spec.support.process", require "spec.support.photos"
local json = require "foodrt.core.json"
local foodrt = process.foodrt

-- a comment and a root in Latin-1
local RECIPE = [[
-- cr]] .. "\232" .. [[me br]] .. "\251" .. [[l]] .. "\233" .. [[e
local frt = require "foodrt"
local nn = frt.nn
return {
  name = "cafe", seed = 3,
  model = nn.Module { fc = nn.Linear { "classes" }, forward = function(self, x) return self.fc(x:flatten(2)) end },
  loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "ph]] .. "\246" .. [[tos", size = 8, batch = 4 },
  phases = { frt.phase { "all", epochs = 2, optim = frt.optim.adamw { lr = 1e-2 } } },
  on = { epoch_end = function() os.setlocale(os.getenv "SPEC_LOCALE" or "C") end },
}
]]
local CLASS, ESC = "caf\233", "p\27[31mred.jpg"

local function is_utf8(s)
  return json.each_wrong_byte(s, function() return "" end) == s
end

describe("names of any bytes", function()
  local dir
  setup(function()
    dir = process.temp_dir()
    photos.tree(dir .. "/ph\246tos", { train = { [CLASS] = 6, ramen = 6 }, val = { [CLASS] = 2, ramen = 2 }, test = { [CLASS] = 3,
      ramen = 3 } })
    os.execute(("cd '%s/ph\246tos/test/ramen' && cp \"$(ls | head -n 1)\" '%s'"):format(dir, ESC))
    process.write(dir .. "/t.lua", RECIPE)
    os.execute(("localedef -i de_DE -f UTF-8 %s/de 2>/dev/null"):format(dir))
  end)
  teardown(function() process.remove(dir) end)

  local function run(...)
    local status, out, err = foodrt({ ... }, { dir = dir, env = { OMP_NUM_THREADS = "1", LOCPATH = dir, SPEC_LOCALE = "de" } })
    return status, out, err
  end

  it("train, go on and end: class, root, name and comment are kept byte for byte; locales change no file", function()
    local status, out, err = run("t.lua", "--run", "a")
    assert.equal("", err)
    assert.equal(0, status)
    assert.is_true(is_utf8(out))
    local _
    status, _, err = run("t.lua", "--run", "a", "--resume", "-o", "phases.all.epochs=3")
    assert.equal("", err)
    assert.equal(0, status)
    local meta = require("foodrt.train.checkpoint").peek(dir .. "/a/last.safetensors")
    assert.same({ CLASS, "ramen" }, meta.classes)
    assert.equal(RECIPE, meta.recipe_text)
    for line in process.read(dir .. "/a/metrics.jsonl"):gmatch "[^\n]+" do assert.is_truthy(json.decode(line), line) end
  end)

  it("reach a terminal as what they are, and programs as UTF-8", function()
    local status, out, err = run("predict", "a", "ph\246tos/test/ramen", "none\27[2J.jpg")
    assert.equal(0, status)
    assert.is_nil((out .. err):find "\27")
    assert.matches("p\\x1b[31mred.jpg", out, 1, true)
    assert.matches("none\\x1b[2J.jpg", err, 1, true)
    assert.matches("caf\\xe9", out, 1, true)
    assert.is_true(is_utf8(out))
    status, out = run("predict", "a", "ph\246tos/test/ramen", "--json")
    assert.equal(0, status)
    assert.is_true(is_utf8(out) and not out:find "\\ud[c-f]")
    local t = assert(json.decode(out))
    assert.equal(4, #t.photos)
    assert.equal(4, t.n)
    assert.equal("caf\239\191\189", t.photos[1].top[1].class:find "caf" and t.photos[1].top[1].class or t.photos[1].top[2].class)
    status, out, err = run("eval", "a", "--json", "--out", "o.csv")
    assert.equal("", err)
    assert.equal(0, status)
    assert.is_true(is_utf8(out) and json.decode(out) ~= nil)
    assert.matches("\nph\246tos/test/caf\233/", process.read(dir .. "/o.csv"))
    status, out = run("eval", "a")
    assert.equal(0, status)
    assert.is_true(is_utf8(out))
  end)

  it("rows of predict come as they are made", function()
    local status, out = foodrt({ "-e", [[
      local predictions = require "foodrt.run.predictions"
      local one, n = predictions.one, 0
      predictions.one = function(...)
        n = n + 1
        io.write("looking at ", n, "\n")
        local p = one(...)
        return p
      end
      require("foodrt.cli.predict").run { "a", (io.popen "ls -d ph*tos":read "*l") .. "/test/ramen" }]] }, { dir = dir })
    assert.equal(0, status)
    local order = {}
    for line in out:gmatch "[^\n]+" do order[#order + 1] = line:match "^looking at %d" or "row" end
    assert.same({ "looking at 1", "row", "looking at 2", "row", "looking at 3", "row", "looking at 4", "row" }, order)
  end)

  it("rows of eval --out come batch by batch, and no logits are kept", function()
    local status, out = foodrt({ "-e", [[
      local predictions = require "foodrt.run.predictions"
      local sheet, of = predictions.sheet, predictions.of
      predictions.sheet = function(...)
        local s = sheet(...)
        local batch = s.batch
        s.batch = function(self, b, logits) io.write(b.n, " ") batch(self, b, logits) end
        return s
      end
      predictions.of = function(...)
        local p, values, m = of(...)
        io.write("scores ", tostring(p.rows[1].scores), "\n")
        return p, values, m
      end
      require("foodrt.cli.eval").run { "a", "--out", "p.csv" }]] }, { dir = dir })
    assert.equal(0, status)
    assert.equal("4 3 scores nil", out:match "[^\n]+")
    assert.equal(process.read(dir .. "/o.csv"), process.read(dir .. "/p.csv"))
  end)

  it("eval --out into a pipe, and over a link", function()
    local _, out = process.shell(process.command { "eval", "a", "--out", "/dev/fd/3" } .. " 3>&1 >/dev/null | head -n 1", { dir = dir })
    assert.matches("^file,true,predicted,caf\233,ramen\n", out)
    os.execute(("ln -sf target.csv %s/link.csv"):format(dir))
    assert.equal(0, (run("eval", "a", "--out", "link.csv")))
    assert.equal(0, os.execute(("test -L %s/link.csv"):format(dir)))
    assert.equal(process.read(dir .. "/o.csv"), process.read(dir .. "/target.csv"))
  end)

  it("9,000 of them are arguments like one", function()
    local status, _, err = process.shell(process.command { "predict", "none" } .. " $(seq 9000)", { dir = dir })
    assert.equal(1, status)
    assert.matches("no such run or checkpoint: 'none'", err, 1, true)
    local out
    process.write(dir .. "/s.lua", "print(select('#', ...), #arg, arg[9000])")
    for _, how in ipairs { { "s.lua" }, { "-e", "local x = 1", "s.lua" } } do
      status, out, err = process.shell(process.command(how) .. " $(seq 9000)", { dir = dir })
      assert.equal(0, status)
      assert.equal("7000\t9000\t9000\n", out)
      assert.equal("foodrt: ... holds the first 7000 of 9000 arguments; arg has all of them\n", err)
    end
    status, _, err = process.shell(process.command { "weights", "show" } .. " $(seq 9000)", { dir = dir })
    assert.equal(2, status)
    assert.matches("one file at a time", err, 1, true)
    status, _, err = process.shell(process.command { "predict", "--ensemble" } .. " $(yes a | head -n 9000) photo.jpg --weights 1",
      { dir = dir })
    assert.equal(2, status)
    assert.matches("--weights must be 9000 numbers", err, 1, true)
  end)
end)

describe("frt.save", function()
  it("takes more tensors that are still to be computed than a call has arguments", function()
    local frt = require "foodrt"
    local dir, t, one = process.temp_dir(), {}, frt.tensor { 1 }
    for i = 1, 8200 do t["t" .. i] = one * i end
    frt.save(dir .. "/many.safetensors", t)
    local back = frt.load(dir .. "/many.safetensors")
    assert.equal(8200, back.t8200:item())
    process.remove(dir)
  end)
end)
