std = "luajit"
max_line_length = 140
files["spec/**/*_spec.lua"].std = "luajit+busted"
exclude_files = { "build*", "runs", "spec/bad" }
