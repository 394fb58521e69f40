-- CSV files: what is read, what is refused in words, row numbers that are the file's lines; manifests and attributes on top.
local frt = require "foodrt"
local csv = require "foodrt.data.csv"
local photos, process = require "spec.support.photos", require "spec.support.process"
local data = frt.data

local dir
setup(function()
  dir = process.temp_dir()
  photos.tree(dir .. "/p", { train = { ant = 2, bee = 2 }, val = { ant = 1, bee = 1 }, test = { ant = 1, bee = 1 } })
end)
teardown(function() process.remove(dir) end)

local function message(f, ...)
  local ok, why = pcall(f, ...)
  assert.is_false(ok)
  return (why:gsub("^[^:]*:%d+: ", ""):gsub(dir:gsub("%p", "%%%0"), "DIR"))
end

-- rows and their numbers
local function parsed(text)
  return assert(csv.parse(text))
end

local function why(text)
  local rows, what, line = csv.parse(text)
  assert.is_nil(rows)
  return ("%d: %s"):format(line, what)
end

describe("csv.parse", function()
  it("reads fields with commas, quotes, blanks around them, and the three kinds of line ends", function()
    for _, ending in ipairs { "\n", "\r\n", "\r" } do
      local rows, numbers = parsed((' path , split\t,dish\n"a, b.jpg",train, "fried ""rice"""  \n\n,x,\n'):gsub("\n", ending))
      assert.same({ { "path", "split", "dish" }, { "a, b.jpg", "train", 'fried "rice"' }, { "", "x", "" } }, rows)
      assert.same({ 1, 2, 4 }, numbers)
    end
  end)

  it("knows a byte order mark, no-break spaces, quotes inside a field, a last line without an end", function()
    assert.same({ { "a", "b" }, { '12" pizza', "c" } }, (parsed '\239\187\191a,\194\160b\194\160\n12" pizza,c'))
    assert.same({ { "crème brûlée", "à" } }, (parsed "crème brûlée,à"))
  end)

  it("numbers rows by the line they begin at, behind a line break inside quotes too", function()
    local rows, numbers = parsed 'a,b\n"x\ny","p\r\nq"\nc,d\n\ne,f'
    assert.same({ { "a", "b" }, { "x\ny", "p\r\nq" }, { "c", "d" }, { "e", "f" } }, rows)
    assert.same({ 1, 2, 5, 7 }, numbers)
  end)

  it("leaves out rows that hold nothing", function()
    assert.same({ 1, 4 }, (select(2, parsed "a,b\n  \n,,\nc,d\n , \n")))
  end)

  it("says which row is no table", function()
    assert.equal("2: a quote is opened and never closed", why 'a,b\n"c,d\ne,f\n')
    assert.equal("3: text stands behind a closing quote", why 'a,b\nc,d\n"e"x,f\n')
    assert.equal("1: is UTF-16 or binary, must be UTF-8 text", why "\255\254a\0,\0b\0")
    assert.equal("1: is UTF-16 or binary, must be UTF-8 text", why "a\0b,c")
  end)
end)

