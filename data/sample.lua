-- The sample set's door: draws a small set of food photos with labels into a folder.
-- As a module: sample.draw{ root = "data/sample" }; as a program: luajit data/sample.lua ROOT [SEED]
local source = debug.getinfo(1, "S").source
local here = source:match("^@(.*/)") or "./"

-- Loads data/draw/NAME.lua once, wherever this file lives; each gets this function as its argument.
local loaded = {}
local function use(name)
  if loaded[name] == nil then
    loaded[name] = assert(loadfile(here .. "draw/" .. name .. ".lua"))(use)
  end
  return loaded[name]
end

local rng, canvas, scene = use "rng", use "canvas", use "scene"
local jpeg, files = use "jpeg", use "files"

local VERSION = 2 -- raised whenever the pictures or the files change
local SPLITS = { "train", "val", "test" }
local PER_CLASS = { train = 140, val = 15, test = 25 }
local SIZES = { { 176, 176 }, { 208, 160 }, { 160, 208 }, { 224, 168 }, { 192, 192 }, { 200, 176 } }
local LARGEST = 224 * 176
local MARK = "sample.json" -- written last
local FIELDS = { "cuisine", "region", "main_ingredient", "cooking_method", "taste", "course" }

local sample = { version = VERSION, default_seed = 1, default_per_class = PER_CLASS }

