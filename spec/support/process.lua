-- process: runs a program for a spec and gives back its exit status and what it wrote.
--   local status, out, err = process.foodrt({ "-e", "print(1)" }, { stdin = "", env = { A = "1" }, dir = "/" })
local process = {}

--- the binary that runs the specs
process.binary = package.loaded["foodrt.host"] and require("foodrt.host").exe
  or (os.getenv "FOODRT_BUILD" or "build") .. "/bin/foodrt"

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- the bytes of a file; nil where there is none
function process.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

--- in path; out nothing; the file holds `text`
function process.write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- a new empty directory; the caller removes it with process.remove
function process.temp_dir()
  local pipe = io.popen "mktemp -d"
  local dir = pipe:read "*l"
  pipe:close()
  return dir
end

function process.remove(dir)
  os.execute("rm -rf " .. quote(dir))
end

--- runs a line of shell; 124 when it took more than options.timeout_s (60)
function process.shell(line, options)
  options = options or {}
  local dir = process.temp_dir()
  process.write(dir .. "/in", options.stdin or "")
  local parts = { "cd ", quote(options.dir or "."), " && env" }
  for name, value in pairs(options.env or {}) do
    parts[#parts + 1] = " " .. name .. "=" .. quote(value)
  end
  parts[#parts + 1] = (" timeout %d sh -c %s <%s/in >%s/out 2>%s/err; echo $? >%s/status"):format(
    options.timeout_s or 60, quote(line), dir, dir, dir, dir)
  os.execute(table.concat(parts))
  local status, out, err = tonumber(process.read(dir .. "/status")), process.read(dir .. "/out"), process.read(dir .. "/err")
  process.remove(dir)
  return status, out, err
end

--- "'foodrt' 'arg' …" for a line of shell
function process.command(args, binary)
  local parts = { quote(binary or process.binary) }
  for _, arg in ipairs(args) do parts[#parts + 1] = quote(arg) end
  return table.concat(parts, " ")
end

--- runs foodrt with `args`: exit status, stdout, stderr
function process.foodrt(args, options)
  return process.shell("exec " .. process.command(args), options)
end

return process
