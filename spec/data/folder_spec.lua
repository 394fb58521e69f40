-- frt.data.folder: options, folders and their mistakes, batches as tensors.
local frt = require "foodrt"
local photos = require "spec.support.photos"
local process = require "spec.support.process"
local augment, data = frt.augment, frt.data

local dir
setup(function()
  dir = process.temp_dir()
  photos.tree(dir .. "/good", { train = { bee = 5, ant = 7 }, val = { ant = 2, bee = 3 }, test = { ant = 1, bee = 1 } })
end)
teardown(function() process.remove(dir) end)

-- The message of an error without its "file:line: ".
local function message(f, ...)
  local ok, why = pcall(f, ...)
  assert.is_false(ok)
  return (why:gsub("^[^:]*:%d+: ", ""):gsub(dir:gsub("%p", "%%%0"), "DIR"))
end

describe("data.folder", function()
  it("stores and checks its options, and looks at no folder", function()
    local d = data.folder { "nowhere", size = 96, batch = 8, train = { augment.flip {} } }
    assert.same({ "nowhere", 96, 8, "substitute", 1 }, { d.root, d.size, d.batch, d.on_bad, #d.train })
    assert.equal("shortest edge to 109, middle 96 x 96 (bilinear), mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
      d:preprocessing())
  end)

  it("takes a model's mean, crop and interpolation where the recipe says nothing", function()
    local model = { preprocess = { mean = { 0.5, 0.5, 0.5 }, std = { 0.5, 0.5, 0.5 }, crop_pct = 1, crop_mode = "squash",
      interpolation = "bicubic" } }
    local d = data.folder { "nowhere", size = 64, eval = { interpolation = "bilinear" } }
    assert.equal("both edges to 64, middle 64 x 64 (bilinear), mean 0.500 0.500 0.500, std 0.500 0.500 0.500",
      d:suit(model):preprocessing())
    assert.same({ 128, 128, 128 }, d:settings().fill)
    local inside = { modules = function() return pairs { model } end }
    assert.equal("squash", data.folder({ "nowhere" }):suit(inside):settings().mode)
  end)

  it("takes the size of the model's photos where the recipe gives none, and says whose settings are used", function()
    local d = data.folder { "nowhere" }
    assert.equal(224, d.size)
    assert.equal("as the recipe says, else as is usual for ImageNet", d:origin())
    local model = frt.models.efficientnet_b4 {}
    assert.equal(320, d:suit(model).size)
    assert.equal("all of efficientnet_b4's weights", d:origin())
    local own = data.folder({ "nowhere", size = 96, eval = { mode = "squash" } }):suit(model)
    assert.equal("size and mode of the recipe, the rest of efficientnet_b4's weights", own:origin())
    assert.equal("both edges to 109, middle 96 x 96 (bicubic), mean 0.485 0.456 0.406, std 0.229 0.224 0.225", own:preprocessing())
    own:recheck()
    d:recheck()
    assert.same({ 320, 96 }, { d.size, own.size })
  end)

  it("eval.size: another edge in evaluation; \"test\": the size and crop that timm measures the weights at", function()
    local model = frt.models.efficientnet_b4 {}
    local d = data.folder({ dir .. "/good", size = 32, batch = 4, eval = { size = "test" } }):suit(model)
    assert.same({ 384, 1, 32 }, { d:settings().size, d:settings().crop_pct, d:settings().train_size })
    assert.equal("shortest edge to 384, middle 384 x 384 (bicubic), mean 0.485 0.456 0.406, std 0.229 0.224 0.225", d:preprocessing())
    assert.equal("eval.size and size of the recipe, the rest of efficientnet_b4's weights", d:origin())
    d.eval = { size = 48, crop_pct = 0.9 }
    d:open()
    assert.same({ 48, 0.9 }, { d:settings().size, d:settings().crop_pct })
    for split, edge in pairs { train = 32, val = 48 } do
      local loader = d:loader(split)
      assert.same({ 4, 3, edge, edge }, loader:next().x.shape)
      loader:stop()
    end
    local one = d:preprocess(d:loader("val"):next().paths[1])
    assert.same({ 1, 3, 48, 48 }, one.shape)
    local again = data.folder { "nowhere", size = 7 }
    require("foodrt.run").see_as(again, d:settings())
    assert.same({ 32, 48 }, { again.size, again:settings().size })
    assert.equal("data.folder: 'eval.size' can only be \"test\" with a model of frt.models, whose weights have a test size",
      message(function() return data.folder({ "x", eval = { size = "test" } }):settings() end))
    assert.equal("eval: 'size' must be integer or one of test, got 'tset', did you mean 'test'?",
      message(data.folder, { "x", eval = { size = "tset" } }))
  end)

  it("rejects what it does not know, at the recipe's line", function()
    local ok, why = pcall(function() return data.folder { "x", sice = 96 } end)
    assert.is_false(ok)
    assert.is_truthy(why:find "^[^:]*folder_spec%.lua:%d+: data%.folder: unknown option 'sice', did you mean 'size'%?$")
    assert.equal("data.folder: 'size' must be at least 1, got 0", message(data.folder, { "x", size = 0 }))
    assert.equal("data.folder: 'train' must be a list of augments, got string ('flip') at [1]",
      message(data.folder, { "x", train = { "flip" } }))
    assert.equal("eval: unknown option 'crop_pc', did you mean 'crop_pct'?",
      message(data.folder, { "x", eval = { crop_pc = 1 } }))
    assert.equal("data.folder: 'std' must be three numbers 1e-06 to 10", message(data.folder, { "x", std = { 0, 1, 1 } }))
    assert.equal("data.folder: 'on_bad' must be one of substitute, skip, error, got 'skipp', did you mean 'skip'?",
      message(data.folder, { "x", on_bad = "skipp" }))
  end)

  it("checks overridden options when it opens", function()
    local d = data.folder { dir .. "/good" }
    d.size = "big"
    assert.equal("data.folder: 'size' must be integer, got string ('big')", message(d.open, d))
  end)

  it("sorts classes and counts photos", function()
    local d = data.folder { dir .. "/good" }
    d:open()
    assert.same({ "ant", "bee" }, d.classes)
    assert.same({ 12, 5, 2 }, { d:count "train", d:count "val", d:count "test" })
    assert.same({ 7, 5 }, d:class_counts "train")
    assert.equal("class", d.columns[1].name)
  end)

  it("opens one split with the classes of a run", function()
    local d = data.folder { dir .. "/good" }
    d:open { classes = { "ant", "bee" }, splits = { "test" } }
    assert.same({ 0, 2 }, { d:count "train", d:count "test" })
  end)
end)

describe("data:open says in one line", function()
  local function open(root) return message(function() data.folder { root }:open() end) end

  it("that the root, a split or its class folders are not there", function()
    assert.equal("data: no folder 'DIR/none' (photos are expected in DIR/none/train/CLASS/)", open(dir .. "/none"))
    os.execute(("mkdir -p '%s/a/val/x' '%s/b/train'"):format(dir, dir))
    assert.equal("data: no folder 'DIR/a/train'", open(dir .. "/a"))
    assert.equal("data: no class folders in 'DIR/b/train'", open(dir .. "/b"))
  end)

  it("that a class folder is empty", function()
    photos.tree(dir .. "/c", { train = { ant = 1, bee = 1 } })
    os.execute(("mkdir -p '%s/c/train/cat'; touch '%s/c/train/cat/.hidden.jpg' '%s/c/train/cat/notes.txt'")
      :format(dir, dir, dir))
    assert.equal("data: no photos in 'DIR/c/train/cat'", open(dir .. "/c"))
  end)

  it("that val has a class which train lacks, or lacks one", function()
    photos.tree(dir .. "/d", { train = { pizza = 1, ramen = 1 }, val = { piza = 1, ramen = 1 } })
    assert.equal("data: class 'piza' is in 'DIR/d/val' but not in 'DIR/d/train', did you mean 'pizza'?", open(dir .. "/d"))
    photos.tree(dir .. "/e", { train = { pizza = 1, ramen = 1 }, val = { ramen = 1 } })
    assert.equal("data: no folder 'DIR/e/val/pizza', but the class is in 'DIR/e/train'", open(dir .. "/e"))
  end)

  it("the line of the recipe that named the folder", function()
    local d = data.folder { dir .. "/none" }
    local here = debug.getinfo(1, "l").currentline - 1
    local _, why = pcall(d.open, d)
    assert.is_truthy(why:find(("folder_spec%%.lua:%d: data: no folder"):format(here)))
  end)

  it("that a split is unknown", function()
    local d = data.folder { dir .. "/good" }
    d:open()
    assert.equal("data: no split 'trian' in 'DIR/good', did you mean 'train'?", message(d.loader, d, "trian"))
  end)
end)

describe("data:loader", function()
  local d
  setup(function()
    d = data.folder { dir .. "/good", size = 16, batch = 5, train = { augment.random_resized_crop {}, augment.flip {} } }
    d:open()
  end)

  it("gives tensors: x [5, 3, 16, 16], y from 1, ids from 1 and paths", function()
    local loader = d:loader("train", { seed = 3 })
    assert.equal(2, loader.n_batches)
    local n = 0
    for b in loader:batches() do
      n = n + 1
      assert.same({ 5, 3, 16, 16 }, b.x.shape)
      assert.same({ 5, "i32" }, { b.y.shape[1], b.y.dtype })
      assert.equal(b.y, b.labels.class)
      local y = b.y:totable()
      for i = 1, 5 do
        assert.is_truthy(b.paths[i]:find("/train/" .. d.classes[y[i]] .. "/", 1, true))
        assert.is_true(b.ids[i] >= 1 and b.ids[i] <= 12)
      end
      assert.equal(n, b.index)
    end
    assert.equal(2, n)
    assert.is_true(loader:wait_s() >= 0)
    loader:stop()
    assert.is_nil(loader:next())
  end)

  it("gives its ring back after the last batch, before stop, and its counts stay", function()
    local before = frt.memory().live
    local loader = d:loader("train", { drop_last = false })
    assert.is_true(frt.memory().live > before)
    while loader:next() do end
    assert.equal(before, frt.memory().live)
    assert.same({}, loader:bad())
    assert.is_true(loader:wait_s() >= 0)
    assert.is_nil(loader:next())
    loader:stop()
  end)

  it("keeps the last partial batch in evaluation, in order", function()
    local loader, ns, ids = d:loader "val", {}, {}
    for b in loader:batches() do
      ns[#ns + 1] = b.n
      for _, id in ipairs(b.ids) do ids[#ids + 1] = id end
    end
    loader:stop()
    assert.same({ 5 }, ns)
    assert.same({ 1, 2, 3, 4, 5 }, ids)
    loader = d:loader("val", { batch = 2 })
    ns = {}
    for b in loader:batches() do ns[#ns + 1] = b.x.shape[1] end
    loader:stop()
    assert.same({ 2, 2, 1 }, ns)
  end)

  it("lies as N C H W for Lua: a photo's pixels come out where they belong", function()
    local plain = data.folder { dir .. "/good", size = 16, eval = { crop_pct = 1 }, mean = { 0, 0, 0 }, std = { 1, 1, 1 } }
    plain:open()
    local loader = plain:loader("test", { batch = 1 })
    local b = loader:next()
    local x = b.x:totable()
    -- 20 x 16 to 16 x 16: the middle, from column 2
    local at = photos.pattern(1)
    for _, yx in ipairs { { 1, 1 }, { 3, 7 }, { 16, 16 } } do
      local rgb = { at(yx[2] - 1 + 2, yx[1] - 1) }
      for c = 1, 3 do assert.is_true(math.abs(x[1][c][yx[1]][yx[2]] * 255 - rgb[c]) < 1e-3) end
    end
    loader:stop()
    local same = plain:preprocess(b.paths[1]):totable()
    assert.same(x, same)
  end)

  it("numbers further labels from a CSV file, 0 where a class has none", function()
    process.write(dir .. "/good/attributes.csv", 'class,cuisine,course\nant,"thai, hot",main\nbee,,dessert\n')
    local m = data.folder { dir .. "/good", size = 16, attributes = "attributes.csv" }
    m:open()
    assert.same({ "thai, hot" }, m.columns.cuisine.classes)
    assert.same({ "dessert", "main" }, m.columns.course.classes)
    local loader = m:loader("test", { batch = 2 })
    local b = loader:next()
    assert.same({ 1, 2 }, b.labels.class:totable())
    assert.same({ 1, 0 }, b.labels.cuisine:totable())
    assert.same({ 2, 1 }, b.labels.course:totable())
    loader:stop()
  end)

  it("counts and names bad photos, left out in evaluation", function()
    photos.tree(dir .. "/bad", { train = { ant = 3, bee = 3 }, val = { ant = 2, bee = 2 } })
    process.write(dir .. "/bad/val/bee/02.bmp", "")
    process.write(dir .. "/bad/train/ant/01.bmp", "")
    local bad = data.folder { dir .. "/bad", size = 8, batch = 4 }
    bad:open()
    local loader, n = bad:loader "val", 0
    for b in loader:batches() do n = n + b.n end
    loader:stop()
    assert.equal(3, n)
    assert.same({ dir .. "/bad/val/bee/02.bmp" }, { loader:bad()[1].path })
    loader, n = bad:loader("train", { drop_last = false }), 0
    for b in loader:batches() do n = n + b.n end
    loader:stop()
    assert.equal(6, n)
    assert.equal(dir .. "/bad/train/ant/01.bmp: an empty file (0 bytes)", loader:bad()[1].why)
    bad = data.folder { dir .. "/bad", size = 8, batch = 4, on_bad = "error" }
    bad:open()
    loader = bad:loader "val"
    assert.equal("DIR/bad/val/bee/02.bmp: an empty file (0 bytes)",
      message(function() for _ in loader:batches() do n = n + 1 end end))
    loader:stop()
  end)
end)

describe("data.manifest", function()
  local function listed(text)
    process.write(dir .. "/good/list.csv", text)
    return data.manifest { dir .. "/good/list.csv", size = 8, batch = 2 }
  end

  it("reads paths, splits and any number of label columns, which may be empty", function()
    local m = listed('path,split,dish,taste\ntrain/ant/01.bmp,train,"fried ""rice"", hot",salty\n'
      .. "train/bee/01.bmp,train,apple pie,\r\nval/bee/01.bmp,val,apple pie,salty\n")
    m:open()
    assert.same({ "apple pie", 'fried "rice", hot' }, m.classes)
    assert.same({ 2, 1, 0 }, { m:count "train", m:count "val", m:count "test" })
    local loader = m:loader("train", { shuffle = false })
    local b = loader:next()
    assert.same({ 2, 1 }, b.y:totable())
    assert.same({ 1, 0 }, b.labels.taste:totable())
    assert.equal(b.y, b.labels.dish)
    loader:stop()
  end)

  it("names file and row of what is wrong", function()
    local function why(text) local m = listed(text) return message(m.open, m) end
    assert.equal("data: 'DIR/good/list.csv' has no column 'path'", why "file,dish\nx,y\n")
    assert.equal("data: 'DIR/good/list.csv' has no label column", why "path,split\nx,train\n")
    assert.equal("data: DIR/good/list.csv: row 2: split must be train, val or test, got 'dev'", why "path,split,dish\nx,dev,y\n")
    assert.equal("data: DIR/good/list.csv: row 3: dish 'piza' is not in training, did you mean 'pizza'?",
      why "path,split,dish\nx,train,pizza\ny,val,piza\n")
    assert.equal("data: no photo of split 'train' in 'DIR/good/list.csv'", why "path,split,dish\nx,val,\n")
  end)
end)

describe("augments", function()
  it("print as they are written", function()
    assert.equal("random_resized_crop { interpolation = bilinear, ratio = { 0.75, 1.333 }, scale = { 0.8, 1 } }",
      tostring(augment.random_resized_crop { scale = { 0.8, 1 } }))
    assert.equal("flip { p = 0.5 }", tostring(augment.flip {}))
  end)

  it("know their ranges and their line", function()
    assert.equal("augment.random_resized_crop: 'scale' must be two numbers 1e-06 <= low <= high <= 1, got { 0.8, 2 }",
      message(augment.random_resized_crop, { scale = { 0.8, 2 } }))
    assert.equal("augment.flip: 'p' must be at most 1, got 2", message(augment.flip, { 2 }))
    assert.equal("augment.color_jitter: 'hue' must be 0 to 0.5, got 0.7", message(augment.color_jitter, { hue = 0.7 }))
    assert.equal("augment.color_jitter: unknown option 'contrst', did you mean 'contrast'?",
      message(augment.color_jitter, { contrst = 0.1 }))
    assert.equal("augment.affine: 'translate' must be two numbers 0 to 1, got { 0.1 }",
      message(augment.affine, { translate = { 0.1 } }))
    assert.is_truthy(augment.flip({}).line:find "folder_spec%.lua:%d+$")
  end)
end)