local menu, by_name = {}, {}
for _, kitchen in ipairs { "dishes_asian", "dishes_western", "dishes_latin" } do
  for _, dish in ipairs(use(kitchen)) do
    menu[#menu + 1] = dish
    by_name[dish.name] = dish
  end
end
table.sort(menu, function(a, b)
  return a.name < b.name
end)

--- The names of the dishes, sorted: the classes in the order of their numbers.
function sample.classes()
  local names = {}
  for i, dish in ipairs(menu) do
    names[i] = dish.name
  end
  return names
end

--- class -> { cuisine =, region =, main_ingredient =, cooking_method =, taste =, course = }
function sample.attributes(name)
  local out = {}
  for _, field in ipairs(FIELDS) do
    out[field] = by_name[name][field]
  end
  return out
end

--- Whether `root` holds a complete set of this version (and of this seed, where one is given).
function sample.ready(root, seed)
  local mark = files.read(root .. "/" .. MARK)
  return mark ~= nil and tonumber(mark:match('"version": (%d+)')) == VERSION
    and (seed == nil or tonumber(mark:match('"seed": (%d+)')) == seed)
end

local function check(ok, message)
  if not ok then
    error("sample set: " .. message, 0)
  end
  return ok
end

local OPTIONS = { root = "string", seed = "number", per_class = "table", classes = "table", progress = "function" }

-- Names, numbers and folders as they were asked for, with the defaults filled in.
local function plan(given)
  for key, value in pairs(given) do
    local expected = OPTIONS[key]
    check(expected, ("unknown option '%s'"):format(tostring(key)))
    check(type(value) == expected, ("%s must be a %s, got a %s"):format(key, expected, type(value)))
  end
  check(given.root and #given.root > 0, "root must be the folder to draw into, got nothing")
  local p = { root = given.root:gsub("(.)/+$", "%1"), seed = given.seed or sample.default_seed, count = {}, dishes = menu }
  check(p.seed >= 0 and p.seed < 2 ^ 52 and p.seed % 1 == 0, "seed must be a whole number from 0, got " .. tostring(p.seed))
  for _, split in ipairs(SPLITS) do
    local n = (given.per_class or PER_CLASS)[split] or 0
    check(type(n) == "number" and n >= 0 and n < 10000 and n % 1 == 0,
      ("per_class.%s must be a whole number from 0 to 9999, got %s"):format(split, tostring(n)))
    p.count[split] = n
  end
  if given.classes then
    local names = {}
    for i, name in ipairs(given.classes) do
      check(by_name[name], ("there is no dish '%s'; there are %s"):format(tostring(name), table.concat(sample.classes(), ", ")))
      names[i] = name
    end
    table.sort(names)
    p.dishes = {}
    for i, name in ipairs(names) do
      p.dishes[i] = by_name[name]
    end
  end
  return p
end

-- The dish's attributes in the order of FIELDS, as text.
local function attribute_row(dish)
  local row = {}
  for i, field in ipairs(FIELDS) do
    row[i] = dish[field]
  end
  return table.concat(row, ",")
end

local function attribute_table(dishes)
  local lines = { "class,source,cuisine,region,main_ingredient,cooking_method,taste,course" }
  for _, dish in ipairs(dishes) do
    lines[#lines + 1] = dish.name .. ",sample," .. attribute_row(dish)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function json(p)
  local names = {}
  for i, dish in ipairs(p.dishes) do
    names[i] = '"' .. dish.name .. '"'
  end
  local form = '{ "version": %d, "seed": %.0f, "train": %d, "val": %d, "test": %d, "classes": [%s] }\n'
  return form:format(VERSION, p.seed, p.count.train, p.count.val, p.count.test, table.concat(names, ", "))
end

-- Draws photo i of a dish, with its box label. out: its line of the manifest
local function draw_photo(p, folder, split, class, dish, i, cv, bytes)
  local r = rng.new(p.seed, split, dish.name, i)
  local size = r:pick(SIZES)
  local w, h = size[1], size[2]
  local b = scene.draw(cv, r, dish, w, h, bytes)
  local path = ("%s/%s/%04d.jpg"):format(split, dish.name, i)
  local photo, why = jpeg.encode(bytes, w, h, r:int(85, 92))
  check(photo, ("cannot encode %s: %s"):format(path, tostring(why)))
  check(files.write(folder .. "/" .. path, photo))
  local stem = ("%s/%s_%04d"):format(split, dish.name, i)
  check(files.link(folder .. "/" .. path, folder .. "/boxes/images/" .. stem .. ".jpg", photo))
  local label = ("%d %.5f %.5f %.5f %.5f\n"):format(class - 1, (b[1] + b[3] / 2) / w, (b[2] + b[4] / 2) / h,
    b[3] / w, b[4] / h)
  check(files.write(folder .. "/boxes/labels/" .. stem .. ".txt", label))
  return ("%s,%s,%s,%s,%d,%d,%d,%d"):format(path, split, dish.name, attribute_row(dish), b[1], b[2], b[3], b[4])
end

-- Draws every photo of the plan into `folder`.
local function draw_all(p, folder, progress)
  local cv, bytes = canvas.new(LARGEST, 1), scene.bytes(LARGEST * 3)
  local manifest = { "path,split,dish," .. table.concat(FIELDS, ",") .. ",x,y,w,h" }
  local done, total = 0, (p.count.train + p.count.val + p.count.test) * #p.dishes
  for _, split in ipairs(SPLITS) do
    if p.count[split] > 0 then
      check(files.make_folder(folder .. "/boxes/images/" .. split))
      check(files.make_folder(folder .. "/boxes/labels/" .. split))
    end
    for class, dish in ipairs(p.dishes) do
      if p.count[split] > 0 then
        check(files.make_folder(("%s/%s/%s"):format(folder, split, dish.name)))
      end
      for i = 1, p.count[split] do
        manifest[#manifest + 1] = draw_photo(p, folder, split, class, dish, i, cv, bytes)
        done = done + 1
        if progress then
          progress(done, total)
        end
      end
    end
  end
  check(files.write(folder .. "/manifest.csv", table.concat(manifest, "\n") .. "\n"))
  check(files.write(folder .. "/attributes.csv", attribute_table(p.dishes)))
  local names = {}
  for i, dish in ipairs(p.dishes) do
    names[i] = dish.name
  end
  check(files.write(folder .. "/boxes/classes.txt", table.concat(names, "\n") .. "\n"))
  check(files.write(folder .. "/" .. MARK, json(p)))
  return total
end

-- Folders beside root that a killed run left behind.
local function sweep(root)
  local above, name = root:match("^(.*/)([^/]+)$")
  above, name = above or "./", name or root
  for _, entry in ipairs(files.list(above)) do
    local rest = entry:sub(1, #name + 1) == name .. "." and entry:sub(#name + 2) or ""
    local pid = rest:match("^(%d+)%.tmp$") or rest:match("^old%.(%d+)%.tmp$")
    if pid and files.is_gone(tonumber(pid)) then
      files.remove_tree(above .. entry)
    end
  end
end

--- Draws the set into `root` (replacing an older sample set there, never anything else). It is
--- drawn beside root and renamed when it is whole, so root is never half a set.
---
---     sample.draw { root = "data/sample", seed = 1, per_class = { train = 140, val = 15, test = 25 } }
---
--- in    root       the folder
---       seed       default 1; same seed, same bytes
---       per_class  photos of a class in train, val and test
---       classes    names of the dishes to draw; default all
---       progress   called with (done, total) after each photo
--- out   how many photos were drawn
--- errs  a message that names the file or the missing package
function sample.draw(given)
  local p = plan(given)
  check(jpeg.open())
  local replace = files.exists(p.root .. "/" .. MARK)
  if not replace and files.exists(p.root) then
    check(#files.list(p.root) == 0, ("%s exists and is no sample set; name another folder"):format(p.root))
  end
  sweep(p.root)
  local folder = ("%s.%d.tmp"):format(p.root, files.process())
  files.remove_tree(folder)
  check(files.make_folder(folder))
  local total
  local ok, message = jpeg.on_one_thread(function()
    total = draw_all(p, folder, given.progress)
  end)
  if ok and replace then
    local old = ("%s.old.%d.tmp"):format(p.root, files.process())
    ok, message = files.rename(p.root, old)
    files.remove_tree(old)
  end
  if ok then
    ok, message = files.rename(folder, p.root)
    if not ok and sample.ready(p.root, p.seed) then -- another run was faster
      ok = true
    end
  end
  if files.exists(folder) then
    files.remove_tree(folder)
  end
  if not ok then
    error(message, 0)
  end
  return total
end

if arg and arg[0] and source == "@" .. arg[0] then
  local root, seed = arg[1], tonumber(arg[2] or 1)
  if not root or not seed then
    io.stderr:write("usage: luajit data/sample.lua ROOT [SEED]\n")
    os.exit(1)
  end
  local began = os.clock()
  local ok, message = pcall(sample.draw, { root = root, seed = seed })
  if not ok then
    io.stderr:write(message, "\n")
    os.exit(1)
  end
  print(("%d photos of %d dishes in %s (%.1f s)"):format(message, #menu, root, os.clock() - began))
end

return sample
