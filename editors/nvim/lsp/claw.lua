-- For Neovim 0.11 and later: found by its place in 'runtimepath', switched on by
-- `vim.lsp.enable("claw")` (see plugin/claw.lua). Settings of your own:
-- `vim.lsp.config("claw", { cmd = { "/path/to/claw", "lsp" } })`.
return {
  cmd = { "claw", "lsp" },
  filetypes = { "claw" },
  root_markers = { "claw.toml", ".git" },
}
