-- kept features: a phase with cache = true makes the same bits as without, whatever happens to it or to its file.
local process, tiny = require "spec.support.process", require "spec.support.tiny"
local frt, json = require "foodrt", require "foodrt.core.json"
local recipe = require "foodrt.train.recipe"

local PLAIN = { { 'train = { augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } }', 'train = {}' },
  { 'freeze = "backbone",', 'freeze = "backbone", cache = true,' } }

describe("kept features", function()
  local dir
  setup(function()
    dir = tiny.make(PLAIN)
    process.write(dir .. "/views.lua", tiny.text { { 'freeze = "backbone",', 'freeze = "backbone", cache = true, views = 2,' } })
  end)
  teardown(function() process.remove(dir) end)

  local function run(file, name, ...)
    local status, out, err = tiny.run(dir, { file, "--run", name, "-o", "phases.head.epochs=4", "-o", "phases.all.epochs=1", ... })
    assert.equal("", err)
    assert.equal(0, status)
    return out
  end

  local function hashes(name)
    return { tiny.hash(dir .. "/" .. name .. "/last.safetensors"), tiny.hash(dir .. "/" .. name .. "/best.safetensors") }
  end

  local function measured(name)
    local list = {}
    for text in io.lines(dir .. "/" .. name .. "/metrics.jsonl") do
      local e = json.decode(text)
      for _, v in pairs { e.train or {}, e.val or {}, e } do v.seconds, v.wait_s, v.step_s, v.elapsed_s = nil, nil, nil, nil end
      list[#list + 1] = e
    end
    return list
  end

  local function there(path)
    local file = io.open(dir .. "/" .. path)
    if file then file:close() end
    return file ~= nil
  end

  it("make the same bits and measures as computing them in each epoch; 60 photos, 4 epochs", function()
    local said = run("tiny.lua", "kept")
    run("tiny.lua", "plain", "-o", "phases.head.cache=false")
    assert.same(hashes "plain", hashes "kept")
    assert.same(measured "plain", measured "kept")
    assert.match("phase 'head': features are computed once: %[16%], 0.06 KiB a photo %(mean at tiny.lua:9%), 11.8 KiB in "
      .. "'kept/features'\n", said)
    assert.is_false(there "kept/features")
  end)

  it("of validation photos of another size: the same bits, and eval and resume go on with both sizes", function()
    local more = { "-o", "data.eval.size=24" }
    run("tiny.lua", "kept24", unpack(more))
    local said = run("tiny.lua", "plain24", "-o", "phases.head.cache=false", unpack(more))
    assert.same(measured "plain24", measured "kept24")
    assert.not_same(measured "plain", measured "kept24")
    assert.same(hashes("plain")[1], hashes("kept24")[1])  -- training sees what it saw
    assert.truthy(said:find("evaluation sees: shortest edge to 27, middle 24 x 24", 1, true))
    local p = require("foodrt.train.checkpoint").peek(dir .. "/kept24/last.safetensors").preprocessing
    assert.same({ 24, 16 }, { p.size, p.train_size })
    local status, out = tiny.run(dir, { "eval", "kept24" })
    assert.same({ 0, tiny.last(said):match "test: [^(]*" }, { status, tiny.last(out):match "test: [^(]*" })
    run("tiny.lua", "short24", "-o", "phases.all.epochs=0", unpack(more))
    status = tiny.run(dir, { "tiny.lua", "--run", "short24", "--resume", "-o", "phases.all.epochs=1" })
    assert.same({ 0, hashes("kept24")[1] }, { status, hashes("short24")[1] })
  end)

  it("in 2 views: the same bits as augmenting each photo in 2 ways; other bits than new views each epoch", function()
    run("views.lua", "views")
    run("views.lua", "views_plain", "-o", "phases.head.cache=false")
    run("views.lua", "anew", "-o", "phases.head.cache=false", "-o", "phases.head.views=nil")
    assert.same(hashes "views_plain", hashes "views")
    assert.not_same(hashes "anew", hashes "views")
  end)

  it("with accumulation, a batch of 7 that leaves photos over, and photos that can't be read", function()
    process.shell("cp -r photos odd && printf 'GIF89a' >odd/train/pizza/00.jpg && printf 'BM' >odd/val/tacos/99.bmp", { dir = dir })
    local more = { "-o", "accumulate=3", "-o", "data.batch=7", "-o", "data.root=odd" }
    local said = run("views.lua", "odd_kept", unpack(more))
    more[7], more[8] = "-o", "phases.head.cache=false"
    local without = run("views.lua", "odd_plain", unpack(more))
    assert.same(hashes "odd_plain", hashes "odd_kept")
    assert.same(measured "odd_plain", measured "odd_kept")
    assert.equal(1, select(2, said:gsub("odd/train/pizza/00%.jpg", "")))
    assert.equal(1, select(2, without:gsub("odd/train/pizza/00%.jpg", "")))
  end)

  it("after kill -9 at eight moments, with 1 to 4 loader threads, the run ends with the same bits", function()
    local args = { "-o", "phases.head.epochs=60", "-o", "save.every=0.02" }
    run("views.lua", "whole", unpack(args))
    local status, said, err, kills = 1, "", "", 0
    for i, wait in ipairs { 0.1, 0.12, 0.14, 0.16, 0.13, 0.15, 0.18, 0.2, 0 } do
      local list = { "views.lua", "--run", "killed", "--workers", tostring(1 + i % 4), "-o", "phases.all.epochs=1", unpack(args) }
      if there "killed/recipe.lua" then list[#list + 1] = "--resume" end
      if wait > 0 then
        status, said, err = tiny.run_for(dir, list, "KILL", wait)
      else
        status, said, err = tiny.run(dir, list)
      end
      if status == 0 then break end
      kills = kills + 1
    end
    assert.equal("", err)
    assert.equal(0, status)
    assert.is_true(kills >= 3)
    assert.match("^test: .* killed$", tiny.last(said))
    assert.same(hashes "whole", hashes "killed")
  end)

  -- a run stopped by a signal in the middle of the head phase, its file still there
  local function stopped(name)
    process.write(dir .. "/stop.lua", tiny.text(PLAIN):gsub("name = \"tiny\",", [[name = "tiny",
      on = { epoch_end = function(run) if run.epochs == 2 and not os.getenv "GO" then os.execute "kill -TERM $PPID" end end },]]))
    local status = tiny.run(dir, { "stop.lua", "--run", name, "-o", "phases.head.epochs=4", "-o", "phases.all.epochs=1" })
    assert.equal(130, status)
    assert.is_true(there(name .. "/features/head.train"))
  end

  local function resumed(name, ...)
    local status, said, err = tiny.run(dir, { "stop.lua", "--run", name, "--resume", ... }, { env = { GO = "1" } })
    assert.equal("", err)
    assert.equal(0, status)
    return said
  end

  it("a stopped run goes on with the rows that are there; damaged rows, a cut and a foreign file are found; "
    .. "or it goes on without", function()
    stopped "a"
    process.shell("for n in b c d f; do cp -r a $n; done; size=$(stat -c %s a/features/head.train);"
      .. " printf X | dd of=b/features/head.train bs=1 seek=$((size - 64)) conv=notrunc;"
      .. " truncate -s 5000 c/features/head.train; echo hello >d/features/head.train", { dir = dir })
    assert.match("60 of them are there\n", resumed "a")
    assert.match("'b/features/head.train': 1 damaged rows are computed again\n", resumed "b")
    assert.match("'c/features/head.train' is damaged or no file of features: begun anew\n", resumed "c")
    assert.match("'d/features/head.train' is damaged or no file of features: begun anew\n", resumed "d")
    assert.match("phases.head.cache: true %-> false from here on\n", resumed("f", "-o", "phases.head.cache=false"))
    for _, name in ipairs { "a", "b", "c", "d", "f" } do assert.same(hashes "kept", hashes(name)) end
  end)

  it("photos that have changed since, and other threads of computing, are seen", function()
    stopped "e"
    process.shell("touch photos/train/ramen/01.bmp", { dir = dir })
    assert.match("'e/features/head.train' was made with other photos: begun anew\n", resumed "e")
    assert.same(hashes "kept", hashes "e")
  end)

  it("without room on the disk features are computed in each epoch, which is said in a line", function()
    process.shell("mkdir -p full && ln -s /proc full/features", { dir = dir })
    local said = run("tiny.lua", "full")
    assert.match("phase 'head': [%d.]+ %aiB of features do not fit into 'full/features', where 0.00 MiB are free: "
      .. "they are computed in each epoch\n", said)
    assert.same(hashes "kept", hashes "full")
    local status, out, err = process.shell("ulimit -f 400; exec " .. process.command { "tiny.lua", "--run", "quota", "-o",
      "phases.head.epochs=2", "-o", "phases.all.epochs=0", "-o", "data.size=64", "-o",
      "phases.head.freeze={ 'backbone.0', 'backbone.1' }" }, { dir = dir, env = { OMP_NUM_THREADS = "1" } })
    assert.equal("", err)
    assert.equal(0, status)
    assert.match("phase 'head': 'quota/features/head.train': no room for %d+ bytes: File too large: they are computed in "
      .. "each epoch\n", out)
  end)

  it("explain shows the cut, bytes per photo, the file and how much less is computed", function()
    local status, out = tiny.run(dir, { "explain", "tiny.lua", "-o", "phases.head.epochs=4" })
    assert.equal(0, status)
    assert.match("\ncache    head: %[16%] by %S+.-, %S+ KiB a photo, 1 view: %S+ KiB train, %S+ KiB val under the run\n"
      .. " +about [%d.]+ times fewer FLOPs than without, validation included\n", out)
    local _, text = tiny.run(dir, { "explain", "tiny.lua", "-o", "phases.head.epochs=4", "--json" })
    local c = json.decode(text).phases[1].cache
    assert.equal(64, c.row)
    assert.is_true(c.speedup > 3 and c.speedup <= 4, c.speedup)
    _, out = tiny.run(dir, { "explain", "tiny.lua", "-o", "phases.head.epochs=1" })
    assert.match("\ncache    head: nothing, no photo is seen twice in the same view\n", out)
    _, out = tiny.run(dir, { "explain", "tiny.lua", "-o", "phases.head.cache=false", "-o", "phases.head.epochs=4" })
    assert.match("phase 'head': %d+ %% of its FLOPs go into what frozen parts make of photos:%s+phases.head.cache=true "
      .. "computes it once", out)
  end)
end)

describe("kept features of a trainer", function()
  local dir, n = nil, 0
  setup(function() dir = tiny.make() end)
  teardown(function() process.remove(dir) end)

  -- trains the head phase; its notes, and the model's values
  local function train(changes, overrides, change)
    local list = { { "phases.head.epochs", "3" } }
    for _, o in ipairs(overrides or {}) do list[#list + 1] = o end
    local all = { PLAIN[1], PLAIN[2] }
    for _, c in ipairs(changes or {}) do all[#all + 1] = c end
    local r = tiny.recipe(dir, all, list)
    if change then change(r) end
    local notes = {}
    n = n + 1
    local t = frt.trainer(r, { folder = ("%s/features%d"):format(dir, n), watch = { note = function(_, _, text)
      notes[#notes + 1] = text
    end } }):open()
    t:run_phase "head"
    local out = {}
    for name, v in pairs((r.model:state_dict())) do out[name] = v:totable() end
    return notes, out, t
  end

  local function refused(want, ...)
    local ok, why = pcall(train, ...)
    assert.is_false(ok)
    assert.equal("tiny.lua:19: phase 'head': cache = true" .. want, why)
  end

  it("weights that a hook changes between epochs are seen: the file is begun anew, the bits are the same", function()
    local function hook(r)
      r.on = { epoch_end = function(run) run.model.backbone[1].weight:fill_(0.01 * run.epoch) end }
    end
    local notes, kept = train(nil, nil, hook)
    local _, plain = train(nil, { { "phases.head.cache", "false" } }, hook)
    assert.same(plain, kept)
    assert.match("^phase 'head': '.*/features%d+/head.train' was made with other weights: begun anew$", notes[2])
  end)

  it("filling that a signal stops goes on where it was: 3 batches of 8 photos are there, the bits are the same", function()
    local C = require("foodrt.core.ffi").C
    local folder = dir .. "/stopped"
    local function made(watch)
      local r = tiny.recipe(dir, PLAIN, { { "phases.head.epochs", "3" } })
      return frt.trainer(r, { folder = folder, watch = watch }):open(), r
    end
    local t = made { filling = function(_, _, done)
      if done == 24 then C.frt_interrupt_set(1) end
    end }
    assert.equal("interrupted", t:run_phase "head")
    C.frt_interrupt_set(0)
    assert.same({ 0, 0 }, { t.step, t.batch })
    local notes, filled = {}, {}
    local again, r = made { note = function(_, _, text) notes[#notes + 1] = text end,
      filling = function(_, _, done) filled[#filled + 1] = done end }
    assert.is_nil(again:run_phase "head")
    assert.match(", 24 of them are there$", notes[1])
    assert.equal(60, filled[#filled])
    local _, whole = train()
    for name, v in pairs((r.model:state_dict())) do assert.same(whole[name], v:totable()) end
  end)

  it("weights that change within an epoch are an error", function()
    refused(": what is frozen, or what is made of it, changed within an epoch", nil, nil, function(r)
      r.on = { step_end = function(run) run.model.backbone[1].weight:fill_(0.01 * run.step) end }
    end)
  end)

  it("a step of one's own, a loss of features and logits: all that is taken of the photos is kept", function()
    local function own(r)
      r.step = function(run, batch)
        local map = run.model.backbone(batch.x):relu()
        local logits = run.model.fc(map:avg_pool2d())
        return frt.loss.cross_entropy {}(logits, batch.y) + (map:max_pool2d():mean() * logits:mean()), logits
      end
    end
    local notes, kept = train(nil, nil, own)
    local _, plain = train(nil, { { "phases.head.cache", "false" } }, own)
    assert.same(plain, kept)
    assert.match("computed once: %[16%] and %[16%], ", notes[1])
  end)

  it("a part of the backbone, whose map is kept, and dropout in it that the phase turns off", function()
    local drop = { { 'nn.BatchNorm2d {}, nn.ReLU {},', 'nn.BatchNorm2d {}, nn.ReLU {}, nn.Dropout { 0.3 },' } }
    local overrides = { { "phases.head.freeze", "{ 'backbone.0', 'backbone.1', 'backbone.3' }" }, { "phases.head.drop", "eval" } }
    local notes, kept = train(drop, overrides)
    overrides[3] = { "phases.head.cache", "false" }
    local _, plain = train(drop, overrides)
    assert.same(plain, kept)
    assert.match("computed once: %[8, 8, 8%], ", notes[1])
  end)

  it("what can't be kept is an error at the phase's line that says why", function()
    local ok, why = pcall(recipe.from_text, "tiny.lua", tiny.text { PLAIN[2] }, {})
    assert.is_false(ok)
    assert.equal("tiny.lua:19: phase 'head': cache = true needs views = K: the training photos are augmented anew in each epoch", why)
    local behind = ": most of what is frozen lies behind something that changes: "
    refused(behind .. "batch_norm_train in 'backbone.1' takes its statistics from the batch", nil, { { "phases.head.bn", "train" } })
    refused(behind .. "uniform in 'backbone.3' draws new numbers in each step",
      { { "nn.ReLU {},", "nn.ReLU {}, nn.Dropout { 0.5 }," } })
    refused(": no part of it follows from the photos alone: conv2d in 'backbone.0' reads 'backbone.0.weight', which is trained", nil,
      { { "phases.head.freeze", "backbone.3" } })
  end)

  it("photos of a batch that see each other are found by computing", function()
    for change, op in pairs { ["f - f:mean(1, { keepdim = true })"] = "sub", ["f + f:flip { 1 }"] = "add" } do
      local pooled = "self.backbone(x):relu():avg_pool2d()"
      refused((": %s at tiny.lua:9 depends on the other photos of the batch"):format(op),
        { { pooled, ("(function(f) return %s end)(%s)"):format(change, pooled) } })
    end
  end)

  it("epochs in which no photo is seen twice keep nothing of them; without a folder it is an error", function()
    local notes = train(nil, { { "phases.head.epochs", "1" } })
    assert.same({ "phase 'head': cache = true: no training photo is seen twice in the same view, so nothing of them is kept" }, notes)
    local r = tiny.recipe(dir, PLAIN)
    local _, why = pcall(function() frt.trainer(r):run_phase "head" end)
    assert.equal("tiny.lua:19: phase 'head': cache = true needs a folder: frt.trainer(recipe, { folder = \"DIR\" })", why)
  end)
end)