describe("data.manifest", function()
  local function listed(text, name)
    process.write(dir .. "/p/" .. (name or "list.csv"), text)
    return data.manifest { dir .. "/p/" .. (name or "list.csv"), size = 8, batch = 2 }
  end
  local function refused(text)
    local m = listed(text)
    return message(m.open, m)
  end

  it("takes blanks, trailing commas, CRLF, a byte order mark and repeated rows as they are meant", function()
    local m = listed("\239\187\191path, split , dish,\r\ntrain/ant/01.bmp, train , ant ,\r\n\"train/bee/01.bmp\",train,\"bee \",\r\n"
      .. "\r\nval/bee/01.bmp,val,bee,\r\n./train//ant/01.bmp,train,ant,\r\n,,,\r\n")
    m:open()
    assert.same({ "ant", "bee" }, m.classes)
    assert.same({ 3, 1, 0 }, { m:count "train", m:count "val", m:count "test" })
    assert.same({ 2, 1 }, m:class_counts "train")
  end)

  it("refuses headers that are none", function()
    assert.equal("data: DIR/p/list.csv: row 1: two columns are called 'dish'", refused "path,split,dish,dish\nx,train,a,b\n")
    assert.equal("data: DIR/p/list.csv: row 1: column 1 has no name (pandas: to_csv(…, index=False))",
      refused ",path,split,dish\n0,x,train,a\n")
    assert.equal("data: DIR/p/list.csv: row 1: its columns are separated by semicolons; save it separated by commas",
      refused "path;split;dish\nx;train;a\n")
    assert.equal("data: DIR/p/list.csv: row 1: its columns are separated by tabs; save it separated by commas",
      refused "path\tsplit\tdish\nx\ttrain\ta\n")
    assert.equal("data: 'DIR/p/list.csv': the column 'Split' would be a label, did you mean 'split'?",
      refused "path,Split,dish\nx,train,a\n")
    assert.equal("data: 'DIR/p/list.csv': the column 'Path' would be a label, did you mean 'path'?", refused "Path,dish\nx,a\n")
    assert.equal("data: 'DIR/p/list.csv': the column 'set' holds names of splits and would be a label; call it 'split'",
      refused "path,set,dish\nx,train,a\ny,val,b\n")
    assert.equal("data: 'DIR/p/list.csv' is empty", refused "\n\n")
    assert.equal("data: 'DIR/p/list.csv' has no label column", refused "path,split\nx,train\n")
  end)

  it("refuses rows that are too short, too long or broken, by the file's line", function()
    assert.equal("data: DIR/p/list.csv: row 4: has 2 fields, the header has 3", refused "path,split,dish\nx,train,a\n\ny,train\n")
    assert.equal("data: DIR/p/list.csv: row 3: has 4 fields, the header has 3 (a comma in a value wants quotes)",
      refused "path,split,dish\nx,train,a\ny,train,fish, chips\n")
    assert.equal("data: DIR/p/list.csv: row 3: a quote is opened and never closed",
      refused 'path,split,dish\nx,train,a\ny,train,"b\nz,train,c\n')
    assert.equal("data: DIR/p/list.csv: row 2: 'dish' has a line break", refused 'path,split,dish\nx,train,"a\nb"\n')
    assert.equal("data: DIR/p/list.csv: row 3: no path", refused "path,split,dish\nx,train,a\n,train,a\n")
    assert.equal("data: DIR/p/list.csv: row 5: split must be train, val or test, got 'dev'",
      refused 'path,split,dish\n\n"x",train,a\n\ny,dev,a\n')
    assert.equal("data: DIR/p/list.csv: row 4: dish 'piza' is not in training, did you mean 'pizza'?",
      refused "path,split,dish\nx,train,pizza\n\ny,val,piza\n")
  end)

  it("refuses a photo with two labels, or in two splits", function()
    assert.equal("data: DIR/p/list.csv: row 4: 'a//x.jpg': dish is 'b', in row 2 'a'",
      refused "path,split,dish\na/x.jpg,train,a\ny.jpg,train,b\na//x.jpg,train,b\n")
    assert.equal("data: DIR/p/list.csv: row 3: 'x.jpg': taste is '', in row 2 'hot'",
      refused "path,split,dish,taste\nx.jpg,train,a,hot\nx.jpg,train,a,\n")
    assert.equal("data: DIR/p/list.csv: row 3: './x.jpg' is in split 'val', in row 2 in 'train'",
      refused "path,split,dish\nx.jpg,train,a\n./x.jpg,val,a\n")
  end)

  it("says that the file isn't there, or is a folder", function()
    assert.equal("data: cannot read DIR/none.csv: No such file or directory",
      message(function() data.manifest { dir .. "/none.csv" }:open() end))
    assert.equal("data: cannot read DIR/p: Is a directory", message(function() data.manifest { dir .. "/p" }:open() end))
  end)
end)

describe("attributes", function()
  local function opened(text)
    process.write(dir .. "/p/attributes.csv", text)
    return data.folder({ dir .. "/p", size = 8, attributes = "attributes.csv" }):open()
  end

  it("have a row for every class", function()
    assert.same({ "hot" }, opened("class, taste\n bee ,hot\nant,\n").columns.taste.classes)
    assert.equal("data: DIR/p/attributes.csv: row 3: there is no class 'be', did you mean 'bee'?",
      message(opened, "class,taste\nant,hot\nbe,mild\n"))
    assert.equal("data: DIR/p/attributes.csv: no row for class 'bee' (where it has no value, write the class alone: bee,)",
      message(opened, "class,taste\nant,hot\n"))
    assert.equal("data: DIR/p/attributes.csv: row 4: class 'ant' has row 2 already",
      message(opened, "class,taste\nant,hot\nbee,mild\nant,mild\n"))
    assert.equal("data: 'DIR/p/attributes.csv' must begin with a column 'class'", message(opened, "taste,class\nhot,ant\n"))
    assert.equal("data: DIR/p/attributes.csv: row 3: has 1 field, the header has 2", message(opened, "class,taste\nant,hot\nbee\n"))
  end)
end)

describe("folders that archives and file servers leave", function()
  it("are no classes", function()
    os.execute(("mkdir -p '%s/p/train/__MACOSX' '%s/p/train/@eaDir' '%s/p/train/.ipynb_checkpoints'"):format(dir, dir, dir))
    assert.same({ "ant", "bee" }, data.folder({ dir .. "/p" }):open().classes)
  end)
end)
