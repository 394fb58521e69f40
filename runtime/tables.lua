-- tables.lua: writes the tables of ops, of CPU kernels and of functions per instruction set from the files below runtime/.
-- What stands in a file is the registration: ops/elementwise/silu.c holds FRT_OP(silu) and its gradient, FRT_OP(silu_grad);
-- a file of runtime/cpu as many FRT_KERNEL(op) as are read together; a *_simd.c, which is compiled once per instruction
-- set, functions that begin with FRT_SIMD: a pointer to each goes into the table of its folder.
--   luajit tables.lua OUTDIR FILE...
local outdir, ops, kernels = arg[1], {}, {}
local simd = {
  cpu = { type = "frt_kernels", name = "kernels", pick = "frt__kernels", header = "cpu/kernels.h" },
  image = { type = "frt__photo_kernels", name = "photo_kernels", pick = "frt__photo", header = "image/kernels.h" },
}
for i = 2, #arg do
  local path = arg[i]
  local file = assert(io.open(path))
  local source = file:read "*a"
  file:close()
  local base = path:match "([%w_]+)%.c$"
  for mark, list in pairs { FRT_OP = ops, FRT_KERNEL = kernels } do
    for id in source:gmatch("\n" .. mark .. "%(([%w_]+)%)") do
      assert(mark == "FRT_KERNEL" or id == base or id:sub(1, #base + 1) == base .. "_" or id:sub(-#base - 1) == "_" .. base,
        ("%s: %s(%s) must begin or end with the file's name"):format(path, mark, id))
      list[#list + 1] = id
    end
  end
  local folder = simd[path:match "runtime/(%w+)/"]
  for mark, returns, name, args in source:gmatch "\n(FRT_SIMD[_%w]*) ([^\n(]-)FRT_K%(([%w_]+)%)(%b())" do
    folder[#folder + 1] = { bf16 = mark == "FRT_SIMD_BF16", returns = returns, name = name, args = args:gsub("%s+", " ") }
  end
end
table.sort(ops)
table.sort(kernels)

-- A file that says the same already is left alone, so that nothing is compiled again for it.
local function write(name, lines)
  local path, text = outdir .. "/" .. name, "// written by runtime/tables.lua\n" .. table.concat(lines, "\n") .. "\n"
  local old = io.open(path)
  local same = old and old:read "*a" == text
  if old then old:close() end
  if same then return end
  local out = assert(io.open(path, "w"))
  out:write(text)
  out:close()
end
local function each(list, fmt, lines)
  for _, id in ipairs(list) do lines[#lines + 1] = fmt:gsub("@", id) end
  return lines
end

write("op_list.h", each(ops, "extern const frt_op frt_op_@;", { "#pragma once\ntypedef struct frt_op frt_op;" }))
local lines = each(ops, "extern const frt_op frt_op_@, frt_op64_@;", { '#include "ir/op.h"' })
lines[#lines + 1] = "const frt_op *const frt_op_table[] = {"
each(ops, "  &frt_op_@,", lines)
lines[#lines + 1] = "};\nconst frt_op *const frt_op_table64[] = {"
each(ops, "  &frt_op64_@,", lines)
lines[#lines + 1] = "};\nconst int32_t frt_op_table_len = " .. #ops .. ";"
write("op_table.c", lines)

lines = each(kernels, "extern const frt_kernel frt_kernel_@;", { '#include "device/kernel.h"' })
lines[#lines + 1] = "const frt_kernel *const frt_kernel_table[] = {"
each(kernels, "  &frt_kernel_@,", lines)
lines[#lines + 1] = "  0\n};\nconst char *const frt_kernel_name[] = {"
each(kernels, '  "@",', lines)
lines[#lines + 1] = "  0\n};\nconst int32_t frt_kernel_table_len = " .. #kernels .. ";"
write("kernel_table.c", lines)

-- FOLDER_simd.h: the type of the table and the functions' prototypes; FOLDER_simd.c, compiled per instruction set: the
-- table; simd_pick.c: which of them is used.
local pick = { '#include "base/isa.h"' }
for _, folder in ipairs { "cpu", "image" } do
  local t = simd[folder]
  table.sort(t, function(a, b) return a.name < b.name end)
  local header, entries = { "#pragma once", "typedef struct " .. t.type .. " {" }, {}
  local prototypes = { "#ifdef FRT_ISA" }
  for _, f in ipairs(t) do
    header[#header + 1] = ("  %s(*%s)%s;"):format(f.returns, f.name, f.args)
    prototypes[#prototypes + 1] = ("%sFRT_K(%s)%s;"):format(f.returns, f.name, f.args)
    if f.bf16 then entries[#entries + 1] = "#if FRT_BF16" end
    entries[#entries + 1] = ("  .%s = FRT_K(%s),"):format(f.name, f.name)
    if f.bf16 then entries[#entries + 1] = "#endif" end
  end
  header[#header + 1] = ("} %s;\n%s\n#endif"):format(t.type, table.concat(prototypes, "\n"))
  write(folder .. "_simd.h", header)
  write(folder .. "_simd.c", {
    ('#include "%s"'):format(folder == "cpu" and "cpu/vec.h" or t.header),
    ("const %s FRT_K(%s) = {\n%s\n};"):format(t.type, t.name, table.concat(entries, "\n")),
  })
  pick[#pick + 1] = (([[
#include "HEADER"
#define EXTERN(isa) extern const TYPE frt__NAME_##isa;
FRT_EACH_ISA(EXTERN)
#undef EXTERN
#define ENTRY(isa) &frt__NAME_##isa,
const TYPE *PICK(void)
{
  static const TYPE *const table[] = {FRT_EACH_ISA(ENTRY)};
  return table[frt__isa()];
}
#undef ENTRY]]):gsub("[A-Z][A-Z]+", { HEADER = t.header, TYPE = t.type, NAME = t.name, PICK = t.pick }))
end
write("simd_pick.c", pick)
