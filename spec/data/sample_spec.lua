-- The sample set's generator: the same seed gives the same bytes, every label agrees with its
-- photo, and mistakes and killed runs leave no half set.
local process = require "spec.support.process"

local tree = debug.getinfo(1, "S").source:match "^@(.*)spec/data/" or ""
local sample = dofile(tree .. "data/sample.lua")
local dir
local COUNT = { train = 2, val = 1, test = 1 }
local SPLITS = { "train", "val", "test" }

local read = process.read

local function lines(path)
  local out = {}
  for line in read(path):gmatch "[^\n]+" do out[#out + 1] = line end
  return out
end

-- Every file below `folder`, sorted.
local function files(folder)
  local pipe, out = io.popen("cd '" .. folder .. "' && find . -type f | LC_ALL=C sort"), {}
  for line in pipe:lines() do out[#out + 1] = line:sub(3) end
  pipe:close()
  return out
end

-- Width and height as a JPEG file's frame header says.
local function size(photo)
  local at = 3
  while true do
    local mark, high, low = photo:byte(at + 1), photo:byte(at + 2, at + 3)
    if mark >= 0xC0 and mark <= 0xC2 then
      local h1, h0, w1, w0 = photo:byte(at + 5, at + 8)
      return w1 * 256 + w0, h1 * 256 + h0
    end
    at = at + 2 + high * 256 + low
  end
end

local function fields(line)
  local out = {}
  for field in (line .. ","):gmatch "([^,]*)," do out[#out + 1] = field end
  return out
end

-- The message of a failed draw with the folder's name as DIR.
local function message(options)
  local ok, why = pcall(sample.draw, options)
  assert.is_false(ok)
  return (why:gsub(dir:gsub("%p", "%%%0"), "DIR"))
end

setup(function()
  dir = process.temp_dir()
  sample.draw { root = dir .. "/one", seed = 5, per_class = COUNT }
end)
teardown(function() process.remove(dir) end)

describe("the sample set", function()
  it("has 12 dishes, 4 in each of 3 cuisines, and the columns of an attribute table", function()
    local rows, cuisines = lines(dir .. "/one/attributes.csv"), {}
    assert.equal("class,source,cuisine,region,main_ingredient,cooking_method,taste,course", rows[1])
    assert.equal(13, #rows)
    for i = 2, #rows do
      local row = fields(rows[i])
      assert.equal(8, #row)
      assert.equal(sample.classes()[i - 1], row[1])
      assert.equal(sample.attributes(row[1]).taste, row[7])
      cuisines[row[3]] = (cuisines[row[3]] or 0) + 1
    end
    assert.same({ asian = 4, western = 4, latin_american = 4 }, cuisines)
  end)

  it("has the files that its manifest names and no other", function()
    local expected = { "attributes.csv", "boxes/classes.txt", "manifest.csv", "sample.json" }
    for _, split in ipairs(SPLITS) do
      for _, dish in ipairs(sample.classes()) do
        for i = 1, COUNT[split] do
          local stem = ("%s/%s_%04d"):format(split, dish, i)
          expected[#expected + 1] = ("%s/%s/%04d.jpg"):format(split, dish, i)
          expected[#expected + 1] = "boxes/images/" .. stem .. ".jpg"
          expected[#expected + 1] = "boxes/labels/" .. stem .. ".txt"
        end
      end
    end
    table.sort(expected)
    assert.same(expected, files(dir .. "/one"))
    assert.same(sample.classes(), lines(dir .. "/one/boxes/classes.txt"))
    local manifest = lines(dir .. "/one/manifest.csv")
    assert.equal("path,split,dish,cuisine,region,main_ingredient,cooking_method,taste,course,x,y,w,h", manifest[1])
    assert.equal(1 + 12 * 4, #manifest)
  end)

  it("has every box inside its photo, the same in the manifest and in the YOLO label", function()
    local manifest, number = lines(dir .. "/one/manifest.csv"), {}
    for i, name in ipairs(sample.classes()) do number[name] = i - 1 end
    for i = 2, #manifest do
      local row = fields(manifest[i])
      local path, split, dish = row[1], row[2], row[3]
      local x, y, w, h = tonumber(row[10]), tonumber(row[11]), tonumber(row[12]), tonumber(row[13])
      local photo = read(dir .. "/one/" .. path)
      local width, height = size(photo)
      assert.is_true(x >= 0 and y >= 0 and x + w <= width and y + h <= height, manifest[i])
      assert.is_true(w >= 0.2 * width and h >= 0.15 * height, manifest[i])
      local stem = ("%s/%s_%s"):format(split, dish, path:match "(%d+)%.jpg$")
      assert.equal(photo, read(dir .. "/one/boxes/images/" .. stem .. ".jpg"))
      local label = read(dir .. "/one/boxes/labels/" .. stem .. ".txt")
      assert.equal(("%d %.5f %.5f %.5f %.5f\n"):format(number[dish], (x + w / 2) / width, (y + h / 2) / height,
        w / width, h / height), label)
    end
  end)

  it("is the same to the byte from the same seed, whichever dishes are drawn with it", function()
    sample.draw { root = dir .. "/again", seed = 5, per_class = { train = 1 }, classes = { "sushi", "ramen" } }
    assert.same({ "attributes.csv", "boxes/classes.txt", "boxes/images/train/ramen_0001.jpg",
      "boxes/images/train/sushi_0001.jpg", "boxes/labels/train/ramen_0001.txt", "boxes/labels/train/sushi_0001.txt",
      "manifest.csv", "sample.json", "train/ramen/0001.jpg", "train/sushi/0001.jpg" }, files(dir .. "/again"))
    for _, path in ipairs { "train/ramen/0001.jpg", "train/sushi/0001.jpg" } do
      assert.is_true(read(dir .. "/one/" .. path) == read(dir .. "/again/" .. path), path)
    end
  end)

  it("differs from photo to photo, from split to split and from seed to seed", function()
    sample.draw { root = dir .. "/other", seed = 6, per_class = { train = 1 }, classes = { "tacos" } }
    local seen = {}
    for _, path in ipairs { "one/train/tacos/0001.jpg", "one/train/tacos/0002.jpg", "one/val/tacos/0001.jpg",
      "other/train/tacos/0001.jpg" } do
      local photo = read(dir .. "/" .. path)
      assert.is_nil(seen[photo], path)
      seen[photo] = true
    end
  end)
end)

describe("sample.ready", function()
  it("is true for a complete set, of the seed if one is given", function()
    assert.is_true(sample.ready(dir .. "/one"))
    assert.is_true(sample.ready(dir .. "/one", 5))
    assert.is_false(sample.ready(dir .. "/one", 6))
    assert.is_false(sample.ready(dir .. "/nothing"))
  end)
end)

describe("sample.draw", function()
  it("replaces a sample set, and nothing else", function()
    sample.draw { root = dir .. "/twice", seed = 1, per_class = { train = 2 }, classes = { "salad" } }
    sample.draw { root = dir .. "/twice/", seed = 2, per_class = { train = 1 }, classes = { "nachos" } }
    assert.is_true(sample.ready(dir .. "/twice", 2))
    assert.equal(1 + 2 + 4, #files(dir .. "/twice"))
    os.execute("mkdir '" .. dir .. "/mine' && touch '" .. dir .. "/mine/photo.jpg'")
    assert.equal("sample set: DIR/mine exists and is no sample set; name another folder", message { root = dir .. "/mine" })
    assert.same({ "photo.jpg" }, files(dir .. "/mine"))
  end)

  it("leaves nothing behind when it is interrupted, and removes what a killed run left", function()
    assert.equal("stop", message { root = dir .. "/half", per_class = { train = 3 }, classes = { "sushi" },
      progress = function(done) if done == 2 then error("stop", 0) end end })
    assert.is_nil(io.open(dir .. "/half"))
    os.execute("mkdir -p '" .. dir .. "/half.999999999.tmp/train' '" .. dir .. "/half.old.999999999.tmp'")
    sample.draw { root = dir .. "/half", per_class = { val = 1 }, classes = { "sushi" } }
    local pipe = io.popen("ls -A '" .. dir .. "' | grep half")
    assert.equal("half\n", pipe:read "*a")
    pipe:close()
  end)

  it("names what is wrong with its options", function()
    assert.equal("sample set: there is no dish 'soup'; there are " .. table.concat(sample.classes(), ", "),
      message { root = dir .. "/x", classes = { "soup" } })
    assert.equal("sample set: unknown option 'sed'", message { root = dir .. "/x", sed = 1 })
    assert.equal("sample set: seed must be a whole number from 0, got 1.5", message { root = dir .. "/x", seed = 1.5 })
    assert.equal("sample set: per_class.val must be a whole number from 0 to 9999, got -1",
      message { root = dir .. "/x", per_class = { val = -1 } })
    assert.equal("sample set: root must be the folder to draw into, got nothing", message {})
  end)

  it("names the folder that can't be made and the file that a full disk refuses", function()
    process.write(dir .. "/file", "")
    assert.matches("^sample set: cannot make the folder DIR/file/set%.%d+%.tmp: Not a directory$",
      message { root = dir .. "/file/set" })
    local draw_files = assert(loadfile(tree .. "data/draw/files.lua"))()
    local ok, why = draw_files.write("/dev/full", ("x"):rep(100))
    assert.is_nil(ok)
    assert.equal("cannot write /dev/full: No space left on device", why)
  end)
end)
